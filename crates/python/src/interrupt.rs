//! Long work that Ctrl-C ends, or an exception of whoever is told of progress.
#![forbid(unsafe_code)]

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use onecopy::{OnProgress, Progress};
use pyo3::prelude::*;

/// How often signals are looked at.
const PULSE: Duration = Duration::from_millis(50);

/// Thrown through the library to end its work.
struct Stopped;

struct State {
    looked: Instant,
    raised: Option<PyErr>,
}

/// Runs `work` without the GIL in this thread. Whenever that tells of progress, handlers of signals run, and `callback` is told;
/// what either raises ends the work. Python runs handlers in its main thread only, so no signal ends work of other threads.
pub(crate) fn interruptible<T: Send>(
    py: Python<'_>,
    callback: Option<&Py<PyAny>>,
    work: impl FnOnce(OnProgress<'_>) -> T + Send,
) -> PyResult<T> {
    let state = Mutex::new(State { looked: Instant::now(), raised: None });
    let told = |progress: Progress| {
        let last = progress.what == Progress::PUBLISHING;
        let locked = if last { state.lock().ok() } else { state.try_lock().ok() };
        let Some(mut state) = locked else { return };
        if state.raised.is_none() {
            if !last && state.looked.elapsed() < PULSE {
                return;
            }
            state.raised = Python::attach(|py| tell(py, callback, progress)).err();
            state.looked = Instant::now();
        }
        if state.raised.is_some() {
            drop(state);
            resume_unwind(Box::new(Stopped));
        }
    };
    let done = py.detach(|| catch_unwind(AssertUnwindSafe(|| work(&told))));
    let raised = state.into_inner().unwrap_or_else(PoisonError::into_inner).raised;
    match (done, raised) {
        (Ok(done), None) => Ok(done),
        (_, Some(error)) => Err(error),
        // A bug of ours goes on as the panic that it is.
        (Err(payload), None) => resume_unwind(payload),
    }
}

fn tell(py: Python<'_>, callback: Option<&Py<PyAny>>, progress: Progress) -> PyResult<()> {
    py.check_signals()?;
    if let Some(callback) = callback {
        callback.call1(py, (progress.what, progress.done_bytes, progress.total_bytes))?;
    }
    Ok(())
}
