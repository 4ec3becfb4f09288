//! Trees in the compact layout.
#![forbid(unsafe_code)]

use std::ops::AddAssign;

use ndarray::ArrayView2;
use rayon::prelude::*;

use crate::engine::input::Input;
use crate::engine::rows::Number;
use crate::engine::trees::Scores;
use crate::engine::trees::categories::Sets;
use crate::engine::trees::keys::{self, Compare, Encoder, Keys};
use crate::engine::trees::walk::{LANES, Nodes};
use crate::engine::{PredictError, Run, pool};
use crate::format::dtype::Element;
use crate::model::plan::compact::{Node, Packing};
use crate::model::plan::{Boosted, Categories, Encoding, Float, Head, TreeLayout, Trees};

/// Keys of one block of rows: few enough to stay in the second-level cache beside a tree.
const BLOCK_KEYS: usize = 1 << 16;
/// Most rows of a block.
const BLOCK_ROWS: usize = 1024;
/// Up to this many rows, trees are walked together instead of rows.
const FEW_ROWS: usize = 4;
/// Walks (rows times trees) below which threads do not pay.
const SMALL: usize = 1 << 11;

/// Calls `$run` with the trees in their node width.
macro_rules! with_nodes {
    ($engine:expr, $trees:expr, $compact:ident => $run:expr) => {{
        let TreeLayout::Compact { nodes, wide, .. } = $trees.layout;
        let words = $engine.values::<u64>("nodes", nodes)?;
        if wide {
            let $compact = Compact::<[u64; 2]>::new($engine, $trees, bytemuck::cast_slice(words))?;
            $run
        } else {
            let $compact = Compact::<u64>::new($engine, $trees, words)?;
            $run
        }
    }};
}

/// What the leaves of each row add up to.
pub(super) fn scores(run: Run<'_>, trees: &Trees, x: &Input<'_>) -> Result<Scores, PredictError> {
    with_nodes!(run, trees, compact => match x {
        Input::F32(x) => compact.scores(trees, x),
        Input::F64(x) => compact.scores(trees, x),
    })
}

/// The library's number of the leaf of each row and tree: `[n_rows, n_trees]`.
pub(super) fn apply(run: Run<'_>, trees: &Trees, x: &Input<'_>) -> Result<Vec<i64>, PredictError> {
    let TreeLayout::Compact { origin, .. } = trees.layout;
    let origin = run.values::<u32>("origin", origin)?;
    Ok(with_nodes!(run, trees, compact => match x {
        Input::F32(x) => compact.apply(origin, x),
        Input::F64(x) => compact.apply(origin, x),
    }))
}

fn sets<'a>(run: Run<'a>, categories: &Categories) -> Result<Sets<'a>, PredictError> {
    Ok(Sets {
        features: run.values("features", categories.features)?,
        starts: run.values("starts", categories.starts)?,
        left: run.values("left", categories.left)?,
        known: categories.known.map_or(Ok(&[][..]), |id| run.values("known", id))?,
        rule: categories.rule,
    })
}

/// Compact trees in the mapping.
struct Compact<'a, N> {
    run: Run<'a>,
    encoder: Encoder<'a>,
    nodes: Nodes<'a, N>,
    /// First node of each tree.
    roots: &'a [u64],
}

impl<'a, N: Node> Compact<'a, N> {
    fn new(run: Run<'a>, trees: &Trees, nodes: &'a [N]) -> Result<Self, PredictError> {
        let TreeLayout::Compact { encoding, categories, zero_missing, roots, missing, .. } = trees.layout;
        let missing = missing.map_or(Ok(&[][..]), |id| run.values("missing", id))?;
        let roots = run.values::<u64>("roots", roots)?.split_last().map_or(&[][..], |(_, roots)| roots);
        let encoder = Encoder {
            compare: match encoding {
                Encoding::Keys => Compare::Keys,
                Encoding::Ranks { thresholds, starts } => Compare::Ranks {
                    thresholds: run.values("thresholds", thresholds)?,
                    starts: run.values("starts", starts)?,
                },
            },
            zero_missing: zero_missing.map_or(Ok(&[][..]), |id| run.values("zero_missing", id))?,
            sets: categories.map(|categories| sets(run, &categories)).transpose()?,
        };
        let n_columns = encoder.n_columns(trees.n_features as usize);
        let packing = Packing::new(n_columns as u32);
        Ok(Compact { run, encoder, nodes: Nodes { nodes, packing, missing }, roots })
    }

    fn scores<T: Number>(&self, trees: &Trees, x: &ArrayView2<'_, T>) -> Result<Scores, PredictError> {
        let TreeLayout::Compact { leaves, .. } = trees.layout;
        Ok(match &trees.head {
            Head::Forest(forest) => {
                let leaves = self.run.values("leaves", leaves)?;
                Scores::F64(self.means(leaves, trees.width() as usize, forest.average, x))
            }
            Head::Boosted(boosted) => match boosted.sum {
                Float::F32 => {
                    Scores::F32(self.sums::<f32, T>(self.run.values("leaves", leaves)?, boosted, x)?)
                }
                Float::F64 => {
                    Scores::F64(self.sums::<f64, T>(self.run.values("leaves", leaves)?, boosted, x)?)
                }
            },
        })
    }

    fn apply<T: Number>(&self, origin: &[u32], x: &ArrayView2<'_, T>) -> Vec<i64> {
        let n_trees = self.roots.len();
        let mut out = vec![0i64; x.nrows() * n_trees];
        self.blocks(x, &mut out, n_trees, |out: &mut [i64], row, tree, at| {
            out[row * n_trees + tree] = i64::from(origin[at]);
        });
        out
    }

    /// Rows of `width` values: of the leaf, or the mean over trees.
    fn means<T: Number>(
        &self,
        leaves: &[f64],
        width: usize,
        average: bool,
        x: &ArrayView2<'_, T>,
    ) -> Vec<f64> {
        let leaf = |at: usize| &leaves[self.nodes.nodes[at].low() as usize * width..][..width];
        let mut out = vec![0.0; x.nrows() * width];
        if !average {
            // No sum: adding to zero would lose the sign of -0.0.
            self.blocks(x, &mut out, width, |out: &mut [f64], row, _, at| {
                out[row * width..][..width].copy_from_slice(leaf(at));
            });
            return out;
        }
        if width == 1 {
            self.blocks(x, &mut out, 1, |out: &mut [f64], row, _, at| {
                out[row] += leaves[self.nodes.nodes[at].low() as usize];
            });
        } else {
            self.blocks(x, &mut out, width, |out: &mut [f64], row, _, at| {
                let sums = out[row * width..][..width].iter_mut();
                sums.zip(leaf(at)).for_each(|(sum, value)| *sum += value);
            });
        }
        let n_trees = self.roots.len() as f64;
        out.iter_mut().for_each(|sum| *sum /= n_trees);
        out
    }

    /// Rows of sums, each begun at its `start`.
    fn sums<S: Element + AddAssign + Send + Sync, T: Number>(
        &self,
        leaves: &[S],
        boosted: &Boosted,
        x: &ArrayView2<'_, T>,
    ) -> Result<Vec<S>, PredictError> {
        let start = self.run.values::<S>("start", boosted.start)?;
        let (columns, parallel) = (boosted.columns as usize, boosted.parallel as usize);
        let mut out = start.repeat(x.nrows());
        self.blocks(x, &mut out, columns, |out: &mut [S], row, tree, at| {
            out[row * columns + tree / parallel % columns] += leaves[self.nodes.nodes[at].low() as usize];
        });
        Ok(out)
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
        let most = (BLOCK_KEYS / (self.encoder.n_columns(x.ncols()) + 1)).clamp(LANES, BLOCK_ROWS);
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
            let mut keys = Vec::with_capacity(self.encoder.n_columns(x.ncols()) + 1);
            for row in 0..n_rows {
                let nan = keys::one_row(self.encoder, x, first_row + row, &mut keys);
                let visit = |tree, at| visit(out, row, tree, at);
                if nan && !self.nodes.missing.is_empty() {
                    self.one_row::<true>(&keys, visit);
                } else {
                    self.one_row::<false>(&keys, visit);
                }
            }
            return;
        }
        let keys = Keys::new(self.encoder, x, first_row, n_rows);
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
