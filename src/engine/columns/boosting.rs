//! Gradient boosting: `out[row, k] += scale * value`, stage by stage.
#![forbid(unsafe_code)]

use ndarray::ArrayView2;
use rayon::prelude::*;

use crate::engine::columns::csr::Rows;
use crate::engine::columns::walk::{FlatTree, block_rows, flattening_pays, one_leaf, walk};
use crate::engine::columns::{TreeInput, TreeInputError};
use crate::engine::pool;
use crate::engine::trees::keys::{Encoder, Keys};
use crate::engine::trees::walk::LANES;
use crate::model::trees::TreeView;

/// Walks (rows times trees) below which threads do not pay.
const SMALL: usize = 1 << 16;

/// The trees of consecutive stages.
#[derive(Clone, Copy, Debug)]
pub struct Boosting<'a> {
    /// In the order of stages, then of outputs.
    pub trees: &'a [TreeView<'a>],
    /// Trees of a stage: columns of the output.
    pub per_stage: usize,
    /// The learning rate.
    pub scale: f64,
}

impl Boosting<'_> {
    /// Adds `scale * value` of every stage to `start`: `[n_rows, per_stage]` in C order.
    ///
    /// Every sum is made in the order of stages, so the bits are those of scikit-learn whatever the number of
    /// threads. NaN goes right, as there.
    ///
    /// # Errors
    ///
    /// [`TreeInputError::Columns`]
    pub fn add_to(
        &self,
        start: Vec<f64>,
        x: &TreeInput<'_>,
        threads: Option<usize>,
    ) -> Result<Vec<f64>, TreeInputError> {
        self.trees.iter().try_for_each(|tree| x.check(tree))?;
        let mut out = start;
        out.resize(x.n_rows() * self.per_stage, 0.0);
        if self.per_stage > 0 {
            match x {
                TreeInput::Dense(x) => self.dense(x, &mut out, pool::threads(threads)),
                TreeInput::Csr(_) => self.csr(x, &mut out),
            }
        }
        Ok(out)
    }

    fn dense(&self, x: &ArrayView2<'_, f32>, out: &mut [f64], threads: usize) {
        let n_nodes = self.trees.iter().map(|tree| tree.n_nodes).sum();
        if !flattening_pays(n_nodes, x.nrows()) {
            for (row, out) in out.chunks_exact_mut(self.per_stage).enumerate() {
                self.add(out, |tree| one_leaf(tree, x, row));
            }
            return;
        }
        let flat: Vec<FlatTree> = self.trees.iter().map(|tree| FlatTree::new(tree, false)).collect();
        let alone = threads == 1 || x.nrows().saturating_mul(self.trees.len()) < SMALL;
        let most = block_rows(x.ncols());
        let share = if alone { most } else { x.nrows().div_ceil(threads).min(most) };
        let rows = share.next_multiple_of(LANES);
        let block = |(block, out): (usize, &mut [f64])| {
            let n_rows = out.len() / self.per_stage;
            let keys = Keys::new(Encoder::KEYS, x, block * rows, n_rows);
            for (index, (tree, flat)) in self.trees.iter().zip(&flat).enumerate() {
                let column = index % self.per_stage;
                flat.leaves(&keys, n_rows, |row, leaf| {
                    out[row * self.per_stage + column] += self.scale * tree.value(leaf, 0);
                });
            }
        };
        if alone {
            out.chunks_mut(rows * self.per_stage).enumerate().for_each(block);
        } else {
            pool::run(threads, || out.par_chunks_mut(rows * self.per_stage).enumerate().for_each(block));
        }
    }

    fn csr(&self, x: &TreeInput<'_>, out: &mut [f64]) {
        let mut rows = Rows::new(x);
        for (row, out) in out.chunks_exact_mut(self.per_stage).enumerate() {
            rows.go_to(row);
            self.add(out, |tree| {
                let mut leaf = 0;
                walk(tree, &rows, |node| leaf = node);
                leaf
            });
        }
    }

    /// All stages of one row.
    #[inline(always)]
    fn add(&self, out: &mut [f64], leaf: impl Fn(&TreeView<'_>) -> usize) {
        for stage in self.trees.chunks_exact(self.per_stage) {
            for (sum, tree) in out.iter_mut().zip(stage) {
                *sum += self.scale * tree.value(leaf(tree), 0);
            }
        }
    }
}
