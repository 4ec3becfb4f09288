//! Steps from node to node in the compact layout, for x86-64 with AVX2, BMI1 and BMI2.
//!
//! The plain version is `walk` of `src/engine/trees/walk.rs`. A step is five instructions without a branch:
//!
//! ```text
//! mov   t, [nodes + 8 * at]        the node
//! bextr f, t, control              bits 32.., its feature times 8
//! shrx  d, t, shift                the distance to the left child
//! cmp   t32, [keys + 8 * f + lane] carry: the threshold is below the row's key
//! adc   at, d
//! ```
//!
//! Compilers turn the sixteen lanes into gathers or the comparison into a branch, and are then two to three times
//! slower. A walk waits for memory at every step, so sixteen go on together. A leaf leads to itself, so lanes that have
//! arrived need not be told apart; whether all have is asked only when it is likely.
//!
//! # Why no step reads outside
//!
//! [`Steps::new`] rests on what `src/model/plan/validate/trees.rs` has checked of every one of `nodes`:
//!
//! - bits 32..35 are zero, and the feature in the bits above is at most `n_columns`;
//! - the distance is zero, and then the feature is `n_columns`; or `at + distance + 1 < nodes.len()`.
//!
//! *Keys.* Callers of [`Steps::rows`], [`Steps::trees`], their `passing` twins and [`Steps::begin_below`] pass `n_columns + 1`
//! entries of 64 or 8 bytes, which is asserted. `bextr` gives `8 * feature` for a feature of at most `n_columns`, so that `cmp`
//! reads 4 bytes of one of the entries. The features of a crown are at most `n_columns` too, as the same file has checked.
//!
//! *Nodes.* Walks begin at [`Starts`]: nodes that are asserted to be below `nodes.len()`, or that a crown leads to. Of
//! those, the same file has checked that they are nodes of the crown's tree. From a node `at` in range, a step goes to
//! `at + distance` or, if the key is above the threshold, one further. At a split both are in range by the second
//! rule. At a leaf the key read is that of column `n_columns`, which is asserted to be zero and thus above no threshold:
//! the carry is clear, the distance zero, and the lane stays. So every position is in range, after any number of steps;
//! how many are made (`Depths`) comes from the file and only costs time.
// Not `forbid`, which would also bind the steps; the crate denies unsafe code.
#![cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]

#[cfg(not(target_arch = "x86_64"))]
mod other;
#[cfg(target_arch = "x86_64")]
mod x86;

#[cfg(not(target_arch = "x86_64"))]
use self::other::{Machine, fetch};
#[cfg(target_arch = "x86_64")]
use self::x86::{Machine, fetch};
use crate::model::plan::compact::Packing;

/// Walks that go on together.
pub(in crate::engine) const LANES: usize = 16;

/// Keys of up to 16 rows: one entry per column, then one of zeros.
pub(in crate::engine) type RowKeys = [u32; LANES];
/// The key of one row, and padding: one entry per column, then one of zeros.
pub(in crate::engine) type OneKey = [u32; 2];

/// Nodes at which walks begin: below the number of nodes.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub(in crate::engine) struct Starts([u64; LANES]);

impl Starts {
    /// Nowhere in particular: node 0, which is there.
    pub(in crate::engine) const FIRST: Self = Starts([0; LANES]);
}

/// Where walks have arrived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::engine) struct Arrived {
    /// Positions of the leaves, if they were asked for.
    pub at: [u64; LANES],
    /// Their leaf ids.
    pub leaf: [u32; LANES],
}

/// How deep the leaves of a tree lie, as far as is known. Wrong numbers cost time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) struct Depths {
    /// The mean of the steps: somewhat later it pays to ask whether all walks have arrived.
    pub sure: u32,
    /// Steps after which they probably all have.
    pub most: u32,
}

/// Narrow nodes of trees, and how to take them apart.
#[derive(Clone, Copy)]
pub(in crate::engine) struct Steps<'a> {
    nodes: &'a [u64],
    n_columns: usize,
    /// For `bextr`: the lowest bit of eight times the feature, and 256 times their number.
    control: u64,
    /// Where the distance begins.
    shift: u64,
    machine: Machine,
}

impl<'a> Steps<'a> {
    /// `nodes` must have passed `validate` with this packing. `None` if the processor lacks the instructions.
    pub(in crate::engine) fn new(nodes: &'a [u64], packing: Packing) -> Option<Self> {
        let n_columns = packing.leaf_feature() as usize;
        let (control, shift) = packing.narrow_fields()?;
        Some(Steps { nodes, n_columns, control, shift, machine: Machine::here()? })
    }

    /// Walks that begin at these nodes.
    #[inline(always)]
    pub(in crate::engine) fn at(&self, starts: [u64; LANES]) -> Starts {
        let last = starts.iter().fold(0, |last, &start| last.max(start));
        assert!(last < self.nodes.len() as u64, "a walk begins beyond the nodes");
        Starts(starts)
    }

    /// Asks for the nodes at which walks begin ahead of their use.
    #[inline(always)]
    pub(in crate::engine) fn prefetch(&self, starts: &Starts) {
        starts.0.iter().for_each(|&start| fetch::<true>(self.nodes, start as usize));
    }
}

/// Asks for the lines of `nodes` ahead of their use.
#[inline(always)]
pub(in crate::engine) fn prefetch(nodes: &[u64]) {
    (0..nodes.len()).step_by(8).for_each(|node| fetch::<false>(nodes, node));
}
