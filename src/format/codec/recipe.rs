//! How the blocks of an array are filtered, and doing it. `stream.rs` undoes it.
#![forbid(unsafe_code)]

use std::io;
use std::mem;

use crate::format::codec::columns::{self, Fields};
use crate::format::codec::dictionary::{Dictionary, Distinct, Ordering};
use crate::format::codec::stream::{COLUMNS, DELTA, DICTIONARY, SHUFFLE, STORED, ZSTD};
use crate::format::codec::zstd::Encoder;
use crate::format::codec::{delta, shuffle};

/// What is done to elements before they are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Filter {
    pub(super) delta: bool,
    pub(super) shuffle: bool,
}

impl Filter {
    pub(super) const NONE: Filter = Filter { delta: false, shuffle: false };
    pub(super) const SHUFFLE: Filter = Filter { delta: false, shuffle: true };
    pub(super) const DELTA: Filter = Filter { delta: true, shuffle: false };
    pub(super) const BOTH: Filter = Filter { delta: true, shuffle: true };
}

/// How the blocks of an array become streams.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Recipe {
    /// As they are.
    #[default]
    Stored,
    /// Filtered and compressed.
    Filtered { width: usize, filter: Filter },
    /// As positions in a list of distinct values, where that is possible; else filtered and compressed.
    Dictionary { width: usize, ordering: Ordering, indices: Filter, otherwise: Filter },
    /// Column by column, each in a way of its own. `record` is the sum of the columns.
    Columns { record: usize, groups: Vec<(Fields, Recipe)> },
}

/// Makes streams, one after the other, in memory that it keeps.
pub(super) struct Streams {
    zstd: Encoder,
    differences: Vec<u8>,
    planes: Vec<u8>,
    columns: Vec<u8>,
}

impl Streams {
    pub(super) fn new(zstd: Encoder) -> Self {
        Streams { zstd, differences: Vec::new(), planes: Vec::new(), columns: Vec::new() }
    }

    /// The stream of a block that starts `lead` bytes before its first whole record; `None` if it is not shorter.
    pub(super) fn block(
        &mut self,
        recipe: &Recipe,
        block: &[u8],
        lead: usize,
    ) -> io::Result<Option<Vec<u8>>> {
        let mut stream = Vec::new();
        match recipe {
            Recipe::Stored => return Ok(None),
            Recipe::Columns { record, groups } => self.columns(*record, groups, block, lead, &mut stream)?,
            column => self.column(column, block, &mut stream)?,
        }
        Ok((stream.len() < block.len()).then_some(stream))
    }

    fn column(&mut self, recipe: &Recipe, bytes: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        match *recipe {
            Recipe::Filtered { width, filter } => self.filtered(bytes, width, filter, out),
            Recipe::Dictionary { width, ordering, indices, otherwise } => {
                match Distinct::find(bytes, width) {
                    Some(found) => self.dictionary(&found.ordered(ordering), width, indices, out),
                    None => self.filtered(bytes, width, otherwise, out),
                }
            }
            Recipe::Stored | Recipe::Columns { .. } => {
                out.push(STORED);
                out.extend_from_slice(bytes);
                Ok(())
            }
        }
    }

    fn filtered(&mut self, bytes: &[u8], width: usize, filter: Filter, out: &mut Vec<u8>) -> io::Result<()> {
        let Streams { zstd, differences, planes, .. } = self;
        let mut bytes = bytes;
        if filter.delta && delta::is_width(width) {
            differences.clear();
            differences.extend_from_slice(bytes);
            delta::differences(differences, width);
            out.extend([DELTA, width as u8]);
            bytes = differences;
        }
        if filter.shuffle && width > 1 {
            if planes.len() < bytes.len() {
                planes.resize(bytes.len(), 0);
            }
            let planes = &mut planes[..bytes.len()];
            shuffle::shuffle(bytes, width, planes);
            out.extend([SHUFFLE, width as u8]);
            bytes = planes;
        }
        match zstd.encode(bytes)? {
            Some(frame) => {
                out.push(ZSTD);
                out.extend_from_slice(frame);
            }
            None => {
                out.push(STORED);
                out.extend_from_slice(bytes);
            }
        }
        Ok(())
    }

    /// The stream of elements that have been looked up.
    pub(super) fn dictionary(
        &mut self,
        found: &Dictionary,
        width: usize,
        indices: Filter,
        out: &mut Vec<u8>,
    ) -> io::Result<()> {
        out.extend([DICTIONARY, width as u8, found.index_width as u8]);
        out.extend((found.count as u32).to_le_bytes());
        let len_at = out.len();
        out.extend([0; 4]);
        self.filtered(&found.values, width, Filter::BOTH, out)?;
        note_len(out, len_at, len_at + 4);
        self.filtered(&found.indices, found.index_width, indices, out)
    }

    fn columns(
        &mut self,
        record: usize,
        groups: &[(Fields, Recipe)],
        block: &[u8],
        lead: usize,
        out: &mut Vec<u8>,
    ) -> io::Result<()> {
        let whole = block.len().saturating_sub(lead) / record;
        if whole == 0 {
            return self.filtered(block, 1, Filter::NONE, out);
        }
        let (before, rest) = block.split_at(lead);
        let (records, after) = rest.split_at(whole * record);
        out.push(COLUMNS);
        out.extend((record as u16).to_le_bytes());
        out.extend((lead as u16).to_le_bytes());
        out.push(groups.len() as u8);
        let heads_at = out.len();
        for (fields, _) in groups {
            out.extend((fields.width as u16).to_le_bytes());
            out.extend((fields.count as u16).to_le_bytes());
            out.extend([0; 4]);
        }
        out.extend_from_slice(before);
        out.extend_from_slice(after);
        let mut columns = mem::take(&mut self.columns);
        if columns.len() < records.len() {
            columns.resize(records.len(), 0);
        }
        let fields: Vec<Fields> = groups.iter().map(|(fields, _)| *fields).collect();
        columns::gather(records, record, &fields, &mut columns[..records.len()]);
        let mut rest = &columns[..];
        for (i, (fields, recipe)) in groups.iter().enumerate() {
            let column;
            (column, rest) = rest.split_at(fields.len() * whole);
            let start = out.len();
            self.column(recipe, column, out)?;
            note_len(out, heads_at + 8 * i + 4, start);
        }
        self.columns = columns;
        Ok(())
    }
}

/// Writes the number of bytes from `start` on at `at`.
fn note_len(out: &mut [u8], at: usize, start: usize) {
    let len = (out.len() - start) as u32;
    out[at..at + 4].copy_from_slice(&len.to_le_bytes());
}
