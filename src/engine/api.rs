//! Prediction from a model file.
#![forbid(unsafe_code)]

use crate::engine::input::{Input, Method, RunOptions};
use crate::engine::output::Output;
use crate::engine::{PredictError, methods, run, run_op};
use crate::model::Model;
use crate::model::plan::{Plan, PlanError};

impl<D: AsRef<[u8]> + Sync> Model<D> {
    /// Runs one of the estimator's methods on the rows of `x`.
    ///
    /// The first call checks the tree nodes, once; [`Model::checked_plan`] does it earlier.
    ///
    /// # Errors
    ///
    /// [`PredictError`] says what is wrong with the question or the model, and names the estimator.
    pub fn run<'x>(
        &self,
        method: Method,
        x: impl Into<Input<'x>>,
        options: &RunOptions,
    ) -> Result<Output, PredictError> {
        run(self.checked_plan()?, self, method, x.into(), options)
    }

    /// Runs a method of an ensemble within the saved object: `member` counts [`Plan::members`].
    ///
    /// # Errors
    ///
    /// As [`Model::run`]; [`PlanError::NoMember`] if there is no such member.
    pub fn run_member<'x>(
        &self,
        member: u32,
        method: Method,
        x: impl Into<Input<'x>>,
        options: &RunOptions,
    ) -> Result<Output, PredictError> {
        let plan = self.checked_plan()?;
        let found = plan.members().get(member as usize);
        let count = plan.members().len();
        let found = found.ok_or(PlanError::NoMember { member, count })?;
        run_op(plan.ops(), found.op, self, method, x.into(), options)
    }

    /// Columns that the input must have; `None` if the model is not covered natively.
    pub fn n_features(&self) -> Option<u32> {
        match self.plan() {
            Plan::Native { ops, .. } => ops.last().and_then(|op| op.n_features(ops)),
            Plan::Uncovered { .. } => None,
        }
    }

    /// The methods that this model has natively; none if it is not covered.
    pub fn methods(&self) -> Vec<Method> {
        methods(self.plan())
    }

    /// Labels of a classifier, values of a regressor.
    ///
    /// # Errors
    ///
    /// As [`Model::run`].
    pub fn predict<'x>(&self, x: impl Into<Input<'x>>) -> Result<Output, PredictError> {
        self.run(Method::Predict, x, &RunOptions::default())
    }

    /// The probability of each class; one array per output of a multi-output model.
    ///
    /// # Errors
    ///
    /// As [`Model::run`].
    pub fn predict_proba<'x>(&self, x: impl Into<Input<'x>>) -> Result<Output, PredictError> {
        self.run(Method::PredictProba, x, &RunOptions::default())
    }

    /// The logarithm of the probability of each class.
    ///
    /// # Errors
    ///
    /// As [`Model::run`].
    pub fn predict_log_proba<'x>(&self, x: impl Into<Input<'x>>) -> Result<Output, PredictError> {
        self.run(Method::PredictLogProba, x, &RunOptions::default())
    }

    /// Signed distances to the decision boundary.
    ///
    /// # Errors
    ///
    /// As [`Model::run`].
    pub fn decision_function<'x>(&self, x: impl Into<Input<'x>>) -> Result<Output, PredictError> {
        self.run(Method::DecisionFunction, x, &RunOptions::default())
    }

    /// The leaf that each tree ends in, by scikit-learn's node numbers.
    ///
    /// # Errors
    ///
    /// As [`Model::run`].
    pub fn apply<'x>(&self, x: impl Into<Input<'x>>) -> Result<Output, PredictError> {
        self.run(Method::Apply, x, &RunOptions::default())
    }

    /// Columns for a next step.
    ///
    /// # Errors
    ///
    /// As [`Model::run`].
    pub fn transform<'x>(&self, x: impl Into<Input<'x>>) -> Result<Output, PredictError> {
        self.run(Method::Transform, x, &RunOptions::default())
    }
}
