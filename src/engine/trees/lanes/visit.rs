//! What is done with the leaves of small trees side by side.
#![forbid(unsafe_code)]

use std::ops::{AddAssign, Range};

use crate::engine::kernels::Kernels;
use crate::engine::kernels::lanes::{Bytes, ROWS, Real};
use crate::model::plan::lanes::leaves_of;

/// Trees whose leaves are found before they are added.
pub(super) const TOGETHER: usize = 8;
/// Rows whose sums are made at once: each waits for its own additions only.
const SUMS: usize = 2;

/// What is done with the leaves that rows end in. `out` holds the rows at hand.
pub(super) trait Visit: Sync {
    type Out: Send;

    /// Few rows; `leaf[row][tree]` for all trees of a group, which begin at `groups`' leaves.
    fn rows(&self, out: &mut [Self::Out], trees: Range<usize>, groups: &[u32], leaf: &[Bytes]);

    /// As many rows as `out` holds, at most a tile.
    fn tile(&self, out: &mut [Self::Out], trees: Range<usize>, groups: &[u32], leaf: &[[Bytes; 2]]);
}

/// Adds to the sums of rows.
pub(super) struct Sums<'a, S> {
    pub kernels: Kernels,
    pub leaves: &'a [S],
    /// Sums of a row.
    pub columns: usize,
    /// Trees that add to the same sum in turn.
    pub parallel: usize,
}

impl<S: Real + AddAssign + Send + Sync> Visit for Sums<'_, S> {
    type Out = S;

    fn rows(&self, out: &mut [S], trees: Range<usize>, groups: &[u32], leaf: &[Bytes]) {
        let places = leaves_of(groups, trees.start);
        let (start, step) = (places.start, places.len());
        if self.columns == 1 {
            let leaves = &self.leaves[start..];
            return match step {
                0..=8 => add_rows::<S, 8>(leaves, step, trees.len(), out, leaf),
                9..=16 => add_rows::<S, 16>(leaves, step, trees.len(), out, leaf),
                17..=32 => add_rows::<S, 32>(leaves, step, trees.len(), out, leaf),
                _ => add_rows::<S, 64>(leaves, step, trees.len(), out, leaf),
            };
        }
        for (lane, tree) in trees.enumerate() {
            let column = out.iter_mut().skip(tree / self.parallel % self.columns).step_by(self.columns);
            let leaves = &self.leaves[start + lane * step..][..step];
            column.zip(leaf).for_each(|(sum, leaf)| *sum += leaves[leaf[lane] as usize]);
        }
    }

    fn tile(&self, out: &mut [S], trees: Range<usize>, groups: &[u32], leaf: &[[Bytes; 2]]) {
        let step = leaves_of(groups, trees.start).len();
        if self.columns == 1 && trees.len() == TOGETHER {
            return match step {
                8 => self.eights(out, trees.start, groups, leaf),
                0..8 => self.together::<8>(out, trees.start, groups, leaf),
                9..=16 => self.together::<16>(out, trees.start, groups, leaf),
                17..=32 => self.together::<32>(out, trees.start, groups, leaf),
                _ => self.together::<64>(out, trees.start, groups, leaf),
            };
        }
        for (tree, leaf) in trees.zip(leaf) {
            let leaves = &self.leaves[leaves_of(groups, tree)];
            let column = out.iter_mut().skip(tree / self.parallel % self.columns).step_by(self.columns);
            column.zip(leaf.as_flattened()).for_each(|(sum, &leaf)| *sum += leaves[leaf as usize]);
        }
    }
}

/// Adds the leaves of `n` trees, which lie `step` apart, to the sum of each row. A window of `L` leaves begins at every tree,
/// since there are spare ones behind the last: so no leaf is out of bounds.
fn add_rows<S: Copy + AddAssign, const L: usize>(
    leaves: &[S],
    step: usize,
    n: usize,
    out: &mut [S],
    leaf: &[Bytes],
) {
    let (sums, last_sums) = out.as_chunks_mut::<SUMS>();
    let (leaf, last_leaf) = leaf.as_chunks::<SUMS>();
    for (sums, leaf) in sums.iter_mut().zip(leaf) {
        *sums = added::<S, L, SUMS>(leaves, step, n, *sums, leaf);
    }
    for (sum, leaf) in last_sums.iter_mut().zip(last_leaf) {
        [*sum] = added::<S, L, 1>(leaves, step, n, [*sum], &[*leaf]);
    }
}

#[inline(always)]
fn added<S: Copy + AddAssign, const L: usize, const R: usize>(
    leaves: &[S],
    step: usize,
    n: usize,
    mut sums: [S; R],
    leaf: &[Bytes; R],
) -> [S; R] {
    let mut at = 0;
    for tree in 0..n.min(leaf[0].len()) {
        let window: &[S; L] = leaves[at..].first_chunk().expect("spare leaves");
        for row in 0..R {
            sums[row] += window[leaf[row][tree] as usize % L];
        }
        at += step;
    }
    sums
}

impl<S: Real + AddAssign> Sums<'_, S> {
    /// Trees of eight leaves, which lie side by side.
    fn eights(&self, out: &mut [S], first: usize, groups: &[u32], leaf: &[[Bytes; 2]]) {
        let leaves = &self.leaves[leaves_of(groups, first).start..];
        let leaves: &[[S; 8]; TOGETHER] =
            leaves.as_chunks().0.first_chunk().expect("eight leaves of each tree");
        let found = leaf.first_chunk().expect("leaves of eight trees");
        self.kernels.add_eights(&leaves.each_ref(), found, out);
    }

    /// Windows as in [`add_rows`].
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
pub(super) struct Numbers<'a> {
    pub origin: &'a [u32],
    pub n_trees: usize,
}

impl Visit for Numbers<'_> {
    type Out = i64;

    fn rows(&self, out: &mut [i64], trees: Range<usize>, groups: &[u32], leaf: &[Bytes]) {
        for (out, leaf) in out.chunks_exact_mut(self.n_trees).zip(leaf) {
            for (tree, &leaf) in trees.clone().zip(leaf) {
                out[tree] = i64::from(self.origin[leaves_of(groups, tree).start + leaf as usize]);
            }
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
