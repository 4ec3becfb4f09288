//! What must hold before a tree is walked.
#![forbid(unsafe_code)]

use crate::model::trees::{LEAF, TreeError, TreeView};

/// Finds the first node that is neither a leaf nor a split whose children come after it and have no other parent.
///
/// One pass in the order of nodes: a node that is reached has its depth noted before the pass comes to it.
pub(super) fn check(tree: &TreeView<'_>, max_depth: i64) -> Result<(), TreeError> {
    let mut depths = vec![0u32; tree.n_nodes];
    let mut deepest = 0;
    if let Some(root) = depths.first_mut() {
        *root = 1;
    }
    for node in 0..tree.n_nodes {
        let wrong = |problem| TreeError::Node { node, problem };
        let depth = depths[node];
        if depth == 0 {
            return Err(wrong("has no parent before it"));
        }
        deepest = deepest.max(depth);
        if tree.left.at(node) == LEAF {
            continue;
        }
        for child in [tree.left.at(node), tree.right.at(node)] {
            let child = usize::try_from(child).ok().filter(|child| *child > node);
            let slot = child.and_then(|child| depths.get_mut(child));
            let slot = slot.ok_or_else(|| wrong("has a child that is not after it in its tree"))?;
            if *slot != 0 {
                return Err(wrong("has a child with another parent"));
            }
            *slot = depth + 1;
        }
        if usize::try_from(tree.feature.at(node)).is_ok_and(|feature| feature < tree.n_features) {
            continue;
        }
        return Err(wrong("splits on a feature that the tree does not have"));
    }
    if i64::from(deepest) - 1 > max_depth {
        return Err(TreeError::Node { node: 0, problem: "leads deeper than `max_depth` says" });
    }
    Ok(())
}
