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

/// All rows of `members`, about 1 MiB at a time.
pub(super) fn chunks(members: &[Member], row_bytes: u64) -> Vec<Chunk> {
    let most = (CHUNK / row_bytes.max(1)).max(1);
    let mut chunks = Vec::new();
    let (mut chunk, mut free) = (Chunk::new(), most);
    for (member, Member { array, rows }) in members.iter().enumerate() {
        let mut first = 0;
        while first < *rows {
            let rows = (rows - first).min(free);
            chunk.push(Segment { member, array: *array, first, rows });
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

/// Fills `buf` with the rows of a chunk; `array` says which array a segment's rows are read from.
pub(super) fn read(
    chunk: &Chunk,
    row_bytes: u64,
    arrays: &dyn ArraySource,
    array: impl Fn(&Segment) -> ArrayId,
    buf: &mut Vec<u8>,
) -> io::Result<()> {
    let too_long = |_| io::Error::from(io::ErrorKind::OutOfMemory);
    let rows: u64 = chunk.iter().map(|segment| segment.rows).sum();
    buf.resize(usize::try_from(rows * row_bytes).map_err(too_long)?, 0);
    let mut rest = buf.as_mut_slice();
    for segment in chunk {
        let (part, after) = rest.split_at_mut(usize::try_from(segment.rows * row_bytes).map_err(too_long)?);
        arrays.read_at(array(segment), segment.first * row_bytes, part)?;
        rest = after;
    }
    Ok(())
}

/// [`in_order`](crate::model::in_order::in_order) on chunks, in all threads.
pub(super) fn in_order<S: Default, T: Send, R>(
    chunks: &[Chunk],
    work: impl Fn(&Chunk, &mut S) -> io::Result<T> + Sync,
    consume: impl FnOnce(&mut dyn FnMut() -> Option<io::Result<T>>) -> R,
) -> R {
    in_order::in_order(chunks, in_order::threads(), work, consume)
}
