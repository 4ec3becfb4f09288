//! `sign`, and checking who has signed.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use onecopy::VerifyKey;
use pyo3::prelude::*;

use crate::error::{self, Kind};
use crate::functions::watched;

/// Writes the signature of a file beside it; gives its path.
#[pyfunction]
#[pyo3(signature = (path, key, progress=None))]
pub(crate) fn sign(
    py: Python<'_>,
    path: PathBuf,
    key: PathBuf,
    progress: Option<Bound<'_, PyAny>>,
) -> PyResult<PathBuf> {
    let file = path.clone();
    let signed = watched(py, progress, move |told| onecopy::sign(&file, &key, told))?;
    signed.map_err(|error| error::translate(py, Kind::Signature, Some(&path), &error))
}

/// Checks every byte of a file, and that the owner of the key has signed it.
#[pyfunction]
#[pyo3(signature = (path, key, progress=None))]
pub(crate) fn verify_signed(
    py: Python<'_>,
    path: PathBuf,
    key: PathBuf,
    progress: Option<Bound<'_, PyAny>>,
) -> PyResult<()> {
    let (file, key) = (path.clone(), read_key(py, &key)?);
    let vouched = watched(py, progress, move |told| onecopy::verify_signed(&file, &key, told))?;
    vouched.map(drop).map_err(|error| error::translate(py, Kind::Signature, Some(&path), &error))
}

/// The public key in a file.
pub(crate) fn read_key(py: Python<'_>, path: &Path) -> PyResult<VerifyKey> {
    VerifyKey::read(path).map_err(|error| error::translate(py, Kind::Signature, Some(path), &error))
}
