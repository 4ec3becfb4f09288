//! Reading the arrays that a graph refers to: numbers and texts, in C order.
#![forbid(unsafe_code)]

use std::io;

use crate::format::dtype::{Dtype, Kind, Plain};
use crate::format::{ArrayId, Order};
use crate::model::array::ArraySource;
use crate::model::graph::view::{exact_f64, float_of, int_of};
use crate::model::graph::{ArrayPart, Graph, Node, NodeId};

/// A plain array in memory, in C order.
pub(crate) struct PlainArray {
    /// Type of one element.
    pub(crate) dtype: Plain,
    /// Length of each dimension.
    pub(crate) shape: Vec<u64>,
    /// The elements.
    pub(crate) bytes: Vec<u8>,
}

impl PlainArray {
    /// The elements one by one.
    pub(crate) fn elements(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.bytes.chunks_exact((self.dtype.itemsize as usize).max(1))
    }

    /// The elements as floats, if every one is a float or an integer that a float holds exactly.
    pub(crate) fn f64s(&self) -> Option<Vec<f64>> {
        let dtype = self.dtype;
        match dtype.kind {
            Kind::Float => self.elements().map(|element| float_of(dtype, element)).collect(),
            _ => self.elements().map(|element| exact_f64(int_of(dtype, element)?)).collect(),
        }
    }

    /// The elements as integers, if they are integers that fit.
    pub(crate) fn i64s(&self) -> Option<Vec<i64>> {
        self.elements().map(|element| int_of(self.dtype, element)).collect()
    }

    /// The elements as text, if this is a `<U` array.
    pub(crate) fn texts(&self) -> Option<Vec<String>> {
        if self.dtype.kind != Kind::Str {
            return None;
        }
        self.elements().map(|element| text_of(self.dtype, element)).collect()
    }
}

/// Bytes of the part, counted from the start of its stored array; `None` if they overflow.
pub(crate) fn byte_range(part: &ArrayPart, dtype: &Dtype) -> Option<(u64, u64)> {
    let row = part
        .shape
        .iter()
        .skip(1)
        .try_fold(u64::from(dtype.itemsize()), |bytes, len| bytes.checked_mul(*len))?;
    let rows = part.shape.first().copied().unwrap_or(1);
    Some((part.first_row.checked_mul(row)?, rows.checked_mul(row)?))
}

impl Graph {
    /// The numeric array at `id` with at most `max_bytes` of elements; a number is an array without dimensions.
    pub(crate) fn plain_array_at(
        &self,
        id: NodeId,
        arrays: &dyn ArraySource,
        max_bytes: u64,
    ) -> io::Result<Option<PlainArray>> {
        match self.node(id) {
            Node::Scalar { dtype: Dtype::Plain(dtype), bytes } => {
                Ok(Some(PlainArray { dtype: *dtype, shape: vec![], bytes: bytes.to_vec() }))
            }
            Node::Float(value) => Ok(Some(number(Kind::Float, value.to_le_bytes()))),
            Node::Int(value) => Ok(Some(number(Kind::Int, value.to_le_bytes()))),
            _ => match self.array_part(id) {
                Some(part) => read_plain(part, arrays, max_bytes),
                None => Ok(None),
            },
        }
    }

    /// The texts of an array of `str` objects or of a `<U` array of at most `max_bytes`, and its shape.
    pub(crate) fn texts_at(
        &self,
        id: NodeId,
        arrays: &dyn ArraySource,
        max_bytes: u64,
    ) -> io::Result<Option<(Vec<u64>, Vec<String>)>> {
        if let Some(Node::ObjectArray { shape, items, .. }) = self.plain_array(id).map(|id| self.node(id)) {
            let mut left = max_bytes;
            let mut texts = Vec::new();
            for item in items {
                let Some(text) = self.as_str(*item) else { return Ok(None) };
                let Some(rest) = left.checked_sub(text.len() as u64 + 8) else { return Ok(None) };
                left = rest;
                texts.push(text.to_owned());
            }
            return Ok(Some((shape.to_vec(), texts)));
        }
        let Some(array) = self.plain_array_at(id, arrays, max_bytes)? else { return Ok(None) };
        Ok(array.texts().map(|texts| (array.shape, texts)))
    }
}

/// The elements of a part one after the other, as stored.
pub(crate) struct PartReader<'a> {
    arrays: &'a dyn ArraySource,
    array: ArrayId,
    at: u64,
    end: u64,
}

impl<'a> PartReader<'a> {
    /// Starts at the first element of `part`.
    pub(crate) fn new(part: &ArrayPart, arrays: &'a dyn ArraySource) -> io::Result<Self> {
        let range = byte_range(part, &arrays.info(part.array).dtype);
        let (at, end) = range
            .and_then(|(start, len)| Some((start, start.checked_add(len)?)))
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(PartReader { arrays, array: part.array, at, end })
    }
}

impl io::Read for PartReader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = usize::try_from(self.end - self.at).unwrap_or(usize::MAX).min(buf.len());
        self.arrays.read_at(self.array, self.at, &mut buf[..len])?;
        self.at += len as u64;
        Ok(len)
    }
}

fn number(kind: Kind, bytes: [u8; 8]) -> PlainArray {
    PlainArray { dtype: Plain::new(kind, 8), shape: vec![], bytes: bytes.to_vec() }
}

/// The part in memory, if it is a plain array of at most `max_bytes`.
pub(crate) fn read_plain(
    part: &ArrayPart,
    arrays: &dyn ArraySource,
    max_bytes: u64,
) -> io::Result<Option<PlainArray>> {
    let info = arrays.info(part.array);
    let Dtype::Plain(dtype) = info.dtype else { return Ok(None) };
    let Some((start, len)) = byte_range(part, &info.dtype).filter(|(_, len)| *len <= max_bytes) else {
        return Ok(None);
    };
    let Ok(len) = usize::try_from(len) else { return Ok(None) };
    let mut bytes = vec![0; len];
    arrays.read_at(part.array, start, &mut bytes)?;
    if info.order == Order::F && part.shape.len() > 1 {
        bytes = c_order(&part.shape, dtype.itemsize as usize, &bytes);
    }
    Ok(Some(PlainArray { dtype, shape: part.shape.to_vec(), bytes }))
}

/// The elements of a column-major array, row-major. `bytes` holds exactly the elements of `shape`.
fn c_order(shape: &[u64], itemsize: usize, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut index = vec![0u64; shape.len()];
    while out.len() < bytes.len() {
        let element = index.iter().zip(shape).rev().fold(0, |at, (i, len)| at * len + i) as usize;
        out.extend_from_slice(&bytes[element * itemsize..(element + 1) * itemsize]);
        for (i, len) in index.iter_mut().zip(shape).rev() {
            *i += 1;
            if *i < *len {
                break;
            }
            *i = 0;
        }
    }
    out
}

/// One element of a `<U` array, without its trailing NULs.
fn text_of(dtype: Plain, element: &[u8]) -> Option<String> {
    let scalars = element.chunks_exact(4).map(|bytes| {
        let word = [bytes[0], bytes[1], bytes[2], bytes[3]];
        let code = u32::from_le_bytes(word);
        char::from_u32(if dtype.big_endian { code.swap_bytes() } else { code })
    });
    let text: String = scalars.collect::<Option<_>>()?;
    Some(text.trim_end_matches('\0').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::ArrayInfo;
    use crate::model::array::tests::Memory;

    #[test]
    fn a_column_major_array_reads_row_by_row() {
        let info = ArrayInfo { dtype: Dtype::U8, shape: vec![2, 3], order: Order::F };
        let arrays = Memory::new(vec![(info, vec![1, 4, 2, 5, 3, 6])]);
        let part = ArrayPart { array: ArrayId(0), first_row: 0, shape: [2, 3].into() };
        let graph = Graph { nodes: vec![Node::Array(part)], root: NodeId(0) };
        let array = graph.plain_array_at(NodeId(0), &arrays, 6).unwrap().unwrap();
        assert_eq!(array.i64s(), Some(vec![1, 2, 3, 4, 5, 6]));
        assert!(graph.plain_array_at(NodeId(0), &arrays, 5).unwrap().is_none());
    }

    #[test]
    fn texts_come_from_objects_and_from_fixed_width_arrays() {
        let text: Vec<u8> = "ab\0\u{e4}\0\0".chars().flat_map(|c| (c as u32).to_le_bytes()).collect();
        let info =
            ArrayInfo { dtype: Dtype::Plain(Plain::new(Kind::Str, 12)), shape: vec![2], order: Order::C };
        let arrays = Memory::new(vec![(info, text)]);
        let part = ArrayPart { array: ArrayId(0), first_row: 0, shape: [2].into() };
        let objects =
            Node::ObjectArray { shape: [2].into(), order: Order::C, items: vec![NodeId(1), NodeId(2)] };
        let graph = Graph {
            nodes: vec![Node::Array(part), Node::Str("ab".into()), Node::Str("\u{e4}".into()), objects],
            root: NodeId(0),
        };
        for id in [0, 3] {
            let (shape, texts) = graph.texts_at(NodeId(id), &arrays, 100).unwrap().unwrap();
            assert_eq!((shape, texts), (vec![2], vec!["ab".to_owned(), "\u{e4}".to_owned()]));
        }
        assert!(graph.texts_at(NodeId(3), &arrays, 10).unwrap().is_none());
    }

    #[test]
    fn a_part_reads_its_own_rows() {
        let info = ArrayInfo { dtype: Dtype::I16, shape: vec![3, 1], order: Order::C };
        let arrays = Memory::new(vec![(info, vec![1, 0, 2, 0, 0xff, 0xff])]);
        let part = ArrayPart { array: ArrayId(0), first_row: 1, shape: [2, 1].into() };
        let graph = Graph { nodes: vec![Node::Array(part)], root: NodeId(0) };
        let array = graph.plain_array_at(NodeId(0), &arrays, 6).unwrap().unwrap();
        assert_eq!(array.f64s(), Some(vec![2.0, -1.0]));
    }
}
