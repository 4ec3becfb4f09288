//! Single trees of scikit-learn with one number in a leaf, as boosting and isolation forests have them.
#![forbid(unsafe_code)]

use crate::format::ArrayId;
use crate::format::dtype::Dtype;
use crate::model::array::ArraySource;
use crate::model::graph::read::byte_range;
use crate::model::graph::{ArrayPart, Graph, NodeId};
use crate::model::lower::Refusal;
use crate::model::lower::linear::unfitted;
use crate::model::lower::trees::ensemble::{PlainKind, PlainNode, PlainTree, Test};
use crate::model::lower::trees::nodes::{self, Nodes};
use crate::model::lower::trees::{MAX_COLUMNS, TreeObject};

/// Bytes that may still be read: no file has more records than bytes for them, so work stays in proportion to its
/// length even if objects share them.
pub(in crate::model::lower) struct Budget(u64);

impl Budget {
    /// As many bytes as the arrays have.
    pub(in crate::model::lower) fn of(arrays: &dyn ArraySource) -> Self {
        let infos = (0..arrays.array_count()).map(|id| arrays.info(ArrayId(id)));
        Budget(infos.fold(0u64, |sum, info| sum.saturating_add(nodes::len_bytes(&info))))
    }

    /// Takes the bytes of `part`.
    ///
    /// # Errors
    ///
    /// [`Refusal::Uncovered`] if there are fewer left.
    pub(in crate::model::lower) fn take(
        &mut self,
        part: &ArrayPart,
        arrays: &dyn ArraySource,
    ) -> Result<(), Refusal> {
        let len = byte_range(part, &arrays.info(part.array).dtype).map(|(_, len)| len);
        let left = len.and_then(|len| self.0.checked_sub(len));
        self.0 = left.ok_or_else(|| Refusal::uncovered("its nodes are those of another tree"))?;
        Ok(())
    }
}

/// Reads the trees of fitted `DecisionTreeRegressor`s, one after the other, without their values.
pub(super) struct PlainTrees<'a> {
    graph: &'a Graph,
    arrays: &'a dyn ArraySource,
    budget: Budget,
    n_features: Option<u32>,
    trees: Vec<PlainTree>,
}

impl<'a> PlainTrees<'a> {
    pub(super) fn new(graph: &'a Graph, arrays: &'a dyn ArraySource) -> Self {
        PlainTrees { graph, arrays, budget: Budget::of(arrays), n_features: None, trees: Vec::new() }
    }

    /// Adds the tree of `estimator`; `value(node, stored)` is what a leaf adds.
    pub(super) fn add(
        &mut self,
        estimator: NodeId,
        columns: &Columns<'_>,
        value: impl Fn(usize, f64) -> Option<f64>,
    ) -> Result<(), Refusal> {
        let index = self.trees.len();
        let tree = self.read(estimator, columns, value).map_err(|refusal| refusal.in_tree(index))?;
        self.trees.push(tree);
        Ok(())
    }

    /// Counts the bytes of an array that is about to be read.
    pub(super) fn charge(&mut self, array: NodeId) -> Result<(), Refusal> {
        self.graph.array_part(array).map_or(Ok(()), |part| self.budget.take(part, self.arrays))
    }

    fn read(
        &mut self,
        estimator: NodeId,
        columns: &Columns<'_>,
        value: impl Fn(usize, f64) -> Option<f64>,
    ) -> Result<PlainTree, Refusal> {
        let not_fitted = || Refusal::uncovered("it is not a fitted tree");
        let tree = TreeObject::read(self.graph, self.graph.attr(estimator, "tree_").ok_or_else(not_fitted)?)?;
        let n_features = u32::try_from(tree.n_features).ok().filter(|&n| n > 0);
        let n_features = n_features.ok_or_else(|| Refusal::uncovered("it has no features"))?;
        let alike = columns.features.is_some() || *self.n_features.get_or_insert(n_features) == n_features;
        if !alike || tree.n_outputs != 1 {
            return Err(Refusal::uncovered("it has other features or outputs than the first tree"));
        }
        self.budget.take(tree.nodes, self.arrays)?;
        let nodes = Nodes::read(tree.nodes, self.arrays, n_features)?;
        let values = self.values(tree.values, nodes.len())?;
        let node = |at: u32| {
            let node = nodes.node(at);
            let kind = match node.split {
                None => PlainKind::Leaf { value: value(at as usize, values[at as usize])? },
                Some(split) => PlainKind::Split {
                    test: Test::AtMost {
                        feature: columns.of(split.feature)?,
                        threshold: key_threshold(node.low),
                    },
                    left: split.left,
                    right: split.right,
                    missing_left: columns.missing && nodes.missing(at),
                },
            };
            Some(PlainNode { kind, samples: f64::from(node.samples), origin: at })
        };
        let found = (0..nodes.len() as u32).map(node).collect::<Option<_>>();
        Ok(PlainTree { nodes: found.ok_or_else(|| Refusal::uncovered("it has values or features too few"))? })
    }

    fn values(&mut self, part: &ArrayPart, n_nodes: usize) -> Result<Vec<f64>, Refusal> {
        let info = self.arrays.info(part.array);
        let expected = [n_nodes as u64, 1, 1];
        let range = byte_range(part, &info.dtype).filter(|_| *part.shape == expected);
        let Some((start, _)) = range.filter(|_| info.dtype == Dtype::F64 && nodes::one_run(&info)) else {
            return Err(Refusal::uncovered(format!("its values are not a float64 array {expected:?}")));
        };
        let mut values = vec![0.0; n_nodes];
        self.arrays.read_at(part.array, start, bytemuck::cast_slice_mut(&mut values))?;
        Ok(values)
    }

    /// The trees, whose columns are known already.
    pub(super) fn into_trees(self) -> Vec<PlainTree> {
        self.trees
    }

    /// Columns of the input, and the trees.
    pub(super) fn finish(self) -> Result<(u32, Vec<PlainTree>), Refusal> {
        let n_features = self.n_features.ok_or_else(|| Refusal::uncovered("it has no trees"))?;
        Ok((n_features, self.trees))
    }
}

/// How a tree sees the columns of the input.
pub(super) struct Columns<'a> {
    /// The column that each feature of the tree is; as they are, if absent.
    pub(super) features: Option<&'a [u32]>,
    /// Whether NaN goes where the node says; else it goes right.
    pub(super) missing: bool,
}

impl Columns<'_> {
    fn of(&self, feature: u32) -> Option<u32> {
        self.features.map_or(Some(feature), |features| features.get(feature as usize).copied())
    }
}

/// Columns of the input of an ensemble whose trees have some of them each, and those of each tree.
pub(super) fn feature_maps(
    graph: &Graph,
    id: NodeId,
    arrays: &dyn ArraySource,
    n_trees: usize,
) -> Result<(u32, Vec<Vec<u32>>), Refusal> {
    let n_features = graph.attr(id, "n_features_in_").or_else(|| graph.attr(id, "n_features_"));
    let n_features = n_features.and_then(|n| u32::try_from(graph.as_int(n)?).ok());
    let n_features = n_features.filter(|&n| n > 0 && u64::from(n) <= MAX_COLUMNS);
    let n_features = n_features.ok_or_else(|| unfitted("n_features_in_"))?;
    let lists = graph.attr(id, "estimators_features_").and_then(|lists| graph.items(lists));
    let lists =
        lists.filter(|lists| lists.len() == n_trees).ok_or_else(|| unfitted("estimators_features_"))?;
    let mut budget = Budget::of(arrays);
    let mut read = |list: &NodeId| {
        graph.array_part(*list).map_or(Ok(()), |part| budget.take(part, arrays))?;
        let columns = graph.plain_array_at(*list, arrays, MAX_COLUMNS * 8)?.and_then(|list| list.i64s());
        let column = |column: i64| u32::try_from(column).ok().filter(|&column| column < n_features);
        let columns = columns.and_then(|columns| columns.into_iter().map(column).collect::<Option<Vec<_>>>());
        columns.ok_or_else(|| Refusal::uncovered("a tree has features that the input does not have"))
    };
    Ok((n_features, lists.iter().map(&mut read).collect::<Result<_, _>>()?))
}

/// A threshold that decides for every `float32` as the one that has this key.
fn key_threshold(key: u32) -> f64 {
    match key {
        0 => f64::NAN,
        key if key >> 31 == 1 => f64::from(f32::from_bits(key & 0x7fff_ffff)),
        key => f64::from(f32::from_bits(!key)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::plan::compact::threshold_key;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn thresholds_come_back_from_their_keys(threshold: u64) {
            let key = threshold_key(f64::from_bits(threshold));
            prop_assert_eq!(key, threshold_key(key_threshold(key)));
        }
    }
}
