//! The parent's side: fork a worker per share, gather in order, replace those that die.
#![forbid(unsafe_code)]

use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, getpid, pipe2, write};

use crate::serve::PoolError;
use crate::serve::PoolEvent;
use crate::serve::fork::{PANICKED, fork_child};
use crate::serve::memory::Memory;
use crate::serve::worker::{Message, Work, live};

/// A share that was answered.
pub(super) struct Done {
    pub(super) pid: u32,
    pub(super) attempts: u32,
    pub(super) first: Duration,
    pub(super) last: Duration,
    pub(super) payload: Vec<u8>,
    pub(super) memory: Option<Memory>,
}

/// All shares, answered.
pub(super) struct Gathered {
    pub(super) done: Vec<Done>,
    /// Memory of this process.
    pub(super) parent: Option<Memory>,
}

/// A forked worker. Dropped in the parent, it is killed and reaped.
struct Worker {
    pid: Pid,
    attempt: u32,
    results: OwnedFd,
    release: OwnedFd,
    received: Vec<u8>,
    message: Option<Message>,
    reaped: bool,
}

/// Answers all `shares`, each in a worker of its own, and measures the workers while all are alive.
pub(super) fn gather(
    shares: &[Range<usize>],
    work: &Work<'_>,
    max_attempts: u32,
    observer: &mut dyn FnMut(PoolEvent),
) -> Result<Gathered, PoolError> {
    let mut workers = Vec::with_capacity(shares.len());
    for (index, share) in shares.iter().enumerate() {
        workers.push(start(index, share, work, 1, observer)?);
    }
    while let Some(ready) = wait_for_bytes(&workers)? {
        for index in ready {
            if workers[index].receive().map_err(PoolError::Pipe)? {
                continue;
            }
            let (attempt, pid) = (workers[index].attempt, workers[index].pid);
            let how = describe(workers[index].reap());
            observer(PoolEvent::Died { worker: index, pid: pid.as_raw().cast_unsigned(), how: how.clone() });
            if attempt >= max_attempts {
                return Err(PoolError::Died {
                    worker: index,
                    rows: shares[index].clone(),
                    attempts: attempt,
                    how,
                });
            }
            workers[index] = start(index, &shares[index], work, attempt + 1, observer)?;
        }
    }
    let done = workers.iter_mut().zip(shares).map(|(worker, share)| worker.done(share));
    let gathered = Gathered { done: done.collect::<Result<_, _>>()?, parent: Memory::of_self().ok() };
    workers.iter_mut().for_each(Worker::let_go);
    Ok(gathered)
}

fn start(
    index: usize,
    share: &Range<usize>,
    work: &Work<'_>,
    attempt: u32,
    observer: &mut dyn FnMut(PoolEvent),
) -> Result<Worker, PoolError> {
    let pipe = || pipe2(OFlag::O_CLOEXEC).map_err(|errno| PoolError::Pipe(errno.into()));
    let (results, results_in_child) = pipe()?;
    let (release_in_child, release) = pipe()?;
    let parent = getpid();
    let started = Instant::now();
    // The child's ends move into the closure: the child uses them, the parent's copies close here.
    let pid = fork_child(move || live(parent, started, share, work, results_in_child, release_in_child))
        .map_err(|source| PoolError::Fork { worker: index, source })?;
    observer(PoolEvent::Started {
        worker: index,
        pid: pid.as_raw().cast_unsigned(),
        rows: share.clone(),
        attempt,
    });
    Ok(Worker { pid, attempt, results, release, received: Vec::new(), message: None, reaped: false })
}

/// The workers whose pipe has something to read; `None` once all have answered.
fn wait_for_bytes(workers: &[Worker]) -> Result<Option<Vec<usize>>, PoolError> {
    let open: Vec<usize> = (0..workers.len()).filter(|&index| workers[index].message.is_none()).collect();
    if open.is_empty() {
        return Ok(None);
    }
    let mut fds: Vec<PollFd<'_>> =
        open.iter().map(|&index| PollFd::new(workers[index].results.as_fd(), PollFlags::POLLIN)).collect();
    match poll(&mut fds, PollTimeout::NONE) {
        Ok(_) => {
            let ready = open.iter().zip(&fds).filter(|(_, fd)| fd.any().unwrap_or(true));
            Ok(Some(ready.map(|(&index, _)| index).collect()))
        }
        Err(Errno::EINTR) => Ok(Some(Vec::new())),
        Err(errno) => Err(PoolError::Pipe(errno.into())),
    }
}

/// How a process ended, in words.
fn describe(status: Option<WaitStatus>) -> String {
    match status {
        Some(WaitStatus::Signaled(_, signal, _)) => format!("killed by {signal}"),
        Some(WaitStatus::Exited(_, PANICKED)) => "it panicked".to_owned(),
        Some(WaitStatus::Exited(_, code)) => format!("left with exit code {code}"),
        _ => "gone without a trace".to_owned(),
    }
}

impl Worker {
    /// Reads what is there; `false` if the pipe ended before the message did.
    fn receive(&mut self) -> io::Result<bool> {
        let mut chunk = [0; 1 << 16];
        match nix::unistd::read(&self.results, &mut chunk) {
            Ok(0) => Ok(false),
            Ok(len) => {
                self.received.extend_from_slice(&chunk[..len]);
                self.message = Message::read(&mut self.received);
                Ok(true)
            }
            Err(Errno::EINTR | Errno::EAGAIN) => Ok(true),
            Err(errno) => Err(errno.into()),
        }
    }

    fn done(&mut self, share: &Range<usize>) -> Result<Done, PoolError> {
        let message = self.message.take().expect("gather returns from its loop when all have answered");
        if !message.ok {
            let reason = String::from_utf8_lossy(&message.payload).into_owned();
            return Err(PoolError::Share { rows: share.clone(), reason });
        }
        let pid = self.pid.as_raw().cast_unsigned();
        Ok(Done {
            pid,
            attempts: self.attempt,
            first: message.first,
            last: message.last,
            payload: message.payload,
            memory: Memory::of(pid).ok(),
        })
    }

    fn let_go(&mut self) {
        // A worker that is gone already needs no word.
        let _ = write(&self.release, &[1]);
        self.reap();
    }

    fn reap(&mut self) -> Option<WaitStatus> {
        loop {
            match waitpid(self.pid, None) {
                Err(Errno::EINTR) => {}
                status => {
                    self.reaped = true;
                    return status.ok();
                }
            }
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if !self.reaped {
            let _ = kill(self.pid, Signal::SIGKILL);
            self.reap();
        }
    }
}
