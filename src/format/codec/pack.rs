//! An array on its way into blocks: a sample of it, the choice, block after block.
#![forbid(unsafe_code)]

use std::io;
use std::ops::Range;

use crate::format::codec::choose::{Choice, choose, row_len};
use crate::format::codec::recipe::{Recipe, Streams};
use crate::format::codec::{Level, Trials};
use crate::format::{ArrayInfo, BLOCK};

/// Places of an array that a sample is taken from.
const PLACES: u64 = 4;
/// Arrays shorter than this are compressed without asking how.
const MIN_SAMPLE: u64 = 64;

/// Reads bytes of an array.
pub(crate) type ReadRange<'a> = &'a dyn Fn(Range<u64>) -> io::Result<Vec<u8>>;

/// How the blocks of one array are made.
pub(crate) struct Packing {
    recipe: Recipe,
    level: i32,
    pub(crate) trials: Trials,
}

impl Packing {
    /// Tries ways on a sample of an array of `len` bytes.
    pub(crate) fn choose(info: &ArrayInfo, len: u64, level: Level, read: ReadRange<'_>) -> io::Result<Self> {
        let zstd = level.zstd();
        if len < MIN_SAMPLE {
            return Ok(Packing { recipe: Recipe::Stored, level: zstd, trials: Trials::default() });
        }
        let sample = sample(info, len, level, read)?;
        let Choice { recipe, trials } = choose(info, &sample, level)?;
        Ok(Packing { recipe, level: zstd, trials })
    }

    /// What makes blocks in one thread.
    pub(crate) fn packer(&self) -> Packer<'_> {
        Packer { packing: self, streams: Streams::new(self.level) }
    }
}

/// Makes blocks of an array.
pub(crate) struct Packer<'a> {
    packing: &'a Packing,
    streams: Streams,
}

impl Packer<'_> {
    /// The stored form of block `number`; `None` if it is stored as it is.
    pub(crate) fn block(&mut self, number: u64, block: &[u8]) -> io::Result<Option<Vec<u8>>> {
        self.piece(number * BLOCK as u64, block)
    }

    /// The stored form of a piece of a block, from byte `start` of the array on.
    pub(crate) fn piece(&mut self, start: u64, piece: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let lead = match &self.packing.recipe {
            Recipe::Columns { record, .. } => {
                let record = *record as u64;
                ((record - start % record) % record) as usize
            }
            _ => 0,
        };
        self.streams.block(&self.packing.recipe, piece, lead.min(piece.len()))
    }
}

/// Whole rows from several places of the array, end to end.
fn sample(info: &ArrayInfo, len: u64, level: Level, read: ReadRange<'_>) -> io::Result<Vec<u8>> {
    let most = level.sample() as u64;
    if len <= most {
        return read(0..len);
    }
    let row = (row_len(info) as u64).max(1);
    let unit = if row > most / PLACES { 1 } else { row };
    let piece = most / PLACES / unit * unit;
    let mut sample = Vec::with_capacity(most as usize);
    for place in 0..PLACES {
        let start = (len - piece) / (PLACES - 1) * place / unit * unit;
        sample.extend(read(start..start + piece)?);
    }
    Ok(sample)
}
