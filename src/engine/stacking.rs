//! `StackingClassifier` and `StackingRegressor`.
#![forbid(unsafe_code)]

use ndarray::Array2;

use crate::engine::average::Answers;
use crate::engine::input::{Input, Method};
use crate::engine::output::{Output, OutputArray};
use crate::engine::{PredictError, Run};
use crate::model::plan::{Asked, PlanError, Stacking, StackingMember};

/// The answers of members side by side.
enum Columns {
    F32(Array2<f32>),
    I64(Array2<i64>),
    F64(Array2<f64>),
}

impl Run<'_> {
    /// Any method of stacked estimators.
    pub(super) fn stacking(
        self,
        stacking: &Stacking,
        method: Method,
        x: Input<'_>,
    ) -> Result<Output, PredictError> {
        let columns = self.columns(stacking, x)?;
        if method == Method::Transform {
            return Ok(Output::one(columns.into_array()));
        }
        let (f32s, f64s);
        let input = match columns {
            Columns::F32(x) => {
                f32s = x;
                Input::F32(f32s.view())
            }
            Columns::F64(x) => {
                f64s = x;
                Input::F64(f64s.view())
            }
            Columns::I64(x) => {
                f64s = x.mapv(|value| value as f64);
                Input::F64(f64s.view())
            }
        };
        let classes = stacking.classes.filter(|_| method == Method::Predict);
        let answer = self.part(stacking.last, method, input)?;
        let Some(classes) = classes else { return Ok(Output::one(answer)) };
        let positions = answer.values::<i64>().ok_or_else(|| self.odd(stacking.last))?;
        let picks: Vec<usize> = positions.iter().map(|&position| position.max(0) as usize).collect();
        self.picked(classes, &picks)
    }

    /// What the last estimator sees.
    fn columns(self, stacking: &Stacking, x: Input<'_>) -> Result<Columns, PredictError> {
        let n = x.n_rows();
        let ask = |member: &StackingMember| self.part(member.op, method(member.asked), x.view());
        let mut arrays = stacking.members.iter().map(ask).collect::<Result<Vec<_>, _>>()?;
        let mut skips: Vec<usize> =
            stacking.members.iter().map(|member| usize::from(member.without_first)).collect();
        if stacking.passthrough {
            let shape = [n, x.n_columns()];
            arrays.push(match x {
                Input::F32(x) => OutputArray::f32(&shape, x.iter().copied().collect()),
                Input::F64(x) => OutputArray::f64(&shape, x.iter().copied().collect()),
            });
            skips.push(0);
        }
        if n == 0 || arrays.iter().any(|array| !array.len().is_multiple_of(n)) {
            return Err(self.odd(stacking.last));
        }
        let joined = match Answers::of(self, &arrays)? {
            Answers::F32(members) => joined(&members, &skips, n).map(Columns::F32),
            Answers::I64(members) => joined(&members, &skips, n).map(Columns::I64),
            Answers::F64(members) => joined(&members, &skips, n).map(Columns::F64),
        };
        joined.ok_or_else(|| self.odd(stacking.last))
    }

    fn odd(self, part: u32) -> PredictError {
        PlanError::Part {
            op: self.ops.len() - 1,
            part,
            problem: "answers in another shape than was asked for",
        }
        .into()
    }
}

impl Columns {
    fn into_array(self) -> OutputArray {
        let shape = |dim: (usize, usize)| [dim.0, dim.1];
        match self {
            Columns::F32(x) => OutputArray::f32(&shape(x.dim()), x.into_raw_vec_and_offset().0),
            Columns::I64(x) => OutputArray::i64(&shape(x.dim()), x.into_raw_vec_and_offset().0),
            Columns::F64(x) => OutputArray::f64(&shape(x.dim()), x.into_raw_vec_and_offset().0),
        }
    }
}

/// The answers row by row, of each as many columns left out at the left as `skips` says.
fn joined<T: Copy>(answers: &[Vec<T>], skips: &[usize], n: usize) -> Option<Array2<T>> {
    let mut values = Vec::new();
    for row in 0..n {
        for (answer, &skip) in answers.iter().zip(skips) {
            let columns = answer.len() / n;
            values.extend_from_slice(answer.get(row * columns..)?.get(..columns)?.get(skip..)?);
        }
    }
    Array2::from_shape_vec((n, values.len() / n), values).ok()
}

fn method(asked: Asked) -> Method {
    match asked {
        Asked::Predict => Method::Predict,
        Asked::PredictProba => Method::PredictProba,
        Asked::DecisionFunction => Method::DecisionFunction,
    }
}
