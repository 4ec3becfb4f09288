//! Writes a file from front to back: arrays as they come, then the index and the other parts, the prologue last.
//!
//! Bytes leave in chunks of 2 MiB at multiples of 2 MiB. Linux file systems with large folios then cache the file
//! in huge pages, and a mapping of it gets them without asking. Only arrays that are written together leave in smaller ones.
#![forbid(unsafe_code)]

use std::collections::HashSet;
use std::io::{self, Read, Seek, Write};
use std::mem;
use std::ops::Range;
use std::panic::resume_unwind;
use std::thread;

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::format::chunk::{CHUNK, Chunk, ChunkWriter, Flush, in_background};
use crate::format::codec::zstd::Encoder;
use crate::format::codec::{Codec, Trials};
use crate::format::digest::{ContentHasher, Digest};
use crate::format::dtype::DtypeError;
use crate::format::header::{INCOMPAT_UNITS, INCOMPAT_ZSTD, Prologue};
use crate::format::lanes::{LANE_CHUNK, Lane, NewArray, Pull, fill, gather};
use crate::format::packed::PackedArrays;
use crate::format::table::{Block, ENTRY_LEN, IndexBuilder, Stored, alignment};
use crate::format::{ArrayId, ArrayInfo, BLOCK, MAX_METADATA, MAX_NAME, MAX_NDIM, MAX_PLAN, Role};

/// From this length on it is worth a thread to write an array.
const THREAD_FROM: u64 = 4 * CHUNK as u64;

/// Why a file could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The output refused bytes: a full disk, for example.
    #[error("cannot write byte {offset} of the output")]
    Output {
        /// Where in the file.
        offset: u64,
        /// What the output says.
        source: io::Error,
    },
    /// The bytes of an array could not be read.
    #[error("cannot read byte {offset} of array `{}`", array.escape_debug())]
    Input {
        /// Name of the array.
        array: String,
        /// Where in the array.
        offset: u64,
        /// What the input says.
        source: io::Error,
    },
    /// The input of an array goes on after its last byte.
    #[error("array `{}` takes {expected} bytes, but its input has more", array.escape_debug())]
    TooMuchInput {
        /// Name of the array.
        array: String,
        /// Bytes that its shape and dtype call for.
        expected: u64,
    },
    /// Two arrays of one name.
    #[error("there is already an array `{}`: names must be unique", .0.escape_debug())]
    DuplicateName(String),
    /// A name that is empty or too long.
    #[error("the name of an array takes {len} bytes of UTF-8, expected 1 to 4096")]
    NameLength {
        /// Its length.
        len: usize,
    },
    /// An element type that a file cannot hold.
    #[error("array `{}` has no valid dtype", array.escape_debug())]
    Dtype {
        /// Name of the array.
        array: String,
        /// Why.
        source: DtypeError,
    },
    /// More than 64 dimensions or 2^63 bytes.
    #[error("array `{}` is too large: {ndim} dimensions (at most 64), {itemsize} bytes per item", array.escape_debug())]
    TooLarge {
        /// Name of the array.
        array: String,
        /// Its number of dimensions.
        ndim: usize,
        /// Bytes of one element.
        itemsize: u32,
    },
    /// More arrays, dimensions, blocks or bytes of names than 32 bits can count.
    #[error("the index is full: array `{}` does not fit any more", .0.escape_debug())]
    IndexFull(String),
    /// The plan or the metadata are too long.
    #[error("the {part} take {len} bytes, at most {limit} are allowed")]
    PartLength {
        /// Which part.
        part: &'static str,
        /// Its length.
        len: u64,
        /// The most it may have.
        limit: u64,
    },
    /// No thread could be started.
    #[error("cannot start threads")]
    Threads(#[source] rayon::ThreadPoolBuildError),
}

/// The parts of a file after its arrays.
#[derive(Clone, Copy, Debug, Default)]
pub struct Parts<'a> {
    /// The saved object, encoded; empty if there is none.
    pub graph: &'a [u8],
    /// The plan as JSON; empty if there is none.
    pub plan: &'a [u8],
    /// The metadata as JSON; empty if there are none.
    pub metadata: &'a [u8],
}

/// Gives bytes of an array that lie in memory, or `None` if they may not be read any more.
pub(crate) type Pieces<'p, 'b> = &'p (dyn Fn(Range<u64>) -> Option<&'b [u8]> + Sync);

/// Writes one file to `W`. The same calls give the same bytes.
pub struct Writer<W> {
    pub(super) out: ChunkWriter<W>,
    codec: Codec,
    index: IndexBuilder,
    pub(super) names: HashSet<String>,
    content: ContentHasher,
    pub(super) threads: Option<ThreadPool>,
    /// Incompatible features of what has been written.
    pub(super) features: u32,
    /// Set if arrays come through [`Writer::packed`].
    pub(super) packing: Option<PackedArrays>,
}

impl<W: Write + Seek + Send> Writer<W> {
    /// Starts a file at the start of `out`, which should be empty.
    ///
    /// # Errors
    ///
    /// [`WriteError::Output`] if `out` cannot seek.
    pub fn new(out: W, codec: Codec) -> Result<Self, WriteError> {
        Ok(Writer {
            out: ChunkWriter::new(out)?,
            codec,
            index: IndexBuilder::default(),
            names: HashSet::new(),
            content: ContentHasher::new(),
            threads: None,
            features: if codec == Codec::Raw { 0 } else { INCOMPAT_ZSTD },
            packing: None,
        })
    }

    /// Stores one array; `data` gives exactly its bytes. Ids count from 0 in the order of calls.
    ///
    /// # Errors
    ///
    /// [`WriteError`]; the file cannot be finished after that.
    pub fn array(
        &mut self,
        name: &str,
        info: &ArrayInfo,
        role: Role,
        data: &mut dyn Read,
    ) -> Result<ArrayId, WriteError> {
        let raw_len = self.check(name, info)?;
        let storage = self.codec.storage();
        self.names.insert(name.to_owned());
        let offset = self.out.align(alignment(storage, raw_len))?;
        let mut input = Input { array: name, data, at: 0, len: raw_len, hasher: blake3::Hasher::new() };
        let blocks = match self.codec {
            Codec::Raw => copy_raw(&mut self.out, &mut input)?,
            Codec::Zstd { level } => self.compress(&mut input, level)?,
        };
        input.end()?;
        let digest = Digest(*input.hasher.finalize().as_bytes());
        let stored_len = self.out.offset() - offset;
        let trials = Trials::default();
        let stored = Stored { storage, offset, stored_len, raw_len, digest, blocks, trials, copy_of: None };
        Ok(self.push(&NewArray { name, info, role }, &stored))
    }

    /// Stores one array whose bytes are in memory. They are hashed in a thread of their own while they are written.
    ///
    /// # Errors
    ///
    /// [`WriteError`]; the file cannot be finished after that.
    pub(crate) fn array_in_memory(
        &mut self,
        name: &str,
        info: &ArrayInfo,
        role: Role,
        piece: Pieces<'_, '_>,
    ) -> Result<ArrayId, WriteError> {
        let raw_len = self.check(name, info)?;
        let gone = |offset| WriteError::Input {
            array: name.to_owned(),
            offset,
            source: io::ErrorKind::Interrupted.into(),
        };
        if raw_len < THREAD_FROM || !matches!(self.codec, Codec::Raw) {
            let mut bytes = piece(0..raw_len).ok_or_else(|| gone(0))?;
            return self.array(name, info, role, &mut bytes);
        }
        self.names.insert(name.to_owned());
        let storage = self.codec.storage();
        let offset = self.out.align(alignment(storage, raw_len))?;
        let (blocks, digest) = thread::scope(|scope| {
            let hashing = scope.spawn(|| hash_pieces(raw_len, piece));
            let written = self.out.put_pieces(raw_len, piece, &gone);
            let hashed = hashing.join().unwrap_or_else(|panic| resume_unwind(panic));
            Ok::<_, WriteError>((written?, hashed.ok_or_else(|| gone(0))?))
        })?;
        let (trials, copy_of) = (Trials::default(), None);
        let stored =
            Stored { storage, offset, stored_len: raw_len, raw_len, digest, blocks, trials, copy_of };
        Ok(self.push(&NewArray { name, info, role }, &stored))
    }

    /// Notes an array that has been written.
    pub(super) fn push(&mut self, array: &NewArray<'_>, stored: &Stored) -> ArrayId {
        let id = ArrayId(self.index.len() as u32);
        self.content.array(array.name, array.info, array.role, &stored.digest);
        self.index.push(array.name, array.info, array.role, stored);
        id
    }

    /// Stores several arrays whose bytes come by turns: `pull` gives some bytes of each, until there are no more.
    /// The file is as if [`array`](Self::array) had been called for one after the other.
    ///
    /// Arrays that are few bytes together, or are to be compressed, are gathered in memory first.
    ///
    /// # Errors
    ///
    /// [`WriteError`]. If it is one of `pull`, no array is in the file, and those that come next are written over what had
    /// been written of these; after others the file cannot be finished.
    pub(crate) fn together(
        &mut self,
        arrays: &[NewArray<'_>],
        pull: &mut Pull<'_>,
    ) -> Result<Vec<ArrayId>, WriteError> {
        let len = |array: &NewArray<'_>| array.info.len_bytes().unwrap_or(u64::MAX);
        let total = arrays.iter().map(len).fold(0, u64::saturating_add);
        if total < THREAD_FROM || !matches!(self.codec, Codec::Raw) {
            return self.gathered(arrays, pull);
        }
        let mut lens = Vec::with_capacity(arrays.len());
        for array in arrays {
            lens.push(self.check(array.name, array.info)?);
            self.names.insert(array.name.to_owned());
        }
        let ChunkWriter { out, chunk, .. } = &mut self.out;
        let lanes = in_background(out, &mut Vec::new(), LANE_CHUNK, |flush| {
            let mut lanes: Vec<Lane<'_>> = Vec::with_capacity(lens.len());
            for (array, len) in arrays.iter().zip(lens) {
                let start = match lanes.last() {
                    None => chunk.clone(),
                    Some(before) => Chunk::at(before.end()?, LANE_CHUNK),
                };
                lanes.push(Lane::new(array.name, start, len, flush)?);
            }
            fill(&mut lanes, pull, flush)?;
            Ok(lanes)
        });
        if lanes.is_err() {
            for array in arrays {
                self.names.remove(array.name);
            }
        }
        let lanes = lanes?;
        if let Some(last) = lanes.last() {
            let bytes = mem::take(&mut self.out.chunk.bytes);
            self.out.chunk = Chunk::of(bytes, CHUNK, last.end()?);
        }
        let mut ids = Vec::with_capacity(lanes.len());
        for (array, lane) in arrays.iter().zip(lanes) {
            ids.push(self.push_checked(array, &lane.into_stored())?);
        }
        Ok(ids)
    }

    /// Notes one of several arrays: each fitted when it was checked, together they need not.
    pub(super) fn push_checked(
        &mut self,
        array: &NewArray<'_>,
        stored: &Stored,
    ) -> Result<ArrayId, WriteError> {
        if !self.index.has_room(array.name, array.info, stored.blocks.len() as u64) {
            return Err(WriteError::IndexFull(array.name.to_owned()));
        }
        Ok(self.push(array, stored))
    }

    fn gathered(&mut self, arrays: &[NewArray<'_>], pull: &mut Pull<'_>) -> Result<Vec<ArrayId>, WriteError> {
        let gathered = gather(arrays, pull).map_err(|source| {
            let array = arrays.first().map_or(String::new(), |array| array.name.to_owned());
            WriteError::Input { array, offset: 0, source }
        })?;
        let write = |(array, bytes): (&NewArray<'_>, Vec<u8>)| {
            self.array(array.name, array.info, array.role, &mut bytes.as_slice())
        };
        arrays.iter().zip(gathered).map(write).collect()
    }

    /// Writes the remaining parts and the prologue. Gives back the output, which is not flushed to disk, and the
    /// digest of the content.
    ///
    /// # Errors
    ///
    /// [`WriteError`]
    pub fn finish(mut self, parts: &Parts<'_>) -> Result<(W, Digest), WriteError> {
        check_part("plan", parts.plan, MAX_PLAN)?;
        check_part("metadata", parts.metadata, MAX_METADATA)?;
        let [graph, plan, metadata] = self.stored_parts(parts);
        let minor = self.minor();
        let digest = self.content.finish(parts.graph, parts.plan, parts.metadata);
        let n_arrays = self.index.len() as u32;
        let index = self.out.part(&self.index.encode())?;
        let prologue = Prologue {
            minor,
            entry_len: ENTRY_LEN,
            incompat: self.features,
            rewrite_incompat: 0,
            n_arrays,
            index,
            graph: self.out.part(&graph)?,
            plan: self.out.part(&plan)?,
            metadata: self.out.part(&metadata)?,
            digest,
        };
        Ok((self.out.finish(&prologue.write())?, digest))
    }

    /// The oldest minor version that has what the file has.
    fn minor(&self) -> u16 {
        if self.features & INCOMPAT_UNITS != 0 { 2 } else { u16::from(self.packing.is_some()) }
    }

    pub(super) fn check(&self, name: &str, info: &ArrayInfo) -> Result<u64, WriteError> {
        let array = || name.to_owned();
        if name.is_empty() || name.len() > MAX_NAME {
            return Err(WriteError::NameLength { len: name.len() });
        }
        if self.names.contains(name) {
            return Err(WriteError::DuplicateName(array()));
        }
        info.dtype.validate().map_err(|source| WriteError::Dtype { array: array(), source })?;
        let len = info.len_bytes().filter(|_| info.shape.len() <= MAX_NDIM);
        let (ndim, itemsize) = (info.shape.len(), info.dtype.itemsize());
        let len = len.ok_or_else(|| WriteError::TooLarge { array: array(), ndim, itemsize })?;
        if !self.index.has_room(name, info, len.div_ceil(BLOCK as u64)) {
            return Err(WriteError::IndexFull(array()));
        }
        Ok(len)
    }

    fn compress(&mut self, input: &mut Input<'_>, level: i32) -> Result<Vec<Block>, WriteError> {
        let mut blocks = Vec::new();
        let mut batch: Vec<Vec<u8>> = Vec::new();
        while input.at < input.len {
            let width =
                if input.left() > BLOCK as u64 { self.threads()?.current_num_threads() * 2 } else { 1 };
            batch.truncate(width);
            let mut filled = 0;
            while filled < width && input.at < input.len {
                if batch.len() == filled {
                    batch.push(Vec::new());
                }
                batch[filled].resize(input.left().min(BLOCK as u64) as usize, 0);
                input.fill(&mut batch[filled])?;
                filled += 1;
            }
            let encode = |encoder: &mut Encoder, block: &Vec<u8>| {
                let frame = encoder.encode(block).map(|frame| frame.map(<[u8]>::to_vec));
                (crc32fast::hash(block), frame)
            };
            let encoder = || Encoder::new(level);
            let encoded: Vec<_> = match &self.threads {
                Some(threads) if filled > 1 => {
                    threads.install(|| batch[..filled].par_iter().map_init(encoder, encode).collect())
                }
                _ => {
                    let mut encoder = encoder();
                    batch[..filled].iter().map(|block| encode(&mut encoder, block)).collect()
                }
            };
            for (block, (crc, frame)) in batch.iter().zip(encoded) {
                let frame =
                    frame.map_err(|source| WriteError::Output { offset: self.out.offset(), source })?;
                let stored = frame.as_ref().unwrap_or(block);
                self.out.put(stored)?;
                let stored_crc = frame.as_ref().map_or(crc, |frame| crc32fast::hash(frame));
                blocks.push(Block { crc, stored_crc, stored_len: stored.len() as u32 });
            }
        }
        Ok(blocks)
    }

    pub(super) fn threads(&mut self) -> Result<&ThreadPool, WriteError> {
        if self.threads.is_none() {
            self.threads = Some(ThreadPoolBuilder::new().build().map_err(WriteError::Threads)?);
        }
        Ok(self.threads.as_ref().expect("the pool was built above"))
    }
}

fn check_part(part: &'static str, bytes: &[u8], limit: u64) -> Result<(), WriteError> {
    let len = bytes.len() as u64;
    if len <= limit { Ok(()) } else { Err(WriteError::PartLength { part, len, limit }) }
}

fn hash_pieces(len: u64, piece: Pieces<'_, '_>) -> Option<Digest> {
    let mut hasher = blake3::Hasher::new();
    let mut at = 0;
    while at < len {
        let end = (at + BLOCK as u64).min(len);
        hasher.update(piece(at..end)?);
        at = end;
    }
    Some(Digest(*hasher.finalize().as_bytes()))
}

/// Copies an array as it is, straight into the chunk that is written next.
fn copy_raw<W: Write + Seek + Send>(
    out: &mut ChunkWriter<W>,
    input: &mut Input<'_>,
) -> Result<Vec<Block>, WriteError> {
    let ChunkWriter { out, chunk, spare } = out;
    if input.len < THREAD_FROM {
        return copy_blocks(chunk, input, &mut |chunk| chunk.write_to(out));
    }
    in_background(out, spare, CHUNK, |flush| copy_blocks(chunk, input, flush))
}

/// Copies an array into chunks.
fn copy_blocks(chunk: &mut Chunk, input: &mut Input<'_>, flush: Flush<'_>) -> Result<Vec<Block>, WriteError> {
    let mut blocks = Vec::new();
    while input.at < input.len {
        let stored_len = input.left().min(BLOCK as u64) as usize;
        let mut crc = crc32fast::Hasher::new();
        let mut left = stored_len;
        while left > 0 {
            let room = chunk.room(input.left(), flush)?;
            let n = room.len().min(left);
            input.fill(&mut room[..n])?;
            crc.update(&room[..n]);
            chunk.used += n;
            left -= n;
        }
        let crc = crc.finalize();
        blocks.push(Block { crc, stored_crc: crc, stored_len: stored_len as u32 });
    }
    Ok(blocks)
}

/// The bytes of one array as they come.
struct Input<'a> {
    array: &'a str,
    data: &'a mut dyn Read,
    at: u64,
    len: u64,
    hasher: blake3::Hasher,
}

impl Input<'_> {
    fn left(&self) -> u64 {
        self.len - self.at
    }

    fn fill(&mut self, buf: &mut [u8]) -> Result<(), WriteError> {
        self.data.read_exact(buf).map_err(|source| self.error(source))?;
        self.hasher.update(buf);
        self.at += buf.len() as u64;
        Ok(())
    }

    fn end(&mut self) -> Result<(), WriteError> {
        loop {
            match self.data.read(&mut [0]) {
                Ok(0) => return Ok(()),
                Ok(_) => {
                    let array = self.array.to_owned();
                    return Err(WriteError::TooMuchInput { array, expected: self.len });
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.error(error)),
            }
        }
    }

    fn error(&self, source: io::Error) -> WriteError {
        WriteError::Input { array: self.array.to_owned(), offset: self.at, source }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::format::dtype::Dtype;

    fn write(before: usize, len: usize, in_memory: bool) -> Vec<u8> {
        let bytes: Vec<u8> = (0..len).map(|i| (i * 31 % 251) as u8).collect();
        let info = |len: usize| ArrayInfo::new(Dtype::U8, [len as u64]);
        let mut writer = Writer::new(Cursor::new(Vec::new()), Codec::Raw).unwrap();
        writer.array("before", &info(before), Role::Predict, &mut &bytes[..before]).unwrap();
        if in_memory {
            let piece = |range: Range<u64>| bytes.get(range.start as usize..range.end as usize);
            writer.array_in_memory("a", &info(len), Role::Rebuild, &piece).unwrap();
        } else {
            writer.array("a", &info(len), Role::Rebuild, &mut &bytes[..]).unwrap();
        }
        writer.array("after", &info(before), Role::Predict, &mut &bytes[..before]).unwrap();
        writer.finish(&Parts::default()).unwrap().0.into_inner()
    }

    #[test]
    fn an_array_in_memory_lies_as_if_it_had_been_read() {
        for len in [9, 8 << 20, (8 << 20) + 1, (9 << 20) - 7] {
            for before in [0, 5, 1 << 20, (2 << 20) - (64 << 10), 2 << 20] {
                let before = before.min(len);
                assert!(write(before, len, false) == write(before, len, true), "{len} after {before}");
            }
        }
    }

    #[test]
    fn an_array_that_may_not_be_read_any_more_ends_the_file() {
        let bytes = vec![1u8; 9 << 20];
        let piece = |range: Range<u64>| {
            bytes.get(range.start as usize..range.end as usize).filter(|_| range.end < 5 << 20)
        };
        let mut writer = Writer::new(Cursor::new(Vec::new()), Codec::Raw).unwrap();
        let info = ArrayInfo::new(Dtype::U8, [9 << 20]);
        let error = writer.array_in_memory("a", &info, Role::Predict, &piece).unwrap_err();
        assert!(matches!(error, WriteError::Input { array, .. } if array == "a"));
    }
}
