//! The crate's own thread pool.
//!
//! A child process inherits the memory of its parent's pool but none of its threads: work given to such a pool
//! would never be done, and a lock that a thread of the parent held would never be opened. So every process has a slot of
//! its own, claimed without a lock, and never looks into those of its ancestors.
#![forbid(unsafe_code)]

use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rayon::ThreadPool;

/// One for each generation of processes that predicted before they forked; later ones predict on the calling thread.
static SLOTS: [Slot; 64] = [const { Slot { pid: AtomicU32::new(0), built: Mutex::new(None) } }; 64];

/// The pool of one process.
struct Slot {
    /// Whose it is; 0: nobody's.
    pid: AtomicU32,
    built: Mutex<Option<Built>>,
}

struct Built {
    threads: usize,
    pool: Arc<ThreadPool>,
}

/// How many threads a call may use.
pub(super) fn threads(asked: Option<usize>) -> usize {
    asked.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from)).max(1)
}

/// Runs `work` within a pool of `threads` threads, or on this thread if there is but one, or none can be started.
pub(super) fn run<R: Send>(threads: usize, work: impl FnOnce() -> R + Send) -> R {
    match pool(threads) {
        Some(pool) => pool.install(work),
        None => work(),
    }
}

fn pool(threads: usize) -> Option<Arc<ThreadPool>> {
    if threads < 2 {
        return None;
    }
    let mut built = slot(process::id())?.built.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(built) = built.as_ref().filter(|built| built.threads == threads) {
        return Some(Arc::clone(&built.pool));
    }
    let name = |index| format!("onecopy-{index}");
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).thread_name(name).build().ok()?;
    let pool = Arc::new(pool);
    *built = Some(Built { threads, pool: Arc::clone(&pool) });
    Some(pool)
}

/// The slot of this process, claimed at its first call.
fn slot(pid: u32) -> Option<&'static Slot> {
    SLOTS.iter().find(|slot| match slot.pid.compare_exchange(0, pid, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => true,
        Err(found) => found == pid,
    })
}
