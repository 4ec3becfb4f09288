//! What the engine runs: a typed model whose parameters are arrays of the same file.
//!
//! Stored as JSON, made when the file is written. `ops` is an arena: an operation refers only to operations
//! before it, and the last one is the model.
#![forbid(unsafe_code)]

use serde::{Deserialize, Serialize};

use crate::format::ArrayId;

/// What can be computed natively from a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "plan", rename_all = "snake_case", deny_unknown_fields)]
pub enum Plan {
    /// Operations of the engine.
    Native {
        /// Each refers only to earlier ones; the last is the model.
        ops: Vec<Op>,
    },
    /// The file holds a model that the engine does not cover, or no model.
    Uncovered {
        /// The estimator or value that is not covered: `sklearn.svm._classes.SVC`, `dict`.
        what: String,
        /// Why, in words for the user.
        why: String,
    },
}

/// One operation. Arrays are C order and little-endian; shapes are given as `[rows, columns]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub enum Op {
    /// `(x - mean) / scale`, as `sklearn.preprocessing.StandardScaler`.
    StandardScaler {
        /// Columns of the input.
        n_features: u32,
        /// `f64 [n_features]`
        mean: Option<ArrayId>,
        /// `f64 [n_features]`
        scale: Option<ArrayId>,
    },
    /// `x * scale + min`, as `sklearn.preprocessing.MinMaxScaler`.
    MinMaxScaler {
        /// Columns of the input.
        n_features: u32,
        /// `f64 [n_features]`
        scale: ArrayId,
        /// `f64 [n_features]`
        min: ArrayId,
        /// Bounds of `clip=True`.
        clip: Option<[f64; 2]>,
    },
    /// `x @ coef.T + intercept`.
    LinearRegressor {
        /// Columns of the input.
        n_features: u32,
        /// Columns of the output.
        n_outputs: u32,
        /// `f64 [n_outputs, n_features]`
        coef: ArrayId,
        /// `f64 [n_outputs]`
        intercept: ArrayId,
        /// `true` if `predict` gives one dimension.
        flat: bool,
    },
    /// `sklearn.linear_model.LogisticRegression`.
    LogisticRegression {
        /// Columns of the input.
        n_features: u32,
        /// `f64 [1 or n_classes, n_features]`
        coef: ArrayId,
        /// `f64 [1 or n_classes]`
        intercept: ArrayId,
        /// `[n_classes]`
        classes: ArrayId,
        /// How decisions become probabilities.
        link: Link,
    },
    /// Decision trees, alone or averaged.
    Trees(Trees),
    /// Steps run one after another; all but the last transform.
    Pipeline {
        /// Indices of earlier operations.
        steps: Vec<u32>,
    },
}

/// From decision values to probabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Link {
    /// Two classes, one decision column: the logistic function.
    Logistic,
    /// Multinomial.
    Softmax,
    /// One-vs-rest: logistic per class, then divided by the sum.
    OneVsRest,
}

/// A tree ensemble. The engine layer documents the layouts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trees {
    /// Columns of the input.
    pub n_features: u32,
    /// Number of trees.
    pub n_trees: u32,
    /// Outputs of a multi-output model; else 1.
    pub n_outputs: u32,
    /// Per output: `[n_classes]` labels. Empty for regression.
    pub classes: Vec<ArrayId>,
    /// Whether NaN is allowed in the input, as scikit-learn would.
    pub nan_allowed: bool,
    /// `true` for an ensemble, whose sums are divided by the number of trees.
    pub average: bool,
    /// Where the nodes lie.
    pub layout: TreeLayout,
}

/// How trees are laid out; more layouts come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "layout", rename_all = "snake_case", deny_unknown_fields)]
pub enum TreeLayout {
    /// Nodes of 8 or 16 bytes with adjacent siblings.
    Compact {
        /// Node words.
        nodes: ArrayId,
    },
}
