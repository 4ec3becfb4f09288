//! `dump`: what Python's pickler gave, written as a model file.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use numpy::PyArray1;
use onecopy::{ConvertError, Dump, DumpError, DumpOptions, Pickled, ReadAt};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::array::HeldBytes;
use crate::error::{self, Kind};
use crate::functions::level;
use crate::interrupt::interruptible;
use crate::terms::Terms;

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
    let dump = read(py, stream, &buffers, &terms, progress.as_ref(), &path)?;
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
    let written = interruptible(py, progress.as_ref(), |told| dump.write(&path, &options, told))?;
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
    read(py, stream, &buffers, &terms, None, Path::new("")).map(drop)
}

fn read(
    py: Python<'_>,
    stream: &Buffer<'_>,
    buffers: &[Buffer<'_>],
    terms: &[Bound<'_, Terms>],
    progress: Option<&Py<PyAny>>,
    path: &Path,
) -> PyResult<Dump> {
    let held = |array| -> PyResult<Box<dyn ReadAt>> { Ok(Box::new(HeldBytes::of(array)?)) };
    let pickled = Pickled {
        stream: held(stream)?,
        buffers: buffers.iter().map(held).collect::<PyResult<_>>()?,
        terms: terms.iter().map_while(|terms| terms.get().take()).collect(),
    };
    let read = interruptible(py, progress, |told| Dump::read(pickled, told))?;
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
