//! Decision trees and ensembles of them.
//!
//! Values are added in tree order, in the precision that the library uses, so the bits do not depend on how rows are
//! grouped or on the number of threads. A layout gives [`Scores`]; the head of the ensemble makes answers of them.
#![forbid(unsafe_code)]

mod begin;
mod boosted;
mod categories;
pub(super) mod compact;
mod forest;
mod isolation;
pub(super) mod keys;
mod lanes;
mod sinks;
pub(super) mod walk;
mod xgboost;

use ndarray::Array2;

use crate::engine::input::{Input, Method};
use crate::engine::kernels::Kernels;
use crate::engine::output::{Output, OutputArray};
use crate::engine::rows::Accepts;
use crate::engine::{PredictError, Run};
use crate::format::ArrayId;
use crate::format::dtype::Dtype;
use crate::model::plan::{BoostedKind, Float, Head, LeafNumbers, PlanError, TreeLayout, Trees};

/// What the leaves of each row add up to, in C order: `[n_rows, width]` of a forest, `[n_rows, columns]` of boosted trees.
pub(super) enum Scores {
    /// In `float32`.
    F32(Vec<f32>),
    /// In `float64`.
    F64(Vec<f64>),
}

impl<'a> Run<'a> {
    /// Any method of trees.
    pub(super) fn trees(self, trees: &Trees, method: Method, x: Input<'_>) -> Result<Output, PredictError> {
        let applies_f32 = method == Method::Apply && trees.applies_f32();
        let filled;
        let x = match trees.missing_value {
            Some(missing) => {
                filled = with_nan(&x, missing);
                Input::F32(filled.view())
            }
            None => x.view(),
        };
        Accepts {
            estimator: &trees.estimator,
            n_features: trees.n_features,
            nan: trees.nan_allowed,
            infinity: trees.infinity_allowed && !applies_f32,
            as_f32: trees.input == Float::F32,
        }
        .check(&x, self.options)?;
        if method == Method::Apply {
            let leaves = match trees.layout {
                TreeLayout::Compact { .. } => compact::apply(self, trees, &x)?,
                TreeLayout::Lanes { .. } => lanes::apply(self, trees, &x, Kernels::here())?,
            };
            return Ok(Output::one(leaf_numbers(trees, x.n_rows(), leaves)));
        }
        let begin = trees.init.map(|init| self.initial(trees, init, &x)).transpose()?;
        let run = Run { begin: begin.as_deref(), ..self };
        let scores = match trees.layout {
            TreeLayout::Compact { .. } => compact::scores(run, trees, &x)?,
            TreeLayout::Lanes { .. } => lanes::scores(run, trees, &x, Kernels::here())?,
        };
        match &trees.head {
            Head::Forest(forest) => self.forest(forest, method, scores, x.n_rows()),
            Head::Boosted(boosted) => self.boosted(boosted, method, scores, x.n_rows()),
        }
    }

    /// Dtype and bytes of class labels.
    pub(super) fn labels(self, classes: ArrayId) -> Result<(Dtype, &'a [u8]), PredictError> {
        let missing = || PlanError::Compressed { op: self.ops.len() - 1, parameter: "classes" };
        let info = self.arrays.plan_array_info(classes).ok_or_else(missing)?;
        Ok((info.dtype, self.arrays.plan_array_bytes(classes).ok_or_else(missing)?))
    }
}

/// What `apply` gives, of the numbers `[n_rows, n_trees]`.
fn leaf_numbers(trees: &Trees, n: usize, leaves: Vec<i64>) -> OutputArray {
    let n_trees = trees.n_trees as usize;
    match &trees.head {
        Head::Forest(forest) if !forest.average => OutputArray::i64(&[n], leaves),
        Head::Boosted(boosted) if boosted.apply == LeafNumbers::Stages => {
            let columns = boosted.columns as usize;
            let shape = match boosted.kind {
                BoostedKind::Regressor => vec![n, n_trees],
                _ => vec![n, n_trees / columns, columns],
            };
            OutputArray::f64(&shape, leaves.into_iter().map(|leaf| leaf as f64).collect())
        }
        Head::Boosted(boosted) if boosted.apply == LeafNumbers::Int32 => {
            OutputArray::i32(&[n, n_trees], leaves.into_iter().map(|leaf| leaf as i32).collect())
        }
        Head::Boosted(boosted) if boosted.apply == LeafNumbers::Float32 => {
            let shape = if n_trees == 1 { vec![n] } else { vec![n, n_trees] };
            OutputArray::f32(&shape, leaves.into_iter().map(|leaf| leaf as f32).collect())
        }
        _ => OutputArray::i64(&[n, n_trees], leaves),
    }
}

/// The rows in `float32`, with NaN for `missing`.
fn with_nan(x: &Input<'_>, missing: f32) -> Array2<f32> {
    let fill = |value: f32| if value == missing { f32::NAN } else { value };
    match x {
        Input::F32(x) => x.mapv(fill),
        Input::F64(x) => x.mapv(|value| fill(value as f32)),
    }
}

impl Scores {
    fn f32s(self) -> Vec<f32> {
        match self {
            Scores::F32(scores) => scores,
            Scores::F64(scores) => scores.into_iter().map(|score| score as f32).collect(),
        }
    }

    fn f64s(self) -> Vec<f64> {
        match self {
            Scores::F32(scores) => scores.into_iter().map(f64::from).collect(),
            Scores::F64(scores) => scores,
        }
    }

    /// The scores of LightGBM's random forests: means.
    fn divided(self, by: u32) -> Self {
        match self {
            Scores::F32(scores) => Scores::F32(scores.into_iter().map(|score| score / by as f32).collect()),
            Scores::F64(scores) => {
                Scores::F64(scores.into_iter().map(|score| score / f64::from(by)).collect())
            }
        }
    }

    fn into_array(self, shape: &[usize]) -> OutputArray {
        match self {
            Scores::F32(scores) => OutputArray::f32(shape, scores),
            Scores::F64(scores) => OutputArray::f64(shape, scores),
        }
    }
}

#[cfg(test)]
mod tests;
