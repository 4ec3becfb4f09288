//! Single trees of scikit-learn with one number in a leaf, as boosting and isolation forests have them.
#![forbid(unsafe_code)]

use crate::format::ArrayId;
use crate::format::dtype::Dtype;
use crate::model::array::ArraySource;
use crate::model::graph::read::byte_range;
use crate::model::graph::{ArrayPart, Graph, NodeId};
use crate::model::lower::Refusal;
use crate::model::lower::trees::ensemble::{PlainKind, PlainNode, PlainTree, Test};
use crate::model::lower::trees::nodes::{self, Nodes};
use crate::model::lower::trees::{TreeObject, in_tree};

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

    /// Adds the tree of `estimator`; `value(samples, stored)` is what a leaf adds.
    pub(super) fn add(
        &mut self,
        estimator: NodeId,
        missing: bool,
        value: impl Fn(u32, f64) -> f64,
    ) -> Result<(), Refusal> {
        let index = self.trees.len();
        let tree = self.read(estimator, missing, value).map_err(|refusal| in_tree(index, refusal))?;
        self.trees.push(tree);
        Ok(())
    }

    fn read(
        &mut self,
        estimator: NodeId,
        missing: bool,
        value: impl Fn(u32, f64) -> f64,
    ) -> Result<PlainTree, Refusal> {
        let not_fitted = || Refusal::uncovered("it is not a fitted tree");
        let tree = TreeObject::read(self.graph, self.graph.attr(estimator, "tree_").ok_or_else(not_fitted)?)?;
        let n_features = u32::try_from(tree.n_features).ok().filter(|&n| n > 0);
        let n_features = n_features.ok_or_else(|| Refusal::uncovered("it has no features"))?;
        if *self.n_features.get_or_insert(n_features) != n_features || tree.n_outputs != 1 {
            return Err(Refusal::uncovered("it has other features or outputs than the first tree"));
        }
        self.budget.take(tree.nodes, self.arrays)?;
        let nodes = Nodes::read(tree.nodes, self.arrays, n_features)?;
        let values = self.values(tree.values, nodes.len())?;
        let node = |at: u32| {
            let node = nodes.node(at);
            let kind = match node.split {
                None => PlainKind::Leaf { value: value(node.samples, values[at as usize]) },
                Some(split) => PlainKind::Split {
                    test: Test::AtMost { feature: split.feature, threshold: key_threshold(node.low) },
                    left: split.left,
                    right: split.right,
                    missing_left: missing && nodes.missing(at),
                },
            };
            PlainNode { kind, samples: f64::from(node.samples), origin: at }
        };
        Ok(PlainTree { nodes: (0..nodes.len() as u32).map(node).collect() })
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

    /// Columns of the input, and the trees.
    pub(super) fn finish(self) -> Result<(u32, Vec<PlainTree>), Refusal> {
        let n_features = self.n_features.ok_or_else(|| Refusal::uncovered("it has no trees"))?;
        Ok((n_features, self.trees))
    }
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
