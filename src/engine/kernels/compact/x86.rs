//! The steps, in assembly. The head of `src/engine/kernels/compact.rs` shows why none reads outside.
#![allow(unsafe_code)]

use std::arch::asm;
use std::arch::x86_64::{_MM_HINT_T0, _MM_HINT_T1, _mm_prefetch};

use crate::engine::kernels::avx2::Avx2;
use crate::engine::kernels::avx512::Avx512;
use crate::engine::kernels::compact::{Arrived, Depths, LANES, OneKey, RowKeys, Starts, Steps};
use crate::model::plan::compact::Crown;

/// What the processor has, besides what steps need.
#[derive(Clone, Copy)]
pub(super) struct Machine {
    avx2: Avx2,
    avx512: Option<Avx512>,
}

impl Machine {
    /// This processor, if it can make steps.
    pub(super) fn here() -> Option<Self> {
        Some(Machine { avx2: Avx2::here()?, avx512: Avx512::here() })
    }
}

/// Asks for the line of a node ahead of its use, as near as can be if `SOON`.
#[inline(always)]
pub(super) fn fetch<const SOON: bool>(nodes: &[u64], node: usize) {
    let line = nodes.as_ptr().wrapping_add(node).cast();
    if SOON {
        // SAFETY: a prefetch reads nothing that the program sees, and never faults.
        unsafe { _mm_prefetch::<{ _MM_HINT_T0 }>(line) };
    } else {
        // SAFETY: as above.
        unsafe { _mm_prefetch::<{ _MM_HINT_T1 }>(line) };
    }
}

/// One step of a lane; with `$moved`, the distance is added to its bits.
macro_rules! step {
    ($steps:ident, $keys:ident, $at:expr, $lane:literal) => {
        // SAFETY: `$at` is in range and the keys have all columns, as `src/engine/kernels/compact.rs` shows.
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
    ($steps:ident, $keys:ident, $at:ident $(, $moved:ident)?) => {
        step!($steps, $keys, $at[0], "*8" $(, $moved)?);
        step!($steps, $keys, $at[1], "*8 + 4" $(, $moved)?);
        step!($steps, $keys, $at[2], "*8 + 8" $(, $moved)?);
        step!($steps, $keys, $at[3], "*8 + 12" $(, $moved)?);
        step!($steps, $keys, $at[4], "*8 + 16" $(, $moved)?);
        step!($steps, $keys, $at[5], "*8 + 20" $(, $moved)?);
        step!($steps, $keys, $at[6], "*8 + 24" $(, $moved)?);
        step!($steps, $keys, $at[7], "*8 + 28" $(, $moved)?);
        step!($steps, $keys, $at[8], "*8 + 32" $(, $moved)?);
        step!($steps, $keys, $at[9], "*8 + 36" $(, $moved)?);
        step!($steps, $keys, $at[10], "*8 + 40" $(, $moved)?);
        step!($steps, $keys, $at[11], "*8 + 44" $(, $moved)?);
        step!($steps, $keys, $at[12], "*8 + 48" $(, $moved)?);
        step!($steps, $keys, $at[13], "*8 + 52" $(, $moved)?);
        step!($steps, $keys, $at[14], "*8 + 56" $(, $moved)?);
        step!($steps, $keys, $at[15], "*8 + 60" $(, $moved)?);
    };
}

/// A step of one row through sixteen trees.
macro_rules! all_trees {
    ($steps:ident, $keys:ident, $at:ident $(, $moved:ident)?) => {
        step!($steps, $keys, $at[0], "" $(, $moved)?);
        step!($steps, $keys, $at[1], "" $(, $moved)?);
        step!($steps, $keys, $at[2], "" $(, $moved)?);
        step!($steps, $keys, $at[3], "" $(, $moved)?);
        step!($steps, $keys, $at[4], "" $(, $moved)?);
        step!($steps, $keys, $at[5], "" $(, $moved)?);
        step!($steps, $keys, $at[6], "" $(, $moved)?);
        step!($steps, $keys, $at[7], "" $(, $moved)?);
        step!($steps, $keys, $at[8], "" $(, $moved)?);
        step!($steps, $keys, $at[9], "" $(, $moved)?);
        step!($steps, $keys, $at[10], "" $(, $moved)?);
        step!($steps, $keys, $at[11], "" $(, $moved)?);
        step!($steps, $keys, $at[12], "" $(, $moved)?);
        step!($steps, $keys, $at[13], "" $(, $moved)?);
        step!($steps, $keys, $at[14], "" $(, $moved)?);
        step!($steps, $keys, $at[15], "" $(, $moved)?);
    };
}

/// A step of all lanes, which note the splits that they leave. Keys of the next lane are `$apart` behind.
macro_rules! all_passing {
    ($scale:literal, $apart:literal, $passed:ident, $steps:ident, $keys:ident, $at:ident $(, $moved:ident)?) => {
        for lane in 0..LANES {
            let (split, mut distance) = ($at[lane], 0u64);
            let keys = $keys.cast::<u32>().wrapping_add(lane * $apart);
            step!($steps, keys, $at[lane], $scale, distance);
            $passed[lane] = if distance == 0 { $passed[lane] } else { split };
            $($moved |= distance;)?
        }
    };
}

/// Steps until all lanes have arrived, and where.
macro_rules! walk {
    ($all:ident [$($with:tt),*], $steps:ident, $keys:ident, $at:ident, $depths:ident, $arrived:ident) => {{
        let Depths { sure, most } = $depths;
        let spread = most.saturating_sub(sure);
        let unasked = if most <= 8 || spread <= 2 { most } else { sure + spread.min(32) / 4 };
        for _ in 0..unasked {
            $all!($($with,)* $steps, $keys, $at);
        }
        while !$steps.arrived(&$at, $arrived) {
            let mut moved = 1u64;
            while moved != 0 {
                moved = 0;
                $all!($($with,)* $steps, $keys, $at);
                $all!($($with,)* $steps, $keys, $at, moved);
            }
        }
        if P {
            for (place, at) in $arrived.at.iter_mut().zip($at) {
                *place = at;
            }
        }
    }};
}

impl Steps<'_> {
    /// Begins walks of up to 16 rows below the crown of the tree with this root. Like the nodes, crowns must have passed `validate`.
    #[inline(always)]
    pub(in crate::engine) fn begin_below(
        &self,
        crown: &Crown,
        root: u64,
        keys: &[RowKeys],
        starts: &mut Starts,
    ) {
        self.check_len(keys.len());
        match self.machine.avx512 {
            Some(avx512) => avx512.below_crown(crown, root, keys, &mut starts.0),
            None => self.machine.avx2.below_crown(crown, root, keys, &mut starts.0),
        }
    }

    /// Up to 16 rows, each from its node on. Their places are told if `P`; leaf ids always are.
    #[inline]
    pub(in crate::engine) fn rows<const P: bool>(
        &self,
        starts: &Starts,
        depths: Depths,
        keys: &[RowKeys],
        arrived: &mut Arrived,
    ) {
        self.check_rows(keys);
        let (mut at, keys) = (starts.0, keys.as_ptr());
        walk!(all_rows[], self, keys, at, depths, arrived);
    }

    /// As [`Steps::rows`], with the split before each leaf; without one, where the walk began.
    #[inline]
    pub(in crate::engine) fn rows_passing(
        &self,
        starts: &Starts,
        depths: Depths,
        keys: &[RowKeys],
        arrived: &mut Arrived,
    ) -> [u64; LANES] {
        self.check_rows(keys);
        const P: bool = true;
        let (mut at, mut passed, keys) = (starts.0, starts.0, keys.as_ptr());
        walk!(all_passing["*8", 1, passed], self, keys, at, depths, arrived);
        passed
    }

    /// One row through 16 trees.
    #[inline]
    pub(in crate::engine) fn trees<const P: bool>(
        &self,
        roots: &[u64; LANES],
        depths: Depths,
        keys: &[OneKey],
        arrived: &mut Arrived,
    ) {
        self.check_one(keys);
        let (mut at, keys) = (self.at(*roots).0, keys.as_ptr());
        walk!(all_trees[], self, keys, at, depths, arrived);
    }

    /// As [`Steps::trees`], with the split before each leaf; without one, the root.
    #[inline]
    pub(in crate::engine) fn trees_passing(
        &self,
        roots: &[u64; LANES],
        depths: Depths,
        keys: &[OneKey],
        arrived: &mut Arrived,
    ) -> [u64; LANES] {
        self.check_one(keys);
        const P: bool = true;
        let (mut at, mut passed, keys) = (self.at(*roots).0, *roots, keys.as_ptr());
        walk!(all_passing["", 0, passed], self, keys, at, depths, arrived);
        passed
    }

    #[inline(always)]
    fn check_len(&self, keys: usize) {
        assert!(keys == self.n_columns + 1, "a key for every column, and one more");
    }

    #[inline(always)]
    fn check_rows(&self, keys: &[RowKeys]) {
        self.check_len(keys.len());
        let last = keys[self.n_columns].iter().fold(0, |any, key| any | key);
        assert!(last == 0, "leaves compare with zero");
    }

    #[inline(always)]
    fn check_one(&self, keys: &[OneKey]) {
        self.check_len(keys.len());
        assert!(keys[self.n_columns] == [0; 2], "leaves compare with zero");
    }

    /// Whether all lanes are at leaves, and which.
    #[inline(always)]
    fn arrived(&self, at: &[u64; LANES], arrived: &mut Arrived) -> bool {
        let mut any = 0;
        for (lane, &position) in at.iter().enumerate() {
            // SAFETY: `position` is in range, as `src/engine/kernels/compact.rs` shows.
            let node = unsafe { *self.nodes.get_unchecked(position as usize) };
            arrived.leaf[lane] = node as u32;
            any |= node;
        }
        any >> self.shift == 0
    }
}
