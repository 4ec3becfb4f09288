//! `onecopy._onecopy`: the library as Python sees it. Translates; decides nothing.
#![deny(unsafe_code)]
#![allow(clippy::needless_pass_by_value, reason = "Python's arguments come by value")]

mod array;
mod build;
mod cli;
mod dump;
mod error;
mod functions;
mod histogram;
mod interrupt;
mod load;
mod model;
mod run;
mod sign;
mod source;
mod terms;
mod tree;
mod trust;
mod vocabulary;

use pyo3::prelude::*;

#[pymodule]
fn _onecopy(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_function(wrap_pyfunction!(trust::evidence, module)?)?;
    module.add_function(wrap_pyfunction!(trust::trusted_names, module)?)?;
    module.add_function(wrap_pyfunction!(dump::dump, module)?)?;
    module.add_function(wrap_pyfunction!(dump::check_pickle, module)?)?;
    module.add_function(wrap_pyfunction!(load::load, module)?)?;
    module.add_function(wrap_pyfunction!(tree::boosting::stages, module)?)?;
    module.add_function(wrap_pyfunction!(histogram::histogram_tree_fits, module)?)?;
    module.add_class::<tree::MappedTree>()?;
    module.add_class::<tree::Member>()?;
    module.add_class::<tree::Stages>()?;
    module.add_function(wrap_pyfunction!(cli::run_command, module)?)?;
    module.add_function(wrap_pyfunction!(functions::convert, module)?)?;
    module.add_function(wrap_pyfunction!(functions::verify, module)?)?;
    module.add_function(wrap_pyfunction!(functions::inspect, module)?)?;
    module.add_function(wrap_pyfunction!(functions::digest, module)?)?;
    module.add_function(wrap_pyfunction!(functions::archive, module)?)?;
    module.add_function(wrap_pyfunction!(functions::prune, module)?)?;
    module.add_function(wrap_pyfunction!(functions::restore, module)?)?;
    module.add_function(wrap_pyfunction!(sign::sign, module)?)?;
    module.add_function(wrap_pyfunction!(sign::verify_signed, module)?)?;
    module.add_class::<model::NativeModel>()?;
    module.add_class::<vocabulary::MappedVocabulary>()?;
    module.add_class::<terms::Terms>()?;
    module.add_class::<build::Part>()?;
    module.add_class::<source::Source>()
}
