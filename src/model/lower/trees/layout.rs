//! Laying trees out in the compact form, one after the other.
//!
//! Siblings are adjacent, and a line of the cache holds four pairs of them. A line is filled with a pair and the most
//! visited ones below it, so that a walk goes several steps within a line; trees begin at lines. Visits are
//! counted by training samples.
#![forbid(unsafe_code)]

use std::hint::black_box;
use std::io::{self, Write};

use tempfile::SpooledTempFile;

use crate::format::dtype::Dtype;
use crate::format::{ArrayId, ArrayInfo, Order, Role};
use crate::model::lower::trees::nodes::{MISSING, Nodes};
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

    /// How trees are placed.
    pub(super) fn placer(&self) -> Placer {
        Placer { packing: self.packing, wide: self.wide }
    }

    /// Adds one tree, its nodes where `placed` has them. What is low in its leaves is their ids, or where in `ids` those are.
    pub(super) fn add(&mut self, tree: &Nodes, placed: Placed, ids: Option<&[u32]>) -> io::Result<()> {
        let Placed { words, mut numbers, depths } = placed;
        let start = self.roots.last().copied().unwrap_or(0);
        self.roots.push(start + numbers.len() as u64);
        self.depths.extend(depths);
        match words {
            Words::Narrow(words) => self.add_words(words, ids),
            Words::Wide(words) => self.add_words(words, ids),
        }?;
        self.missing.resize((start + numbers.len() as u64).div_ceil(64) as usize, 0);
        if tree.any_missing() {
            self.add_missing(start, &mut numbers);
        }
        tree.to_origin(&mut numbers);
        self.origin.write_all(bytemuck::cast_slice(&numbers))
    }

    fn add_words<N: Node>(&mut self, mut words: Vec<N>, ids: Option<&[u32]>) -> io::Result<()> {
        self.crowns.push(crown(&words, self.packing));
        if let Some(ids) = ids {
            for word in &mut words {
                let (is_leaf, low) = (word.distance(self.packing) == 0, word.low());
                let id = ids.get(if is_leaf { low as usize } else { 0 }).copied().unwrap_or(0);
                *word = word.with_low(if is_leaf { id } else { low });
            }
        }
        self.nodes.write_all(bytemuck::cast_slice(&words))
    }

    /// Moves the bits that say that NaN goes left out of the numbers of nodes, of which the first is in place `start`.
    fn add_missing(&mut self, start: u64, numbers: &mut [u32]) {
        // Trees take whole lines, so that the bits of a line are a byte.
        for (at, line) in (start..).step_by(LINE).zip(numbers.chunks_mut(LINE)) {
            let bits = line.iter().rev().fold(0, |bits, number| bits << 1 | u64::from(number & MISSING > 0));
            line.iter_mut().for_each(|number| *number &= !MISSING);
            self.missing[(at / 64) as usize] |= bits << (at % 64);
            self.any_missing |= bits != 0;
        }
    }

    /// Whether crowns pay: there are levels enough below them.
    fn crowned(&self) -> bool {
        let steps: usize = self.depths.iter().step_by(2).map(|&mean| usize::from(mean)).sum();
        !self.wide && steps >= self.crowns.len() * CROWNED_DEPTH
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
fn crown<N: Node>(words: &[N], packing: Packing) -> Crown {
    const SPLITS: usize = (1 << CROWN_LEVELS) - 1;
    let mut places = [0u32; 2 * SPLITS + 1];
    let [mut thresholds, mut features, mut below] = [[0; 16]; 3];
    for split in 0..SPLITS {
        let at = places[split];
        let word = words[at as usize];
        let distance = word.distance(packing) as u32;
        let left = at + distance;
        places[2 * split + 1] = left;
        (thresholds[split], features[split], places[2 * split + 2]) = match distance {
            0 => (u32::MAX, packing.leaf_feature(), left),
            _ => (word.low(), word.feature(packing) as u32, left + 1),
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

/// The nodes of a tree in their new order.
pub(super) struct Placed {
    /// As they will be stored, if their leaves have their ids.
    words: Words,
    /// Their numbers in the foreign tree, with [`MISSING`] if NaN goes left; 0 where there is none.
    numbers: Vec<u32>,
    /// The mean depth of training samples, and the largest of a leaf.
    depths: [u8; 2],
}

enum Words {
    Narrow(Vec<u64>),
    Wide(Vec<[u64; 2]>),
}

/// Gives nodes their places.
#[derive(Clone, Copy)]
pub(super) struct Placer {
    packing: Packing,
    wide: bool,
}

impl Placer {
    /// Bytes that a node takes in memory.
    pub(super) const NODE_BYTES: usize = size_of::<[u64; 2]>() + size_of::<u32>();

    /// Gives every node its place.
    pub(super) fn place(self, tree: &Nodes) -> Placed {
        if self.wide {
            let (words, numbers, depths) = place(tree, self.packing);
            return Placed { words: Words::Wide(words), numbers, depths };
        }
        let (words, numbers, depths) = place(tree, self.packing);
        Placed { words: Words::Narrow(words), numbers, depths }
    }
}

/// A split whose children have no place yet.
#[derive(Clone, Copy, Default)]
struct Open {
    at: u32,
    node: u32,
    samples: u32,
    depth: u32,
}

/// Most splits that are open within a line: four pairs are placed, and each closes one and opens two at most.
const WITHIN: usize = LINE / 2 + 1;

fn place<N: Node>(tree: &Nodes, packing: Packing) -> (Vec<N>, Vec<u32>, [u8; 2]) {
    let room = tree.len() + tree.len() / 8 + 2 * LINE;
    let (words, numbers) = (Vec::with_capacity(room), Vec::with_capacity(room));
    let (within, depths) = ([Open::default(); WITHIN + 2], Depths::default());
    let mut placing = Placing { tree, packing, words, numbers, within, n_within: 0, depths, ahead: 0 };
    placing.pair([0, EMPTY], 0);
    let mut stack: Vec<Open> = Vec::with_capacity(64);
    stack.extend_from_slice(placing.take_within());
    while let Some(first) = stack.pop() {
        let mut room = (LINE - placing.words.len() % LINE) / 2;
        if room == 1 && placing.goes_on(first.node) {
            placing.pair([EMPTY; 2], 0);
            room = LINE / 2;
        }
        placing.open(first);
        for _ in 0..room {
            let Some(open) = placing.most_visited() else { break };
            placing.close(open);
        }
        let within = placing.take_within();
        within.sort_by_key(|open| open.samples);
        stack.extend_from_slice(within);
    }
    while !placing.words.len().is_multiple_of(LINE) {
        placing.pair([EMPTY; 2], 0);
    }
    black_box(placing.ahead);
    (placing.words, placing.numbers, placing.depths.finish())
}

struct Placing<'a, N> {
    tree: &'a Nodes,
    packing: Packing,
    words: Vec<N>,
    numbers: Vec<u32>,
    /// Splits that are open within the line, of which there are `n_within`. The rest is room to write to.
    within: [Open; WITHIN + 2],
    n_within: usize,
    depths: Depths,
    /// Means nothing: what it is made of has been brought into the cache.
    ahead: u32,
}

impl<N: Node> Placing<'_, N> {
    /// Whether a child is a split.
    fn goes_on(&self, split: u32) -> bool {
        let nodes = self.tree.packed();
        self.tree.children(split).iter().any(|&child| !nodes[child as usize].is_leaf())
    }

    #[inline(always)]
    fn open(&mut self, open: Open) {
        self.within[self.n_within] = open;
        self.n_within += 1;
    }

    fn take_within(&mut self) -> &mut [Open] {
        let len = std::mem::take(&mut self.n_within);
        &mut self.within[..len]
    }

    /// Takes the split that most training samples came to; of several, the last.
    #[inline(always)]
    fn most_visited(&mut self) -> Option<Open> {
        let last = self.n_within.checked_sub(1)?;
        // All four are looked at, as a loop of three or four is guessed wrong too often.
        let key =
            |at: usize| if at <= last { u64::from(self.within[at].samples) << 8 | at as u64 } else { 0 };
        let [a, b, c, d] = [key(0), key(1), key(2), key(3)];
        let at = (a.max(b).max(c.max(d)) & 0xff) as usize;
        let most = self.within[at];
        self.within[at] = self.within[last];
        self.n_within = last;
        Some(most)
    }

    /// Places the children of a split; those that are splits are open now.
    #[inline(always)]
    fn close(&mut self, open: Open) {
        let node = self.tree.packed()[open.node as usize];
        let distance = self.words.len() as u64 - u64::from(open.at);
        self.words[open.at as usize] = N::pack(self.packing, node.low, node.feature(), distance);
        self.numbers[open.at as usize] |= node.missing();
        self.pair(self.tree.children(open.node), open.depth + 1);
    }

    /// Places two nodes as leaves; what is a split is open now, and will be put right when it is closed.
    #[inline(always)]
    fn pair(&mut self, pair: [u32; 2], depth: u32) {
        let (at, nodes) = (self.words.len() as u32, self.tree.packed());
        let [mut words, mut numbers] = [[0; 2]; 2];
        for (place, number) in pair.into_iter().enumerate() {
            let Some(node) = nodes.get(number as usize) else { continue };
            (words[place], numbers[place]) = (node.low, number);
            self.depths.node(node.samples, depth, node.is_leaf());
            self.within[self.n_within] =
                Open { at: at + place as u32, node: number, samples: node.samples, depth };
            self.n_within += usize::from(!node.is_leaf());
            // Of its children the left one is near as a rule; the right one is asked for ahead of time.
            self.ahead =
                self.ahead.wrapping_add(nodes.get(node.right() as usize).map_or(0, |right| right.low));
        }
        let leaf = |low| N::pack(self.packing, low, self.packing.leaf_feature(), 0);
        self.words.extend_from_slice(&words.map(leaf));
        self.numbers.extend_from_slice(&numbers);
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
    #[inline(always)]
    fn node(&mut self, samples: u32, depth: u32, is_leaf: bool) {
        let samples = if is_leaf { u64::from(samples) } else { 0 };
        self.samples += samples;
        self.steps += samples * u64::from(depth);
        self.most = self.most.max(if is_leaf { depth } else { 0 });
    }

    /// The mean by samples, and the largest.
    fn finish(self) -> [u8; 2] {
        let mean = self.steps.checked_div(self.samples).unwrap_or(u64::from(self.most / 2));
        [mean.min(255) as u8, self.most.min(255) as u8]
    }
}
