//! Runs the command under `ptrace`, and makes one of its system calls fail, or its last.

use std::collections::HashSet;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::process::{Command, Stdio};

use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::house::House;

/// What goes wrong, and when.
#[derive(Clone, Copy)]
pub(super) struct Fault<'a> {
    /// Calls count from where the command opens this file.
    pub(super) input: &'a str,
    /// How many calls go well before.
    pub(super) at: usize,
    /// Whether the process is killed instead of the call; else the call fails.
    pub(super) kill: bool,
}

/// How a run ended. A process that was killed has no code.
pub(super) enum Ended {
    /// It made fewer calls.
    Untouched(Option<i32>),
    /// In this call.
    Touched { call: &'static str, code: Option<i32> },
}

impl Ended {
    /// For messages.
    pub(super) fn told(&self) -> String {
        match self {
            Ended::Untouched(code) => format!("no fault, exit code {code:?}"),
            Ended::Touched { call, code } => format!("{call}, exit code {code:?}"),
        }
    }
}

/// The calls that can change a file or a folder, or tell what is in one, and what they fail with.
const CALLS: [(i64, &str, i32); 34] = [
    (libc::SYS_open, "open", libc::EACCES),
    (libc::SYS_openat, "openat", libc::EACCES),
    (libc::SYS_read, "read", libc::EIO),
    (libc::SYS_pread64, "pread", libc::EIO),
    (libc::SYS_write, "write", libc::ENOSPC),
    (libc::SYS_writev, "writev", libc::ENOSPC),
    (libc::SYS_pwrite64, "pwrite", libc::ENOSPC),
    (libc::SYS_copy_file_range, "copy_file_range", libc::EIO),
    (libc::SYS_sendfile, "sendfile", libc::EIO),
    (libc::SYS_ftruncate, "ftruncate", libc::EFBIG),
    (libc::SYS_fallocate, "fallocate", libc::ENOSPC),
    (libc::SYS_lseek, "lseek", libc::EINVAL),
    (libc::SYS_fsync, "fsync", libc::EIO),
    (libc::SYS_fdatasync, "fdatasync", libc::EIO),
    (libc::SYS_statx, "statx", libc::EIO),
    (libc::SYS_fstat, "fstat", libc::EIO),
    (libc::SYS_newfstatat, "fstatat", libc::EIO),
    (libc::SYS_linkat, "linkat", libc::ENOSPC),
    (libc::SYS_link, "link", libc::ENOSPC),
    (libc::SYS_rename, "rename", libc::EIO),
    (libc::SYS_renameat, "renameat", libc::EIO),
    (libc::SYS_renameat2, "renameat2", libc::EIO),
    (libc::SYS_unlink, "unlink", libc::EIO),
    (libc::SYS_unlinkat, "unlinkat", libc::EIO),
    (libc::SYS_mkdir, "mkdir", libc::ENOSPC),
    (libc::SYS_mkdirat, "mkdirat", libc::ENOSPC),
    (libc::SYS_fchmod, "fchmod", libc::EPERM),
    (libc::SYS_utimensat, "utimensat", libc::EROFS),
    (libc::SYS_flock, "flock", libc::ENOLCK),
    (libc::SYS_getdents64, "getdents", libc::EIO),
    (libc::SYS_mmap, "mmap", libc::ENOMEM),
    (libc::SYS_memfd_create, "memfd_create", libc::ENFILE),
    (libc::SYS_clone3, "clone3", libc::EAGAIN),
    (libc::SYS_fcntl, "fcntl", libc::EINVAL),
];

/// Runs `onecopy` with these words.
#[expect(clippy::zombie_processes, reason = "the tracer waits for it")]
pub(super) fn run(house: &House, words: &str, fault: Fault<'_>) -> Ended {
    // The shell waits until it is traced.
    let script = format!("read -r _; exec '{}' {words}", env!("CARGO_BIN_EXE_onecopy"));
    let mut command = Command::new("sh");
    let command = command.args(["-c", &script]).current_dir(house.path(""));
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let pid = Pid::from_raw(child.id() as i32);
    let options = Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_EXITKILL;
    ptrace::seize(pid, options).unwrap();
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    Tracer { pid, fault, counted: None, touched: None, inside: HashSet::new(), failing: None }.follow()
}

struct Tracer<'a> {
    pid: Pid,
    fault: Fault<'a>,
    /// Calls since the input was opened.
    counted: Option<usize>,
    touched: Option<&'static str>,
    /// Threads within a call.
    inside: HashSet<Pid>,
    /// The thread whose call shall fail, and with what.
    failing: Option<(Pid, i32)>,
}

impl Tracer<'_> {
    fn follow(mut self) -> Ended {
        // Other tests of this process have children too; they belong to other threads.
        let own = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
        loop {
            let (thread, signal) = match waitpid(None, Some(own)).unwrap() {
                WaitStatus::Exited(pid, code) if pid == self.pid => return self.ended(Some(code)),
                WaitStatus::Signaled(pid, ..) if pid == self.pid => return self.ended(None),
                WaitStatus::PtraceSyscall(thread) => {
                    self.at_call(thread);
                    (thread, None)
                }
                WaitStatus::PtraceEvent(thread, ..) => (thread, None),
                WaitStatus::Stopped(thread, Signal::SIGTRAP) => (thread, None),
                WaitStatus::Stopped(thread, signal) => (thread, Some(signal)),
                _ => continue,
            };
            // A thread that was killed meanwhile is waited for.
            let _ = ptrace::syscall(thread, signal);
        }
    }

    fn ended(&self, code: Option<i32>) -> Ended {
        match self.touched {
            Some(call) => Ended::Touched { call, code },
            None => Ended::Untouched(code),
        }
    }

    /// A thread is about to enter a call, or has left one.
    fn at_call(&mut self, thread: Pid) {
        if !self.inside.remove(&thread) {
            self.inside.insert(thread);
            return self.enter(thread);
        }
        if let Some((failing, errno)) = self.failing
            && failing == thread
        {
            let mut registers = ptrace::getregs(thread).unwrap();
            registers.rax = i64::from(-errno) as u64;
            ptrace::setregs(thread, registers).unwrap();
            self.failing = None;
        }
    }

    fn enter(&mut self, thread: Pid) {
        let Ok(mut registers) = ptrace::getregs(thread) else { return };
        let number = registers.orig_rax as i64;
        let Some((_, call, errno)) = CALLS.iter().find(|(known, ..)| *known == number) else { return };
        // Memory is no file.
        if number == libc::SYS_mmap && registers.r8 as i32 == -1 {
            return;
        }
        let Some(counted) = &mut self.counted else {
            if number == libc::SYS_openat && text_at(thread, registers.rsi).ends_with(self.fault.input) {
                self.counted = Some(0);
            }
            return;
        };
        *counted += 1;
        if *counted != self.fault.at + 1 {
            return;
        }
        self.touched = Some(call);
        if self.fault.kill {
            kill(self.pid, Signal::SIGKILL).unwrap();
        } else {
            registers.orig_rax = u64::MAX;
            ptrace::setregs(thread, registers).unwrap();
            self.failing = Some((thread, *errno));
        }
    }
}

/// The text at an address of a thread, up to its zero byte.
fn text_at(thread: Pid, address: u64) -> String {
    let memory = File::open(format!("/proc/{thread}/mem")).unwrap();
    let mut text = Vec::new();
    let mut byte = [0];
    while text.len() < 4096
        && matches!(memory.read_at(&mut byte, address + text.len() as u64), Ok(1))
        && byte[0] != 0
    {
        text.push(byte[0]);
    }
    String::from_utf8_lossy(&text).into_owned()
}
