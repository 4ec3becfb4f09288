//! Walks of three levels at a time, for x86-64 with AVX-512.
//!
//! A subtree (`src/model/plan/subtrees.rs`) is one line of the cache, asked like this:
//!
//! ```text
//! vmovdqu32 f, [at + 32]       the features of its splits, in the lowest bits
//! vpermi2d  f, low, high       the row's key of each, from two registers that hold all keys of the row
//! vpcmpud   k, f, [at], 6      a bit per split: the key is above the threshold
//! kmovb     e, k
//! movzx     e, [ends + e]      the end that those answers lead to
//! mov       e, [at + 32 + 4 e]
//! and       e, 0x3fc0          how many bytes further the next subtree is
//! add       at, e
//! ```
//!
//! So a row takes eight instructions for three levels where steps from node to node take twenty-one, and waits for memory once
//! and not three times. Eight rows go through some trees together, their keys in sixteen registers, then eight others. The
//! twin in safe code is the walk from node to node: a file with subtrees has the nodes too.
//!
//! # Why no walk reads outside
//!
//! [`Walks::new`] rests on what `src/model/plan/validate/trees.rs` has checked:
//!
//! - crowns lead to subtrees below `subtrees.len()`, and read columns up to `n_columns`;
//! - the distance of every end of a subtree leads to one below `subtrees.len()`.
//!
//! A walk begins at a subtree that a crown leads to, and goes on by distances, so every subtree is one that there is, after any
//! number of hops. `kmovb` gives eight bits, for which the table of ends has an entry each, and those are below eight. `vpermi2d`
//! looks at five bits of a feature, which stand for one of the 32 keys in its registers: no feature is wrong, and what lies beyond
//! `n_columns` is zero. Leaf ids are numbers here. Crowns read keys as said in `src/engine/kernels/compact.rs`: of `n_columns + 1`
//! columns, which is asserted.
// Not `forbid`, which would also bind the walks; the crate denies unsafe code.
#![cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]

#[cfg(not(target_arch = "x86_64"))]
mod other;
#[cfg(target_arch = "x86_64")]
mod x86;

use bytemuck::{Pod, Zeroable};

#[cfg(target_arch = "x86_64")]
use crate::engine::kernels::avx512::Avx512 as Machine;
use crate::engine::kernels::compact::LANES;
#[cfg(not(target_arch = "x86_64"))]
use crate::engine::kernels::subtrees::other::Machine;
use crate::model::plan::compact::Crown;
use crate::model::plan::subtrees::{COLUMNS, Subtree};

/// The keys of one row, then zeros.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
pub(in crate::engine) struct KeysOfRow(pub [u32; COLUMNS]);

/// Most trees that rows go through together: what 16 rows look at there stays in the first-level cache.
pub(in crate::engine) const TREES: usize = 8;

/// Leaf ids that rows come to in one tree.
pub(in crate::engine) type LeavesOfTree = [u32; LANES];

/// Trees cut into crowns and subtrees.
#[derive(Clone, Copy)]
pub(in crate::engine) struct Walks<'a> {
    n_columns: usize,
    crowns: &'a [Crown],
    /// The subtrees that the ends of each crown lead to.
    below: &'a [[u32; LANES]],
    subtrees: &'a [Subtree],
    /// Most subtrees on a way to a leaf.
    hops: u8,
    machine: Machine,
}

impl<'a> Walks<'a> {
    /// All must have passed `validate`. `None` if the processor lacks the instructions.
    pub(in crate::engine) fn new(
        n_columns: usize,
        crowns: &'a [Crown],
        below: &'a [[u32; LANES]],
        subtrees: &'a [Subtree],
        hops: u8,
    ) -> Option<Self> {
        Some(Walks { n_columns, crowns, below, subtrees, hops, machine: Machine::here()? })
    }

    /// Subtrees on the longest way to a leaf.
    pub(in crate::engine) fn hops(&self) -> u8 {
        self.hops
    }
}
