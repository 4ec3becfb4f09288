//! Giving the nodes of a tree their places in the compact layout.
//!
//! Siblings are adjacent, and a line of the cache holds four pairs of them. A line is filled with a pair and the most
//! visited ones below it, so that a walk goes several steps within a line; trees begin at lines. Visits are
//! counted by training samples.
//!
//! A third of the nodes of a deep tree are pairs of leaves below one split, and where leaves hold classes, few pairs are
//! different. Such a pair is stored once, at the end of the tree, and all splits above one lead there.
#![forbid(unsafe_code)]

use std::hint::black_box;
use std::ops::Range;

use crate::model::lower::trees::nodes::{Nodes, Packed};
use crate::model::lower::trees::subtrees::Cut;
use crate::model::plan::compact::{Node, Packing};

/// Nodes in a line of the cache.
pub(super) const LINE: usize = 8;
/// No node: a leaf that nothing leads to.
const EMPTY: u32 = u32::MAX;

/// The nodes of a tree in their new order.
pub(super) struct Placed {
    /// As they will be stored, if their leaves have their ids.
    pub(super) words: Words,
    /// Their numbers in the foreign tree, with [`MISSING`] if NaN goes left; 0 where there is none.
    ///
    /// [`MISSING`]: super::nodes::MISSING
    pub(super) numbers: Vec<u32>,
    /// The mean depth of training samples, and the largest of a leaf.
    pub(super) depths: [u8; 2],
    /// Where the shared pairs of leaves are.
    pub(super) shared: Range<usize>,
    /// The tree once more, if it can be cut. What is low in its leaves is their id there.
    pub(super) cut: Option<Cut>,
}

/// Nodes of either size.
pub(super) enum Words {
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

    pub(super) fn new(packing: Packing, wide: bool) -> Self {
        Placer { packing, wide }
    }

    /// Gives every node its place.
    pub(super) fn place(self, tree: &Nodes) -> Placed {
        if self.wide {
            place(tree, self.packing, Words::Wide)
        } else {
            place(tree, self.packing, Words::Narrow)
        }
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

fn place<N: Node>(tree: &Nodes, packing: Packing, words: impl FnOnce(Vec<N>) -> Words) -> Placed {
    let mut placing = Placing::new(tree, packing);
    placing.pair([0, EMPTY], 0);
    let mut stack: Vec<Open> = Vec::with_capacity(64);
    stack.extend_from_slice(placing.take_within());
    while let Some(first) = stack.pop() {
        placing.open(first);
        for _ in 0..(LINE - placing.words.len() % LINE) / 2 {
            let Some(open) = placing.most_visited() else { break };
            placing.close(open);
        }
        let within = placing.take_within();
        within.sort_by_key(|open| open.samples);
        stack.extend_from_slice(within);
    }
    let shared = placing.share();
    while !placing.words.len().is_multiple_of(LINE) {
        placing.pair([EMPTY; 2], 0);
    }
    black_box(placing.ahead);
    let depths = placing.depths.finish();
    let cut = Cut::of(tree, depths[1], packing.leaf_feature());
    Placed { words: words(placing.words), numbers: placing.numbers, depths, shared, cut }
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
    pairs: Option<LeafPairs>,
    /// Means nothing: what it is made of has been brought into the cache.
    ahead: u32,
}

impl<'a, N: Node> Placing<'a, N> {
    fn new(tree: &'a Nodes, packing: Packing) -> Self {
        let room = tree.len() + LINE;
        Placing {
            tree,
            packing,
            words: Vec::with_capacity(room),
            numbers: Vec::with_capacity(room),
            within: [Open::default(); WITHIN + 2],
            n_within: 0,
            depths: Depths::default(),
            pairs: LeafPairs::of(tree),
            ahead: 0,
        }
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
            if self.shared_pair(at + place as u32, number, *node, depth) {
                numbers[place] |= node.missing();
                continue;
            }
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

    /// Whether the node that is placed at `at` is a split above a shared pair of leaves.
    #[inline(always)]
    fn shared_pair(&mut self, at: u32, number: u32, node: Packed, depth: u32) -> bool {
        let Some(pairs) = &mut self.pairs else { return false };
        if node.is_leaf() || !self.tree.leaves_follow(number) {
            return false;
        }
        let [left, right] = self.tree.children(number).map(|child| self.tree.packed()[child as usize]);
        if left.low.max(right.low) >= PAIRED as u32 {
            return false;
        }
        pairs.add(at, number, [left.low, right.low]);
        self.depths.node(left.samples, depth + 1, true);
        self.depths.node(right.samples, depth + 1, true);
        true
    }

    /// Places the shared pairs, and leads splits to them.
    fn share(&mut self) -> Range<usize> {
        let first = self.words.len();
        let Some(pairs) = self.pairs.take() else { return first..first };
        let leaf = |low: &u32| N::pack(self.packing, *low, self.packing.leaf_feature(), 0);
        self.words.extend(pairs.different.as_flattened().iter().map(leaf));
        self.numbers.resize(self.words.len(), 0);
        for (at, number, pair) in pairs.splits {
            let node = self.tree.packed()[number as usize];
            let distance = (first + 2 * pair as usize) as u64 - u64::from(at);
            self.words[at as usize] = N::pack(self.packing, node.low, node.feature(), distance);
        }
        first..self.words.len()
    }
}

/// Values, the first of a tree, whose pairs are shared: 4 KiB of pairs at most. Others are seldom equal.
const PAIRED: usize = 16;
/// Pairs are shared in trees where all leaves have one of these values; or at least so many, and one in four.
const PAYS: usize = 64;

/// Pairs of leaves that splits share.
struct LeafPairs {
    /// Where in `different` the pair of two values is, counted from 1; 0 if nowhere.
    known: [[u16; PAIRED]; PAIRED],
    /// The values of each pair.
    different: Vec<[u32; 2]>,
    /// Places and numbers of the splits above, and where in `different` their pairs are.
    splits: Vec<(u32, u32, u32)>,
}

impl LeafPairs {
    /// None yet; not for a tree where few leaves have the same values.
    fn of(tree: &Nodes) -> Option<Self> {
        let leaves = tree.len().div_ceil(2);
        let is_known = |node: &&Packed| node.is_leaf() & (node.low < PAIRED as u32);
        let known = tree.packed().iter().filter(is_known).count();
        (known == leaves || known >= PAYS.max(leaves / 4)).then(|| LeafPairs {
            known: [[0; PAIRED]; PAIRED],
            different: Vec::new(),
            splits: Vec::with_capacity(tree.len() / 4),
        })
    }

    /// The split `number` at `at` will lead to this pair.
    #[inline(always)]
    fn add(&mut self, at: u32, number: u32, pair: [u32; 2]) {
        let known = &mut self.known[pair[0] as usize][pair[1] as usize];
        if *known == 0 {
            self.different.push(pair);
            *known = self.different.len() as u16;
        }
        self.splits.push((at, number, u32::from(*known) - 1));
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
