//! Streams groups to the file.
#![forbid(unsafe_code)]

use std::io::{self, Read};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::format::dtype::{Dtype, Field};
use crate::format::lanes::NewArray;
use crate::format::{ArrayId, ArrayInfo, Role};
use crate::model::array::{ArraySink, ArraySource};
use crate::model::pack::PackError;
use crate::model::pack::chunks::{Buffers, Chunk, all_rows, chunks, in_order, rows};
use crate::model::pack::columns::{blocks, gather};
use crate::model::pack::layout::{Column, Form, Group, Layout, Names};
use crate::model::pack::quotients::Values;
use crate::model::pack::scan::widen;

/// Arrays below this size share pages in the file, so they lie together.
const SMALL: u64 = 64 << 10;

/// Stores all groups, small ones first; gives the ids of each group's arrays. Types of `layout` become wider if they must.
pub(super) fn store(
    layout: &mut Layout,
    names: &mut Names,
    arrays: &dyn ArraySource,
    sink: &mut dyn ArraySink,
) -> Result<Vec<Vec<ArrayId>>, PackError> {
    let mut order: Vec<usize> = (0..layout.groups.len()).collect();
    order.sort_by_key(|index| layout.groups.get(*index).is_some_and(is_big));
    let mut ids = vec![Vec::new(); layout.groups.len()];
    let mut order = order.into_iter().peekable();
    while let Some(index) = order.next() {
        let Some(group) = layout.groups.get(index) else { continue };
        let own = match &group.form {
            Form::Stored(id) => vec![*id],
            Form::Plain => vec![store_plain(group, arrays, sink)?],
            Form::Columns(columns) => {
                let n_columns = columns.len();
                let values = order.next_if(|next| beside(layout, *next) == Some(index));
                let mut own =
                    Together { records: index, columns: true, values }.store(layout, names, arrays, sink)?;
                if let Some(ids) = values.and_then(|at| ids.get_mut(at)) {
                    *ids = own.split_off(n_columns);
                }
                own
            }
            Form::Quotients { .. } => match beside(layout, index) {
                Some(records) => Together { records, columns: false, values: Some(index) }
                    .store(layout, names, arrays, sink)?,
                None => vec![store_plain(group, arrays, sink)?],
            },
        };
        if let Some(ids) = ids.get_mut(index) {
            *ids = own;
        }
    }
    Ok(ids)
}

/// The records beside which group `index` of values can be stored.
fn beside(layout: &Layout, index: usize) -> Option<usize> {
    Values::of(layout, index)?.group.sibling.map(|sibling| sibling.group)
}

fn is_big(group: &Group) -> bool {
    let size = |info: &ArrayInfo| info.len_bytes().unwrap_or(u64::MAX);
    match &group.form {
        Form::Columns(columns) => columns.iter().any(|column| size(&column_info(group, column)) >= SMALL),
        _ => size(&group.info) >= SMALL,
    }
}

fn column_info(group: &Group, column: &Column) -> ArrayInfo {
    let field = column.field.shape.iter().map(|len| u64::from(*len));
    let shape: Vec<u64> = group.info.shape.iter().copied().chain(field).collect();
    ArrayInfo::new(Dtype::Plain(column.stored), shape)
}

fn store_plain(
    group: &Group,
    arrays: &dyn ArraySource,
    sink: &mut dyn ArraySink,
) -> Result<ArrayId, PackError> {
    let rows = group.row_bytes();
    let mut members = group.members.iter().map(|member| (member.array, member.rows * rows));
    let padding = Padding::of(&group.info.dtype);
    if let ([member], []) = (group.members.as_slice(), padding.holes.as_slice())
        && arrays.slice(member.array, 0..0).is_some()
    {
        let piece = |bytes| arrays.slice(member.array, bytes);
        let added = sink.add_slices(&group.name, &group.info, Role::Rebuild, &piece);
        return told(added, None, &group.name);
    }
    let mut current = None;
    let read = |buf: &mut [u8]| {
        loop {
            let (array, at, end) = match current {
                Some((array, at, end)) if at < end => (array, at, end),
                _ => match members.next() {
                    Some((array, len)) => {
                        current = Some((array, 0, len));
                        continue;
                    }
                    None => return Ok(0),
                },
            };
            let len = usize::try_from(end - at).unwrap_or(usize::MAX).min(buf.len());
            if len == 0 {
                return Ok(0);
            }
            let buf = buf.get_mut(..len).unwrap_or_default();
            arrays.read_at(array, at, buf)?;
            padding.clear(buf, at);
            current = Some((array, at + len as u64, end));
            return Ok(len);
        }
    };
    add(sink, &group.name, &group.info, read)
}

/// What is read together and stored one after the other: group `records`, and a group of values beside it.
#[derive(Clone, Copy)]
struct Together {
    records: usize,
    /// Whether the columns of the records are stored, or only the values.
    columns: bool,
    values: Option<usize>,
}

impl Together {
    fn store(
        self,
        layout: &mut Layout,
        names: &mut Names,
        arrays: &dyn ArraySource,
        sink: &mut dyn ArraySink,
    ) -> Result<Vec<ArrayId>, PackError> {
        let Some(names) = self.parts(layout).map(|parts| parts.names(names)) else { return Ok(Vec::new()) };
        let add = |layout: &Layout, sink: &mut dyn ArraySink| match self.parts(layout) {
            Some(parts) => parts.store(&names, arrays, sink),
            None => Ok(None),
        };
        if let Some(ids) = add(layout, sink)? {
            return Ok(ids);
        }
        widen(layout, self.records, self.columns, self.values, arrays)?;
        let changed = || PackError::Changed { array: names.first().cloned().unwrap_or_default() };
        add(layout, sink)?.ok_or_else(changed)
    }

    fn parts(self, layout: &Layout) -> Option<Parts<'_>> {
        let records = layout.groups.get(self.records)?;
        let columns = match &records.form {
            Form::Columns(columns) if self.columns => columns.as_slice(),
            _ => &[],
        };
        Some(Parts { records, columns, values: self.values.and_then(|at| Values::of(layout, at)) })
    }
}

/// Records, and the values beside them.
struct Parts<'a> {
    records: &'a Group,
    columns: &'a [Column],
    values: Option<Values<'a>>,
}

impl Parts<'_> {
    /// Names of the arrays.
    fn names(&self, names: &mut Names) -> Vec<String> {
        let name = |column: &Column| format!("{}.{}", self.records.name, plain(&column.field.name));
        let columns = self.columns.iter().map(|column| names.unique(&name(column)));
        columns.chain(self.values.iter().map(|values| values.group.name.clone())).collect()
    }

    /// `None` if something does not fit the type that it was to have; nothing is stored then.
    fn store(
        &self,
        names: &[String],
        arrays: &dyn ArraySource,
        sink: &mut dyn ArraySink,
    ) -> Result<Option<Vec<ArrayId>>, PackError> {
        let infos = self.columns.iter().map(|column| column_info(self.records, column));
        let infos: Vec<ArrayInfo> = infos.chain(self.values.iter().map(Values::info)).collect();
        let new = |(name, info)| NewArray { name, info, role: Role::Rebuild };
        let new: Vec<NewArray<'_>> = names.iter().map(String::as_str).zip(&infos).map(new).collect();
        let row_bytes = self
            .values
            .iter()
            .fold(self.records.row_bytes(), |bytes, values| bytes.saturating_add(values.group.row_bytes()));
        let chunks = chunks(all_rows(&self.records.members), row_bytes);
        let misfit = AtomicBool::new(false);
        let work = |chunk: &Chunk, buffers: &mut Buffers| {
            let (parts, fit) = self.take_apart(chunk, &infos, arrays, buffers)?;
            misfit.fetch_or(!fit, Ordering::Relaxed);
            if fit { Ok(parts) } else { Err(io::ErrorKind::InvalidData.into()) }
        };
        in_order(&chunks, work, |next| {
            let mut failed = None;
            let mut pull = || next().transpose().map_err(|error| keep(error, &mut failed));
            let added = sink.add_together(&new, &mut pull);
            if misfit.load(Ordering::Relaxed) {
                return Ok(None);
            }
            told(added, failed, &self.records.name).map(Some)
        })
    }

    /// The rows of a chunk in the arrays that they go to, and whether each fits there.
    fn take_apart(
        &self,
        chunk: &Chunk,
        infos: &[ArrayInfo],
        arrays: &dyn ArraySource,
        buffers: &mut Buffers,
    ) -> io::Result<(Vec<Vec<u8>>, bool)> {
        let n_rows: u64 = chunk.iter().map(|segment| segment.rows).sum();
        let stride = self.records.info.dtype.itemsize() as usize;
        let room = |info: &ArrayInfo| Vec::with_capacity((n_rows * row_bytes(info)) as usize);
        let mut parts: Vec<Vec<u8>> = infos.iter().map(room).collect();
        let mut fit = true;
        for segment in chunk {
            let records =
                rows(segment, segment.array, self.records.row_bytes(), arrays, &mut buffers.records)?;
            buffers.values.resize_with(1, Vec::new);
            let own = self.values.iter().zip(&mut buffers.values).map(|(own, buffer)| {
                rows(segment, own.beside(segment), own.group.row_bytes(), arrays, buffer)
                    .map(|rows| (own, rows))
            });
            let own = own.last().transpose()?;
            let mut values = own.map(|(own, rows)| (own, own.blocks(rows)));
            for block in blocks(records, stride) {
                let (columns, last) = parts.split_at_mut(self.columns.len());
                let columns = self.columns.iter().zip(columns);
                columns.for_each(|(column, part)| fit &= gather(block, stride, column, part));
                if let (Some((own, values)), [part]) = (&mut values, last) {
                    fit &= own.gather(values.next().unwrap_or_default(), block, part);
                }
            }
        }
        Ok((parts, fit))
    }
}

/// Bytes of one element of the first dimension.
fn row_bytes(info: &ArrayInfo) -> u64 {
    let rest = info.shape.iter().skip(1);
    rest.fold(u64::from(info.dtype.itemsize()), |bytes, len| bytes.saturating_mul(*len))
}

/// The bytes of a record that belong to no field: whatever was in memory.
struct Padding {
    holes: Vec<Range<u64>>,
    itemsize: u64,
}

impl Padding {
    fn of(dtype: &Dtype) -> Self {
        let mut holes = Vec::new();
        let itemsize = u64::from(dtype.itemsize()).max(1);
        if let Dtype::Record(record) = dtype {
            let span = |field: &Field| {
                let start = u64::from(field.offset);
                (start, start + field.len_bytes().map_or(0, u64::from))
            };
            let mut fields: Vec<_> = record.fields.iter().map(span).collect();
            fields.sort_unstable();
            let mut free_from = 0;
            for (start, end) in fields.into_iter().chain([(itemsize, itemsize)]) {
                if start > free_from {
                    holes.push(free_from..start);
                }
                free_from = free_from.max(end);
            }
        }
        Padding { holes, itemsize }
    }

    /// Clears the padding in bytes of records, of which the first is byte `at` of the array.
    fn clear(&self, buf: &mut [u8], at: u64) {
        let len = buf.len() as u64;
        let mut record = at - at % self.itemsize;
        while !self.holes.is_empty() && record < at + len {
            for hole in &self.holes {
                let start = (record + hole.start).clamp(at, at + len) - at;
                let end = (record + hole.end).clamp(at, at + len) - at;
                buf[start as usize..end as usize].fill(0);
            }
            record += self.itemsize;
        }
    }
}

/// A field's name without the dots and control characters that would confuse in an array's name.
fn plain(name: &str) -> String {
    let plain = |c: char| if c.is_alphanumeric() || matches!(c, '_' | '-') { c } else { '_' };
    name.chars().take(64).map(plain).collect()
}

/// Adds an array to the sink, and tells which side failed if one did.
fn add(
    sink: &mut dyn ArraySink,
    name: &str,
    info: &ArrayInfo,
    read: impl FnMut(&mut [u8]) -> io::Result<usize>,
) -> Result<ArrayId, PackError> {
    let mut tracked = Tracked { read, failed: None };
    let added = sink.add(name, info, Role::Rebuild, &mut tracked);
    told(added, tracked.failed, name)
}

/// The error of the side that failed.
fn told<T>(added: io::Result<T>, read: Option<io::Error>, name: &str) -> Result<T, PackError> {
    let array = name.to_owned();
    match (added, read) {
        (_, Some(source)) => Err(PackError::Read { array, source }),
        (added, None) => added.map_err(|source| PackError::Write { array, source }),
    }
}

/// Keeps the error of a read, and gives one like it to pass through the sink.
fn keep(error: io::Error, failed: &mut Option<io::Error>) -> io::Error {
    let kind = error.kind();
    *failed = Some(error);
    kind.into()
}

struct Tracked<F> {
    read: F,
    failed: Option<io::Error>,
}

impl<F: FnMut(&mut [u8]) -> io::Result<usize>> Read for Tracked<F> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (self.read)(buf).map_err(|error| keep(error, &mut self.failed))
    }
}
