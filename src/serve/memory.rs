//! What a process really holds, as the kernel counts it.
#![forbid(unsafe_code)]

use std::fs;
use std::io;

/// Memory of one process, in bytes, from `/proc/PID/smaps_rollup`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Memory {
    /// Resident pages, shared ones counted in full.
    pub rss: u64,
    /// Resident pages, each divided by the number of processes that map it: sums over processes are true.
    pub pss: u64,
    /// Pages that nobody else maps and that were written to.
    pub private_dirty: u64,
    /// The part of `pss` that is not backed by a file: heap, stack, copied pages.
    pub pss_anon: u64,
    /// The part of `pss` that is backed by files, model and program alike.
    pub pss_file: u64,
}

impl Memory {
    /// Reads the counters of process `pid`.
    ///
    /// # Errors
    ///
    /// The process is gone, belongs to another user, or this is not Linux.
    pub fn of(pid: u32) -> io::Result<Memory> {
        fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).map(|text| Memory::read(&text))
    }

    /// Reads the counters of this process.
    ///
    /// # Errors
    ///
    /// This is not Linux.
    pub fn of_self() -> io::Result<Memory> {
        Memory::of(std::process::id())
    }

    fn read(rollup: &str) -> Memory {
        let field = |name: &str| {
            let line = rollup.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            let kib = line.and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
            kib.unwrap_or(0).saturating_mul(1024)
        };
        Memory {
            rss: field("Rss"),
            pss: field("Pss"),
            private_dirty: field("Private_Dirty"),
            pss_anon: field("Pss_Anon"),
            pss_file: field("Pss_File"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_counters_are_read_in_bytes() {
        let text = "55d0-7ffe ---p 00000000 00:00 0   [rollup]\nRss:    2048 kB\nPss:     100 kB\nPss_Dirty:  7 kB\nPss_Anon: 60 kB\nPss_File:  40 kB\nPrivate_Dirty:   12 kB\n";
        let expected = Memory {
            rss: 2048 << 10,
            pss: 100 << 10,
            private_dirty: 12 << 10,
            pss_anon: 60 << 10,
            pss_file: 40 << 10,
        };
        assert_eq!(expected, Memory::read(text));
    }

    #[test]
    fn this_process_holds_something() {
        assert!(Memory::of_self().is_ok_and(|memory| memory.pss > 0 && memory.rss >= memory.pss));
    }
}
