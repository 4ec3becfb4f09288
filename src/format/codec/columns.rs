//! Records column by column. Bytes before the first whole record of a block and after the last one stand apart.
#![forbid(unsafe_code)]

/// Records that are moved at once, so that they stay in the cache while their columns are gone through.
const TILE: usize = 64;

/// Where the fields of records lie: `count` neighbours of `width` bytes form one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fields {
    pub(super) width: usize,
    pub(super) count: usize,
}

impl Fields {
    pub(super) fn len(self) -> usize {
        self.width * self.count
    }
}

/// All fields of whole records, one column after the other.
pub(super) fn gather(records: &[u8], record: usize, groups: &[Fields], columns: &mut [u8]) {
    let count = records.len() / record;
    for first in (0..count).step_by(TILE) {
        let tile = &records[first * record..(first + TILE).min(count) * record];
        let mut at = 0;
        let mut offset = 0;
        for group in groups {
            for _ in 0..group.count {
                let column = &mut columns[at + first * group.width..at + count * group.width];
                match group.width {
                    1 => pick::<1>(tile, record, offset, column),
                    2 => pick::<2>(tile, record, offset, column),
                    4 => pick::<4>(tile, record, offset, column),
                    8 => pick::<8>(tile, record, offset, column),
                    width => {
                        for (record, to) in tile.chunks_exact(record).zip(column.chunks_exact_mut(width)) {
                            to.copy_from_slice(&record[offset..offset + width]);
                        }
                    }
                }
                at += count * group.width;
                offset += group.width;
            }
        }
    }
}

fn pick<const W: usize>(tile: &[u8], record: usize, offset: usize, column: &mut [u8]) {
    for (record, to) in tile.chunks_exact(record).zip(column.as_chunks_mut::<W>().0) {
        to.copy_from_slice(&record[offset..offset + W]);
    }
}

/// Undoes [`gather`].
pub(super) fn scatter(columns: &[u8], record: usize, groups: &[Fields], records: &mut [u8]) {
    let count = records.len() / record;
    for first in (0..count).step_by(TILE) {
        let tile = &mut records[first * record..(first + TILE).min(count) * record];
        let mut at = 0;
        let mut offset = 0;
        for group in groups {
            for _ in 0..group.count {
                let column = &columns[at + first * group.width..at + count * group.width];
                match group.width {
                    1 => put::<1>(column, tile, record, offset),
                    2 => put::<2>(column, tile, record, offset),
                    4 => put::<4>(column, tile, record, offset),
                    8 => put::<8>(column, tile, record, offset),
                    width => {
                        for (record, from) in tile.chunks_exact_mut(record).zip(column.chunks_exact(width)) {
                            record[offset..offset + width].copy_from_slice(from);
                        }
                    }
                }
                at += count * group.width;
                offset += group.width;
            }
        }
    }
}

fn put<const W: usize>(column: &[u8], tile: &mut [u8], record: usize, offset: usize) {
    for (record, from) in tile.chunks_exact_mut(record).zip(column.as_chunks::<W>().0) {
        record[offset..offset + W].copy_from_slice(from);
    }
}
