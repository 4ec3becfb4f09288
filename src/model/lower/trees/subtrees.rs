//! Cutting trees below their crowns into subtrees.
#![forbid(unsafe_code)]

use crate::model::lower::trees::nodes::Nodes;
use crate::model::plan::compact::CROWN_LEVELS;
use crate::model::plan::subtrees::{
    COLUMNS, ENDS, MOST_HOPS, NO_SPLITS, SPLITS, Subtree, set_leaf, set_next, set_split,
};

/// Levels of a subtree.
const LEVELS: u32 = ENDS.ilog2();
/// Ends of a crown.
const CROWN_ENDS: usize = 1 << CROWN_LEVELS;

/// The subtrees of one tree.
pub(super) struct Cut {
    /// Where the ends of its crown lead.
    pub(super) below: [u32; CROWN_ENDS],
    /// Those below one end of the crown are together, upper ones first.
    pub(super) subtrees: Vec<Subtree>,
    /// Most of them on a way to a leaf.
    pub(super) hops: u8,
}

impl Cut {
    /// Cuts a tree whose deepest leaf lies at `depth`, if subtrees have room for it. Ids of leaves are what is low in them.
    pub(super) fn of(tree: &Nodes, depth: u8, n_columns: u32) -> Option<Self> {
        let levels = u32::from(depth).saturating_sub(CROWN_LEVELS).max(1);
        let hops = u8::try_from(levels.div_ceil(LEVELS)).ok()?;
        // With fewer than a quarter of the nodes that a tree of this depth has room for, subtrees would be larger than nodes.
        if hops > MOST_HOPS || n_columns as usize > COLUMNS || tree.len() < 1 << depth >> 1 {
            return None;
        }
        // The upper subtrees, which are fewest, are those that may be of fewer levels.
        let first_levels = levels - LEVELS * (u32::from(hops) - 1);
        let mut cut = Cut { below: [0; CROWN_ENDS], subtrees: Vec::new(), hops };
        let crown: [u32; 2 * CROWN_ENDS - 1] = heap(tree, 0, CROWN_LEVELS);
        let ends = &crown[CROWN_ENDS - 1..];
        for (end, &node) in ends.iter().enumerate() {
            // Of the ends below a leaf within the crown, only the first is ever come to.
            cut.below[end] = match end.checked_sub(1).filter(|&before| ends[before] == node) {
                Some(before) => cut.below[before],
                None => cut.add_below(tree, node, first_levels)?,
            };
        }
        Some(cut)
    }

    /// Adds what lies from `node` on, in subtrees one above the other, of which the first is of so many levels; its number.
    fn add_below(&mut self, tree: &Nodes, node: u32, first_levels: u32) -> Option<u32> {
        let first = self.subtrees.len();
        let mut roots = vec![node];
        let mut at = 0;
        while at < roots.len() {
            let levels = if at == 0 { first_levels } else { LEVELS };
            let nodes: [u32; SPLITS + ENDS] = heap(tree, roots[at], levels);
            let (splits, ends) = nodes.split_at(SPLITS);
            let mut subtree = NO_SPLITS;
            for (split, &node) in splits.iter().enumerate().take((1 << levels) - 1) {
                let node = tree.packed()[node as usize];
                if !node.is_leaf() {
                    set_split(&mut subtree, split, node.low, node.feature());
                }
            }
            // Ends that are never come to are the ones before once more.
            for (end, &number) in
                ends.iter().enumerate().filter(|&(end, node)| end == 0 || ends[end - 1] != *node)
            {
                let node = tree.packed()[number as usize];
                if node.is_leaf() {
                    set_leaf(&mut subtree, end, node.low)?;
                } else {
                    set_next(&mut subtree, end, roots.len() - at)?;
                    roots.push(number);
                }
            }
            self.subtrees.push(subtree);
            at += 1;
        }
        u32::try_from(first).ok()
    }
}

/// The nodes from `root` on as a heap of `N`. Below leaves, and from `levels` on, both children of a node are the node itself.
fn heap<const N: usize>(tree: &Nodes, root: u32, levels: u32) -> [u32; N] {
    let mut nodes = [root; N];
    for at in 0..N / 2 {
        let node = nodes[at];
        let ends = at >= (1 << levels) - 1 || tree.packed()[node as usize].is_leaf();
        let children = if ends { [node; 2] } else { tree.children(node) };
        nodes[2 * at + 1..2 * at + 3].copy_from_slice(&children);
    }
    nodes
}
