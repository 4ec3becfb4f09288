//! The state of the ordinary `Tree`: what a pickle of a mapped tree holds.
#![forbid(unsafe_code)]

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::tree::{Field, MappedTree};

/// scikit-learn's names of the fields of a node.
const FIELDS: [(&str, Field); 8] = [
    ("left_child", Field::Left),
    ("right_child", Field::Right),
    ("feature", Field::Feature),
    ("threshold", Field::Threshold),
    ("impurity", Field::Impurity),
    ("n_node_samples", Field::Samples),
    ("weighted_n_node_samples", Field::Weight),
    ("missing_go_to_left", Field::Missing),
];

/// What `Tree.__getstate__` gives; nodes are of the type that the installed scikit-learn has, bytes between fields zero.
pub(super) fn of_tree<'py>(tree: &MappedTree, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
    tree.view(py)?;
    let dtype = py.import("sklearn.tree._tree")?.getattr("NODE_DTYPE")?;
    let names: Vec<String> = dtype.getattr("names")?.extract()?;
    let nodes = py.import("numpy")?.call_method1("zeros", (tree.tree.n_nodes(), &dtype))?;
    for name in &names {
        let Some((_, field)) = FIELDS.iter().find(|(known, _)| known == name) else {
            let message =
                format!("nodes of this scikit-learn have a field `{name}` that the stored tree has not");
            return Err(PyTypeError::new_err(message));
        };
        nodes.set_item(name, column(tree, py, *field)?)?;
    }
    let state = PyDict::new(py);
    state.set_item("max_depth", tree.tree.max_depth())?;
    state.set_item("node_count", tree.tree.n_nodes())?;
    state.set_item("nodes", nodes)?;
    state.set_item("values", column(tree, py, Field::Value)?)?;
    Ok(state)
}

/// An array that is not kept.
fn column<'py>(tree: &MappedTree, py: Python<'py>, field: Field) -> PyResult<Bound<'py, PyAny>> {
    match tree.mapped(py, field)? {
        Some(view) => Ok(view),
        None => tree.widened(py, field),
    }
}
