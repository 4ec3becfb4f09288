//! Errors of the library as Python exceptions, defined in `python/onecopy/_errors.py`.
#![forbid(unsafe_code)]

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

use pyo3::exceptions::{PyMemoryError, PyOSError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

/// The exceptions of `onecopy._errors`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `FormatError`
    Format,
    /// `ChecksumError`
    Checksum,
    /// `UnsupportedModelError`
    Unsupported,
}

/// An exception of `kind`.
pub(crate) fn raise(py: Python<'_>, kind: Kind, message: impl Into<String>) -> PyErr {
    static FORMAT: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static CHECKSUM: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static UNSUPPORTED: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let (cell, name) = match kind {
        Kind::Format => (&FORMAT, "FormatError"),
        Kind::Checksum => (&CHECKSUM, "ChecksumError"),
        Kind::Unsupported => (&UNSUPPORTED, "UnsupportedModelError"),
    };
    match cell.import(py, "onecopy._errors", name) {
        Ok(class) => PyErr::from_type(class.clone(), (message.into(),)),
        Err(error) => error,
    }
}

/// `UntrustedTypesError` with the names.
pub(crate) fn untrusted(py: Python<'_>, message: String, types: Vec<String>) -> PyErr {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    match CLASS.import(py, "onecopy._errors", "UntrustedTypesError") {
        Ok(class) => PyErr::from_type(class.clone(), (message, types)),
        Err(error) => error,
    }
}

/// An error of the library: `OSError` if the system refused something, else an exception of `kind`.
pub(crate) fn translate(
    py: Python<'_>,
    kind: Kind,
    path: Option<&Path>,
    error: &(dyn Error + 'static),
) -> PyErr {
    let mut next = Some(error);
    while let Some(current) = next {
        if let Some(io) = current.downcast_ref::<io::Error>()
            && let Some(errno) = io.raw_os_error()
        {
            return os_error(errno, io, path, error);
        }
        next = current.source();
    }
    raise(py, kind, chain(error))
}

/// Whether it is one of onecopy's own.
pub(crate) fn is_own(py: Python<'_>, error: &PyErr) -> bool {
    static BASE: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    match BASE.import(py, "onecopy._errors", "OnecopyError") {
        Ok(base) => error.is_instance(py, base.as_any()),
        Err(_) => false,
    }
}

fn os_error(errno: i32, io: &io::Error, path: Option<&Path>, error: &(dyn Error + 'static)) -> PyErr {
    if io.kind() == io::ErrorKind::OutOfMemory {
        return PyMemoryError::new_err(chain(error));
    }
    let text = io.to_string();
    let text = text.split(" (os error").next().unwrap_or_default().to_owned();
    match path {
        Some(path) => PyOSError::new_err((errno, text, PathBuf::from(path))),
        None => PyOSError::new_err((errno, text)),
    }
}

/// The message of an error and of its sources, joined with `: `.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let inner = error.to_string();
        if !text.ends_with(&inner) {
            text = format!("{text}: {inner}");
        }
        source = error.source();
    }
    text
}
