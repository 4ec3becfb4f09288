//! Ensembles whose leaves hold one number, as every library's reader gives them: boosted trees, isolation forests.
//!
//! Such models are small beside forests, so all trees are in memory before they are laid out.
#![forbid(unsafe_code)]
#![allow(dead_code, reason = "readers of other libraries use it")]

use rustc_hash::FxHashMap;

use crate::format::ArrayId;
use crate::format::dtype::Dtype;
use crate::model::lower::trees::categories::Sets;
use crate::model::lower::trees::lanes;
use crate::model::lower::trees::layout::{LaidOut, Layout};
use crate::model::lower::trees::nodes::{Nodes, Split, TreeNode};
use crate::model::lower::{Refusal, Staged};
use crate::model::plan::compact::threshold_key;
use crate::model::plan::{CategoryRule, Encoding, Float, TreeLayout};

/// Most features and sets of categories; what validation of a plan allows too.
const MAX_COLUMNS: u32 = 1 << 24;

/// Trees with one number in a leaf.
#[derive(Debug)]
pub(crate) struct Ensemble {
    /// Columns of the input.
    pub(crate) n_features: u32,
    /// What input values are turned into before they are compared.
    pub(crate) input: Float,
    /// The type of leaf values; those of `F32` are given as `f64` and convert exactly.
    pub(crate) leaves: Float,
    /// In the order in which they are added.
    pub(crate) trees: Vec<PlainTree>,
    /// Per feature: whether values within 1e-35 of 0 are missing (LightGBM's `zero_as_missing`). Empty: nowhere.
    pub(crate) zero_is_missing: Vec<bool>,
    /// How values become categories, if trees split by category.
    pub(crate) rule: Option<CategoryRule>,
}

/// A tree; its root is node 0.
#[derive(Debug)]
pub(crate) struct PlainTree {
    /// In any order; every node but the root has one parent.
    pub(crate) nodes: Vec<PlainNode>,
}

/// A node.
#[derive(Debug)]
pub(crate) struct PlainNode {
    /// What is done there.
    pub(crate) kind: PlainKind,
    /// How often training came here; only the order of nodes depends on it.
    pub(crate) samples: f64,
    /// The library's own number of the node, which `apply` gives.
    pub(crate) origin: u32,
}

/// What is done at a node.
#[derive(Debug)]
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
#[derive(Debug)]
pub(crate) enum Test {
    /// `x[feature] <= threshold`; nothing if the threshold is NaN. With `F32` input, `x < t` is `x <= t.next_down()`.
    AtMost {
        /// Column of the input.
        feature: u32,
        /// In `f64`; compared exactly.
        threshold: f64,
    },
    /// The category in `x[feature]` is among some. [`CategoryRule`] says what values are categories.
    Category {
        /// Column of the input.
        feature: u32,
        /// Bit `c % 32` of word `c / 32`: category `c` goes left.
        left: Box<[u32]>,
        /// Bits of the categories that are not missing, as many words; only with [`CategoryRule::Histogram`], else empty.
        known: Box<[u32]>,
    },
}

/// Makes the layout from the ids of its arrays.
pub(crate) type MakeLayout = Box<dyn FnOnce(&[ArrayId]) -> TreeLayout>;

impl Ensemble {
    /// Checks the trees and lays them out.
    ///
    /// # Errors
    ///
    /// [`Refusal::Uncovered`] if they are no trees, or cannot be laid out.
    pub(crate) fn lay_out(self) -> Result<LaidOut, Refusal> {
        self.trees.iter().enumerate().try_for_each(|(index, tree)| self.check(index, tree))?;
        match lanes::lay_out(&self) {
            Some(laid_out) => Ok(laid_out),
            None => self.lay_out_compact(),
        }
    }

    /// Lays out trees that were checked, whatever their size.
    pub(crate) fn lay_out_compact(self) -> Result<LaidOut, Refusal> {
        let sets = Sets::of(&self)?;
        let thresholds = Thresholds::of(&self);
        let largest = self.trees.iter().map(|tree| tree.nodes.len() as u64).max().unwrap_or(0);
        let n_columns = self.n_features.checked_add(sets.len() as u32).filter(|&n| n <= MAX_COLUMNS);
        let n_columns = n_columns.ok_or_else(|| Refusal::uncovered("it has too many splits by category"))?;
        let mut layout = Layout::new(n_columns, largest);
        let mut leaves = LeafValues::new(self.leaves);
        for (index, tree) in self.trees.iter().enumerate() {
            let nodes =
                nodes(tree, &thresholds, &sets, &mut leaves).map_err(|refusal| refusal.in_tree(index))?;
            let placed = layout.placer().place(&nodes);
            layout.add(&nodes, placed, None)?;
        }
        let LaidOut { mut arrays, layout } = layout.finish(leaves.finish());
        let n_compact = arrays.len();
        let mut add = |staged: Vec<Staged>| {
            let first = arrays.len();
            arrays.extend(staged);
            first..arrays.len()
        };
        let ranks = thresholds.finish().map(|staged| add(staged.into()));
        let sets = sets.finish().map(|(staged, make)| (add(staged), make));
        let zeros = self.zero_is_missing.contains(&true).then(|| add(vec![self.zeros()]));
        let layout = move |ids: &[ArrayId]| {
            let mut layout = layout(&ids[..n_compact]);
            if let TreeLayout::Compact { encoding, categories, zero_missing, .. } = &mut layout {
                if let Some(at) = ranks {
                    *encoding = Encoding::Ranks { thresholds: ids[at.start], starts: ids[at.start + 1] };
                }
                *categories = sets.map(|(at, make)| make(&ids[at]));
                *zero_missing = zeros.map(|at| ids[at.start]);
            }
            layout
        };
        Ok(LaidOut { arrays, layout: Box::new(layout) })
    }

    /// A byte per feature.
    fn zeros(&self) -> Staged {
        let mut zeros: Vec<u8> = self.zero_is_missing.iter().map(|&zero| u8::from(zero)).collect();
        zeros.resize(self.n_features as usize, 0);
        Staged::memory("zero_missing", Dtype::U8, vec![zeros.len() as u64], zeros)
    }

    fn check(&self, index: usize, tree: &PlainTree) -> Result<(), Refusal> {
        let refuse = |why: String| Err(Refusal::uncovered(format!("tree {index}: {why}")));
        if tree.nodes.is_empty() || tree.nodes.len() > 1 << 31 {
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
                Test::Category { feature, left, known } => {
                    let words = if self.rule == Some(CategoryRule::Histogram) { left.len() } else { 0 };
                    if self.rule.is_none() || known.len() != words {
                        return refuse(format!("node {at} splits by a set of categories that is not one"));
                    }
                    *feature
                }
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

/// A tree whose splits read columns and compare keys.
fn nodes(
    tree: &PlainTree,
    thresholds: &Thresholds,
    sets: &Sets<'_>,
    leaves: &mut LeafValues,
) -> Result<Nodes, Refusal> {
    let mut nodes = Nodes::with_capacity(tree.nodes.len());
    for node in &tree.nodes {
        let samples = node.samples.clamp(0.0, f64::from(u32::MAX)) as u32;
        let (low, split, missing) = match &node.kind {
            PlainKind::Leaf { value } => (leaves.add(*value)?, None, false),
            PlainKind::Split { test, left, right, missing_left } => {
                let (low, feature) = match test {
                    Test::AtMost { feature, threshold } => (thresholds.low(*feature, *threshold)?, *feature),
                    Test::Category { feature, left, known } => (0, sets.column(*feature, left, known)),
                };
                (low, Some(Split { feature, left: *left, right: *right }), *missing_left)
            }
        };
        nodes.add(TreeNode { low, split, samples }, node.origin, missing);
    }
    Ok(nodes)
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

    /// Nothing if rows are not ranked.
    fn finish(self) -> Option<[Staged; 2]> {
        let mut starts = vec![0u32];
        let mut all = Vec::new();
        for own in self.features {
            all.extend(own);
            starts.push(all.len() as u32);
        }
        let thresholds = bytemuck::cast_slice(&all).to_vec();
        let start_bytes = bytemuck::cast_slice(&starts).to_vec();
        self.ranked.then(|| {
            [
                Staged::memory("thresholds", Dtype::F64, vec![all.len() as u64], thresholds),
                Staged::memory("starts", Dtype::U32, vec![starts.len() as u64], start_bytes),
            ]
        })
    }
}

/// The distinct values of leaves.
struct LeafValues {
    float: Float,
    ids: FxHashMap<u64, u32>,
    values: Vec<f64>,
}

impl LeafValues {
    fn new(float: Float) -> Self {
        LeafValues { float, ids: FxHashMap::default(), values: Vec::new() }
    }

    /// Where `value` is.
    fn add(&mut self, value: f64) -> Result<u32, Refusal> {
        let next =
            u32::try_from(self.values.len()).map_err(|_| Refusal::uncovered("it has too many leaves"))?;
        Ok(*self.ids.entry(value.to_bits()).or_insert_with(|| {
            self.values.push(value);
            next
        }))
    }

    fn finish(self) -> Staged {
        let shape = vec![self.values.len() as u64, 1];
        match self.float {
            Float::F64 => {
                Staged::memory("leaves", Dtype::F64, shape, bytemuck::cast_slice(&self.values).to_vec())
            }
            Float::F32 => {
                let values: Vec<f32> = self.values.iter().map(|value| *value as f32).collect();
                Staged::memory("leaves", Dtype::F32, shape, bytemuck::cast_slice(&values).to_vec())
            }
        }
    }
}

#[cfg(test)]
impl LaidOut {
    /// Adds the arrays to `arrays` and gives the layout.
    pub(crate) fn write(self, arrays: &mut crate::model::array::tests::Memory) -> TreeLayout {
        let first = arrays.arrays.len() as u32;
        for staged in self.arrays {
            arrays.names.push(staged.name.to_owned());
            arrays.roles.push(staged.role);
            arrays.arrays.push((staged.info, staged.data.into_bytes()));
        }
        let ids: Vec<ArrayId> = (first..arrays.arrays.len() as u32).map(ArrayId).collect();
        (self.layout)(&ids)
    }
}
