//! The blocks of arrays, decoded and compared with their checksums.
#![forbid(unsafe_code)]

use std::ops::Range;

use crate::format::BLOCK;
use crate::format::codec::Storage;
use crate::format::codec::stream::{Decoder, Scratch};
use crate::format::table::{Block, Segment};
use crate::model::Model;

/// A block whose bytes are not those that were written.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error(
    "array `{}` is damaged: block {block} of {blocks} (bytes {start}..{end} of the file) {problem}",
    array.escape_debug()
)]
#[non_exhaustive]
pub struct Damage {
    /// Name of the array.
    pub array: String,
    /// Which block of the array, from 0.
    pub block: u64,
    /// Blocks of the array.
    pub blocks: u64,
    /// First byte of the block in the file.
    pub start: u64,
    /// The byte after its last.
    pub end: u64,
    /// What is wrong with it, and what to do.
    pub problem: String,
}

/// What to do about an archive of units.
const UNITS_ADVICE: &str = "an archive of versions is read in the folder where it was made; put back what is missing from a \
                            copy of that folder, or archive the model there again";

/// One block and where it lies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) segment: &'a Segment,
    pub(crate) number: u64,
    pub(crate) block: Block,
    pub(crate) start: u64,
}

impl Place<'_> {
    pub(crate) fn range(&self) -> Range<u64> {
        self.start..self.start + u64::from(self.block.stored_len)
    }

    /// Whether the block is stored otherwise than as it is.
    pub(crate) fn is_encoded(&self) -> bool {
        self.segment.storage == Storage::Units || self.block.stored_len as usize != self.decoded_len()
    }

    pub(crate) fn decoded_len(&self) -> usize {
        let start = self.number * BLOCK as u64;
        (self.segment.raw_len - start).min(BLOCK as u64) as usize
    }
}

impl<D: AsRef<[u8]>> Model<D> {
    /// The blocks of one array in order.
    pub(crate) fn places<'a>(&'a self, segment: &'a Segment) -> impl Iterator<Item = Place<'a>> {
        let segment = self.index().holder(segment);
        let mut start = segment.offset;
        self.index().blocks(segment).iter().enumerate().map(move |(number, &block)| {
            let place = Place { segment, number: number as u64, block, start };
            start += u64::from(block.stored_len);
            place
        })
    }

    /// Fills `out` with the decoded bytes of a block, and compares them with its checksums.
    pub(crate) fn decode(
        &self,
        place: &Place<'_>,
        out: &mut [u8],
        decoder: &mut Decoder,
    ) -> Result<(), Damage> {
        match place.segment.storage {
            Storage::Units => self.join_units(place, out, decoder)?,
            storage if place.is_encoded() => {
                let stored = self.stored(place)?;
                let decoded = match storage {
                    Storage::Filtered => decoder.streams(stored, out),
                    _ => decoder.frame(stored, out),
                };
                decoded.map_err(|problem| self.damage(place, &problem))?;
            }
            _ => out.copy_from_slice(self.bytes(place.range())),
        }
        self.check_crc(place, "decoded", place.block.crc, out)
    }

    /// The bytes of a block as they are in the file, compared with their checksum.
    pub(crate) fn stored(&self, place: &Place<'_>) -> Result<&[u8], Damage> {
        let stored = self.bytes(place.range());
        self.check_crc(place, "stored", place.block.stored_crc, stored)?;
        Ok(stored)
    }

    /// The decoded bytes of a block, compared with its checksums. `scratch` is used if it has to be decoded.
    pub(crate) fn checked<'a>(
        &'a self,
        place: &Place<'_>,
        scratch: &'a mut Scratch,
    ) -> Result<&'a [u8], Damage> {
        if place.is_encoded() {
            let Scratch { bytes, decoder } = scratch;
            bytes.resize(place.decoded_len(), 0);
            self.decode(place, bytes, decoder)?;
            return Ok(bytes);
        }
        self.stored(place)
    }

    fn check_crc(&self, place: &Place<'_>, what: &str, expected: u32, bytes: &[u8]) -> Result<(), Damage> {
        match crc32fast::hash(bytes) {
            found if found == expected => Ok(()),
            found => {
                Err(self.damage(place, &format!("has CRC32 {found:08x} as {what}, expected {expected:08x}")))
            }
        }
    }

    pub(crate) fn damage(&self, place: &Place<'_>, problem: &str) -> Damage {
        let Range { start, end } = place.range();
        let advice = match place.segment.storage {
            Storage::Units => UNITS_ADVICE,
            _ => "copy or convert the file again",
        };
        Damage {
            array: self.index().name(place.segment).to_owned(),
            block: place.number,
            blocks: self.index().blocks(place.segment).len() as u64,
            start,
            end,
            problem: format!("{problem}; {advice}"),
        }
    }
}
