//! Small trees side by side: 32 trees to a group, a byte of a vector for each.
//!
//! At every place of a group are the nodes that its trees have there, `[2 or 3, 32]` bytes: the column of each, its limit, and
//! without heaps the first leaf below it. A row goes right where its key in the column is below the limit. Both are
//! signed: the key of a value is 127 less the number of thresholds below it, and the limit of a node 127 less the number of
//! thresholds below its own. In columns whose highest bit is set, NaN has the key 127, which no limit is above, so that it goes left; in
//! the same columns without that bit it has -128, and goes right.
#![forbid(unsafe_code)]

/// Trees of a group.
pub(crate) const TREES: usize = 32;
/// Fewer trees leave most lanes empty.
pub(crate) const MIN_TREES: usize = 8;
/// Most nodes that are no leaves in a tree.
pub(crate) const NODES: usize = 63;
/// Most features.
pub(crate) const FEATURES: usize = 128;
/// The bit of a column in which NaN goes left.
pub(crate) const NAN_LEFT: u8 = 128;
/// Thresholds of a block.
pub(crate) const BLOCK: usize = 16;
/// Most thresholds of a feature among the trees of a chunk.
pub(crate) const THRESHOLDS: usize = 255;
/// A limit that no key is below: all rows go left.
pub(crate) const NEVER: i8 = i8::MIN;
/// Leaf values behind the last tree, so that a window of this many begins at every tree.
pub(crate) const SPARE: usize = NODES + 1;

/// The key of a value above `rank` thresholds, and the limit of the threshold above `rank` others.
#[inline(always)]
pub(crate) fn key(rank: usize) -> i8 {
    127u8.wrapping_sub(rank as u8) as i8
}

/// Blocks that hold `n` thresholds: those of 16, and one of the last of each if they are many.
pub(crate) fn n_blocks(n: usize) -> usize {
    let blocks = n.div_ceil(BLOCK);
    if blocks > 1 { blocks + 1 } else { blocks }
}

/// Where the leaves of a tree lie: each tree of a group has one more than the group has places.
#[inline(always)]
pub(crate) fn leaves_of(groups: &[u32], tree: usize) -> std::ops::Range<usize> {
    let (group, lane) = (tree / TREES, tree % TREES);
    let places = groups[group + 1] as usize - groups[group] as usize;
    let start = (groups[group] as usize + group) * TREES + lane * (places + 1);
    start..start + places + 1
}
