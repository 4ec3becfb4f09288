//! Writing arrays in filtered blocks, which archives consist of.
#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{self, Seek, Write};
use std::mem;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use rayon::prelude::*;

use crate::format::codec::pack::{Packer, Packing};
use crate::format::codec::stream::Scratch;
use crate::format::codec::{Codec, Level, Storage, Trials};
use crate::format::digest::Digest;
use crate::format::hashes::{ArrayHash, BlockHash};
use crate::format::header::{INCOMPAT_COPIES, INCOMPAT_FILTERED, INCOMPAT_PARTS, INCOMPAT_UNITS};
use crate::format::lanes::NewArray;
use crate::format::parts::pack;
use crate::format::table::{Block, Stored, alignment};
use crate::format::units::{SHARED_FROM, UnitStore, share};
use crate::format::writer::{Parts, WriteError, Writer};
use crate::format::{ArrayId, BLOCK};

/// Arrays shorter than this are not looked up among those before them.
const MIN_COPY: u64 = 64;

/// An array whose blocks can be read in any order.
pub(crate) trait BlockSource: Sync {
    /// BLAKE3 of its bytes, as far as it is known.
    fn digest(&self) -> Digest;
    /// Whether this process has computed that digest itself, from these bytes.
    fn is_hashed(&self) -> bool;
    /// The bytes of block `number`, compared with its checksums.
    fn block<'a>(&'a self, number: u64, scratch: &'a mut Scratch) -> io::Result<&'a [u8]>;
    /// CRC32 of the bytes of block `number`.
    fn crc(&self, number: u64) -> u32;
    /// Some bytes, compared with nothing; `None` if they would have to be decoded.
    fn peek(&self, range: Range<u64>) -> Option<&[u8]>;
    /// Is told of bytes that are done with.
    fn done(&self, bytes: usize);
}

/// What is known of the arrays of an archive that is being written.
pub(crate) struct PackedArrays {
    level: Level,
    /// Arrays with bytes of their own, by digest and length.
    known: HashMap<([u8; 32], u64), ArrayId>,
    /// One for each thread.
    packers: Vec<Mutex<Packer>>,
}

impl PackedArrays {
    fn packer(&self) -> MutexGuard<'_, Packer> {
        let own = rayon::current_thread_index().unwrap_or(0) % self.packers.len();
        self.packers[own].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The blocks of one array.
pub(super) struct Blocks<'a> {
    pub(super) name: &'a str,
    len: u64,
    pub(super) source: &'a dyn BlockSource,
}

impl Blocks<'_> {
    fn count(&self) -> u64 {
        self.len.div_ceil(BLOCK as u64)
    }

    pub(super) fn read<'a>(&'a self, number: u64, scratch: &'a mut Scratch) -> Result<&'a [u8], WriteError> {
        self.source.block(number, scratch).map_err(|source| self.error(number, source))
    }

    fn error(&self, number: u64, source: io::Error) -> WriteError {
        WriteError::Input { array: self.name.to_owned(), offset: number * BLOCK as u64, source }
    }

    fn range(&self, range: Range<u64>) -> io::Result<Vec<u8>> {
        if let Some(bytes) = self.source.peek(range.clone()) {
            return Ok(bytes.to_vec());
        }
        let mut bytes = Vec::with_capacity((range.end - range.start) as usize);
        let mut scratch = Scratch::default();
        let mut at = range.start;
        while at < range.end {
            let number = at / BLOCK as u64;
            let start = number * BLOCK as u64;
            let block = self.source.block(number, &mut scratch)?;
            let end = (start + block.len() as u64).min(range.end);
            let piece = block.get((at - start) as usize..(end - start) as usize);
            bytes.extend_from_slice(
                piece.filter(|piece| !piece.is_empty()).ok_or(io::ErrorKind::UnexpectedEof)?,
            );
            at = end;
        }
        Ok(bytes)
    }
}

impl<W: Write + Seek + Send> Writer<W> {
    /// Starts an archive, whose arrays come through [`packed`](Self::packed).
    ///
    /// # Errors
    ///
    /// [`WriteError::Output`] if `out` cannot seek.
    pub(crate) fn packing(out: W, level: Level) -> Result<Self, WriteError> {
        let mut writer = Writer::new(out, Codec::Raw)?;
        writer.features = INCOMPAT_PARTS;
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let packers = (0..threads).map(|_| Mutex::new(Packer::new(level))).collect();
        writer.packing = Some(PackedArrays { level, known: HashMap::new(), packers });
        Ok(writer)
    }

    /// Stores one array in filtered blocks, or, if it is long enough for `units`, in those; or notes that it is the same as one
    /// before it.
    ///
    /// # Errors
    ///
    /// [`WriteError`]; the file cannot be finished after that.
    pub(crate) fn packed(
        &mut self,
        array: &NewArray<'_>,
        source: &dyn BlockSource,
        units: Option<&dyn UnitStore>,
    ) -> Result<ArrayId, WriteError> {
        let len = self.check(array.name, array.info)?;
        self.names.insert(array.name.to_owned());
        let offset = self.out.align(alignment(Storage::Filtered, len))?;
        let blocks = Blocks { name: array.name, len, source };
        let same = self.same_as(&blocks);
        let stored = match same {
            Some(id) => {
                self.features |= INCOMPAT_COPIES;
                let digest = if source.is_hashed() { source.digest() } else { hash(&blocks)? };
                let (storage, trials) = (Storage::Copy, Trials::default());
                let copy_of = Some(id);
                Stored {
                    storage,
                    offset,
                    stored_len: 0,
                    raw_len: len,
                    digest,
                    blocks: Vec::new(),
                    trials,
                    copy_of,
                }
            }
            None => {
                let (storage, written, digest, trials) = match units.filter(|_| len >= SHARED_FROM) {
                    Some(units) => {
                        self.features |= INCOMPAT_UNITS;
                        let level = self.packing.as_ref().map_or(Level::Default, |packing| packing.level);
                        let mut choose = || choose(array, &blocks, level, &mut Packer::new(level));
                        let (written, digest, trials) = self.share_blocks(&blocks, units, &mut choose)?;
                        (Storage::Units, written, digest, trials)
                    }
                    None => {
                        self.features |= INCOMPAT_FILTERED;
                        let packing = match &self.packing {
                            Some(all) => choose(array, &blocks, all.level, &mut all.packer())?,
                            None => Packing::default(),
                        };
                        let (written, digest) = self.pack_blocks(&blocks, &packing)?;
                        (Storage::Filtered, written, digest, packing.trials)
                    }
                };
                let stored_len = self.out.offset() - offset;
                Stored {
                    storage,
                    offset,
                    stored_len,
                    raw_len: len,
                    digest,
                    blocks: written,
                    trials,
                    copy_of: None,
                }
            }
        };
        if stored.digest != source.digest() {
            let problem = format!("its BLAKE3 is {}, expected {}", stored.digest, source.digest());
            return Err(blocks.error(0, io::Error::other(problem)));
        }
        let id = self.push(array, &stored);
        if let (Some(packing), None) = (&mut self.packing, same) {
            packing.known.entry((stored.digest.0, len)).or_insert(id);
        }
        Ok(id)
    }

    fn same_as(&self, blocks: &Blocks<'_>) -> Option<ArrayId> {
        let known = &self.packing.as_ref()?.known;
        known.get(&(blocks.source.digest().0, blocks.len)).copied().filter(|_| blocks.len >= MIN_COPY)
    }

    /// Writes the blocks, some of which are made at the same time.
    fn pack_blocks(
        &mut self,
        blocks: &Blocks<'_>,
        how: &Packing,
    ) -> Result<(Vec<Block>, Digest), WriteError> {
        let count = blocks.count();
        if count > 1 {
            self.threads()?;
        }
        let Writer { out, packing: Some(packing), threads, .. } = self else {
            return Ok((Vec::new(), blocks.source.digest()));
        };
        let threads = threads.as_ref().filter(|threads| count > 1 && threads.current_num_threads() > 1);
        let width = threads.map_or(1, |threads| threads.current_num_threads() * 2);
        let mut hash = ArrayHash::default();
        let mut written = Vec::new();
        for first in (0..count).step_by(width) {
            let numbers = first..(first + width as u64).min(count);
            let one = |number| make(blocks, how, number, &mut packing.packer());
            let made: Result<Vec<Made>, _> = match threads {
                Some(threads) => threads.install(|| numbers.into_par_iter().map(one).collect()),
                None => numbers.map(one).collect(),
            };
            for Made { stored, block, len, hash: own } in made? {
                out.put(&stored)?;
                written.push(block);
                own.into_iter().for_each(|own| hash.push(own));
                blocks.source.done(len);
            }
        }
        let digest = if blocks.source.is_hashed() { blocks.source.digest() } else { hash.finish() };
        Ok((written, digest))
    }

    /// Writes lists of the units that the blocks consist of.
    fn share_blocks(
        &mut self,
        blocks: &Blocks<'_>,
        units: &dyn UnitStore,
        choose: &mut dyn FnMut() -> Result<Packing, WriteError>,
    ) -> Result<(Vec<Block>, Digest, Trials), WriteError> {
        let width = self.threads()?.current_num_threads() as u64 * 2;
        let mut hasher = blake3::Hasher::new();
        let mut scratch = Scratch::default();
        let (mut written, mut packing) = (Vec::new(), None);
        for first in (0..blocks.count()).step_by(width as usize) {
            let numbers = first..(first + width).min(blocks.count());
            let cuts = share(blocks, numbers.clone(), units, choose, &mut packing, self.threads()?)?;
            for (number, cut) in numbers.zip(&cuts) {
                let bytes = blocks.read(number, &mut scratch)?;
                hasher.update(bytes);
                self.out.put(cut.list())?;
                written.push(cut.block());
                blocks.source.done(bytes.len());
            }
        }
        let trials = packing.map_or_else(Trials::default, |packing| packing.trials);
        Ok((written, Digest(*hasher.finalize().as_bytes()), trials))
    }

    /// Graph, plan and metadata as they are stored.
    pub(super) fn stored_parts<'a>(&self, parts: &Parts<'a>) -> [Cow<'a, [u8]>; 3] {
        let parts = [parts.graph, parts.plan, parts.metadata];
        match &self.packing {
            None => parts.map(Cow::Borrowed),
            Some(packing) => parts.map(|part| Cow::Owned(pack(part, packing.level.zstd()))),
        }
    }
}

fn choose(
    array: &NewArray<'_>,
    blocks: &Blocks<'_>,
    level: Level,
    packer: &mut Packer,
) -> Result<Packing, WriteError> {
    let choice = Packing::choose(array.info, blocks.len, level, packer, &|range| blocks.range(range));
    choice.map_err(|source| blocks.error(0, source))
}

fn hash(blocks: &Blocks<'_>) -> Result<Digest, WriteError> {
    let mut hasher = blake3::Hasher::new();
    let mut scratch = Scratch::default();
    for number in 0..blocks.count() {
        let bytes = blocks.read(number, &mut scratch)?;
        hasher.update(bytes);
        blocks.source.done(bytes.len());
    }
    Ok(Digest(*hasher.finalize().as_bytes()))
}

/// A block as it is stored.
struct Made {
    stored: Vec<u8>,
    block: Block,
    /// Bytes that it decodes to.
    len: usize,
    /// Unless it is known already.
    hash: Option<BlockHash>,
}

fn make(blocks: &Blocks<'_>, how: &Packing, number: u64, packer: &mut Packer) -> Result<Made, WriteError> {
    let mut scratch = mem::take(&mut packer.scratch);
    let bytes = blocks.read(number, &mut scratch)?;
    let packed = packer.block(how, number, bytes);
    let packed = packed.map_err(|source| WriteError::Output { offset: 0, source })?;
    let crc = blocks.source.crc(number);
    let stored_crc = packed.as_ref().map_or(crc, |packed| crc32fast::hash(packed));
    let stored = packed.unwrap_or_else(|| bytes.to_vec());
    let hash = (!blocks.source.is_hashed()).then(|| BlockHash::of(bytes, number, blocks.len));
    let made = Made {
        block: Block { crc, stored_crc, stored_len: stored.len() as u32 },
        len: bytes.len(),
        stored,
        hash,
    };
    packer.scratch = scratch;
    Ok(made)
}
