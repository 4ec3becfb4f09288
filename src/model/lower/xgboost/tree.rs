//! Trees of XGBoost as every reader gives them.
#![forbid(unsafe_code)]

use std::collections::HashMap;

use crate::model::lower::Refusal;
use crate::model::lower::trees::ensemble::{PlainKind, PlainNode, PlainTree, Test};
use crate::model::lower::xgboost::file::Tree;

/// Categories are below this number; `float32` holds them exactly.
const MAX_CATEGORY: i64 = 1 << 24;

impl Tree {
    /// The nodes that can be reached from the root. `value` makes what is added of what a leaf holds; `words` is how
    /// many words of categories may still be made.
    pub(super) fn plain(&self, value: impl Fn(f32) -> f32, words: &mut u64) -> Result<PlainTree, Refusal> {
        let n = self.check()?;
        let sets = self.sets()?;
        let mut numbers = vec![u32::MAX; n];
        let mut nodes = vec![0usize];
        numbers[0] = 0;
        let mut plain = Vec::new();
        let mut next = 0;
        while let Some(&at) = nodes.get(next) {
            next += 1;
            let kind = if self.left_children[at] == -1 {
                PlainKind::Leaf { value: f64::from(value(self.split_conditions[at])) }
            } else {
                let mut child = |child: i64| {
                    let to = usize::try_from(child).ok().filter(|to| *to < n);
                    let to = to.ok_or_else(|| refuse(format!("node {at} has the child {child}")))?;
                    if numbers[to] != u32::MAX {
                        return Err(refuse(format!("node {to} has two parents")));
                    }
                    numbers[to] = nodes.len() as u32;
                    nodes.push(to);
                    Ok(numbers[to])
                };
                let (left, right) = (child(self.left_children[at])?, child(self.right_children[at])?);
                let test = self.test(at, &sets, words)?;
                PlainKind::Split { test, left, right, missing_left: self.default_left[at].0 }
            };
            let samples = self.sum_hessian.get(at).map_or(0.0, |sum| f64::from(*sum));
            plain.push(PlainNode { kind, samples, origin: at as u32 });
        }
        Ok(PlainTree { nodes: plain })
    }

    /// The number of nodes, if all lists have one value for each.
    fn check(&self) -> Result<usize, Refusal> {
        if self.tree_param.size_leaf_vector.is_some_and(|size| size.0 > 1) {
            return Err(refuse(
                "its leaves hold one value per target (multi_strategy=\"multi_output_tree\"), which is not covered; \
                 train with multi_strategy=\"one_output_per_tree\"",
            ));
        }
        let n = self.left_children.len();
        let required = [
            self.right_children.len(),
            self.split_indices.len(),
            self.split_conditions.len(),
            self.default_left.len(),
        ];
        let optional = [self.sum_hessian.len(), self.split_type.len()];
        let fits = n > 0 && n < u32::MAX as usize && required.iter().all(|len| *len == n);
        if fits && optional.iter().all(|len| *len == 0 || *len == n) {
            return Ok(n);
        }
        Err(refuse(format!("its lists of {n}, {required:?} and {optional:?} nodes are not of one length")))
    }

    fn test(&self, at: usize, sets: &HashMap<i64, &[i64]>, words: &mut u64) -> Result<Test, Refusal> {
        let index = self.split_indices[at];
        let feature =
            u32::try_from(index).map_err(|_| refuse(format!("node {at} has the feature {index}")))?;
        match self.split_type.get(at) {
            None | Some(0) => {}
            Some(1) => {
                let right = sets.get(&(at as i64)).copied().unwrap_or_default();
                return Ok(Test::Category { feature, left: left_of(right, words)?, known: Box::default() });
            }
            Some(other) => return Err(refuse(format!("node {at} has the type of split {other}"))),
        }
        // `x < threshold` is `x <= the number before it`; nothing is below minus infinity.
        let threshold = match self.split_conditions[at] {
            f32::NEG_INFINITY => f64::NAN,
            threshold => f64::from(threshold.next_down()),
        };
        Ok(Test::AtMost { feature, threshold })
    }

    /// By node: the categories that go right.
    fn sets(&self) -> Result<HashMap<i64, &[i64]>, Refusal> {
        let mut sets = HashMap::new();
        let lens = [self.categories_segments.len(), self.categories_sizes.len()];
        if lens != [self.categories_nodes.len(); 2] {
            return Err(refuse("its categories have not one segment and one size per node"));
        }
        let segments = self.categories_segments.iter().zip(&self.categories_sizes);
        for (node, (start, size)) in self.categories_nodes.iter().zip(segments) {
            let range = || {
                let start = usize::try_from(*start).ok()?;
                self.categories.get(start..start.checked_add(usize::try_from(*size).ok()?)?)
            };
            let own = range().ok_or_else(|| {
                refuse(format!(
                    "node {node} has {size} categories from {start} on, of {}",
                    self.categories.len()
                ))
            })?;
            if sets.insert(*node, own).is_some() {
                return Err(refuse(format!("node {node} has categories twice")));
            }
        }
        Ok(sets)
    }
}

/// The categories that go left, as bits; those beyond the bits go left too.
fn left_of(right: &[i64], words: &mut u64) -> Result<Box<[u32]>, Refusal> {
    let largest = right.iter().copied().max().unwrap_or(0);
    let n = (largest / 32 + 1) as u64;
    if let Some(bad) = right.iter().find(|category| !(0..MAX_CATEGORY).contains(*category)) {
        return Err(refuse(format!("it has the category {bad}")));
    }
    *words = words.checked_sub(n).ok_or_else(|| refuse("it has too many categories for its length"))?;
    let mut left = vec![u32::MAX; n as usize];
    for category in right {
        left[(category / 32) as usize] &= !(1 << (category % 32));
    }
    Ok(left.into())
}

fn refuse(why: impl Into<String>) -> Refusal {
    Refusal::uncovered(why)
}
