//! Work on whole files: `convert`, `verify`, `inspect`, `archive`, `restore`.
#![forbid(unsafe_code)]

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use onecopy::{ArchiveOptions, ConvertOptions, Level, OnProgress, Progress, UnknownLevel, VerifyOptions};
use pyo3::exceptions::{PyFileExistsError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;

use crate::error::{self, Kind};
use crate::source::{Mode, Source};

/// How often signals are looked at and progress is told.
const PULSE: Duration = Duration::from_millis(50);

/// Converts a pickle, joblib or `.npy` file; gives the path of the model file.
#[pyfunction]
#[pyo3(signature = (src, dst=None, metadata=None, progress=None))]
pub(crate) fn convert(
    py: Python<'_>,
    src: PathBuf,
    dst: Option<PathBuf>,
    metadata: Option<&str>,
    progress: Option<Bound<'_, PyAny>>,
) -> PyResult<PathBuf> {
    let dst = destination(dst, || onecopy_cli::converted_name(&src))?;
    let metadata = metadata.map(serde_json::from_str).transpose();
    let metadata = metadata.map_err(|error| PyValueError::new_err(format!("metadata: {error}")))?;
    let options = ConvertOptions { metadata, ..ConvertOptions::default() };
    let (from, to) = (src.clone(), dst.clone());
    let done = watched(py, progress, move |told| onecopy::convert(&from, &to, &options, told))?;
    done.map_err(|error| error::translate(py, Kind::Format, Some(&src), &error))?;
    Ok(dst)
}

/// Compares every byte of a file with its checksums.
#[pyfunction]
#[pyo3(signature = (path, progress=None))]
pub(crate) fn verify(py: Python<'_>, path: PathBuf, progress: Option<Bound<'_, PyAny>>) -> PyResult<()> {
    let file = path.clone();
    let options = VerifyOptions { digests: true };
    let done = watched(py, progress, move |told| onecopy::verify(&file, options, told))?;
    done.map(drop).map_err(|error| error::translate(py, Kind::Format, Some(&path), &error))
}

/// What is in a file, as JSON.
#[pyfunction]
pub(crate) fn inspect(py: Python<'_>, path: PathBuf) -> PyResult<String> {
    let source = Source::open(py, &path, Mode::Read)?;
    let inspection = py.detach(|| source.model().inspect());
    let inspection = inspection.map_err(|error| error::translate(py, Kind::Format, Some(&path), &error))?;
    serde_json::to_string(&inspection).map_err(|error| PyValueError::new_err(error.to_string()))
}

/// The digest that a file says it has; nothing is restored.
#[pyfunction]
pub(crate) fn digest(py: Python<'_>, path: PathBuf) -> PyResult<String> {
    Ok(Source::open(py, &path, Mode::Read)?.model().digest().to_string())
}

/// The level of a word.
pub(crate) fn level(word: &str) -> PyResult<Level> {
    word.parse().map_err(|error: UnknownLevel| PyValueError::new_err(error.to_string()))
}

/// Writes the compressed form of a file; gives its path.
#[pyfunction]
#[pyo3(signature = (src, dst=None, level=None, base=None, progress=None))]
pub(crate) fn archive(
    py: Python<'_>,
    src: PathBuf,
    dst: Option<PathBuf>,
    level: Option<&str>,
    base: Option<PathBuf>,
    progress: Option<Bound<'_, PyAny>>,
) -> PyResult<PathBuf> {
    let options = ArchiveOptions { level: level.map(self::level).transpose()?.unwrap_or_default() };
    if let Some(base) = base {
        return archive_version(py, src, dst, base, options, progress);
    }
    let dst = destination(dst, || onecopy_cli::archived_name(&src))?;
    let (from, to) = (src.clone(), dst.clone());
    let done = watched(py, progress, move |told| onecopy::archive(&from, &to, &options, told))?;
    done.map_err(|error| error::translate(py, Kind::Format, Some(&src), &error))?;
    Ok(dst)
}

fn archive_version(
    py: Python<'_>,
    src: PathBuf,
    dst: Option<PathBuf>,
    base: PathBuf,
    options: ArchiveOptions,
    progress: Option<Bound<'_, PyAny>>,
) -> PyResult<PathBuf> {
    let folder = onecopy::folder_of_versions(&base);
    let folder = folder.map_err(|error| error::translate(py, Kind::Format, Some(&base), &error))?;
    let name = onecopy_cli::archived_name(&src);
    let dst = destination(dst, || folder.join(name.file_name().unwrap_or(name.as_os_str())))?;
    let (from, to) = (src.clone(), dst.clone());
    let work = move |told: OnProgress<'_>| onecopy::archive_version(&from, &to, &base, &options, told);
    let done = watched(py, progress, work)?;
    done.map_err(|error| error::translate(py, Kind::Format, Some(&src), &error))?;
    Ok(dst)
}

/// Removes what no archive in a folder of versions needs; gives the numbers of removed units and of their bytes.
#[pyfunction]
pub(crate) fn prune(py: Python<'_>, folder: PathBuf) -> PyResult<(u64, u64)> {
    let done = py.detach(|| onecopy::prune(&folder));
    let done = done.map_err(|error| error::translate(py, Kind::Format, Some(&folder), &error))?;
    Ok((done.removed, done.removed_bytes))
}

/// Writes the form of a file that can be mapped; gives its path.
#[pyfunction]
#[pyo3(signature = (src, dst=None, progress=None))]
pub(crate) fn restore(
    py: Python<'_>,
    src: PathBuf,
    dst: Option<PathBuf>,
    progress: Option<Bound<'_, PyAny>>,
) -> PyResult<PathBuf> {
    let dst = destination(dst, || onecopy_cli::restored_name(&src))?;
    let (from, to) = (src.clone(), dst.clone());
    let done = watched(py, progress, move |told| onecopy::restore(&from, &to, told))?;
    done.map_err(|error| error::translate(py, Kind::Format, Some(&src), &error))?;
    Ok(dst)
}

/// The path as given, which may replace a file, or a default that must not exist.
fn destination(given: Option<PathBuf>, default: impl FnOnce() -> PathBuf) -> PyResult<PathBuf> {
    let path = match given {
        Some(path) => return Ok(path),
        None => default(),
    };
    if std::fs::symlink_metadata(&path).is_ok() {
        let shown = path.display();
        return Err(PyFileExistsError::new_err((
            17,
            "the file exists; name it as `dst` to replace it",
            shown.to_string(),
        )));
    }
    Ok(path)
}

/// Thrown through the library to end its work.
struct Stopped;

/// What the working thread says to the one that waits.
enum Word<T> {
    /// The result is about to get its name: may it?
    Publishing,
    Done(thread::Result<T>),
}

/// The working thread's side of the talk.
struct Watched<T> {
    watch: Arc<Watch>,
    words: Sender<Word<T>>,
    /// Answers to [`Word::Publishing`].
    answers: Mutex<Receiver<()>>,
}

#[derive(Default)]
struct Watch {
    stop: AtomicBool,
    latest: Mutex<Option<Progress>>,
}

impl Watch {
    fn take(&self) -> Option<Progress> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn end_if_stopped(&self) {
        if self.stop.load(Ordering::Acquire) {
            resume_unwind(Box::new(Stopped));
        }
    }
}

impl<T> Watched<T> {
    fn tell(&self, progress: Progress) {
        self.watch.end_if_stopped();
        *self.watch.latest.lock().unwrap_or_else(PoisonError::into_inner) = Some(progress);
        if progress.what == Progress::PUBLISHING && self.words.send(Word::Publishing).is_ok() {
            _ = self.answers.lock().unwrap_or_else(PoisonError::into_inner).recv();
            self.watch.end_if_stopped();
        }
    }
}

/// Runs `work` in a thread of its own, so that this one can hear of Ctrl-C and tell of progress. What either raises ends the
/// work before a file gets its name; from then on neither is asked.
pub(crate) fn watched<T: Send + 'static>(
    py: Python<'_>,
    progress: Option<Bound<'_, PyAny>>,
    work: impl FnOnce(OnProgress<'_>) -> T + Send + 'static,
) -> PyResult<T> {
    let watch = Arc::new(Watch::default());
    let (words, heard) = channel();
    let (answer, answers) = channel();
    let watched = Watched { watch: Arc::clone(&watch), words, answers: Mutex::new(answers) };
    let run = move || {
        let done = catch_unwind(AssertUnwindSafe(|| work(&|progress| watched.tell(progress))));
        _ = watched.words.send(Word::Done(done));
    };
    thread::Builder::new().name("onecopy-work".to_owned()).spawn(run)?;
    let heard = Mutex::new(heard);
    let wait = || heard.lock().unwrap_or_else(PoisonError::into_inner).recv_timeout(PULSE);
    let tell = || match (watch.take(), &progress) {
        (Some(Progress { what, done_bytes, total_bytes }), Some(progress)) => {
            progress.call1((what, done_bytes, total_bytes)).map(drop)
        }
        _ => Ok(()),
    };
    let (mut stopped, mut publishing) = (None, false);
    loop {
        let word = py.detach(wait);
        match word {
            Ok(Word::Done(Ok(result))) => return stopped.map_or_else(tell, Err).map(|()| result),
            Ok(Word::Done(Err(payload))) => return Err(stopped.unwrap_or_else(|| panicked(payload))),
            Err(RecvTimeoutError::Disconnected) => {
                return Err(PyRuntimeError::new_err("the working thread ended without an answer"));
            }
            Ok(Word::Publishing) | Err(RecvTimeoutError::Timeout) => {}
        }
        if stopped.is_none()
            && !publishing
            && let Err(error) = py.check_signals().and_then(|()| tell())
        {
            watch.stop.store(true, Ordering::Release);
            stopped = Some(error);
        }
        if let Ok(Word::Publishing) = word {
            publishing = true;
            _ = answer.send(());
        }
    }
}

/// A bug of ours goes on as the panic that it is.
fn panicked(payload: Box<dyn Any + Send>) -> PyErr {
    resume_unwind(payload)
}
