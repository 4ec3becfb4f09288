//! Small trees side by side.
#![forbid(unsafe_code)]

use std::cell::Cell;
use std::ops::{AddAssign, Range};

use ndarray::{ArrayView1, ArrayView2, Axis, Slice};
use rayon::prelude::*;

use crate::engine::input::Input;
use crate::engine::kernels::Kernels;
use crate::engine::kernels::lanes::{Bytes, COLUMNS, Depth, GroupNodes, ROWS, Real, Row, Tile};
use crate::engine::rows::Number;
use crate::engine::trees::Scores;
use crate::engine::{PredictError, Run, pool};
use crate::format::dtype::Element;
use crate::model::plan::lanes::{BLOCK, NODES, TREES, leaves_of};
use crate::model::plan::{Float, Head, TreeLayout, Trees};

/// Tiles that run through a group before the next one is fetched: its nodes and leaves stay in the first-level cache.
const TILES: usize = 4;
/// Rows below which trees are asked side by side instead of rows, for heaps of depth 3 and for larger trees.
const FEW_ROWS: [usize; 2] = [6, 10];
/// Columns that are read together.
const COLUMNS_TOGETHER: usize = 8;
/// Trees whose leaves are found before they are added.
const TOGETHER: usize = 8;
/// Answers (rows times trees) below which threads do not pay.
const SMALL: usize = 1 << 16;

thread_local! {
    /// Tiles, kept from call to call: at most [`TILES`], of 16 KiB each.
    static SCRATCH: Cell<Vec<Tile>> = Cell::default();
}

/// What the leaves of each row add up to.
pub(super) fn scores(
    run: Run<'_>,
    trees: &Trees,
    x: &Input<'_>,
    kernels: Kernels,
) -> Result<Scores, PredictError> {
    let TreeLayout::Lanes { leaves, .. } = trees.layout else { unreachable!("another layout") };
    let Head::Boosted(boosted) = &trees.head else { unreachable!("validation refuses other heads") };
    let columns = Columns { columns: boosted.columns as usize, parallel: boosted.parallel as usize };
    Ok(match boosted.sum {
        Float::F32 => {
            let leaves = run.values::<f32>("leaves", leaves)?;
            let mut sums = run.begun::<f32>(boosted.start, x.n_rows())?;
            run.lanes(trees, x, kernels, columns.columns, &mut sums, &Sums { leaves, columns })?;
            Scores::F32(sums)
        }
        Float::F64 => {
            let leaves = run.values::<f64>("leaves", leaves)?;
            let mut sums = run.begun::<f64>(boosted.start, x.n_rows())?;
            run.lanes(trees, x, kernels, columns.columns, &mut sums, &Sums { leaves, columns })?;
            Scores::F64(sums)
        }
    })
}

/// The library's number of the leaf of each row and tree: `[n_rows, n_trees]`.
pub(super) fn apply(
    run: Run<'_>,
    trees: &Trees,
    x: &Input<'_>,
    kernels: Kernels,
) -> Result<Vec<i64>, PredictError> {
    let TreeLayout::Lanes { origin, .. } = trees.layout else { unreachable!("another layout") };
    let n_trees = trees.n_trees as usize;
    let mut leaves = vec![0; x.n_rows() * n_trees];
    let numbers = Numbers { origin: run.values("origin", origin)?, n_trees };
    run.lanes(trees, x, kernels, n_trees, &mut leaves, &numbers)?;
    Ok(leaves)
}

/// What is done with the leaves that rows end in. `out` holds the rows at hand.
trait Visit: Sync {
    type Out: Send;

    /// One row; `leaf[tree]` for the trees `first..`, which begin at `groups`' leaves.
    fn row(&self, out: &mut [Self::Out], trees: Range<usize>, groups: &[u32], leaf: &Bytes);

    /// As many rows as `out` holds, at most a tile.
    fn tile(&self, out: &mut [Self::Out], trees: Range<usize>, groups: &[u32], leaf: &[[Bytes; 2]]);
}

/// Adds to the sums of rows.
struct Sums<'a, S> {
    leaves: &'a [S],
    columns: Columns,
}

#[derive(Clone, Copy)]
struct Columns {
    columns: usize,
    parallel: usize,
}

impl<S: Copy + AddAssign + Send + Sync> Visit for Sums<'_, S> {
    type Out = S;

    fn row(&self, out: &mut [S], trees: Range<usize>, groups: &[u32], leaf: &Bytes) {
        let Columns { columns, parallel } = self.columns;
        let places = leaves_of(groups, trees.start);
        let (mut at, step) = (places.start, places.len());
        if columns == 1 {
            let mut sum = out[0];
            for &leaf in &leaf[..trees.len()] {
                sum += self.leaves[at + leaf as usize];
                at += step;
            }
            out[0] = sum;
            return;
        }
        for (tree, &leaf) in trees.zip(leaf) {
            out[tree / parallel % columns] += self.leaves[at + leaf as usize];
            at += step;
        }
    }

    fn tile(&self, out: &mut [S], trees: Range<usize>, groups: &[u32], leaf: &[[Bytes; 2]]) {
        let Columns { columns, parallel } = self.columns;
        let step = leaves_of(groups, trees.start).len();
        if columns == 1 && trees.len() == TOGETHER {
            return match step {
                0..=8 => self.together::<8>(out, trees.start, groups, leaf),
                9..=16 => self.together::<16>(out, trees.start, groups, leaf),
                17..=32 => self.together::<32>(out, trees.start, groups, leaf),
                _ => self.together::<64>(out, trees.start, groups, leaf),
            };
        }
        for (tree, leaf) in trees.zip(leaf) {
            let leaves = &self.leaves[leaves_of(groups, tree)];
            let column = out.iter_mut().skip(tree / parallel % columns).step_by(columns);
            column.zip(leaf.as_flattened()).for_each(|(sum, &leaf)| *sum += leaves[leaf as usize]);
        }
    }
}

impl<S: Copy + AddAssign> Sums<'_, S> {
    /// A window of `L` leaves begins at every tree, since there are spare ones behind the last: so no leaf is out of bounds.
    fn together<const L: usize>(&self, out: &mut [S], first: usize, groups: &[u32], leaf: &[[Bytes; 2]]) {
        let empty: &[S; L] = self.leaves.first_chunk().expect("spare leaves");
        let mut leaves = [empty; TOGETHER];
        let mut found = [[0i8; ROWS]; TOGETHER];
        for (tree, leaves) in leaves.iter_mut().enumerate() {
            let start = leaves_of(groups, first + tree).start;
            *leaves = self.leaves[start..].first_chunk().expect("spare leaves");
            found[tree].copy_from_slice(leaf[tree].as_flattened());
        }
        for (row, sum) in out.iter_mut().enumerate().take(ROWS) {
            let mut of_row = *sum;
            for (leaves, found) in leaves.iter().zip(&found) {
                of_row += leaves[found[row] as usize % L];
            }
            *sum = of_row;
        }
    }
}

/// Writes the numbers of leaves.
struct Numbers<'a> {
    origin: &'a [u32],
    n_trees: usize,
}

impl Visit for Numbers<'_> {
    type Out = i64;

    fn row(&self, out: &mut [i64], trees: Range<usize>, groups: &[u32], leaf: &Bytes) {
        for (tree, &leaf) in trees.zip(leaf) {
            out[tree] = i64::from(self.origin[leaves_of(groups, tree).start + leaf as usize]);
        }
    }

    fn tile(&self, out: &mut [i64], trees: Range<usize>, groups: &[u32], leaf: &[[Bytes; 2]]) {
        for (tree, leaf) in trees.zip(leaf) {
            let origin = &self.origin[leaves_of(groups, tree)];
            let column = out.iter_mut().skip(tree).step_by(self.n_trees);
            column.zip(leaf.as_flattened()).for_each(|(out, &leaf)| *out = i64::from(origin[leaf as usize]));
        }
    }
}

impl Run<'_> {
    /// Shows `visit` the leaves of all rows; `out` has `per_row` values for each.
    fn lanes<V: Visit>(
        self,
        trees: &Trees,
        x: &Input<'_>,
        kernels: Kernels,
        per_row: usize,
        out: &mut [V::Out],
        visit: &V,
    ) -> Result<(), PredictError> {
        let threads = pool::threads(self.options.threads);
        match (trees.input, x) {
            (Float::F32, Input::F32(x)) => {
                let lanes = Lanes::new(self, trees, kernels, |x: f32| x)?;
                lanes.run(x, out, per_row, threads, visit);
            }
            (Float::F32, Input::F64(x)) => {
                let lanes = Lanes::new(self, trees, kernels, |x: f64| x.f32())?;
                lanes.run(x, out, per_row, threads, visit);
            }
            (Float::F64, Input::F32(x)) => {
                let lanes = Lanes::new(self, trees, kernels, |x: f32| x.f64())?;
                lanes.run(x, out, per_row, threads, visit);
            }
            (Float::F64, Input::F64(x)) => {
                let lanes = Lanes::new(self, trees, kernels, |x: f64| x)?;
                lanes.run(x, out, per_row, threads, visit);
            }
        }
        Ok(())
    }
}

/// Trees in the mapping, and what values of the input are compared as.
struct Lanes<'a, F, C> {
    kernels: Kernels,
    compared: C,
    heap: Option<u32>,
    thresholds: &'a [[F; BLOCK]],
    starts: &'a [u32],
    chunks: &'a [u32],
    groups: &'a [u32],
    nodes: &'a [Bytes],
    n_features: usize,
    n_trees: usize,
}

impl<'a, F: Real + Element + Default + Send + Sync, C> Lanes<'a, F, C> {
    fn new(run: Run<'a>, trees: &Trees, kernels: Kernels, compared: C) -> Result<Self, PredictError> {
        let TreeLayout::Lanes { heap, thresholds, starts, chunks, groups, nodes, .. } = trees.layout else {
            unreachable!("another layout")
        };
        Ok(Lanes {
            kernels,
            compared,
            heap,
            thresholds: run.values::<F>("thresholds", thresholds)?.as_chunks().0,
            starts: run.values("starts", starts)?,
            chunks: run.values("chunks", chunks)?,
            groups: run.values("groups", groups)?,
            nodes: bytemuck::cast_slice(run.values::<u8>("nodes", nodes)?),
            n_features: trees.n_features as usize,
            n_trees: trees.n_trees as usize,
        })
    }

    fn run<T: Number, V: Visit>(
        &self,
        x: &ArrayView2<'_, T>,
        out: &mut [V::Out],
        per_row: usize,
        threads: usize,
        visit: &V,
    ) where
        C: Fn(T) -> F + Sync,
    {
        let n = x.nrows();
        let alone = threads == 1 || n <= ROWS || n.saturating_mul(self.n_trees) < SMALL;
        let share = if alone { TILES * ROWS } else { n.div_ceil(threads).min(TILES * ROWS) };
        let rows = share.next_multiple_of(ROWS);
        let few_rows = FEW_ROWS[usize::from(self.heap.is_none_or(|depth| depth > 3))];
        let block = |(block, out): (usize, &mut [V::Out])| {
            let first = block * rows;
            let x = x.slice_axis(Axis(0), Slice::from(first..n.min(first + rows)));
            if x.nrows() < few_rows {
                self.by_row(&x, out, per_row, visit);
            } else {
                let mut tiles = SCRATCH.take();
                self.by_tile(&x, out, per_row, visit, &mut tiles);
                SCRATCH.set(tiles);
            }
        };
        let blocks = rows * per_row;
        if alone {
            out.chunks_mut(blocks).enumerate().for_each(block);
        } else {
            pool::run(threads, || out.par_chunks_mut(blocks).enumerate().for_each(block));
        }
    }

    /// One row after the other, through all trees of a group at once.
    fn by_row<T: Number, V: Visit>(
        &self,
        x: &ArrayView2<'_, T>,
        out: &mut [V::Out],
        per_row: usize,
        visit: &V,
    ) where
        C: Fn(T) -> F,
    {
        let mut keys: Row = [[0; 16]; COLUMNS / 16];
        let mut leaf = [0; 32];
        for (x, out) in x.rows().into_iter().zip(out.chunks_exact_mut(per_row)) {
            for (chunk, groups) in self.chunks.windows(2).enumerate() {
                let (right, left) = keys.as_flattened_mut().split_at_mut(COLUMNS / 2);
                let mut nan = false;
                for (((&value, blocks), right), left) in x.iter().zip(self.blocks(chunk)).zip(right).zip(left)
                {
                    let value = (self.compared)(value);
                    nan |= value.is_nan();
                    self.kernels.keys(
                        blocks,
                        &[value],
                        std::slice::from_mut(right),
                        std::slice::from_mut(left),
                    );
                }
                for group in groups[0]..groups[1] {
                    let (nodes, trees) = self.group(group as usize);
                    self.kernels.trees_of_row(nodes, &keys, self.n_features, nan, &mut leaf);
                    visit.row(out, trees, self.groups, &leaf);
                }
            }
        }
    }

    /// One tree after the other, for all rows of a tile at once.
    fn by_tile<T: Number, V: Visit>(
        &self,
        x: &ArrayView2<'_, T>,
        out: &mut [V::Out],
        per_row: usize,
        visit: &V,
        tiles: &mut Vec<Tile>,
    ) where
        C: Fn(T) -> F,
    {
        tiles.resize(x.nrows().div_ceil(ROWS), [[[0; 32]; 2]; COLUMNS]);
        let mut leaf = [[[0; 32]; 2]; TOGETHER];
        for (chunk, groups) in self.chunks.windows(2).enumerate() {
            self.fill(tiles, chunk, x);
            for group in groups[0]..groups[1] {
                let (nodes, trees) = self.group(group as usize);
                for (tile, out) in tiles.iter().zip(out.chunks_mut(ROWS * per_row)) {
                    for first in trees.clone().step_by(TOGETHER) {
                        let some = first..trees.end.min(first + TOGETHER);
                        let leaf = &mut leaf[..some.len()];
                        self.kernels.trees_of_tile(nodes, first % TREES, tile, out.len() / per_row, leaf);
                        visit.tile(out, some, self.groups, leaf);
                    }
                }
            }
        }
    }

    /// The keys of rows in the thresholds of a chunk.
    fn fill<T: Number>(&self, tiles: &mut [Tile], chunk: usize, x: &ArrayView2<'_, T>)
    where
        C: Fn(T) -> F,
    {
        let mut values = [[F::default(); ROWS]; COLUMNS_TOGETHER];
        for (tile, x) in tiles.iter_mut().zip(x.axis_chunks_iter(Axis(0), ROWS)) {
            let (right, left) = tile.split_at_mut(COLUMNS / 2);
            for (feature, ((blocks, right), left)) in self.blocks(chunk).zip(right).zip(left).enumerate() {
                let within = feature % COLUMNS_TOGETHER;
                if within == 0 {
                    self.columns(&x, feature, &mut values);
                }
                if blocks.is_empty() {
                    (*right, *left) = ([[0; 32]; 2], [[0; 32]; 2]);
                    continue;
                }
                let values = &values[within][..x.nrows()];
                self.kernels.keys(blocks, values, right.as_flattened_mut(), left.as_flattened_mut());
            }
        }
    }

    /// The columns from `first` on, as they are compared.
    fn columns<T: Number>(
        &self,
        x: &ArrayView2<'_, T>,
        first: usize,
        values: &mut [[F; ROWS]; COLUMNS_TOGETHER],
    ) where
        C: Fn(T) -> F,
    {
        let mut n_rows = 0;
        for (row, own) in x.rows().into_iter().map(|row| together(&row, first)).enumerate() {
            let Some(own) = own else { break };
            for (column, &value) in values.iter_mut().zip(own) {
                column[row] = (self.compared)(value);
            }
            n_rows += 1;
        }
        if n_rows == x.nrows() {
            return;
        }
        // Rows are not contiguous, or there are fewer columns left.
        for (values, column) in values.iter_mut().zip(x.columns().into_iter().skip(first)) {
            for (to, &value) in values.iter_mut().zip(column) {
                *to = (self.compared)(value);
            }
        }
    }

    /// The blocks of every feature.
    fn blocks(&self, chunk: usize) -> impl Iterator<Item = &'a [[F; BLOCK]]> {
        let starts = &self.starts[chunk * self.n_features..];
        let starts = starts.windows(2).take(self.n_features);
        starts.map(|span| &self.thresholds[span[0] as usize..span[1] as usize])
    }

    fn group(&self, group: usize) -> (GroupNodes<'a>, Range<usize>) {
        let trees = group * TREES..self.n_trees.min((group + 1) * TREES);
        let places = self.groups[group] as usize..self.groups[group + 1] as usize;
        let depth = match self.heap {
            None => None,
            Some(3) => Some(Depth::D3),
            Some(4) => Some(Depth::D4),
            Some(5) => Some(Depth::D5),
            Some(_) => Some(Depth::D6),
        };
        let nodes = match depth {
            Some(depth) => {
                GroupNodes::Heap(depth, self.nodes[places.start * 2..places.end * 2].as_chunks().0)
            }
            None => {
                let nodes = self.nodes[places.start * 3..places.end * 3].as_chunks().0;
                GroupNodes::Ranges(&nodes[..nodes.len().min(NODES)])
            }
        };
        (nodes, trees)
    }
}

/// Columns of a contiguous row.
fn together<'a, T>(row: &ArrayView1<'a, T>, first: usize) -> Option<&'a [T; COLUMNS_TOGETHER]> {
    row.to_slice()?.get(first..)?.first_chunk()
}

#[cfg(test)]
mod tests;
