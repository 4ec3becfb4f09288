//! `VotingClassifier` and `VotingRegressor`.
#![forbid(unsafe_code)]

use crate::engine::average::{Answers, average};
use crate::engine::input::{Input, Method};
use crate::engine::output::{Output, OutputArray};
use crate::engine::{PredictError, Run, rows};
use crate::format::ArrayId;
use crate::model::plan::{PlanError, Voting, VotingKind};

impl<'a> Run<'a> {
    /// Any method of voting members.
    pub(super) fn voting(
        self,
        voting: &Voting,
        method: Method,
        x: Input<'_>,
    ) -> Result<Output, PredictError> {
        let asked = match voting.kind {
            VotingKind::Soft { .. } => Method::PredictProba,
            VotingKind::Hard { .. } | VotingKind::Mean => Method::Predict,
        };
        let n = x.n_rows();
        let ask = |&member: &u32| self.part(member, asked, x.view());
        let arrays = voting.members.iter().map(ask).collect::<Result<Vec<_>, _>>()?;
        let len = arrays.first().map_or(0, OutputArray::len);
        if n == 0 || arrays.iter().any(|array| array.len() != len) || !len.is_multiple_of(n) {
            let problem = "answers with another number of values than the first";
            return Err(PlanError::Part { op: self.ops.len() - 1, part: voting.members[0], problem }.into());
        }
        let answers = Answers::of(self, &arrays)?;
        let columns = len / n;
        let weights = voting.weights.map(|id| self.values::<f64>("weights", id)).transpose()?;
        match voting.kind {
            _ if method == Method::Transform => {
                let apart = matches!(voting.kind, VotingKind::Soft { flat: false, .. });
                Ok(if apart {
                    matrices(answers, n, columns)
                } else {
                    Output::one(side_by_side(answers, n, columns))
                })
            }
            VotingKind::Hard { classes } => self.votes(classes, weights, answers, n),
            VotingKind::Soft { classes, .. } => {
                let means = mean(answers, weights, &[n, columns]);
                if method == Method::PredictProba {
                    return Ok(Output::one(means));
                }
                let picks = match means.values::<f32>() {
                    Some(means) => largest(means, columns),
                    None => largest(means.values::<f64>().unwrap_or_default(), columns),
                };
                self.picked(classes, &picks)
            }
            VotingKind::Mean => Ok(Output::one(mean(answers, weights, &[n]))),
        }
    }

    /// The class that weighs most in each row: `numpy.argmax` of `numpy.bincount`.
    fn votes(
        self,
        classes: ArrayId,
        weights: Option<&[f64]>,
        answers: Answers,
        n: usize,
    ) -> Result<Output, PredictError> {
        let Answers::I64(answers) = answers else {
            let problem = "votes with labels that are no integers";
            return Err(PlanError::Part { op: self.ops.len() - 1, part: 0, problem }.into());
        };
        let mut counts: Vec<f64> = Vec::new();
        let mut vote = |row: usize| {
            counts.clear();
            for (member, labels) in answers.iter().enumerate() {
                let label = labels[row] as usize;
                if counts.len() <= label {
                    counts.resize(label + 1, 0.0);
                }
                counts[label] += weights.map_or(1.0, |weights| weights[member]);
            }
            rows::argmax(&counts)
        };
        let picks: Vec<usize> = (0..n).map(&mut vote).collect();
        self.picked(classes, &picks)
    }

    /// The labels at these positions, one for each row.
    pub(super) fn picked(self, classes: ArrayId, picks: &[usize]) -> Result<Output, PredictError> {
        let (dtype, labels) = self.labels(classes)?;
        let last = (labels.len() / (dtype.itemsize() as usize).max(1)).saturating_sub(1);
        let picks_in = picks.iter().map(|&pick| (0, pick.min(last)));
        Ok(Output::one(OutputArray::labels(&[picks.len()], dtype, picks_in, &[labels])))
    }
}

fn largest<T: rows::Number>(values: &[T], columns: usize) -> Vec<usize> {
    values.chunks_exact(columns.max(1)).map(rows::argmax).collect()
}

fn mean(answers: Answers, weights: Option<&[f64]>, shape: &[usize]) -> OutputArray {
    let len = shape.iter().product();
    match answers {
        Answers::F32(members) if weights.is_none() => {
            OutputArray::f32(shape, average(&members, None, len, members.len() as f32))
        }
        other => {
            let members = other.f64s();
            OutputArray::f64(shape, average(&members, weights, len, members.len() as f64))
        }
    }
}

/// What `transform` gives: the answers row by row.
fn side_by_side(answers: Answers, n: usize, columns: usize) -> OutputArray {
    let shape = |len: usize| [n, len / n];
    match answers {
        Answers::F32(members) => {
            let values = by_row(&members, n, columns);
            OutputArray::f32(&shape(values.len()), values)
        }
        Answers::I64(members) => {
            let values = by_row(&members, n, columns);
            OutputArray::i64(&shape(values.len()), values)
        }
        Answers::F64(members) => {
            let values = by_row(&members, n, columns);
            OutputArray::f64(&shape(values.len()), values)
        }
    }
}

fn by_row<T: Copy>(members: &[Vec<T>], n: usize, columns: usize) -> Vec<T> {
    let mut values = Vec::with_capacity(n * members.len() * columns);
    for row in 0..n {
        for member in members {
            values.extend_from_slice(&member[row * columns..][..columns]);
        }
    }
    values
}

/// What `transform` gives if it is not flat: an array for each member.
fn matrices(answers: Answers, n: usize, columns: usize) -> Output {
    let shape = [n, columns];
    let arrays = match answers {
        Answers::F32(members) => members.into_iter().map(|one| OutputArray::f32(&shape, one)).collect(),
        other => other.f64s().into_iter().map(|one| OutputArray::f64(&shape, one)).collect(),
    };
    Output { arrays }
}
