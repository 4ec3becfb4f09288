//! An array on its way into blocks: a sample of it, the choice, block after block.
#![forbid(unsafe_code)]

use std::io;
use std::ops::Range;

use crate::format::codec::choose::{Choice, choose, row_len};
use crate::format::codec::recipe::{Recipe, Streams};
use crate::format::codec::stream::Scratch;
use crate::format::codec::zstd::Encoder;
use crate::format::codec::{Level, Trials};
use crate::format::{ArrayInfo, BLOCK};

/// Places of an array that a sample is taken from.
const PLACES: u64 = 4;
/// Arrays shorter than this are compressed without asking how.
const MIN_SAMPLE: u64 = 64;
/// Level `fast` looks at this part of an array, but at no less than so many bytes.
const FAST_PART: u64 = 16;
const FAST_LEAST: u64 = 16 << 10;

/// Reads bytes of an array.
pub(crate) type ReadRange<'a> = &'a dyn Fn(Range<u64>) -> io::Result<Vec<u8>>;

/// What makes blocks in one thread, of one array after the other.
pub(crate) struct Packer {
    streams: Streams,
    /// At the level of trials, if that is another one.
    trials: Option<Streams>,
    pub(crate) scratch: Scratch,
}

impl Packer {
    pub(crate) fn new(level: Level) -> Self {
        let trials = level.trial_zstd();
        let trials = (trials != level.zstd()).then(|| Streams::new(Encoder::new(trials)));
        let zstd = match level {
            Level::Fast => Encoder::fast(),
            Level::Default | Level::Best => Encoder::new(level.zstd()),
        };
        Packer { streams: Streams::new(zstd), trials, scratch: Scratch::default() }
    }

    /// The stored form of block `number`; `None` if it is stored as it is.
    pub(crate) fn block(
        &mut self,
        packing: &Packing,
        number: u64,
        block: &[u8],
    ) -> io::Result<Option<Vec<u8>>> {
        match &packing.whole {
            Some(whole) => Ok(Some(whole.clone())),
            None => self.piece(packing, number * BLOCK as u64, block),
        }
    }

    /// The stored form of a piece of a block, from byte `start` of the array on.
    pub(crate) fn piece(
        &mut self,
        packing: &Packing,
        start: u64,
        piece: &[u8],
    ) -> io::Result<Option<Vec<u8>>> {
        let lead = match &packing.recipe {
            Recipe::Columns { record, .. } => {
                let record = *record as u64;
                ((record - start % record) % record) as usize
            }
            _ => 0,
        };
        self.streams.block(&packing.recipe, piece, lead.min(piece.len()))
    }
}

/// How the blocks of one array are made.
#[derive(Default)]
pub(crate) struct Packing {
    recipe: Recipe,
    /// The only block, if it was the sample.
    whole: Option<Vec<u8>>,
    level: Level,
    pub(crate) trials: Trials,
}

impl Packing {
    /// What makes pieces of this array in one thread.
    pub(crate) fn packer(&self) -> Packer {
        Packer::new(self.level)
    }

    /// Tries ways on a sample of an array of `len` bytes.
    pub(crate) fn choose(
        info: &ArrayInfo,
        len: u64,
        level: Level,
        packer: &mut Packer,
        read: ReadRange<'_>,
    ) -> io::Result<Self> {
        if len < MIN_SAMPLE {
            return Ok(Packing { level, ..Packing::default() });
        }
        let sample = sample(info, len, level, read)?;
        let is_whole = packer.trials.is_none() && sample.len() as u64 == len && sample.len() <= BLOCK;
        let streams = packer.trials.as_mut().unwrap_or(&mut packer.streams);
        let Choice { recipe, trials, stream } = choose(info, &sample, level, streams)?;
        Ok(Packing { recipe, whole: stream.filter(|_| is_whole), level, trials })
    }
}

/// Whole rows from several places of the array, end to end.
fn sample(info: &ArrayInfo, len: u64, level: Level, read: ReadRange<'_>) -> io::Result<Vec<u8>> {
    let most = match level {
        Level::Fast => (len / FAST_PART).clamp(FAST_LEAST, level.sample() as u64),
        Level::Default | Level::Best => level.sample() as u64,
    };
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
