//! Subtrees: three levels of a tree in one line of the cache, to be asked at once.
//!
//! ```text
//! words 0..7     threshold keys of the splits, as a heap: split i leads to the splits 2 i + 1 and 2 i + 2
//! word  7        nothing
//! words 8..16    word 8 + i: bits 0..6 the feature of split i; bits 6..14 and 14..32 what end i leads to:
//!                how many subtrees further the next one is, or 0 and a leaf id
//! ```
//!
//! A leaf above the third level is a split that nothing goes right at. A walk that has come to a leaf stays: its subtree gives
//! the same answers again.
#![forbid(unsafe_code)]

/// Splits of a subtree.
pub(crate) const SPLITS: usize = 7;
/// Ends of a subtree.
pub(crate) const ENDS: usize = 8;
/// Most columns that features of subtrees are of.
pub(crate) const COLUMNS: usize = 32;
/// Most subtrees on a way to a leaf.
pub(crate) const MOST_HOPS: u8 = 3;

/// The first bit of a distance, of which 64 are so many bytes.
const DISTANCE: u32 = 6;
/// The first bit of a leaf id.
pub(crate) const LEAF: u32 = 14;
/// The bits of a distance; what is there is a number of bytes.
pub(crate) const DISTANCE_BYTES: u32 = (1 << LEAF) - (1 << DISTANCE);

/// A subtree; this file's head says what its words are.
pub(crate) type Subtree = [u32; 16];

/// A subtree without splits, whose ends are leaf 0.
pub(crate) const NO_SPLITS: Subtree = {
    let mut subtree = [0; 16];
    let mut split = 0;
    while split < SPLITS {
        subtree[split] = u32::MAX;
        split += 1;
    }
    subtree
};

/// Sets split `at`.
pub(crate) fn set_split(subtree: &mut Subtree, at: usize, threshold: u32, feature: u32) {
    debug_assert!(feature < COLUMNS as u32);
    subtree[at] = threshold;
    subtree[ENDS + at] |= feature;
}

/// Leads end `at` to the subtree `distance` further on, if it is near enough.
pub(crate) fn set_next(subtree: &mut Subtree, at: usize, distance: usize) -> Option<()> {
    let distance = u32::try_from(distance).ok().filter(|&distance| distance < 1 << (LEAF - DISTANCE))?;
    subtree[ENDS + at] |= distance << DISTANCE;
    Some(())
}

/// Leads end `at` to a leaf, if its id has few enough bits.
pub(crate) fn set_leaf(subtree: &mut Subtree, at: usize, leaf: u32) -> Option<()> {
    if leaf >= 1 << (u32::BITS - LEAF) {
        return None;
    }
    let word = &mut subtree[ENDS + at];
    *word = *word & ((1 << LEAF) - 1) | leaf << LEAF;
    Some(())
}

/// Replaces leaf ids by those in `ids`, at the places that they say; if those have few enough bits.
pub(crate) fn map_leaves(subtree: &mut Subtree, ids: &[u32]) -> Option<()> {
    for at in 0..ENDS {
        let word = subtree[ENDS + at];
        if word & DISTANCE_BYTES == 0 {
            set_leaf(subtree, at, ids.get((word >> LEAF) as usize).copied().unwrap_or(0))?;
        }
    }
    Some(())
}

/// For each end, how many subtrees further the next one is (0: none), and the leaf id.
pub(crate) fn ends(subtree: &Subtree) -> impl Iterator<Item = (u32, u32)> {
    subtree[ENDS..].iter().map(|word| ((word & DISTANCE_BYTES) >> DISTANCE, word >> LEAF))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_room_is_refused() {
        let mut subtree = NO_SPLITS;
        set_split(&mut subtree, 6, 9, 31);
        assert_eq!(Some(()), set_leaf(&mut subtree, 6, (1 << 18) - 1));
        assert_eq!(None, set_leaf(&mut subtree, 6, 1 << 18));
        assert_eq!(Some(()), set_next(&mut subtree, 7, 255));
        assert_eq!(None, set_next(&mut subtree, 0, 256));
        assert_eq!((9, 31), (subtree[6], subtree[14] % 64));
        let all: Vec<_> = ends(&subtree).collect();
        assert_eq!([(0, 0), (0, (1 << 18) - 1), (255, 0)], [all[0], all[6], all[7]]);
        let mut ids = vec![5; 1 << 18];
        assert_eq!(Some(()), map_leaves(&mut subtree, &ids));
        assert_eq!([(0, 5), (0, 5), (255, 0)], [0, 6, 7].map(|end| ends(&subtree).nth(end).unwrap()));
        ids[5] = 1 << 18;
        assert_eq!(None, map_leaves(&mut subtree, &ids));
    }
}
