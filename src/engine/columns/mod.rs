//! Single trees, walked in the columns in which they are stored.
//!
//! What scikit-learn's `Tree` computes, with the same bits: comparisons in `f64`, NaN where `missing_go_to_left`
//! says, sums in the same order.
#![forbid(unsafe_code)]

mod boosting;
mod csr;
mod partial;
mod summary;
#[cfg(test)]
mod tests;
mod walk;

pub use self::boosting::Boosting;
pub use self::csr::Csr;

use ndarray::ArrayView2;

use self::csr::Rows;
use self::walk::leaves;
use crate::model::trees::TreeView;

/// Rows of `float32` to walk a tree with.
#[derive(Clone, Copy, Debug)]
pub enum TreeInput<'a> {
    /// Any strides.
    Dense(ArrayView2<'a, f32>),
    /// Values that are not stored are 0.
    Csr(Csr<'a>),
}

/// Why a tree cannot be walked with these rows.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TreeInputError {
    /// Too few columns.
    #[error("X has {found} features, but the tree was fitted with {expected}")]
    Columns {
        /// Features of the tree.
        expected: usize,
        /// Columns of the input.
        found: usize,
    },
    /// CSR arrays that contradict each other.
    #[error("X is not a CSR matrix: {problem}")]
    Csr {
        /// What is wrong.
        problem: &'static str,
    },
    /// More target features than columns.
    #[error("there are {targets} target features, but the grid has {columns} columns")]
    Targets {
        /// Target features.
        targets: usize,
        /// Columns there are.
        columns: usize,
    },
    /// Weights that do not add up: a node without samples.
    #[error("Total weight should be 1.0 but was {found:.9}")]
    Weight {
        /// The sum.
        found: f64,
    },
}

impl TreeInput<'_> {
    /// Number of rows.
    pub fn n_rows(&self) -> usize {
        match self {
            TreeInput::Dense(x) => x.nrows(),
            TreeInput::Csr(x) => x.n_rows(),
        }
    }

    /// Number of columns.
    pub fn n_columns(&self) -> usize {
        match self {
            TreeInput::Dense(x) => x.ncols(),
            TreeInput::Csr(x) => x.n_columns(),
        }
    }

    fn check(&self, tree: &TreeView<'_>) -> Result<(), TreeInputError> {
        let (expected, found) = (tree.n_features, self.n_columns());
        if found < expected { Err(TreeInputError::Columns { expected, found }) } else { Ok(()) }
    }
}

impl TreeView<'_> {
    /// The leaf that each row ends in: `Tree.apply`.
    ///
    /// # Errors
    ///
    /// [`TreeInputError::Columns`]
    pub fn apply(&self, x: &TreeInput<'_>) -> Result<Vec<i64>, TreeInputError> {
        x.check(self)?;
        let mut out = vec![0; x.n_rows()];
        leaves(self, x, |row, leaf| out[row] = leaf as i64);
        Ok(out)
    }

    /// The values of the leaf that each row ends in, `[n_rows, n_outputs * max_classes]`: `Tree.predict`.
    ///
    /// # Errors
    ///
    /// [`TreeInputError::Columns`]
    pub fn predict(&self, x: &TreeInput<'_>) -> Result<Vec<f64>, TreeInputError> {
        x.check(self)?;
        let mut out = vec![0.0; x.n_rows() * self.width];
        leaves(self, x, |row, leaf| {
            let values = out[row * self.width..][..self.width].iter_mut().enumerate();
            values.for_each(|(index, value)| *value = self.value(leaf, index));
        });
        Ok(out)
    }

    /// The nodes that each row goes through, as `(indptr, indices)` of a CSR matrix: `Tree.decision_path`.
    ///
    /// # Errors
    ///
    /// [`TreeInputError::Columns`]
    pub fn decision_path(&self, x: &TreeInput<'_>) -> Result<(Vec<i64>, Vec<i64>), TreeInputError> {
        x.check(self)?;
        let mut indptr = vec![0];
        let mut indices = Vec::new();
        let mut rows = Rows::new(x);
        for row in 0..x.n_rows() {
            rows.go_to(row);
            walk::walk(self, &rows, |node| indices.push(node as i64));
            indptr.push(indices.len() as i64);
        }
        Ok((indptr, indices))
    }
}
