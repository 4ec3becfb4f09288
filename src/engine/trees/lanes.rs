//! Small trees side by side.
#![forbid(unsafe_code)]

mod visit;

use std::cell::Cell;
use std::ops::Range;

use bytemuck::{Pod, Zeroable};
use ndarray::{ArrayView1, ArrayView2, Axis, Slice};
use rayon::prelude::*;

use crate::engine::input::Input;
use crate::engine::kernels::Kernels;
use crate::engine::kernels::lanes::{Bytes, COLUMNS, Depth, GroupNodes, ROWS, Real, Row, Tile};
use crate::engine::rows::Number;
use crate::engine::trees::Scores;
use crate::engine::trees::lanes::visit::{Numbers, Sums, TOGETHER, Visit};
use crate::engine::{PredictError, Run, pool};
use crate::format::dtype::Element;
use crate::model::plan::lanes::{BLOCK, NODES, TREES};
use crate::model::plan::{Float, Head, TreeLayout, Trees};

/// Tiles that run through a group before the next one is fetched: its nodes and leaves stay in the first-level cache.
const TILES: usize = 4;
/// Up to this many rows, trees are asked side by side instead of rows.
const FEW_ROWS: usize = 32;
/// Columns that are read together.
const COLUMNS_TOGETHER: usize = 8;
/// Answers (rows times trees) below which threads do not pay.
const SMALL: usize = 1 << 16;

thread_local! {
    /// Kept from call to call.
    static SCRATCH: Cell<Scratch> = Cell::default();
}

#[derive(Default)]
struct Scratch {
    /// At most [`TILES`], of 16 KiB each.
    tiles: Vec<AlignedTile>,
    /// At most [`FEW_ROWS`].
    rows: Vec<AlignedRow>,
}

/// Begins where a line of the cache does, so that vectors are read in one piece.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct AlignedTile(Tile);

/// Likewise.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct AlignedRow(Row);

/// What the leaves of each row add up to.
pub(super) fn scores(
    run: Run<'_>,
    trees: &Trees,
    x: &Input<'_>,
    kernels: Kernels,
) -> Result<Scores, PredictError> {
    let TreeLayout::Lanes { leaves, .. } = trees.layout else { unreachable!("another layout") };
    let Head::Boosted(boosted) = &trees.head else { unreachable!("validation refuses other heads") };
    let (columns, parallel) = (boosted.columns as usize, boosted.parallel as usize);
    Ok(match boosted.sum {
        Float::F32 => {
            let leaves = run.values::<f32>("leaves", leaves)?;
            let mut sums = run.begun::<f32>(boosted.start, x.n_rows())?;
            run.lanes(trees, x, kernels, columns, &mut sums, &Sums { kernels, leaves, columns, parallel })?;
            Scores::F32(sums)
        }
        Float::F64 => {
            let leaves = run.values::<f64>("leaves", leaves)?;
            let mut sums = run.begun::<f64>(boosted.start, x.n_rows())?;
            run.lanes(trees, x, kernels, columns, &mut sums, &Sums { kernels, leaves, columns, parallel })?;
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
        let block = |(block, out): (usize, &mut [V::Out])| {
            let first = block * rows;
            let x = x.slice_axis(Axis(0), Slice::from(first..n.min(first + rows)));
            let mut scratch = SCRATCH.take();
            if x.nrows() <= FEW_ROWS {
                self.by_row(&x, out, visit, &mut scratch.rows);
            } else {
                self.by_tile(&x, out, per_row, visit, &mut scratch.tiles);
            }
            SCRATCH.set(scratch);
        };
        let blocks = rows * per_row;
        if alone {
            out.chunks_mut(blocks).enumerate().for_each(block);
        } else {
            pool::run(threads, || out.par_chunks_mut(blocks).enumerate().for_each(block));
        }
    }

    /// One group after the other, all of its trees at once, for one row after the other.
    fn by_row<T: Number, V: Visit>(
        &self,
        x: &ArrayView2<'_, T>,
        out: &mut [V::Out],
        visit: &V,
        rows: &mut Vec<AlignedRow>,
    ) where
        C: Fn(T) -> F,
    {
        rows.resize(x.nrows(), AlignedRow([[0; 16]; COLUMNS / 16]));
        let rows: &mut [Row] = bytemuck::cast_slice_mut(rows);
        let mut leaf = [[0; 32]; FEW_ROWS];
        let leaf = &mut leaf[..rows.len()];
        let mut values = [[F::default(); FEW_ROWS]; COLUMNS_TOGETHER];
        for (chunk, groups) in self.chunks.windows(2).enumerate() {
            let mut nan = false;
            for first in (0..self.n_features).step_by(COLUMNS_TOGETHER) {
                let some = first..self.n_features.min(first + COLUMNS_TOGETHER);
                self.columns(x, first, &mut values);
                let starts = &self.starts[chunk * self.n_features..][some.start..=some.end];
                nan |= self.kernels.keys_of_rows(self.thresholds, starts, &values, first, rows);
            }
            for group in groups[0]..groups[1] {
                let (nodes, trees) = self.group(group as usize);
                self.kernels.trees_of_rows(nodes, rows, self.n_features, nan, leaf);
                visit.rows(out, trees, self.groups, leaf);
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
        tiles: &mut Vec<AlignedTile>,
    ) where
        C: Fn(T) -> F,
    {
        tiles.resize(x.nrows().div_ceil(ROWS), AlignedTile([[[0; 32]; 2]; COLUMNS]));
        let mut leaf = [[[0; 32]; 2]; TOGETHER];
        for (chunk, groups) in self.chunks.windows(2).enumerate() {
            self.fill(tiles, chunk, x);
            for group in groups[0]..groups[1] {
                let (nodes, trees) = self.group(group as usize);
                for (AlignedTile(tile), out) in tiles.iter().zip(out.chunks_mut(ROWS * per_row)) {
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
    fn fill<T: Number>(&self, tiles: &mut [AlignedTile], chunk: usize, x: &ArrayView2<'_, T>)
    where
        C: Fn(T) -> F,
    {
        let mut values = [[F::default(); ROWS]; COLUMNS_TOGETHER];
        for (AlignedTile(tile), x) in tiles.iter_mut().zip(x.axis_chunks_iter(Axis(0), ROWS)) {
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
    fn columns<T: Number, const N: usize>(
        &self,
        x: &ArrayView2<'_, T>,
        first: usize,
        values: &mut [[F; N]; COLUMNS_TOGETHER],
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
