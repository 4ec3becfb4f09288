//! Laying small trees out side by side.
#![forbid(unsafe_code)]

use crate::format::dtype::Dtype;
use crate::format::{ArrayId, ArrayInfo, Order, Role};
use crate::model::lower::trees::ensemble::{Ensemble, PlainKind, PlainTree, Test};
use crate::model::lower::trees::layout::LaidOut;
use crate::model::lower::{Staged, StagedData};
use crate::model::plan::lanes::{
    BLOCK, FEATURES, MIN_TREES, NAN_LEFT, NEVER, NODES, SPARE, THRESHOLDS, TREES, key, n_blocks,
};
use crate::model::plan::{Float, TreeLayout};

/// Depths of heaps.
const HEAPS: std::ops::RangeInclusive<u32> = 3..=6;

/// Lays trees out side by side, if they are such that this is faster than walking them one by one.
pub(super) fn lay_out(ensemble: &Ensemble) -> Option<LaidOut> {
    let covered = ensemble.n_features as usize <= FEATURES
        && ensemble.trees.len() >= MIN_TREES
        && !ensemble.zero_is_missing.contains(&true);
    if !covered {
        return None;
    }
    let shapes = ensemble.trees.iter().map(Shape::of).collect::<Option<Vec<_>>>()?;
    let heap = heap_depth(&shapes);
    let chunks = Chunk::all(ensemble)?;
    let ranks: usize = chunks.iter().map(Chunk::n_used).sum();
    if ranks == 0 || ranks > 2 * ensemble.trees.len() {
        return None;
    }
    let mut lanes = Lanes::new(heap);
    for chunk in &chunks {
        for group in chunk.groups.clone() {
            let trees = group * TREES..ensemble.trees.len().min((group + 1) * TREES);
            lanes.add(&ensemble.trees[trees.clone()], &shapes[trees], chunk);
        }
    }
    Some(lanes.finish(ensemble, &chunks))
}

/// The depth of heaps, if trees are so full that heaps are less work than their nodes one by one.
fn heap_depth(shapes: &[Shape]) -> Option<u32> {
    let depth = shapes.iter().map(|shape| shape.depth).max()?.max(*HEAPS.start());
    let places: usize =
        shapes.chunks(TREES).map(|group| group.iter().map(|shape| shape.leaves - 1).max().unwrap_or(0)).sum();
    let full = ((1 << depth.min(31)) - 1) * shapes.len().div_ceil(TREES);
    // A place of a heap takes 4 instructions, another 7.
    (HEAPS.contains(&depth) && full * 4 <= places * 7).then_some(depth)
}

/// How large a tree is.
struct Shape {
    depth: u32,
    leaves: usize,
}

impl Shape {
    /// `None` if the tree cannot be laid out side by side with others.
    fn of(tree: &PlainTree) -> Option<Self> {
        let mut shape = Shape { depth: 0, leaves: 0 };
        let mut stack = vec![(0u32, 0u32)];
        while let Some((at, depth)) = stack.pop() {
            match &tree.nodes[at as usize].kind {
                PlainKind::Leaf { .. } => {
                    shape.leaves += 1;
                    shape.depth = shape.depth.max(depth);
                }
                PlainKind::Split { test: Test::AtMost { threshold, .. }, left, right, .. } => {
                    if threshold.is_nan() {
                        return None;
                    }
                    stack.extend([(*left, depth + 1), (*right, depth + 1)]);
                }
                PlainKind::Split { .. } => return None,
            }
        }
        (shape.leaves <= NODES + 1).then_some(shape)
    }
}

/// Groups that share thresholds.
struct Chunk {
    groups: std::ops::Range<usize>,
    input: Float,
    /// Of every feature: distinct, ascending.
    thresholds: Vec<Vec<f64>>,
}

impl Chunk {
    /// As few as there can be; `None` if one group has too many thresholds.
    fn all(ensemble: &Ensemble) -> Option<Vec<Self>> {
        let mut chunks: Vec<Chunk> = Vec::new();
        for (group, trees) in ensemble.trees.chunks(TREES).enumerate() {
            let own = Chunk::of(ensemble, group, trees)?;
            match chunks.last_mut().and_then(|last| last.with(&own)) {
                Some(both) => *chunks.last_mut()? = both,
                None => chunks.push(own),
            }
        }
        Some(chunks)
    }

    fn of(ensemble: &Ensemble, group: usize, trees: &[PlainTree]) -> Option<Self> {
        let mut thresholds = vec![Vec::new(); ensemble.n_features as usize];
        for node in trees.iter().flat_map(|tree| &tree.nodes) {
            if let PlainKind::Split { test: Test::AtMost { feature, threshold }, .. } = node.kind {
                thresholds[feature as usize].push(compared(ensemble.input, threshold));
            }
        }
        thresholds.iter_mut().for_each(distinct);
        let fits = thresholds.iter().all(|own| own.len() <= THRESHOLDS);
        fits.then_some(Chunk { groups: group..group + 1, input: ensemble.input, thresholds })
    }

    /// The groups of both, if their thresholds together are few enough.
    fn with(&self, next: &Self) -> Option<Self> {
        let both = |(one, other): (&Vec<f64>, &Vec<f64>)| {
            let mut both = [one.as_slice(), other].concat();
            distinct(&mut both);
            (both.len() <= THRESHOLDS).then_some(both)
        };
        let thresholds = self.thresholds.iter().zip(&next.thresholds).map(both).collect::<Option<_>>()?;
        Some(Chunk { groups: self.groups.start..next.groups.end, input: self.input, thresholds })
    }

    /// Features that any tree asks.
    fn n_used(&self) -> usize {
        self.thresholds.iter().filter(|own| !own.is_empty()).count()
    }

    fn limit(&self, feature: u32, threshold: f64) -> i8 {
        let threshold = compared(self.input, threshold);
        key(self.thresholds[feature as usize].partition_point(|known| *known < threshold))
    }

    /// The blocks of every feature.
    fn blocks(&self) -> impl Iterator<Item = Vec<f64>> {
        self.thresholds.iter().map(|own| {
            let mut blocks = own.clone();
            blocks.resize(own.len().next_multiple_of(BLOCK), f64::INFINITY);
            if blocks.len() > BLOCK {
                let lasts = blocks.chunks(BLOCK).map(|block| block[BLOCK - 1]);
                let mut lasts: Vec<f64> = lasts.take(blocks.len() / BLOCK - 1).collect();
                lasts.resize(BLOCK, f64::INFINITY);
                blocks.splice(0..0, lasts);
            }
            debug_assert_eq!(n_blocks(own.len()) * BLOCK, blocks.len());
            blocks
        })
    }
}

fn distinct(thresholds: &mut Vec<f64>) {
    thresholds.sort_unstable_by(f64::total_cmp);
    thresholds.dedup();
}

/// The threshold that splits values of `input` in the same way. Adding zero turns -0.0 into 0.0, which compares the same.
fn compared(input: Float, threshold: f64) -> f64 {
    let rounded = threshold as f32;
    match input {
        Float::F64 => threshold + 0.0,
        Float::F32 if f64::from(rounded) > threshold => f64::from(rounded.next_down()) + 0.0,
        Float::F32 => f64::from(rounded) + 0.0,
    }
}

/// The arrays so far.
struct Lanes {
    heap: Option<u32>,
    groups: Vec<u32>,
    nodes: Vec<u8>,
    leaves: Vec<f64>,
    origin: Vec<u32>,
}

/// One of the 32 trees of a group.
struct Lane<'a> {
    tree: &'a PlainTree,
    chunk: &'a Chunk,
    lane: usize,
    nodes: &'a mut [u8],
    width: usize,
}

impl Lanes {
    fn new(heap: Option<u32>) -> Self {
        Lanes { heap, groups: vec![0], nodes: Vec::new(), leaves: Vec::new(), origin: Vec::new() }
    }

    fn width(&self) -> usize {
        if self.heap.is_some() { 2 } else { 3 }
    }

    fn add(&mut self, trees: &[PlainTree], shapes: &[Shape], chunk: &Chunk) {
        let places = match self.heap {
            Some(depth) => (1 << depth) - 1,
            None => shapes.iter().map(|shape| shape.leaves - 1).max().unwrap_or(0),
        };
        let width = self.width();
        let mut nodes = vec![0; places * width * TREES];
        for place in nodes.chunks_exact_mut(width * TREES) {
            place[TREES..2 * TREES].fill(NEVER as u8);
        }
        for (lane, tree) in trees.iter().enumerate() {
            let first = self.leaves.len();
            self.leaves.resize(first + places + 1, 0.0);
            self.origin.resize(first + places + 1, 0);
            let (leaves, origin) = (&mut self.leaves[first..], &mut self.origin[first..]);
            let mut lane = Lane { tree, chunk, lane, nodes: &mut nodes, width };
            match self.heap {
                Some(depth) => lane.heap(depth, leaves, origin),
                None => lane.ranges(leaves, origin),
            }
        }
        self.nodes.extend(nodes);
        self.groups.push((self.nodes.len() / (width * TREES)) as u32);
    }

    fn finish(self, ensemble: &Ensemble, chunks: &[Chunk]) -> LaidOut {
        let (mut thresholds, mut starts, mut ends) = (Vec::new(), vec![0u32], vec![0u32]);
        for chunk in chunks {
            for blocks in chunk.blocks() {
                thresholds.extend(blocks);
                starts.push((thresholds.len() / BLOCK) as u32);
            }
            ends.push(chunk.groups.end as u32);
        }
        let (heap, width) = (self.heap, self.width() as u64);
        let places = self.nodes.len() as u64 / (width * TREES as u64);
        let mut leaves = self.leaves;
        leaves.resize(leaves.len() + SPARE, 0.0);
        let n_blocks = (thresholds.len() / BLOCK) as u64;
        let arrays = vec![
            floats("thresholds", ensemble.input, vec![n_blocks, BLOCK as u64], &thresholds),
            numbers("starts", Role::Predict, &starts),
            numbers("chunks", Role::Predict, &ends),
            numbers("groups", Role::Predict, &self.groups),
            Staged::memory("nodes", Dtype::U8, vec![places, width, TREES as u64], self.nodes),
            floats("leaves", ensemble.leaves, vec![leaves.len() as u64], &leaves),
            numbers("origin", Role::Rebuild, &self.origin),
        ];
        let layout = move |ids: &[ArrayId]| TreeLayout::Lanes {
            heap,
            thresholds: ids[0],
            starts: ids[1],
            chunks: ids[2],
            groups: ids[3],
            nodes: ids[4],
            leaves: ids[5],
            origin: ids[6],
        };
        LaidOut { arrays, layout: Box::new(layout) }
    }
}

impl Lane<'_> {
    /// Puts a split at a place.
    fn split(&mut self, place: usize, feature: u32, threshold: f64, missing_left: bool, first: usize) {
        let at = |row: usize| (place * self.width + row) * TREES + self.lane;
        let (column, limit, leaf) = (at(0), at(1), at(self.width - 1));
        if self.width > 2 {
            self.nodes[leaf] = first as u8;
        }
        self.nodes[column] = feature as u8 | if missing_left { NAN_LEFT } else { 0 };
        self.nodes[limit] = self.chunk.limit(feature, threshold) as u8;
    }

    /// The children of node `at` are `2 * at` and `2 * at + 1`. Below a leaf that is not at the bottom, all leaves are alike.
    fn heap(&mut self, depth: u32, leaves: &mut [f64], origin: &mut [u32]) {
        let mut stack = vec![(0u32, 1usize, depth)];
        while let Some((node, at, height)) = stack.pop() {
            let node = &self.tree.nodes[node as usize];
            match &node.kind {
                PlainKind::Leaf { value } => {
                    let first = (at << height) - (1 << depth);
                    leaves[first..first + (1 << height)].fill(*value);
                    origin[first..first + (1 << height)].fill(node.origin);
                }
                PlainKind::Split { test: Test::AtMost { feature, threshold }, left, right, missing_left } => {
                    self.split(at - 1, *feature, *threshold, *missing_left, 0);
                    stack.extend([(*left, 2 * at, height - 1), (*right, 2 * at + 1, height - 1)]);
                }
                PlainKind::Split { .. } => unreachable!("the shape of trees with categories is refused"),
            }
        }
    }

    /// Nodes and leaves from left to right: a node stands behind the leaves below its left child.
    fn ranges(&mut self, leaves: &mut [f64], origin: &mut [u32]) {
        let mut found = 0;
        // A split comes twice: before its left child, and, with the first leaf below it, between its children.
        let mut stack = vec![(0u32, None)];
        while let Some((index, first)) = stack.pop() {
            let node = &self.tree.nodes[index as usize];
            match (&node.kind, first) {
                (PlainKind::Leaf { value }, _) => {
                    leaves[found] = *value;
                    origin[found] = node.origin;
                    found += 1;
                }
                (PlainKind::Split { left, .. }, None) => stack.extend([(index, Some(found)), (*left, None)]),
                (
                    PlainKind::Split {
                        test: Test::AtMost { feature, threshold }, right, missing_left, ..
                    },
                    Some(first),
                ) => {
                    self.split(found - 1, *feature, *threshold, *missing_left, first);
                    stack.push((*right, None));
                }
                (PlainKind::Split { .. }, _) => {
                    unreachable!("the shape of trees with categories is refused")
                }
            }
        }
    }
}

fn numbers(name: &'static str, role: Role, values: &[u32]) -> Staged {
    let info = ArrayInfo { dtype: Dtype::U32, shape: vec![values.len() as u64], order: Order::C };
    Staged { name, index: None, info, role, data: StagedData::Memory(bytemuck::cast_slice(values).to_vec()) }
}

/// `values` in `float`; those of `F32` convert exactly.
fn floats(name: &'static str, float: Float, shape: Vec<u64>, values: &[f64]) -> Staged {
    let (dtype, bytes) = match float {
        Float::F64 => (Dtype::F64, bytemuck::cast_slice(values).to_vec()),
        Float::F32 => {
            let values: Vec<f32> = values.iter().map(|value| *value as f32).collect();
            (Dtype::F32, bytemuck::cast_slice(&values).to_vec())
        }
    };
    Staged::memory(name, dtype, shape, bytes)
}
