//! The prologue: the first 128 bytes, written last.
//!
//! ```text
//! offset  size  field
//!      0     8  magic: 89 4F 4E 43 0D 0A 1A 0A
//!      8     2  major version, 1
//!     10     2  minor version, 0 to 2
//!     12     2  length of the prologue, 128
//!     14     2  length of an index entry, 128 or more
//!     16     4  incompatible features: a reader that does not know a bit refuses the file
//!     20     4  compatible features: a reader ignores bits it does not know
//!     24     4  rewrite-incompatible features: one that does not know a bit may read, but not rewrite, the file
//!     28     4  number of arrays
//!     32     8  length of the file
//!     40     8  offset of the index, a multiple of 8
//!     48     8  length of the index
//!     56     8  length of the graph, which starts at the next multiple of 8 after the index
//!     64     4  length of the plan, likewise after the graph
//!     68     4  length of the metadata, likewise after the plan; with it the file ends
//!     72    16  CRC32 of index, graph, plan, metadata
//!     88    32  digest of the content
//!    120     4  zero
//!    124     4  CRC32 of bytes 0..124
//! ```
#![forbid(unsafe_code)]

use std::ops::Range;

use bytemuck::{Pod, Zeroable};

use crate::format::digest::Digest;
use crate::format::error::FormatError;
use crate::format::table::ENTRY_LEN;
use crate::format::{MAX_METADATA, MAX_PLAN, PART_ALIGN, align_up};

/// The first bytes of every file: a byte that is not ASCII, a name, and line ends that a text-mode copy changes.
pub(crate) const MAGIC: [u8; 8] = *b"\x89ONC\r\n\x1a\n";
/// The format this crate writes, and the newest major version it reads.
pub(crate) const VERSION: (u16, u16) = (1, 2);
/// Bytes of the prologue.
pub(crate) const PROLOGUE_LEN: u64 = 128;
/// Incompatible feature: arrays in zstd blocks.
pub(crate) const INCOMPAT_ZSTD: u32 = 1;
/// Incompatible feature: arrays in filtered blocks.
pub(crate) const INCOMPAT_FILTERED: u32 = 2;
/// Incompatible feature: arrays that are copies of others.
pub(crate) const INCOMPAT_COPIES: u32 = 4;
/// Incompatible feature: graph, plan and metadata are packed.
pub(crate) const INCOMPAT_PARTS: u32 = 8;
/// Incompatible feature: arrays that consist of units, which lie beside the archive.
pub(crate) const INCOMPAT_UNITS: u32 = 16;

const KNOWN_INCOMPAT: u32 =
    INCOMPAT_ZSTD | INCOMPAT_FILTERED | INCOMPAT_COPIES | INCOMPAT_PARTS | INCOMPAT_UNITS;
const KNOWN_REWRITE_INCOMPAT: u32 = 0;

/// What the prologue says, checked.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Prologue {
    pub(crate) minor: u16,
    pub(crate) entry_len: u16,
    pub(crate) incompat: u32,
    pub(crate) rewrite_incompat: u32,
    pub(crate) n_arrays: u32,
    pub(crate) index: Part,
    pub(crate) graph: Part,
    pub(crate) plan: Part,
    pub(crate) metadata: Part,
    pub(crate) digest: Digest,
}

/// A checksummed run of bytes after the arrays.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Part {
    pub(crate) start: u64,
    pub(crate) len: u64,
    pub(crate) crc: u32,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct RawPrologue {
    magic: [u8; 8],
    major: u16,
    minor: u16,
    prologue_len: u16,
    entry_len: u16,
    incompat: u32,
    compat: u32,
    rewrite_incompat: u32,
    n_arrays: u32,
    file_len: u64,
    index_start: u64,
    index_len: u64,
    graph_len: u64,
    plan_len: u32,
    metadata_len: u32,
    crc: [u32; 4],
    digest: [u8; 32],
    zero: u32,
    own_crc: u32,
}

const OWN_CRC_AT: usize = 124;

impl Prologue {
    /// Checks the prologue of `file`, that all its parts lie in the file, their checksums, and the zeros between.
    pub(crate) fn read(file: &[u8]) -> Result<Self, FormatError> {
        let len = file.len() as u64;
        let magic_len = file.len().min(MAGIC.len());
        if file[..magic_len] != MAGIC[..magic_len] || file.is_empty() {
            return Err(FormatError::not_a_model(file));
        }
        let Some(bytes) = file.get(..PROLOGUE_LEN as usize) else {
            return Err(FormatError::ShortPrologue { len });
        };
        let raw: RawPrologue = bytemuck::pod_read_unaligned(bytes);
        if raw.major != VERSION.0 {
            return Err(FormatError::Version { found: raw.major, minor: raw.minor, supported: VERSION.0 });
        }
        check_crc("prologue", &bytes[..OWN_CRC_AT], 0, raw.own_crc)?;
        raw.check_constants(len)?;
        let parts = raw.parts(len)?;
        let prologue = Prologue {
            minor: raw.minor,
            entry_len: raw.entry_len,
            incompat: raw.incompat,
            rewrite_incompat: raw.rewrite_incompat,
            n_arrays: raw.n_arrays,
            index: parts[0],
            graph: parts[1],
            plan: parts[2],
            metadata: parts[3],
            digest: Digest(raw.digest),
        };
        prologue.check_parts(file)?;
        Ok(prologue)
    }

    /// The 128 bytes of a file whose parts are laid out by [`lay_out`].
    pub(crate) fn write(&self) -> [u8; PROLOGUE_LEN as usize] {
        let raw = RawPrologue {
            magic: MAGIC,
            major: VERSION.0,
            minor: self.minor,
            prologue_len: PROLOGUE_LEN as u16,
            entry_len: self.entry_len,
            incompat: self.incompat,
            compat: 0,
            rewrite_incompat: self.rewrite_incompat,
            n_arrays: self.n_arrays,
            file_len: self.metadata.start + self.metadata.len,
            index_start: self.index.start,
            index_len: self.index.len,
            graph_len: self.graph.len,
            plan_len: self.plan.len as u32,
            metadata_len: self.metadata.len as u32,
            crc: [self.index.crc, self.graph.crc, self.plan.crc, self.metadata.crc],
            digest: self.digest.0,
            zero: 0,
            own_crc: 0,
        };
        let mut bytes: [u8; PROLOGUE_LEN as usize] = bytemuck::cast(raw);
        let crc = crc32fast::hash(&bytes[..OWN_CRC_AT]);
        bytes[OWN_CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Whether graph, plan and metadata are packed.
    pub(crate) fn has_packed_parts(&self) -> bool {
        self.incompat & INCOMPAT_PARTS != 0
    }

    /// Refuses to write anew a file with features that the writer would lose.
    pub(crate) fn check_rewritable(&self) -> Result<(), FormatError> {
        refuse_unknown("rewrite-incompatible", self.rewrite_incompat, KNOWN_REWRITE_INCOMPAT, self.minor)
    }

    fn check_parts(&self, file: &[u8]) -> Result<(), FormatError> {
        let mut end = self.index.start;
        for (name, part) in
            [("index", self.index), ("graph", self.graph), ("plan", self.plan), ("metadata", self.metadata)]
        {
            check_zero(file, end..part.start)?;
            let bytes = part.of(file).ok_or(FormatError::PartPastEnd {
                part: name,
                start: part.start,
                end: part.start.saturating_add(part.len),
                len: file.len() as u64,
            })?;
            check_crc(name, bytes, part.start, part.crc)?;
            end = part.start + part.len;
        }
        Ok(())
    }
}

impl Part {
    /// The bytes of this part; `None` if `file` is shorter.
    pub(crate) fn of(self, file: &[u8]) -> Option<&[u8]> {
        let start = usize::try_from(self.start).ok()?;
        let end = start.checked_add(usize::try_from(self.len).ok()?)?;
        file.get(start..end)
    }
}

/// Where a part of `len` bytes lies that follows the byte `end`.
pub(crate) fn lay_out(end: u64, bytes: &[u8]) -> Option<Part> {
    let start = align_up(end, PART_ALIGN)?;
    Some(Part { start, len: bytes.len() as u64, crc: crc32fast::hash(bytes) })
}

impl RawPrologue {
    fn check_constants(&self, len: u64) -> Result<(), FormatError> {
        refuse_unknown("incompatible", self.incompat, KNOWN_INCOMPAT, self.minor)?;
        if self.file_len != len {
            return Err(FormatError::Length { expected: self.file_len, found: len });
        }
        let constants: [(&'static str, u64, &'static str, u64, bool); 7] = [
            (
                "prologue length",
                12,
                "128",
                self.prologue_len.into(),
                self.prologue_len == PROLOGUE_LEN as u16,
            ),
            (
                "entry length",
                14,
                "a multiple of 8 from 128 on",
                self.entry_len.into(),
                self.entry_len >= ENTRY_LEN && self.entry_len.is_multiple_of(8),
            ),
            (
                "index offset",
                40,
                "a multiple of 8 from 128 on",
                self.index_start,
                self.index_start >= PROLOGUE_LEN && self.index_start.is_multiple_of(PART_ALIGN),
            ),
            ("plan length", 64, "at most 64 MiB", self.plan_len.into(), u64::from(self.plan_len) <= MAX_PLAN),
            (
                "metadata length",
                68,
                "at most 16 MiB",
                self.metadata_len.into(),
                u64::from(self.metadata_len) <= MAX_METADATA,
            ),
            ("array count", 28, "below 2^32 - 1", self.n_arrays.into(), self.n_arrays < u32::MAX),
            ("reserved word", 120, "0", self.zero.into(), self.zero == 0 || self.minor > VERSION.1),
        ];
        for (field, at, expected, found, holds) in constants {
            if !holds {
                return Err(FormatError::Prologue { field, at, expected, found });
            }
        }
        Ok(())
    }

    fn parts(&self, len: u64) -> Result<[Part; 4], FormatError> {
        let names = ["index", "graph", "plan", "metadata"];
        let lens = [self.index_len, self.graph_len, self.plan_len.into(), self.metadata_len.into()];
        let mut end = self.index_start;
        let mut parts = [Part { start: 0, len: 0, crc: 0 }; 4];
        for (i, part) in parts.iter_mut().enumerate() {
            let start = align_up(end, PART_ALIGN).unwrap_or(u64::MAX);
            let past = |end| FormatError::PartPastEnd { part: names[i], start, end, len };
            end = start.checked_add(lens[i]).ok_or_else(|| past(u64::MAX))?;
            if end > len {
                return Err(past(end));
            }
            *part = Part { start, len: lens[i], crc: self.crc[i] };
        }
        if end != len {
            return Err(FormatError::TrailingBytes { end, len });
        }
        Ok(parts)
    }
}

/// Refuses feature bits that this crate does not know.
fn refuse_unknown(word: &'static str, flags: u32, known: u32, minor: u16) -> Result<(), FormatError> {
    match flags & !known {
        0 => Ok(()),
        unknown => Err(FormatError::UnknownFeatures { word, unknown, major: VERSION.0, minor }),
    }
}

fn check_crc(part: &'static str, bytes: &[u8], start: u64, expected: u32) -> Result<(), FormatError> {
    match crc32fast::hash(bytes) {
        found if found == expected => Ok(()),
        found => Err(FormatError::Checksum { part, start, end: start + bytes.len() as u64, expected, found }),
    }
}

/// Refuses bytes other than zero in `range`, which lies in `file`.
pub(crate) fn check_zero(file: &[u8], range: Range<u64>) -> Result<(), FormatError> {
    let start = usize::try_from(range.start).unwrap_or(usize::MAX);
    let end = usize::try_from(range.end).unwrap_or(usize::MAX);
    let padding = file.get(start..end).unwrap_or_default();
    match padding.iter().position(|&byte| byte != 0) {
        None => Ok(()),
        Some(at) => Err(FormatError::Padding { at: range.start + at as u64, found: padding[at] }),
    }
}
