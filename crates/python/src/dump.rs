//! `dump`: what Python's pickler gave, written as a model file.
#![forbid(unsafe_code)]

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use numpy::PyArray1;
use onecopy::{ConvertError, Dump, DumpError, DumpOptions, Pickled, Progress, ReadAt};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::array::HeldBytes;
use crate::error::{self, Kind};
use crate::functions::level;
use crate::terms::Terms;

/// How often Python is told, and asked whether it wants to go on.
const INTERVAL: Duration = Duration::from_millis(100);

type Buffer<'py> = Bound<'py, PyArray1<u8>>;

/// Writes the pickle `stream`, with its `buffers` and big dicts beside it, to `path`.
///
/// `describe(modules, main)` gives, as JSON, the environment: the modules that the object names, and its names in
/// `__main__`. `schema` and `user` are JSON too. `compress` is a level of `archive`, or None.
#[pyfunction]
#[pyo3(signature = (stream, buffers, terms, path, *, describe, schema, user, compress, sync, progress))]
#[expect(clippy::too_many_arguments, reason = "one call, from one place")]
pub(crate) fn dump(
    py: Python<'_>,
    stream: &Buffer<'_>,
    buffers: Vec<Buffer<'_>>,
    terms: Vec<Bound<'_, Terms>>,
    path: PathBuf,
    describe: &Bound<'_, PyAny>,
    schema: Option<&str>,
    user: Option<&str>,
    compress: Option<&str>,
    sync: bool,
    progress: Option<Py<PyAny>>,
) -> PyResult<()> {
    let watch = Watch::new(progress);
    let told = |progress| watch.progress(progress);
    let dump = read(py, stream, &buffers, &terms, &watch, &path)?;
    let modules: Vec<&str> = dump.modules().into_iter().collect();
    let main: Vec<&str> = dump.names_of("__main__").into_iter().collect();
    let environment: String = describe.call1((modules, main))?.extract()?;
    let options = DumpOptions {
        compress: compress.map(level).transpose()?,
        sync,
        environment: json(Some(&environment))?,
        schema: json(schema)?,
        user: json(user)?,
    };
    let written = py.detach(|| dump.write(&path, &options, &told));
    watch.done(py)?;
    written.map(drop).map_err(|error| translate(py, &path, &error))
}

/// Whether a pickle can be kept without loss; raises `UnsupportedModelError` if not.
#[pyfunction]
pub(crate) fn check_pickle(
    py: Python<'_>,
    stream: &Buffer<'_>,
    buffers: Vec<Buffer<'_>>,
    terms: Vec<Bound<'_, Terms>>,
) -> PyResult<()> {
    read(py, stream, &buffers, &terms, &Watch::new(None), Path::new("")).map(drop)
}

fn read(
    py: Python<'_>,
    stream: &Buffer<'_>,
    buffers: &[Buffer<'_>],
    terms: &[Bound<'_, Terms>],
    watch: &Watch,
    path: &Path,
) -> PyResult<Dump> {
    let held = |array| -> PyResult<Box<dyn ReadAt>> {
        Ok(Box::new(Watched { bytes: HeldBytes::of(array)?, stop: watch.stop.clone() }))
    };
    let pickled = Pickled {
        stream: held(stream)?,
        buffers: buffers.iter().map(held).collect::<PyResult<_>>()?,
        terms: terms.iter().map_while(|terms| terms.get().take()).collect(),
    };
    let read = py.detach(|| Dump::read(pickled, &|progress| watch.progress(progress)));
    watch.done(py)?;
    read.map_err(|error| translate(py, path, &error))
}

fn json(text: Option<&str>) -> PyResult<Option<serde_json::Value>> {
    let value = text.map(serde_json::from_str).transpose();
    value.map_err(|error| PyValueError::new_err(format!("not JSON: {error}")))
}

fn translate(py: Python<'_>, path: &Path, error: &DumpError) -> PyErr {
    match error {
        DumpError::Read(ConvertError::Pickle { problem, .. } | ConvertError::Finish { problem }) => {
            error::raise(py, Kind::Unsupported, problem.to_string())
        }
        _ => error::translate(py, Kind::Unsupported, Some(path), error),
    }
}

/// Tells Python about progress, and stops reading if Python raised something: a keyboard interrupt, for example.
struct Watch {
    callback: Option<Py<PyAny>>,
    stop: Arc<AtomicBool>,
    state: Mutex<State>,
}

struct State {
    told: Instant,
    raised: Option<PyErr>,
}

impl Watch {
    fn new(callback: Option<Py<PyAny>>) -> Self {
        let state = State { told: Instant::now(), raised: None };
        Watch { callback, stop: Arc::default(), state: Mutex::new(state) }
    }

    fn progress(&self, progress: Progress) {
        let Ok(mut state) = self.state.try_lock() else { return };
        if state.told.elapsed() < INTERVAL || state.raised.is_some() {
            return;
        }
        state.raised = Python::attach(|py| self.tell(py, progress)).err();
        self.stop.store(state.raised.is_some(), Ordering::Relaxed);
        state.told = Instant::now();
    }

    fn tell(&self, py: Python<'_>, progress: Progress) -> PyResult<()> {
        py.check_signals()?;
        if let Some(callback) = &self.callback {
            callback.call1(py, (progress.what, progress.done_bytes, progress.total_bytes))?;
        }
        Ok(())
    }

    /// Raises what a callback raised.
    fn done(&self, py: Python<'_>) -> PyResult<()> {
        let raised = self.state.lock().ok().and_then(|mut state| state.raised.take());
        raised.map_or_else(|| py.check_signals(), Err)
    }
}

struct Watched {
    bytes: HeldBytes,
    stop: Arc<AtomicBool>,
}

impl ReadAt for Watched {
    fn len_bytes(&self) -> u64 {
        self.bytes.len_bytes()
    }

    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::Other.into());
        }
        self.bytes.read_exact_at(offset, buf)
    }

    fn slice(&self, range: Range<u64>) -> Option<&[u8]> {
        if self.stop.load(Ordering::Relaxed) {
            return None;
        }
        self.bytes.slice(range)
    }
}
