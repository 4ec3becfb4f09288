//! Long work that Ctrl-C ends.
#![forbid(unsafe_code)]

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use onecopy::OnProgress;
use pyo3::prelude::*;

/// How often signals are looked at.
const PULSE: Duration = Duration::from_millis(50);

/// Thrown through the library to end its work.
struct Stopped;

/// Runs `work` without the GIL in this thread, and ends it at a signal whose handler raises: whenever it tells of progress, the
/// handlers run. Python runs them in its main thread only, so work of other threads is not ended.
pub(crate) fn interruptible<T: Send>(
    py: Python<'_>,
    work: impl FnOnce(OnProgress<'_>) -> T + Send,
) -> PyResult<T> {
    let looked = Mutex::new(Instant::now());
    let raised = Mutex::new(None);
    let look = || {
        let mut looked = looked.lock().unwrap_or_else(PoisonError::into_inner);
        if looked.elapsed() < PULSE {
            return;
        }
        *looked = Instant::now();
        drop(looked);
        if let Err(error) = Python::attach(|py| py.check_signals()) {
            *raised.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            resume_unwind(Box::new(Stopped));
        }
    };
    match py.detach(|| catch_unwind(AssertUnwindSafe(|| work(&|_| look())))) {
        Ok(done) => Ok(done),
        Err(payload) => match raised.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) if payload.is::<Stopped>() => Err(error),
            // A bug of ours goes on as the panic that it is.
            _ => resume_unwind(payload),
        },
    }
}
