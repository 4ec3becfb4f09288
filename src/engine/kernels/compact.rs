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
//! *Keys.* Callers of [`Steps::rows`], [`Steps::trees`] and their `passing` twins pass `n_columns + 1` entries of 64 or 8 bytes, which is asserted.
//! `bextr` gives `8 * feature` for a feature of at most `n_columns`, so that `cmp` reads 4 bytes of one of the entries.
//!
//! *Nodes.* Walks begin at [`Starts`]: nodes that are asserted to be below `nodes.len()`, or that a crown leads to. Of
//! those, the same file has checked that they are nodes of the crown's tree. From a node `at` in range, a step goes to
//! `at + distance` or, if the key is above the threshold, one further. At a split both are in range by the second
//! rule. At a leaf the key read is that of column `n_columns`, which is asserted to be zero and thus above no threshold:
//! the carry is clear, the distance zero, and the lane stays. So every position is in range, after any number of steps;
//! how many are made (`Depths`) comes from the file and only costs time.
#![allow(unsafe_code)]
#![cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]

#[cfg(target_arch = "x86_64")]
use crate::engine::kernels::avx2::Avx2;
use crate::model::plan::compact::{Crown, Packing};

/// Walks that go on together.
pub(in crate::engine) const LANES: usize = 16;

/// Keys of up to 16 rows: one entry per column, then one of zeros.
pub(in crate::engine) type RowKeys = [u32; LANES];
/// The key of one row, and padding: one entry per column, then one of zeros.
pub(in crate::engine) type OneKey = [u32; 2];

/// Nodes at which walks begin: below the number of nodes.
#[derive(Clone, Copy)]
pub(in crate::engine) struct Starts([u64; LANES]);

impl Starts {
    /// The nodes.
    pub(in crate::engine) fn nodes(&self) -> &[u64; LANES] {
        &self.0
    }
}

/// Where walks have arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) struct Arrived {
    /// Positions of the leaves.
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
    machine: Avx2,
}

impl<'a> Steps<'a> {
    /// `nodes` must have passed `validate` with this packing. `None` if the processor lacks the instructions.
    pub(in crate::engine) fn new(nodes: &'a [u64], packing: Packing) -> Option<Self> {
        let n_columns = packing.leaf_feature() as usize;
        let (control, shift) = packing.narrow_fields()?;
        Some(Steps { nodes, n_columns, control, shift, machine: Avx2::here()? })
    }

    /// Walks of up to 16 rows that begin below the crown of the tree with this root. Like the nodes, crowns must have passed `validate`.
    #[inline(always)]
    pub(in crate::engine) fn below_crown(&self, crown: &Crown, root: u64, keys: &[RowKeys]) -> Starts {
        Starts(self.machine.below_crown(crown, root, keys))
    }

    /// Walks that begin at these nodes.
    #[inline(always)]
    pub(in crate::engine) fn at(&self, starts: [u64; LANES]) -> Starts {
        let last = starts.iter().fold(0, |last, &start| last.max(start));
        assert!(last < self.nodes.len() as u64, "a walk begins beyond the nodes");
        Starts(starts)
    }
}

/// Asks for the lines of `nodes` ahead of their use.
#[inline(always)]
pub(in crate::engine) fn prefetch(nodes: &[u64]) {
    #[cfg(target_arch = "x86_64")]
    for line in nodes.chunks(8) {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        // SAFETY: a prefetch reads nothing that the program sees, and never faults.
        unsafe { _mm_prefetch::<{ _MM_HINT_T1 }>(line.as_ptr().cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = nodes;
}

#[cfg(not(target_arch = "x86_64"))]
impl Steps<'_> {
    /// Up to 16 rows, each from its node on.
    pub(in crate::engine) fn rows(&self, _: &Starts, _: Depths, _: &[RowKeys]) -> Arrived {
        unreachable!("there are no steps without the instructions")
    }

    /// One row through 16 trees.
    pub(in crate::engine) fn trees(&self, _: &[u64; LANES], _: Depths, _: &[OneKey]) -> Arrived {
        unreachable!("there are no steps without the instructions")
    }

    /// As `rows`, with the last splits passed.
    pub(in crate::engine) fn rows_passing(
        &self,
        _: &Starts,
        _: Depths,
        _: &[RowKeys],
    ) -> (Arrived, [u64; LANES]) {
        unreachable!("there are no steps without the instructions")
    }

    /// As `trees`, with the last splits passed.
    pub(in crate::engine) fn trees_passing(
        &self,
        _: &[u64; LANES],
        _: Depths,
        _: &[OneKey],
    ) -> (Arrived, [u64; LANES]) {
        unreachable!("there are no steps without the instructions")
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::asm;

    use super::{Arrived, Depths, LANES, OneKey, RowKeys, Starts, Steps};

    /// One step of a lane; with `$moved`, the distance is added to its bits.
    macro_rules! step {
        ($steps:ident, $keys:ident, $at:expr, $lane:literal) => {
            // SAFETY: `$at` is in range and the keys have all columns, as the head of this file shows.
            unsafe {
                asm!(
                    "mov {t}, qword ptr [{nodes} + {at}*8]",
                    "bextr {f}, {t}, {control}",
                    "shrx {d}, {t}, {shift}",
                    concat!("cmp {t:e}, dword ptr [{keys} + {f}", $lane, "]"),
                    "adc {at}, {d}",
                    nodes = in(reg) $steps.nodes.as_ptr(),
                    keys = in(reg) $keys,
                    control = in(reg) $steps.control,
                    shift = in(reg) $steps.shift,
                    at = inout(reg) $at,
                    t = out(reg) _, f = out(reg) _, d = out(reg) _,
                    options(pure, readonly, nostack)
                );
            }
        };
        ($steps:ident, $keys:ident, $at:expr, $lane:literal, $moved:ident) => {
            // SAFETY: as above.
            unsafe {
                asm!(
                    "mov {t}, qword ptr [{nodes} + {at}*8]",
                    "bextr {f}, {t}, {control}",
                    "shrx {d}, {t}, {shift}",
                    "or {moved}, {d}",
                    concat!("cmp {t:e}, dword ptr [{keys} + {f}", $lane, "]"),
                    "adc {at}, {d}",
                    nodes = in(reg) $steps.nodes.as_ptr(),
                    keys = in(reg) $keys,
                    control = in(reg) $steps.control,
                    shift = in(reg) $steps.shift,
                    at = inout(reg) $at,
                    moved = inout(reg) $moved,
                    t = out(reg) _, f = out(reg) _, d = out(reg) _,
                    options(pure, readonly, nostack)
                );
            }
        };
    }

    /// A step of sixteen rows through one tree.
    macro_rules! all_rows {
        ($steps:ident, $keys:ident, $arrived:ident $(, $moved:ident)?) => {
            step!($steps, $keys, $arrived.at[0], "*8" $(, $moved)?);
            step!($steps, $keys, $arrived.at[1], "*8 + 4" $(, $moved)?);
            step!($steps, $keys, $arrived.at[2], "*8 + 8" $(, $moved)?);
            step!($steps, $keys, $arrived.at[3], "*8 + 12" $(, $moved)?);
            step!($steps, $keys, $arrived.at[4], "*8 + 16" $(, $moved)?);
            step!($steps, $keys, $arrived.at[5], "*8 + 20" $(, $moved)?);
            step!($steps, $keys, $arrived.at[6], "*8 + 24" $(, $moved)?);
            step!($steps, $keys, $arrived.at[7], "*8 + 28" $(, $moved)?);
            step!($steps, $keys, $arrived.at[8], "*8 + 32" $(, $moved)?);
            step!($steps, $keys, $arrived.at[9], "*8 + 36" $(, $moved)?);
            step!($steps, $keys, $arrived.at[10], "*8 + 40" $(, $moved)?);
            step!($steps, $keys, $arrived.at[11], "*8 + 44" $(, $moved)?);
            step!($steps, $keys, $arrived.at[12], "*8 + 48" $(, $moved)?);
            step!($steps, $keys, $arrived.at[13], "*8 + 52" $(, $moved)?);
            step!($steps, $keys, $arrived.at[14], "*8 + 56" $(, $moved)?);
            step!($steps, $keys, $arrived.at[15], "*8 + 60" $(, $moved)?);
        };
    }

    /// A step of one row through sixteen trees.
    macro_rules! all_trees {
        ($steps:ident, $keys:ident, $arrived:ident $(, $moved:ident)?) => {
            step!($steps, $keys, $arrived.at[0], "" $(, $moved)?);
            step!($steps, $keys, $arrived.at[1], "" $(, $moved)?);
            step!($steps, $keys, $arrived.at[2], "" $(, $moved)?);
            step!($steps, $keys, $arrived.at[3], "" $(, $moved)?);
            step!($steps, $keys, $arrived.at[4], "" $(, $moved)?);
            step!($steps, $keys, $arrived.at[5], "" $(, $moved)?);
            step!($steps, $keys, $arrived.at[6], "" $(, $moved)?);
            step!($steps, $keys, $arrived.at[7], "" $(, $moved)?);
            step!($steps, $keys, $arrived.at[8], "" $(, $moved)?);
            step!($steps, $keys, $arrived.at[9], "" $(, $moved)?);
            step!($steps, $keys, $arrived.at[10], "" $(, $moved)?);
            step!($steps, $keys, $arrived.at[11], "" $(, $moved)?);
            step!($steps, $keys, $arrived.at[12], "" $(, $moved)?);
            step!($steps, $keys, $arrived.at[13], "" $(, $moved)?);
            step!($steps, $keys, $arrived.at[14], "" $(, $moved)?);
            step!($steps, $keys, $arrived.at[15], "" $(, $moved)?);
        };
    }

    /// A step of all lanes, which note the splits that they leave. Keys of the next lane are `$apart` behind.
    macro_rules! all_passing {
        ($scale:literal, $apart:literal, $passed:ident, $steps:ident, $keys:ident, $arrived:ident $(, $moved:ident)?) => {
            for lane in 0..LANES {
                let (split, mut distance) = ($arrived.at[lane], 0u64);
                let keys = $keys.cast::<u32>().wrapping_add(lane * $apart);
                step!($steps, keys, $arrived.at[lane], $scale, distance);
                $passed[lane] = if distance == 0 { $passed[lane] } else { split };
                $($moved |= distance;)?
            }
        };
    }

    /// Steps until all lanes have arrived, and where.
    macro_rules! walk {
        ($all:ident [$($with:tt),*], $steps:ident, $keys:ident, $arrived:ident, $depths:ident) => {{
            let Depths { sure, most } = $depths;
            let spread = most.saturating_sub(sure);
            let unasked = if most <= 8 || spread <= 2 { most } else { sure + spread.min(32) / 4 };
            for _ in 0..unasked {
                $all!($($with,)* $steps, $keys, $arrived);
            }
            while !$steps.arrived(&mut $arrived) {
                let mut moved = 1u64;
                while moved != 0 {
                    moved = 0;
                    $all!($($with,)* $steps, $keys, $arrived);
                    $all!($($with,)* $steps, $keys, $arrived, moved);
                }
            }
            $arrived
        }};
    }

    impl Steps<'_> {
        /// Up to 16 rows, each from its node on.
        #[inline]
        pub(in crate::engine) fn rows(&self, starts: &Starts, depths: Depths, keys: &[RowKeys]) -> Arrived {
            self.check_rows(keys);
            let (mut arrived, keys) = (Arrived { at: starts.0, leaf: [0; LANES] }, keys.as_ptr());
            walk!(all_rows[], self, keys, arrived, depths)
        }

        /// As [`Steps::rows`], with the split before each leaf; without one, where the walk began.
        #[inline]
        pub(in crate::engine) fn rows_passing(
            &self,
            starts: &Starts,
            depths: Depths,
            keys: &[RowKeys],
        ) -> (Arrived, [u64; LANES]) {
            self.check_rows(keys);
            let (mut arrived, mut passed) = (Arrived { at: starts.0, leaf: [0; LANES] }, starts.0);
            let keys = keys.as_ptr();
            (walk!(all_passing["*8", 1, passed], self, keys, arrived, depths), passed)
        }

        /// One row through 16 trees.
        #[inline]
        pub(in crate::engine) fn trees(
            &self,
            roots: &[u64; LANES],
            depths: Depths,
            keys: &[OneKey],
        ) -> Arrived {
            self.check_one(keys);
            let mut arrived = Arrived { at: self.at(*roots).0, leaf: [0; LANES] };
            let keys = keys.as_ptr();
            walk!(all_trees[], self, keys, arrived, depths)
        }

        /// As [`Steps::trees`], with the split before each leaf; without one, the root.
        #[inline]
        pub(in crate::engine) fn trees_passing(
            &self,
            roots: &[u64; LANES],
            depths: Depths,
            keys: &[OneKey],
        ) -> (Arrived, [u64; LANES]) {
            self.check_one(keys);
            let (mut arrived, mut passed) = (Arrived { at: self.at(*roots).0, leaf: [0; LANES] }, *roots);
            let keys = keys.as_ptr();
            (walk!(all_passing["", 0, passed], self, keys, arrived, depths), passed)
        }

        #[inline(always)]
        fn check_rows(&self, keys: &[RowKeys]) {
            assert!(keys.len() == self.n_columns + 1, "a key for every column, and one more");
            let last = keys[self.n_columns].iter().fold(0, |any, key| any | key);
            assert!(last == 0, "leaves compare with zero");
        }

        #[inline(always)]
        fn check_one(&self, keys: &[OneKey]) {
            assert!(keys.len() == self.n_columns + 1, "a key for every column, and one more");
            assert!(keys[self.n_columns] == [0; 2], "leaves compare with zero");
        }

        /// Whether all lanes are at leaves, and which.
        #[inline(always)]
        fn arrived(&self, arrived: &mut Arrived) -> bool {
            let mut distances = 0;
            for (&position, leaf) in arrived.at.iter().zip(&mut arrived.leaf) {
                // SAFETY: `position` is in range, as the head of this file shows.
                let node = unsafe { *self.nodes.get_unchecked(position as usize) };
                *leaf = node as u32;
                distances |= node >> self.shift;
            }
            distances == 0
        }
    }
}
