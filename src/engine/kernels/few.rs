//! Which leaves 32 trees give to each of a few rows, a byte of a vector for each tree.
//!
//! Heaps are walked, all 32 at once: which of the nodes of a level the row has come to in each tree is known from its answers so
//! far, which choose between the nodes of the left half and those of the right, then between the quarters, and so on.
//! Choosing costs less than asking: only the column and the limit that are left are looked up and compared, one of each for a
//! level. Other trees are asked as `lanes` says, all their nodes.
#![forbid(unsafe_code)]

use std::hint::black_box;

use crate::engine::kernels::lanes::{Bytes, COLUMNS, Depth, GroupNodes, Machine, Node, Real, Row, rank};
use crate::model::plan::lanes::{BLOCK, NODES, key};

/// Most levels of a heap.
const LEVELS: usize = 6;

/// Leaves of all trees of a group for each row. `T`: columns are below `16 * T`; `NAN`: some may be NaN.
#[inline(always)]
pub(in crate::engine) fn trees_of_rows<M: Machine, const T: usize, const NAN: bool>(
    m: M,
    nodes: GroupNodes<'_>,
    rows: &[Row],
    leaves: &mut [Bytes],
) {
    match nodes {
        GroupNodes::Heap(Depth::D3, nodes) => heaps::<M, 3, T, NAN>(m, nodes, rows, leaves),
        GroupNodes::Heap(Depth::D4, nodes) => heaps::<M, 4, T, NAN>(m, nodes, rows, leaves),
        GroupNodes::Heap(Depth::D5, nodes) => heaps::<M, 5, T, NAN>(m, nodes, rows, leaves),
        GroupNodes::Heap(Depth::D6, nodes) => heaps::<M, 6, T, NAN>(m, nodes, rows, leaves),
        GroupNodes::Ranges(nodes) => {
            let nodes = &nodes[..nodes.len().min(NODES)];
            let (pairs, last) = rows.as_chunks::<2>();
            let (leaf_pairs, last_leaf) = leaves.as_chunks_mut::<2>();
            for (rows, leaves) in pairs.iter().zip(leaf_pairs) {
                *leaves = ranges::<M, 2, T, NAN>(m, nodes, rows);
            }
            if let ([row], [leaf, ..]) = (last, last_leaf) {
                [*leaf] = ranges::<M, 1, T, NAN>(m, nodes, &[*row]);
            }
        }
    }
}

/// Keys of rows in the columns from `first` on, of which `values` has one after the other; whether some value is NaN. The
/// thresholds of column `first + i` are in the blocks `starts[i]..starts[i + 1]`.
#[inline(always)]
pub(in crate::engine) fn keys_of_rows<M: Machine, F: Real, const N: usize>(
    m: M,
    blocks: &[[F; BLOCK]],
    starts: &[u32],
    values: &[[F; N]],
    first: usize,
    rows: &mut [Row],
) -> bool {
    let mut nan = false;
    for (column, (span, values)) in (first..COLUMNS / 2).zip(starts.windows(2).zip(values)) {
        let blocks = &blocks[span[0] as usize..span[1] as usize];
        for (&value, row) in values.iter().zip(&mut *rows) {
            let (right, left) = row.as_flattened_mut().split_at_mut(COLUMNS / 2);
            left[column] = key(rank(m, blocks, value));
            right[column] = if value.is_nan() { i8::MIN } else { left[column] };
            nan |= value.is_nan();
        }
    }
    nan
}

/// Where a row goes right, given the column and the limit of the node that it has come to in each tree.
#[inline(always)]
fn goes_right<M: Machine, const T: usize, const NAN: bool>(
    m: M,
    row: &Row,
    columns: M::Lanes,
    limits: M::Lanes,
) -> M::Lanes {
    let mut keys = m.look_up::<T>(row, false, columns);
    if NAN {
        keys = m.choose(columns, m.look_up::<T>(row, true, columns), keys);
    }
    m.less(keys, limits)
}

/// Leaves of heaps of `D` levels, from the root down.
#[inline(always)]
fn heaps<M: Machine, const D: usize, const T: usize, const NAN: bool>(
    m: M,
    nodes: &[Node<2>],
    rows: &[Row],
    leaves: &mut [Bytes],
) {
    for (row, leaf) in rows.iter().zip(leaves) {
        // Otherwise all nodes are copied to the stack, for registers that there are not.
        let nodes = &black_box(nodes)[..(1 << D) - 1];
        let mut right = [m.splat(0); LEVELS];
        let mut less_leaf = m.splat(0);
        // Each level is compiled for its own number of nodes.
        macro_rules! level {
            ($level:literal, $reached:ident) => {
                if $level < D {
                    let nodes = &nodes[(1 << $level) - 1..];
                    let (columns, limits) =
                        ($reached(m, nodes, 0, &right, 0, 1), $reached(m, nodes, 1, &right, 0, 1));
                    right[$level] = goes_right::<M, T, NAN>(m, row, columns, limits);
                    less_leaf = m.add(m.add(less_leaf, less_leaf), right[$level]);
                }
            };
        }
        level!(0, of_1);
        level!(1, of_2);
        level!(2, of_4);
        level!(3, of_8);
        level!(4, of_16);
        level!(5, of_32);
        m.store(m.add(m.xor(less_leaf, m.splat(-1)), m.splat(1)), leaf);
    }
}

/// `part` of the node that the answers in `right` lead to, of one node.
#[inline(always)]
fn of_1<M: Machine>(
    m: M,
    nodes: &[Node<2>],
    part: usize,
    _: &[M::Lanes; LEVELS],
    first: usize,
    _: usize,
) -> M::Lanes {
    m.load(&nodes[first][part])
}

/// Of the nodes that are `step` apart from `first` on: the last answer that tells them apart chooses, so that all before it
/// need not wait for it.
macro_rules! reached {
    ($name:ident, $half:ident, $answer:literal) => {
        #[inline(always)]
        fn $name<M: Machine>(
            m: M,
            nodes: &[Node<2>],
            part: usize,
            right: &[M::Lanes; LEVELS],
            first: usize,
            step: usize,
        ) -> M::Lanes {
            let left_one = $half(m, nodes, part, right, first, 2 * step);
            let right_one = $half(m, nodes, part, right, first + step, 2 * step);
            m.choose(right[$answer], right_one, left_one)
        }
    };
}

reached!(of_2, of_1, 0);
reached!(of_4, of_2, 1);
reached!(of_8, of_4, 2);
reached!(of_16, of_8, 3);
reached!(of_32, of_16, 4);

/// Leaves of trees of any form, for `R` rows that share what is known of a node.
#[inline(always)]
fn ranges<M: Machine, const R: usize, const T: usize, const NAN: bool>(
    m: M,
    nodes: &[Node<3>],
    rows: &[Row; R],
) -> [Bytes; R] {
    let mut leaf = [m.splat(0); R];
    let mut next = m.splat(0);
    for [columns, limits, first] in nodes {
        next = m.add(next, m.splat(1));
        let (columns, limits, first) = (m.load(columns), m.load(limits), m.load(first));
        for at in 0..R {
            let right = goes_right::<M, T, NAN>(m, &rows[at], columns, limits);
            let taken = m.without(m.less(leaf[at], first), right);
            leaf[at] = m.choose(taken, next, leaf[at]);
        }
    }
    let mut leaves = [[0; 32]; R];
    for (leaf, to) in leaf.into_iter().zip(&mut leaves) {
        m.store(leaf, to);
    }
    leaves
}
