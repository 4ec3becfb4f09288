//! Packing arrays that lie in memory.
#![forbid(unsafe_code)]

use std::io::{self, Seek, Write};
use std::ops::Range;

use rayon::prelude::*;

use crate::format::codec::stream::Scratch;
use crate::format::digest::Digest;
use crate::format::hashes::{ArrayHash, BlockHash};
use crate::format::lanes::NewArray;
use crate::format::packed::BlockSource;
use crate::format::writer::{Pieces, WriteError, Writer};
use crate::format::{ArrayId, BLOCK};

/// From this many blocks on it is worth threads to hash an array.
const THREADS_FROM: u64 = 8;

/// An array in memory, and its checksums.
struct InMemory<'p, 'b> {
    len: u64,
    piece: Pieces<'p, 'b>,
    digest: Digest,
    crcs: Vec<u32>,
}

/// The bytes of block `number` of an array of `len` bytes.
fn range(number: u64, len: u64) -> Range<u64> {
    let start = number * BLOCK as u64;
    start..(start + BLOCK as u64).min(len)
}

impl BlockSource for InMemory<'_, '_> {
    fn digest(&self) -> Digest {
        self.digest
    }

    fn is_hashed(&self) -> bool {
        true
    }

    fn block<'a>(&'a self, number: u64, _: &'a mut Scratch) -> io::Result<&'a [u8]> {
        (self.piece)(range(number, self.len)).ok_or(io::ErrorKind::Interrupted.into())
    }

    fn crc(&self, number: u64) -> u32 {
        usize::try_from(number).ok().and_then(|number| self.crcs.get(number)).copied().unwrap_or(0)
    }

    fn peek(&self, range: Range<u64>) -> Option<&[u8]> {
        (self.piece)(range)
    }

    fn done(&self, _: usize) {}
}

impl<W: Write + Seek + Send> Writer<W> {
    /// Stores one array whose bytes are in memory, of a file that was started with [`packing`](Self::packing), as
    /// [`packed`](Self::packed) does.
    ///
    /// # Errors
    ///
    /// [`WriteError`]; the file cannot be finished after that.
    pub(crate) fn packed_in_memory(
        &mut self,
        array: &NewArray<'_>,
        piece: Pieces<'_, '_>,
    ) -> Result<ArrayId, WriteError> {
        let len = self.check(array.name, array.info)?;
        let count = len.div_ceil(BLOCK as u64);
        let sum = |number| {
            let bytes = piece(range(number, len)).ok_or_else(|| WriteError::Input {
                array: array.name.to_owned(),
                offset: number * BLOCK as u64,
                source: io::ErrorKind::Interrupted.into(),
            })?;
            Ok((crc32fast::hash(bytes), BlockHash::of(bytes, number, len)))
        };
        let sums: Result<Vec<(u32, BlockHash)>, WriteError> = if count < THREADS_FROM {
            (0..count).map(sum).collect()
        } else {
            self.threads()?.install(|| (0..count).into_par_iter().map(sum).collect())
        };
        let mut hash = ArrayHash::default();
        let mut crcs = Vec::with_capacity(count as usize);
        for (crc, block) in sums? {
            crcs.push(crc);
            hash.push(block);
        }
        self.packed(array, &InMemory { len, piece, digest: hash.finish(), crcs }, None)
    }
}
