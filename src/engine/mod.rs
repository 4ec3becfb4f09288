//! Runs a plan; borrows its arrays, copies nothing.
//!
//! A plan is checked once by [`validate`](crate::model::plan::validate::validate) before it comes here. What the
//! engine answers does not depend on the number of threads, and for trees and scalers it is, bit for bit, what
//! scikit-learn answers with `n_jobs=1`. Linear models may differ by rounding: a decision value by at most
//! `n_features` units in the last place of the largest product in its sum, of `float32` if the library computes in that.
// Not `forbid`, which would also bind the kernels; the crate denies unsafe code.

mod api;
mod average;
pub(crate) mod columns;
mod input;
mod kernels;
mod linear;
mod output;
mod pipeline;
mod pool;
mod preprocess;
mod recoded;
mod rows;
mod stacking;
mod trees;
mod voting;

pub use self::input::{Input, Method, RunOptions};
pub use self::output::{Output, OutputArray};

use crate::format::ArrayId;
use crate::format::dtype::Element;
use crate::model::plan::{LeafNumbers, Op, Plan, PlanArrays, PlanError, Stacking, Voting, VotingKind};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PredictError {
    /// The engine does not know this estimator.
    #[error("`{what}` cannot be predicted from natively: {why}")]
    Uncovered {
        /// The estimator.
        what: String,
        /// Why, in words.
        why: String,
    },
    /// The plan of the file is wrong, or its arrays are compressed.
    #[error("the model cannot be run")]
    Plan {
        /// What is wrong.
        #[from]
        source: PlanError,
    },
    /// The estimator does not have this method.
    #[error("{estimator} has no `{method}`; it has {}", list(.available))]
    NoMethod {
        /// The estimator.
        estimator: String,
        /// What was asked.
        method: Method,
        /// What can be asked.
        available: Vec<Method>,
    },
    /// Too many or too few columns.
    #[error("{estimator} expects {expected} columns (features), the input has {found}")]
    Columns {
        /// The estimator.
        estimator: String,
        /// Features it was trained with.
        expected: u32,
        /// Columns of the input.
        found: usize,
    },
    /// No row to predict from.
    #[error("{estimator} needs at least one row (sample), the input has none")]
    Empty {
        /// The estimator.
        estimator: String,
    },
    /// A value that scikit-learn refuses too.
    #[error(
        "{estimator} cannot take {value}, found at row {row}, column {column} of the input (counted from 0)"
    )]
    NotFinite {
        /// The estimator.
        estimator: String,
        /// Row, from 0.
        row: usize,
        /// Column, from 0.
        column: usize,
        /// `NaN`, `infinity`, or `a value too large for float32`.
        value: &'static str,
    },
}

fn list(methods: &[Method]) -> String {
    methods.iter().map(|method| format!("`{method}`")).collect::<Vec<_>>().join(", ")
}

/// Runs `method` of a checked plan on `x`.
///
/// # Errors
///
/// [`PredictError::Uncovered`] if there is nothing to run; the others say what is wrong with the question.
pub(crate) fn run(
    plan: &Plan,
    arrays: &dyn PlanArrays,
    method: Method,
    x: Input<'_>,
    options: &RunOptions,
) -> Result<Output, PredictError> {
    let ops = match plan {
        Plan::Native { ops, .. } => ops.as_slice(),
        Plan::Uncovered { what, why, .. } => {
            return Err(PredictError::Uncovered { what: what.clone(), why: why.clone() });
        }
    };
    let Some(model) = ops.last() else { return Err(PlanError::Empty.into()) };
    Run { ops, arrays, options, begin: None }.model(model, method, x)
}

/// Runs `method` of one operation of a checked plan on `x`.
///
/// # Errors
///
/// As [`run`].
pub(crate) fn run_op(
    ops: &[Op],
    op: u32,
    arrays: &dyn PlanArrays,
    method: Method,
    x: Input<'_>,
    options: &RunOptions,
) -> Result<Output, PredictError> {
    let Some(operation) = ops.get(op as usize) else { return Err(PlanError::Empty.into()) };
    Run { ops, arrays, options, begin: None }.model(operation, method, x)
}

/// The methods that the model of `plan` has.
pub(crate) fn methods(plan: &Plan) -> Vec<Method> {
    let Plan::Native { ops, .. } = plan else { return Vec::new() };
    Method::ALL.into_iter().filter(|&method| ops.last().is_some_and(|op| has(ops, op, method))).collect()
}

fn has(ops: &[Op], op: &Op, method: Method) -> bool {
    use Method::{
        Apply, DecisionFunction, Predict, PredictLogProba, PredictProba, RawScores, ScoreSamples, Transform,
    };
    match op {
        Op::StandardScaler { .. } | Op::MinMaxScaler { .. } => method == Transform,
        Op::LinearRegressor { .. } => method == Predict,
        Op::LogisticRegression { .. } => {
            matches!(method, Predict | PredictProba | PredictLogProba | DecisionFunction)
        }
        Op::Trees(trees) => match method {
            RawScores => true,
            Predict => trees.predicts(),
            ScoreSamples => trees.scores_samples(),
            Apply => trees.leaf_numbers() != LeafNumbers::Absent,
            PredictProba => trees.has_proba(),
            PredictLogProba => trees.has_log_proba(),
            DecisionFunction => trees.decides(),
            Transform => false,
        },
        // scikit-learn's Pipeline does not hand `apply` on.
        Op::Pipeline { steps } => {
            let last = steps.last().and_then(|&step| ops.get(step as usize));
            method != Apply && last.is_some_and(|op| has(ops, op, method))
        }
        Op::Voting(Voting { kind: VotingKind::Soft { .. }, .. }) => {
            matches!(method, Predict | PredictProba | Transform)
        }
        Op::Voting(_) => matches!(method, Predict | Transform),
        Op::Stacking(stacking) => match method {
            Transform => true,
            Predict | PredictProba | DecisionFunction => stacked(ops, stacking, method),
            _ => false,
        },
        Op::Recoded(recoded) => {
            method != RawScores && ops.get(recoded.trees as usize).is_some_and(|op| has(ops, op, method))
        }
    }
}

/// Whether the last estimator has the method, which a stacking regressor hands on only to predict.
fn stacked(ops: &[Op], stacking: &Stacking, method: Method) -> bool {
    let handed_on = method == Method::Predict || stacking.classes.is_some();
    handed_on && ops.get(stacking.last as usize).is_some_and(|last| has(ops, last, method))
}

/// One call.
#[derive(Clone, Copy)]
struct Run<'a> {
    ops: &'a [Op],
    arrays: &'a dyn PlanArrays,
    options: &'a RunOptions,
    /// What the raw scores of boosted trees begin with, row after row, if not with the same for all.
    begin: Option<&'a [f64]>,
}

impl<'a> Run<'a> {
    fn model(self, op: &Op, method: Method, x: Input<'_>) -> Result<Output, PredictError> {
        if !has(self.ops, op, method) {
            let available = Method::ALL.into_iter().filter(|&method| has(self.ops, op, method)).collect();
            return Err(PredictError::NoMethod { estimator: op.estimator().to_owned(), method, available });
        }
        match op {
            Op::StandardScaler { .. } | Op::MinMaxScaler { .. } => Ok(self.transform(op, x)?.into_output()),
            Op::LinearRegressor { .. } => self.linear_regressor(op, x),
            Op::LogisticRegression { .. } => self.logistic_regression(op, method, x),
            Op::Trees(trees) => self.trees(trees, method, x),
            Op::Pipeline { steps } => self.pipeline(steps, method, x),
            Op::Voting(voting) => self.voting(voting, method, x),
            Op::Stacking(stacking) => self.stacking(stacking, method, x),
            Op::Recoded(recoded) => self.recoded(recoded, method, x),
        }
    }

    /// `method` of a part of an operation, which gives one array.
    fn part(self, part: u32, method: Method, x: Input<'_>) -> Result<OutputArray, PredictError> {
        let wrong = |problem| PlanError::Part { op: self.ops.len() - 1, part, problem };
        let op = self.ops.get(part as usize).ok_or(wrong("does not exist"))?;
        let arrays = self.model(op, method, x)?.arrays;
        let [array] = <[OutputArray; 1]>::try_from(arrays).map_err(|_| wrong("gives several arrays"))?;
        Ok(array)
    }

    /// The elements of an array that validation has seen.
    fn values<T: Element>(self, parameter: &'static str, id: ArrayId) -> Result<&'a [T], PredictError> {
        let bytes = self
            .arrays
            .plan_array_bytes(id)
            .ok_or(PlanError::Compressed { op: self.ops.len() - 1, parameter })?;
        bytemuck::try_cast_slice(bytes)
            .map_err(|_| PlanError::Misaligned { op: self.ops.len() - 1, parameter }.into())
    }
}

#[cfg(test)]
mod tests;
