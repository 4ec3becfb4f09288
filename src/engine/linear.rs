//! Linear models: a product with the coefficients, then a link.
#![forbid(unsafe_code)]

use ndarray::ArrayView2;
use rayon::prelude::*;

use crate::engine::input::{Input, Method};
use crate::engine::output::{Output, OutputArray};
use crate::engine::rows::{self, Accepts, Number};
use crate::engine::{PredictError, Run, pool};
use crate::format::ArrayId;
use crate::model::plan::{Link, Op, PlanError};

/// Rows that one task computes.
const ROWS: usize = 64;
/// Multiplications below which threads do not pay.
const SMALL: usize = 1 << 18;

impl Run<'_> {
    /// `predict` of a regressor.
    pub(super) fn linear_regressor(self, op: &Op, x: Input<'_>) -> Result<Output, PredictError> {
        let Op::LinearRegressor { n_features, n_outputs, coef, intercept, flat, float32, .. } = *op else {
            return Err(PlanError::Empty.into());
        };
        let precision = Precision::of(float32, &x);
        let values = self.decision(op.estimator(), n_features, coef, intercept, precision, x)?;
        let shape = if flat { vec![x.n_rows()] } else { vec![x.n_rows(), n_outputs as usize] };
        Ok(Output::one(precision.array(&shape, values)))
    }

    /// Any method of a logistic regression.
    pub(super) fn logistic_regression(
        self,
        op: &Op,
        method: Method,
        x: Input<'_>,
    ) -> Result<Output, PredictError> {
        let Op::LogisticRegression { n_features, coef, intercept, classes, link, float32 } = *op else {
            return Err(PlanError::Empty.into());
        };
        let precision = Precision::of(float32, &x);
        let mut values = self.decision(op.estimator(), n_features, coef, intercept, precision, x)?;
        let n = x.n_rows();
        let k = values.len() / n;
        match method {
            Method::DecisionFunction => {
                let shape = if k == 1 { vec![n] } else { vec![n, k] };
                return Ok(Output::one(precision.array(&shape, values)));
            }
            Method::Predict => return self.linear_labels(classes, &values, k),
            _ => {}
        }
        values = probabilities(values, k, link, precision);
        precision.round(&mut values);
        if method == Method::PredictLogProba {
            values.iter_mut().for_each(|p| *p = p.ln());
        }
        let shape = vec![n, values.len() / n];
        Ok(Output::one(precision.array(&shape, values)))
    }

    fn linear_labels(self, classes: ArrayId, values: &[f64], k: usize) -> Result<Output, PredictError> {
        let labels = self.labels(classes)?;
        let index = |row: &[f64]| if k == 1 { usize::from(row[0] > 0.0) } else { rows::argmax(row) };
        let picks = values.chunks_exact(k).map(|row| (0, index(row)));
        let shape = vec![values.len() / k];
        Ok(Output::one(OutputArray::labels(&shape, labels.0, picks, &[labels.1])))
    }

    /// `x @ coef.T + intercept` as rows of one value per row of `coef`.
    fn decision(
        self,
        estimator: &str,
        n_features: u32,
        coef: ArrayId,
        intercept: ArrayId,
        precision: Precision,
        x: Input<'_>,
    ) -> Result<Vec<f64>, PredictError> {
        Accepts { estimator, n_features, nan: false, infinity: false, as_f32: false }
            .check(&x, self.options)?;
        let (coef, intercept) = (self.values("coef", coef)?, self.values("intercept", intercept)?);
        let threads = pool::threads(self.options.threads);
        let mut values = match x {
            Input::F32(x) => product(&x, coef, intercept, threads),
            Input::F64(x) => product(&x, coef, intercept, threads),
        };
        precision.round(&mut values);
        Ok(values)
    }
}

/// What the library computes in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Precision {
    Single,
    Double,
}

impl Precision {
    fn of(float32: bool, x: &Input<'_>) -> Self {
        if float32 && matches!(x, Input::F32(_)) { Precision::Single } else { Precision::Double }
    }

    fn round(self, values: &mut [f64]) {
        values.iter_mut().for_each(|value| *value = self.rounded(*value));
    }

    fn rounded(self, value: f64) -> f64 {
        match self {
            Precision::Single => f64::from(value as f32),
            Precision::Double => value,
        }
    }

    fn array(self, shape: &[usize], values: Vec<f64>) -> OutputArray {
        match self {
            Precision::Single => {
                OutputArray::f32(shape, values.into_iter().map(|value| value as f32).collect())
            }
            Precision::Double => OutputArray::f64(shape, values),
        }
    }
}

fn product<T: Number>(x: &ArrayView2<'_, T>, coef: &[f64], intercept: &[f64], threads: usize) -> Vec<f64> {
    let (n, k) = (x.nrows(), intercept.len());
    let mut out = vec![0.0; n * k];
    let block = |(block, out): (usize, &mut [f64])| {
        let mut row = vec![0.0; x.ncols()];
        for (i, out) in out.chunks_exact_mut(k).enumerate() {
            rows::for_each(x, block * ROWS + i, |column, value| row[column] = value.f64());
            for ((out, coef), intercept) in out.iter_mut().zip(coef.chunks_exact(row.len())).zip(intercept) {
                *out = dot(coef, &row) + intercept;
            }
        }
    };
    if threads == 1 || n <= ROWS || n.saturating_mul(coef.len()) < SMALL {
        out.chunks_mut(ROWS * k).enumerate().for_each(block);
    } else {
        pool::run(threads, || out.par_chunks_mut(ROWS * k).enumerate().for_each(block));
    }
    out
}

/// A sum in eight strands, in an order that depends on the length alone.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let (a_blocks, a_rest) = a.as_chunks::<8>();
    let (b_blocks, b_rest) = b.as_chunks::<8>();
    let mut strands = [0.0; 8];
    for (a, b) in a_blocks.iter().zip(b_blocks) {
        for i in 0..8 {
            strands[i] += a[i] * b[i];
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    let [a, b, c, d, e, f, g, h] = strands;
    ((a + b) + (c + d)) + ((e + f) + (g + h)) + rest
}

fn probabilities(decisions: Vec<f64>, k: usize, link: Link, precision: Precision) -> Vec<f64> {
    match (link, k) {
        (Link::Logistic, _) => {
            let pair = |d: &f64| {
                let p = precision.rounded(logistic(*d));
                [1.0 - p, p]
            };
            decisions.iter().flat_map(pair).collect()
        }
        (Link::Softmax, 1) => softmax(decisions.iter().flat_map(|&d| [-d, d]).collect(), 2),
        (Link::Softmax, _) => softmax(decisions, k),
        (Link::OneVsRest, _) => one_vs_rest(decisions, k),
    }
}

pub(super) fn logistic(d: f64) -> f64 {
    1.0 / (1.0 + (-d).exp())
}

pub(super) fn softmax(mut rows: Vec<f64>, k: usize) -> Vec<f64> {
    for row in rows.chunks_exact_mut(k) {
        let max = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        row.iter_mut().for_each(|d| *d = (*d - max).exp());
        let sum: f64 = row.iter().sum();
        row.iter_mut().for_each(|p| *p /= sum);
    }
    rows
}

fn one_vs_rest(mut rows: Vec<f64>, k: usize) -> Vec<f64> {
    for row in rows.chunks_exact_mut(k) {
        row.iter_mut().for_each(|d| *d = logistic(*d));
        let sum: f64 = row.iter().sum();
        if sum == 0.0 {
            row.fill(1.0 / k as f64);
        } else {
            row.iter_mut().for_each(|p| *p /= sum);
        }
    }
    rows
}
