//! The bytes of arrays that were taken apart.
#![forbid(unsafe_code)]

use std::io::{self, Read};

use crate::format::Order;
use crate::format::dtype::{Dtype, Kind, Plain};
use crate::model::Model;
use crate::model::array::ArraySource;
use crate::model::graph::read::{PartReader, PlainArray, read_plain};
use crate::model::graph::{ArrayPart, Node, Quotients, Records};

impl<D: AsRef<[u8]> + Sync> Model<D> {
    /// The elements of an array in this file's [`graph`](Model::graph), in C order, as they were when it was saved;
    /// `None` if `node` is no array of plain elements or records, or one of records in Fortran order.
    ///
    /// # Errors
    ///
    /// If an array is compressed.
    ///
    /// # Panics
    ///
    /// If `node` is of another file's graph and this file has fewer arrays.
    pub fn node_bytes(&self, node: &Node) -> io::Result<Option<Vec<u8>>> {
        match node {
            Node::Records(records) => read_records(records, self).map(Some),
            Node::Quotients(quotients) => read_quotients(quotients, self).map(Some),
            Node::Array(part) => match read_plain(part, self, u64::MAX)? {
                Some(array) => Ok(Some(array.bytes)),
                None if self.info(part.array).order == Order::F && part.shape.len() > 1 => Ok(None),
                None => {
                    let mut bytes = Vec::new();
                    PartReader::new(part, self)?.read_to_end(&mut bytes)?;
                    Ok(Some(bytes))
                }
            },
            _ => Ok(None),
        }
    }
}

/// The records, put together again. Bytes that belong to no field are zero.
///
/// # Errors
///
/// If the columns cannot be read, or do not fit the records; those of a decoded graph do.
pub(crate) fn read_records(records: &Records, arrays: &dyn ArraySource) -> io::Result<Vec<u8>> {
    let Dtype::Record(record) = &records.dtype else { return Err(mismatch()) };
    let stride = record.itemsize as usize;
    let rows = records.shape.iter().try_fold(1u64, |rows, len| rows.checked_mul(*len));
    let len = rows.and_then(|rows| usize::try_from(rows).ok()?.checked_mul(stride)).ok_or_else(mismatch)?;
    let mut out = vec![0; len];
    for (column, field) in records.columns.iter().zip(&record.fields) {
        let column = whole(column, arrays)?;
        let (size, start) = (field.dtype.itemsize as usize, field.offset as usize);
        let per_record = field.shape.iter().map(|len| *len as usize).product::<usize>();
        let mut elements = column.elements();
        for record in out.chunks_exact_mut(stride.max(1)) {
            let slots = record.get_mut(start..start + size * per_record).ok_or_else(mismatch)?;
            for slot in slots.chunks_exact_mut(size.max(1)) {
                let element = elements.next().ok_or_else(mismatch)?;
                widen(element, column.dtype, field.dtype, slot).ok_or_else(mismatch)?;
            }
        }
    }
    Ok(out)
}

/// The quotients: little-endian `f64` in C order.
///
/// # Errors
///
/// If the arrays cannot be read, or do not fit together; those of a decoded graph do.
pub(crate) fn read_quotients(quotients: &Quotients, arrays: &dyn ArraySource) -> io::Result<Vec<u8>> {
    let numerators = whole(&quotients.numerators, arrays)?.f64s().ok_or_else(mismatch)?;
    let Some(denominators) = &quotients.denominators else {
        return Ok(numerators.iter().flat_map(|value| value.to_le_bytes()).collect());
    };
    let denominators = whole(denominators, arrays)?.f64s().ok_or_else(mismatch)?;
    let row = numerators.len().checked_div(denominators.len()).unwrap_or(0).max(1);
    let rows = numerators.chunks(row).zip(&denominators);
    Ok(rows
        .flat_map(|(row, weight)| row.iter().flat_map(move |value| (value / weight).to_le_bytes()))
        .collect())
}

fn whole(part: &ArrayPart, arrays: &dyn ArraySource) -> io::Result<PlainArray> {
    read_plain(part, arrays, u64::MAX)?.ok_or_else(mismatch)
}

fn mismatch() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the columns of a record array do not fit it")
}

/// One element in its own type.
fn widen(element: &[u8], stored: Plain, field: Plain, slot: &mut [u8]) -> Option<()> {
    if stored == field {
        slot.copy_from_slice(element);
        return (slot.len() == element.len()).then_some(());
    }
    if field.kind == Kind::Float {
        let mut word = [0; 4];
        word.get_mut(..element.len())?.copy_from_slice(element);
        slot.copy_from_slice(&f64::from(u32::from_le_bytes(word)).to_le_bytes());
        return Some(());
    }
    let negative = stored.kind == Kind::Int && element.last()? & 0x80 != 0;
    slot.fill(if negative { 0xff } else { 0 });
    slot.get_mut(..element.len())?.copy_from_slice(element);
    Some(())
}
