//! Which leaf small trees end in, for 32 rows or more at a time: a byte of a vector is a row.
//!
//! Plainly, a tree in the form of a heap is walked so, where `key[c]` is what a row has in column `c`:
//!
//! ```text
//! at = 1
//! depth times: at = 2 * at + (key[column[at]] < node[at])
//! leaf = at - 2 ** depth
//! ```
//!
//! and a tree of any form, whose nodes and leaves are numbered from left to right, so:
//!
//! ```text
//! leaf = 0
//! for every node, from left to right:
//!     if key[column[node]] < node && leaf >= first[node]: leaf = node + 1
//! ```
//!
//! `first[node]` is the leftmost leaf below the node. A node that goes right rules out the leaves `first[node]..=node`, so
//! the row ends in the leftmost leaf that no node rules out (QuickScorer, Lucchese et al., SIGIR 2015).
//!
//! Asking all nodes of a tree, also those that the row does not come to, is more work than a walk, but none of it waits for
//! memory or for other nodes, and a vector instruction does it for many rows at once: here one tree is asked for 32 or 64 rows,
//! whose keys lie side by side. What is done for few rows is in `few`. The bits are the same.
//!
//! Whatever the bytes of a model are, nothing outside it is reached: columns are bytes, and a [`Tile`] or a [`Row`] has
//! one for each byte; leaves are masked to the window they lie in.

#![forbid(unsafe_code)]

use std::ops::AddAssign;

use crate::model::plan::lanes::{BLOCK, TREES, key};

/// Rows of a tile.
pub(in crate::engine) const ROWS: usize = 64;
/// Columns that a byte can name; the upper half are those of the lower in which NaN goes left.
pub(in crate::engine) const COLUMNS: usize = 256;

/// A byte for each of 32 trees or rows.
pub(in crate::engine) type Bytes = [i8; 32];

/// Keys of 64 rows, column by column.
pub(in crate::engine) type Tile = [[Bytes; 2]; COLUMNS];

/// Keys of one row.
pub(in crate::engine) type Row = [[i8; 16]; COLUMNS / 16];

/// The node at one place in 32 trees: column, what its key is compared with, and the first leaf below it.
pub(in crate::engine) type Node<const W: usize> = [Bytes; W];

/// What a processor does with 32 bytes at a time.
pub(in crate::engine) trait Machine: Copy {
    type Lanes: Copy;
    fn load(self, bytes: &Bytes) -> Self::Lanes;
    fn store(self, lanes: Self::Lanes, bytes: &mut Bytes);
    fn splat(self, byte: i8) -> Self::Lanes;
    /// All bits of a byte where `a < b`.
    fn less(self, a: Self::Lanes, b: Self::Lanes) -> Self::Lanes;
    fn add(self, a: Self::Lanes, b: Self::Lanes) -> Self::Lanes;
    fn xor(self, a: Self::Lanes, b: Self::Lanes) -> Self::Lanes;
    /// `b` without the bits of `a`.
    fn without(self, a: Self::Lanes, b: Self::Lanes) -> Self::Lanes;
    /// Bytes of `yes` where the highest bit of `mask` is set, else of `no`.
    fn choose(self, mask: Self::Lanes, yes: Self::Lanes, no: Self::Lanes) -> Self::Lanes;
    /// The bytes of `row` in these columns, the highest bit of a column aside. Columns are below `16 * T`.
    fn look_up<const T: usize>(self, row: &Row, upper: bool, columns: Self::Lanes) -> Self::Lanes;
    /// How many of the block are below the value.
    fn below_f32(self, block: &[f32; BLOCK], value: f32) -> usize;
    fn below_f64(self, block: &[f64; BLOCK], value: f64) -> usize;
    /// See [`add_eights`].
    fn add_f32(self, leaves: &Eights<'_, f32>, found: &[[Bytes; 2]; 8], sums: &mut [f32]);
    fn add_f64(self, leaves: &Eights<'_, f64>, found: &[[Bytes; 2]; 8], sums: &mut [f64]);
}

/// The leaf values of 8 trees that have 8 each.
pub(in crate::engine) type Eights<'a, S> = [&'a [S; 8]; 8];

/// Any processor.
#[derive(Clone, Copy)]
pub(in crate::engine) struct Portable;

impl Machine for Portable {
    type Lanes = Bytes;

    #[inline(always)]
    fn load(self, bytes: &Bytes) -> Bytes {
        *bytes
    }

    #[inline(always)]
    fn store(self, lanes: Bytes, bytes: &mut Bytes) {
        *bytes = lanes;
    }

    #[inline(always)]
    fn splat(self, byte: i8) -> Bytes {
        [byte; 32]
    }

    #[inline(always)]
    fn less(self, a: Bytes, b: Bytes) -> Bytes {
        std::array::from_fn(|i| -i8::from(a[i] < b[i]))
    }

    #[inline(always)]
    fn add(self, a: Bytes, b: Bytes) -> Bytes {
        std::array::from_fn(|i| a[i].wrapping_add(b[i]))
    }

    #[inline(always)]
    fn xor(self, a: Bytes, b: Bytes) -> Bytes {
        std::array::from_fn(|i| a[i] ^ b[i])
    }

    #[inline(always)]
    fn without(self, a: Bytes, b: Bytes) -> Bytes {
        std::array::from_fn(|i| !a[i] & b[i])
    }

    #[inline(always)]
    fn choose(self, mask: Bytes, yes: Bytes, no: Bytes) -> Bytes {
        std::array::from_fn(|i| if mask[i] < 0 { yes[i] } else { no[i] })
    }

    #[inline(always)]
    fn look_up<const T: usize>(self, row: &Row, upper: bool, columns: Bytes) -> Bytes {
        let row = row.as_flattened();
        std::array::from_fn(|i| row[usize::from(columns[i] as u8 & 127) + usize::from(upper) * 128])
    }

    #[inline(always)]
    fn below_f32(self, block: &[f32; BLOCK], value: f32) -> usize {
        block.iter().map(|threshold| usize::from(*threshold < value)).sum()
    }

    #[inline(always)]
    fn below_f64(self, block: &[f64; BLOCK], value: f64) -> usize {
        block.iter().map(|threshold| usize::from(*threshold < value)).sum()
    }

    #[inline(always)]
    fn add_f32(self, leaves: &Eights<'_, f32>, found: &[[Bytes; 2]; 8], sums: &mut [f32]) {
        add_eights(leaves, found, 0, sums);
    }

    #[inline(always)]
    fn add_f64(self, leaves: &Eights<'_, f64>, found: &[[Bytes; 2]; 8], sums: &mut [f64]) {
        add_eights(leaves, found, 0, sums);
    }
}

/// Adds the leaves that the rows from `first` on have `found` to their sums, tree by tree.
#[inline(always)]
pub(in crate::engine) fn add_eights<S: Copy + AddAssign>(
    leaves: &Eights<'_, S>,
    found: &[[Bytes; 2]; 8],
    first: usize,
    sums: &mut [S],
) {
    for (row, sum) in (first..ROWS).zip(sums) {
        for (leaves, found) in leaves.iter().zip(found) {
            *sum += leaves[found.as_flattened()[row] as usize % 8];
        }
    }
}

/// Where rows go at the nodes of a tree. A trait, since a closure need not be inlined, and
/// what is not inlined is not compiled for the machine.
trait Nodes<M: Machine, const H: usize>: Copy {
    fn right(self, m: M, at: usize) -> [M::Lanes; H];
    /// The leftmost leaf below; unused for a heap.
    fn first(self, m: M, at: usize) -> M::Lanes;
}

/// One tree, many rows.
#[derive(Clone, Copy)]
struct OfTile<'a, const W: usize> {
    nodes: &'a [Node<W>],
    tree: usize,
    tile: &'a Tile,
}

impl<M: Machine, const W: usize, const H: usize> Nodes<M, H> for OfTile<'_, W> {
    #[inline(always)]
    fn right(self, m: M, at: usize) -> [M::Lanes; H] {
        let node = &self.nodes[at];
        let keys = &self.tile[usize::from(node[0][self.tree] as u8)];
        let limit = m.splat(node[1][self.tree]);
        let mut right = [limit; H];
        for half in 0..H {
            right[half] = m.less(m.load(&keys[half]), limit);
        }
        right
    }

    #[inline(always)]
    fn first(self, m: M, at: usize) -> M::Lanes {
        m.splat(self.nodes[at][W - 1][self.tree])
    }
}

/// Keys of `values` among the thresholds in `blocks`, where NaN goes right and where it goes left.
#[inline(always)]
pub(in crate::engine) fn keys<M: Machine, F: Real>(
    m: M,
    blocks: &[[F; BLOCK]],
    values: &[F],
    right: &mut [i8],
    left: &mut [i8],
) {
    for ((&value, right), left) in values.iter().zip(right).zip(left) {
        *left = key(rank(m, blocks, value));
        *right = if value.is_nan() { i8::MIN } else { *left };
    }
}

/// How many thresholds are below the value.
#[inline(always)]
pub(in crate::engine) fn rank<M: Machine, F: Real>(m: M, blocks: &[[F; BLOCK]], value: F) -> usize {
    match blocks {
        [] => 0,
        [all] => F::below(m, all, value),
        [lasts, blocks @ ..] => {
            let block = F::below(m, lasts, value).min(blocks.len() - 1);
            block * BLOCK + F::below(m, &blocks[block], value)
        }
    }
}

/// A type that values and thresholds are compared in.
pub(in crate::engine) trait Real: Copy {
    /// How many of the block are below the value.
    fn below<M: Machine>(m: M, block: &[Self; BLOCK], value: Self) -> usize;
    fn is_nan(self) -> bool;
    /// See [`add_eights`].
    fn add<M: Machine>(m: M, leaves: &Eights<'_, Self>, found: &[[Bytes; 2]; 8], sums: &mut [Self]);
}

impl Real for f32 {
    #[inline(always)]
    fn below<M: Machine>(m: M, block: &[f32; BLOCK], value: f32) -> usize {
        m.below_f32(block, value)
    }

    #[inline(always)]
    fn is_nan(self) -> bool {
        f32::is_nan(self)
    }

    #[inline(always)]
    fn add<M: Machine>(m: M, leaves: &Eights<'_, f32>, found: &[[Bytes; 2]; 8], sums: &mut [f32]) {
        m.add_f32(leaves, found, sums);
    }
}

impl Real for f64 {
    #[inline(always)]
    fn below<M: Machine>(m: M, block: &[f64; BLOCK], value: f64) -> usize {
        m.below_f64(block, value)
    }

    #[inline(always)]
    fn is_nan(self) -> bool {
        f64::is_nan(self)
    }

    #[inline(always)]
    fn add<M: Machine>(m: M, leaves: &Eights<'_, f64>, found: &[[Bytes; 2]; 8], sums: &mut [f64]) {
        m.add_f64(leaves, found, sums);
    }
}

/// Leaves of consecutive trees of a group for the first `32 * H` rows of a tile.
#[inline(always)]
pub(in crate::engine) fn trees_of_tile<M: Machine, const H: usize>(
    m: M,
    nodes: GroupNodes<'_>,
    first: usize,
    tile: &Tile,
    leaves: &mut [[Bytes; 2]],
) {
    for (tree, leaves) in (first..).zip(leaves) {
        let tree = tree % TREES;
        let found = match nodes {
            GroupNodes::Heap(depth, nodes) => {
                // The length is known, so that no node is looked up with a check.
                let nodes = &nodes[..(1 << depth as usize) - 1];
                heap_of::<M, H>(m, depth, OfTile { nodes, tree, tile })
            }
            GroupNodes::Ranges(nodes) => ranges::<M, H>(m, nodes.len(), OfTile { nodes, tree, tile }),
        };
        for (found, leaves) in found.into_iter().zip(leaves) {
            m.store(found, leaves);
        }
    }
}

/// Depth of heaps.
#[derive(Clone, Copy)]
pub(in crate::engine) enum Depth {
    D3 = 3,
    D4 = 4,
    D5 = 5,
    D6 = 6,
}

/// The nodes of a group.
#[derive(Clone, Copy)]
pub(in crate::engine) enum GroupNodes<'a> {
    /// As many as the depth asks for.
    Heap(Depth, &'a [Node<2>]),
    /// At most [`NODES`].
    Ranges(&'a [Node<3>]),
}

#[inline(always)]
fn ranges<M: Machine, const H: usize>(m: M, n: usize, nodes: impl Nodes<M, H>) -> [M::Lanes; H] {
    let mut leaf = [m.splat(0); H];
    let mut next = m.splat(0);
    for at in 0..n {
        next = m.add(next, m.splat(1));
        let (right, first) = (nodes.right(m, at), nodes.first(m, at));
        for half in 0..H {
            let taken = m.without(m.less(leaf[half], first), right[half]);
            leaf[half] = m.choose(taken, next, leaf[half]);
        }
    }
    leaf
}

/// [`heap`] for this depth.
#[inline(always)]
fn heap_of<M: Machine, const H: usize>(m: M, depth: Depth, nodes: impl Nodes<M, H>) -> [M::Lanes; H] {
    match depth {
        Depth::D3 => heap::<M, H, 1>(m, nodes),
        Depth::D4 => heap::<M, H, 2>(m, nodes),
        Depth::D5 => heap::<M, H, 4>(m, nodes),
        Depth::D6 => heap::<M, H, 8>(m, nodes),
    }
}

/// Leaves of a heap of `8 * E` leaves from the bottom up: the leaf of a node is that of its right child where it goes right. Eight leaves at
/// a time stay in registers. They are numbered from the right on the way, since adding a mask takes one away.
#[inline(always)]
fn heap<M: Machine, const H: usize, const E: usize>(m: M, nodes: impl Nodes<M, H>) -> [M::Lanes; H] {
    let mut found = [[m.splat(0); H]; E];
    for (at, found) in found.iter_mut().enumerate() {
        *found = eight(m, E, nodes, E + at);
    }
    let mut n = E;
    while n > 1 {
        n /= 2;
        for at in 0..n {
            let right = nodes.right(m, n + at - 1);
            for half in 0..H {
                found[at][half] = m.choose(right[half], found[2 * at + 1][half], found[2 * at][half]);
            }
        }
    }
    for leaf in &mut found[0] {
        *leaf = m.xor(*leaf, m.splat((8 * E - 1) as i8));
    }
    found[0]
}

/// The leaves below node `at`, the first of `n` that have eight each.
#[inline(always)]
fn eight<M: Machine, const H: usize>(m: M, n: usize, nodes: impl Nodes<M, H>, at: usize) -> [M::Lanes; H] {
    let left = four(m, n, nodes, 2 * at);
    let right = four(m, n, nodes, 2 * at + 1);
    either(m, nodes, at, left, right)
}

#[inline(always)]
fn four<M: Machine, const H: usize>(m: M, n: usize, nodes: impl Nodes<M, H>, at: usize) -> [M::Lanes; H] {
    let left = two(m, n, nodes, 2 * at);
    let right = two(m, n, nodes, 2 * at + 1);
    either(m, nodes, at, left, right)
}

#[inline(always)]
fn two<M: Machine, const H: usize>(m: M, n: usize, nodes: impl Nodes<M, H>, at: usize) -> [M::Lanes; H] {
    let left = m.splat((16 * n - 1 - 2 * at) as i8);
    let mut leaf = nodes.right(m, at - 1);
    for leaf in &mut leaf {
        *leaf = m.add(*leaf, left);
    }
    leaf
}

#[inline(always)]
fn either<M: Machine, const H: usize>(
    m: M,
    nodes: impl Nodes<M, H>,
    at: usize,
    mut left: [M::Lanes; H],
    right: [M::Lanes; H],
) -> [M::Lanes; H] {
    let goes_right = nodes.right(m, at - 1);
    for half in 0..H {
        left[half] = m.choose(goes_right[half], right[half], left[half]);
    }
    left
}
