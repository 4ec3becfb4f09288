//! The input of a prediction: a matrix from an `.npy` or `.csv` file.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use ndarray::{Array2, Axis, Slice};
use onecopy::Input;

use crate::csv_input::{self, Header};
use crate::npy;
use crate::paths;

/// A path whose ending says how it is read.
#[derive(Clone, Debug)]
pub(crate) struct InputPath {
    path: PathBuf,
    /// `None`: the ending does not say.
    format: Option<Format>,
}

#[derive(Clone, Copy, Debug)]
enum Format {
    Npy,
    Csv,
}

impl FromStr for InputPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let path = PathBuf::from(text);
        let extension =
            path.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase);
        let format = match extension.as_deref() {
            Some("npy") => Some(Format::Npy),
            Some("csv") => Some(Format::Csv),
            // Whether there is such a file is for `read` to say.
            _ if path.exists() => None,
            _ => return Err("expected a name that ends in .npy or .csv".to_owned()),
        };
        Ok(InputPath { path, format })
    }
}

/// A matrix of one row per sample.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Table {
    /// `float32`, or narrower.
    F32(Array2<f32>),
    /// Everything else.
    F64(Array2<f64>),
}

impl InputPath {
    /// The path as given.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the matrix. `names` are the model's feature names: a CSV header is matched with them.
    pub(crate) fn read(&self, header: Header, names: Option<&[String]>) -> Result<Table> {
        let shown = self.path.display();
        paths::regular_file(&self.path)?;
        let table = match self.format {
            Some(Format::Npy) => npy::read(&self.path),
            Some(Format::Csv) => csv_input::read(&self.path, header, names).map(Table::F64),
            None => bail!("cannot use input `{shown}`: expected a name that ends in .npy or .csv"),
        };
        let table = table.with_context(|| format!("cannot use input `{shown}`"))?;
        if table.rows() == 0 {
            bail!("cannot use input `{shown}`: it has no rows, expected at least one to predict from");
        }
        Ok(table)
    }
}

impl Table {
    /// Number of rows.
    pub(crate) fn rows(&self) -> usize {
        self.dim().0
    }

    /// Numbers of rows and columns.
    pub(crate) fn dim(&self) -> (usize, usize) {
        match self {
            Table::F32(x) => x.dim(),
            Table::F64(x) => x.dim(),
        }
    }

    /// As the library takes it.
    pub(crate) fn input(&self) -> Input<'_> {
        match self {
            Table::F32(x) => x.into(),
            Table::F64(x) => x.into(),
        }
    }

    /// The first `count` rows.
    pub(crate) fn head(&self, count: usize) -> Input<'_> {
        match self {
            Table::F32(x) => x.slice_axis(Axis(0), Slice::from(..count.min(x.nrows()))).into(),
            Table::F64(x) => x.slice_axis(Axis(0), Slice::from(..count.min(x.nrows()))).into(),
        }
    }
}
