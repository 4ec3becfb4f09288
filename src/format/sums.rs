//! The checksums of an array's blocks, while its bytes come piece by piece.
#![forbid(unsafe_code)]

use std::mem;

use crate::format::BLOCK;
use crate::format::table::Block;

/// A CRC32 for each block of an array that is stored as it is.
#[derive(Default)]
pub(super) struct BlockSums {
    crc: crc32fast::Hasher,
    /// Bytes in the current block.
    in_block: usize,
    blocks: Vec<Block>,
}

impl BlockSums {
    /// The next bytes.
    pub(super) fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(BLOCK - self.in_block));
            self.crc.update(now);
            self.in_block += now.len();
            bytes = later;
            if self.in_block == BLOCK {
                self.end_block();
            }
        }
    }

    /// There are no more.
    pub(super) fn finish(mut self) -> Vec<Block> {
        if self.in_block > 0 {
            self.end_block();
        }
        self.blocks
    }

    fn end_block(&mut self) {
        let crc = mem::take(&mut self.crc).finalize();
        self.blocks.push(Block { crc, stored_crc: crc, stored_len: self.in_block as u32 });
        self.in_block = 0;
    }
}
