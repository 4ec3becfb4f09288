//! Trees of classifiers and regressors whose leaves are rewritten: AdaBoost and bagging.
#![forbid(unsafe_code)]

use crate::format::dtype::Dtype;
use crate::model::array::ArraySource;
use crate::model::graph::read::byte_range;
use crate::model::graph::{Graph, NodeId};
use crate::model::lower::Refusal;
use crate::model::lower::trees::layout::{LaidOut, Layout};
use crate::model::lower::trees::leaves::Leaves;
use crate::model::lower::trees::nodes::{self, Nodes};
use crate::model::lower::trees::plain::Budget;
use crate::model::lower::trees::{MAX_COLUMNS, TreeObject};

/// Trees so far, all with leaves of `width` values.
pub(super) struct VectorTrees<'a> {
    graph: &'a Graph,
    arrays: &'a dyn ArraySource,
    budget: Budget,
    n_features: u32,
    width: u64,
    leaves: Leaves,
    layout: Layout,
    len: usize,
}

impl<'a> VectorTrees<'a> {
    /// For the trees of `estimators`, over `n_features` columns.
    pub(super) fn new(
        graph: &'a Graph,
        arrays: &'a dyn ArraySource,
        estimators: &[NodeId],
        n_features: u32,
        width: u64,
    ) -> Result<Self, Refusal> {
        if estimators.is_empty() || !(1..=MAX_COLUMNS).contains(&width) {
            return Err(Refusal::uncovered(format!("it has {} trees for {width} values", estimators.len())));
        }
        let rows = |estimator: &NodeId| {
            let nodes = graph.attr(graph.attr(*estimator, "tree_")?, "nodes")?;
            graph.array_part(nodes)?.shape.first().copied()
        };
        let largest = estimators.iter().filter_map(rows).max().unwrap_or(0);
        let leaves = Leaves::new();
        let layout = Layout::new(n_features, largest);
        let budget = Budget::of(arrays);
        Ok(VectorTrees { graph, arrays, budget, n_features, width, leaves, layout, len: 0 })
    }

    /// Adds the tree of `estimator`, whose features are these columns; `leaf(stored, vector)` makes the values of a leaf.
    pub(super) fn add(
        &mut self,
        estimator: NodeId,
        columns: Option<&[u32]>,
        leaf: impl FnMut(&[f64], &mut [f64]),
    ) -> Result<(), Refusal> {
        let index = self.len;
        self.len += 1;
        self.read(estimator, columns, leaf).map_err(|refusal| refusal.in_tree(index))
    }

    fn read(
        &mut self,
        estimator: NodeId,
        columns: Option<&[u32]>,
        mut leaf: impl FnMut(&[f64], &mut [f64]),
    ) -> Result<(), Refusal> {
        let not_fitted = || Refusal::uncovered("it is not a fitted tree");
        let tree = TreeObject::read(self.graph, self.graph.attr(estimator, "tree_").ok_or_else(not_fitted)?)?;
        let n_features = columns.map_or(self.n_features as usize, <[u32]>::len);
        if i64::try_from(n_features) != Ok(tree.n_features) {
            return Err(Refusal::uncovered("it has other features than the ensemble"));
        }
        self.budget.take(tree.nodes, self.arrays)?;
        self.budget.take(tree.values, self.arrays)?;
        let mut nodes = Nodes::read(tree.nodes, self.arrays, n_features as u32)?;
        if let Some(columns) = columns {
            nodes.map_features(columns);
        }
        let info = self.arrays.info(tree.values.array);
        let width = match *tree.values.shape {
            [rows, outputs, classes] if rows == nodes.len() as u64 => outputs.checked_mul(classes),
            _ => None,
        };
        let range =
            byte_range(tree.values, &info.dtype).zip(width.and_then(|width| usize::try_from(width).ok()));
        let range =
            range.filter(|(_, width)| *width > 0 && info.dtype == Dtype::F64 && nodes::one_run(&info));
        let ((start, len), width) = range.ok_or_else(|| Refusal::uncovered("its values are not float64"))?;
        // No more than the file has: the budget was theirs.
        let mut values = vec![0.0f64; usize::try_from(len / 8).map_err(|_| not_fitted())?];
        self.arrays.read_at(tree.values.array, start, bytemuck::cast_slice_mut(&mut values))?;
        let mut vector = vec![0.0; self.width as usize];
        for (node, values) in values.chunks_exact(width).enumerate() {
            if nodes.is_leaf(node) {
                leaf(values, &mut vector);
                let leaf = self.leaves.intern(&vector)?;
                nodes.set_leaf(node, leaf);
            }
        }
        let placed = self.layout.placer().place(&nodes);
        Ok(self.layout.add(&nodes, placed, None)?)
    }

    pub(super) fn finish(self) -> LaidOut {
        self.layout.finish(self.leaves.finish(self.width))
    }
}
