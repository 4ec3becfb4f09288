//! Writing the arrays of an archive as they were: every block is decoded where it is written from.
#![forbid(unsafe_code)]

use std::io::{self, Seek, SeekFrom, Write};
use std::mem;
use std::sync::{Mutex, PoisonError};

use rayon::ThreadPool;
use rayon::prelude::*;

use crate::format::chunk::{CHUNK, Chunk, FIRST};
use crate::format::codec::stream::Decoder;
use crate::format::codec::{Codec, Trials};
use crate::format::digest::Digest;
use crate::format::hashes::{ArrayHash, BlockHash};
use crate::format::header::PROLOGUE_LEN;
use crate::format::lanes::NewArray;
use crate::format::table::{Block, Stored, alignment};
use crate::format::writer::{WriteError, Writer};
use crate::format::{BLOCK, align_up};

/// Bytes that each of several threads decodes before they are written; one thread writes every block at once.
const BATCH: u64 = 2 * BLOCK as u64;

/// Arrays whose blocks can be decoded in any order.
pub(crate) trait DecodeBlocks: Sync {
    /// Fills `out` with the decoded bytes of a block, compares them with their CRC32, and gives that.
    fn decode(&self, array: usize, number: u64, out: &mut [u8], decoder: &mut Decoder) -> io::Result<u32>;
    /// Is told of bytes that are done with.
    fn done(&self, bytes: u64);
}

/// One block of one array, and where it goes.
struct Task {
    array: usize,
    number: u64,
    offset: u64,
    len: usize,
}

/// What is known of a block that has been decoded.
type Decoded = Result<(u32, BlockHash), (usize, u64, io::Error)>;

/// A run of the output that starts at a multiple of [`CHUNK`].
#[derive(Default)]
struct Window {
    start: u64,
    /// Those beyond `used` mean nothing.
    bytes: Vec<u8>,
    used: usize,
}

impl Window {
    /// Goes on where this one cannot be written yet.
    fn go_on(&mut self) {
        let whole = self.used / CHUNK * CHUNK;
        self.bytes.copy_within(whole..self.used, 0);
        self.start += whole as u64;
        self.used -= whole;
    }

    /// Makes this the run that goes on where `before` cannot be written yet.
    fn follow(&mut self, before: &Window) {
        let whole = before.used / CHUNK * CHUNK;
        let rest = &before.bytes[whole..before.used];
        self.start = before.start + whole as u64;
        self.grow(rest.len());
        self.bytes[..rest.len()].copy_from_slice(rest);
    }

    fn grow(&mut self, used: usize) {
        self.used = used;
        if self.bytes.len() < used {
            self.bytes.resize(used, 0);
        }
    }

    /// Splits the room for `tasks` off, with zeros between them.
    fn room<'a>(&'a mut self, tasks: &[Task]) -> Vec<&'a mut [u8]> {
        let start = self.start;
        let at = |offset: u64| (offset - start) as usize;
        let mut from = self.used;
        self.grow(tasks.last().map_or(from, |last| at(last.offset) + last.len));
        let mut rest = &mut self.bytes[from..];
        let mut rooms = Vec::with_capacity(tasks.len());
        for task in tasks {
            let (gap, room);
            (gap, rest) = mem::take(&mut rest).split_at_mut(at(task.offset) - from);
            gap.fill(0);
            (room, rest) = mem::take(&mut rest).split_at_mut(task.len);
            rooms.push(room);
            from = at(task.offset) + task.len;
        }
        rooms
    }

    /// Puts zeros up to `end`, before which nothing is missing.
    fn pad(&mut self, end: u64) {
        let from = self.used;
        let end = (end - self.start) as usize;
        if from < end {
            self.grow(end);
            self.bytes[from..end].fill(0);
        }
    }

    /// Writes all whole chunks.
    fn write_to(&self, out: &mut (impl Write + Seek)) -> Result<(), WriteError> {
        for (start, chunk) in (self.start..).step_by(CHUNK).zip(self.bytes[..self.used].chunks_exact(CHUNK)) {
            let mut write = || {
                out.seek(SeekFrom::Start(start))?;
                out.write_all(chunk)
            };
            write().map_err(|source| WriteError::Output { offset: start, source })?;
        }
        Ok(())
    }
}

impl<W: Write + Seek + Send> Writer<W> {
    /// Stores all arrays of a file, the first ones of this one, in the order of their places. Blocks are decoded by `threads`
    /// while those before them are written.
    ///
    /// # Errors
    ///
    /// [`WriteError`]; the file cannot be finished after that.
    pub(crate) fn restored(
        &mut self,
        arrays: &[NewArray<'_>],
        source: &dyn DecodeBlocks,
        threads: Option<&ThreadPool>,
    ) -> Result<(), WriteError> {
        let (lens, offsets) = self.lay_out(arrays)?;
        let decoders = Decoders::new(threads);
        let mut tasks = tasks(&lens, &offsets).peekable();
        let mut stored = Storing { arrays, lens: &lens, offsets: &offsets, sums: Vec::new(), next: 0 };
        let most = threads.map_or(1, |threads| BATCH * threads.current_num_threads() as u64);
        let mut filled = Window { start: 0, bytes: vec![0; FIRST], used: PROLOGUE_LEN as usize };
        let mut window = Window::default();
        while tasks.peek().is_some() {
            let batch = batch(&mut tasks, most);
            let decode =
                |(task, room): (&Task, &mut [u8])| decoders.decode(source, task, room, lens[task.array]);
            let decoded: Vec<Decoded> = match threads {
                Some(threads) => {
                    window.follow(&filled);
                    let rooms = window.room(&batch);
                    let mut decoded = Vec::new();
                    threads.in_place_scope(|scope| {
                        scope.spawn(|_| decoded = batch.par_iter().zip(rooms).map(decode).collect());
                        filled.write_to(&mut self.out.out)
                    })?;
                    mem::swap(&mut filled, &mut window);
                    decoded
                }
                None => {
                    let decoded = batch.iter().zip(filled.room(&batch)).map(decode).collect();
                    filled.write_to(&mut self.out.out)?;
                    filled.go_on();
                    decoded
                }
            };
            for (task, decoded) in batch.iter().zip(decoded) {
                stored.push(self, task, decoded)?;
                source.done(task.len as u64);
            }
        }
        stored.end(self)?;
        // Arrays without bytes have a place all the same.
        filled.pad(lens.iter().zip(&offsets).next_back().map_or(PROLOGUE_LEN, |(len, offset)| offset + len));
        filled.write_to(&mut self.out.out)?;
        filled.go_on();
        let Window { start, bytes, used } = filled;
        self.out.chunk = Chunk::filled(bytes, start, used);
        Ok(())
    }

    /// Lengths and places of the arrays.
    fn lay_out(&mut self, arrays: &[NewArray<'_>]) -> Result<(Vec<u64>, Vec<u64>), WriteError> {
        let (mut lens, mut offsets) = (Vec::with_capacity(arrays.len()), Vec::with_capacity(arrays.len()));
        let mut end = PROLOGUE_LEN;
        for array in arrays {
            let len = self.check(array.name, array.info)?;
            self.names.insert(array.name.to_owned());
            let full = || WriteError::Output { offset: end, source: io::ErrorKind::FileTooLarge.into() };
            let offset = align_up(end, alignment(Codec::Raw.storage(), len)).ok_or_else(full)?;
            end = offset.checked_add(len).ok_or_else(full)?;
            lens.push(len);
            offsets.push(offset);
        }
        Ok((lens, offsets))
    }
}

/// All blocks of all arrays.
fn tasks(lens: &[u64], offsets: &[u64]) -> impl Iterator<Item = Task> {
    lens.iter().zip(offsets).enumerate().flat_map(|(array, (&len, &offset))| {
        (0..len.div_ceil(BLOCK as u64)).map(move |number| {
            let start = number * BLOCK as u64;
            Task { array, number, offset: offset + start, len: (len - start).min(BLOCK as u64) as usize }
        })
    })
}

/// Blocks of `most` bytes together; at least one.
fn batch(tasks: &mut std::iter::Peekable<impl Iterator<Item = Task>>, most: u64) -> Vec<Task> {
    let mut batch = Vec::new();
    let mut bytes = 0;
    while let Some(task) = tasks.next_if(|task| batch.is_empty() || bytes + task.len as u64 <= most) {
        bytes += task.len as u64;
        batch.push(task);
    }
    batch
}

/// One decoder for each thread.
struct Decoders(Vec<Mutex<Decoder>>);

impl Decoders {
    fn new(threads: Option<&ThreadPool>) -> Self {
        let count = threads.map_or(1, ThreadPool::current_num_threads).max(1);
        Decoders((0..count).map(|_| Mutex::default()).collect())
    }

    fn decode(&self, source: &dyn DecodeBlocks, task: &Task, room: &mut [u8], len: u64) -> Decoded {
        let own = rayon::current_thread_index().unwrap_or(0) % self.0.len();
        let mut decoder = self.0[own].lock().unwrap_or_else(PoisonError::into_inner);
        let crc = source.decode(task.array, task.number, room, &mut decoder);
        let crc = crc.map_err(|error| (task.array, task.number, error))?;
        Ok((crc, BlockHash::of(room, task.number, len)))
    }
}

/// Notes the arrays in their order.
struct Storing<'a> {
    arrays: &'a [NewArray<'a>],
    lens: &'a [u64],
    offsets: &'a [u64],
    /// Of the array that `next` is.
    sums: Vec<(Block, BlockHash)>,
    next: usize,
}

impl Storing<'_> {
    fn push<W: Write + Seek + Send>(
        &mut self,
        writer: &mut Writer<W>,
        task: &Task,
        decoded: Decoded,
    ) -> Result<(), WriteError> {
        let (crc, hash) = decoded.map_err(|(array, number, source)| WriteError::Input {
            array: self.arrays[array].name.to_owned(),
            offset: number * BLOCK as u64,
            source,
        })?;
        while self.next < task.array {
            self.note(writer)?;
        }
        self.sums.push((Block { crc, stored_crc: crc, stored_len: task.len as u32 }, hash));
        Ok(())
    }

    fn end<W: Write + Seek + Send>(&mut self, writer: &mut Writer<W>) -> Result<(), WriteError> {
        while self.next < self.arrays.len() {
            self.note(writer)?;
        }
        Ok(())
    }

    /// All blocks of the next array have been decoded.
    fn note<W: Write + Seek + Send>(&mut self, writer: &mut Writer<W>) -> Result<(), WriteError> {
        let (array, raw_len) = (&self.arrays[self.next], self.lens[self.next]);
        let mut hash = ArrayHash::default();
        let mut blocks = Vec::with_capacity(self.sums.len());
        for (block, piece) in self.sums.drain(..) {
            hash.push(piece);
            blocks.push(block);
        }
        let digest: Digest = hash.finish();
        writer.push_checked(
            array,
            &Stored {
                storage: Codec::Raw.storage(),
                offset: self.offsets[self.next],
                stored_len: raw_len,
                raw_len,
                digest,
                blocks,
                trials: Trials::default(),
                copy_of: None,
            },
        )?;
        self.next += 1;
        Ok(())
    }
}
