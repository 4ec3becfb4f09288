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

/// Whether leaf values are counts, divided by their sum at prediction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Normalise {
    Yes,
    No,
}

/// The vectors that were added last, as stored, and their ids. Most leaves of classification trees hold one class.
#[derive(Default)]
struct Recent {
    known: [(Vec<[u8; 8]>, u32); 2],
    vector: Vec<f64>,
}

impl Recent {
    #[inline(always)]
    fn find(&self, row: &[[u8; 8]]) -> Option<u32> {
        let word = |bytes: &[u8; 8]| u64::from_le_bytes(*bytes);
        let is = |known: &[[u8; 8]]| {
            let pairs = known.get(..row.len()).map(|known| known.iter().zip(row));
            pairs.is_some_and(|pairs| pairs.fold(0, |all, (a, b)| all | word(a) ^ word(b)) == 0)
        };
        let [(first, first_id), (second, second_id)] = &self.known;
        let (is_first, is_second) = (is(first), is(second));
        (is_first | is_second).then_some(if is_first { *first_id } else { *second_id })
    }

    fn put(&mut self, row: &[[u8; 8]], id: u32) {
        self.known.swap(0, 1);
        let (known, known_id) = &mut self.known[0];
        known.clear();
        known.extend_from_slice(row);
        *known_id = id;
    }
}

/// The ids of leaves, of which there are `len`, and room for one more.
struct Ids {
    ids: Vec<u32>,
    len: usize,
}

/// Leaf value vectors, each stored once as far as memory allows.
pub(super) struct Leaves {
    n_classes: Vec<u64>,
    max_classes: usize,
    normalise: Normalise,
    /// Hash of the bits to the id of the first vector with that hash.
    known: FxHashMap<u64, u32>,
    /// The values of the first vectors, to compare with.
    values: Vec<f64>,
    file: SpooledTempFile,
    count: u32,
}

impl Leaves {
    pub(super) fn new(n_classes: Vec<u64>, max_classes: usize, normalise: Normalise) -> Self {
        Leaves {
            n_classes,
            max_classes,
            normalise,
            known: FxHashMap::default(),
            values: Vec::new(),
            file: SpooledTempFile::new(SPOOL_BYTES),
            count: 0,
        }
    }

    fn width(&self) -> usize {
        self.n_classes.len() * self.max_classes
    }

    /// Reads the values of one tree; gives the ids of its leaves, behind a 0. The part is in C order, `width` values a
    /// node.
    pub(super) fn add(
        &mut self,
        part: &ArrayPart,
        arrays: &dyn ArraySource,
        nodes: &Nodes,
    ) -> Result<Vec<u32>, Refusal> {
        let past_end = || io::Error::from(io::ErrorKind::UnexpectedEof);
        let (start, _) = byte_range(part, &Dtype::F64).ok_or_else(past_end)?;
        let width = self.width();
        let per_chunk = (CHUNK_BYTES / 8 / width).max(1);
        let mut buffer = Vec::new();
        let mut recent = Recent { vector: vec![0.0; width], ..Recent::default() };
        let mut ids = Ids { ids: vec![0; nodes.len() + 2], len: 1 };
        let mut first = 0;
        while first < nodes.len() {
            let count = per_chunk.min(nodes.len() - first);
            let start = start + (first * width * 8) as u64;
            let bytes = piece(part.array, start, count * width * 8, arrays, &mut buffer)?;
            let nodes = &nodes.packed()[first..first + count];
            let values = bytes.as_chunks::<8>().0;
            match width {
                1 => self.add_rows(values.as_chunks::<1>().0, nodes, &mut recent, &mut ids),
                2 => self.add_rows(values.as_chunks::<2>().0, nodes, &mut recent, &mut ids),
                3 => self.add_rows(values.as_chunks::<3>().0, nodes, &mut recent, &mut ids),
                _ => self.add_rows(values.chunks_exact(width), nodes, &mut recent, &mut ids),
            }?;
            first += count;
        }
        ids.ids.truncate(ids.len);
        Ok(ids.ids)
    }

    /// Adds the values of some nodes, of those that are leaves.
    #[inline(always)]
    fn add_rows<R: AsRef<[[u8; 8]]>>(
        &mut self,
        rows: impl IntoIterator<Item = R>,
        nodes: &[Packed],
        recent: &mut Recent,
        ids: &mut Ids,
    ) -> Result<(), Refusal> {
        for (row, node) in rows.into_iter().zip(nodes) {
            let row = row.as_ref();
            // Which nodes are leaves is hard to foresee; that a leaf holds what one had just before is not.
            let is_leaf = node.is_leaf();
            let found = if row.len() <= 3 || is_leaf { recent.find(row) } else { None };
            let mut id = found.unwrap_or(0);
            if is_leaf & found.is_none() {
                for (value, bytes) in recent.vector.iter_mut().zip(row) {
                    *value = f64::from_le_bytes(*bytes);
                }
                id = self.intern(&mut recent.vector)?;
                recent.put(row, id);
            }
            ids.ids[ids.len] = id;
            ids.len += usize::from(is_leaf);
        }
        Ok(())
    }

    pub(super) fn intern(&mut self, vector: &mut [f64]) -> Result<u32, Refusal> {
        if self.normalise == Normalise::Yes {
            for (output, &n_classes) in vector.chunks_exact_mut(self.max_classes).zip(&self.n_classes) {
                fractions(&mut output[..n_classes as usize]);
            }
        }
        let mut hasher = FxHasher::default();
        vector.iter().for_each(|value| hasher.write_u64(value.to_bits()));
        let hash = hasher.finish();
        let found = self.known.get(&hash).copied().filter(|&id| self.is(id, vector));
        if let Some(id) = found {
            return Ok(id);
        }
        self.store(hash, vector)
    }

    fn is(&self, id: u32, vector: &[f64]) -> bool {
        let start = id as usize * vector.len();
        let known = self.values.get(start..start + vector.len());
        known.is_some_and(|known| known.iter().zip(vector).all(|(a, b)| a.to_bits() == b.to_bits()))
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

/// Divides by the sum, as `predict_proba` did when leaves held counts.
fn fractions(counts: &mut [f64]) {
    let sum = pairwise_sum(counts);
    let divisor = if sum == 0.0 { 1.0 } else { sum };
    counts.iter_mut().for_each(|count| *count /= divisor);
}
