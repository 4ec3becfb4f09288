//! `verify` by path.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use crate::format::OnProgress;
use crate::model::verify::{VerifyError, VerifyOptions, VerifyReport};
use crate::model::{Model, OpenError};

/// A file that did not pass `verify`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyFileError {
    /// It cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It is damaged.
    #[error("{} is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: VerifyError,
    },
}

/// Opens a file and compares every byte of it with its checksums.
///
/// # Errors
///
/// [`VerifyFileError`] says what is damaged and where.
pub fn verify(
    path: &Path,
    options: VerifyOptions,
    progress: OnProgress<'_>,
) -> Result<VerifyReport, VerifyFileError> {
    let model = Model::open(path)?;
    let damaged = |source| VerifyFileError::Damaged { path: path.to_owned(), source };
    model.verify(options, progress).map_err(damaged)
}
