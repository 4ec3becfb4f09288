//! Worker processes that share one mapping.
//!
//! The parent opens a model, checks it and then forks: workers inherit the mapping, so
//! that the pages of the model exist once however many workers read them.
// Not `forbid`, which would also bind `fork.rs`; the crate denies unsafe code.

mod fork;
mod gather;
mod memory;
mod predict;
mod worker;

use std::io;
use std::ops::Range;

use crate::engine::PredictError;

pub use self::fork::ForkError;
pub use self::memory::Memory;
pub use self::predict::{PoolOptions, PoolRun, WorkerReport, predict};

/// Why a pool gave no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PoolError {
    /// A pool without workers.
    #[error("a pool of 0 workers cannot predict; ask for at least 1")]
    NoWorkers,
    /// The model cannot answer such a question.
    #[error("cannot predict")]
    Predict {
        /// Why.
        source: PredictError,
    },
    /// The model file is damaged.
    #[error("the model does not verify: {reason}")]
    Damaged {
        /// What is damaged.
        reason: String,
    },
    /// A worker could not be started.
    #[error("cannot start worker {worker}")]
    Fork {
        /// Its index.
        worker: usize,
        /// Why.
        source: ForkError,
    },
    /// The pipe between parent and workers failed.
    #[error("the pipe between the pool and its workers failed")]
    Pipe(#[source] io::Error),
    /// The workers that computed one share died, one after another.
    #[error(
        "worker {worker} died {attempts} times while predicting rows {}..{}, the last time {how}; \
         look for a memory limit or a damaged model file (`onecopy verify`)", rows.start, rows.end
    )]
    Died {
        /// Its index.
        worker: usize,
        /// The rows of its share.
        rows: Range<usize>,
        /// How often the share was tried.
        attempts: u32,
        /// How the last attempt ended.
        how: String,
    },
    /// A worker reported that its share cannot be predicted.
    #[error("cannot predict rows {}..{}: {reason}", rows.start, rows.end)]
    Share {
        /// The rows of its share; rows in `reason` count from its start.
        rows: Range<usize>,
        /// The worker's error.
        reason: String,
    },
}

/// What happens in a pool while it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PoolEvent {
    /// A worker was forked.
    Started {
        /// Its index.
        worker: usize,
        /// Its process.
        pid: u32,
        /// The rows it predicts.
        rows: Range<usize>,
        /// 1, or more if workers before it died over the same rows.
        attempt: u32,
    },
    /// A worker ended before it answered.
    Died {
        /// Its index.
        worker: usize,
        /// Its process.
        pid: u32,
        /// How it ended: `killed by SIGKILL`.
        how: String,
    },
}
