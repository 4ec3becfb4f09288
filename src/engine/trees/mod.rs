//! Decision trees and forests.
//!
//! Values are added in tree order in `f64` and divided last, as scikit-learn does with `n_jobs=1`, so the bits do
//! not depend on how rows are grouped or on the number of threads.
#![forbid(unsafe_code)]

pub(super) mod keys;
pub(super) mod walk;

use ndarray::ArrayView2;
use rayon::prelude::*;

use self::keys::Keys;
use self::walk::{LANES, Nodes};
use crate::engine::input::{Input, Method};
use crate::engine::output::{Output, OutputArray};
use crate::engine::rows::{self, Accepts, Number};
use crate::engine::{PredictError, Run, pool};
use crate::format::ArrayId;
use crate::format::dtype::Dtype;
use crate::model::plan::compact::{Node, Packing};
use crate::model::plan::{PlanError, TreeLayout, Trees};

/// Keys of one block of rows: few enough to stay in the second-level cache beside a tree.
const BLOCK_KEYS: usize = 1 << 16;
/// Most rows of a block.
const BLOCK_ROWS: usize = 1024;
/// Up to this many rows, trees are walked together instead of rows.
const FEW_ROWS: usize = 4;
/// Walks (rows times trees) below which threads do not pay.
const SMALL: usize = 1 << 11;

impl<'a> Run<'a> {
    /// Any method of trees.
    pub(super) fn trees(self, trees: &Trees, method: Method, x: Input<'_>) -> Result<Output, PredictError> {
        let Trees { n_features, nan_allowed: nan, .. } = *trees;
        Accepts { estimator: &trees.estimator, n_features, nan, as_f32: true }.check(&x, self.options)?;
        let TreeLayout::Compact { nodes, wide, .. } = trees.layout;
        let words = self.values::<u64>("nodes", nodes)?;
        if wide {
            self.forest::<[u64; 2]>(trees, bytemuck::cast_slice(words))?.method(trees, method, x)
        } else {
            self.forest::<u64>(trees, words)?.method(trees, method, x)
        }
    }

    fn forest<N: Node>(self, trees: &Trees, nodes: &'a [N]) -> Result<Forest<'a, N>, PredictError> {
        let TreeLayout::Compact { roots, leaves, missing, .. } = trees.layout;
        let missing = missing.map_or(Ok(&[][..]), |id| self.values("missing", id))?;
        let roots = self.values::<u64>("roots", roots)?.split_last().map_or(&[][..], |(_, roots)| roots);
        Ok(Forest {
            run: self,
            nodes: Nodes { nodes, packing: Packing::new(trees.n_features), missing },
            roots,
            leaves: self.values("leaves", leaves)?,
            width: trees.n_outputs as usize * trees.max_classes as usize,
            average: trees.average,
        })
    }

    /// Dtype and bytes of class labels.
    pub(super) fn labels(self, classes: ArrayId) -> Result<(Dtype, &'a [u8]), PredictError> {
        let missing = || PlanError::Compressed { op: self.ops.len() - 1, parameter: "classes" };
        let info = self.arrays.plan_array_info(classes).ok_or_else(missing)?;
        Ok((info.dtype, self.arrays.plan_array_bytes(classes).ok_or_else(missing)?))
    }
}

/// A forest in the mapping.
struct Forest<'a, N> {
    run: Run<'a>,
    nodes: Nodes<'a, N>,
    /// First node of each tree.
    roots: &'a [u64],
    /// Rows of `width` values.
    leaves: &'a [f64],
    width: usize,
    average: bool,
}

impl<N: Node> Forest<'_, N> {
    fn method(&self, trees: &Trees, method: Method, x: Input<'_>) -> Result<Output, PredictError> {
        match x {
            Input::F32(x) => self.answer(trees, method, &x),
            Input::F64(x) => self.answer(trees, method, &x),
        }
    }

    fn answer<T: Number>(
        &self,
        trees: &Trees,
        method: Method,
        x: &ArrayView2<'_, T>,
    ) -> Result<Output, PredictError> {
        let n = x.nrows();
        if method == Method::Apply {
            return self.apply(trees, x);
        }
        let scores = self.scores(x);
        let outputs = trees.n_outputs as usize;
        if trees.classes.is_empty() {
            let shape = if outputs == 1 { vec![n] } else { vec![n, outputs] };
            return Ok(Output::one(OutputArray::f64(&shape, scores)));
        }
        let labels = trees.classes.iter().map(|&id| self.run.labels(id)).collect::<Result<Vec<_>, _>>()?;
        if method == Method::Predict {
            return Ok(self.predict_labels(&scores, n, &labels));
        }
        let n_classes =
            labels.iter().map(|(dtype, bytes)| bytes.len() / dtype.itemsize() as usize).collect::<Vec<_>>();
        Ok(self.probabilities(scores, n, &n_classes, method == Method::PredictLogProba))
    }

    fn predict_labels(&self, scores: &[f64], n: usize, labels: &[(Dtype, &[u8])]) -> Output {
        let (outputs, max_classes) = (labels.len(), self.width / labels.len());
        let picks = scores.chunks_exact(max_classes).enumerate();
        let n_classes = |output: usize| labels[output].1.len() / labels[output].0.itemsize() as usize;
        let pick =
            |(i, scores): (usize, &[f64])| (i % outputs, rows::argmax(&scores[..n_classes(i % outputs)]));
        let picks = picks.map(pick);
        let bytes: Vec<&[u8]> = labels.iter().map(|(_, bytes)| *bytes).collect();
        let shape = if outputs == 1 { vec![n] } else { vec![n, outputs] };
        Output::one(OutputArray::labels(&shape, labels[0].0.clone(), picks, &bytes))
    }

    /// One array per output, without the columns of classes that only other outputs have.
    fn probabilities(&self, mut scores: Vec<f64>, n: usize, n_classes: &[usize], log: bool) -> Output {
        if log {
            scores.iter_mut().for_each(|p| *p = p.ln());
        }
        if let [all] = *n_classes
            && all == self.width
        {
            return Output::one(OutputArray::f64(&[n, all], scores));
        }
        let max_classes = self.width / n_classes.len();
        let output = |(output, &n_classes): (usize, &usize)| {
            let rows = scores.chunks_exact(self.width).map(|row| &row[output * max_classes..][..n_classes]);
            OutputArray::f64(&[n, n_classes], rows.flatten().copied().collect())
        };
        Output { arrays: n_classes.iter().enumerate().map(output).collect() }
    }

    fn apply<T: Number>(&self, trees: &Trees, x: &ArrayView2<'_, T>) -> Result<Output, PredictError> {
        let TreeLayout::Compact { origin, .. } = trees.layout;
        let origin = self.run.values::<u32>("origin", origin)?;
        let n_trees = self.roots.len();
        let mut out = vec![0i64; x.nrows() * n_trees];
        self.blocks(x, &mut out, n_trees, |out: &mut [i64], row, tree, at| {
            out[row * n_trees + tree] = i64::from(origin[at]);
        });
        let shape = if trees.average { vec![x.nrows(), n_trees] } else { vec![x.nrows()] };
        Ok(Output::one(OutputArray::i64(&shape, out)))
    }

    /// Rows of `width` values: of the leaf, or the mean over trees.
    fn scores<T: Number>(&self, x: &ArrayView2<'_, T>) -> Vec<f64> {
        let width = self.width;
        let mut out = vec![0.0; x.nrows() * width];
        if !self.average {
            // No sum: adding to zero would lose the sign of -0.0.
            self.blocks(x, &mut out, width, |out: &mut [f64], row, _, at| {
                out[row * width..][..width].copy_from_slice(self.leaf(at));
            });
            return out;
        }
        if width == 1 {
            self.blocks(x, &mut out, 1, |out: &mut [f64], row, _, at| {
                out[row] += self.leaves[self.nodes.nodes[at].low() as usize];
            });
        } else {
            self.blocks(x, &mut out, width, |out: &mut [f64], row, _, at| {
                let sums = out[row * width..][..width].iter_mut();
                sums.zip(self.leaf(at)).for_each(|(sum, value)| *sum += value);
            });
        }
        let n_trees = self.roots.len() as f64;
        out.iter_mut().for_each(|sum| *sum /= n_trees);
        out
    }

    #[inline(always)]
    fn leaf(&self, at: usize) -> &[f64] {
        &self.leaves[self.nodes.nodes[at].low() as usize * self.width..][..self.width]
    }

    /// Calls `visit(out, row, tree, leaf position)` for every row and tree, a block of rows at a time. `out` is
    /// the block's part of `all`, `per_row` values each, and `row` counts within the block; the trees of a row come in order.
    fn blocks<T: Number, V: Send>(
        &self,
        x: &ArrayView2<'_, T>,
        all: &mut [V],
        per_row: usize,
        visit: impl Fn(&mut [V], usize, usize, usize) + Sync,
    ) {
        let (n, threads) = (x.nrows(), pool::threads(self.run.options.threads));
        let alone = threads == 1 || n < 2 * LANES || n.saturating_mul(self.roots.len()) < SMALL;
        let most = (BLOCK_KEYS / (x.ncols() + 1)).clamp(LANES, BLOCK_ROWS);
        let share = if alone { most } else { n.div_ceil(threads).min(most) };
        let rows = share.next_multiple_of(LANES);
        let block = |(block, out): (usize, &mut [V])| self.block(x, block * rows, out, per_row, &visit);
        if alone {
            all.chunks_mut(rows * per_row).enumerate().for_each(block);
        } else {
            pool::run(threads, || all.par_chunks_mut(rows * per_row).enumerate().for_each(block));
        }
    }

    fn block<T: Number, V>(
        &self,
        x: &ArrayView2<'_, T>,
        first_row: usize,
        out: &mut [V],
        per_row: usize,
        visit: &impl Fn(&mut [V], usize, usize, usize),
    ) {
        let n_rows = out.len() / per_row;
        if n_rows <= FEW_ROWS {
            let mut keys = Vec::with_capacity(x.ncols() + 1);
            for row in 0..n_rows {
                let nan = keys::one_row(x, first_row + row, &mut keys);
                let visit = |tree, at| visit(out, row, tree, at);
                if nan && !self.nodes.missing.is_empty() {
                    self.one_row::<true>(&keys, visit);
                } else {
                    self.one_row::<false>(&keys, visit);
                }
            }
            return;
        }
        let keys = Keys::new(x, first_row, n_rows);
        for (tree, &root) in self.roots.iter().enumerate() {
            for (group, (keys, nan)) in keys.groups().enumerate() {
                let mut at = [root as usize; LANES];
                if nan && !self.nodes.missing.is_empty() {
                    self.nodes.walk::<LANES, true>(&mut at, |feature, lane| keys[feature][lane]);
                } else {
                    self.nodes.walk::<LANES, false>(&mut at, |feature, lane| keys[feature][lane]);
                }
                let first = group * LANES;
                for (lane, &at) in at.iter().take(n_rows - first).enumerate() {
                    visit(out, first + lane, tree, at);
                }
            }
        }
    }

    /// One row through all trees, [`LANES`] at a time.
    #[inline(always)]
    fn one_row<const NAN: bool>(&self, keys: &[u32], mut visit: impl FnMut(usize, usize)) {
        let (together, rest) = self.roots.as_chunks::<LANES>();
        for (chunk, roots) in together.iter().enumerate() {
            let mut at = roots.map(|root| root as usize);
            self.nodes.walk::<LANES, NAN>(&mut at, |feature, _| keys[feature]);
            at.iter().enumerate().for_each(|(lane, &at)| visit(chunk * LANES + lane, at));
        }
        for (tree, &root) in rest.iter().enumerate() {
            let mut at = [root as usize];
            self.nodes.walk::<1, NAN>(&mut at, |feature, _| keys[feature]);
            visit(together.len() * LANES + tree, at[0]);
        }
    }
}
