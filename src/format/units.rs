//! Units: pieces of arrays that several archives share. An archive lists them, each is a file of its own.
//!
//! ```text
//! unit in a list                          file of a unit, named by its BLAKE3 in hexadecimal
//!      0   32  BLAKE3 of its bytes             0    8  magic: 89 4F 4E 55 0D 0A 1A 0A
//!     32  u32  how many they are               8  u32  bytes of the unit: 1 to 1 MiB
//!                                             12  u32  CRC32 of the stream
//!                                             16       stream
//! ```
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::io;
use std::ops::Range;

use rayon::ThreadPool;
use rayon::prelude::*;

use crate::format::BLOCK;
use crate::format::codec::pack::Packing;
use crate::format::codec::stream::{Decoder, STORED, Scratch};
use crate::format::digest::Digest;
use crate::format::packed::Blocks;
use crate::format::table::Block;
use crate::format::writer::WriteError;

/// Bytes of a unit in a list.
pub(crate) const UNIT_LEN: usize = 36;
/// Arrays shorter than this stay in the archive: a file for each would take more than it saves.
pub(crate) const SHARED_FROM: u64 = 16 << 10;
/// A block that would be more units than this becomes one again.
const MAX_UNITS: usize = 32;

const MAGIC: [u8; 8] = *b"\x89ONU\r\n\x1a\n";
const HEAD: usize = 16;

/// A piece of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Unit {
    pub(crate) digest: Digest,
    pub(crate) len: u32,
}

impl Unit {
    /// The unit of some bytes, at most a block of them.
    fn of(bytes: &[u8]) -> Self {
        Unit { digest: Digest(*blake3::hash(bytes).as_bytes()), len: bytes.len() as u32 }
    }

    /// The units that make up a block of `len` bytes.
    pub(crate) fn read_list(list: &[u8], len: usize) -> Result<Vec<Unit>, String> {
        let (items, rest) = list.as_chunks::<UNIT_LEN>();
        let unit = |item: &[u8; UNIT_LEN]| {
            let [digest @ .., a, b, c, d] = *item;
            Unit { digest: Digest(digest), len: u32::from_le_bytes([a, b, c, d]) }
        };
        let units: Vec<Unit> = items.iter().map(unit).collect();
        let sum: u64 = units.iter().map(|unit| u64::from(unit.len)).sum();
        if !rest.is_empty() || sum != len as u64 || units.iter().any(|unit| unit.len == 0) {
            return Err(format!(
                "lists {} units of {sum} bytes in {} bytes for {len}",
                units.len(),
                list.len()
            ));
        }
        Ok(units)
    }

    fn write_list(units: &[Unit]) -> Vec<u8> {
        units.iter().flat_map(|unit| unit.digest.0.into_iter().chain(unit.len.to_le_bytes())).collect()
    }

    /// The most that its file may take: a stream of which all is stored.
    pub(crate) fn max_file_len(&self) -> u64 {
        HEAD as u64 + 1 + u64::from(self.len)
    }

    /// Its file, if `stream` decodes to it; without one, its bytes as they are.
    fn file(&self, stream: Option<Vec<u8>>, bytes: &[u8]) -> Vec<u8> {
        let stream = stream.unwrap_or_else(|| [&[STORED], bytes].concat());
        let crc = crc32fast::hash(&stream).to_le_bytes();
        [&MAGIC[..], &self.len.to_le_bytes(), &crc, &stream].concat()
    }

    /// Decodes its file to its bytes, and compares them with its digest.
    pub(crate) fn decode(&self, file: &[u8], decoder: &mut Decoder, out: &mut [u8]) -> Result<(), String> {
        let (head, stream) =
            file.split_at_checked(HEAD).ok_or_else(|| format!("has {} bytes", file.len()))?;
        let (start, expected) = head.split_at(HEAD - 4);
        if start != [&MAGIC[..], &self.len.to_le_bytes()].concat() {
            return Err(format!("does not start as a unit of {} bytes does", self.len));
        }
        let found = crc32fast::hash(stream);
        if found.to_le_bytes() != expected {
            return Err(format!("has CRC32 {found:08x}, which is not the one that it says"));
        }
        decoder.streams(stream, out)?;
        match Unit::of(out).digest {
            found if found == self.digest => Ok(()),
            found => Err(format!("has BLAKE3 {found}")),
        }
    }
}

/// What holds units.
pub(crate) trait UnitStore: Sync {
    /// The units that older versions have at block `number` of an array of this name, or of this BLAKE3.
    fn older(&self, array: &str, digest: Digest, number: u64) -> Vec<Vec<Unit>>;
    /// Whether a unit is there, whole.
    fn has(&self, unit: &Unit, decoder: &mut Decoder) -> bool;
    /// Keeps a unit.
    fn put(&self, unit: &Unit, file: &[u8]) -> io::Result<()>;
    /// Sees to it that all that was kept stays.
    fn end(&self) -> io::Result<()>;
}

/// A block, cut into units.
pub(super) struct Cut {
    crc: u32,
    list: Vec<u8>,
    /// Those that are to be put into the store, and where they lie in the block.
    fresh: Vec<(Unit, Range<usize>)>,
}

impl Cut {
    /// Cuts a block where older versions have cut the same bytes. What is behind them is one unit more.
    pub(super) fn new(
        blocks: &Blocks<'_>,
        number: u64,
        store: &dyn UnitStore,
        scratch: &mut Scratch,
        decoder: &mut Decoder,
    ) -> Result<Self, WriteError> {
        let older = store.older(blocks.name, blocks.source.digest(), number);
        let bytes = blocks.read(number, scratch)?;
        let units = cut(bytes, &older);
        let mut fresh = Vec::new();
        let mut at = 0;
        for &unit in &units {
            let end = at + unit.len as usize;
            if !store.has(&unit, decoder) {
                fresh.push((unit, at..end));
            }
            at = end;
        }
        Ok(Cut { crc: crc32fast::hash(bytes), list: Unit::write_list(&units), fresh })
    }

    pub(super) fn is_known(&self) -> bool {
        self.fresh.is_empty()
    }

    /// Puts what is missing into the store.
    pub(super) fn keep(
        &self,
        blocks: &Blocks<'_>,
        number: u64,
        store: &dyn UnitStore,
        packing: &Packing,
        scratch: &mut Scratch,
    ) -> Result<(), WriteError> {
        let failed = |source| WriteError::Output { offset: 0, source };
        let mut packer = packing.packer();
        let bytes = blocks.read(number, scratch)?;
        for (unit, range) in &self.fresh {
            let piece = bytes.get(range.clone()).unwrap_or_default();
            let start = number * BLOCK as u64 + range.start as u64;
            let stream = packer.piece(packing, start, piece).map_err(failed)?;
            store.put(unit, &unit.file(stream, piece)).map_err(failed)?;
        }
        Ok(())
    }

    /// What the archive holds of it.
    pub(super) fn list(&self) -> &[u8] {
        &self.list
    }

    /// Its entry in the index.
    pub(super) fn block(&self) -> Block {
        let stored_crc = crc32fast::hash(&self.list);
        Block { crc: self.crc, stored_crc, stored_len: self.list.len() as u32 }
    }
}

/// Units that make up `bytes`: the longest start of one of the lists that they begin with, and one for the rest.
fn cut(bytes: &[u8], older: &[Vec<Unit>]) -> Vec<Unit> {
    let mut known: HashMap<Range<usize>, Unit> = HashMap::new();
    let mut unit_at = |range: Range<usize>| {
        let piece = bytes.get(range.clone())?;
        Some(*known.entry(range).or_insert_with(|| Unit::of(piece)))
    };
    let mut best = (0, &[][..]);
    for list in older {
        let mut end = 0;
        let same = |unit: &&Unit| {
            let found = unit_at(end..end + unit.len as usize) == Some(**unit);
            end += if found { unit.len as usize } else { 0 };
            found
        };
        let count = list.iter().take_while(same).count();
        if end > best.0 {
            best = (end, &list[..count]);
        }
    }
    let (end, shared) = best;
    let rest = bytes.get(end..).filter(|rest| !rest.is_empty()).map(Unit::of);
    if shared.len() >= MAX_UNITS && rest.is_some() {
        return vec![Unit::of(bytes)];
    }
    shared.iter().copied().chain(rest).collect()
}

/// Cuts some blocks and keeps their units.
pub(super) fn share(
    blocks: &Blocks<'_>,
    numbers: Range<u64>,
    store: &dyn UnitStore,
    packing: &mut dyn FnMut() -> Result<Packing, WriteError>,
    chosen: &mut Option<Packing>,
    threads: &ThreadPool,
) -> Result<Vec<Cut>, WriteError> {
    let start = || (Scratch::default(), Decoder::default());
    let cuts = threads.install(|| {
        let cut = |(scratch, decoder): &mut (Scratch, Decoder), number| {
            Cut::new(blocks, number, store, scratch, decoder)
        };
        numbers.clone().into_par_iter().map_init(start, cut).collect::<Result<Vec<Cut>, WriteError>>()
    })?;
    if cuts.iter().all(Cut::is_known) {
        return Ok(cuts);
    }
    if chosen.is_none() {
        *chosen = Some(packing()?);
    }
    if let Some(packing) = chosen {
        let keep = |scratch: &mut Scratch, (at, cut): (usize, &Cut)| {
            cut.keep(blocks, numbers.start + at as u64, store, packing, scratch)
        };
        let fresh = cuts.par_iter().enumerate().filter(|(_, cut)| !cut.is_known());
        threads.install(|| fresh.map_init(Scratch::default, keep).collect::<Result<(), WriteError>>())?;
    }
    Ok(cuts)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn units(pieces: &[&[u8]]) -> Vec<Unit> {
        pieces.iter().map(|piece| Unit::of(piece)).collect()
    }

    #[test]
    fn a_block_is_cut_where_an_older_version_has_cut_the_same_bytes() {
        let older = [units(&[b"oak", b"ash"]), units(&[b"oak", b"birch", b"fir"]), units(&[b"elm"])];
        assert_eq!(units(&[b"oak", b"birch", b"yew"]), cut(b"oakbirchyew", &older));
        assert_eq!(units(&[b"oak", b"ash"]), cut(b"oakash", &older));
        assert_eq!(units(&[b"oak"]), cut(b"oak", &older));
        assert_eq!(units(&[b"yewoak"]), cut(b"yewoak", &older));
        assert_eq!(units(&[b"yew"]), cut(b"yew", &[]));
    }

    #[test]
    fn a_block_of_many_pieces_becomes_one_when_more_follow() {
        let bytes: Vec<u8> = (0..40).collect();
        let older = bytes[..MAX_UNITS].chunks(1).map(Unit::of).collect::<Vec<_>>();
        assert_eq!(older, cut(&bytes[..MAX_UNITS], std::slice::from_ref(&older)));
        assert_eq!(units(&[&bytes]), cut(&bytes, &[older]));
    }

    #[test]
    fn a_list_adds_up_to_its_block() {
        let list = Unit::write_list(&units(&[b"oak", b"ash"]));
        assert_eq!(units(&[b"oak", b"ash"]), Unit::read_list(&list, 6).unwrap());
        assert!(Unit::read_list(&list, 7).is_err());
        assert!(Unit::read_list(&list[1..], 6).is_err());
        let mut empty = list;
        empty[32..36].fill(0);
        assert!(Unit::read_list(&empty, 3).is_err());
    }

    #[test]
    fn every_changed_byte_of_the_file_of_a_unit_is_found() {
        let bytes = b"to be or not to be".repeat(9);
        let unit = Unit::of(&bytes);
        let frame = [&[1][..], &zstd::bulk::compress(&bytes, 3).unwrap()].concat();
        for stream in [None, Some(frame)] {
            let file = unit.file(stream, &bytes);
            let decode = |file: &[u8]| {
                let mut out = vec![0; bytes.len()];
                unit.decode(file, &mut Decoder::default(), &mut out).map(|()| out)
            };
            assert!(file.len() as u64 <= unit.max_file_len());
            assert_eq!(Ok(bytes.clone()), decode(&file));
            for at in 0..file.len() {
                let mut file = file.clone();
                file[at] ^= 1;
                assert!(decode(&file).is_err(), "byte {at}");
                assert!(decode(&file[..at]).is_err(), "cut at {at}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in vec(any::<u8>(), 0..200), len in 0usize..300) {
            let _ = Unit::read_list(&bytes, len);
            let unit = Unit { len: len as u32, ..Unit::of(&bytes) };
            let file = unit.file(Some(bytes), &[]);
            prop_assert!(unit.decode(&file, &mut Decoder::default(), &mut vec![0; len]).is_err() || len == 0);
        }
    }
}
