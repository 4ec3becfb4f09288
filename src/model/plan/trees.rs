//! Tree ensembles of a plan: where the trees lie, how input is compared, what the leaves add up to.
#![forbid(unsafe_code)]

use serde::{Deserialize, Serialize};

use crate::format::ArrayId;
use crate::model::plan::lanes::{FEATURES, MIN_TREES, NODES};

/// A tree ensemble.
///
/// Every tree gives each row a leaf; `head` says what becomes of the values of the leaves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trees {
    /// Class name, for messages: `RandomForestClassifier`.
    pub estimator: String,
    /// Columns of the input.
    pub n_features: u32,
    /// What the input becomes before it is compared.
    pub input: Float,
    /// Number of trees.
    pub n_trees: u32,
    /// Whether NaN is allowed in the input, as the library would.
    pub nan_allowed: bool,
    /// Whether infinity is allowed in the input, as the library would.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub infinity_allowed: bool,
    /// Whether the library refuses sparse matrices.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dense_only: bool,
    /// Whether columns that are no floats become `float32` and not `float64`, as LightGBM makes them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub integers_as_f32: bool,
    /// A value that counts as NaN; finite.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing_value: Option<f32>,
    /// `<U [n_features]`: the names of the columns, if the object has them where only its own library reads them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feature_names: Option<ArrayId>,
    /// The position of an earlier operation whose predictions, seen through the link, the raw scores begin with instead
    /// of `start`. It sees the input in `float32`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<u32>,
    /// From leaves to answers.
    pub head: Head,
    /// Where the nodes lie.
    pub layout: TreeLayout,
}

impl Trees {
    /// Trees that take finite numbers alone, in dense or sparse rows.
    pub fn new(
        estimator: String,
        input: Float,
        n_features: u32,
        n_trees: u32,
        head: Head,
        layout: TreeLayout,
    ) -> Self {
        Trees {
            estimator,
            n_features,
            input,
            n_trees,
            nan_allowed: false,
            infinity_allowed: false,
            dense_only: false,
            integers_as_f32: false,
            missing_value: None,
            feature_names: None,
            init: None,
            head,
            layout,
        }
    }

    /// Values in a leaf.
    pub fn width(&self) -> u64 {
        match &self.head {
            Head::Forest(forest) => u64::from(forest.n_outputs) * u64::from(forest.max_classes),
            Head::Boosted(_) => 1,
        }
    }

    /// Per output the labels of a classifier; empty for a regressor.
    pub fn classes(&self) -> &[ArrayId] {
        match &self.head {
            Head::Forest(forest) => &forest.classes,
            Head::Boosted(boosted) => match &boosted.kind {
                BoostedKind::Classifier { classes, .. }
                | BoostedKind::LightGbm { classes }
                | BoostedKind::XgBoost { classes } => std::slice::from_ref(classes),
                BoostedKind::Regressor | BoostedKind::Isolation { .. } | BoostedKind::Median { .. } => &[],
            },
        }
    }

    /// Whether there is a `predict_proba`.
    pub fn has_proba(&self) -> bool {
        !self.classes().is_empty()
    }

    /// Whether `apply` is that of XGBoost, which refuses infinity and gives `float32`.
    pub fn applies_f32(&self) -> bool {
        self.leaf_numbers() == LeafNumbers::Float32
    }

    /// Whether there is a `decision_function`.
    pub fn decides(&self) -> bool {
        match &self.head {
            Head::Forest(forest) => forest.kind == ForestKind::AdaBoost,
            Head::Boosted(boosted) => matches!(
                boosted.kind,
                BoostedKind::Classifier { decision: true, .. }
                    | BoostedKind::LightGbm { .. }
                    | BoostedKind::Isolation { .. }
            ),
        }
    }

    /// Whether there is a `predict`.
    pub fn predicts(&self) -> bool {
        !matches!(&self.head, Head::Forest(Forest { kind: ForestKind::Leaves, .. }))
    }

    /// Whether there is a `score_samples`.
    pub fn scores_samples(&self) -> bool {
        matches!(&self.head, Head::Boosted(Boosted { kind: BoostedKind::Isolation { .. }, .. }))
    }

    /// Whether there is a `predict_log_proba`.
    pub fn has_log_proba(&self) -> bool {
        match &self.head {
            Head::Forest(forest) => !forest.classes.is_empty() && forest.kind != ForestKind::Bagging,
            Head::Boosted(Boosted { kind: BoostedKind::Classifier { log_proba, .. }, .. }) => *log_proba,
            Head::Boosted(_) => false,
        }
    }

    /// What `apply` gives.
    pub fn leaf_numbers(&self) -> LeafNumbers {
        match &self.head {
            Head::Forest(Forest { kind: ForestKind::Means | ForestKind::Leaves, .. }) => LeafNumbers::Trees,
            Head::Forest(_) => LeafNumbers::Absent,
            Head::Boosted(boosted) => boosted.apply,
        }
    }
}

/// A type of floating-point numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Float {
    /// `float32`
    F32,
    /// `float64`
    F64,
}

/// From leaves to answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "head", rename_all = "snake_case")]
pub enum Head {
    /// The values of one tree, or their mean over trees.
    Forest(Forest),
    /// Sums over trees, each tree adding one value to one column.
    Boosted(Boosted),
}

/// scikit-learn's decision trees and forests of them. Leaves hold `n_outputs * max_classes` values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Forest {
    /// Outputs of a multi-output model; else 1.
    pub n_outputs: u32,
    /// Values per output in a leaf: the largest number of classes, or 1 for regression.
    pub max_classes: u32,
    /// Per output: `[n_classes]` labels, all of one dtype. Empty for regression.
    pub classes: Vec<ArrayId>,
    /// `true` for an ensemble, whose sums (in `float64`, in tree order) are divided by the number of trees.
    pub average: bool,
    /// `f64 [1]`: what the sums of an ensemble are divided by instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub divisor: Option<ArrayId>,
    /// What the methods are.
    #[serde(default, skip_serializing_if = "ForestKind::is_means")]
    pub kind: ForestKind,
}

/// What the methods of averaged trees are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ForestKind {
    /// Those of decision trees and forests.
    #[default]
    Means,
    /// `apply` alone.
    Leaves,
    /// `predict` and `predict_proba`, as scikit-learn's bagging has them.
    Bagging,
    /// scikit-learn's `AdaBoostClassifier`: the means are decisions for each class.
    AdaBoost,
}

impl ForestKind {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    fn is_means(&self) -> bool {
        *self == ForestKind::Means
    }
}

/// Boosted trees of any library. Leaves hold one value.
///
/// The raw score of column `k` is `start[k]` plus, in tree order, the leaf values of the trees `t` with
/// `t / parallel % columns == k`, added in the precision `sum`. Learning rates are in the leaves already.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Boosted {
    /// Raw scores per row.
    pub columns: u32,
    /// Consecutive trees that add to the same column; 1 but for boosted forests.
    pub parallel: u32,
    /// The precision of the sums, and the type of `leaves` and `start`.
    pub sum: Float,
    /// `[columns]` in the precision of `sum`.
    pub start: ArrayId,
    /// From raw scores to predictions.
    pub link: BoostedLink,
    /// What the methods are.
    pub kind: BoostedKind,
    /// What raw scores are divided by before they are linked: the iterations of LightGBM's random forests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean_of: Option<u32>,
    /// What `apply` gives.
    #[serde(default, skip_serializing_if = "LeafNumbers::is_trees")]
    pub apply: LeafNumbers,
}

/// What `apply` gives: the library's own numbers of the leaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeafNumbers {
    /// `int64 [n_rows, n_trees]`
    #[default]
    Trees,
    /// `float64 [n_rows, stages, columns]`, without the last dimension for a regressor.
    Stages,
    /// `int32 [n_rows, n_trees]`
    Int32,
    /// `float32 [n_rows, n_trees]`, in one dimension if there is one tree; infinity is refused. As XGBoost does.
    Float32,
    /// There is no `apply`.
    Absent,
}

impl LeafNumbers {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    fn is_trees(&self) -> bool {
        *self == LeafNumbers::Trees
    }
}

/// From raw scores to predictions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BoostedLink {
    /// The raw score.
    Identity,
    /// `1 / (1 + exp(-raw))`
    Logistic,
    /// `1 / (1 + exp(-2 raw))`
    HalfLogistic,
    /// `exp(raw)`
    Exponential,
    /// `exp(raw - max)` divided by its sum over the columns.
    Softmax,
    /// `1 / (1 + exp(-slope * raw))`, for the slope that stands here.
    Sigmoid(f64),
    /// `sign(raw) * raw * raw`
    SignedSquare,
    /// `log1p(exp(raw))`
    Softplus,
    /// `1 / (exp(min(-raw, 88.7)) + 1 + 1e-16)`, in `float32`.
    LogisticF32,
    /// `exp(raw)`, in `float32`.
    ExponentialF32,
    /// `exp(raw - max)` in `float32`, divided by its sum over the columns, which is added up in `float64`.
    SoftmaxF32,
    /// 1 if the raw score is above 0, else 0, in `float32`.
    HingeF32,
    /// The first column whose raw score is largest, as `float32`: one value per row.
    LargestF32,
}

impl BoostedLink {
    /// Whether it computes in `float32`, as XGBoost does.
    pub fn is_f32(self) -> bool {
        use BoostedLink::{ExponentialF32, HingeF32, LargestF32, LogisticF32, SoftmaxF32};
        matches!(self, LogisticF32 | ExponentialF32 | SoftmaxF32 | HingeF32 | LargestF32)
    }
}

/// What the methods of a boosted model are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum BoostedKind {
    /// `predict` gives the linked scores.
    Regressor,
    /// scikit-learn's `IsolationForest`: the raw score is the sum of path lengths.
    Isolation {
        /// `f64 [2]`: what it is divided by, and the offset of the decision function.
        scale: ArrayId,
    },
    /// scikit-learn's `AdaBoostRegressor`: the weighted median of the columns, one for each tree.
    Median {
        /// `f64 [columns]`
        weights: ArrayId,
    },
    /// `predict` gives labels, `predict_proba` `[n_rows, n_classes]`.
    Classifier {
        /// `[n_classes]` labels; with one column of raw scores two, or one that is always the answer.
        classes: ArrayId,
        /// Whether there is a `decision_function`, which gives raw scores.
        decision: bool,
        /// Whether there is a `predict_log_proba`.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        log_proba: bool,
        /// Of two classes, whether a raw score of 0 is the second and not the first.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        second_at_zero: bool,
    },
    /// LightGBM's classifiers: `predict_proba` gives the linked scores, of one column `[1 - p, p]`; `predict` the label of
    /// the first that is largest there; `decision_function` raw scores.
    LightGbm {
        /// `[n_classes]` labels; with one column of raw scores two, or one that is always the answer.
        classes: ArrayId,
    },
    /// XGBoost's classifiers: `predict` gives the label of the largest linked score, or whether a single one is above
    /// 0.5; `predict_proba` the linked scores in `float32`, of one column `[1 - p, p]`. With the link
    /// [`BoostedLink::LargestF32`] they are the softmax of raw scores, as SciPy computes it.
    XgBoost {
        /// `[n_classes]` labels.
        classes: ArrayId,
    },
}

/// What values are turned into before nodes compare them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "encoding", rename_all = "snake_case", deny_unknown_fields)]
pub enum Encoding {
    /// `float32` values as integers of the same order.
    Keys,
    /// The number of thresholds of the feature that are below the value.
    Ranks {
        /// `f64 [n]`: the distinct thresholds of every feature, ascending, feature after feature.
        thresholds: ArrayId,
        /// `u32 [n_features + 1]`: feature `j` has `thresholds[starts[j]..starts[j + 1]]`.
        starts: ArrayId,
    },
}

/// Splits by category: columns behind those of the input, whose key is 0 for left and 1 for right, or that of NaN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Categories {
    /// `u32 [n_sets]`: the feature whose value is looked up in the set.
    pub features: ArrayId,
    /// `u32 [n_sets + 1]`: set `s` has the words `left[starts[s]..starts[s + 1]]`.
    pub starts: ArrayId,
    /// `u32 [n_words]`: bit `c % 32` of word `c / 32` of a set: category `c` goes left.
    pub left: ArrayId,
    /// `u32 [n_words]`: categories that the model knows; only with [`CategoryRule::Histogram`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known: Option<ArrayId>,
    /// How values become categories.
    pub rule: CategoryRule,
}

/// How values become categories, and where those go that are none. Fractions are cut off towards zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CategoryRule {
    /// scikit-learn's histogram gradient boosting: NaN, negative values and categories that are not `known` are
    /// missing; others are taken modulo 256.
    Histogram,
    /// LightGBM: NaN, values up to -1, and categories beyond the set go right. Nothing is missing.
    LightGbm,
    /// XGBoost: negative values, those from 2^24 on, and categories beyond the set go left; NaN is missing. The model's
    /// own sets are of categories that go right, so `left` is what they lack.
    XgBoost,
}

/// How trees are laid out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "layout", rename_all = "snake_case", deny_unknown_fields)]
pub enum TreeLayout {
    /// Nodes of 8 or 16 bytes with adjacent siblings; `docs/format.md` describes them.
    Compact {
        /// What nodes compare.
        encoding: Encoding,
        /// Columns for splits by category, behind the features.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        categories: Option<Categories>,
        /// `u8 [n_features]`: 1 where values of at most 1e-35, as a `float32`, from 0 are missing. Absent: nowhere.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        zero_missing: Option<ArrayId>,
        /// `u64 [n_nodes]`, or `u64 [n_nodes, 2]` if `wide`.
        nodes: ArrayId,
        /// Nodes of 16 bytes.
        wide: bool,
        /// `u64 [n_trees + 1]`: tree `t` has the nodes `roots[t]..roots[t + 1]`, its root first.
        roots: ArrayId,
        /// `[n_distinct, width]` of `f64`, or of the precision in which a boosted model adds: what leaves refer to.
        leaves: ArrayId,
        /// `u64 [ceil(n_nodes / 64)]`, a bit per node, lowest first: NaN goes left. Absent: NaN goes right.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        missing: Option<ArrayId>,
        /// `u8 [n_trees, 2]`: the mean and the largest depth of a leaf, at most 255. It may be wrong; walks then take longer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        depths: Option<ArrayId>,
        /// `u32 [n_trees, 3, 16]`: the first four levels of every tree once more. Absent: they would not pay.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        crowns: Option<ArrayId>,
        /// The trees once more below their crowns, for processors with AVX-512. Absent: they do not fit, or would not pay.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        subtrees: Option<Subtrees>,
        /// `u32 [n_nodes]`: the library's own number of the node within its tree. Only `apply` reads it.
        origin: ArrayId,
        /// Whether several splits may lead to one pair of leaves, whose numbers are then all ones.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        shared: bool,
    },
    /// Small trees, 32 side by side, a byte for each; `docs/format.md` describes them.
    Lanes {
        /// All trees are heaps of this depth, 3 to 6. Absent: trees of any form with at most 64 leaves.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        heap: Option<u32>,
        /// `[n_blocks, 16]` of the type that input is compared in: distinct thresholds, ascending.
        thresholds: ArrayId,
        /// `u32 [n_chunks * n_features + 1]`: where the blocks of every feature begin, chunk after chunk.
        starts: ArrayId,
        /// `u32 [n_chunks + 1]`: chunk `c` is the groups `chunks[c]..chunks[c + 1]`, which share thresholds.
        chunks: ArrayId,
        /// `u32 [n_groups + 1]`: group `g` is the places `groups[g]..groups[g + 1]`.
        groups: ArrayId,
        /// `u8 [n_places, 2, 32]`, or `[n_places, 3, 32]` without heaps.
        nodes: ArrayId,
        /// `[n_leaves + 64]` in the precision of the sums: the leaves of every tree from left to right, one more than its group has places.
        leaves: ArrayId,
        /// `u32 [n_leaves]`: the library's own number of the leaf. Only `apply` reads it.
        origin: ArrayId,
    },
}

/// Trees below their crowns, in pieces of three levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subtrees {
    /// `u32 [n_trees, 16]`: the subtree that each end of a crown leads to.
    pub below: ArrayId,
    /// `u32 [n_subtrees, 16]`; `docs/format.md` describes them.
    pub subtrees: ArrayId,
    /// Most of them on a way to a leaf, 1 to 3.
    pub hops: u8,
}

impl Trees {
    /// How the trees are laid out, and why not otherwise, in words.
    pub fn layout_in_words(&self) -> String {
        let n_trees = self.n_trees;
        let why = match &self.layout {
            TreeLayout::Lanes { heap: Some(depth), .. } => {
                return format!("{n_trees} trees side by side, as heaps of depth {depth}");
            }
            TreeLayout::Lanes { heap: None, .. } => {
                return format!("{n_trees} trees side by side, of at most {} leaves", NODES + 1);
            }
            TreeLayout::Compact { subtrees: Some(_), .. } => {
                return format!(
                    "{n_trees} trees walked one by one; with AVX-512 three levels at a time, as none is deep"
                );
            }
            TreeLayout::Compact { .. } => match &self.head {
                Head::Forest(Forest { average: false, .. }) => "it is a single tree",
                Head::Forest(_) => "leaves of a forest may hold many values",
                _ if self.n_features as usize > FEATURES => "there are more than 128 features",
                _ if (n_trees as usize) < MIN_TREES => "there are few",
                _ => {
                    "some have more than 64 leaves, categories or zero as missing, or they have too many thresholds"
                }
            },
        };
        format!("{n_trees} trees walked one by one: {why}")
    }
}
