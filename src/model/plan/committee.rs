//! Operations that are made of others: committees, and what stands before an ensemble.
#![forbid(unsafe_code)]

use serde::{Deserialize, Serialize};

use crate::format::ArrayId;
use crate::model::plan::{Op, Trees};

/// Members that are asked the same question, and one answer made of theirs, as `sklearn.ensemble` has them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Voting {
    /// Class name, for messages: `VotingClassifier`.
    pub estimator: String,
    /// Positions of earlier operations, in the order in which their answers are added.
    pub members: Vec<u32>,
    /// `f64 [n_members]`; absent: all count the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<ArrayId>,
    /// What becomes of the answers.
    pub kind: VotingKind,
}

/// What becomes of the answers of members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum VotingKind {
    /// The class that most predict, the first of several; members predict positions in `classes`, as `int64`.
    Hard {
        /// `[n_classes]` labels.
        classes: ArrayId,
    },
    /// The mean of the probabilities, and the class where it is largest.
    Soft {
        /// `[n_classes]` labels.
        classes: ArrayId,
        /// Whether `transform` gives the probabilities of all members side by side, and not one matrix for each.
        flat: bool,
    },
    /// The mean of the values that members predict.
    Mean,
}

/// Members whose answers are the columns that a last estimator sees, as `sklearn.ensemble` has them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stacking {
    /// Class name, for messages: `StackingClassifier`.
    pub estimator: String,
    /// In the order of the columns.
    pub members: Vec<StackingMember>,
    /// Whether the columns of the input follow.
    pub passthrough: bool,
    /// The position of the last estimator, an earlier operation.
    pub last: u32,
    /// `[n_classes]` labels, of which the last estimator predicts positions, as `int64`. Absent for a regressor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<ArrayId>,
}

/// A member of [`Stacking`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StackingMember {
    /// The position of an earlier operation.
    pub op: u32,
    /// What it is asked.
    pub asked: Asked,
    /// Whether the first column of the answer is left out, as the probabilities of two classes tell the same.
    pub without_first: bool,
}

/// What one operation asks another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Asked {
    /// Labels or values.
    Predict,
    /// Probabilities.
    PredictProba,
    /// Decisions.
    DecisionFunction,
}

/// Columns put in another order, and categories as numbers, before trees see them: what scikit-learn's histogram gradient
/// boosting does with categorical features.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recoded {
    /// Class name, for messages: `HistGradientBoostingClassifier`.
    pub estimator: String,
    /// `u32 [n_features]`: the column of the input that each column is made of.
    pub columns: ArrayId,
    /// `u32 [n_encoded + 1]`: the first `n_encoded` columns are categories; those of column `j` are
    /// `categories[starts[j]..starts[j + 1]]`.
    pub starts: ArrayId,
    /// `f64 [n_categories]`, ascending for each column. A value becomes its position among them, or NaN.
    pub categories: ArrayId,
    /// The position of an earlier operation over trees.
    pub trees: u32,
}

impl Op {
    /// The operations that this one runs.
    pub fn parts(&self) -> Vec<u32> {
        match self {
            Op::Pipeline { steps } => steps.clone(),
            Op::Voting(voting) => voting.members.clone(),
            Op::Stacking(stacking) => {
                stacking.members.iter().map(|member| member.op).chain([stacking.last]).collect()
            }
            Op::Recoded(recoded) => vec![recoded.trees],
            Op::Trees(Trees { init: Some(init), .. }) => vec![*init],
            _ => Vec::new(),
        }
    }

    /// Columns of the input. `ops` are those of a plan that was read, where parts lie before the whole.
    pub fn n_features(&self, ops: &[Op]) -> Option<u32> {
        let of = |op: u32| ops.get(op as usize)?.n_features(ops);
        match self {
            Op::StandardScaler { n_features, .. }
            | Op::MinMaxScaler { n_features, .. }
            | Op::LinearRegressor { n_features, .. }
            | Op::LogisticRegression { n_features, .. } => Some(*n_features),
            Op::Trees(trees) => Some(trees.n_features),
            Op::Pipeline { steps } => of(*steps.first()?),
            Op::Voting(voting) => of(*voting.members.first()?),
            Op::Stacking(stacking) => of(stacking.members.first()?.op),
            Op::Recoded(recoded) => of(recoded.trees),
        }
    }

    /// Per output the labels of a classifier; empty for others. `ops` as in [`Op::n_features`].
    pub fn classes<'a>(&'a self, ops: &'a [Op]) -> &'a [ArrayId] {
        let of =
            |op: Option<&u32>| op.and_then(|&op| ops.get(op as usize)).map_or(&[][..], |op| op.classes(ops));
        match self {
            Op::StandardScaler { .. } | Op::MinMaxScaler { .. } | Op::LinearRegressor { .. } => &[],
            Op::LogisticRegression { classes, .. } => std::slice::from_ref(classes),
            Op::Trees(trees) => trees.classes(),
            Op::Pipeline { steps } => of(steps.last()),
            Op::Voting(voting) => match &voting.kind {
                VotingKind::Hard { classes } | VotingKind::Soft { classes, .. } => {
                    std::slice::from_ref(classes)
                }
                VotingKind::Mean => &[],
            },
            Op::Stacking(stacking) => stacking.classes.as_slice(),
            Op::Recoded(recoded) => of(Some(&recoded.trees)),
        }
    }

    /// The operations that see the rows as they are given. `ops` as in [`Op::n_features`].
    pub fn inputs<'a>(&'a self, ops: &'a [Op]) -> Vec<&'a Op> {
        let of = |op: &u32| ops.get(*op as usize).map_or(Vec::new(), |op| op.inputs(ops));
        match self {
            Op::Pipeline { steps } => steps.first().map_or(Vec::new(), of),
            Op::Voting(voting) => voting.members.iter().flat_map(of).collect(),
            Op::Stacking(stacking) => stacking.members.iter().flat_map(|member| of(&member.op)).collect(),
            Op::Recoded(recoded) => of(&recoded.trees),
            _ => vec![self],
        }
    }
}
