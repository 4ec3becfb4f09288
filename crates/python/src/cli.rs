//! The command, from within Python.
#![forbid(unsafe_code)]

use std::ffi::OsString;

use pyo3::prelude::*;

/// Runs the command line `args`, whose first element is the name of the program; gives the exit code.
#[pyfunction]
pub(crate) fn run_command(py: Python<'_>, args: Vec<OsString>) -> u8 {
    py.detach(|| onecopy_cli::exit_code(args))
}
