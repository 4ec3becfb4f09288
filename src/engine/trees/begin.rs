//! What the raw scores of boosted trees begin with.
#![forbid(unsafe_code)]

use ndarray::Array2;

use crate::engine::average::f64s;
use crate::engine::input::{Input, Method};
use crate::engine::{PredictError, Run};
use crate::format::ArrayId;
use crate::format::dtype::Element;
use crate::model::numerics::{clipped, logit, multinomial_logit};
use crate::model::plan::{BoostedLink, Head, PlanError, Trees};

impl Run<'_> {
    /// The scores of `n` rows before the first tree.
    pub(super) fn begun<S: Element>(self, start: ArrayId, n: usize) -> Result<Vec<S>, PredictError> {
        match self.begin {
            // Validation has seen that these sums are in `f64`.
            Some(rows) => Ok(bytemuck::try_cast_slice(rows).map_or_else(|_| Vec::new(), <[S]>::to_vec)),
            None => Ok(self.values::<S>("start", start)?.repeat(n)),
        }
    }

    /// What `init` predicts, seen through the link: scikit-learn's `_raw_predict_init`.
    pub(super) fn initial(self, trees: &Trees, init: u32, x: &Input<'_>) -> Result<Vec<f64>, PredictError> {
        let Head::Boosted(boosted) = &trees.head else { return Err(PlanError::Empty.into()) };
        let rounded: Array2<f32>;
        let x = match x {
            Input::F32(x) => Input::F32(x.view()),
            Input::F64(x) => {
                rounded = x.mapv(|value| value as f32);
                Input::F32(rounded.view())
            }
        };
        let classifies = !trees.classes().is_empty();
        let method = if classifies { Method::PredictProba } else { Method::Predict };
        let answer = self.part(init, method, x.view())?;
        let width = if classifies { boosted.columns.max(2) } else { 1 } as usize;
        let mut p = f64s(&answer).filter(|p| p.len() == x.n_rows() * width).ok_or(PlanError::Part {
            op: self.ops.len() - 1,
            part: init,
            problem: "answers in another shape than was asked for",
        })?;
        let second = |p: Vec<f64>| p.into_iter().skip(1).step_by(2).map(clipped);
        Ok(match boosted.link {
            BoostedLink::Logistic => second(p).map(logit).collect(),
            BoostedLink::HalfLogistic => second(p).map(|p| 0.5 * logit(p)).collect(),
            BoostedLink::Softmax => {
                p.iter_mut().for_each(|p| *p = clipped(*p));
                p.chunks_exact_mut(width).for_each(multinomial_logit);
                p
            }
            _ => p,
        })
    }
}
