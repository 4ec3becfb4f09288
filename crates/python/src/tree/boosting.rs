//! The trees of gradient boosting, stage by stage.
#![forbid(unsafe_code)]

use std::sync::Arc;

use numpy::{PyReadonlyArray2, PyUntypedArrayMethods};
use onecopy::{Boosting, Dtype, Graph, NodeId, StoredTree, TreeView};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::array;
use crate::source::Source;
use crate::tree::input::Rows;
use crate::tree::{MappedTree, Shelf, damaged, floats, refused};

/// Trees that are added up, `per_stage` in each stage.
#[pyclass(frozen, module = "onecopy._onecopy")]
pub(crate) struct Stages {
    source: Py<Source>,
    trees: Vec<Arc<StoredTree>>,
    per_stage: usize,
}

/// The stages of mapped trees in order, all of one file; `None` if they are not.
#[pyfunction]
pub(crate) fn stages(trees: Vec<Bound<'_, PyAny>>, per_stage: usize) -> PyResult<Option<Stages>> {
    let mut found: Vec<Arc<StoredTree>> = Vec::with_capacity(trees.len());
    let mut source: Option<Py<Source>> = None;
    for tree in &trees {
        let Ok(tree) = tree.cast_exact::<MappedTree>() else { return Ok(None) };
        let tree = tree.get();
        if source.get_or_insert_with(|| tree.source.clone_ref(trees[0].py())).as_ptr() != tree.source.as_ptr()
        {
            return Ok(None);
        }
        found.push(Arc::clone(&tree.tree));
    }
    Ok(source.filter(|_| per_stage > 0).map(|source| Stages { source, trees: found, per_stage }))
}

impl Stages {
    /// The stages in the array of estimators at `node`, without making Python objects of them; `None` if it is no such array.
    pub(crate) fn at_node(
        py: Python<'_>,
        source: &Bound<'_, Source>,
        graph: &Graph,
        node: NodeId,
    ) -> PyResult<Option<Stages>> {
        let onecopy::Node::ObjectArray { shape, items, .. } = graph.node(node) else { return Ok(None) };
        let &[_, per_stage] = &**shape else { return Ok(None) };
        let mut trees = Vec::with_capacity(items.len());
        for item in items {
            let Some(tree) = graph.attr(*item, "tree_") else { return Ok(None) };
            trees.push(Shelf::tree(py, source.get(), graph, tree)?);
        }
        let per_stage = per_stage as usize;
        Ok((per_stage > 0).then(|| Stages { source: source.clone().unbind(), trees, per_stage }))
    }
}

#[pymethods]
impl Stages {
    /// Number of stages.
    fn __len__(&self) -> usize {
        self.trees.len() / self.per_stage
    }

    /// `start` with `scale * value` of the stages from `first` to `end` added: a new array.
    #[pyo3(signature = (x, scale, start, first, end, threads = None))]
    #[expect(clippy::too_many_arguments, reason = "one call per prediction")]
    fn add<'py>(
        &self,
        py: Python<'py>,
        x: &Bound<'py, PyAny>,
        scale: f64,
        start: PyReadonlyArray2<'py, f64>,
        first: usize,
        end: usize,
        threads: Option<usize>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let rows = Rows::borrow(x)?;
        let input = rows.input().map_err(refused)?;
        let per_stage = self.per_stage;
        if start.shape() != [rows.n_rows(), per_stage] {
            return Err(PyValueError::new_err("the raw predictions have another shape than X and the trees"));
        }
        let range = first.checked_mul(per_stage).zip(end.checked_mul(per_stage));
        let trees = range.and_then(|(first, end)| self.trees.get(first..end));
        let trees = trees.ok_or_else(|| PyValueError::new_err("there are not as many stages"))?;
        let source = self.source.get();
        let views = trees.iter().map(|tree| tree.view(source.model()));
        let views: Vec<TreeView<'_>> =
            views.collect::<Result<_, _>>().map_err(|error| damaged(py, source, &error))?;
        let start: Vec<f64> = start.as_array().iter().copied().collect();
        let boosting = Boosting { trees: &views, per_stage, scale };
        let sums = py.detach(|| boosting.add_to(start, &input, threads)).map_err(refused)?;
        let shape = [rows.n_rows() as u64, per_stage as u64];
        array::owned(py, array::descr(py, &Dtype::F64)?, &shape, &floats(&sums))
    }
}
