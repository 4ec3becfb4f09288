//! Ensembles whose leaves hold one number, as every library's reader gives them: boosted trees, isolation forests.
//!
//! Such models are small beside forests, so all trees are in memory before they are laid out.
#![forbid(unsafe_code)]
#![allow(dead_code, reason = "readers of other libraries use it")]

use crate::format::dtype::Dtype;
use crate::format::{ArrayId, ArrayInfo, Order, Role};
use crate::model::lower::trees::layout::{Layout, place};
use crate::model::lower::trees::nodes::{Nodes, Split, TreeNode};
use crate::model::lower::{Refusal, Staged, StagedData};
use crate::model::plan::compact::threshold_key;
use crate::model::plan::{CategoryRule, Encoding, Float, TreeLayout};

/// Trees with one number in a leaf.
pub(crate) struct Ensemble {
    /// Columns of the input.
    pub(crate) n_features: u32,
    /// What input values are turned into before they are compared.
    pub(crate) input: Float,
    /// The type of leaf values; those of `F32` are given as `f64` and convert exactly.
    pub(crate) leaves: Float,
    /// In the order in which they are added.
    pub(crate) trees: Vec<PlainTree>,
    /// Per feature: whether 0 counts as missing (LightGBM's `zero_as_missing`). Empty: nowhere.
    pub(crate) zero_is_missing: Vec<bool>,
    /// How values become categories, if trees split by category.
    pub(crate) rule: Option<CategoryRule>,
}

/// A tree; its root is node 0.
pub(crate) struct PlainTree {
    /// In any order; every node but the root has one parent.
    pub(crate) nodes: Vec<PlainNode>,
}

/// A node.
pub(crate) struct PlainNode {
    /// What is done there.
    pub(crate) kind: PlainKind,
    /// How often training came here; only the order of nodes depends on it.
    pub(crate) samples: f64,
    /// The library's own number of the node, which `apply` gives.
    pub(crate) origin: u32,
}

/// What is done at a node.
pub(crate) enum PlainKind {
    /// The end.
    Leaf {
        /// What the tree adds, learning rate and weight of the tree included.
        value: f64,
    },
    /// One of two ways.
    Split {
        /// Which rows go left.
        test: Test,
        /// Its number in the tree.
        left: u32,
        /// Its number in the tree.
        right: u32,
        /// Where missing values go.
        missing_left: bool,
    },
}

/// Which rows go left.
pub(crate) enum Test {
    /// `x[feature] <= threshold`; nothing if the threshold is NaN. With `F32` input, `x < t` is `x <= t.next_down()`.
    AtMost {
        /// Column of the input.
        feature: u32,
        /// In `f64`; compared exactly.
        threshold: f64,
    },
    /// The category in `x[feature]` is among some.
    Category {
        /// Column of the input.
        feature: u32,
        /// Bit `c % 32` of word `c / 32`: category `c` goes left.
        left: Box<[u32]>,
        /// Bits of the categories that are not missing, as many words; only with [`CategoryRule::Histogram`], else empty.
        known: Box<[u32]>,
    },
}

/// What an ensemble became.
pub(crate) struct LaidOut {
    /// To be written in this order.
    pub(crate) arrays: Vec<Staged>,
    /// Makes the layout from the ids of `arrays`, in their order.
    pub(crate) layout: Box<dyn FnOnce(&[ArrayId]) -> TreeLayout>,
}

impl Ensemble {
    /// Checks the trees and lays them out.
    ///
    /// # Errors
    ///
    /// [`Refusal::Uncovered`] if they are no trees, or cannot be laid out.
    pub(crate) fn lay_out(self) -> Result<LaidOut, Refusal> {
        self.trees.iter().enumerate().try_for_each(|(index, tree)| self.check(index, tree))?;
        let mut thresholds = Thresholds::of(&self);
        let largest = self.trees.iter().map(|tree| tree.nodes.len() as u64).max().unwrap_or(0);
        let mut layout = Layout::new(self.n_features, largest);
        let mut values = Vec::new();
        for tree in &self.trees {
            let nodes = thresholds.nodes(tree, &mut values)?;
            layout.add(&nodes, &place(&nodes))?;
        }
        let wide = layout.wide();
        let has_missing = layout.has_missing();
        let mut arrays = layout.finish();
        arrays.push(leaf_table(self.leaves, &values));
        let ranked = thresholds.ranked;
        if ranked {
            arrays.extend(thresholds.finish());
        }
        let layout = move |ids: &[ArrayId]| {
            let (rest, encoding) = match ids {
                [rest @ .., thresholds, starts] if ranked => {
                    (rest, Encoding::Ranks { thresholds: *thresholds, starts: *starts })
                }
                rest => (rest, Encoding::Keys),
            };
            TreeLayout::Compact {
                encoding,
                categories: None,
                roots: rest[0],
                nodes: rest[1],
                wide,
                origin: rest[2],
                missing: has_missing.then(|| rest[3]),
                leaves: rest[rest.len() - 1],
            }
        };
        Ok(LaidOut { arrays, layout: Box::new(layout) })
    }

    fn check(&self, index: usize, tree: &PlainTree) -> Result<(), Refusal> {
        let refuse = |why: String| Err(Refusal::uncovered(format!("tree {index}: {why}")));
        if tree.nodes.is_empty() || tree.nodes.len() >= u32::MAX as usize {
            return refuse(format!("it has {} nodes", tree.nodes.len()));
        }
        let mut seen = vec![false; tree.nodes.len()];
        let mut found = 0;
        let mut stack = vec![0u32];
        while let Some(at) = stack.pop() {
            match seen.get_mut(at as usize) {
                Some(seen) if !*seen => *seen = true,
                Some(_) => return refuse(format!("node {at} has two parents")),
                None => return refuse(format!("node {at} does not exist")),
            }
            found += 1;
            let PlainKind::Split { test, left, right, .. } = &tree.nodes[at as usize].kind else { continue };
            let feature = match test {
                Test::AtMost { feature, .. } => *feature,
                Test::Category { .. } => return refuse("it splits by category".to_owned()),
            };
            if feature >= self.n_features {
                return refuse(format!("node {at} has the feature {feature}"));
            }
            stack.extend([*right, *left]);
        }
        if found < tree.nodes.len() {
            return refuse("some node has no parent".to_owned());
        }
        Ok(())
    }
}

/// The distinct thresholds of every feature, if rows are compared by rank.
struct Thresholds {
    ranked: bool,
    features: Vec<Vec<f64>>,
}

impl Thresholds {
    fn of(ensemble: &Ensemble) -> Self {
        let ranked = ensemble.input == Float::F64;
        let mut features = vec![Vec::new(); if ranked { ensemble.n_features as usize } else { 0 }];
        for node in ensemble.trees.iter().flat_map(|tree| &tree.nodes).filter(|_| ranked) {
            if let PlainKind::Split { test: Test::AtMost { feature, threshold }, .. } = node.kind
                && !threshold.is_nan()
            {
                // Adding zero turns -0.0 into 0.0, which compares the same.
                features[feature as usize].push(threshold + 0.0);
            }
        }
        for own in &mut features {
            own.sort_unstable_by(f64::total_cmp);
            own.dedup();
        }
        Thresholds { ranked, features }
    }

    /// What a row's key is compared with: it goes left if it is not above.
    fn low(&self, feature: u32, threshold: f64) -> Result<u32, Refusal> {
        if !self.ranked {
            return Ok(threshold_key(threshold));
        }
        if threshold.is_nan() {
            return Err(Refusal::uncovered("a threshold is NaN"));
        }
        let own = &self.features[feature as usize];
        Ok(own.partition_point(|known| *known < threshold) as u32)
    }

    fn nodes(&mut self, tree: &PlainTree, values: &mut Vec<f64>) -> Result<Nodes, Refusal> {
        let mut nodes = Nodes::with_capacity(tree.nodes.len());
        for node in &tree.nodes {
            let samples = node.samples.clamp(0.0, f64::from(u32::MAX)) as u32;
            match &node.kind {
                PlainKind::Leaf { value } => {
                    let low =
                        u32::try_from(values.len()).map_err(|_| Refusal::uncovered("too many leaves"))?;
                    values.push(*value);
                    nodes.add(TreeNode { low, split: None, samples }, node.origin, false);
                }
                PlainKind::Split { test: Test::AtMost { feature, threshold }, left, right, missing_left } => {
                    let low = self.low(*feature, *threshold)?;
                    let split = Split { feature: *feature, left: *left, right: *right };
                    nodes.add(TreeNode { low, split: Some(split), samples }, node.origin, *missing_left);
                }
                PlainKind::Split { .. } => return Err(Refusal::uncovered("it splits by category")),
            }
        }
        Ok(nodes)
    }

    fn finish(self) -> [Staged; 2] {
        let mut starts = vec![0u32];
        let mut all = Vec::new();
        for own in self.features {
            all.extend(own);
            starts.push(all.len() as u32);
        }
        [
            Staged::memory(
                "thresholds",
                Dtype::F64,
                vec![all.len() as u64],
                bytemuck::cast_slice(&all).to_vec(),
            ),
            Staged::memory(
                "starts",
                Dtype::U32,
                vec![starts.len() as u64],
                bytemuck::cast_slice(&starts).to_vec(),
            ),
        ]
    }
}

fn leaf_table(float: Float, values: &[f64]) -> Staged {
    let (dtype, bytes) = match float {
        Float::F64 => (Dtype::F64, bytemuck::cast_slice(values).to_vec()),
        Float::F32 => {
            let values: Vec<f32> = values.iter().map(|value| *value as f32).collect();
            (Dtype::F32, bytemuck::cast_slice(&values).to_vec())
        }
    };
    let info = ArrayInfo { dtype, shape: vec![values.len() as u64, 1], order: Order::C };
    Staged { name: "leaves", index: None, info, role: Role::Predict, data: StagedData::Memory(bytes) }
}
