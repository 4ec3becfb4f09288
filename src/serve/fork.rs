//! `fork(2)`, while only one thread runs.
#![allow(unsafe_code)]

use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::unistd::{ForkResult, Pid, fork};

/// How long a thread that was already joined may linger in `/proc` before it counts as running.
const LINGER: Duration = Duration::from_millis(200);

/// Exit code of a worker whose work panicked.
pub(super) const PANICKED: i32 = 101;

/// Why no worker could be forked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ForkError {
    /// A forked child inherits locks of threads that do not exist in it, and hangs.
    #[error("{found} threads run in this process, expected 1; fork before anything starts a thread")]
    Threads {
        /// Threads of this process.
        found: usize,
    },
    /// `/proc/self/task` cannot be read, so threads cannot be counted.
    #[error("cannot count the threads of this process in `/proc/self/task`; mount /proc")]
    Uncountable(#[source] io::Error),
    /// The system refused.
    #[error("the system refused to fork; lower --workers or raise the limit on processes (`ulimit -u`)")]
    Refused(#[source] Errno),
}

/// Runs `work` in a forked child, which leaves with the returned code and never comes back to the caller.
///
/// No destructor and no exit handler of the parent runs in the child.
pub(super) fn fork_child(work: impl FnOnce() -> i32) -> Result<Pid, ForkError> {
    check_single_threaded()?;
    // SAFETY: after fork, a child of a process with several threads may only call async-signal-safe
    // functions, since another thread may have held a lock. `check_single_threaded` has just found that this is
    // the only thread, and no other thread exists that could start one in between.
    match unsafe { fork() }.map_err(ForkError::Refused)? {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => {
            let code = catch_unwind(AssertUnwindSafe(work)).unwrap_or(PANICKED);
            leave(code)
        }
    }
}

fn leave(code: i32) -> ! {
    // SAFETY: `_exit` only ends the process; it runs no handler and touches no memory of ours.
    unsafe { nix::libc::_exit(code) }
}

fn check_single_threaded() -> Result<(), ForkError> {
    let start = Instant::now();
    loop {
        let found = fs::read_dir("/proc/self/task").map_err(ForkError::Uncountable)?.count();
        if found == 1 {
            return Ok(());
        }
        if start.elapsed() > LINGER {
            return Err(ForkError::Threads { found });
        }
        thread::sleep(Duration::from_millis(1));
    }
}
