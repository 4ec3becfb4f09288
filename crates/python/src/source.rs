//! The file that arrays, trees and models borrow from. It stays mapped as long as any of them lives.
#![forbid(unsafe_code)]

use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use onecopy::{CopyOnWrite, HotOptions, MapError, Mapping, Model, OpenError, Share};
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;

use crate::error::{self, Kind};
use crate::interrupt::interruptible;
use crate::sign;
use crate::tree::Shelf;

const EBADF: i32 = 9;

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

/// Which file, as Python's `open` takes it.
#[derive(Clone, Debug, FromPyObject)]
pub(crate) enum Place {
    /// A descriptor of a sealed file in memory.
    Descriptor(u32),
    /// A path.
    Path(PathBuf),
}

/// How `load` and `open` make a file ready.
pub(crate) fn hot_options(
    py: Python<'_>,
    cache: Option<PathBuf>,
    share: &str,
    guard: Option<&str>,
    verify_key: Option<PathBuf>,
) -> PyResult<HotOptions> {
    let share = match share {
        "cache" => Share::Cache,
        "memfd" => Share::Memfd,
        other => {
            return Err(PyValueError::new_err(format!("share must be 'cache' or 'memfd', found {other:?}")));
        }
    };
    let guard = match guard {
        None => false,
        Some("memfd") => true,
        Some(other) => {
            return Err(PyValueError::new_err(format!("guard must be None or 'memfd', found {other:?}")));
        }
    };
    let verify_key = match verify_key {
        None => None,
        Some(path) => Some(sign::read_key(py, &path)?),
    };
    Ok(HotOptions { cache, share, guard, verify_key })
}

impl Source {
    /// Opens the file as it is: one descriptor, one mapping.
    pub(crate) fn open(py: Python<'_>, path: &Path, mode: Mode) -> PyResult<Self> {
        let model = py
            .detach(|| Model::open(path))
            .map_err(|error| error::translate(py, Kind::Format, Some(path), &error))?;
        Ok(Self::new(model, mode, path.to_owned()))
    }

    /// Opens the file so that all its arrays can be viewed.
    pub(crate) fn open_hot(
        py: Python<'_>,
        place: &Place,
        mode: Mode,
        options: &HotOptions,
    ) -> PyResult<Self> {
        let path = match place {
            Place::Path(path) => path,
            Place::Descriptor(number) => return Self::of_descriptor(py, *number, mode),
        };
        let opened = interruptible(py, None, |progress| Model::open_hot(path, options, progress))?;
        let model = opened.map_err(|error| error::translate(py, Kind::Format, Some(path), &error))?;
        Ok(Self::new(model, mode, path.clone()))
    }

    fn of_descriptor(py: Python<'_>, number: u32, mode: Mode) -> PyResult<Self> {
        let name = PathBuf::from(format!("descriptor {number}"));
        // Opened again: a descriptor of our own, whatever the caller does with the other.
        let opened = py.detach(|| Model::open_sealed(format!("/proc/self/fd/{number}"), &name));
        let model = match opened {
            Err(OpenError::Map(MapError::Io { ref source, .. }))
                if source.kind() == io::ErrorKind::NotFound =>
            {
                let message = format!("{} is not open, or /proc is not mounted", name.display());
                return Err(PyOSError::new_err((EBADF, message)));
            }
            opened => opened.map_err(|error| error::translate(py, Kind::Format, Some(&name), &error))?,
        };
        Ok(Self::new(model, mode, name))
    }

    fn new(model: Model<Mapping>, mode: Mode, path: PathBuf) -> Self {
        Source { model, mode, path, private: OnceLock::new(), trees: Shelf::default() }
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
