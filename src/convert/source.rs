//! Where foreign bytes are read from, and the result of reading them.
#![forbid(unsafe_code)]

use std::io;
use std::ops::Range;

use bytemuck::Pod;

use crate::format::{ArrayId, ArrayInfo};
use crate::model::array::ArraySource;
use crate::model::graph::Graph;

/// Random access to foreign bytes: a file, an unlinked temporary copy of what was decompressed, or memory.
pub trait ReadAt: Send + Sync {
    /// Total number of bytes.
    fn len_bytes(&self) -> u64;
    /// Fills `buf` from `offset`; an error if the bytes end before.
    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()>;
    /// The bytes themselves, if they lie in memory; they are then written from there.
    fn slice(&self, range: Range<u64>) -> Option<&[u8]> {
        let _ = range;
        None
    }
}

impl ReadAt for std::fs::File {
    fn len_bytes(&self) -> u64 {
        self.metadata().map_or(0, |metadata| metadata.len())
    }

    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(self, buf, offset)
    }
}

impl ReadAt for [u8] {
    fn len_bytes(&self) -> u64 {
        self.len() as u64
    }

    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let end = start.checked_add(buf.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        buf.copy_from_slice(self.get(start..end).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

impl ReadAt for Vec<u8> {
    fn len_bytes(&self) -> u64 {
        self.len() as u64
    }

    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.as_slice().read_exact_at(offset, buf)
    }
}

/// A stream of opcodes, then the buffers that were passed beside it, as if they were one file.
pub(crate) struct Gathered {
    pieces: Vec<Box<dyn ReadAt>>,
    /// Where each piece starts, and where the last one ends.
    starts: Vec<u64>,
}

impl Gathered {
    /// `None` if they are 2^64 bytes or more.
    pub(crate) fn new(stream: Box<dyn ReadAt>, buffers: Vec<Box<dyn ReadAt>>) -> Option<Self> {
        let mut pieces = vec![stream];
        pieces.extend(buffers);
        let mut starts = vec![0u64];
        let mut end = 0u64;
        for piece in &pieces {
            end = end.checked_add(piece.len_bytes())?;
            starts.push(end);
        }
        Some(Gathered { pieces, starts })
    }

    /// Where the buffers are.
    pub(crate) fn buffers(&self) -> Vec<Range<u64>> {
        let bounds = self.starts.windows(2).skip(1);
        bounds.map(|pair| pair[0]..pair[1]).collect()
    }
}

impl ReadAt for Gathered {
    fn len_bytes(&self) -> u64 {
        self.starts.last().copied().unwrap_or(0)
    }

    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let after = self.starts.partition_point(|start| *start <= offset);
        let piece = after.saturating_sub(1).min(self.pieces.len() - 1);
        self.pieces[piece].read_exact_at(offset - self.starts[piece], buf)
    }

    fn slice(&self, range: Range<u64>) -> Option<&[u8]> {
        let after = self.starts.partition_point(|start| *start <= range.start);
        let piece = after.saturating_sub(1).min(self.pieces.len() - 1);
        let start = self.starts[piece];
        self.pieces[piece].slice(range.start - start..range.end.checked_sub(start)?)
    }
}

/// A foreign file as plain data: the object, and where the bytes of its arrays are.
pub struct Foreign {
    /// The object; its array ids index `arrays`.
    pub graph: Graph,
    /// The arrays in order of appearance.
    pub arrays: Vec<ForeignArray>,
    /// What the ranges of `arrays` refer to.
    pub source: Box<dyn ReadAt>,
    /// What was read, in words: `joblib, zlib` or `pickle protocol 5`.
    pub container: String,
}

/// One array of a foreign file.
pub struct ForeignArray {
    /// What it is.
    pub info: ArrayInfo,
    /// Its bytes; their number was checked against `info`.
    pub data: ForeignData,
}

/// Bytes of a foreign array.
pub enum ForeignData {
    /// They lie in the source as they are.
    Source(Range<u64>),
    /// They had to be decoded.
    Owned(Box<[u8]>),
    /// They were passed beside the file.
    Beside(Box<dyn ReadAt>),
}

impl ForeignData {
    pub(crate) fn len_bytes(&self) -> u64 {
        match self {
            ForeignData::Source(range) => range.end - range.start,
            ForeignData::Owned(bytes) => bytes.len() as u64,
            ForeignData::Beside(bytes) => bytes.len_bytes(),
        }
    }
}

/// Numbers in memory, as the bytes that they are in a file.
pub(crate) struct Numbers<T>(pub(crate) Vec<T>);

impl<T: Pod + Send + Sync> ReadAt for Numbers<T> {
    fn len_bytes(&self) -> u64 {
        size_of_val(self.0.as_slice()) as u64
    }

    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        bytemuck::cast_slice::<T, u8>(&self.0).read_exact_at(offset, buf)
    }

    fn slice(&self, range: Range<u64>) -> Option<&[u8]> {
        let range = usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?;
        bytemuck::cast_slice(&self.0).get(range)
    }
}

impl ArraySource for Foreign {
    fn array_count(&self) -> u32 {
        u32::try_from(self.arrays.len()).unwrap_or(u32::MAX)
    }

    fn info(&self, id: ArrayId) -> ArrayInfo {
        self.arrays[id.0 as usize].info.clone()
    }

    fn read_at(&self, id: ArrayId, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        match &self.arrays[id.0 as usize].data {
            ForeignData::Source(range) => {
                let start = range.start.checked_add(offset).ok_or(io::ErrorKind::UnexpectedEof)?;
                let end = start.checked_add(buf.len() as u64).ok_or(io::ErrorKind::UnexpectedEof)?;
                if end > range.end {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                self.source.read_exact_at(start, buf)
            }
            ForeignData::Owned(bytes) => bytes.as_ref().read_exact_at(offset, buf),
            ForeignData::Beside(bytes) => bytes.read_exact_at(offset, buf),
        }
    }

    fn slice(&self, id: ArrayId, bytes: Range<u64>) -> Option<&[u8]> {
        match &self.arrays.get(id.0 as usize)?.data {
            ForeignData::Source(range) => {
                let start = range.start.checked_add(bytes.start)?;
                let end = range.start.checked_add(bytes.end).filter(|end| *end <= range.end)?;
                self.source.slice(start..end)
            }
            ForeignData::Owned(_) => None,
            ForeignData::Beside(data) => data.slice(bytes),
        }
    }
}
