//! Making an index.
#![forbid(unsafe_code)]

use bytemuck::Zeroable;

use crate::format::codec::{Storage, Trials};
use crate::format::digest::Digest;
use crate::format::dtype::{Dtype, Field};
use crate::format::table::{ALIGNED, Block, Counts, PlainCode, RECORD, RawEntry, RawField};
use crate::format::{ArrayId, ArrayInfo, Order, Role};

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
