//! Objectives of XGBoost: where sums start, and what becomes of them.
#![forbid(unsafe_code)]

use crate::model::lower::Refusal;
use crate::model::plan::BoostedLink;

/// What XGBoost keeps probabilities away from 0 and 1.
const EPSILON: f32 = 1e-6;

/// What a prediction needs to know of an objective.
#[derive(Clone, Copy)]
pub(super) struct Objective {
    /// From raw scores to predictions.
    pub link: BoostedLink,
    start: Start,
}

/// From the intercept as users give it to a raw score, in `float32`.
#[derive(Clone, Copy)]
enum Start {
    Same,
    Logit,
    Log,
}

impl Objective {
    /// The objective of that name.
    pub(super) fn named(name: &str) -> Result<Self, Refusal> {
        use BoostedLink::{ExponentialF32, HingeF32, Identity, LargestF32, LogisticF32, SoftmaxF32};
        let (start, link) = match name {
            "binary:logistic" | "reg:logistic" => (Start::Logit, LogisticF32),
            "binary:hinge" => (Start::Same, HingeF32),
            "multi:softprob" => (Start::Same, SoftmaxF32),
            "multi:softmax" => (Start::Same, LargestF32),
            "count:poisson" | "reg:gamma" | "reg:tweedie" | "survival:cox" | "survival:aft" => {
                (Start::Log, ExponentialF32)
            }
            "reg:squarederror"
            | "reg:linear"
            | "reg:squaredlogerror"
            | "reg:pseudohubererror"
            | "reg:absoluteerror"
            | "reg:quantileerror" => (Start::Same, Identity),
            "binary:logitraw" | "rank:pairwise" | "rank:ndcg" | "rank:map" => (Start::Same, Identity),
            _ => {
                return Err(Refusal::uncovered(format!(
                    "its objective `{name}` is not covered; reg:*, binary:*, multi:*, rank:*, count:poisson, \
                     survival:cox and survival:aft are"
                )));
            }
        };
        Ok(Objective { link, start })
    }

    /// Where the sum of each of `columns` starts, given the text of the intercept.
    pub(super) fn start(self, base_score: &str, columns: usize) -> Result<Vec<f32>, Refusal> {
        let inner =
            base_score.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(base_score);
        let refuse = || Refusal::uncovered(format!("its base_score is `{base_score}`"));
        let one = |text: &str| text.trim().parse::<f32>().map_err(|_| refuse());
        let given = inner.split(',').map(one).collect::<Result<Vec<_>, _>>()?;
        if given.len() != 1 && given.len() != columns {
            return Err(refuse());
        }
        let raw = |value: f32| match self.start {
            Start::Same => value,
            Start::Logit => -(1.0 / value.clamp(EPSILON, 1.0 - EPSILON) - 1.0).ln(),
            Start::Log => value.ln(),
        };
        Ok((0..columns).map(|column| raw(*given.get(column).unwrap_or(&given[0]))).collect())
    }
}
