//! What becomes of the leaves that rows arrive at.
#![forbid(unsafe_code)]

use std::ops::AddAssign;

use crate::engine::kernels::compact::{Arrived, LANES};
use crate::engine::kernels::subtrees::LeavesOfTree;

/// Where a row has arrived in one tree.
#[derive(Clone, Copy, Default)]
pub(super) struct Arrival {
    /// Position of the leaf.
    pub at: usize,
    /// Its leaf id.
    pub leaf: u32,
}

/// Takes leaves, the trees of a row in order. `out` has [`Sink::per_row`] values for each row.
pub(super) trait Sink: Sync {
    type Value: Send;

    /// Whether positions of leaves are looked at, not only their ids.
    const PLACES: bool = false;

    fn per_row(&self) -> usize;

    /// The library's numbers of nodes, if leaves are told by them and some are shared. `at` is then a node that has a number, and
    /// `leaf` is to be added to it.
    #[inline]
    fn shared(&self) -> Option<&[u32]> {
        None
    }

    /// The rows of `out`, at most 16, in one tree.
    fn rows(&self, out: &mut [Self::Value], tree: usize, arrived: &Arrived);

    /// The rows of `out`, at most 16, in the trees from `first` on, of which only leaf ids are known.
    #[inline]
    fn trees(&self, out: &mut [Self::Value], first: usize, leaves: &[LeavesOfTree]) {
        for (tree, leaf) in (first..).zip(leaves) {
            self.rows(out, tree, &Arrived { at: [0; LANES], leaf: *leaf });
        }
    }

    /// One row in all trees.
    fn row(&self, out: &mut [Self::Value], arrivals: &[Arrival]);
}

/// Copies the values of the leaf. No sum: adding to zero would lose the sign of -0.0.
pub(super) struct Copied<'a> {
    pub leaves: &'a [f64],
    pub width: usize,
}

impl Sink for Copied<'_> {
    type Value = f64;

    fn per_row(&self) -> usize {
        self.width
    }

    fn rows(&self, out: &mut [f64], _: usize, arrived: &Arrived) {
        for (out, &leaf) in out.chunks_exact_mut(self.width).zip(&arrived.leaf) {
            out.copy_from_slice(&self.leaves[leaf as usize * self.width..][..self.width]);
        }
    }

    fn row(&self, out: &mut [f64], arrivals: &[Arrival]) {
        for arrival in arrivals {
            out.copy_from_slice(&self.leaves[arrival.leaf as usize * self.width..][..self.width]);
        }
    }
}

/// Adds the values of the leaf.
pub(super) struct Added<'a> {
    pub leaves: &'a [f64],
    pub width: usize,
}

impl Added<'_> {
    /// Sums in registers, for few values in a leaf.
    fn few<const W: usize>(&self, out: &mut [f64], arrivals: &[Arrival]) {
        let (leaves, _) = self.leaves.as_chunks::<W>();
        let Ok(out) = <&mut [f64; W]>::try_from(out) else { return };
        let mut sums = *out;
        for arrival in arrivals {
            let values = &leaves[arrival.leaf as usize];
            sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
        }
        *out = sums;
    }

    /// Likewise, four rows at a time.
    fn few_trees<const W: usize>(&self, out: &mut [f64], leaves: &[LeavesOfTree]) {
        let (values, _) = self.leaves.as_chunks::<W>();
        let (fours, rest) = out.as_chunks_mut::<W>().0.as_chunks_mut::<4>();
        let add = |sums: &mut [f64; W], leaf: u32| {
            sums.iter_mut().zip(&values[leaf as usize]).for_each(|(sum, value)| *sum += value);
        };
        for (four, rows) in fours.iter_mut().enumerate() {
            let mut sums = *rows;
            for leaves in leaves {
                sums.iter_mut().zip(leaves.as_chunks::<4>().0[four]).for_each(|(sums, leaf)| add(sums, leaf));
            }
            *rows = sums;
        }
        for (row, sums) in (4 * fours.len()..).zip(rest) {
            leaves.iter().for_each(|leaves| add(sums, leaves[row]));
        }
    }
}

impl Sink for Added<'_> {
    type Value = f64;

    fn per_row(&self) -> usize {
        self.width
    }

    #[inline]
    fn rows(&self, out: &mut [f64], _: usize, arrived: &Arrived) {
        if self.width == 1 {
            for (sum, &leaf) in out.iter_mut().zip(&arrived.leaf) {
                *sum += self.leaves[leaf as usize];
            }
            return;
        }
        if self.width == 2 {
            let (leaves, _) = self.leaves.as_chunks::<2>();
            for (sums, &leaf) in out.as_chunks_mut::<2>().0.iter_mut().zip(&arrived.leaf) {
                let values = &leaves[leaf as usize];
                sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
            }
            return;
        }
        for (sums, &leaf) in out.chunks_exact_mut(self.width).zip(&arrived.leaf) {
            let values = &self.leaves[leaf as usize * self.width..][..self.width];
            sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
        }
    }

    #[inline]
    fn trees(&self, out: &mut [f64], first: usize, leaves: &[LeavesOfTree]) {
        match self.width {
            1 => self.few_trees::<1>(out, leaves),
            2 => self.few_trees::<2>(out, leaves),
            3 => self.few_trees::<3>(out, leaves),
            _ => {
                for (tree, leaf) in (first..).zip(leaves) {
                    self.rows(out, tree, &Arrived { at: [0; LANES], leaf: *leaf });
                }
            }
        }
    }

    fn row(&self, out: &mut [f64], arrivals: &[Arrival]) {
        match self.width {
            1 => self.few::<1>(out, arrivals),
            2 => self.few::<2>(out, arrivals),
            3 => self.few::<3>(out, arrivals),
            4 => self.few::<4>(out, arrivals),
            width => {
                for arrival in arrivals {
                    let values = &self.leaves[arrival.leaf as usize * width..][..width];
                    out.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
                }
            }
        }
    }
}

/// Adds the value of the leaf to one column.
pub(super) struct Boosts<'a, S> {
    pub leaves: &'a [S],
    pub columns: usize,
    pub parallel: usize,
}

impl<S: Copy + AddAssign + Send + Sync> Sink for Boosts<'_, S> {
    type Value = S;

    fn per_row(&self) -> usize {
        self.columns
    }

    #[inline]
    fn rows(&self, out: &mut [S], tree: usize, arrived: &Arrived) {
        let column = tree / self.parallel % self.columns;
        for (sums, &leaf) in out.chunks_exact_mut(self.columns).zip(&arrived.leaf) {
            sums[column] += self.leaves[leaf as usize];
        }
    }

    fn row(&self, out: &mut [S], arrivals: &[Arrival]) {
        if let [out] = out {
            let mut sum = *out;
            arrivals.iter().for_each(|arrival| sum += self.leaves[arrival.leaf as usize]);
            *out = sum;
            return;
        }
        for (round, arrivals) in arrivals.chunks(self.parallel).enumerate() {
            let sum = &mut out[round % self.columns];
            arrivals.iter().for_each(|arrival| *sum += self.leaves[arrival.leaf as usize]);
        }
    }
}

/// The library's numbers of leaves.
pub(super) struct Numbers<'a> {
    pub origin: &'a [u32],
    /// Whether splits share leaves.
    pub shared: bool,
    pub n_trees: usize,
}

impl Numbers<'_> {
    fn number(&self, at: usize, leaf: u32) -> i64 {
        i64::from(self.origin[at]) + if self.shared { i64::from(leaf) } else { 0 }
    }
}

impl Sink for Numbers<'_> {
    type Value = i64;

    const PLACES: bool = true;

    fn per_row(&self) -> usize {
        self.n_trees
    }

    #[inline]
    fn shared(&self) -> Option<&[u32]> {
        self.shared.then_some(self.origin)
    }

    fn rows(&self, out: &mut [i64], tree: usize, arrived: &Arrived) {
        let leaves = arrived.at.iter().zip(&arrived.leaf);
        for (out, (&at, &leaf)) in out.chunks_exact_mut(self.n_trees).zip(leaves) {
            out[tree] = self.number(at as usize, leaf);
        }
    }

    fn row(&self, out: &mut [i64], arrivals: &[Arrival]) {
        for (out, arrival) in out.iter_mut().zip(arrivals) {
            *out = self.number(arrival.at, arrival.leaf);
        }
    }
}
