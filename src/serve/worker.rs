//! What a worker does, and the one message it sends.
#![forbid(unsafe_code)]

use std::io::{self, Read, Write};
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use nix::unistd::{Pid, getppid};

/// Result of one share of the rows.
pub(super) struct Answer {
    /// When the first prediction was there.
    pub(super) first: Instant,
    /// Bytes for the parent.
    pub(super) payload: Vec<u8>,
}

/// Computes one share. The error is text for the parent's caller.
pub(super) type Work<'a> = dyn Fn(&Range<usize>) -> Result<Answer, String> + 'a;

/// What a worker sends through its pipe, once: status byte, three little-endian `u64` (nanoseconds to the first
/// prediction, nanoseconds to the last, length of the payload), payload.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// `false`: the payload is the text of an error.
    pub(super) ok: bool,
    /// From fork to first prediction.
    pub(super) first: Duration,
    /// From fork to last prediction.
    pub(super) last: Duration,
    /// Predictions, or the text of an error.
    pub(super) payload: Vec<u8>,
}

const HEADER: usize = 1 + 3 * 8;

impl Message {
    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let mut header = [0; HEADER];
        header[0] = u8::from(self.ok);
        header[1..9].copy_from_slice(&nanoseconds(self.first).to_le_bytes());
        header[9..17].copy_from_slice(&nanoseconds(self.last).to_le_bytes());
        header[17..25].copy_from_slice(&(self.payload.len() as u64).to_le_bytes());
        out.write_all(&header)?;
        out.write_all(&self.payload)
    }

    /// Takes the message out of `received` if all of it is there.
    pub(super) fn read(received: &mut Vec<u8>) -> Option<Message> {
        let word = |at: usize| Some(u64::from_le_bytes(received.get(at..at + 8)?.try_into().ok()?));
        let (first, last, len) = (word(1)?, word(9)?, usize::try_from(word(17)?).ok()?);
        if received.len() - HEADER < len {
            return None;
        }
        let ok = received[0] == 1;
        let payload = received.split_off(HEADER);
        Some(Message { ok, first: Duration::from_nanos(first), last: Duration::from_nanos(last), payload })
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The life of a worker: compute, send, stay until released so that its memory can be read, leave.
/// Returns the exit code.
pub(super) fn live(
    parent: Pid,
    started: Instant,
    share: &Range<usize>,
    work: &Work<'_>,
    results: OwnedFd,
    release: OwnedFd,
) -> i32 {
    if !die_with(parent) {
        return 1;
    }
    let message = match work(share) {
        Ok(answer) => Message {
            ok: true,
            first: answer.first.saturating_duration_since(started),
            last: started.elapsed(),
            payload: answer.payload,
        },
        Err(text) => {
            Message { ok: false, first: Duration::ZERO, last: started.elapsed(), payload: text.into_bytes() }
        }
    };
    if message.write(&mut std::fs::File::from(results)).is_err() {
        return 1;
    }
    drop(message);
    // One byte, or the end of the pipe because the parent is gone.
    let _ = std::fs::File::from(release).read(&mut [0]);
    0
}

/// Asks to be killed when the parent dies; `false` if it is dead already.
fn die_with(parent: Pid) -> bool {
    #[cfg(target_os = "linux")]
    if nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL).is_err() {
        return false;
    }
    getppid() == parent
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_taken_only_when_it_is_whole() {
        let message = Message {
            ok: true,
            first: Duration::from_nanos(3),
            last: Duration::from_secs(4),
            payload: vec![1, 2, 3],
        };
        let mut bytes = Vec::new();
        message.write(&mut bytes).unwrap();
        for cut in 0..bytes.len() {
            assert_eq!(None, Message::read(&mut bytes[..cut].to_vec()), "cut at {cut}");
        }
        assert_eq!(Some(message), Message::read(&mut bytes));
    }
}
