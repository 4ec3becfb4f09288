//! What a file may name: `trusted.tsv` beside this folder says which names, and how each may be used.
//!
//! [`audit`] looks at the very graph that is built, all of it, before anything is imported. Only what it has let pass is
//! resolved, by [`resolve`].
#![forbid(unsafe_code)]

mod audit;
mod content;
mod keys;
mod list;
mod pattern;

use onecopy::Graph;
use pyo3::exceptions::PyAttributeError;
use pyo3::prelude::*;

pub(crate) use self::keys::guard_keys;

use crate::error::{self, Kind};
use crate::source::{Mode, Source};
use crate::trust::list::list;

/// The names of the graph, `module.qualname`, with a use that neither the list nor `trusted` allows; if none, it may be built.
pub(crate) fn audit(graph: &Graph, trusted: &[String]) -> Vec<String> {
    let mut refused = audit::findings(graph, trusted, false).refused;
    for name in content::risky_settings(graph).filter(|name| !trusted.contains(name)) {
        refused.insert(name, String::new());
    }
    refused.into_keys().collect()
}

/// What [`audit`] refused, one line each: the name and how the file uses it.
pub(crate) fn explain(graph: &Graph, trusted: &[String]) -> Vec<String> {
    let refused = audit::findings(graph, trusted, false).refused;
    let mut lines: Vec<String> = refused.into_iter().map(|(name, how)| format!("{name}: {how}")).collect();
    for name in content::risky_settings(graph).filter(|name| !trusted.contains(name)) {
        lines.push(format!("{name}: set to read what users name"));
    }
    lines
}

/// Whether building and using the graph stays within reason: keys that can be hashed, settings that do not exhaust the machine.
pub(crate) fn check(py: Python<'_>, graph: &Graph) -> PyResult<()> {
    keys::check_keys(graph)
        .and_then(|()| content::check_settings(graph))
        .map_err(|message| error::raise(py, Kind::Format, message))
}

/// The object of a name that [`audit`] has let pass. Names that are neither listed nor in `trusted` are refused again.
pub(crate) fn resolve<'py>(
    py: Python<'py>,
    module: &str,
    qualname: &str,
    trusted: &[String],
) -> PyResult<Bound<'py, PyAny>> {
    let name = format!("{module}.{qualname}");
    let (module, qualname) = match () {
        () if list().knows(module, qualname) => list().today(module, qualname),
        () if trusted.contains(&name) => (module, qualname),
        () => {
            let message = format!("`{name}` is not trusted");
            return Err(error::untrusted(py, message, vec![name]));
        }
    };
    let missing = |error: PyErr| {
        let message = format!("the file needs `{name}`, which cannot be imported here: {error}");
        error::raise(py, Kind::Unsupported, message)
    };
    let mut found = py.import(module).map_err(missing)?.into_any();
    for part in qualname.split('.') {
        found = found.getattr(part).map_err(|error| match error.is_instance_of::<PyAttributeError>(py) {
            true => missing(error),
            false => error,
        })?;
    }
    Ok(found)
}

/// Module, name, and a use as the list spells it.
type NamedUse = (String, String, String);
/// A name that is refused, and how it is used.
type Refused = (String, String);

/// For the tests: the uses of the list that a file makes, and what is refused of it with how it is used.
#[pyfunction]
#[pyo3(name = "_evidence")]
pub(crate) fn evidence(py: Python<'_>, path: std::path::PathBuf) -> PyResult<(Vec<NamedUse>, Vec<Refused>)> {
    let source = Source::open(py, &path, Mode::Read)?;
    let graph =
        source.model().graph().map_err(|error| error::translate(py, Kind::Format, Some(&path), &error))?;
    let found = audit::findings(&graph.unwrap_or_else(Graph::empty), &[], true);
    let used = found.used.into_iter().map(|(module, name, text)| (module, name, text.to_owned())).collect();
    Ok((used, found.refused.into_iter().collect()))
}

/// The allow-list: module, name and uses of each entry.
#[pyfunction]
#[pyo3(name = "_trusted_names")]
pub(crate) fn trusted_names() -> Vec<(String, String, Vec<String>)> {
    let mut names: Vec<_> = list()
        .entries()
        .map(|(module, name, entry)| {
            let uses = entry.uses.iter().map(|listed| listed.text.to_owned()).collect();
            (module.to_owned(), name.to_owned(), uses)
        })
        .collect();
    names.sort();
    names
}
