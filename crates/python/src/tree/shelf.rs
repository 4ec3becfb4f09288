//! The trees of a file that have been looked at, each read once.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use onecopy::{Graph, NodeId, StoredTree};
use pyo3::prelude::*;

use crate::error::{self, Kind};
use crate::source::Source;
use crate::tree::{MappedTree, damaged};

/// The trees of one file by their nodes.
#[derive(Default)]
pub(crate) struct Shelf {
    found: Mutex<Found>,
}

#[derive(Default)]
struct Found {
    trees: HashMap<u32, Arc<StoredTree>>,
    /// Nodes of all of them.
    n_nodes: u64,
}

impl Shelf {
    /// The tree at `node` of the graph of `source`.
    pub(super) fn tree(
        py: Python<'_>,
        source: &Source,
        graph: &Graph,
        node: NodeId,
    ) -> PyResult<Arc<StoredTree>> {
        let found = || source.trees().found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tree) = found().trees.get(&node.0) {
            return Ok(Arc::clone(tree));
        }
        let tree = StoredTree::read(graph, node, source.model());
        let tree = Arc::new(tree.map_err(|error| damaged(py, source, &error))?);
        let mut found = found();
        // A node takes several bytes, so trees with more nodes than the file has bytes share them: looking at each
        // would take longer than the file is long.
        found.n_nodes = found.n_nodes.saturating_add(tree.n_nodes() as u64);
        if found.n_nodes > source.model().len_bytes() {
            let path = source.path().display();
            let message =
                format!("trees of {path} share their nodes; the file is damaged: save the model again");
            return Err(error::raise(py, Kind::Format, message));
        }
        found.trees.insert(node.0, Arc::clone(&tree));
        Ok(tree)
    }
}

/// What stands for the `sklearn.tree._tree.Tree` at `node`. Its nodes are checked when it is first used.
pub(crate) fn mapped_tree<'py>(
    py: Python<'py>,
    source: &Bound<'py, Source>,
    graph: &Graph,
    node: NodeId,
) -> PyResult<Bound<'py, PyAny>> {
    let tree = Shelf::tree(py, source.get(), graph, node)?;
    Ok(Bound::new(py, MappedTree::new(source.clone().unbind(), tree))?.into_any())
}

/// Checks the nodes of the tree at `node`, of which an ordinary `Tree` will be made.
pub(crate) fn check_tree(
    py: Python<'_>,
    source: &Bound<'_, Source>,
    graph: &Graph,
    node: NodeId,
) -> PyResult<()> {
    let file = source.get();
    let tree = Shelf::tree(py, file, graph, node)?;
    py.detach(|| tree.check(file.model())).map_err(|error| damaged(py, file, &error))
}
