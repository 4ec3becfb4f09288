//! Values of classification trees: counts, divided by the weight of their node.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicBool, Ordering};

use crate::format::ArrayInfo;
use crate::format::dtype::{Dtype, Kind, Plain};
use crate::model::array::ArraySource;
use crate::model::pack::PackError;
use crate::model::pack::chunks::{Chunk, Segment, chunks, in_order, read};
use crate::model::pack::columns::{Range, unsigned};
use crate::model::pack::layout::{Form, Group, Layout};

/// Finds the values that can be stored as integers.
pub(super) fn find(layout: &mut Layout, arrays: &dyn ArraySource) -> Result<(), PackError> {
    for index in 0..layout.groups.len() {
        let Some(values) = Values::of(layout, index) else { continue };
        let found = values.look(arrays);
        let name = values.group.name.clone();
        let form = found.map_err(|source| PackError::Read { array: name, source })?;
        if let (Some(group), Some(form)) = (layout.groups.get_mut(index), form) {
            group.form = form;
        }
    }
    Ok(())
}

/// The values of trees beside their nodes.
pub(super) struct Values<'a> {
    group: &'a Group,
    nodes: &'a Group,
    /// Where the weight lies in a node.
    offset: usize,
}

/// What a thread reads into.
#[derive(Default)]
pub(super) struct Buffers {
    values: Vec<u8>,
    nodes: Vec<u8>,
}

const WIDE: Plain = Plain::new(Kind::Float, 8);

impl<'a> Values<'a> {
    /// The values of a group that has nodes beside it.
    pub(super) fn of(layout: &'a Layout, index: usize) -> Option<Self> {
        let group = layout.groups.get(index)?;
        let sibling = group.sibling?;
        let nodes = layout.groups.get(sibling.group)?;
        let Form::Columns(columns) = &nodes.form else { return None };
        let offset = columns.get(sibling.field)?.field.offset as usize;
        (group.row_bytes() > 0).then_some(Values { group, nodes, offset })
    }

    /// Rows in chunks, of values and nodes together.
    pub(super) fn chunks(&self) -> Vec<Chunk> {
        chunks(&self.group.members, self.group.row_bytes().saturating_add(self.nodes.row_bytes()))
    }

    /// The stored array.
    pub(super) fn info(&self, dtype: Plain) -> ArrayInfo {
        ArrayInfo { dtype: Dtype::Plain(dtype), ..self.group.info.clone() }
    }

    /// Whether all values are integers, or else all are integers divided by their weight, and how large those are.
    fn look(&self, arrays: &dyn ArraySource) -> std::io::Result<Option<Form>> {
        let open = [AtomicBool::new(true), AtomicBool::new(true)];
        let look = |chunk: &Chunk, buffers: &mut Buffers| {
            let mut ranges = [None; 2];
            if open.iter().all(|open| !open.load(Ordering::Relaxed)) {
                return Ok(ranges);
            }
            self.read(chunk, arrays, buffers)?;
            for ((divided, range), open) in [false, true].into_iter().zip(&mut ranges).zip(&open) {
                if open.load(Ordering::Relaxed) {
                    *range = self.range(buffers, divided);
                    open.store(range.is_some(), Ordering::Relaxed);
                }
            }
            Ok(ranges)
        };
        let mut ranges = [Some(Range::EMPTY); 2];
        in_order(&self.chunks(), look, |next| {
            while let Some(found) = next() {
                for (range, found) in ranges.iter_mut().zip(found?) {
                    *range = range.zip(found).map(|(range, found)| range.with(found));
                }
            }
            Ok::<_, std::io::Error>(())
        })?;
        let form = |divided: bool, range: Range| Form::Quotients { dtype: range.narrowest(WIDE), divided };
        let [plain, divided] = ranges;
        Ok(plain.map(|range| form(false, range)).or_else(|| divided.map(|range| form(true, range))))
    }

    fn read(&self, chunk: &Chunk, arrays: &dyn ArraySource, buffers: &mut Buffers) -> std::io::Result<()> {
        let nodes = |segment: &Segment| {
            self.nodes.members.get(segment.member).map_or(segment.array, |member| member.array)
        };
        read(chunk, self.group.row_bytes(), arrays, |segment| segment.array, &mut buffers.values)?;
        read(chunk, self.nodes.row_bytes(), arrays, nodes, &mut buffers.nodes)
    }

    /// Calls `f` with every value and its weight.
    fn each(&self, buffers: &Buffers, mut f: impl FnMut(f64, f64)) {
        let values = buffers.values.chunks_exact(self.group.row_bytes() as usize);
        let nodes = buffers.nodes.chunks_exact((self.nodes.row_bytes() as usize).max(1));
        for (values, node) in values.zip(nodes) {
            let weight = node[self.offset..].first_chunk().map_or(0.0, |bytes| f64::from_le_bytes(*bytes));
            for value in values.as_chunks().0 {
                f(f64::from_le_bytes(*value), weight);
            }
        }
    }

    fn range(&self, buffers: &Buffers, divided: bool) -> Option<Range> {
        let mut most = 0;
        let mut exact = true;
        self.each(buffers, |value, weight| {
            let (integer, same) = if divided { numerator(value, weight) } else { unsigned(value) };
            exact &= same;
            most = most.max(integer);
        });
        exact.then(|| Range::of(0).with(Range::of(most.into())))
    }

    /// The numerators of a chunk.
    pub(super) fn numerators(
        &self,
        chunk: &Chunk,
        arrays: &dyn ArraySource,
        buffers: &mut Buffers,
        dtype: Plain,
        divided: bool,
    ) -> std::io::Result<Vec<u8>> {
        self.read(chunk, arrays, buffers)?;
        let size = dtype.itemsize as usize;
        let mut out = Vec::with_capacity(buffers.values.len() / 8 * size);
        self.each(buffers, |value, weight| {
            let integer = if divided { numerator(value, weight).0 } else { unsigned(value).0 };
            out.extend_from_slice(&integer.to_le_bytes()[..size.min(4)]);
        });
        Ok(out)
    }

    /// Name of the array in the file.
    pub(super) fn name(&self) -> &str {
        &self.group.name
    }
}

/// The integer that divided by `weight` gives `value`, and whether it does so bit for bit.
fn numerator(value: f64, weight: f64) -> (u32, bool) {
    let integer = (value * weight + 0.5) as u32;
    (integer, (f64::from(integer) / weight).to_bits() == value.to_bits())
}

#[cfg(test)]
mod tests {
    use super::numerator;

    #[test]
    fn only_exact_quotients_are_taken_apart() {
        assert_eq!(numerator(1.0 / 3.0, 3.0), (1, true));
        assert_eq!(numerator(0.0, 7.0), (0, true));
        assert!(!numerator(-0.0, 7.0).1);
        assert!(!numerator(0.1, 7.0).1);
        assert!(!numerator(f64::NAN, 7.0).1);
        assert!(!numerator(1.0, 0.0).1);
        assert!(!numerator(1.0, f64::NAN).1);
        assert!(!numerator(1.0, -1.0).1);
    }
}
