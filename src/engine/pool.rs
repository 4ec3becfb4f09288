//! The crate's own threads.
//!
//! A child process inherits the memory of its parent's pools but none of their threads: work given to such a pool
//! would never be done. So a pool remembers the process that built it, and a child builds another.
//!
//! No lock guards the slots. A fork copies a lock that another thread holds as it is, held for ever; here a
//! child finds an empty slot, its own pool or its parent's, whatever its parent's threads were doing.
#![forbid(unsafe_code)]

use std::process;
use std::ptr;
use std::sync::OnceLock;
use std::thread;

use crossbeam_utils::atomic::AtomicCell;
use rayon::ThreadPool;

/// More threads than this wait for memory, whatever was asked for.
const MAX_THREADS: usize = 256;

/// The pool of `n` threads is in slot `n`. Pools live as long as their process.
static POOLS: [AtomicCell<Slot>; MAX_THREADS + 1] = [const { AtomicCell::new(Slot(None)) }; MAX_THREADS + 1];

#[derive(Clone, Copy)]
struct Slot(Option<&'static Owned>);

/// A pool that is built at first use, once in its process.
struct Owned {
    pid: u32,
    pool: OnceLock<Option<ThreadPool>>,
}

impl PartialEq for Slot {
    fn eq(&self, other: &Self) -> bool {
        match (self.0, other.0) {
            (Some(one), Some(other)) => ptr::eq(one, other),
            (None, None) => true,
            _ => false,
        }
    }
}

impl Eq for Slot {}

/// How many threads a call may use.
pub(super) fn threads(asked: Option<usize>) -> usize {
    asked.unwrap_or_else(available).clamp(1, MAX_THREADS)
}

/// As many as the machine has, asked once: the answer takes several system calls and files to read, which cost more
/// than a prediction of one row.
fn available() -> usize {
    static AVAILABLE: OnceLock<usize> = OnceLock::new();
    *AVAILABLE.get_or_init(|| thread::available_parallelism().map_or(1, usize::from))
}

/// Runs `work` within a pool of `threads` threads, or on this thread if there is but one, or none can be started.
pub(super) fn run<R: Send>(threads: usize, work: impl FnOnce() -> R + Send) -> R {
    match pool(threads) {
        Some(pool) => pool.install(work),
        None => work(),
    }
}

fn pool(threads: usize) -> Option<&'static ThreadPool> {
    let slot = POOLS.get(threads).filter(|_| threads > 1)?;
    let name = |index| format!("onecopy-{index}");
    let build = || rayon::ThreadPoolBuilder::new().num_threads(threads).thread_name(name).build().ok();
    owned(slot).pool.get_or_init(build).as_ref()
}

/// The entry of this process. That of the parent stays where it is: its threads are not here to be told to end.
fn owned(slot: &AtomicCell<Slot>) -> &'static Owned {
    let pid = process::id();
    let own = |slot: Slot| slot.0.filter(|owned| owned.pid == pid);
    let found = slot.load();
    own(found).unwrap_or_else(|| {
        let new: &'static Owned = Box::leak(Box::new(Owned { pid, pool: OnceLock::new() }));
        // Only threads of this process change the slot, and only to an entry of this process.
        match slot.compare_exchange(found, Slot(Some(new))) {
            Ok(_) => new,
            Err(other) => own(other).unwrap_or(new),
        }
    })
}
