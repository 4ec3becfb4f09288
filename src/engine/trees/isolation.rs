//! Answers of isolation forests.
#![forbid(unsafe_code)]

use std::hint::black_box;

use crate::engine::input::Method;
use crate::engine::output::{Output, OutputArray};
use crate::engine::{PredictError, Run};
use crate::format::ArrayId;

impl Run<'_> {
    /// `score_samples`, `decision_function` or `predict`, of sums of path lengths.
    pub(super) fn isolation(
        self,
        scale: ArrayId,
        method: Method,
        depths: Vec<f64>,
    ) -> Result<Output, PredictError> {
        let scale = self.values::<f64>("scale", scale)?;
        let (divisor, offset) = (scale[0], scale[1]);
        let shape = [depths.len()];
        let score = |depth: f64| {
            let relative = if divisor == 0.0 { 1.0 } else { depth / divisor };
            // Kept from becoming `exp2`, which rounds otherwise than the `pow` of NumPy.
            -black_box(2.0f64).powf(-relative)
        };
        let scores = depths.into_iter().map(score);
        Ok(Output::one(match method {
            Method::ScoreSamples => OutputArray::f64(&shape, scores.collect()),
            Method::DecisionFunction => {
                OutputArray::f64(&shape, scores.map(|score| score - offset).collect())
            }
            _ => OutputArray::i64(
                &shape,
                scores.map(|score| if score - offset < 0.0 { -1 } else { 1 }).collect(),
            ),
        }))
    }
}
