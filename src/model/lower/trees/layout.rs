//! Laying trees out in the compact form, one after the other.
//!
//! A pair of siblings lies directly behind the pair that its parent belongs to if that is the most visited path,
//! so that common walks stay within few cache lines: pairs are placed depth first, the child with
//! more training samples first.
#![forbid(unsafe_code)]

use std::io::{self, Write};

use tempfile::SpooledTempFile;

use crate::format::dtype::Dtype;
use crate::format::{ArrayInfo, Order, Role};
use crate::model::lower::trees::nodes::Nodes;
use crate::model::lower::{Staged, StagedData};
use crate::model::plan::compact::{Node, Packing};

/// Bytes that an array may take in memory before it goes to a temporary file.
pub(super) const SPOOL_BYTES: usize = 32 << 20;

/// The arrays of a layout so far.
pub(super) struct Layout {
    packing: Packing,
    wide: bool,
    nodes: SpooledTempFile,
    origin: SpooledTempFile,
    roots: Vec<u64>,
    missing: Vec<u64>,
    any_missing: bool,
    depths: Vec<u8>,
}

impl Layout {
    /// For trees over `n_features` features, of at most `largest` nodes.
    pub(super) fn new(n_features: u32, largest: u64) -> Self {
        let packing = Packing::new(n_features);
        Layout {
            packing,
            wide: packing.needs_wide(largest),
            nodes: SpooledTempFile::new(SPOOL_BYTES),
            origin: SpooledTempFile::new(SPOOL_BYTES),
            roots: vec![0],
            missing: Vec::new(),
            any_missing: false,
            depths: Vec::new(),
        }
    }

    /// Whether nodes take 16 bytes.
    pub(super) fn wide(&self) -> bool {
        self.wide
    }

    /// Whether NaN goes left at some node.
    pub(super) fn has_missing(&self) -> bool {
        self.any_missing
    }

    /// Adds one tree, its nodes in the order that [`place`] gave them.
    pub(super) fn add(&mut self, tree: &Nodes, Placement { order, depths }: &Placement) -> io::Result<()> {
        let start = self.roots.last().copied().unwrap_or(0);
        let end = start + order.len() as u64;
        self.roots.push(end);
        self.depths.extend(depths);
        self.missing.resize(end.div_ceil(64) as usize, 0);
        if self.wide { self.emit::<[u64; 2]>(tree, order) } else { self.emit::<u64>(tree, order) }?;
        for (at, placed) in (start..).zip(order) {
            if tree.missing(placed.node) {
                self.missing[(at / 64) as usize] |= 1 << (at % 64);
                self.any_missing = true;
            }
        }
        let origin: Vec<u32> = order.iter().map(|placed| tree.origin(placed.node)).collect();
        self.origin.write_all(bytemuck::cast_slice(&origin))
    }

    fn emit<N: Node>(&mut self, tree: &Nodes, order: &[Placed]) -> io::Result<()> {
        let word = |placed: &Placed| {
            let node = tree.node(placed.node);
            let feature = node.split.map_or(self.packing.leaf_feature(), |split| split.feature);
            N::pack(self.packing, node.low, feature, u64::from(placed.distance))
        };
        let words: Vec<N> = order.iter().map(word).collect();
        self.nodes.write_all(bytemuck::cast_slice(&words))
    }

    /// `roots`, `nodes`, `origin`, `depths`, and `missing` if there is any.
    pub(super) fn finish(self) -> Vec<Staged> {
        let n_nodes = self.roots.last().copied().unwrap_or(0);
        let roots = bytemuck::cast_slice(&self.roots).to_vec();
        let node_shape = if self.wide { vec![n_nodes, 2] } else { vec![n_nodes] };
        let depths = vec![self.depths.len() as u64 / 2, 2];
        let mut staged = vec![
            Staged::memory("roots", Dtype::U64, vec![self.roots.len() as u64], roots),
            spooled("nodes", Dtype::U64, node_shape, Role::Predict, self.nodes),
            spooled("origin", Dtype::U32, vec![n_nodes], Role::Rebuild, self.origin),
            Staged::memory("depths", Dtype::U8, depths, self.depths),
        ];
        if self.any_missing {
            let missing = bytemuck::cast_slice(&self.missing).to_vec();
            staged.push(Staged::memory("missing", Dtype::U64, vec![self.missing.len() as u64], missing));
        }
        staged
    }
}

fn spooled(name: &'static str, dtype: Dtype, shape: Vec<u64>, role: Role, file: SpooledTempFile) -> Staged {
    let info = ArrayInfo { dtype, shape, order: Order::C };
    Staged { name, index: None, info, role, data: StagedData::Spool(file) }
}

/// A node in its place.
pub(super) struct Placed {
    /// Its number in the foreign tree.
    node: u32,
    /// Places to its left child; 0 for a leaf.
    distance: u32,
}

/// The nodes of a tree in their new order.
pub(super) struct Placement {
    pub(super) order: Vec<Placed>,
    /// The mean depth of training samples, and the largest of a leaf.
    depths: [u8; 2],
}

/// Gives every node its place.
pub(super) fn place(tree: &Nodes) -> Placement {
    let mut order = Vec::with_capacity(tree.len());
    order.push(Placed { node: 0, distance: 0 });
    let (mut samples, mut steps, mut most) = (0u64, 0u64, 0u32);
    let mut stack = vec![(0usize, 0u32)];
    while let Some((at, depth)) = stack.pop() {
        let node = tree.node(order[at].node);
        let Some(split) = node.split else {
            samples += u64::from(node.samples);
            steps += u64::from(node.samples) * u64::from(depth);
            most = most.max(depth);
            continue;
        };
        let left_at = order.len();
        order[at].distance = (left_at - at) as u32;
        order.extend([split.left, split.right].map(|node| Placed { node, distance: 0 }));
        let children = [(left_at, depth + 1), (left_at + 1, depth + 1)];
        if tree.node(split.left).samples < tree.node(split.right).samples {
            stack.extend(children);
        } else {
            stack.extend([children[1], children[0]]);
        }
    }
    let mean = steps.checked_div(samples).unwrap_or(u64::from(most / 2));
    Placement { order, depths: [mean.min(255) as u8, most.min(255) as u8] }
}
