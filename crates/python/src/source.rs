//! The file that arrays, trees and models borrow from. It stays mapped as long as any of them lives.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use onecopy::{CopyOnWrite, MapError, Mapping, Model};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::error::{self, Kind};
use crate::tree::Shelf;

/// What arrays are: `mmap_mode` of `load`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// `"r"`: read-only views of the mapping.
    Read,
    /// `"c"`: views whose pages become private when written to.
    CopyOnWrite,
    /// `None`: copies.
    Copy,
}

impl Mode {
    /// The mode of that name.
    pub(crate) fn from_name(name: Option<&str>) -> PyResult<Self> {
        match name {
            Some("r") => Ok(Mode::Read),
            Some("c") => Ok(Mode::CopyOnWrite),
            None => Ok(Mode::Copy),
            Some("r+" | "w+") => Err(PyValueError::new_err(
                "a model file never changes: use mmap_mode='r', 'c' (private changes) or None (a copy)",
            )),
            Some(other) => {
                Err(PyValueError::new_err(format!("mmap_mode must be 'r', 'c' or None, found {other:?}")))
            }
        }
    }
}

/// One open model file.
#[pyclass(frozen, module = "onecopy._onecopy")]
pub(crate) struct Source {
    model: Model<Mapping>,
    mode: Mode,
    path: PathBuf,
    private: OnceLock<CopyOnWrite>,
    trees: Shelf,
}

impl Source {
    /// Opens the file: one descriptor, one mapping.
    pub(crate) fn open(py: Python<'_>, path: &Path, mode: Mode) -> PyResult<Self> {
        let model = py
            .detach(|| Model::open(path))
            .map_err(|error| error::translate(py, Kind::Format, Some(path), &error))?;
        Ok(Source { model, mode, path: path.to_owned(), private: OnceLock::new(), trees: Shelf::default() })
    }

    /// [`Source::open`], with the arrays of an archive restored into memory, so that they can be viewed.
    pub(crate) fn open_hot(py: Python<'_>, path: &Path, mode: Mode) -> PyResult<Self> {
        let source = Self::open(py, path, mode)?;
        if !source.model.is_cold() {
            return Ok(source);
        }
        let model = py.detach(|| onecopy::restore_in_memory(&source.model));
        let model = model.map_err(|error| error::translate(py, Kind::Format, Some(path), &error))?;
        Ok(Source { model, ..source })
    }

    pub(crate) fn model(&self) -> &Model<Mapping> {
        &self.model
    }

    /// The trees that have been looked at.
    pub(crate) fn trees(&self) -> &Shelf {
        &self.trees
    }

    pub(crate) fn mode(&self) -> Mode {
        self.mode
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The private mapping of the same file, made when first asked for.
    pub(crate) fn private(&self) -> Result<&CopyOnWrite, MapError> {
        if let Some(private) = self.private.get() {
            return Ok(private);
        }
        let mapped = self.model.data().copy_on_write()?;
        Ok(self.private.get_or_init(|| mapped))
    }
}
