//! Answers of boosted trees.
#![forbid(unsafe_code)]

use crate::engine::input::Method;
use crate::engine::output::{Output, OutputArray};
use crate::engine::trees::Scores;
use crate::engine::{PredictError, Run, linear, rows};
use crate::model::plan::{Boosted, BoostedKind, BoostedLink};

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
        let (classes, second_at_zero) = match boosted.kind {
            BoostedKind::Regressor => {
                return Ok(Output::one(linked(boosted.link, scores, columns).into_array(&shape)));
            }
            BoostedKind::Classifier { classes, second_at_zero, .. } => (classes, second_at_zero),
        };
        if method == Method::DecisionFunction {
            return Ok(Output::one(scores.into_array(&shape)));
        }
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
}

fn linked(link: BoostedLink, scores: Scores, columns: usize) -> Scores {
    let scores = match (link, scores) {
        (BoostedLink::Identity, scores) => return scores,
        (_, scores) => scores.f64s(),
    };
    Scores::F64(match link {
        BoostedLink::Identity => scores,
        BoostedLink::Logistic => scores.into_iter().map(linear::logistic).collect(),
        BoostedLink::HalfLogistic => scores.into_iter().map(|raw| linear::logistic(2.0 * raw)).collect(),
        BoostedLink::Exponential => scores.into_iter().map(f64::exp).collect(),
        BoostedLink::Softmax => linear::softmax(scores, columns),
    })
}
