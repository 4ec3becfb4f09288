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
//!     95  u8   codec: 0 raw, 1 zstd, 2 filtered, 3 copy
//!     96  u8   filter: 0 none
//!     97  u8   kind: NumPy's letter, `r` for a record
//!     98  u8   flags: 1 big-endian, 2 aligned record
//!     99  u8   time unit: base
//!    100   20  why it is stored so (`Trials`)
//!    120  u32  copy: the array that has the same bytes
//!    124  u32  0
//! ```
#![forbid(unsafe_code)]

use std::ops::Range;
use std::sync::Arc;

use bytemuck::{AnyBitPattern, Pod, Zeroable};

use crate::format::codec::{Storage, Trials};
use crate::format::digest::Digest;
use crate::format::dtype::{Dtype, DtypeError, Field, Kind, Plain, Record, TimeUnit};
use crate::format::error::FormatError;
use crate::format::header::{PROLOGUE_LEN, Prologue, VERSION};
use crate::format::{
    ArrayId, ArrayInfo, BIG, BIG_ALIGN, BLOCK, MAX_NAME, MAX_NDIM, Order, Role, SMALL_ALIGN,
};

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

/// The pools of an index, each of the length that the counts call for.
struct Pools<'a> {
    entries: &'a [u8],
    shapes: Vec<u64>,
    blocks: Vec<Block>,
    fields: Vec<RawField>,
    field_shapes: Vec<u32>,
    sorted: Vec<u32>,
    text: &'a [u8],
}

impl<'a> Pools<'a> {
    fn split(bytes: &'a [u8], prologue: &Prologue) -> Result<Self, FormatError> {
        let found = bytes.len() as u64;
        let short = FormatError::IndexLength { expected: Some(size_of::<Counts>() as u64), found };
        let (head, mut rest) = bytes.split_at_checked(size_of::<Counts>()).ok_or(short)?;
        let counts: Counts = bytemuck::pod_read_unaligned(head);
        if counts.zero != 0 && prologue.minor <= VERSION.1 {
            return Err(FormatError::Reserved { place: "the index".to_owned() });
        }
        let n = u64::from(prologue.n_arrays);
        let lens = [
            n * u64::from(prologue.entry_len),
            u64::from(counts.shapes) * 8,
            u64::from(counts.blocks) * size_of::<Block>() as u64,
            u64::from(counts.fields) * size_of::<RawField>() as u64,
            u64::from(counts.field_shapes) * 4,
            n * 4,
            counts.text,
        ];
        let expected = lens.iter().try_fold(size_of::<Counts>() as u64, |sum, &len| sum.checked_add(len));
        let mut pools = [&rest[..0]; 7];
        for (pool, len) in pools.iter_mut().zip(lens) {
            let wrong = || FormatError::IndexLength { expected, found };
            let len = usize::try_from(len).map_err(|_| wrong())?;
            (*pool, rest) = rest.split_at_checked(len).ok_or_else(wrong)?;
        }
        if !rest.is_empty() {
            return Err(FormatError::IndexLength { expected, found });
        }
        let [entries, shapes, blocks, fields, field_shapes, sorted, text] = pools;
        Ok(Pools {
            entries,
            shapes: collect(shapes),
            blocks: collect(blocks),
            fields: collect(fields),
            field_shapes: collect(field_shapes),
            sorted: collect(sorted),
            text,
        })
    }
}

/// Copies items out of bytes of any alignment.
fn collect<T: AnyBitPattern>(bytes: &[u8]) -> Vec<T> {
    bytes.chunks_exact(size_of::<T>()).map(bytemuck::pod_read_unaligned).collect()
}

/// How much of each pool the entries have used so far.
struct Reader<'a> {
    text: &'a str,
    shapes: &'a [u64],
    blocks: &'a [Block],
    fields: &'a [RawField],
    field_shapes: &'a [u32],
    used: Used,
    /// Where the last segment ended.
    free: u64,
    /// Where the index starts.
    limit: u64,
    /// Whether bytes that this version reserves must be zero; a newer minor version may use them.
    strict: bool,
    /// Whether the file is of the first minor version, in which entries end with zeros.
    oldest: bool,
}

#[derive(Default)]
struct Used {
    text: u64,
    shapes: u64,
    blocks: u64,
    fields: u64,
    field_shapes: u64,
}

impl<'a> Reader<'a> {
    fn new(pools: &'a Pools<'a>, prologue: &Prologue) -> Result<Self, FormatError> {
        let limit = prologue.index.start;
        let text = std::str::from_utf8(pools.text).map_err(|error| FormatError::Part {
            part: "text of the index",
            start: limit,
            reason: error.to_string(),
        })?;
        Ok(Reader {
            text,
            shapes: &pools.shapes,
            blocks: &pools.blocks,
            fields: &pools.fields,
            field_shapes: &pools.field_shapes,
            used: Used::default(),
            free: PROLOGUE_LEN,
            limit,
            strict: prologue.minor <= VERSION.1,
            oldest: prologue.minor == 0,
        })
    }

    fn end(&self, pools: &Pools<'_>) -> Result<(), FormatError> {
        let all = [
            ("bytes of text", self.used.text, pools.text.len()),
            ("shape lengths", self.used.shapes, pools.shapes.len()),
            ("blocks", self.used.blocks, pools.blocks.len()),
            ("fields", self.used.fields, pools.fields.len()),
            ("field shape lengths", self.used.field_shapes, pools.field_shapes.len()),
        ];
        for (pool, used, len) in all {
            if used != len as u64 {
                return Err(FormatError::PoolLength { pool, used, len: len as u64 });
            }
        }
        Ok(())
    }

    /// Reads the entry that follows those of `before`.
    fn segment(&mut self, before: &[Segment], entry: &[u8]) -> Result<Segment, FormatError> {
        let id = before.len() as u32;
        let (known, unknown) = entry.split_at(size_of::<RawEntry>());
        let raw: RawEntry = bytemuck::pod_read_unaligned(known);
        let explained = raw.trials != [0; Trials::LEN] || raw.copy_of != 0;
        let unknown = raw.zero != 0 || unknown.iter().any(|&byte| byte != 0);
        if (self.strict && unknown) || (self.oldest && explained) {
            return Err(FormatError::Reserved { place: format!("the entry of array {id}") });
        }
        let name = self.name(id, "its name", raw.name_start, raw.name_len)?;
        // Escaped only where an error needs it: there may be many arrays.
        let array = self.text.get(name.clone()).unwrap_or_default();
        let shape = self.shape(id, array, &raw)?;
        let order = code(array, "order", "0 or 1", raw.order, [(0, Order::C), (1, Order::F)])?;
        let role = code(array, "role", "0 or 1", raw.role, [(0, Role::Predict), (1, Role::Rebuild)])?;
        code(array, "filter", "0", raw.filter, [(0, ())])?;
        let storage = Storage::from_code(raw.codec).ok_or_else(|| FormatError::Code {
            array: escaped(array),
            field: "codec",
            expected: "0 to 3",
            found: raw.codec.into(),
        })?;
        let dtype = self.dtype(id, array, &raw)?;
        let info = ArrayInfo { dtype, shape, order };
        check_length(array, &info, raw.raw_len)?;
        self.place(array, &raw, storage)?;
        let mut blocks = self.block_list(id, array, &raw, storage)?;
        let copied = copied(array, &raw, storage, before)?;
        if let Some((_, holder)) = copied {
            blocks = holder.blocks.clone();
        }
        Ok(Segment {
            info,
            role,
            storage,
            offset: raw.offset,
            stored_len: raw.stored_len,
            raw_len: raw.raw_len,
            digest: Digest(raw.digest),
            trials: Trials::read(&raw.trials),
            copy_of: copied.map(|(id, _)| id),
            name,
            blocks,
        })
    }

    fn name(
        &mut self,
        id: u32,
        what: &'static str,
        start: u32,
        len: u32,
    ) -> Result<Range<usize>, FormatError> {
        let range = take(id, "names", &mut self.used.text, start.into(), len.into())?;
        let fits = (1..=MAX_NAME).contains(&range.len()) && self.text.get(range.clone()).is_some();
        if fits { Ok(range) } else { Err(FormatError::Name { array: id, what, limits: "1 to 4096" }) }
    }

    fn shape(&mut self, id: u32, array: &str, raw: &RawEntry) -> Result<Vec<u64>, FormatError> {
        check_ndim(array, "number of dimensions", raw.ndim)?;
        let range =
            take(id, "shape lengths", &mut self.used.shapes, raw.shape_start.into(), raw.ndim.into())?;
        let shape = self.shapes.get(range).ok_or(FormatError::PoolLength {
            pool: "shape lengths",
            used: self.used.shapes,
            len: self.shapes.len() as u64,
        })?;
        Ok(shape.to_vec())
    }

    fn dtype(&mut self, id: u32, array: &str, raw: &RawEntry) -> Result<Dtype, FormatError> {
        let fields =
            take(id, "fields", &mut self.used.fields, raw.field_start.into(), raw.field_count.into())?;
        let invalid = |source| FormatError::Dtype { array: escaped(array), source };
        let dtype = if raw.kind == RECORD {
            let flags = [(0, false), (ALIGNED, true)];
            let aligned = code(array, "flags", "0 or 2", raw.flags, flags)?;
            let fields = self.fields.get(fields).ok_or(FormatError::PoolLength {
                pool: "fields",
                used: self.used.fields,
                len: self.fields.len() as u64,
            })?;
            if raw.unit_base != 0 || raw.unit_count != 0 {
                return Err(invalid(DtypeError::Unit { base: raw.unit_base, count: raw.unit_count }));
            }
            let fields = fields.iter().map(|field| self.field(id, array, field)).collect::<Result<_, _>>()?;
            Dtype::Record(Arc::new(Record { fields, itemsize: raw.itemsize, aligned }))
        } else {
            if !fields.is_empty() {
                return Err(FormatError::Code {
                    array: escaped(array),
                    field: "number of fields",
                    expected: "0 for a dtype that is not a record",
                    found: raw.field_count.into(),
                });
            }
            let code = PlainCode {
                kind: raw.kind,
                flags: raw.flags,
                itemsize: raw.itemsize,
                unit: TimeUnit { base: raw.unit_base, count: raw.unit_count },
            };
            Dtype::Plain(code.read(array)?)
        };
        dtype.validate().map_err(invalid)?;
        Ok(dtype)
    }

    fn field(&mut self, id: u32, array: &str, raw: &RawField) -> Result<Field, FormatError> {
        if self.strict && raw.zero != 0 {
            return Err(FormatError::Reserved { place: format!("a field of array {id}") });
        }
        let name = self.name(id, "the name of a field", raw.name_start, raw.name_len)?;
        check_ndim(array, "number of dimensions of a field", raw.ndim)?;
        let used = &mut self.used.field_shapes;
        let shape = take(id, "field shape lengths", used, raw.shape_start.into(), raw.ndim.into())?;
        let shape = self.field_shapes.get(shape).ok_or(FormatError::PoolLength {
            pool: "field shape lengths",
            used: self.used.field_shapes,
            len: self.field_shapes.len() as u64,
        })?;
        let unit = TimeUnit { base: raw.unit_base, count: raw.unit_count };
        let code = PlainCode { kind: raw.kind, flags: raw.flags, itemsize: raw.itemsize, unit };
        Ok(Field {
            name: self.text.get(name).unwrap_or_default().to_owned(),
            dtype: code.read(array)?,
            shape: shape.to_vec(),
            offset: raw.offset,
        })
    }

    fn place(&mut self, name: &str, raw: &RawEntry, storage: Storage) -> Result<(), FormatError> {
        let start = raw.offset;
        let align = alignment(storage, raw.raw_len);
        if !start.is_multiple_of(align) {
            return Err(FormatError::SegmentAlignment { array: escaped(name), start, align });
        }
        if start < self.free {
            return Err(FormatError::SegmentOverlap { array: escaped(name), start, free: self.free });
        }
        let end = start.checked_add(raw.stored_len);
        match end.filter(|&end| end <= self.limit) {
            Some(end) => self.free = end,
            None => {
                return Err(FormatError::SegmentPastEnd {
                    array: escaped(name),
                    start,
                    end,
                    limit: self.limit,
                });
            }
        }
        Ok(())
    }

    fn block_list(
        &mut self,
        id: u32,
        array: &str,
        raw: &RawEntry,
        storage: Storage,
    ) -> Result<Range<usize>, FormatError> {
        let count = u64::from(raw.block_count);
        let range = take(id, "blocks", &mut self.used.blocks, raw.block_start.into(), count)?;
        let expected = if storage == Storage::Copy { 0 } else { raw.raw_len.div_ceil(BLOCK as u64) };
        if count != expected {
            let (array, raw_len) = (escaped(array), raw.raw_len);
            return Err(FormatError::BlockCount { array, raw_len, expected, found: count });
        }
        let blocks = self.blocks.get(range.clone()).ok_or(FormatError::PoolLength {
            pool: "blocks",
            used: self.used.blocks,
            len: self.blocks.len() as u64,
        })?;
        let mut sum = 0;
        for (i, block) in blocks.iter().enumerate() {
            let i = i as u64;
            let decoded = (raw.raw_len - i * BLOCK as u64).min(BLOCK as u64);
            let stored = u64::from(block.stored_len);
            let fits = match storage {
                Storage::Raw => stored == decoded,
                _ => (1..=decoded).contains(&stored),
            };
            if !fits {
                let expected =
                    if storage == Storage::Raw { decoded.to_string() } else { format!("1 to {decoded}") };
                let (array, found) = (escaped(array), block.stored_len);
                return Err(FormatError::BlockLength { array, block: i, expected, found });
            }
            if stored == decoded && block.stored_crc != block.crc {
                return Err(FormatError::BlockChecksums { array: escaped(array), block: i });
            }
            sum += stored;
        }
        if sum != raw.stored_len {
            let array = escaped(array);
            return Err(FormatError::StoredLength { array, expected: sum, found: raw.stored_len });
        }
        Ok(range)
    }
}

/// Takes the next `len` items of a pool for array `array`.
fn take(
    array: u32,
    pool: &'static str,
    used: &mut u64,
    start: u64,
    len: u64,
) -> Result<Range<usize>, FormatError> {
    if start != *used {
        return Err(FormatError::PoolPosition { array, pool, expected: *used, found: start });
    }
    // Both come from 32-bit numbers, so that the sum cannot overflow.
    *used += len;
    Ok(start as usize..*used as usize)
}

fn code<T: Copy, const N: usize>(
    array: &str,
    field: &'static str,
    expected: &'static str,
    found: u8,
    known: [(u8, T); N],
) -> Result<T, FormatError> {
    let value = known.iter().find(|(code, _)| *code == found);
    let (array, found) = (array, u64::from(found));
    value.map(|(_, value)| *value).ok_or_else(|| FormatError::Code {
        array: escaped(array),
        field,
        expected,
        found,
    })
}

/// The array that another one copies, and its number.
fn copied<'a>(
    array: &str,
    raw: &RawEntry,
    storage: Storage,
    before: &'a [Segment],
) -> Result<Option<(ArrayId, &'a Segment)>, FormatError> {
    let wrong = |expected| FormatError::Code {
        array: escaped(array),
        field: "array that it copies",
        expected,
        found: raw.copy_of.into(),
    };
    if storage != Storage::Copy {
        return if raw.copy_of == 0 {
            Ok(None)
        } else {
            Err(wrong("0 for an array that has bytes of its own"))
        };
    }
    let holder = before.get(raw.copy_of as usize).filter(|holder| holder.storage != Storage::Copy);
    let holder = holder.ok_or_else(|| wrong("the number of an array before it that is no copy"))?;
    if holder.raw_len != raw.raw_len || holder.digest.0 != raw.digest {
        return Err(wrong("the number of an array of the same length and BLAKE3"));
    }
    Ok(Some((ArrayId(raw.copy_of), holder)))
}

fn check_ndim(array: &str, field: &'static str, ndim: u8) -> Result<(), FormatError> {
    if usize::from(ndim) <= MAX_NDIM {
        return Ok(());
    }
    Err(FormatError::Code { array: escaped(array), field, expected: "at most 64", found: ndim.into() })
}

fn check_length(array: &str, info: &ArrayInfo, raw_len: u64) -> Result<(), FormatError> {
    let expected = info.len_bytes();
    if expected == Some(raw_len) {
        return Ok(());
    }
    Err(FormatError::ShapeLength {
        array: escaped(array),
        shape: info.shape.clone(),
        itemsize: info.dtype.itemsize(),
        expected,
        found: raw_len,
    })
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

/// The index of a file being written. Entries are pushed in the order of ids.
#[derive(Default)]
pub(crate) struct IndexBuilder {
    entries: Vec<RawEntry>,
    shapes: Vec<u64>,
    blocks: Vec<Block>,
    fields: Vec<RawField>,
    field_shapes: Vec<u32>,
    text: String,
}

/// Where and how the writer stored an array.
pub(crate) struct Stored {
    pub(crate) storage: Storage,
    pub(crate) offset: u64,
    pub(crate) stored_len: u64,
    pub(crate) raw_len: u64,
    pub(crate) digest: Digest,
    pub(crate) blocks: Vec<Block>,
    pub(crate) trials: Trials,
    pub(crate) copy_of: Option<ArrayId>,
}

impl IndexBuilder {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    fn name(&self, entry: &RawEntry) -> &str {
        let start = entry.name_start as usize;
        &self.text[start..start + entry.name_len as usize]
    }

    /// Whether the pools have room for one more array.
    pub(crate) fn has_room(&self, name: &str, info: &ArrayInfo, blocks: u64) -> bool {
        let (fields, text, dims) = match &info.dtype {
            Dtype::Plain(_) => (0, 0, 0),
            Dtype::Record(record) => (
                record.fields.len(),
                record.fields.iter().map(|field| field.name.len()).sum(),
                record.fields.iter().map(|field| field.shape.len()).sum(),
            ),
        };
        let fits = |len: usize, more: usize| len.saturating_add(more) < u32::MAX as usize;
        fits(self.entries.len(), 1)
            && fits(self.shapes.len(), info.shape.len())
            && fits(self.blocks.len(), usize::try_from(blocks).unwrap_or(usize::MAX))
            && fits(self.fields.len(), fields)
            && fits(self.field_shapes.len(), dims)
            && fits(self.text.len(), name.len().saturating_add(text))
    }

    /// Adds an array that `has_room` for.
    pub(crate) fn push(&mut self, name: &str, info: &ArrayInfo, role: Role, stored: &Stored) {
        let mut entry = RawEntry {
            offset: stored.offset,
            stored_len: stored.stored_len,
            raw_len: stored.raw_len,
            digest: stored.digest.0,
            name_start: self.text.len() as u32,
            name_len: name.len() as u32,
            shape_start: self.shapes.len() as u32,
            block_start: self.blocks.len() as u32,
            block_count: stored.blocks.len() as u32,
            field_start: self.fields.len() as u32,
            itemsize: info.dtype.itemsize(),
            ndim: info.shape.len() as u8,
            order: u8::from(info.order == Order::F),
            role: u8::from(role == Role::Rebuild),
            codec: stored.storage.code(),
            trials: stored.trials.write(),
            copy_of: stored.copy_of.map_or(0, |id| id.0),
            ..RawEntry::zeroed()
        };
        self.text.push_str(name);
        self.shapes.extend_from_slice(&info.shape);
        self.blocks.extend_from_slice(&stored.blocks);
        match &info.dtype {
            Dtype::Plain(plain) => {
                let code = PlainCode::write(plain);
                (entry.kind, entry.flags) = (code.kind, code.flags);
                (entry.unit_base, entry.unit_count) = (code.unit.base, code.unit.count);
            }
            Dtype::Record(record) => {
                (entry.kind, entry.flags) = (RECORD, if record.aligned { ALIGNED } else { 0 });
                entry.field_count = record.fields.len() as u32;
                record.fields.iter().for_each(|field| self.push_field(field));
            }
        }
        self.entries.push(entry);
    }

    fn push_field(&mut self, field: &Field) {
        let code = PlainCode::write(&field.dtype);
        self.fields.push(RawField {
            name_start: self.text.len() as u32,
            name_len: field.name.len() as u32,
            offset: field.offset,
            itemsize: code.itemsize,
            shape_start: self.field_shapes.len() as u32,
            unit_count: code.unit.count,
            ndim: field.shape.len() as u8,
            kind: code.kind,
            flags: code.flags,
            unit_base: code.unit.base,
            zero: 0,
        });
        self.text.push_str(&field.name);
        self.field_shapes.extend_from_slice(&field.shape);
    }

    /// The bytes of the index.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let counts = Counts {
            shapes: self.shapes.len() as u32,
            fields: self.fields.len() as u32,
            field_shapes: self.field_shapes.len() as u32,
            blocks: self.blocks.len() as u32,
            text: self.text.len() as u64,
            zero: 0,
        };
        let mut sorted: Vec<u32> = (0..self.entries.len() as u32).collect();
        sorted.sort_unstable_by_key(|&id| self.name(&self.entries[id as usize]));
        [
            bytemuck::bytes_of(&counts),
            bytemuck::cast_slice(&self.entries),
            bytemuck::cast_slice(&self.shapes),
            bytemuck::cast_slice(&self.blocks),
            bytemuck::cast_slice(&self.fields),
            bytemuck::cast_slice(&self.field_shapes),
            bytemuck::cast_slice(&sorted),
            self.text.as_bytes(),
        ]
        .concat()
    }
}
