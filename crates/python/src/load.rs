//! `load`: the saved object, rebuilt on mapped memory.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use onecopy::Graph;
use pyo3::prelude::*;

use crate::build::Session;
use crate::error::{self, Kind};
use crate::source::{Mode, Place, Source, hot_options};
use crate::trust;

/// The object of a model file and the digest of that; nothing is imported before every name in the file has been found trusted.
#[pyfunction]
#[expect(clippy::too_many_arguments, reason = "they are those of `onecopy.load`")]
#[pyo3(signature = (path, mmap_mode, trusted, cache, share, guard, verify_key))]
pub(crate) fn load<'py>(
    py: Python<'py>,
    path: Place,
    mmap_mode: Option<&str>,
    trusted: Vec<String>,
    cache: Option<PathBuf>,
    share: &str,
    guard: Option<&str>,
    verify_key: Option<PathBuf>,
) -> PyResult<(Bound<'py, PyAny>, String)> {
    let mode = Mode::from_name(mmap_mode)?;
    let options = hot_options(py, cache, share, guard, verify_key)?;
    let source = Bound::new(py, Source::open_hot(py, &path, mode, &options)?)?;
    let graph = decode(py, source.get())?;
    audit(py, source.get(), &graph, &trusted)?;
    let session = Bound::new(py, Session::new(&source, trusted)?)?;
    let object = session.get().build(&session, &graph, graph.root)?;
    Ok((object, source.get().model().digest().to_string()))
}

/// The graph of a file.
pub(crate) fn decode(py: Python<'_>, source: &Source) -> PyResult<Graph> {
    let graph = py.detach(|| source.model().graph());
    match graph {
        Ok(Some(graph)) => Ok(graph),
        Ok(None) => {
            let path = source.path().display();
            let message = format!("{path} holds arrays without an object; use onecopy.open for its arrays");
            Err(error::raise(py, Kind::Format, message))
        }
        Err(error) => Err(error::translate(py, Kind::Format, Some(source.path()), &error)),
    }
}

/// Refuses a graph with names that are not trusted, or that would exhaust the machine.
pub(crate) fn audit(py: Python<'_>, source: &Source, graph: &Graph, trusted: &[String]) -> PyResult<()> {
    let untrusted = trust::audit(graph, trusted);
    if untrusted.is_empty() {
        return trust::check(py, graph);
    }
    let how = trust::explain(graph, trusted).join("; ");
    let list: Vec<String> = untrusted.iter().map(|name| format!("{name:?}")).collect();
    let message = format!(
        "{} uses names that are not trusted: {how}; nothing was imported; if you know them, pass trusted=[{}]",
        source.path().display(),
        list.join(", ")
    );
    Err(error::untrusted(py, message, untrusted))
}
