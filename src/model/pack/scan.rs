//! A look at records, and at the values beside them: the narrowest types that hold them.
#![forbid(unsafe_code)]

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::model::array::ArraySource;
use crate::model::pack::PackError;
use crate::model::pack::chunks::{Buffers, Chunk, Segment, all_rows, chunks, in_order, rows};
use crate::model::pack::columns::{Range, blocks, is_number, range_of, ranges_of_words, word_of};
use crate::model::pack::layout::{Column, Form, Group, Layout, Member};
use crate::model::pack::quotients::Values;

/// Rows at either end of an array that are looked at first. The roots of trees have the greatest numbers of samples, and their
/// last nodes are the farthest children.
const EDGE: u64 = 32;

/// Gives each column of records the narrowest type, and the values of trees the form that takes least, by some of their rows.
/// The rest is read once only, when it is stored; what does not fit then has its types [`widen`]ed.
pub(super) fn guess(layout: &mut Layout, arrays: &dyn ArraySource) -> Result<(), PackError> {
    for index in 0..layout.groups.len() {
        let Some(scan) = Scan::of(layout, index) else { continue };
        let found = scan.ranges(edges(&scan.records.members), arrays)?;
        let values: Vec<usize> = scan.values.iter().map(|values| values.index).collect();
        let (of_columns, of_values) = found.split_at(scan.columns.len());
        layout.set_columns(index, of_columns);
        for (index, ranges) in values.into_iter().zip(of_values.as_chunks().0) {
            layout.set_values(index, *ranges);
        }
    }
    Ok(())
}

/// Gives the columns of group `index`, if they are asked for, and the group `values` of values the types that hold all rows.
pub(super) fn widen(
    layout: &mut Layout,
    index: usize,
    columns: bool,
    values: Option<usize>,
    arrays: &dyn ArraySource,
) -> Result<(), PackError> {
    let Some(scan) = Scan::of(layout, index) else { return Ok(()) };
    let found = scan.ranges(all_rows(&scan.records.members), arrays)?;
    let place = scan.values.iter().position(|own| Some(own.index) == values);
    let (of_columns, of_values) = found.split_at(scan.columns.len());
    if columns {
        layout.set_columns(index, of_columns);
    }
    if let Some((index, ranges)) = values.zip(place.and_then(|at| of_values.as_chunks().0.get(at))) {
        layout.set_values(index, *ranges);
    }
    Ok(())
}

/// The first and the last rows of each member.
fn edges(members: &[Member]) -> impl Iterator<Item = Segment> {
    all_rows(members).flat_map(|all| {
        let head = all.rows.min(EDGE);
        let tail = (all.rows - head).min(EDGE);
        [Segment { rows: head, ..all }, Segment { first: all.rows - tail, rows: tail, ..all }]
    })
}

impl Layout {
    fn set_columns(&mut self, index: usize, ranges: &[Option<Range>]) {
        let Some(Group { form: Form::Columns(columns), .. }) = self.groups.get_mut(index) else { return };
        for (column, range) in columns.iter_mut().zip(ranges) {
            let wide = column.field.dtype;
            column.stored = range.map_or(wide, |range| range.narrowest(wide));
        }
    }

    fn set_values(&mut self, index: usize, [plain, divided]: [Option<Range>; 2]) {
        if let Some(group) = self.groups.get_mut(index) {
            group.form = Values::form(plain, divided).unwrap_or(Form::Plain);
        }
    }
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

    /// Ranges of nothing, and whether each is still of integers only.
    fn start(&self) -> (Ranges, Vec<AtomicBool>) {
        let of_column = |column: &Column| is_number(column.field.dtype).then_some(Range::EMPTY);
        let of_values = vec![Some(Range::EMPTY); 2 * self.values.len()];
        let ranges: Ranges = self.columns.iter().map(of_column).chain(of_values).collect();
        let open = ranges.iter().map(|range| AtomicBool::new(range.is_some())).collect();
        (ranges, open)
    }

    fn ranges(
        &self,
        rows: impl Iterator<Item = Segment>,
        arrays: &dyn ArraySource,
    ) -> Result<Ranges, PackError> {
        let values = self.values.iter().map(|values| values.group.row_bytes());
        let chunks = chunks(rows, values.fold(self.records.row_bytes(), u64::saturating_add));
        let (mut ranges, open) = self.start();
        let look = |chunk: &Chunk, buffers: &mut Buffers| self.look(chunk, &open, arrays, buffers);
        let looked = in_order(&chunks, look, |next| {
            while let Some(found) = next() {
                merge(&mut ranges, found?);
            }
            Ok(ranges)
        });
        looked.map_err(|source| PackError::Read { array: self.records.name.clone(), source })
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
        let words: Vec<Option<usize>> = self.columns.iter().map(|column| word_of(stride, column)).collect();
        for segment in chunk {
            let row_bytes = self.records.row_bytes();
            let records = rows(segment, segment.array, row_bytes, arrays, &mut buffers.records)?;
            buffers.values.resize_with(self.values.len(), Vec::new);
            let own = self.values.iter().zip(&mut buffers.values).map(|(values, buffer)| {
                let own = rows(segment, values.beside(segment), values.group.row_bytes(), arrays, buffer)?;
                Ok(values.blocks(own))
            });
            let mut own: Vec<_> = own.collect::<io::Result<_>>()?;
            for block in blocks(records, stride) {
                let of_words = words.iter().any(Option::is_some).then(|| ranges_of_words(block));
                for (at, (column, word)) in self.columns.iter().zip(&words).enumerate() {
                    let known = of_words.as_ref().zip(*word).map(|(ranges, word)| ranges[word]);
                    add(at, &|| known.or_else(|| range_of(block, stride, column)));
                }
                for (nth, (values, own)) in self.values.iter().zip(&mut own).enumerate() {
                    let (at, own) = (self.columns.len() + 2 * nth, own.next().unwrap_or_default());
                    add(at, &|| values.range(own, block, false));
                    add(at + 1, &|| values.range(own, block, true));
                }
            }
        }
        Ok(ranges)
    }
}

fn merge(ranges: &mut Ranges, found: impl IntoIterator<Item = Option<Range>>) {
    for (range, found) in ranges.iter_mut().zip(found) {
        *range = range.zip(found).map(|(range, found)| range.with(found));
    }
}
