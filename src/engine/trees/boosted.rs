//! Answers of boosted trees.
#![forbid(unsafe_code)]

use crate::engine::input::Method;
use crate::engine::output::{Output, OutputArray};
use crate::engine::trees::Scores;
use crate::engine::trees::xgboost::linked_f32;
use crate::engine::{PredictError, Run, linear, rows};
use crate::format::ArrayId;
use crate::model::plan::{Boosted, BoostedKind, BoostedLink, PlanError};

impl Run<'_> {
    /// Any method but `apply`.
    pub(super) fn boosted(
        self,
        boosted: &Boosted,
        method: Method,
        scores: Scores,
        n: usize,
    ) -> Result<Output, PredictError> {
        let columns = boosted.columns as usize;
        let shape = if columns == 1 { vec![n] } else { vec![n, columns] };
        if method == Method::RawScores {
            return Ok(Output::one(scores.into_array(&[n, columns])));
        }
        if let BoostedKind::Isolation { scale } = boosted.kind {
            return self.isolation(scale, method, scores.f64s());
        }
        if method == Method::DecisionFunction {
            return Ok(Output::one(scores.into_array(&shape)));
        }
        let scores = match boosted.mean_of {
            Some(n) => scores.divided(n),
            None => scores,
        };
        let (classes, second_at_zero) = match boosted.kind {
            BoostedKind::Regressor => {
                let shape = if boosted.link == BoostedLink::LargestF32 { vec![n] } else { shape };
                return Ok(Output::one(linked(boosted.link, scores, columns).into_array(&shape)));
            }
            BoostedKind::LightGbm { classes } => return self.lightgbm(boosted, classes, method, scores),
            BoostedKind::XgBoost { classes } => return self.xgboost(boosted, classes, method, scores, n),
            BoostedKind::Classifier { classes, second_at_zero, .. } => (classes, second_at_zero),
            BoostedKind::Isolation { .. } => return Err(PlanError::Empty.into()),
            BoostedKind::Median { weights } => {
                let medians = weighted_medians(&scores.f64s(), self.values("weights", weights)?);
                return Ok(Output::one(OutputArray::f64(&[n], medians)));
            }
        };
        let scores = scores.f64s();
        if method == Method::Predict {
            let (dtype, labels) = self.labels(classes)?;
            let last = labels.len() / dtype.itemsize() as usize - 1;
            let pick = |row: &[f64]| match *row {
                [one] => usize::from(one > 0.0 || second_at_zero && one == 0.0).min(last),
                _ => rows::argmax(row),
            };
            let picks = scores.chunks_exact(columns).map(|row| (0, pick(row)));
            return Ok(Output::one(OutputArray::labels(&[n], dtype, picks, &[labels])));
        }
        let mut p = match linked(boosted.link, Scores::F64(scores), columns) {
            Scores::F64(p) if columns == 1 => p.into_iter().flat_map(|p| [1.0 - p, p]).collect(),
            other => other.f64s(),
        };
        if method == Method::PredictLogProba {
            p.iter_mut().for_each(|p| *p = p.ln());
        }
        Ok(Output::one(OutputArray::f64(&[n, columns.max(2)], p)))
    }

    /// `predict` or `predict_proba` of LightGBM's classifiers.
    fn lightgbm(
        self,
        boosted: &Boosted,
        classes: ArrayId,
        method: Method,
        scores: Scores,
    ) -> Result<Output, PredictError> {
        let columns = boosted.columns as usize;
        let mut p = linked(boosted.link, scores, columns).f64s();
        if columns == 1 {
            p = p.into_iter().flat_map(|p| [1.0 - p, p]).collect();
        }
        let columns = columns.max(2);
        let n = p.len() / columns;
        if method != Method::Predict {
            return Ok(Output::one(OutputArray::f64(&[n, columns], p)));
        }
        let (dtype, labels) = self.labels(classes)?;
        let last = (labels.len() / (dtype.itemsize() as usize).max(1)).saturating_sub(1);
        let picks = p.chunks_exact(columns).map(|row| (0, rows::argmax(row).min(last)));
        Ok(Output::one(OutputArray::labels(&[n], dtype, picks, &[labels])))
    }
}

/// Of each row the value at which half of the weight is reached, from the smallest on.
fn weighted_medians(rows: &[f64], weights: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..weights.len()).collect();
    let mut cumulated = vec![0.0; weights.len()];
    let median = |row: &[f64]| {
        order.sort_by(|&a, &b| row[a].total_cmp(&row[b]));
        let mut sum = 0.0;
        for (to, &index) in cumulated.iter_mut().zip(&order) {
            sum += weights[index];
            *to = sum;
        }
        let at = cumulated.iter().position(|&reached| reached >= 0.5 * sum).unwrap_or(0);
        row[order[at]]
    };
    rows.chunks_exact(weights.len()).map(median).collect()
}

/// Raw scores as predictions.
pub(super) fn linked(link: BoostedLink, scores: Scores, columns: usize) -> Scores {
    let scores = match (link, scores) {
        (BoostedLink::Identity, scores) => return scores,
        (link, scores) if link.is_f32() => return Scores::F32(linked_f32(link, scores.f32s(), columns)),
        (_, scores) => scores.f64s(),
    };
    Scores::F64(match link {
        BoostedLink::Logistic => scores.into_iter().map(linear::logistic).collect(),
        BoostedLink::HalfLogistic => scores.into_iter().map(|raw| linear::logistic(2.0 * raw)).collect(),
        BoostedLink::Exponential => scores.into_iter().map(f64::exp).collect(),
        BoostedLink::Softmax => linear::softmax(scores, columns),
        BoostedLink::Sigmoid(slope) => {
            scores.into_iter().map(|raw| 1.0 / (1.0 + (-slope * raw).exp())).collect()
        }
        BoostedLink::SignedSquare => scores.into_iter().map(|raw| sign(raw) * raw * raw).collect(),
        BoostedLink::Softplus => scores.into_iter().map(|raw| raw.exp().ln_1p()).collect(),
        _ => scores,
    })
}

/// 1, 0 or -1, where zeros of both signs are 0.
fn sign(value: f64) -> f64 {
    f64::from(i8::from(value > 0.0) - i8::from(value < 0.0))
}
