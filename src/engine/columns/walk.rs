//! From root to leaf in columns.
//!
//! Few rows walk the columns themselves. For many rows the tree is first brought into one run of small nodes, and
//! rows then go down it [`LANES`] at a time: a leaf leads to itself, as in the compact layout of the plan.
#![forbid(unsafe_code)]

use ndarray::ArrayView2;

use crate::engine::columns::TreeInput;
use crate::engine::columns::csr::Rows;
use crate::engine::trees::keys::{Encoder, Keys};
use crate::engine::trees::walk::LANES;
use crate::model::plan::compact::{NAN_KEY, threshold_key};
use crate::model::trees::TreeView;

/// Trees are brought into one run if they have at most this many nodes per row.
const NODES_PER_ROW: usize = 16;
/// Most rows whose keys are made at a time.
const BLOCK_ROWS: usize = 512;
/// Keys that are made at a time.
const BLOCK_KEYS: usize = 1 << 15;
/// The bit of a feature that says that NaN goes left.
const MISSING: u32 = 1 << 31;

/// Whether bringing trees of `n_nodes` nodes into one run pays.
pub(super) fn flattening_pays(n_nodes: usize, n_rows: usize) -> bool {
    n_rows >= LANES && n_nodes / NODES_PER_ROW <= n_rows
}

/// Rows of `n_columns` whose keys are made at a time.
pub(super) fn block_rows(n_columns: usize) -> usize {
    (BLOCK_KEYS / (n_columns + 1)).clamp(LANES, BLOCK_ROWS)
}

/// Calls `visit(row, leaf)` for every row in turn.
pub(super) fn leaves(tree: &TreeView<'_>, x: &TreeInput<'_>, mut visit: impl FnMut(usize, usize)) {
    if let TreeInput::Dense(x) = x
        && flattening_pays(tree.n_nodes, x.nrows())
    {
        let flat = FlatTree::new(tree, true);
        let block = block_rows(x.ncols());
        for first in (0..x.nrows()).step_by(block) {
            let rows = block.min(x.nrows() - first);
            flat.leaves(&Keys::new(Encoder::KEYS, x, first, rows), rows, |row, leaf| {
                visit(first + row, leaf);
            });
        }
        return;
    }
    let mut rows = Rows::new(x);
    for row in 0..x.n_rows() {
        rows.go_to(row);
        let mut leaf = 0;
        walk(tree, &rows, |node| leaf = node);
        visit(row, leaf);
    }
}

/// Calls `visit` with every node on the way of the current row, the leaf last.
#[inline(always)]
pub(super) fn walk(tree: &TreeView<'_>, rows: &Rows<'_>, mut visit: impl FnMut(usize)) {
    let mut node = 0;
    visit(node);
    while let Some((left, right)) = tree.children(node) {
        let value = rows.value(tree.feature.at(node) as usize);
        let goes_left = f64::from(value) <= tree.threshold.at(node)
            || (value.is_nan() && rows.may_miss() && tree.missing_left(node));
        node = if goes_left { left } else { right };
        visit(node);
    }
}

/// The leaf of one row of `x`; NaN goes right.
#[inline(always)]
pub(super) fn one_leaf(tree: &TreeView<'_>, x: &ArrayView2<'_, f32>, row: usize) -> usize {
    let mut node = 0;
    while let Some((left, right)) = tree.children(node) {
        let value = x[[row, tree.feature.at(node) as usize]];
        node = if f64::from(value) <= tree.threshold.at(node) { left } else { right };
    }
    node
}

/// A tree in one run of nodes.
pub(super) struct FlatTree {
    nodes: Vec<FlatNode>,
    missing: bool,
}

#[derive(Clone, Copy)]
struct FlatNode {
    /// The key of the threshold: comparing it with keys decides as comparing floats does.
    key: u32,
    /// With [`MISSING`]; that of a leaf is beyond all, which reads the row of zeros behind the features.
    feature: u32,
    left: u32,
    right: u32,
}

impl FlatTree {
    /// `missing`: whether `missing_go_to_left` counts.
    pub(super) fn new(tree: &TreeView<'_>, missing: bool) -> Self {
        let mut any = false;
        let mut flat = |node: usize| match tree.children(node) {
            None => FlatNode { key: 0, feature: MISSING - 1, left: node as u32, right: node as u32 },
            Some((left, right)) => {
                let goes_left = missing && tree.missing_left(node);
                any |= goes_left;
                FlatNode {
                    key: threshold_key(tree.threshold.at(node)),
                    feature: tree.feature.at(node) as u32 | if goes_left { MISSING } else { 0 },
                    left: left as u32,
                    right: right as u32,
                }
            }
        };
        let nodes = (0..tree.n_nodes).map(&mut flat).collect();
        FlatTree { nodes, missing: any }
    }

    /// Calls `visit(row, leaf)` for the first `n_rows` rows of `keys` in turn.
    #[inline(always)]
    pub(super) fn leaves(&self, keys: &Keys, n_rows: usize, mut visit: impl FnMut(usize, usize)) {
        for (group, (keys, nan)) in keys.groups().enumerate() {
            let at = if nan && self.missing { self.walk::<true>(keys) } else { self.walk::<false>(keys) };
            let first = group * LANES;
            at.iter()
                .take(n_rows - first)
                .enumerate()
                .for_each(|(lane, &at)| visit(first + lane, at as usize));
        }
    }

    fn walk<const NAN: bool>(&self, keys: &[[u32; LANES]]) -> [u32; LANES] {
        let mut at = [0u32; LANES];
        let zeros = keys.len() - 1;
        loop {
            let mut moved = 0;
            for (lane, at) in at.iter_mut().enumerate() {
                let node = self.nodes[*at as usize];
                let key = keys[((node.feature & !MISSING) as usize).min(zeros)][lane];
                let mut right = key > node.key;
                if NAN {
                    right &= key != NAN_KEY || node.feature & MISSING == 0;
                }
                let next = if right { node.right } else { node.left };
                moved |= next ^ *at;
                *at = next;
            }
            if moved == 0 {
                return at;
            }
        }
    }
}
