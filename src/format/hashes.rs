//! BLAKE3 of an array, its blocks hashed in any order and by any thread.
//!
//! BLAKE3 is a tree over pieces of 1 KiB. A block of 1 MiB is a whole subtree of it, so that the hash of the array follows
//! from one value for each block.
#![forbid(unsafe_code)]

use blake3::hazmat::{ChainingValue, HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};

use crate::format::BLOCK;
use crate::format::digest::Digest;

/// What becomes of one block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlockHash(ChainingValue);

impl BlockHash {
    /// Of block `number` of an array of `len` bytes.
    pub(crate) fn of(block: &[u8], number: u64, len: u64) -> Self {
        if len <= BLOCK as u64 {
            return BlockHash(*blake3::hash(block).as_bytes());
        }
        let mut hasher = blake3::Hasher::new();
        hasher.set_input_offset(number * BLOCK as u64).update(block);
        BlockHash(hasher.finalize_non_root())
    }
}

/// Takes the blocks of an array from the first to the last.
#[derive(Default)]
pub(crate) struct ArrayHash {
    /// Subtrees of which none is the right half of a larger one yet.
    subtrees: Vec<ChainingValue>,
    blocks: u64,
}

impl ArrayHash {
    /// The next block.
    pub(crate) fn push(&mut self, block: BlockHash) {
        // Merged as late as can be: the last merge of all is another one.
        while self.subtrees.len() > self.blocks.count_ones() as usize {
            self.merge(merge_subtrees_non_root);
        }
        self.subtrees.push(block.0);
        self.blocks += 1;
    }

    fn merge(&mut self, merge: impl Fn(&ChainingValue, &ChainingValue, Mode<'_>) -> ChainingValue) {
        if let (Some(right), Some(left)) = (self.subtrees.pop(), self.subtrees.pop()) {
            self.subtrees.push(merge(&left, &right, Mode::Hash));
        }
    }

    /// The hash of all of them.
    pub(crate) fn finish(mut self) -> Digest {
        while self.subtrees.len() > 2 {
            self.merge(merge_subtrees_non_root);
        }
        if self.blocks > 1 {
            self.merge(|left, right, mode| *merge_subtrees_root(left, right, mode).as_bytes());
        }
        Digest(self.subtrees.pop().unwrap_or_else(|| *blake3::hash(b"").as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_the_blocks_is_that_of_the_bytes() {
        let lens = [
            0,
            1,
            BLOCK - 1,
            BLOCK,
            BLOCK + 1,
            2 * BLOCK,
            3 * BLOCK - 7,
            5 * BLOCK,
            8 * BLOCK,
            11 * BLOCK + 3,
        ];
        let bytes: Vec<u8> = (0..12 * BLOCK).map(|i| (i * 31 % 251) as u8).collect();
        for len in lens {
            let mut hash = ArrayHash::default();
            for (number, block) in (0..).zip(bytes[..len].chunks(BLOCK)) {
                hash.push(BlockHash::of(block, number, len as u64));
            }
            assert_eq!(*blake3::hash(&bytes[..len]).as_bytes(), hash.finish().0, "{len}");
        }
    }
}
