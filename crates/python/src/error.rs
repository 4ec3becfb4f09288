//! Errors of the library as Python exceptions, defined in `python/onecopy/_errors.py`.
#![forbid(unsafe_code)]

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

use onecopy::{
    CacheError, ConvertFileError, Damage, FormatError, HotError, MapError, OpenError, RewriteError,
    SignatureError, StepError, VerifyError, VerifyFileError,
};
use pyo3::exceptions::{PyIsADirectoryError, PyMemoryError, PyOSError};
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
    /// `SignatureError`
    Signature,
}

/// An exception of `kind`.
pub(crate) fn raise(py: Python<'_>, kind: Kind, message: impl Into<String>) -> PyErr {
    static FORMAT: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static CHECKSUM: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static UNSUPPORTED: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static SIGNATURE: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let (cell, name) = match kind {
        Kind::Format => (&FORMAT, "FormatError"),
        Kind::Checksum => (&CHECKSUM, "ChecksumError"),
        Kind::Unsupported => (&UNSUPPORTED, "UnsupportedModelError"),
        Kind::Signature => (&SIGNATURE, "SignatureError"),
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

/// An error of the library: `OSError` if the system refused something, `ChecksumError` if bytes are damaged, else an exception
/// of `kind`. `path` is that of an `OSError` whose error names none.
pub(crate) fn translate(
    py: Python<'_>,
    kind: Kind,
    path: Option<&Path>,
    error: &(dyn Error + 'static),
) -> PyErr {
    let mut damaged = false;
    let mut place = None;
    let mut next = Some(error);
    while let Some(current) = next {
        place = path_of(current).or(place);
        damaged |= is_damage(current);
        let Some(io) = current.downcast_ref::<io::Error>() else {
            next = current.source();
            continue;
        };
        if let Some(errno) = errno_of(io) {
            return os_error(py, errno, io, place.as_deref().or(path), error);
        }
        // The source of such an error is that of the error within.
        next = io.get_ref().map(|inner| inner as &(dyn Error + 'static));
    }
    if let Some(path) = place.as_deref().or(path).filter(|path| is_not_a_file(error) && path.is_dir()) {
        return PyIsADirectoryError::new_err((EISDIR, chain(error), path.as_os_str().to_owned()));
    }
    let kind = match (damaged, signature_error(error)) {
        (true, _) => Kind::Checksum,
        (_, Some(SignatureError::Open(_))) => Kind::Format,
        (_, Some(_)) => Kind::Signature,
        _ => kind,
    };
    raise(py, kind, chain(error))
}

const EISDIR: i32 = 21;

/// The number of an error of the system, also of one that a library has wrapped.
fn errno_of(error: &io::Error) -> Option<i32> {
    error.raw_os_error().or(match error.kind() {
        io::ErrorKind::NotFound => Some(2),
        io::ErrorKind::PermissionDenied => Some(13),
        io::ErrorKind::AlreadyExists => Some(17),
        io::ErrorKind::NotADirectory => Some(20),
        io::ErrorKind::IsADirectory => Some(EISDIR),
        io::ErrorKind::FileTooLarge => Some(27),
        io::ErrorKind::StorageFull => Some(28),
        io::ErrorKind::ReadOnlyFilesystem => Some(30),
        io::ErrorKind::QuotaExceeded => Some(122),
        _ => None,
    })
}

/// The path that an error is about. Errors within errors that show them as their own are no sources of these.
fn path_of(error: &(dyn Error + 'static)) -> Option<PathBuf> {
    let mapped = match open_error(error) {
        Some(OpenError::Map(error)) => Some(error),
        _ => error.downcast_ref::<MapError>(),
    };
    let step = match (error.downcast_ref::<ConvertFileError>(), error.downcast_ref::<RewriteError>()) {
        (Some(ConvertFileError::Publish(step)), _) | (_, Some(RewriteError::Publish(step))) => Some(step),
        _ => error.downcast_ref::<StepError>(),
    };
    if let Some(HotError::Write { folder, .. }) = error.downcast_ref() {
        return Some(folder.clone());
    }
    if let Some(SignatureError::Io { path, .. } | SignatureError::Write { path, .. }) = signature_error(error)
    {
        return Some(path.clone());
    }
    if let Some(CacheError::Io { path, .. }) = error.downcast_ref() {
        return Some(path.clone());
    }
    match (mapped, step, error.downcast_ref::<ConvertFileError>()) {
        (Some(MapError::Io { path, .. }), _, _) => Some(path.clone()),
        (_, Some(StepError::Io { path, .. } | StepError::NotAFile { path, .. }), _) => Some(path.clone()),
        (_, _, Some(ConvertFileError::Open { path, .. } | ConvertFileError::Write { path, .. })) => {
            Some(path.clone())
        }
        _ => None,
    }
}

/// The failure to open a file that an error is or shows as its own.
fn open_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a OpenError> {
    if let Some(HotError::Open(error) | HotError::Restore(RewriteError::Open(error))) = error.downcast_ref() {
        return Some(error);
    }
    if let Some(SignatureError::Open(error)) = signature_error(error) {
        return Some(error);
    }
    match (error.downcast_ref(), error.downcast_ref()) {
        (Some(VerifyFileError::Open(error)), _) | (_, Some(RewriteError::Open(error))) => Some(error),
        _ => error.downcast_ref(),
    }
}

/// The failure to find a file signed that an error is or shows as its own.
fn signature_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a SignatureError> {
    match error.downcast_ref() {
        Some(HotError::Signature(error)) => Some(error),
        _ => error.downcast_ref(),
    }
}

/// Whether a checksum says so.
fn is_damage(error: &(dyn Error + 'static)) -> bool {
    if let Some(HotError::Damaged { source, .. }) = error.downcast_ref() {
        return is_damage(&**source);
    }
    if let Some(SignatureError::Damaged { source, .. }) = signature_error(error) {
        return is_damage(&**source);
    }
    let wrong = matches!(
        error.downcast_ref(),
        Some(FormatError::Checksum { .. } | FormatError::Prologue { .. } | FormatError::Padding { .. })
    );
    let found = matches!(
        error.downcast_ref(),
        Some(
            VerifyError::Damaged { .. }
                | VerifyError::Padding(_)
                | VerifyError::ArrayDigest { .. }
                | VerifyError::Digest { .. }
        )
    );
    wrong || found || error.downcast_ref::<Damage>().is_some()
}

/// Whether a directory, a device or a pipe was given for a file.
fn is_not_a_file(error: &(dyn Error + 'static)) -> bool {
    let convert = error.downcast_ref::<ConvertFileError>();
    matches!(open_error(error), Some(OpenError::Map(MapError::NotAFile { .. })))
        || matches!(convert, Some(ConvertFileError::NotAFile { .. }))
        || matches!(convert, Some(ConvertFileError::Publish(StepError::NotAFile { .. })))
}

fn os_error(
    py: Python<'_>,
    errno: i32,
    io: &io::Error,
    path: Option<&Path>,
    error: &(dyn Error + 'static),
) -> PyErr {
    if io.kind() == io::ErrorKind::OutOfMemory {
        return PyMemoryError::new_err(chain(error));
    }
    let text = io.to_string();
    let mut text = text.split(" (os error").next().unwrap_or_default().to_owned();
    if let Some(HotError::Cache { .. } | HotError::Write { .. }) = error.downcast_ref() {
        // It says what else can be done.
        text = format!("{text}: {error}");
    }
    let made = match path {
        Some(path) => py.get_type::<PyOSError>().call1((errno, text, path.as_os_str())),
        None => py.get_type::<PyOSError>().call1((errno, text)),
    };
    made.map_or_else(|error| error, PyErr::from_value)
}

/// Whether it is one of onecopy's own.
pub(crate) fn is_own(py: Python<'_>, error: &PyErr) -> bool {
    static BASE: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    match BASE.import(py, "onecopy._errors", "OnecopyError") {
        Ok(base) => error.is_instance(py, base.as_any()),
        Err(_) => false,
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
