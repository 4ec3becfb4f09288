//! Records taken apart: the narrowest type of each field, and its elements in that type.
#![forbid(unsafe_code)]

use std::slice;

use crate::format::dtype::{Kind, Plain};
use crate::model::pack::layout::Column;

/// Bytes of records that are gone through column by column while they stay in the first-level cache.
const BLOCK: usize = 16 << 10;

/// Records in a block.
pub(super) fn rows_in_block(stride: usize) -> usize {
    (BLOCK / stride.max(1)).max(1)
}

/// Records a block at a time.
pub(super) fn blocks(records: &[u8], stride: usize) -> slice::Chunks<'_, u8> {
    records.chunks(rows_in_block(stride) * stride.max(1))
}

/// What the integers of a column take: enough to choose a type, and quicker to gather than their least and their greatest.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    /// The bits in which a value differs from the next lower bit, of all values: the highest of them is the sign bit of
    /// the narrowest signed type that holds every value.
    spread: u64,
    /// Negative if a value is.
    sign: i64,
}

impl Range {
    /// Of no value.
    pub(super) const EMPTY: Range = Range { spread: 0, sign: 0 };

    /// Of one value.
    pub(super) fn of(value: i64) -> Range {
        Range { spread: (value ^ value << 1) as u64, sign: value }
    }

    /// Of the values of both.
    pub(super) fn with(self, other: Range) -> Range {
        Range { spread: self.spread | other.spread, sign: self.sign | other.sign }
    }

    /// The narrowest type that holds the range, or `wide`.
    pub(super) fn narrowest(self, wide: Plain) -> Plain {
        // An unsigned type has no sign bit, and so one bit more for the value.
        let (kind, more) = if self.sign < 0 { (Kind::Int, 0) } else { (Kind::Uint, 1) };
        let fits = |size: &u32| self.spread >> (8 * size + more) == 0;
        match [1, 2, 4].into_iter().find(fits) {
            Some(size) if size < wide.itemsize => Plain::new(kind, size),
            _ => wide,
        }
    }
}

/// Whether a narrower type could hold some values of this one.
pub(super) fn is_number(dtype: Plain) -> bool {
    match dtype.kind {
        Kind::Int | Kind::Uint => !dtype.big_endian && dtype.itemsize > 1,
        Kind::Float => !dtype.big_endian && dtype.itemsize == 8,
        _ => false,
    }
}

/// The range of a column, if its type can be narrowed at all and every value is an integer.
pub(super) fn range_of(records: &[u8], stride: usize, column: &Column) -> Option<Range> {
    let dtype = column.field.dtype;
    if !is_number(dtype) {
        return None;
    }
    let mut range = Range::EMPTY;
    let mut integral = true;
    let mut add = |value: i64| range = range.with(Range::of(value));
    match (dtype.kind, dtype.itemsize) {
        (Kind::Int, 2) => each(records, stride, column, |b| add(i16::from_le_bytes(b).into())),
        (Kind::Int, 4) => each(records, stride, column, |b| add(i32::from_le_bytes(b).into())),
        (Kind::Int, 8) => each(records, stride, column, |b| add(i64::from_le_bytes(b))),
        (Kind::Uint, 2) => each(records, stride, column, |b| add(u16::from_le_bytes(b).into())),
        (Kind::Uint, 4) => each(records, stride, column, |b| add(u32::from_le_bytes(b).into())),
        (Kind::Uint, 8) => each(records, stride, column, |b| {
            let value = i64::try_from(u64::from_le_bytes(b));
            integral &= value.is_ok();
            add(value.unwrap_or(0));
        }),
        (Kind::Float, 8) => each(records, stride, column, |b| {
            let (value, same) = unsigned(f64::from_le_bytes(b));
            integral &= same;
            add(value.into());
        }),
        _ => return None,
    }
    integral.then_some(range)
}

/// The ranges of the eight columns of integers that records of 64 bytes may be made of: all at once, so that the compiler
/// takes several together.
pub(super) fn ranges_of_words(records: &[u8]) -> [Range; 8] {
    let mut all = [Range::EMPTY; 8];
    for record in records.as_chunks::<8>().0.as_chunks::<8>().0 {
        for (range, word) in all.iter_mut().zip(record) {
            *range = range.with(Range::of(i64::from_le_bytes(*word)));
        }
    }
    all
}

/// Which of the words of records a column is, if it is one.
pub(super) fn word_of(stride: usize, column: &Column) -> Option<usize> {
    let (start, len) = place(column);
    let plain = column.field.dtype;
    let is_word = plain.kind == Kind::Int && !plain.big_endian && plain.itemsize == 8 && len == 8;
    (stride == 64 && is_word && start % 8 == 0 && start < 64).then_some(start / 8)
}

/// 2^52, from which on the numbers of 64 bits are integers: the bits of a sum with it end in the other, rounded.
const INTEGERS: f64 = (1u64 << 52) as f64;

/// The integer next to a value that is above -1/2, and whether it is one of 32 bits. No branch, unlike a conversion.
pub(super) fn rounded(value: f64) -> (u32, bool) {
    let bits = (value + INTEGERS).to_bits();
    (bits as u32, bits >> 32 == INTEGERS.to_bits() >> 32)
}

/// The nearest integer, and whether it is the value, bit for bit. `-0.0` is not.
pub(super) fn unsigned(value: f64) -> (u32, bool) {
    let (integer, fits) = rounded(value);
    (integer, fits & (f64::from(integer).to_bits() == value.to_bits()))
}

fn each<const N: usize>(records: &[u8], stride: usize, column: &Column, mut f: impl FnMut([u8; N])) {
    let (start, len) = place(column);
    if (len, stride) == (N, 64) && start <= 64 - N {
        // The node of a tree: a stride that the compiler knows.
        for record in records.as_chunks::<64>().0 {
            if let Some(element) = record[start..start + N].first_chunk() {
                f(*element);
            }
        }
        return;
    }
    for record in records.chunks_exact(stride.max(1)) {
        for element in record[start..start + len].as_chunks::<N>().0 {
            f(*element);
        }
    }
}

/// Where the field lies in each record; the dtype was found valid, so it does.
fn place(column: &Column) -> (usize, usize) {
    (column.field.offset as usize, column.field.len_bytes().unwrap_or(0) as usize)
}

/// Appends the elements of a column in its stored type, and says whether that holds each of them.
pub(super) fn gather(records: &[u8], stride: usize, column: &Column, out: &mut Vec<u8>) -> bool {
    let (from, to) = (column.field.dtype, column.stored);
    if from == to {
        match from.itemsize {
            1 => map(records, stride, column, out, |b: [u8; 1]| b),
            2 => map(records, stride, column, out, |b: [u8; 2]| b),
            4 => map(records, stride, column, out, |b: [u8; 4]| b),
            8 => map(records, stride, column, out, |b: [u8; 8]| b),
            _ => {
                let (start, len) = place(column);
                for record in records.chunks_exact(stride.max(1)) {
                    out.extend_from_slice(&record[start..start + len]);
                }
            }
        }
        return true;
    }
    let float = from.kind == Kind::Float;
    match (from.itemsize, to.itemsize) {
        (8, 4) if float => floats::<4>(records, stride, column, out),
        (8, 2) if float => floats::<2>(records, stride, column, out),
        (8, 1) if float => floats::<1>(records, stride, column, out),
        (8, 4) => integers::<8, 4>(records, stride, column, out),
        (8, 2) => integers::<8, 2>(records, stride, column, out),
        (8, 1) => integers::<8, 1>(records, stride, column, out),
        (4, 2) => integers::<4, 2>(records, stride, column, out),
        (4, 1) => integers::<4, 1>(records, stride, column, out),
        (2, 1) => integers::<2, 1>(records, stride, column, out),
        _ => false,
    }
}

/// Floats as unsigned integers.
fn floats<const M: usize>(records: &[u8], stride: usize, column: &Column, out: &mut Vec<u8>) -> bool {
    let (mut exact, mut beyond) = (true, 0);
    map(records, stride, column, out, |bytes| {
        let (integer, same) = unsigned(f64::from_le_bytes(bytes));
        exact &= same;
        beyond |= u64::from(integer) >> (8 * M);
        lowest::<M>(integer.into())
    });
    exact && beyond == 0
}

fn integers<const N: usize, const M: usize>(
    records: &[u8],
    stride: usize,
    column: &Column,
    out: &mut Vec<u8>,
) -> bool {
    let signed = column.field.dtype.kind == Kind::Int;
    // From the least value of the type on, all of its values are 0 or more.
    let least = if column.stored.kind == Kind::Int { 1u64 << (8 * M - 1) } else { 0 };
    let mut beyond = 0;
    map(records, stride, column, out, |bytes: [u8; N]| {
        let value = extended(bytes, signed);
        beyond |= value.wrapping_add(least) >> (8 * M);
        lowest::<M>(value)
    });
    beyond == 0
}

/// An integer of fewer bytes in eight.
#[inline(always)]
fn extended<const N: usize>(bytes: [u8; N], signed: bool) -> u64 {
    let mut word = [0; 8];
    word[..N].copy_from_slice(&bytes);
    let (word, above) = (u64::from_le_bytes(word), 64 - 8 * N);
    if signed { ((word << above) as i64 >> above) as u64 } else { word }
}

/// The lowest bytes.
#[inline(always)]
pub(super) fn lowest<const M: usize>(value: u64) -> [u8; M] {
    let bytes = value.to_le_bytes();
    std::array::from_fn(|at| bytes[at])
}

fn map<const N: usize, const M: usize>(
    records: &[u8],
    stride: usize,
    column: &Column,
    out: &mut Vec<u8>,
    mut f: impl FnMut([u8; N]) -> [u8; M],
) {
    let (_, len) = place(column);
    let before = out.len();
    out.resize(before + records.len() / stride.max(1) * (len / N) * M, 0);
    let mut slots = out[before..].as_chunks_mut::<M>().0.iter_mut();
    each(records, stride, column, |element| {
        if let Some(slot) = slots.next() {
            *slot = f(element);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::Range;
    use crate::format::dtype::{Kind, Plain};

    #[test]
    fn the_narrowest_type_holds_every_value_and_no_narrower_one_does() {
        let wide = Plain::new(Kind::Int, 8);
        let of =
            |values: &[i64]| values.iter().fold(Range::EMPTY, |range, &value| range.with(Range::of(value)));
        let (int, uint) = (|size| Plain::new(Kind::Int, size), |size| Plain::new(Kind::Uint, size));
        let cases: [(&[i64], Plain); 15] = [
            (&[], uint(1)),
            (&[0], uint(1)),
            (&[255, 7], uint(1)),
            (&[256, 255], uint(2)),
            (&[0xffff], uint(2)),
            (&[0x1_0000, 1], uint(4)),
            (&[0xffff_ffff], uint(4)),
            (&[0x1_0000_0000], wide),
            (&[i64::MAX], wide),
            (&[-1, 127], int(1)),
            (&[-128], int(1)),
            (&[-1, 128], int(2)),
            (&[-129], int(2)),
            (&[-0x8000_0000, 0x7fff_ffff], int(4)),
            (&[i64::MIN, 0], wide),
        ];
        for (values, expected) in cases {
            assert_eq!(expected, of(values).narrowest(wide), "{values:?}");
        }
    }
}
