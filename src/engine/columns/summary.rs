//! What a tree says about itself.
#![forbid(unsafe_code)]

use crate::model::trees::TreeView;

impl TreeView<'_> {
    /// The depth of each node, that of the root being 1: `Tree.compute_node_depths`.
    pub fn node_depths(&self) -> Vec<i64> {
        let mut depths = vec![1; self.n_nodes];
        for node in 0..self.n_nodes {
            if let Some((left, right)) = self.children(node) {
                depths[left] = depths[node] + 1;
                depths[right] = depths[node] + 1;
            }
        }
        depths
    }

    /// How much the splits on each feature lower the impurity, over the weight of the root: what
    /// `Tree.compute_feature_importances(normalize=False)` gives.
    pub fn feature_importances(&self) -> Vec<f64> {
        let mut importances = vec![0.0; self.n_features];
        let total = |node: usize| self.weight.at(node) * self.impurity.at(node);
        for node in 0..self.n_nodes {
            if let Some((left, right)) = self.children(node) {
                importances[self.feature.at(node) as usize] += total(node) - total(left) - total(right);
            }
        }
        let root = self.weight.at(0);
        importances.iter_mut().for_each(|importance| *importance /= root);
        importances
    }
}
