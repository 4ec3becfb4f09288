//! Prediction in a pool.
#![forbid(unsafe_code)]

use std::ops::Range;
use std::time::{Duration, Instant};

use ndarray::{Axis, Slice};

use crate::engine::{Input, Method, Output, OutputArray, PredictError, RunOptions};
use crate::format::ArrayInfo;
use crate::model::Model;
use crate::model::verify::VerifyOptions;
use crate::serve::gather::{Done, Gathered, gather};
use crate::serve::memory::Memory;
use crate::serve::worker::Answer;
use crate::serve::{PoolError, PoolEvent};

/// How a pool works.
#[derive(Clone, Copy, Debug)]
pub struct PoolOptions {
    /// Processes to fork. No more are forked than there are rows.
    pub workers: usize,
    /// What each row is asked.
    pub method: Method,
    /// Check every byte of the model before the first prediction, in a process of its own.
    pub verify: bool,
    /// Refuse NaN and infinity where scikit-learn does.
    pub check_finite: bool,
    /// How many workers may die over one share before the pool gives up.
    pub max_attempts: u32,
}

impl Default for PoolOptions {
    fn default() -> Self {
        PoolOptions { workers: 2, method: Method::Predict, verify: true, check_finite: true, max_attempts: 3 }
    }
}

/// What a pool computed and what it took.
#[derive(Clone, Debug)]
pub struct PoolRun {
    /// The predictions in the order of the rows, the same as one process gives.
    pub output: Output,
    /// One report per worker.
    pub workers: Vec<WorkerReport>,
    /// Memory of the parent, read together with that of the workers.
    pub parent: Option<Memory>,
}

/// What one worker did.
#[derive(Clone, Debug)]
pub struct WorkerReport {
    /// Its process; gone by now.
    pub pid: u32,
    /// The rows that it predicted.
    pub rows: Range<usize>,
    /// 1, or more if workers before it died over the same rows.
    pub attempts: u32,
    /// From its fork to its first prediction, made for its first row alone.
    pub first_prediction: Duration,
    /// From its fork to its last prediction.
    pub finished: Duration,
    /// Its memory, read after the last worker had finished and while all were alive.
    pub memory: Option<Memory>,
}

/// Predicts `x` with worker processes that share the pages of `model`.
///
/// Forks, so the process must run a single thread: call it from `main`, before anything starts threads. Each
/// worker predicts a run of consecutive rows with one thread. A worker that dies is replaced and its rows are
/// done again, so answers are complete or there is an error. Workers never outlive the caller.
///
/// `observer` is told of workers that start and die.
///
/// # Errors
///
/// [`PoolError::Predict`] if the model cannot answer such a question at all, found before the first fork;
/// [`PoolError::Damaged`] if the model does not verify; the others say what became of a worker.
pub fn predict<'x, D: AsRef<[u8]> + Sync>(
    model: &Model<D>,
    x: impl Into<Input<'x>>,
    options: &PoolOptions,
    observer: &mut dyn FnMut(PoolEvent),
) -> Result<PoolRun, PoolError> {
    let x = x.into();
    let shares = split(x.n_rows(), options.workers)?;
    let run_options = RunOptions { threads: Some(1), check_finite: options.check_finite };
    let run = |rows: &Range<usize>| model.run(options.method, slice(x, rows), &run_options);
    // One row here: it checks the plan and finds wrong questions, and tells the shape of every answer.
    let sample = match run(&(0..x.n_rows().min(1))) {
        // A bad value in the first row is found by the first worker again, with its place.
        Err(source) => return Err(PoolError::Predict { source }),
        Ok(output) => output,
    };
    if options.verify {
        verify(model)?;
    }
    let work = |rows: &Range<usize>| {
        run(&(rows.start..rows.start + 1)).map_err(|error| describe(error, rows))?;
        let first = Instant::now();
        let output = run(rows).map_err(|error| describe(error, rows))?;
        Ok(Answer {
            first,
            payload: output.arrays.iter().map(OutputArray::bytes).collect::<Vec<_>>().concat(),
        })
    };
    let Gathered { done, parent } = gather(&shares, &work, options.max_attempts.max(1), observer)?;
    let output = join(&sample, &shares, &done)?;
    let workers = shares.into_iter().zip(done).map(|(rows, done)| done.report(rows)).collect();
    Ok(PoolRun { output, workers, parent })
}

/// Consecutive runs of rows, as even as possible.
fn split(rows: usize, workers: usize) -> Result<Vec<Range<usize>>, PoolError> {
    let count = workers.min(rows.max(1));
    if count == 0 {
        return Err(PoolError::NoWorkers);
    }
    let (each, more) = (rows / count, rows % count);
    let start = |index: usize| index * each + index.min(more);
    Ok((0..count).map(|index| start(index)..start(index + 1)).collect())
}

fn slice<'a>(x: Input<'a>, rows: &Range<usize>) -> Input<'a> {
    let slice = Slice::from(rows.clone());
    match x {
        Input::F32(mut x) => {
            x.slice_axis_inplace(Axis(0), slice);
            Input::F32(x)
        }
        Input::F64(mut x) => {
            x.slice_axis_inplace(Axis(0), slice);
            Input::F64(x)
        }
    }
}

/// The error as text, with rows counted from the start of the input.
fn describe(mut error: PredictError, rows: &Range<usize>) -> String {
    if let PredictError::NotFinite { row, .. } = &mut error {
        *row += rows.start;
    }
    error.to_string()
}

/// Verifies in a child, since verification starts threads and forking must come before them.
fn verify<D: AsRef<[u8]> + Sync>(model: &Model<D>) -> Result<(), PoolError> {
    let work = |_: &Range<usize>| match model.verify(VerifyOptions::default(), &|_| ()) {
        Ok(_) => Ok(Answer { first: Instant::now(), payload: Vec::new() }),
        Err(error) => Err(error.to_string()),
    };
    match gather(std::slice::from_ref(&(0..1)), &work, 1, &mut |_| ()) {
        Ok(_) => Ok(()),
        Err(PoolError::Share { reason, .. }) => Err(PoolError::Damaged { reason }),
        Err(other) => Err(other),
    }
}

/// Puts the workers' bytes together: `sample` is the answer for one row.
fn join(sample: &Output, shares: &[Range<usize>], done: &[Done]) -> Result<Output, PoolError> {
    let rows: usize = shares.iter().map(ExactSizeIterator::len).sum();
    let mut columns: Vec<Vec<u8>> =
        sample.arrays.iter().map(|one| Vec::with_capacity(one.bytes().len() * rows)).collect();
    for (share, done) in shares.iter().zip(done) {
        let mut rest = done.payload.as_slice();
        for (one, column) in sample.arrays.iter().zip(&mut columns) {
            let len = one.bytes().len() * share.len();
            let Some((bytes, after)) = rest.split_at_checked(len) else {
                return Err(PoolError::Share {
                    rows: share.clone(),
                    reason: "the answer is too short".to_owned(),
                });
            };
            column.extend_from_slice(bytes);
            rest = after;
        }
    }
    let arrays = sample.arrays.iter().zip(columns).map(|(one, bytes)| {
        let ArrayInfo { dtype, mut shape, order } = one.info().clone();
        if let Some(first) = shape.first_mut() {
            *first = rows as u64;
        }
        OutputArray::from_bytes(ArrayInfo { dtype, shape, order }, &bytes)
    });
    Ok(Output { arrays: arrays.collect() })
}

impl Done {
    fn report(self, rows: Range<usize>) -> WorkerReport {
        WorkerReport {
            pid: self.pid,
            rows,
            attempts: self.attempts,
            first_prediction: self.first,
            finished: self.last,
            memory: self.memory,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_cover_all_rows_once_and_differ_by_at_most_one() {
        assert_eq!(vec![0..4, 4..7, 7..10], split(10, 3).unwrap());
        assert_eq!(vec![0..1, 1..2], split(2, 5).unwrap());
        assert!(matches!(split(5, 0), Err(PoolError::NoWorkers)));
    }
}
