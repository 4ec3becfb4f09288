//! Steps one after another.
#![forbid(unsafe_code)]

use crate::engine::input::{Input, Method};
use crate::engine::output::Output;
use crate::engine::preprocess::Matrix;
use crate::engine::{PredictError, Run};
use crate::model::plan::PlanError;

impl Run<'_> {
    /// Runs all steps but the last on `x`, then `method` of the last.
    pub(super) fn pipeline(
        self,
        steps: &[u32],
        method: Method,
        x: Input<'_>,
    ) -> Result<Output, PredictError> {
        let Some((last, transforms)) = steps.split_last() else { return Err(PlanError::Empty.into()) };
        let mut held: Option<Matrix> = None;
        for &step in transforms {
            let input = held.as_ref().map_or_else(|| x.view(), Matrix::input);
            held = Some(self.transform(&self.ops[step as usize], input)?);
        }
        let input = held.as_ref().map_or_else(|| x.view(), Matrix::input);
        self.model(&self.ops[*last as usize], method, input)
    }
}
