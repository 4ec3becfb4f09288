//! What is predicted from, and what may be asked.
#![forbid(unsafe_code)]

use std::fmt;

use ndarray::{Array2, ArrayView2};

/// Rows to predict from: one row per sample, any strides.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// `float32`
    F32(ArrayView2<'a, f32>),
    /// `float64`
    F64(ArrayView2<'a, f64>),
}

impl Input<'_> {
    /// Number of samples.
    pub fn n_rows(&self) -> usize {
        match self {
            Input::F32(x) => x.nrows(),
            Input::F64(x) => x.nrows(),
        }
    }

    /// The same rows, borrowed for less long.
    pub fn view(&self) -> Input<'_> {
        match self {
            Input::F32(x) => Input::F32(x.view()),
            Input::F64(x) => Input::F64(x.view()),
        }
    }

    /// Number of features.
    pub fn n_columns(&self) -> usize {
        match self {
            Input::F32(x) => x.ncols(),
            Input::F64(x) => x.ncols(),
        }
    }
}

impl<'a> From<ArrayView2<'a, f32>> for Input<'a> {
    fn from(x: ArrayView2<'a, f32>) -> Self {
        Input::F32(x)
    }
}

impl<'a> From<ArrayView2<'a, f64>> for Input<'a> {
    fn from(x: ArrayView2<'a, f64>) -> Self {
        Input::F64(x)
    }
}

impl<'a> From<&'a Array2<f32>> for Input<'a> {
    fn from(x: &'a Array2<f32>) -> Self {
        Input::F32(x.view())
    }
}

impl<'a> From<&'a Array2<f64>> for Input<'a> {
    fn from(x: &'a Array2<f64>) -> Self {
        Input::F64(x.view())
    }
}

/// What to compute; the names are scikit-learn's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// Labels of a classifier, values of a regressor.
    Predict,
    /// Probability of each class.
    PredictProba,
    /// Natural logarithm of the probabilities.
    PredictLogProba,
    /// Signed distance to the decision boundary.
    DecisionFunction,
    /// How ordinary a row is: the lower, the more abnormal.
    ScoreSamples,
    /// The leaf that each tree ends in, by scikit-learn's node numbers.
    Apply,
    /// Columns for a next step.
    Transform,
    /// What the trees of an ensemble add up to, before links and labels: for members of a plan.
    RawScores,
}

impl Method {
    /// All methods of estimators.
    pub const ALL: [Method; 7] = [
        Method::Predict,
        Method::PredictProba,
        Method::PredictLogProba,
        Method::DecisionFunction,
        Method::ScoreSamples,
        Method::Apply,
        Method::Transform,
    ];

    /// scikit-learn's name.
    pub fn name(self) -> &'static str {
        match self {
            Method::Predict => "predict",
            Method::PredictProba => "predict_proba",
            Method::PredictLogProba => "predict_log_proba",
            Method::DecisionFunction => "decision_function",
            Method::ScoreSamples => "score_samples",
            Method::Apply => "apply",
            Method::Transform => "transform",
            Method::RawScores => "raw_scores",
        }
    }

    /// The method of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().chain([Method::RawScores]).find(|method| method.name() == name)
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How to run.
#[derive(Clone, Copy, Debug)]
pub struct RunOptions {
    /// Threads for one call; `None`: as many as the machine has. Little work runs on the calling thread either way,
    /// and results do not depend on it.
    pub threads: Option<usize>,
    /// Refuse NaN and infinity where scikit-learn does. Without it they are computed with.
    pub check_finite: bool,
}

impl Default for RunOptions {
    fn default() -> Self {
        RunOptions { threads: None, check_finite: true }
    }
}
