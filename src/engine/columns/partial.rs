//! `Tree.compute_partial_dependence`.
#![forbid(unsafe_code)]

use ndarray::ArrayView2;

use crate::engine::columns::TreeInputError;
use crate::model::trees::TreeView;

impl TreeView<'_> {
    /// Adds the partial dependence on `targets`, the features in the columns of `grid`, to `out`, which has an
    /// element per row of `grid`.
    ///
    /// Splits on a target send a row one way; other splits send it both ways, weighted by their training samples.
    ///
    /// # Errors
    ///
    /// [`TreeInputError::Targets`]; [`TreeInputError::Weight`] if the weights of some row do not add up to 1, which
    /// leaves `out` half done.
    pub fn partial_dependence(
        &self,
        grid: &ArrayView2<'_, f32>,
        targets: &[i64],
        out: &mut [f64],
    ) -> Result<(), TreeInputError> {
        if targets.len() > grid.ncols() {
            return Err(TreeInputError::Targets { targets: targets.len(), columns: grid.ncols() });
        }
        let mut stack = Vec::new();
        for (row, out) in out.iter_mut().enumerate().take(grid.nrows()) {
            let mut total = 0.0;
            stack.clear();
            stack.push((0, 1.0));
            while let Some((node, weight)) = stack.pop() {
                let Some((left, right)) = self.children(node) else {
                    // scikit-learn takes element `node` of all values, which is the node's own only if it has but one.
                    *out += weight * self.value(node / self.width, node % self.width);
                    total += weight;
                    continue;
                };
                let feature = self.feature.at(node);
                match targets.iter().position(|target| *target == feature) {
                    Some(column) => {
                        let goes_left = f64::from(grid[[row, column]]) <= self.threshold.at(node);
                        stack.push((if goes_left { left } else { right }, weight));
                    }
                    None => {
                        let fraction = self.weight.at(left) / self.weight.at(node);
                        stack.push((left, weight * fraction));
                        stack.push((right, weight * (1.0 - fraction)));
                    }
                }
            }
            if !(0.999 < total && total < 1.001) {
                return Err(TreeInputError::Weight { found: total });
            }
        }
        Ok(())
    }
}
