//! A group's rows in chunks.
#![forbid(unsafe_code)]

use std::io;

use crate::format::ArrayId;
use crate::model::array::ArraySource;
use crate::model::in_order;
use crate::model::pack::layout::Member;

/// Bytes of the source that one step works on: small enough to stay in a core's cache.
const CHUNK: u64 = 1 << 20;

/// Rows of one member.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    /// Index of the member.
    pub(super) member: usize,
    /// Its array.
    pub(super) array: ArrayId,
    /// The first row.
    pub(super) first: u64,
    /// Number of rows.
    pub(super) rows: u64,
}

/// Successive rows of a group.
pub(super) type Chunk = Vec<Segment>;

/// All rows of `members`.
pub(super) fn all_rows(members: &[Member]) -> impl Iterator<Item = Segment> {
    let whole =
        |(member, &Member { array, rows }): (usize, &Member)| Segment { member, array, first: 0, rows };
    members.iter().enumerate().map(whole)
}

/// Rows about 1 MiB at a time.
pub(super) fn chunks(segments: impl Iterator<Item = Segment>, row_bytes: u64) -> Vec<Chunk> {
    let most = (CHUNK / row_bytes.max(1)).max(1);
    let mut chunks = Vec::new();
    let (mut chunk, mut free) = (Chunk::new(), most);
    for Segment { member, array, first, rows } in segments {
        let (mut first, end) = (first, first + rows);
        while first < end {
            let rows = (end - first).min(free);
            chunk.push(Segment { member, array, first, rows });
            (first, free) = (first + rows, free - rows);
            if free == 0 {
                chunks.push(std::mem::take(&mut chunk));
                free = most;
            }
        }
    }
    if !chunk.is_empty() {
        chunks.push(chunk);
    }
    chunks
}

/// What a thread reads into.
#[derive(Default)]
pub(super) struct Buffers {
    pub(super) records: Vec<u8>,
    /// One for each array of values beside the records.
    pub(super) values: Vec<Vec<u8>>,
}

/// The rows of a segment, of an array whose rows are those of the segment's: where they lie, or read into `buf`.
pub(super) fn rows<'a>(
    segment: &Segment,
    array: ArrayId,
    row_bytes: u64,
    arrays: &'a dyn ArraySource,
    buf: &'a mut Vec<u8>,
) -> io::Result<&'a [u8]> {
    let (start, len) = (segment.first * row_bytes, segment.rows * row_bytes);
    if let Some(bytes) = arrays.slice(array, start..start + len) {
        return Ok(bytes);
    }
    buf.resize(usize::try_from(len).map_err(|_| io::ErrorKind::OutOfMemory)?, 0);
    arrays.read_at(array, start, buf)?;
    Ok(buf)
}

/// [`in_order`](crate::model::in_order::in_order) on chunks, in as many threads as their work is worth.
pub(super) fn in_order<S: Default, T: Send, R>(
    chunks: &[Chunk],
    work: impl Fn(&Chunk, &mut S) -> io::Result<T> + Sync,
    consume: impl FnOnce(&mut dyn FnMut() -> Option<io::Result<T>>) -> R,
) -> R {
    in_order::in_order(chunks, in_order::threads_for(chunks.len() as u64 * CHUNK), work, consume)
}
