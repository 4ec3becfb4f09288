//! One look at all records, and at the values beside them: the narrowest types that hold them.
#![forbid(unsafe_code)]

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::model::array::ArraySource;
use crate::model::pack::PackError;
use crate::model::pack::chunks::{Buffers, Chunk, chunks, in_order, rows};
use crate::model::pack::columns::{Range, blocks, is_number, range_of};
use crate::model::pack::layout::{Column, Form, Group, Layout};
use crate::model::pack::quotients::Values;

/// Gives each column of records the narrowest type, and the values of trees the form that takes least.
pub(super) fn scan(layout: &mut Layout, arrays: &dyn ArraySource) -> Result<(), PackError> {
    for index in 0..layout.groups.len() {
        let Some(scan) = Scan::of(layout, index) else { continue };
        let name = || scan.records.name.clone();
        let found = scan.ranges(arrays).map_err(|source| PackError::Read { array: name(), source })?;
        let places: Vec<usize> = scan.values.iter().map(|values| values.index).collect();
        let (of_columns, of_values) = found.split_at(scan.columns.len());
        if let Some(Group { form: Form::Columns(columns), .. }) = layout.groups.get_mut(index) {
            for (column, range) in columns.iter_mut().zip(of_columns) {
                column.stored = range.map_or(column.stored, |range| range.narrowest(column.field.dtype));
            }
        }
        for (index, [plain, divided]) in places.into_iter().zip(of_values.as_chunks().0) {
            if let (Some(group), Some(form)) = (layout.groups.get_mut(index), Values::form(*plain, *divided))
            {
                group.form = form;
            }
        }
    }
    Ok(())
}

/// What is looked at together.
struct Scan<'a> {
    records: &'a Group,
    columns: &'a [Column],
    values: Vec<Values<'a>>,
}

/// Ranges of the columns, then two of each group of values: of the values, and of their numerators. `None` once
/// there is something in it that is no integer.
type Ranges = Vec<Option<Range>>;

impl<'a> Scan<'a> {
    fn of(layout: &'a Layout, index: usize) -> Option<Self> {
        let records = layout.groups.get(index)?;
        let Form::Columns(columns) = &records.form else { return None };
        Some(Scan { records, columns, values: Values::beside_all(layout, index) })
    }

    fn ranges(&self, arrays: &dyn ArraySource) -> io::Result<Ranges> {
        let of_column = |column: &Column| is_number(column.field.dtype).then_some(Range::EMPTY);
        let of_values = vec![Some(Range::EMPTY); 2 * self.values.len()];
        let mut ranges: Ranges = self.columns.iter().map(of_column).chain(of_values).collect();
        let open: Vec<AtomicBool> = ranges.iter().map(|range| AtomicBool::new(range.is_some())).collect();
        let values = self.values.iter().map(|values| values.group.row_bytes());
        let row_bytes = values.fold(self.records.row_bytes(), u64::saturating_add);
        let look = |chunk: &Chunk, buffers: &mut Buffers| self.look(chunk, &open, arrays, buffers);
        in_order(&chunks(&self.records.members, row_bytes), look, |next| {
            while let Some(found) = next() {
                for (range, found) in ranges.iter_mut().zip(found?) {
                    *range = range.zip(found).map(|(range, found)| range.with(found));
                }
            }
            Ok(ranges)
        })
    }

    fn look(
        &self,
        chunk: &Chunk,
        open: &[AtomicBool],
        arrays: &dyn ArraySource,
        buffers: &mut Buffers,
    ) -> io::Result<Ranges> {
        let mut ranges = vec![Some(Range::EMPTY); open.len()];
        let mut add = |at: usize, look: &dyn Fn() -> Option<Range>| {
            let (Some(range), Some(open)) = (ranges.get_mut(at), open.get(at)) else { return };
            *range = range.filter(|_| open.load(Ordering::Relaxed)).zip(look()).map(|(a, b)| a.with(b));
            if range.is_none() {
                open.store(false, Ordering::Relaxed);
            }
        };
        let stride = self.records.info.dtype.itemsize() as usize;
        for segment in chunk {
            let row_bytes = self.records.row_bytes();
            let records = rows(segment, segment.array, row_bytes, arrays, &mut buffers.records)?;
            for block in blocks(records, stride) {
                for (at, column) in self.columns.iter().enumerate() {
                    add(at, &|| range_of(block, stride, column));
                }
            }
            for (nth, values) in self.values.iter().enumerate() {
                let (array, at) = (values.beside(segment), self.columns.len() + 2 * nth);
                let own = rows(segment, array, values.group.row_bytes(), arrays, &mut buffers.values)?;
                for (values_block, block) in values.blocks(own, records) {
                    add(at, &|| values.range(values_block, block, false));
                    add(at + 1, &|| values.range(values_block, block, true));
                }
            }
        }
        Ok(ranges)
    }
}
