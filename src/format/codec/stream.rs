//! Streams: what the blocks of filtered arrays consist of.
//!
//! A stream starts with a byte, its method, and decodes to a number of bytes that is known beforehand. The streams in
//! a stream have methods of lower numbers, so that they nest five deep at most.
//!
//! ```text
//! 0 stored      the bytes
//! 1 zstd        one frame
//! 2 shuffle     u8 width, stream
//! 3 delta       u8 width, stream
//! 4 dictionary  u8 width, u8 width of an index, u32 count, u32 length of the next stream, stream of values, stream of indices
//! 5 columns     u16 length of a record, u16 bytes before the first, u8 groups, each u16 width, u16 count, u32 length of its
//!               stream; bytes that belong to no whole record; a stream for each group
//! ```
#![forbid(unsafe_code)]

use std::fmt::Write;
use std::mem;

use crate::format::codec::columns::{self, Fields};
use crate::format::codec::delta::{self, sums};
use crate::format::codec::dictionary::{self, look_up};
use crate::format::codec::shuffle::unshuffle;

pub(crate) const STORED: u8 = 0;
pub(super) const ZSTD: u8 = 1;
pub(super) const SHUFFLE: u8 = 2;
pub(super) const DELTA: u8 = 3;
pub(super) const DICTIONARY: u8 = 4;
pub(super) const COLUMNS: u8 = 5;
const METHODS: u8 = 6;

/// Decodes blocks one after the other, in memory that it keeps: at most a few times the length of a block.
#[derive(Default)]
pub(crate) struct Decoder {
    zstd: Option<zstd::bulk::Decompressor<'static>>,
    /// Buffers that are not in use.
    spare: Vec<Vec<u8>>,
}

/// One decoded block, and what decodes the next one into the same memory.
#[derive(Default)]
pub(crate) struct Scratch {
    pub(crate) bytes: Vec<u8>,
    pub(crate) decoder: Decoder,
}

impl Decoder {
    /// Decodes a block of an array of filtered blocks.
    pub(crate) fn streams(&mut self, stored: &[u8], decoded: &mut [u8]) -> Result<(), String> {
        self.stream(stored, decoded, METHODS)
    }

    /// Decodes one zstd frame that fills `decoded`.
    pub(crate) fn frame(&mut self, stored: &[u8], decoded: &mut [u8]) -> Result<(), String> {
        let expected = decoded.len();
        if self.zstd.is_none() {
            let made = zstd::bulk::Decompressor::new().map_err(|error| format!("zstd: {error}"))?;
            self.zstd = Some(made);
        }
        let Some(zstd) = &mut self.zstd else { return Ok(()) };
        match zstd.decompress_to_buffer(stored, decoded) {
            Ok(len) if len == expected => Ok(()),
            Ok(len) => Err(format!("zstd gave {len} bytes, expected {expected}")),
            Err(error) => Err(format!("zstd: {error}")),
        }
    }

    /// Decodes a stream whose method is below `limit`.
    fn stream(&mut self, stored: &[u8], out: &mut [u8], limit: u8) -> Result<(), String> {
        let mut head = Head(stored);
        let method = head.u8()?;
        if method >= limit {
            return Err(format!("method {method} stands where only those below {limit} may"));
        }
        match method {
            STORED if head.0.len() == out.len() => out.copy_from_slice(head.0),
            STORED => return Err(format!("{} bytes are stored, expected {}", head.0.len(), out.len())),
            ZSTD => self.frame(head.0, out)?,
            SHUFFLE => self.shuffled(head, out)?,
            DELTA => {
                let width = usize::from(head.u8()?);
                if !delta::is_width(width) {
                    return Err(format!("differences of {width} bytes, expected 1, 2, 4 or 8"));
                }
                self.stream(head.0, out, DELTA)?;
                sums(out, width);
            }
            DICTIONARY => self.looked_up(head, out)?,
            _ => self.columns(head, out)?,
        }
        Ok(())
    }

    fn shuffled(&mut self, mut head: Head<'_>, out: &mut [u8]) -> Result<(), String> {
        let width = usize::from(head.u8()?);
        if width < 2 {
            return Err(format!("elements of {width} bytes are shuffled, expected 2 or more"));
        }
        if let Some((&STORED, bytes)) = head.0.split_first() {
            if bytes.len() != out.len() {
                return Err(format!("{} bytes are stored, expected {}", bytes.len(), out.len()));
            }
            unshuffle(bytes, width, out);
            return Ok(());
        }
        let mut planes = self.take(out.len());
        self.stream(head.0, &mut planes[..out.len()], SHUFFLE)?;
        unshuffle(&planes[..out.len()], width, out);
        self.spare.push(planes);
        Ok(())
    }

    fn looked_up(&mut self, mut head: Head<'_>, out: &mut [u8]) -> Result<(), String> {
        let (width, index_width) = (usize::from(head.u8()?), usize::from(head.u8()?));
        if !dictionary::is_width(width) || !matches!(index_width, 1 | 2 | 4) || index_width >= width {
            return Err(format!("indices of {index_width} bytes to values of {width}"));
        }
        let elements = out.len() / width;
        let count = head.u32()?;
        if !out.len().is_multiple_of(width) || !(1..=elements).contains(&count) {
            return Err(format!("a dictionary of {count} values of {width} bytes for {} bytes", out.len()));
        }
        let len = head.u32()?;
        let stored = head.take(len)?;
        let values_len = count * width;
        let mut values = self.take(values_len);
        self.stream(stored, &mut values[..values_len], DICTIONARY)?;
        let mut indices = self.take(elements * index_width);
        self.stream(head.0, &mut indices[..elements * index_width], DICTIONARY)?;
        look_up(&values[..values_len], width, &indices[..elements * index_width], index_width, out)?;
        self.spare.extend([values, indices]);
        Ok(())
    }

    fn columns(&mut self, head: Head<'_>, out: &mut [u8]) -> Result<(), String> {
        let layout = Columns::read(head, out.len())?;
        let (lead, inner) = out.split_at_mut(layout.lead);
        let (records, trail) = inner.split_at_mut(layout.count * layout.record);
        lead.copy_from_slice(&layout.edges[..layout.lead]);
        trail.copy_from_slice(&layout.edges[layout.lead..]);
        let mut columns = self.take(records.len());
        let mut rest = &mut columns[..records.len()];
        for (group, stored) in &layout.groups {
            let column;
            (column, rest) = mem::take(&mut rest).split_at_mut(group.len() * layout.count);
            self.stream(stored, column, COLUMNS)?;
        }
        let groups: Vec<Fields> = layout.groups.iter().map(|(group, _)| *group).collect();
        columns::scatter(&columns[..records.len()], layout.record, &groups, records);
        self.spare.push(columns);
        Ok(())
    }

    /// A buffer of at least `len` bytes.
    fn take(&mut self, len: usize) -> Vec<u8> {
        let mut buffer = self.spare.pop().unwrap_or_default();
        if buffer.len() < len {
            buffer.resize(len, 0);
        }
        buffer
    }
}

/// The head of a stream of columns, checked.
struct Columns<'a> {
    record: usize,
    /// Whole records.
    count: usize,
    /// Bytes before the first.
    lead: usize,
    /// Those, and the bytes behind the last.
    edges: &'a [u8],
    groups: Vec<(Fields, &'a [u8])>,
}

impl<'a> Columns<'a> {
    fn read(mut head: Head<'a>, len: usize) -> Result<Self, String> {
        let (record, lead) = (usize::from(head.u16()?), usize::from(head.u16()?));
        let whole = len.checked_sub(lead).filter(|_| record > 0 && lead < record);
        let whole = whole.ok_or_else(|| format!("records of {record} bytes from byte {lead} on"))?;
        let count = whole / record;
        let mut groups = Vec::new();
        let mut lens = Vec::new();
        let mut sum = 0;
        for _ in 0..head.u8()? {
            let fields = Fields { width: usize::from(head.u16()?), count: usize::from(head.u16()?) };
            if fields.len() == 0 {
                return Err("a column without bytes".to_owned());
            }
            // At most 255 products of 16-bit numbers.
            sum += fields.len();
            groups.push(fields);
            lens.push(head.u32()?);
        }
        if sum != record || count == 0 {
            return Err(format!("{count} records of {record} bytes have columns of {sum}"));
        }
        let edges = head.take(len - count * record)?;
        let streams = lens.into_iter().map(|len| head.take(len)).collect::<Result<Vec<_>, _>>()?;
        if !head.0.is_empty() {
            return Err(format!("{} bytes follow the last column", head.0.len()));
        }
        Ok(Columns { record, count, lead, edges, groups: groups.into_iter().zip(streams).collect() })
    }
}

/// What has not been read of a stream.
#[derive(Clone, Copy)]
struct Head<'a>(&'a [u8]);

impl<'a> Head<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], String> {
        let short = || format!("a stream ends after {} bytes, expected {len}", self.0.len());
        let (taken, rest) = self.0.split_at_checked(len).ok_or_else(short)?;
        self.0 = rest;
        Ok(taken)
    }

    fn number(&mut self, len: usize) -> Result<usize, String> {
        let bytes = self.take(len)?;
        Ok(bytes.iter().rev().fold(0, |number, &byte| number << 8 | usize::from(byte)))
    }

    fn u8(&mut self) -> Result<u8, String> {
        Ok(self.number(1)? as u8)
    }

    fn u16(&mut self) -> Result<u16, String> {
        Ok(self.number(2)? as u16)
    }

    fn u32(&mut self) -> Result<usize, String> {
        self.number(4)
    }
}

/// What the head of a block says of how it is stored: `shuffle8 + zstd`. For people; of `len` bytes.
pub(crate) fn describe(stored: &[u8], len: usize) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = describe_to(&mut text, Head(stored), len, METHODS);
    text
}

/// `None` if the stream is damaged.
fn describe_to(text: &mut String, mut head: Head<'_>, len: usize, limit: u8) -> Option<()> {
    let method = head.u8().ok().filter(|&method| method < limit)?;
    match method {
        STORED => text.push_str("stored"),
        ZSTD => text.push_str("zstd"),
        SHUFFLE | DELTA => {
            let name = if method == SHUFFLE { "shuffle" } else { "delta" };
            write!(text, "{name}{} + ", head.u8().ok()?).ok()?;
            describe_to(text, head, len, method)?;
        }
        DICTIONARY => {
            let (_, index_width) = (head.u8().ok()?, head.u8().ok()?);
            let (count, len) = (head.u32().ok()?, head.u32().ok()?);
            head.take(len).ok()?;
            write!(text, "dictionary{} ({count} values) + ", u32::from(index_width) * 8).ok()?;
            describe_to(text, head, len, DICTIONARY)?;
        }
        _ => {
            let layout = Columns::read(head, len).ok()?;
            text.push_str("columns (");
            for (i, (fields, stored)) in layout.groups.iter().enumerate() {
                let separator = if i == 0 { "" } else { ", " };
                let many = if fields.count == 1 { String::new() } else { format!("{} x ", fields.count) };
                write!(text, "{separator}{many}{} bytes: ", fields.width).ok()?;
                describe_to(text, Head(stored), fields.len() * layout.count, COLUMNS)?;
            }
            text.push(')');
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::format::codec::dictionary::Ordering;
    use crate::format::codec::recipe::{Filter, Recipe, Streams};
    use crate::format::codec::zstd::Encoder;

    fn decode(stored: &[u8], len: usize) -> Result<Vec<u8>, String> {
        let mut out = vec![0; len];
        Decoder::default().streams(stored, &mut out).map(|()| out)
    }

    fn refused(stored: &[u8], len: usize, problem: &str) {
        let error = decode(stored, len).unwrap_err();
        assert!(error.contains(problem), "{error}");
    }

    #[test]
    fn an_index_beyond_its_dictionary_is_an_error() {
        let stream = |index: u8| [4, 4, 1, 2, 0, 0, 0, 9, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 0, 0, 1, index];
        assert_eq!(Ok([[1u8; 4], [2; 4], [2; 4]].concat()), decode(&stream(1), 12));
        refused(&stream(2), 12, "index 2 is not in a dictionary of 2 values");
    }

    /// The writer has no use for indices of 4 bytes: a block holds too few values of 8.
    #[test]
    fn indices_of_every_width_are_looked_up() {
        for (width, index_width) in [(2, 1), (4, 1), (4, 2), (8, 1), (8, 2), (8, 4)] {
            let [first, second] = [1, 2].map(|byte| vec![byte; width]);
            let stream = |indices: [u32; 3]| {
                let mut stream =
                    vec![4, width as u8, index_width as u8, 2, 0, 0, 0, 1 + 2 * width as u8, 0, 0, 0, 0];
                stream.extend([first.as_slice(), &second].concat());
                stream.push(0);
                stream.extend(indices.iter().flat_map(|index| index.to_le_bytes()[..index_width].to_vec()));
                stream
            };
            let expected = [second.as_slice(), &first, &second].concat();
            assert_eq!(Ok(expected), decode(&stream([1, 0, 1]), 3 * width), "{index_width} of {width}");
            let largest = u32::MAX >> (32 - 8 * index_width);
            refused(
                &stream([1, largest, 1]),
                3 * width,
                &format!("index {largest} is not in a dictionary of 2"),
            );
        }
    }

    #[test]
    fn what_a_head_says_is_checked_before_it_is_used() {
        refused(&[], 4, "ends after 0 bytes");
        refused(&[6], 4, "method 6");
        refused(&[0, 1, 2, 3], 4, "3 bytes are stored");
        refused(&[1, 1, 2, 3], 4, "zstd");
        refused(&[2, 1, 0, 1, 2, 3, 4], 4, "elements of 1 bytes");
        refused(&[2, 2, 2, 2, 0, 1, 2, 3, 4], 4, "method 2");
        refused(&[3, 3, 0, 1, 2, 3, 4], 4, "differences of 3 bytes");
        refused(&[4, 2, 2, 1, 0, 0, 0, 1, 0, 0, 0, 0], 4, "indices of 2 bytes to values of 2");
        refused(&[4, 8, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0], 8, "a dictionary of 0 values");
        refused(&[4, 8, 4, 255, 255, 255, 255, 1, 0, 0, 0, 0], 8, "a dictionary of 4294967295 values");
        refused(&[4, 8, 4, 1, 0, 0, 0, 255, 255, 255, 255, 0], 8, "ends after 1 bytes");
        refused(&[5, 0, 0, 0, 0, 0], 8, "records of 0 bytes");
        refused(&[5, 2, 0, 2, 0, 0], 8, "from byte 2 on");
        refused(&[5, 2, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0], 8, "a column without bytes");
        refused(&[5, 2, 0, 0, 0, 1, 255, 255, 255, 255, 0, 0, 0, 0], 8, "have columns of 4294836225");
        refused(&[5, 9, 0, 0, 0, 1, 9, 0, 1, 0, 0, 0, 0, 0], 8, "0 records of 9 bytes");
        refused(&[5, 2, 0, 0, 0, 1, 2, 0, 1, 0, 2, 0, 0, 0, 0, 7, 7, 9], 2, "2 bytes follow");
    }

    fn filter() -> impl Strategy<Value = Filter> {
        any::<[bool; 2]>().prop_map(|[delta, shuffle]| Filter { delta, shuffle })
    }

    fn column() -> impl Strategy<Value = Recipe> {
        let width = prop_oneof![Just(1usize), Just(2), Just(4), Just(8)];
        (width, filter(), filter(), any::<[bool; 2]>()).prop_map(
            |(width, filter, indices, [distinct, frequent])| {
                if distinct {
                    let ordering = if frequent { Ordering::Frequent } else { Ordering::Ascending };
                    Recipe::Dictionary { width, ordering, indices, otherwise: filter }
                } else {
                    Recipe::Filtered { width, filter }
                }
            },
        )
    }

    fn recipe() -> impl Strategy<Value = Recipe> {
        let fields = (1usize..9, 1usize..4).prop_map(|(width, count)| Fields { width, count });
        let columns = vec((fields, column()), 1..5).prop_map(|groups| {
            let record = groups.iter().map(|(fields, _)| fields.len()).sum();
            Recipe::Columns { record, groups }
        });
        prop_oneof![column(), columns]
    }

    proptest! {
        #[test]
        fn what_is_made_is_decoded(recipe in recipe(), seed in any::<u64>(), len in 1usize..5000, lead in 0usize..7) {
            let lead = if let Recipe::Columns { record, .. } = &recipe { lead % record } else { 0 };
            let block: Vec<u8> = (0..len as u64).map(|i| (i / 8 % (seed % 50 + 1) * (i % 4)) as u8).collect();
            let lead = lead.min(len);
            if let Some(stored) = Streams::new(Encoder::new(1)).block(&recipe, &block, lead).unwrap() {
                prop_assert_eq!(Ok(block.clone()), decode(&stored, len));
                prop_assert!(!describe(&stored, len).is_empty());
                prop_assert!(decode(&stored, len + 1).is_err());
            }
        }

        #[test]
        fn no_bytes_panic(stored in vec(any::<u8>(), 0..200), method in 0u8..6, len in 0usize..300) {
            let stored = [&[method], &stored[..]].concat();
            let _ = decode(&stored, len);
            let _ = describe(&stored, len);
        }
    }
}
