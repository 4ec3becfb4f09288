//! One tree of LightGBM's text.
#![forbid(unsafe_code)]

use crate::model::lower::Refusal;
use crate::model::lower::lightgbm::text::{end_trimmed, numbers, one};
use crate::model::lower::trees::ensemble::{PlainKind, PlainNode, PlainTree, Test};

/// LightGBM reads no more lines of a tree.
const MAX_LINES: usize = 22;

/// Values up to this size count as zero; a `float32` constant of LightGBM.
const ZERO: f64 = 1e-35_f32 as f64;

/// What a node does with zeros and with NaN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// NaN is 0.
    None,
    /// Zeros and NaN go the default way.
    Zero,
    /// NaN goes the default way.
    NaN,
}

/// What a split by comparison does with missing values.
pub(super) struct MissingRule {
    /// Column of the input.
    pub(super) feature: u32,
    /// What is missing.
    pub(super) missing: Missing,
    /// Whether missing values go another way than zeros would by comparison.
    pub(super) unlike_zero: bool,
}

/// A tree, and what its splits say about missing values.
pub(super) struct ReadTree {
    /// Its nodes: splits as they are numbered, then leaves.
    pub(super) tree: PlainTree,
    /// Of each split by comparison.
    pub(super) rules: Vec<MissingRule>,
}

/// The lines of a tree.
#[derive(Default)]
struct Lines<'a> {
    num_leaves: Option<&'a str>,
    num_cat: Option<&'a str>,
    split_feature: Option<&'a str>,
    threshold: Option<&'a str>,
    decision_type: Option<&'a str>,
    left_child: Option<&'a str>,
    right_child: Option<&'a str>,
    leaf_value: Option<&'a str>,
    leaf_count: Option<&'a str>,
    internal_count: Option<&'a str>,
    cat_boundaries: Option<&'a str>,
    cat_threshold: Option<&'a str>,
    is_linear: Option<&'a str>,
}

impl<'a> Lines<'a> {
    /// The lines behind `Tree=` up to an empty one; of equal keys the last, as in LightGBM.
    fn read(block: &'a str) -> Result<Self, Refusal> {
        let mut lines = Lines::default();
        for (index, line) in block.split('\n').skip(1).map(end_trimmed).enumerate() {
            if line.is_empty() {
                break;
            }
            if index == MAX_LINES {
                return Err(Refusal::uncovered(format!("it has more than {MAX_LINES} lines")));
            }
            let (key, value) =
                line.split_once('=').ok_or_else(|| Refusal::uncovered("it has a line without `=`"))?;
            let slot = match key {
                "num_leaves" => &mut lines.num_leaves,
                "num_cat" => &mut lines.num_cat,
                "split_feature" => &mut lines.split_feature,
                "threshold" => &mut lines.threshold,
                "decision_type" => &mut lines.decision_type,
                "left_child" => &mut lines.left_child,
                "right_child" => &mut lines.right_child,
                "leaf_value" => &mut lines.leaf_value,
                "leaf_count" => &mut lines.leaf_count,
                "internal_count" => &mut lines.internal_count,
                "cat_boundaries" => &mut lines.cat_boundaries,
                "cat_threshold" => &mut lines.cat_threshold,
                "is_linear" => &mut lines.is_linear,
                _ => continue,
            };
            *slot = Some(value);
        }
        Ok(lines)
    }

    /// Counts of training rows, where they are given: only the order of nodes depends on them.
    fn counts(key: &str, value: Option<&str>, n: usize) -> Vec<f64> {
        numbers(key, value, n).unwrap_or_default()
    }
}

impl ReadTree {
    /// Reads a block.
    ///
    /// # Errors
    ///
    /// [`Refusal::Uncovered`] for linear trees, and for what LightGBM does not write.
    pub(super) fn read(block: &str) -> Result<Self, Refusal> {
        let lines = Lines::read(block)?;
        if lines.is_linear.is_some_and(|value| value.trim() != "0") {
            return Err(Refusal::uncovered(
                "it is a linear tree; trees with a number in each leaf are covered",
            ));
        }
        let n_leaves: usize = one("num_leaves", lines.num_leaves)?;
        let values: Vec<f64> = numbers("leaf_value", lines.leaf_value, n_leaves)?;
        if n_leaves == 0 {
            return Err(Refusal::uncovered("it has no leaf"));
        }
        let counts = Lines::counts("leaf_count", lines.leaf_count, n_leaves);
        let mut splits = Splits::read(&lines, n_leaves - 1)?;
        let mut nodes = Vec::with_capacity(2 * n_leaves - 1);
        let mut rules = Vec::new();
        let samples = Lines::counts("internal_count", lines.internal_count, n_leaves - 1);
        for index in 0..n_leaves - 1 {
            let (kind, rule) =
                splits.split(index).map_err(|why| Refusal::uncovered(format!("split {index}: {why}")))?;
            rules.extend(rule);
            let samples = samples.get(index).copied().unwrap_or(0.0);
            nodes.push(PlainNode { kind, samples, origin: index as u32 });
        }
        for (index, value) in values.into_iter().enumerate() {
            let samples = counts.get(index).copied().unwrap_or(0.0);
            nodes.push(PlainNode { kind: PlainKind::Leaf { value }, samples, origin: index as u32 });
        }
        Ok(ReadTree { tree: PlainTree { nodes }, rules })
    }
}

/// The arrays of the splits.
struct Splits {
    features: Vec<u32>,
    thresholds: Vec<f64>,
    decisions: Vec<u8>,
    left: Vec<i32>,
    right: Vec<i32>,
    categories: Sets,
}

impl Splits {
    fn read(lines: &Lines<'_>, n: usize) -> Result<Self, Refusal> {
        if n == 0 {
            let categories = Sets { bounds: vec![], words: vec![], used: vec![] };
            let (features, thresholds, decisions, left, right) = Default::default();
            return Ok(Splits { features, thresholds, decisions, left, right, categories });
        }
        Ok(Splits {
            features: numbers("split_feature", lines.split_feature, n)?,
            thresholds: numbers("threshold", lines.threshold, n)?,
            decisions: match lines.decision_type {
                Some(_) => numbers("decision_type", lines.decision_type, n)?,
                None => vec![0; n],
            },
            left: numbers("left_child", lines.left_child, n)?,
            right: numbers("right_child", lines.right_child, n)?,
            categories: Sets::read(lines)?,
        })
    }

    /// What split `index` does.
    fn split(&mut self, index: usize) -> Result<(PlainKind, Option<MissingRule>), String> {
        let decision = self.decisions[index];
        let missing = match decision >> 2 {
            0 => Missing::None,
            1 => Missing::Zero,
            2 => Missing::NaN,
            _ => return Err(format!("its `decision_type` is {decision}")),
        };
        let feature = self.features[index];
        let (left, right) = (self.child(self.left[index])?, self.child(self.right[index])?);
        if decision & 1 == 1 {
            let set = self.categories.take(self.thresholds[index])?;
            let test = Test::Category { feature, left: set, known: Box::default() };
            return Ok((PlainKind::Split { test, left, right, missing_left: false }, None));
        }
        let threshold = self.thresholds[index];
        let zero_left = 0.0 <= threshold;
        let missing_left = if missing == Missing::None { zero_left } else { decision & 2 == 2 };
        let test = Test::AtMost { feature, threshold: around_zero(threshold) };
        let kind = PlainKind::Split { test, left, right, missing_left };
        Ok((kind, Some(MissingRule { feature, missing, unlike_zero: missing_left != zero_left })))
    }

    /// The number among all nodes of what LightGBM numbers as split `child`, or as leaf `!child`.
    fn child(&self, child: i32) -> Result<u32, String> {
        let n = self.features.len();
        let (number, limit, first) = if child < 0 { (!child, n + 1, n) } else { (child, n, 0) };
        match usize::try_from(number) {
            Ok(number) if number < limit => {
                u32::try_from(first + number).map_err(|_| "the tree is too large".to_owned())
            }
            _ => Err(format!("it has the child {child}, of {n} splits")),
        }
    }
}

/// The threshold that decides about every value as `threshold` does after LightGBM has made tiny values 0.
fn around_zero(threshold: f64) -> f64 {
    if (0.0..ZERO).contains(&threshold) {
        ZERO
    } else if (-ZERO..0.0).contains(&threshold) {
        (-ZERO).next_down()
    } else {
        threshold
    }
}

/// Sets of categories, each used by one split.
struct Sets {
    bounds: Vec<u32>,
    words: Vec<u32>,
    used: Vec<bool>,
}

impl Sets {
    fn read(lines: &Lines<'_>) -> Result<Self, Refusal> {
        let n: usize = one("num_cat", lines.num_cat)?;
        if n == 0 {
            return Ok(Sets { bounds: vec![], words: vec![], used: vec![] });
        }
        let bounds: Vec<u32> = numbers("cat_boundaries", lines.cat_boundaries, n.saturating_add(1))?;
        let last = bounds.last().copied().unwrap_or(0) as usize;
        let words = numbers("cat_threshold", lines.cat_threshold, last)?;
        if bounds.first() != Some(&0) || bounds.windows(2).any(|pair| pair[0] > pair[1]) {
            return Err(Refusal::uncovered("its `cat_boundaries` go backwards"));
        }
        Ok(Sets { bounds, words, used: vec![false; n] })
    }

    /// The set that a split names by its threshold.
    fn take(&mut self, number: f64) -> Result<Box<[u32]>, String> {
        // As in C++, digits behind the point are dropped.
        let index =
            if (0.0..self.used.len() as f64).contains(&number) { number as usize } else { usize::MAX };
        match self.used.get_mut(index) {
            Some(used) if !*used => *used = true,
            Some(_) => return Err(format!("the categories {number} belong to another split")),
            None => return Err(format!("there are no categories {number}")),
        }
        let words = self.bounds[index] as usize..self.bounds[index + 1] as usize;
        Ok(self.words[words].into())
    }
}
