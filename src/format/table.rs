//! The index: what each array is and where it lies. Reading checks everything, so that accessors cannot fail.
//!
//! ```text
//! counts        32 bytes: u32 shape lengths, u32 fields, u32 field lengths, u32 blocks, u64 bytes of text, u64 0
//! entries       one per array, in the order of ids and of offsets; their length stands in the prologue
//! shapes        u64 each: the dimensions of all arrays, one array after the other
//! blocks        12 bytes each: u32 CRC32 of the decoded block, u32 CRC32 of the stored block, u32 stored length
//! fields        32 bytes each: the fields of record dtypes
//! field shapes  u32 each: the dimensions of sub-array fields
//! sorted        u32 each: the ids of the arrays in the order of their names' bytes
//! text          UTF-8: the name of each array, followed by the names of its fields
//! ```
//!
//! The entries use each pool from its start to its end without holes or sharing.
//!
//! ```text
//! entry                                     field
//!      0  u64  offset of the segment             0  u32  start of the name in the text
//!      8  u64  stored length                     4  u32  length of the name
//!     16  u64  decoded length                    8  u32  offset in the record
//!     24   32  BLAKE3 of the decoded bytes      12  u32  item size
//!     56  u32  start of the name in the text    16  u32  start in the field shapes
//!     60  u32  length of the name               20  u32  time unit: count
//!     64  u32  start in the shapes              24  u8   dimensions
//!     68  u32  start in the blocks              25  u8   kind
//!     72  u32  number of blocks                 26  u8   flags: 1 big-endian
//!     76  u32  start in the fields              27  u8   time unit: base
//!     80  u32  number of fields                 28  u32  0
//!     84  u32  item size
//!     88  u32  time unit: count
//!     92  u8   dimensions
//!     93  u8   order: 0 C, 1 F
//!     94  u8   role: 0 predict, 1 rebuild
//!     95  u8   codec: 0 raw, 1 zstd, 2 filtered, 3 copy, 4 units
//!     96  u8   0
//!     97  u8   kind: NumPy's letter, `r` for a record
//!     98  u8   flags: 1 big-endian, 2 aligned record
//!     99  u8   time unit: base
//!    100   20  why it is stored so (`Trials`)
//!    120  u32  copy: the array that has the same bytes
//!    124  u32  0
//! ```
#![forbid(unsafe_code)]

mod build;
mod read;

use std::ops::Range;

use bytemuck::{Pod, Zeroable};

pub(crate) use self::build::{IndexBuilder, Stored};
use self::read::{Pools, Reader, code};

use crate::format::codec::{Storage, Trials};
use crate::format::digest::Digest;
use crate::format::dtype::{DtypeError, Kind, Plain, TimeUnit};
use crate::format::error::FormatError;
use crate::format::header::Prologue;
use crate::format::{ArrayId, ArrayInfo, BIG, BIG_ALIGN, Role, SMALL_ALIGN};

/// Bytes of an entry as this crate writes it.
pub(crate) const ENTRY_LEN: u16 = size_of::<RawEntry>() as u16;

const RECORD: u8 = b'r';
const BIG_ENDIAN: u8 = 1;
const ALIGNED: u8 = 2;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Counts {
    shapes: u32,
    fields: u32,
    field_shapes: u32,
    blocks: u32,
    text: u64,
    zero: u64,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct RawEntry {
    offset: u64,
    stored_len: u64,
    raw_len: u64,
    digest: [u8; 32],
    name_start: u32,
    name_len: u32,
    shape_start: u32,
    block_start: u32,
    block_count: u32,
    field_start: u32,
    field_count: u32,
    itemsize: u32,
    unit_count: u32,
    ndim: u8,
    order: u8,
    role: u8,
    codec: u8,
    filter: u8,
    kind: u8,
    flags: u8,
    unit_base: u8,
    trials: [u8; Trials::LEN],
    copy_of: u32,
    zero: u32,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct RawField {
    name_start: u32,
    name_len: u32,
    offset: u32,
    itemsize: u32,
    shape_start: u32,
    unit_count: u32,
    ndim: u8,
    kind: u8,
    flags: u8,
    unit_base: u8,
    zero: u32,
}

/// One block of an array.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Block {
    /// Of the decoded bytes.
    pub(crate) crc: u32,
    /// Of the bytes in the file: a damaged zstd frame may still decode to the right bytes.
    pub(crate) stored_crc: u32,
    /// Bytes in the file.
    pub(crate) stored_len: u32,
}

/// One array of the file.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) info: ArrayInfo,
    pub(crate) role: Role,
    pub(crate) storage: Storage,
    pub(crate) offset: u64,
    pub(crate) stored_len: u64,
    pub(crate) raw_len: u64,
    pub(crate) digest: Digest,
    /// What was tried before it was stored.
    pub(crate) trials: Trials,
    /// The array whose bytes it has, if it is stored as [`Storage::Copy`]; its blocks are that one's.
    pub(crate) copy_of: Option<ArrayId>,
    name: Range<usize>,
    blocks: Range<usize>,
}

impl Segment {
    /// Where the segment lies in the file.
    pub(crate) fn range(&self) -> Range<u64> {
        self.offset..self.offset + self.stored_len
    }
}

/// All arrays of a file, checked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Index {
    segments: Vec<Segment>,
    sorted: Vec<u32>,
    blocks: Vec<Block>,
    text: String,
}

impl Index {
    pub(crate) fn len(&self) -> u32 {
        self.segments.len() as u32
    }

    pub(crate) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    pub(crate) fn segment(&self, id: ArrayId) -> Option<&Segment> {
        self.segments.get(id.0 as usize)
    }

    pub(crate) fn name(&self, segment: &Segment) -> &str {
        self.text.get(segment.name.clone()).unwrap_or_default()
    }

    pub(crate) fn blocks(&self, segment: &Segment) -> &[Block] {
        self.blocks.get(segment.blocks.clone()).unwrap_or_default()
    }

    /// The array that holds the bytes of `segment`: most often itself.
    pub(crate) fn holder<'a>(&'a self, segment: &'a Segment) -> &'a Segment {
        segment.copy_of.and_then(|id| self.segment(id)).unwrap_or(segment)
    }

    pub(crate) fn find(&self, name: &str) -> Option<ArrayId> {
        let name_of = |&id: &u32| self.segments.get(id as usize).map_or("", |segment| self.name(segment));
        let at = self.sorted.binary_search_by(|id| name_of(id).cmp(name)).ok()?;
        self.sorted.get(at).copied().map(ArrayId)
    }

    /// Reads and checks the index of `file`, whose prologue has been checked.
    pub(crate) fn read(file: &[u8], prologue: &Prologue) -> Result<Self, FormatError> {
        let bytes = prologue.index.of(file).unwrap_or_default();
        let pools = Pools::split(bytes, prologue)?;
        let mut reader = Reader::new(&pools, prologue)?;
        let mut segments = Vec::with_capacity(prologue.n_arrays as usize);
        for entry in pools.entries.chunks_exact(prologue.entry_len.into()) {
            segments.push(reader.segment(&segments, entry)?);
        }
        reader.end(&pools)?;
        let text = reader.text.to_owned();
        let index = Index { segments, sorted: pools.sorted, blocks: pools.blocks, text };
        index.check_sorted()?;
        Ok(index)
    }

    fn check_sorted(&self) -> Result<(), FormatError> {
        let mut previous: Option<&str> = None;
        for (position, &array) in self.sorted.iter().enumerate() {
            let position = position as u32;
            let count = self.len();
            let segment =
                self.segment(ArrayId(array)).ok_or(FormatError::NameIndex { position, array, count })?;
            let name = self.name(segment);
            if previous.is_some_and(|previous| previous >= name) {
                let previous = escaped(previous.unwrap_or_default());
                return Err(FormatError::NameOrder { position, previous, name: escaped(name) });
            }
            previous = Some(name);
        }
        Ok(())
    }
}

/// A name fit for a terminal, not longer than a line.
fn escaped(name: &str) -> String {
    name.chars().take(80).flat_map(char::escape_debug).collect()
}

/// What the offset of a segment must be a multiple of.
pub(crate) fn alignment(storage: Storage, raw_len: u64) -> u64 {
    if storage == Storage::Raw && raw_len >= BIG { BIG_ALIGN } else { SMALL_ALIGN }
}

/// A plain dtype in an entry or a field.
struct PlainCode {
    kind: u8,
    flags: u8,
    itemsize: u32,
    unit: TimeUnit,
}

impl PlainCode {
    fn read(&self, array: &str) -> Result<Plain, FormatError> {
        let big_endian = code(array, "flags", "0 or 1", self.flags, [(0, false), (BIG_ENDIAN, true)])?;
        let invalid = |source| FormatError::Dtype { array: escaped(array), source };
        let kind = Kind::from_letter(self.kind, self.unit);
        let kind = kind.ok_or_else(|| invalid(DtypeError::Kind(self.kind.into())))?;
        if kind.unit() != self.unit {
            return Err(invalid(DtypeError::Unit { base: self.unit.base, count: self.unit.count }));
        }
        Ok(Plain { kind, itemsize: self.itemsize, big_endian })
    }

    fn write(plain: &Plain) -> Self {
        PlainCode {
            kind: plain.kind.letter(),
            flags: if plain.big_endian { BIG_ENDIAN } else { 0 },
            itemsize: plain.itemsize,
            unit: plain.kind.unit(),
        }
    }
}
