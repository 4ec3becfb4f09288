//! Bytes on their way out, a chunk at a time, in the thread that makes them or in one beside it.
#![forbid(unsafe_code)]

use std::io::{self, Seek, SeekFrom, Write};
use std::mem;
use std::panic::resume_unwind;
use std::sync::mpsc::sync_channel;
use std::thread;

use crate::format::header::{PROLOGUE_LEN, Part, lay_out};
use crate::format::sums::BlockSums;
use crate::format::table::Block;
use crate::format::writer::{Pieces, WriteError};
use crate::format::{PART_ALIGN, align_up};

/// Bytes that are written at once, at multiples of their number.
pub(super) const CHUNK: usize = 2 << 20;
/// What a small file needs.
pub(super) const FIRST: usize = 32 << 10;
/// Bytes of chunks that are being written or wait for it.
const SPARE: usize = 4 << 20;

/// The part of the output between two multiples of its size, while it is filled.
#[derive(Clone)]
pub(super) struct Chunk {
    pub(super) bytes: Vec<u8>,
    /// A power of two.
    size: usize,
    /// Where it goes.
    start: u64,
    /// Bytes at its start that someone else writes.
    skip: usize,
    /// Bytes that are in use, those included.
    pub(super) used: usize,
}

impl Chunk {
    /// The chunk of `size` bytes in which `offset` lies; what is before `offset` is left alone.
    pub(super) fn at(offset: u64, size: usize) -> Self {
        Chunk::of(vec![0; size], size, offset)
    }

    /// The chunk that starts with `used` of `bytes`.
    pub(super) fn filled(mut bytes: Vec<u8>, start: u64, used: usize) -> Self {
        bytes.truncate(CHUNK);
        Chunk { bytes, size: CHUNK, start, skip: 0, used }
    }

    /// The same in memory that has served another chunk.
    pub(super) fn of(bytes: Vec<u8>, size: usize, offset: u64) -> Self {
        let used = (offset % size as u64) as usize;
        Chunk { bytes, size, start: offset - used as u64, skip: used, used }
    }

    /// Offset of the next byte.
    pub(super) fn end(&self) -> u64 {
        self.start + self.used as u64
    }

    /// Whether it has to be written before more bytes come.
    pub(super) fn is_full(&self) -> bool {
        self.used == self.size
    }

    pub(super) fn write_to(&mut self, out: &mut (impl Write + Seek)) -> Result<(), WriteError> {
        let offset = self.start + self.skip as u64;
        let mut write = || {
            out.seek(SeekFrom::Start(offset))?;
            out.write_all(&self.bytes[self.skip..self.used])
        };
        write().map_err(|source| WriteError::Output { offset, source })?;
        let bytes = mem::take(&mut self.bytes);
        *self = Chunk::of(bytes, self.size, self.end());
        Ok(())
    }

    /// Writes `bytes`, a whole chunk, in place of this one, which is empty.
    fn pass(&mut self, bytes: &[u8], out: &mut (impl Write + Seek)) -> Result<(), WriteError> {
        let offset = self.start;
        let mut write = || {
            out.seek(SeekFrom::Start(offset))?;
            out.write_all(bytes)
        };
        write().map_err(|source| WriteError::Output { offset, source })?;
        self.start += CHUNK as u64;
        Ok(())
    }

    /// Where the next bytes go, of which `wanted` are known; at least one. The chunk of a small file stays small: clearing memory
    /// that nobody had before takes longer than to write it.
    pub(super) fn room(&mut self, wanted: u64, flush: Flush<'_>) -> Result<&mut [u8], WriteError> {
        if self.is_full() {
            flush(self)?;
        }
        if self.used >= self.bytes.len() {
            let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
            let len = self.used.saturating_add(wanted).max(self.used / 2 * 3).max(FIRST * 4);
            self.bytes.resize(len.min(self.size), 0);
        }
        let end = self.size.min(self.bytes.len());
        Ok(&mut self.bytes[self.used..end])
    }

    pub(super) fn put(&mut self, mut bytes: &[u8], flush: Flush<'_>) -> Result<(), WriteError> {
        while !bytes.is_empty() {
            let room = self.room(bytes.len() as u64, flush)?;
            let n = room.len().min(bytes.len());
            room[..n].copy_from_slice(&bytes[..n]);
            bytes = &bytes[n..];
            self.used += n;
        }
        Ok(())
    }

    /// Puts zeros up to a multiple of `align`, and gives the offset there.
    pub(super) fn align(&mut self, align: u64, flush: Flush<'_>) -> Result<u64, WriteError> {
        let offset = self.end();
        let full = || WriteError::Output { offset, source: io::ErrorKind::FileTooLarge.into() };
        let end = align_up(offset, align).ok_or_else(full)?;
        while self.end() < end {
            let left = usize::try_from(end - self.end()).unwrap_or(usize::MAX);
            let room = self.room(left as u64, flush)?;
            let n = room.len().min(left);
            room[..n].fill(0);
            self.used += n;
        }
        Ok(end)
    }
}

/// Gathers bytes into chunks.
pub(super) struct ChunkWriter<W> {
    pub(super) out: W,
    pub(super) chunk: Chunk,
    /// Room for chunks that wait to be written.
    pub(super) spare: Vec<Vec<u8>>,
}

impl<W: Write + Seek> ChunkWriter<W> {
    pub(super) fn new(mut out: W) -> Result<Self, WriteError> {
        out.rewind().map_err(|source| WriteError::Output { offset: 0, source })?;
        let chunk =
            Chunk { bytes: vec![0; FIRST], size: CHUNK, start: 0, skip: 0, used: PROLOGUE_LEN as usize };
        Ok(ChunkWriter { out, chunk, spare: Vec::new() })
    }

    /// Offset of the next byte.
    pub(super) fn offset(&self) -> u64 {
        self.chunk.end()
    }

    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.chunk.put(bytes, &mut |chunk| chunk.write_to(&mut self.out))
    }

    /// Puts zeros up to a multiple of `align`, and gives the offset there.
    pub(super) fn align(&mut self, align: u64) -> Result<u64, WriteError> {
        self.chunk.align(align, &mut |chunk| chunk.write_to(&mut self.out))
    }

    /// Puts `len` bytes that `piece` gives, whole chunks straight from where they lie, and gives their checksums.
    pub(super) fn put_pieces(
        &mut self,
        len: u64,
        piece: Pieces<'_, '_>,
        gone: &dyn Fn(u64) -> WriteError,
    ) -> Result<Vec<Block>, WriteError> {
        let mut sums = BlockSums::default();
        let mut at = 0;
        while at < len {
            let room = (CHUNK - self.chunk.used % CHUNK) as u64;
            let end = (at + room).min(len);
            let bytes = piece(at..end).ok_or_else(|| gone(at))?;
            if room == CHUNK as u64 && bytes.len() == CHUNK {
                if self.chunk.used == CHUNK {
                    self.chunk.write_to(&mut self.out)?;
                }
                self.chunk.pass(bytes, &mut self.out)?;
            } else {
                self.put(bytes)?;
            }
            // Written first: reading them for that has brought them into the cache.
            sums.update(bytes);
            at = end;
        }
        Ok(sums.finish())
    }

    pub(super) fn part(&mut self, bytes: &[u8]) -> Result<Part, WriteError> {
        let offset = self.offset();
        let full = || WriteError::Output { offset, source: io::ErrorKind::FileTooLarge.into() };
        let part = lay_out(offset, bytes).ok_or_else(full)?;
        self.align(PART_ALIGN)?;
        self.put(bytes)?;
        Ok(part)
    }

    pub(super) fn finish(mut self, prologue: &[u8]) -> Result<W, WriteError> {
        if let (0, Some(first)) = (self.chunk.start, self.chunk.bytes.get_mut(..prologue.len())) {
            first.copy_from_slice(prologue);
            self.chunk.write_to(&mut self.out)?;
            self.out.flush().map_err(|source| WriteError::Output { offset: 0, source })?;
            return Ok(self.out);
        }
        self.chunk.write_to(&mut self.out)?;
        let write = |out: &mut W| {
            out.seek(SeekFrom::Start(0))?;
            out.write_all(prologue)?;
            out.flush()
        };
        write(&mut self.out).map_err(|source| WriteError::Output { offset: 0, source })?;
        Ok(self.out)
    }
}

/// Takes full chunks.
pub(super) type Flush<'a> = &'a mut dyn FnMut(&mut Chunk) -> Result<(), WriteError>;

/// Calls `fill` with a way to hand over full chunks of up to `size` bytes, which a thread of their own writes while the next
/// ones are filled.
pub(super) fn in_background<W: Write + Seek + Send, R>(
    out: &mut W,
    spare: &mut Vec<Vec<u8>>,
    size: usize,
    fill: impl FnOnce(Flush<'_>) -> Result<R, WriteError>,
) -> Result<R, WriteError> {
    let n_spare = SPARE / size;
    spare.resize_with(n_spare, || vec![0; size]);
    let (full, to_write) = sync_channel::<Chunk>(n_spare);
    let (written, free) = sync_channel(n_spare);
    for bytes in spare.drain(..) {
        // The receiver is alive, and there is room for all.
        let _ = written.send(bytes);
    }
    thread::scope(|scope| {
        let writing = scope.spawn(move || {
            for mut chunk in to_write {
                chunk.write_to(out)?;
                let _ = written.send(chunk.bytes);
            }
            Ok(())
        });
        let filled = fill(&mut |chunk| {
            // If the thread has ended, its error is returned below.
            let offset = chunk.start;
            let gone = || WriteError::Output { offset, source: io::ErrorKind::BrokenPipe.into() };
            let bytes = free.recv().map_err(|_| gone())?;
            let next = Chunk::of(bytes, size, chunk.end());
            full.send(mem::replace(chunk, next)).map_err(|_| gone())
        });
        drop(full);
        writing.join().unwrap_or_else(|panic| resume_unwind(panic))?;
        spare.extend(free);
        filled
    })
}
