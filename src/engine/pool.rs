//! The crate's own thread pool.
//!
//! A child process inherits the memory of its parent's pool but none of its threads: work given to such a pool
//! would never be done. So the pool remembers the process that built it, and a child builds another.
#![forbid(unsafe_code)]

use std::process;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rayon::ThreadPool;

static POOL: Mutex<Option<Built>> = Mutex::new(None);

struct Built {
    pid: u32,
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
    let mut slot = POOL.lock().unwrap_or_else(PoisonError::into_inner);
    let pid = process::id();
    match slot.take() {
        Some(built) if built.pid == pid && built.threads == threads => {
            let pool = Arc::clone(&built.pool);
            *slot = Some(built);
            return Some(pool);
        }
        // The parent's threads are not here to be told to end: leave its memory alone.
        Some(built) if built.pid != pid => std::mem::forget(built),
        _ => {}
    }
    let name = |index| format!("onecopy-{index}");
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).thread_name(name).build().ok()?;
    let pool = Arc::new(pool);
    *slot = Some(Built { pid, threads, pool: Arc::clone(&pool) });
    Some(pool)
}
