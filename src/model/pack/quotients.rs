//! Values of classification trees: counts, divided by the weight of their node.
#![forbid(unsafe_code)]

use std::slice;

use crate::format::dtype::{Dtype, Kind, Plain};
use crate::format::{ArrayId, ArrayInfo};
use crate::model::pack::chunks::Segment;
use crate::model::pack::columns::{Range, lowest, rounded, rows_in_block, unsigned};
use crate::model::pack::layout::{Form, Group, Layout};

/// The values of trees beside their nodes.
pub(super) struct Values<'a> {
    /// Index of the group of values.
    pub(super) index: usize,
    /// That group.
    pub(super) group: &'a Group,
    /// Bytes of a node, and where the weight lies in it.
    stride: usize,
    offset: usize,
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
        let stride = (nodes.row_bytes() as usize).max(1);
        (group.row_bytes() > 0).then_some(Values { index, group, stride, offset })
    }

    /// All groups of values beside the nodes of group `index`.
    pub(super) fn beside_all(layout: &'a Layout, index: usize) -> Vec<Self> {
        let own = |group: &Group| group.sibling.is_some_and(|sibling| sibling.group == index);
        let groups = layout.groups.iter().enumerate().filter(|(_, group)| own(group));
        groups.filter_map(|(at, _)| Values::of(layout, at)).collect()
    }

    /// The array of values beside the nodes of a segment.
    pub(super) fn beside(&self, segment: &Segment) -> ArrayId {
        self.group.members.get(segment.member).map_or(segment.array, |member| member.array)
    }

    /// The values beside each of the blocks into which records are cut.
    pub(super) fn blocks<'b>(&self, values: &'b [u8]) -> slice::Chunks<'b, u8> {
        values.chunks(rows_in_block(self.stride) * self.group.row_bytes() as usize)
    }

    /// The stored array.
    pub(super) fn info(&self) -> ArrayInfo {
        match self.group.form {
            Form::Quotients { dtype, .. } => {
                ArrayInfo { dtype: Dtype::Plain(dtype), ..self.group.info.clone() }
            }
            _ => self.group.info.clone(),
        }
    }

    /// The form for these ranges, of the values and of their numerators.
    pub(super) fn form(plain: Option<Range>, divided: Option<Range>) -> Option<Form> {
        let form = |divided: bool, range: Range| Form::Quotients { dtype: range.narrowest(WIDE), divided };
        plain.map(|range| form(false, range)).or_else(|| divided.map(|range| form(true, range)))
    }

    /// Calls `f` with every value and its weight.
    fn each(&self, values: &[u8], nodes: &[u8], mut f: impl FnMut(f64, f64)) {
        match self.group.row_bytes() {
            8 => self.each_of::<1>(values, nodes, f),
            16 => self.each_of::<2>(values, nodes, f),
            24 => self.each_of::<3>(values, nodes, f),
            row_bytes => {
                for (values, node) in
                    values.chunks_exact(row_bytes as usize).zip(nodes.chunks_exact(self.stride))
                {
                    let weight = self.weight(node);
                    values.as_chunks().0.iter().for_each(|value| f(f64::from_le_bytes(*value), weight));
                }
            }
        }
    }

    /// The same for few values a node, whose number the compiler then knows.
    #[inline(always)]
    fn each_of<const N: usize>(&self, values: &[u8], nodes: &[u8], mut f: impl FnMut(f64, f64)) {
        let rows = values.as_chunks::<8>().0.as_chunks::<N>().0;
        let mut row = |values: &[[u8; 8]; N], weight| {
            values.iter().for_each(|value| f(f64::from_le_bytes(*value), weight));
        };
        match self.stride {
            64 => {
                let nodes = nodes.as_chunks::<64>().0;
                rows.iter().zip(nodes).for_each(|(values, node)| row(values, self.weight(node)));
            }
            stride => {
                let nodes = nodes.chunks_exact(stride);
                rows.iter().zip(nodes).for_each(|(values, node)| row(values, self.weight(node)));
            }
        }
    }

    #[inline(always)]
    fn weight(&self, node: &[u8]) -> f64 {
        let bytes = node.get(self.offset..).and_then(|bytes| bytes.first_chunk());
        bytes.map_or(0.0, |bytes| f64::from_le_bytes(*bytes))
    }

    /// The range of the values, or of their numerators, if all are integers.
    pub(super) fn range(&self, values: &[u8], nodes: &[u8], divided: bool) -> Option<Range> {
        let mut range = Range::of(0);
        let mut exact = true;
        let mut add = |(integer, same): (u32, bool)| {
            exact &= same;
            range = range.with(Range::of(integer.into()));
        };
        match divided {
            true => self.each(values, nodes, |value, weight| add(numerator(value, weight))),
            false => self.each(values, nodes, |value, _| add(unsigned(value))),
        }
        exact.then_some(range)
    }

    /// Appends the values as they are stored, and says whether that holds each of them.
    pub(super) fn gather(&self, values: &[u8], nodes: &[u8], out: &mut Vec<u8>) -> bool {
        match self.group.form {
            Form::Quotients { dtype, divided } => match dtype.itemsize {
                1 => self.write::<1>(values, nodes, divided, out),
                2 => self.write::<2>(values, nodes, divided, out),
                _ => self.write::<4>(values, nodes, divided, out),
            },
            _ => {
                out.extend_from_slice(values);
                true
            }
        }
    }

    fn write<const N: usize>(&self, values: &[u8], nodes: &[u8], divided: bool, out: &mut Vec<u8>) -> bool {
        let before = out.len();
        out.resize(before + values.len() / 8 * N, 0);
        let mut slots = out[before..].as_chunks_mut::<N>().0.iter_mut();
        let (mut exact, mut beyond) = (true, 0);
        let mut put = |(integer, same): (u32, bool)| {
            exact &= same;
            beyond |= u64::from(integer) >> (8 * N);
            if let Some(slot) = slots.next() {
                *slot = lowest(integer.into());
            }
        };
        match divided {
            true => self.each(values, nodes, |value, weight| put(numerator(value, weight))),
            false => self.each(values, nodes, |value, _| put(unsigned(value))),
        }
        exact && beyond == 0
    }
}

/// The integer that divided by `weight` gives `value`, and whether it does so bit for bit.
fn numerator(value: f64, weight: f64) -> (u32, bool) {
    let (integer, fits) = rounded(value * weight);
    (integer, fits & ((f64::from(integer) / weight).to_bits() == value.to_bits()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::numerator;
    use crate::model::pack::columns::unsigned;

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

    proptest! {
        #[test]
        fn an_integer_is_found_whenever_there_is_one(bits: u64, weight: u64, n: u32, small in 1u32..9) {
            let [value, weight] = [bits, weight].map(f64::from_bits);
            let divided = |value: f64, weight: f64| {
                let integer = (value * weight + 0.5) as u32;
                (f64::from(integer) / weight).to_bits() == value.to_bits()
            };
            let quotient = f64::from(n) / f64::from(small);
            for (value, weight) in [(value, weight), (quotient, f64::from(small)), (value, 3.0), (1.0, f64::from(n))] {
                prop_assert_eq!(divided(value, weight), numerator(value, weight).1);
            }
            prop_assert_eq!((n, true), numerator(quotient, f64::from(small)));
            prop_assert_eq!((n, true), unsigned(f64::from(n)));
            for value in [value, quotient, -f64::from(n), f64::from(n) * 65536.0] {
                prop_assert_eq!(f64::from(value as u32).to_bits() == value.to_bits(), unsigned(value).1);
            }
        }
    }
}
