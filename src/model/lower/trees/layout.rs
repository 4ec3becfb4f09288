//! Laying trees out in the compact form, one after the other.
//!
//! Siblings are adjacent, and a line of the cache holds four pairs of them. A line is filled with a pair and the most
//! visited ones below it, so that a walk goes several steps within a line; trees begin at lines. Visits are
//! counted by training samples.
#![forbid(unsafe_code)]

use std::io::{self, Write};

use tempfile::SpooledTempFile;

use crate::format::dtype::Dtype;
use crate::format::{ArrayId, ArrayInfo, Order, Role};
use crate::model::lower::trees::nodes::{Nodes, Split};
use crate::model::lower::{Staged, StagedData};
use crate::model::plan::compact::{CROWN_LEVELS, Crown, Node, Packing};
use crate::model::plan::{Encoding, TreeLayout};

/// Bytes that an array may take in memory before it goes to a temporary file.
pub(super) const SPOOL_BYTES: usize = 32 << 20;

/// Mean depth of leaves from which crowns pay.
const CROWNED_DEPTH: usize = 7;

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
    crowns: Vec<Crown>,
}

impl Layout {
    /// For trees over `n_features` features, of at most `largest` nodes.
    pub(super) fn new(n_features: u32, largest: u64) -> Self {
        let packing = Packing::new(n_features);
        Layout {
            packing,
            // One pair in four is left empty at most.
            wide: packing.needs_wide(largest + largest / 3 + 2 * LINE as u64),
            nodes: SpooledTempFile::new(SPOOL_BYTES),
            origin: SpooledTempFile::new(SPOOL_BYTES),
            roots: vec![0],
            missing: Vec::new(),
            any_missing: false,
            depths: Vec::new(),
            crowns: Vec::new(),
        }
    }

    /// Adds one tree, its nodes in the order that [`place`] gave them.
    pub(super) fn add(&mut self, tree: &Nodes, Placement { order, depths }: &Placement) -> io::Result<()> {
        let start = self.roots.last().copied().unwrap_or(0);
        let end = start + order.len() as u64;
        self.roots.push(end);
        self.depths.extend(depths);
        self.crowns.push(crown(tree, order, self.packing));
        self.missing.resize(end.div_ceil(64) as usize, 0);
        if self.wide { self.emit::<[u64; 2]>(tree, order) } else { self.emit::<u64>(tree, order) }?;
        let missing = if tree.any_missing() { order.as_slice() } else { &[] };
        for (at, placed) in (start..).zip(missing) {
            if placed.node != EMPTY && tree.missing(placed.node) {
                self.missing[(at / 64) as usize] |= 1 << (at % 64);
                self.any_missing = true;
            }
        }
        let number = |placed: &Placed| if placed.node == EMPTY { 0 } else { tree.origin(placed.node) };
        let origin: Vec<u32> = order.iter().map(number).collect();
        self.origin.write_all(bytemuck::cast_slice(&origin))
    }

    /// Whether crowns pay: there are levels enough below them.
    fn crowned(&self) -> bool {
        let steps: usize = self.depths.iter().step_by(2).map(|&mean| usize::from(mean)).sum();
        !self.wide && steps >= self.crowns.len() * CROWNED_DEPTH
    }

    fn emit<N: Node>(&mut self, tree: &Nodes, order: &[Placed]) -> io::Result<()> {
        let word = |placed: &Placed| {
            if placed.node == EMPTY {
                return N::pack(self.packing, 0, self.packing.leaf_feature(), 0);
            }
            let node = tree.node(placed.node);
            let feature = node.split.map_or(self.packing.leaf_feature(), |split| split.feature);
            N::pack(self.packing, node.low, feature, u64::from(placed.distance))
        };
        let words: Vec<N> = order.iter().map(word).collect();
        self.nodes.write_all(bytemuck::cast_slice(&words))
    }

    /// The arrays, and the table of leaf values last.
    pub(super) fn finish(self, leaves: Staged) -> LaidOut {
        let (n_nodes, crowned) = (self.roots.last().copied().unwrap_or(0), self.crowned());
        let roots = bytemuck::cast_slice(&self.roots).to_vec();
        let node_shape = if self.wide { vec![n_nodes, 2] } else { vec![n_nodes] };
        let depths = vec![self.depths.len() as u64 / 2, 2];
        let mut arrays = vec![
            Staged::memory("roots", Dtype::U64, vec![self.roots.len() as u64], roots),
            spooled("nodes", Dtype::U64, node_shape, Role::Predict, self.nodes),
            spooled("origin", Dtype::U32, vec![n_nodes], Role::Rebuild, self.origin),
            Staged::memory("depths", Dtype::U8, depths, self.depths),
        ];
        let (wide, any_missing) = (self.wide, self.any_missing);
        if crowned {
            let crowns = bytemuck::cast_slice(&self.crowns).to_vec();
            arrays.push(Staged::memory("crowns", Dtype::U32, vec![self.crowns.len() as u64, 3, 16], crowns));
        }
        if any_missing {
            let missing = bytemuck::cast_slice(&self.missing).to_vec();
            arrays.push(Staged::memory("missing", Dtype::U64, vec![self.missing.len() as u64], missing));
        }
        arrays.push(leaves);
        let layout = move |ids: &[ArrayId]| TreeLayout::Compact {
            encoding: Encoding::Keys,
            categories: None,
            zero_missing: None,
            roots: ids[0],
            nodes: ids[1],
            wide,
            origin: ids[2],
            depths: Some(ids[3]),
            crowns: crowned.then(|| ids[4]),
            missing: any_missing.then(|| ids[ids.len() - 2]),
            leaves: ids[ids.len() - 1],
        };
        LaidOut { arrays, layout: Box::new(layout) }
    }
}

/// The first levels of a tree whose nodes have places.
fn crown(tree: &Nodes, order: &[Placed], packing: Packing) -> Crown {
    const SPLITS: usize = (1 << CROWN_LEVELS) - 1;
    let mut places = [0u32; 2 * SPLITS + 1];
    let [mut thresholds, mut features, mut below] = [[0; 16]; 3];
    for split in 0..SPLITS {
        let at = places[split];
        let placed = order[at as usize];
        let node = tree.node(placed.node);
        let left = at + placed.distance;
        places[2 * split + 1] = left;
        (thresholds[split], features[split], places[2 * split + 2]) = match node.split {
            Some(own) => (node.low, own.feature, left + 1),
            None => (u32::MAX, packing.leaf_feature(), left),
        };
    }
    below.copy_from_slice(&places[SPLITS..]);
    [thresholds, features, below]
}

/// Makes a layout from the ids of its arrays.
pub(crate) type MakeLayout = Box<dyn FnOnce(&[ArrayId]) -> TreeLayout>;

/// What trees became.
pub(crate) struct LaidOut {
    /// To be written in this order.
    pub(crate) arrays: Vec<Staged>,
    /// Makes the layout from the ids of `arrays`, in their order.
    pub(crate) layout: MakeLayout,
}

fn spooled(name: &'static str, dtype: Dtype, shape: Vec<u64>, role: Role, file: SpooledTempFile) -> Staged {
    let info = ArrayInfo { dtype, shape, order: Order::C };
    Staged { name, index: None, info, role, data: StagedData::Spool(file) }
}

/// Nodes in a line of the cache.
const LINE: usize = 8;
/// No node: a leaf that nothing leads to.
const EMPTY: u32 = u32::MAX;

/// A node in its place.
#[derive(Clone, Copy)]
pub(super) struct Placed {
    /// Its number in the foreign tree, or [`EMPTY`].
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

/// A split whose children have no place yet.
#[derive(Clone, Copy)]
struct Open {
    at: usize,
    split: Split,
    samples: u32,
    depth: u32,
}

/// Gives every node its place.
pub(super) fn place(tree: &Nodes) -> Placement {
    let mut placing = Placing {
        tree,
        order: Vec::with_capacity(tree.len() + tree.len() / 8 + 2 * LINE),
        depths: Depths::default(),
    };
    let mut stack = Vec::new();
    placing.order.push(Placed { node: 0, distance: 0 });
    stack.extend(placing.arrive(0, 0));
    placing.order.push(Placed { node: EMPTY, distance: 0 });
    // At most four, and the two that each of four pairs opens.
    let mut within: Vec<Open> = Vec::with_capacity(LINE);
    while let Some(first) = stack.pop() {
        let mut room = (LINE - placing.order.len() % LINE) / 2;
        if room == 1 && placing.goes_on(first.split) {
            placing.order.extend([Placed { node: EMPTY, distance: 0 }; 2]);
            room = LINE / 2;
        }
        within.push(first);
        for _ in 0..room {
            let most = within.iter().enumerate().max_by_key(|(_, open)| open.samples);
            let Some((index, _)) = most else { break };
            let open = within.swap_remove(index);
            within.extend(placing.pair(open).into_iter().flatten());
        }
        within.sort_by_key(|open| open.samples);
        stack.append(&mut within);
    }
    let len = placing.order.len().next_multiple_of(LINE);
    placing.order.resize(len, Placed { node: EMPTY, distance: 0 });
    Placement { depths: placing.depths.finish(), order: placing.order }
}

struct Placing<'a> {
    tree: &'a Nodes,
    order: Vec<Placed>,
    depths: Depths,
}

impl Placing<'_> {
    /// Whether a child is a split.
    fn goes_on(&self, split: Split) -> bool {
        [split.left, split.right].iter().any(|&child| self.tree.node(child).split.is_some())
    }

    /// Places the children of a split; those that are splits are open now.
    fn pair(&mut self, open: Open) -> [Option<Open>; 2] {
        let left_at = self.order.len();
        self.order[open.at].distance = (left_at - open.at) as u32;
        let Split { left, right, .. } = open.split;
        self.order.extend([left, right].map(|node| Placed { node, distance: 0 }));
        [self.arrive(left_at, open.depth + 1), self.arrive(left_at + 1, open.depth + 1)]
    }

    /// Looks at the node in place `at`.
    fn arrive(&mut self, at: usize, depth: u32) -> Option<Open> {
        let node = self.tree.node(self.order[at].node);
        if node.split.is_none() {
            self.depths.leaf(node.samples, depth);
        }
        node.split.map(|split| Open { at, split, samples: node.samples, depth })
    }
}

/// Depths of leaves.
#[derive(Default)]
struct Depths {
    samples: u64,
    steps: u64,
    most: u32,
}

impl Depths {
    fn leaf(&mut self, samples: u32, depth: u32) {
        self.samples += u64::from(samples);
        self.steps += u64::from(samples) * u64::from(depth);
        self.most = self.most.max(depth);
    }

    /// The mean by samples, and the largest.
    fn finish(self) -> [u8; 2] {
        let mean = self.steps.checked_div(self.samples).unwrap_or(u64::from(self.most / 2));
        [mean.min(255) as u8, self.most.min(255) as u8]
    }
}
