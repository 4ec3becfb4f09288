//! Answers of scikit-learn's trees and forests.
#![forbid(unsafe_code)]

use crate::engine::input::Method;
use crate::engine::output::{Output, OutputArray};
use crate::engine::trees::Scores;
use crate::engine::{PredictError, Run, linear, rows};
use crate::format::dtype::Dtype;
use crate::model::plan::{Forest, ForestKind};

impl Run<'_> {
    /// Any method but `apply`.
    pub(super) fn forest(
        self,
        forest: &Forest,
        method: Method,
        scores: Scores,
        n: usize,
    ) -> Result<Output, PredictError> {
        let scores = scores.f64s();
        let (outputs, max_classes) = (forest.n_outputs as usize, forest.max_classes as usize);
        if method == Method::RawScores {
            return Ok(Output::one(OutputArray::f64(&[n, outputs * max_classes], scores)));
        }
        if forest.classes.is_empty() {
            let shape = if outputs == 1 { vec![n] } else { vec![n, outputs] };
            return Ok(Output::one(OutputArray::f64(&shape, scores)));
        }
        if forest.kind == ForestKind::AdaBoost {
            return self.adaboost(forest, method, scores, n);
        }
        let labels = forest.classes.iter().map(|&id| self.labels(id)).collect::<Result<Vec<_>, _>>()?;
        if method == Method::Predict {
            return Ok(predict_labels(&scores, n, max_classes, &labels));
        }
        let n_classes =
            labels.iter().map(|(dtype, bytes)| bytes.len() / dtype.itemsize() as usize).collect::<Vec<_>>();
        Ok(probabilities(scores, n, max_classes, &n_classes, method == Method::PredictLogProba))
    }
}

impl Run<'_> {
    /// Any method of `AdaBoostClassifier`, from its decisions for each class.
    fn adaboost(
        self,
        forest: &Forest,
        method: Method,
        mut decisions: Vec<f64>,
        n: usize,
    ) -> Result<Output, PredictError> {
        let (dtype, labels) = self.labels(forest.classes[0])?;
        let n_classes = forest.max_classes as usize;
        if n_classes == 2 {
            decisions = decisions.as_chunks::<2>().0.iter().map(|[first, second]| -first + second).collect();
        }
        let shape = if n_classes == 2 { vec![n] } else { vec![n, n_classes] };
        match method {
            Method::DecisionFunction => return Ok(Output::one(OutputArray::f64(&shape, decisions))),
            Method::Predict => {
                let pick = |row: &[f64]| match *row {
                    [one] => usize::from(one > 0.0),
                    _ => rows::argmax(row),
                };
                let picks = decisions.chunks_exact(decisions.len() / n).map(|row| (0, pick(row)));
                return Ok(Output::one(OutputArray::labels(&[n], dtype, picks, &[labels])));
            }
            _ => {}
        }
        let halves = |d: f64| [-d / 2.0, d / 2.0];
        let raw = match n_classes {
            2 => decisions.into_iter().flat_map(halves).collect(),
            _ => decisions.into_iter().map(|d| d / (n_classes - 1) as f64).collect(),
        };
        let mut p = linear::softmax(raw, n_classes);
        if method == Method::PredictLogProba {
            p.iter_mut().for_each(|p| *p = p.ln());
        }
        Ok(Output::one(OutputArray::f64(&[n, n_classes], p)))
    }
}

fn predict_labels(scores: &[f64], n: usize, max_classes: usize, labels: &[(Dtype, &[u8])]) -> Output {
    let outputs = labels.len();
    let picks = scores.chunks_exact(max_classes).enumerate();
    let n_classes = |output: usize| labels[output].1.len() / labels[output].0.itemsize() as usize;
    let pick = |(i, scores): (usize, &[f64])| (i % outputs, rows::argmax(&scores[..n_classes(i % outputs)]));
    let picks = picks.map(pick);
    let bytes: Vec<&[u8]> = labels.iter().map(|(_, bytes)| *bytes).collect();
    let shape = if outputs == 1 { vec![n] } else { vec![n, outputs] };
    Output::one(OutputArray::labels(&shape, labels[0].0.clone(), picks, &bytes))
}

/// One array per output, without the columns of classes that only other outputs have.
fn probabilities(
    mut scores: Vec<f64>,
    n: usize,
    max_classes: usize,
    n_classes: &[usize],
    log: bool,
) -> Output {
    if log {
        scores.iter_mut().for_each(|p| *p = p.ln());
    }
    if let [all] = *n_classes
        && all == max_classes
    {
        return Output::one(OutputArray::f64(&[n, all], scores));
    }
    let width = max_classes * n_classes.len();
    let output = |(output, &n_classes): (usize, &usize)| {
        let rows = scores.chunks_exact(width).map(|row| &row[output * max_classes..][..n_classes]);
        OutputArray::f64(&[n, n_classes], rows.flatten().copied().collect())
    };
    Output { arrays: n_classes.iter().enumerate().map(output).collect() }
}
