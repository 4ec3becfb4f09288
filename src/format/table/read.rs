//! Reading an index: every rule of it is checked.
#![forbid(unsafe_code)]

use std::ops::Range;
use std::sync::Arc;

use bytemuck::AnyBitPattern;

use crate::format::codec::{Storage, Trials};
use crate::format::digest::Digest;
use crate::format::dtype::{Dtype, DtypeError, Field, Record, TimeUnit};
use crate::format::error::FormatError;
use crate::format::header::{PROLOGUE_LEN, Prologue, VERSION};
use crate::format::table::{
    ALIGNED, Block, Counts, PlainCode, RECORD, RawEntry, RawField, Segment, alignment, escaped,
};
use crate::format::units::UNIT_LEN;
use crate::format::{ArrayId, ArrayInfo, BLOCK, MAX_NAME, MAX_NDIM, Order, Role};

const UNIT: u64 = UNIT_LEN as u64;

/// The pools of an index, each of the length that the counts call for.
pub(super) struct Pools<'a> {
    pub(super) entries: &'a [u8],
    shapes: Vec<u64>,
    pub(super) blocks: Vec<Block>,
    fields: Vec<RawField>,
    field_shapes: Vec<u32>,
    pub(super) sorted: Vec<u32>,
    text: &'a [u8],
}

impl<'a> Pools<'a> {
    pub(super) fn split(bytes: &'a [u8], prologue: &Prologue) -> Result<Self, FormatError> {
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
pub(super) struct Reader<'a> {
    pub(super) text: &'a str,
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
    pub(super) fn new(pools: &'a Pools<'a>, prologue: &Prologue) -> Result<Self, FormatError> {
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

    pub(super) fn end(&self, pools: &Pools<'_>) -> Result<(), FormatError> {
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
    pub(super) fn segment(&mut self, before: &[Segment], entry: &[u8]) -> Result<Segment, FormatError> {
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
            expected: "0 to 4",
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
                Storage::Units => stored > 0 && stored.is_multiple_of(UNIT) && stored / UNIT <= decoded,
                _ => (1..=decoded).contains(&stored),
            };
            if !fits {
                let expected = match storage {
                    Storage::Raw => decoded.to_string(),
                    Storage::Units => format!("{UNIT} for each of 1 to {decoded} units"),
                    _ => format!("1 to {decoded}"),
                };
                let (array, found) = (escaped(array), block.stored_len);
                return Err(FormatError::BlockLength { array, block: i, expected, found });
            }
            if stored == decoded && storage != Storage::Units && block.stored_crc != block.crc {
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

pub(super) fn code<T: Copy, const N: usize>(
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
