//! One look at all records, and at the values beside them: the narrowest types that hold them.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::format::ArrayId;
use crate::model::array::ArraySource;
use crate::model::pack::PackError;
use crate::model::pack::chunks::{Buffers, Chunk, chunks, in_order, rows};
use crate::model::pack::columns::{Range, blocks, is_number, range_of, ranges_of_words, word_of};
use crate::model::pack::layout::{Column, Form, Group, Layout};
use crate::model::pack::quotients::Values;

/// Gives each column of records the narrowest type, and the values of trees the form that takes least.
pub(super) fn scan(layout: &mut Layout, arrays: &dyn ArraySource) -> Result<(), PackError> {
    for index in 0..layout.groups.len() {
        let Some(scan) = Scan::of(layout, index) else { continue };
        let name = || scan.records.name.clone();
        let found = match arrays.looks().and_then(|looks| scan.known(looks)) {
            Some(ranges) => ranges,
            None => scan.ranges(arrays).map_err(|source| PackError::Read { array: name(), source })?,
        };
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

/// What was found out about trees while they were read for something else.
#[derive(Default)]
pub struct Looks {
    /// By the array of their nodes.
    trees: Mutex<HashMap<ArrayId, Look>>,
}

struct Look {
    /// The array of values beside the nodes.
    values: ArrayId,
    ranges: Ranges,
}

impl Looks {
    /// Looks at a tree, all of whose nodes are an array, and its values another.
    ///
    /// # Errors
    ///
    /// As from `arrays`.
    pub(crate) fn look(&self, nodes: ArrayId, values: ArrayId, arrays: &dyn ArraySource) -> io::Result<()> {
        let layout = Layout::of_tree(nodes, values, arrays);
        let Some(scan) = layout.as_ref().and_then(|layout| Scan::of(layout, 0)) else { return Ok(()) };
        let (mut ranges, open) = scan.start();
        let mut buffers = Buffers::default();
        for chunk in scan.chunks() {
            merge(&mut ranges, scan.look(&chunk, &open, arrays, &mut buffers)?);
        }
        if let Ok(mut trees) = self.trees.lock() {
            trees.insert(nodes, Look { values, ranges });
        }
        Ok(())
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

    fn chunks(&self) -> Vec<Chunk> {
        let values = self.values.iter().map(|values| values.group.row_bytes());
        chunks(&self.records.members, values.fold(self.records.row_bytes(), u64::saturating_add))
    }

    fn ranges(&self, arrays: &dyn ArraySource) -> io::Result<Ranges> {
        let (mut ranges, open) = self.start();
        let look = |chunk: &Chunk, buffers: &mut Buffers| self.look(chunk, &open, arrays, buffers);
        in_order(&self.chunks(), look, |next| {
            while let Some(found) = next() {
                merge(&mut ranges, found?);
            }
            Ok(ranges)
        })
    }

    /// The ranges, if all trees have been looked at.
    fn known(&self, looks: &Looks) -> Option<Ranges> {
        let [values] = self.values.as_slice() else { return None };
        let trees = looks.trees.lock().ok()?;
        let (mut ranges, _) = self.start();
        for (nodes, values) in self.records.members.iter().zip(&values.group.members) {
            let look = trees.get(&nodes.array).filter(|look| look.values == values.array)?;
            merge(&mut ranges, look.ranges.iter().copied());
        }
        Some(ranges)
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
