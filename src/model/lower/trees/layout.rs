//! The arrays of the compact layout, tree after tree.
#![forbid(unsafe_code)]

use std::io::{self, Write};

use tempfile::SpooledTempFile;

use crate::format::dtype::Dtype;
use crate::format::{ArrayId, ArrayInfo, Order, Role};
use crate::model::lower::trees::nodes::{MISSING, Nodes};
use crate::model::lower::trees::place::{LINE, Placed, Placer, Words};
use crate::model::lower::trees::subtrees::Cut;
use crate::model::lower::{Staged, StagedData};
use crate::model::plan::compact::{CROWN_LEVELS, Crown, Node, Packing, SHARED};
use crate::model::plan::subtrees::{self, Subtree};
use crate::model::plan::{Encoding, Subtrees, TreeLayout};

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
    /// Until a tree cannot be cut.
    cuts: Option<Cuts>,
    any_shared: bool,
}

/// Trees cut into subtrees.
struct Cuts {
    below: Vec<[u32; 16]>,
    subtrees: SpooledTempFile,
    n_subtrees: u32,
    hops: u8,
}

impl Cuts {
    fn new() -> Self {
        Cuts { below: Vec::new(), subtrees: SpooledTempFile::new(SPOOL_BYTES), n_subtrees: 0, hops: 0 }
    }

    /// Adds a tree if it could be cut, and its leaf ids have room; they are where in `ids` those of its leaves say, or what they say.
    fn with(mut self, cut: Option<Cut>, ids: Option<&[u32]>) -> io::Result<Option<Self>> {
        let Some(mut cut) = cut else { return Ok(None) };
        let first = self.n_subtrees;
        let Some(end) = u32::try_from(cut.subtrees.len()).ok().and_then(|len| first.checked_add(len)) else {
            return Ok(None);
        };
        if let Some(ids) = ids
            && cut.subtrees.iter_mut().any(|subtree| subtrees::map_leaves(subtree, ids).is_none())
        {
            return Ok(None);
        }
        self.below.push(cut.below.map(|at| first + at));
        self.subtrees.write_all(bytemuck::cast_slice(&cut.subtrees))?;
        (self.n_subtrees, self.hops) = (end, self.hops.max(cut.hops));
        Ok(Some(self))
    }
}

impl Layout {
    /// For trees over `n_features` features, of at most `largest` nodes.
    pub(super) fn new(n_features: u32, largest: u64) -> Self {
        let packing = Packing::new(n_features);
        Layout {
            packing,
            wide: packing.needs_wide(largest + LINE as u64),
            nodes: SpooledTempFile::new(SPOOL_BYTES),
            origin: SpooledTempFile::new(SPOOL_BYTES),
            roots: vec![0],
            missing: Vec::new(),
            any_missing: false,
            depths: Vec::new(),
            crowns: Vec::new(),
            cuts: Some(Cuts::new()),
            any_shared: false,
        }
    }

    /// How trees are placed.
    pub(super) fn placer(&self) -> Placer {
        Placer::new(self.packing, self.wide)
    }

    /// Adds one tree, its nodes where `placed` has them. What is low in its leaves is their ids, or where in `ids` those are.
    pub(super) fn add(&mut self, tree: &Nodes, placed: Placed, ids: Option<&[u32]>) -> io::Result<()> {
        let Placed { words, mut numbers, depths, shared, cut } = placed;
        let start = self.roots.last().copied().unwrap_or(0);
        self.roots.push(start + numbers.len() as u64);
        self.depths.extend(depths);
        self.cuts = self.cuts.take().map_or(Ok(None), |cuts| cuts.with(cut, ids))?;
        match words {
            Words::Narrow(words) => self.add_words(words, ids),
            Words::Wide(words) => self.add_words(words, ids),
        }?;
        self.missing.resize((start + numbers.len() as u64).div_ceil(64) as usize, 0);
        if tree.any_missing() {
            self.add_missing(start, &mut numbers);
        }
        tree.to_origin(&mut numbers);
        self.any_shared |= !shared.is_empty();
        numbers[shared].fill(SHARED);
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
    pub(super) fn finish(mut self, leaves: Staged) -> LaidOut {
        let n_nodes = self.roots.last().copied().unwrap_or(0);
        // Subtrees of which many splits are missing take more lines than nodes do.
        let fits = |cuts: &Cuts| !self.wide && u64::from(cuts.n_subtrees) * LINE as u64 <= n_nodes;
        let cuts = self.cuts.take().filter(fits);
        let crowned = self.crowned() || cuts.is_some();
        let roots = bytemuck::cast_slice(&self.roots).to_vec();
        let node_shape = if self.wide { vec![n_nodes, 2] } else { vec![n_nodes] };
        let depths = vec![self.depths.len() as u64 / 2, 2];
        let mut arrays = vec![
            Staged::memory("roots", Dtype::U64, vec![self.roots.len() as u64], roots),
            spooled("nodes", Dtype::U64, node_shape, Role::Predict, self.nodes),
            spooled("origin", Dtype::U32, vec![n_nodes], Role::Rebuild, self.origin),
            Staged::memory("depths", Dtype::U8, depths, self.depths),
        ];
        let (wide, any_missing, shared) = (self.wide, self.any_missing, self.any_shared);
        if crowned {
            let crowns = bytemuck::cast_slice(&self.crowns).to_vec();
            arrays.push(Staged::memory("crowns", Dtype::U32, vec![self.crowns.len() as u64, 3, 16], crowns));
        }
        let hops = cuts.as_ref().map(|cuts| cuts.hops);
        let first_cut = arrays.len();
        if let Some(cuts) = cuts {
            let below = bytemuck::cast_slice(&cuts.below).to_vec();
            arrays.push(Staged::memory("below", Dtype::U32, vec![cuts.below.len() as u64, 16], below));
            let shape = vec![u64::from(cuts.n_subtrees), size_of::<Subtree>() as u64 / 4];
            arrays.push(spooled("subtrees", Dtype::U32, shape, Role::Predict, cuts.subtrees));
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
            subtrees: hops.map(|hops| Subtrees { below: ids[first_cut], subtrees: ids[first_cut + 1], hops }),
            missing: any_missing.then(|| ids[ids.len() - 2]),
            leaves: ids[ids.len() - 1],
            shared,
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
