//! Answers of XGBoost's models, operation by operation as its own predictor makes them, in `float32`.
#![forbid(unsafe_code)]

use crate::engine::input::Method;
use crate::engine::output::{Output, OutputArray};
use crate::engine::trees::Scores;
use crate::engine::trees::boosted::linked;
use crate::engine::{PredictError, Run, rows};
use crate::format::ArrayId;
use crate::model::numerics::pairwise_sum;
use crate::model::plan::{Boosted, BoostedLink};

impl Run<'_> {
    /// `predict` or `predict_proba` of XGBoost's classifiers.
    pub(super) fn xgboost(
        self,
        boosted: &Boosted,
        classes: ArrayId,
        method: Method,
        scores: Scores,
        n: usize,
    ) -> Result<Output, PredictError> {
        let columns = boosted.columns as usize;
        if method == Method::PredictProba && boosted.link == BoostedLink::LargestF32 {
            let mut p = scores.f32s();
            p.chunks_exact_mut(columns).for_each(scipy_softmax);
            return Ok(Output::one(OutputArray::f32(&[n, columns], p)));
        }
        let p = linked(boosted.link, scores, columns).f32s();
        let columns = p.len() / n.max(1);
        if method != Method::Predict {
            let p = if columns == 1 { p.into_iter().flat_map(|p| [1.0 - p, p]).collect() } else { p };
            return Ok(Output::one(OutputArray::f32(&[n, columns.max(2)], p)));
        }
        let (dtype, labels) = self.labels(classes)?;
        let pick = |row: &[f32]| match row {
            [largest] if boosted.link == BoostedLink::LargestF32 => *largest as usize,
            [one] => usize::from(*one > 0.5),
            row => rows::argmax(row),
        };
        let picks = p.chunks_exact(columns.max(1)).map(|row| (0, pick(row)));
        Ok(Output::one(OutputArray::labels(&[n], dtype, picks, &[labels])))
    }
}

/// Links in `float32`; those of other libraries are none of them.
pub(super) fn linked_f32(link: BoostedLink, mut scores: Vec<f32>, columns: usize) -> Vec<f32> {
    match link {
        BoostedLink::LogisticF32 => scores.iter_mut().for_each(|score| *score = logistic(*score)),
        BoostedLink::ExponentialF32 => scores.iter_mut().for_each(|score| *score = score.exp()),
        BoostedLink::HingeF32 => {
            scores.iter_mut().for_each(|score| *score = f32::from(u8::from(*score > 0.0)));
        }
        BoostedLink::SoftmaxF32 => scores.chunks_exact_mut(columns).for_each(softmax),
        BoostedLink::LargestF32 => {
            return scores.chunks_exact(columns).map(|row| largest(row) as f32).collect();
        }
        _ => {}
    }
    scores
}

fn logistic(raw: f32) -> f32 {
    // The bound keeps `exp` finite; `f32::min` would take it for a NaN too.
    let x = if 88.7 < -raw { 88.7 } else { -raw };
    1.0 / (x.exp() + 1.0 + 1e-16)
}

fn softmax(row: &mut [f32]) {
    let max = row.iter().copied().fold(f32::NAN, f32::max);
    let mut sum = 0.0;
    for score in row.iter_mut() {
        *score = (*score - max).exp();
        sum += f64::from(*score);
    }
    row.iter_mut().for_each(|score| *score /= sum as f32);
}

/// `scipy.special.softmax`, which XGBoost's classifier applies where the booster itself gives the largest class.
fn scipy_softmax(row: &mut [f32]) {
    let max = row.iter().copied().fold(f32::NEG_INFINITY, |max, score| if score > max { score } else { max });
    row.iter_mut().for_each(|score| *score = (*score - max).exp());
    let sum = pairwise_sum(row);
    row.iter_mut().for_each(|score| *score /= sum);
}

/// The first of the largest; what is no number is never larger.
fn largest(row: &[f32]) -> usize {
    row.iter().enumerate().fold(0, |best, (index, score)| if *score > row[best] { index } else { best })
}
