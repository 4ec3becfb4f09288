//! The table of distinct leaf values.
#![forbid(unsafe_code)]

use std::hash::Hasher;
use std::io::{self, Write};

use rustc_hash::{FxHashMap, FxHasher};
use tempfile::SpooledTempFile;

use crate::format::dtype::Dtype;
use crate::format::{ArrayInfo, Order, Role};
use crate::model::array::ArraySource;
use crate::model::graph::ArrayPart;
use crate::model::graph::read::byte_range;
use crate::model::lower::trees::Shape;
use crate::model::lower::trees::layout::SPOOL_BYTES;
use crate::model::lower::trees::nodes::{Nodes, Packed, piece};
use crate::model::lower::{Refusal, Staged, StagedData};
use crate::model::numerics::pairwise_sum;

/// Bytes of values read at once, at least one node's.
const CHUNK_BYTES: usize = 1 << 18;
/// Values kept in memory to find equal ones; later ones are stored without looking.
const MAX_KNOWN_BYTES: usize = 32 << 20;
/// Vectors kept to find equal ones: with what the map needs, about 50 MB.
const MAX_KNOWN: usize = 1_800_000;
/// The first vectors of a tree, among which equal ones are looked for.
const KEPT: u32 = 64;
/// Slots to find them by.
const SLOTS: usize = 256;

/// Whether leaf values are counts, divided by their sum at prediction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Normalise {
    Yes,
    No,
}

/// The leaf vectors of one tree, in the order in which leaves have them first. Those that are equal to one of the first are stored once.
pub(super) struct TreeLeaves {
    width: usize,
    values: Vec<f64>,
}

impl TreeLeaves {
    /// Reads the values of one tree, and tells its leaves which vector they have. The part is in C order.
    pub(super) fn read(
        part: &ArrayPart,
        arrays: &dyn ArraySource,
        nodes: &mut Nodes,
        shape: &Shape,
    ) -> Result<Self, Refusal> {
        let past_end = || io::Error::from(io::ErrorKind::UnexpectedEof);
        let (start, _) = byte_range(part, &Dtype::F64).ok_or_else(past_end)?;
        let width = shape.width() as usize;
        let per_chunk = (CHUNK_BYTES / 8 / width).max(1);
        let mut buffer = Vec::new();
        let mut found = Found::new(shape);
        let mut first = 0;
        while first < nodes.len() {
            let count = per_chunk.min(nodes.len() - first);
            let start = start + (first * width * 8) as u64;
            let bytes = piece(part.array, start, count * width * 8, arrays, &mut buffer)?;
            let nodes = &mut nodes.packed_mut()[first..first + count];
            let values = bytes.as_chunks::<8>().0;
            match width {
                1 => found.rows(values.as_chunks::<1>().0, nodes),
                2 => found.rows(values.as_chunks::<2>().0, nodes),
                3 => found.rows(values.as_chunks::<3>().0, nodes),
                _ => found.rows(values.chunks_exact(width), nodes),
            }
            first += count;
        }
        Ok(TreeLeaves { width, values: found.values })
    }
}

/// Vectors of a tree so far, and where some of them are.
struct Found<'a> {
    shape: &'a Shape,
    values: Vec<f64>,
    count: u32,
    recent: Recent,
    /// Positions of the first vectors, by hash.
    slots: [Option<u32>; SLOTS],
}

impl<'a> Found<'a> {
    fn new(shape: &'a Shape) -> Self {
        Found { shape, values: Vec::new(), count: 0, recent: Recent::default(), slots: [None; SLOTS] }
    }

    /// The values of some nodes, of which those that are leaves are told where theirs are.
    #[inline(always)]
    fn rows<R: AsRef<[[u8; 8]]>>(&mut self, rows: impl IntoIterator<Item = R>, nodes: &mut [Packed]) {
        for (row, node) in rows.into_iter().zip(nodes) {
            let row = row.as_ref();
            // Which nodes are leaves is hard to foresee; that a leaf holds what one had just before is not.
            let is_leaf = node.is_leaf();
            let found = if row.len() <= 3 || is_leaf { self.recent.find(row) } else { None };
            let mut position = found.unwrap_or(0);
            if is_leaf & found.is_none() {
                position = self.add(row);
                self.recent.put(row, position);
            }
            node.low = if is_leaf { position } else { node.low };
        }
    }

    fn add(&mut self, row: &[[u8; 8]]) -> u32 {
        let first = self.values.len();
        self.values.extend(row.iter().map(|bytes| f64::from_le_bytes(*bytes)));
        self.shape.normalise(&mut self.values[first..]);
        let (known, vector) = self.values.split_at(first);
        // There is always a free slot, as `KEPT` are fewer.
        let mut slot = slot(vector);
        while let Some(position) = self.slots[slot] {
            let start = position as usize * row.len();
            if known.get(start..start + row.len()).is_some_and(|known| is_same(known, vector)) {
                self.values.truncate(first);
                return position;
            }
            slot = (slot + 1) % SLOTS;
        }
        let position = self.count;
        if position < KEPT {
            self.slots[slot] = Some(position);
        }
        self.count += 1;
        position
    }
}

/// The vectors that were added last, as they were read, and their positions. Most leaves of classification trees hold one class.
#[derive(Default)]
struct Recent {
    known: [(Vec<[u8; 8]>, u32); 2],
}

impl Recent {
    #[inline(always)]
    fn find(&self, row: &[[u8; 8]]) -> Option<u32> {
        let word = |bytes: &[u8; 8]| u64::from_le_bytes(*bytes);
        let is = |known: &[[u8; 8]]| {
            let pairs = known.get(..row.len()).map(|known| known.iter().zip(row));
            pairs.is_some_and(|pairs| pairs.fold(0, |all, (a, b)| all | word(a) ^ word(b)) == 0)
        };
        let [(first, first_at), (second, second_at)] = &self.known;
        let (is_first, is_second) = (is(first), is(second));
        (is_first | is_second).then_some(if is_first { *first_at } else { *second_at })
    }

    fn put(&mut self, row: &[[u8; 8]], position: u32) {
        self.known.swap(0, 1);
        let (known, at) = &mut self.known[0];
        known.clear();
        known.extend_from_slice(row);
        *at = position;
    }
}

/// Leaf value vectors, each stored once as far as memory allows.
pub(super) struct Leaves {
    /// Hash of the bits to the id of the first vector with that hash.
    known: FxHashMap<u64, u32>,
    /// The values of the first vectors, to compare with.
    values: Vec<f64>,
    file: SpooledTempFile,
    count: u32,
}

impl Leaves {
    pub(super) fn new() -> Self {
        Leaves {
            known: FxHashMap::default(),
            values: Vec::new(),
            file: SpooledTempFile::new(SPOOL_BYTES),
            count: 0,
        }
    }

    /// The ids of the vectors of one tree.
    pub(super) fn add(&mut self, tree: &TreeLeaves) -> Result<Vec<u32>, Refusal> {
        tree.values.chunks_exact(tree.width).map(|vector| self.intern(vector)).collect()
    }

    /// The id of a vector.
    pub(super) fn intern(&mut self, vector: &[f64]) -> Result<u32, Refusal> {
        let hash = hash(vector);
        let found = self.known.get(&hash).copied().filter(|&id| self.is(id, vector));
        if let Some(id) = found {
            return Ok(id);
        }
        self.store(hash, vector)
    }

    fn is(&self, id: u32, vector: &[f64]) -> bool {
        let start = id as usize * vector.len();
        let known = self.values.get(start..start + vector.len());
        known.is_some_and(|known| is_same(known, vector))
    }

    fn store(&mut self, hash: u64, vector: &[f64]) -> Result<u32, Refusal> {
        let id = self.count;
        self.count = id.checked_add(1).ok_or_else(|| Refusal::uncovered("it has too many leaves"))?;
        for value in vector {
            self.file.write_all(&value.to_le_bytes())?;
        }
        // Only a run of vectors from the first is kept, so that an id says where its values are.
        let room = self.known.len() < MAX_KNOWN && (self.values.len() + vector.len()) * 8 <= MAX_KNOWN_BYTES;
        if room && self.values.len() == id as usize * vector.len() {
            self.values.extend_from_slice(vector);
            self.known.entry(hash).or_insert(id);
        }
        Ok(id)
    }

    pub(super) fn finish(self, width: u64) -> Staged {
        let info =
            ArrayInfo { dtype: Dtype::F64, shape: vec![u64::from(self.count), width], order: Order::C };
        Staged { name: "leaves", index: None, info, role: Role::Predict, data: StagedData::Spool(self.file) }
    }
}

fn hash(vector: &[f64]) -> u64 {
    let mut hasher = FxHasher::default();
    vector.iter().for_each(|value| hasher.write_u64(value.to_bits()));
    hasher.finish()
}

/// Where a vector is looked for: hashes of round numbers differ in few bits, which the product brings to the top.
fn slot(vector: &[f64]) -> usize {
    (hash(vector).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - SLOTS.ilog2())) as usize
}

/// Whether all bits are the same.
fn is_same(a: &[f64], b: &[f64]) -> bool {
    a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
}

/// Divides by the sum, as `predict_proba` did when leaves held counts.
pub(super) fn fractions(counts: &mut [f64]) {
    let sum = pairwise_sum(counts);
    let divisor = if sum == 0.0 { 1.0 } else { sum };
    counts.iter_mut().for_each(|count| *count /= divisor);
}
