//! `onecopy pool`
#![forbid(unsafe_code)]

use std::ops::Range;

use anyhow::{Context, Result};
use clap::Args;
use onecopy::serve::{self, Memory, PoolEvent, PoolOptions, PoolRun};
use onecopy::{Mapping, Model, Role};
use serde::Serialize;

use crate::commands::predict::Question;
use crate::{out, results, text};

/// Predict with several processes that share one copy of the model.
///
/// The parent maps and verifies the model and forks the workers; each predicts a run of rows from the same mapping, and the answers
/// are put together in the order of the rows. A worker that dies is replaced. The report shows what each worker really holds:
/// PSS counts a page shared by n processes as 1/n in each, so the sum over all processes is what the machine spends.
#[derive(Args)]
#[command(after_help = "Examples:
  onecopy pool forest.onecopy x.npy --workers 4
  onecopy pool forest.onecopy x.npy --workers 4 -o y.npy --method predict_proba
  onecopy pool forest.onecopy x.csv --workers 8 --json")]
pub(crate) struct Pool {
    #[command(flatten)]
    question: Question,
    /// Processes to fork.
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    workers: u32,
    /// How many workers may die over the same rows before the pool gives up.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    attempts: u32,
    /// Do not check the model's data first.
    #[arg(long)]
    no_verify: bool,
    /// Report as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    rows: usize,
    workers: Vec<Worker>,
    parent: Option<Memory>,
    /// PSS of all workers and the parent.
    total_pss: u64,
    /// Bytes of the arrays that prediction reads.
    one_copy: u64,
    total_over_one_copy: f64,
    restarts: u32,
}

#[derive(Serialize)]
struct Worker {
    pid: u32,
    rows: [usize; 2],
    attempts: u32,
    first_prediction_s: f64,
    finished_s: f64,
    #[serde(flatten)]
    memory: Option<Memory>,
}

impl Pool {
    pub(crate) fn run(self) -> Result<()> {
        let (model, _) = self.question.open()?;
        let table = self.question.table(&model)?;
        let options = PoolOptions {
            workers: self.workers as usize,
            method: self.question.method(),
            verify: !self.no_verify,
            max_attempts: self.attempts,
            ..PoolOptions::default()
        };
        let run = serve::predict(&model, table.input(), &options, &mut announce)
            .with_context(|| format!("cannot predict with `{}`", self.question.model().display()))?;
        results::write_if_asked(&run.output, self.question.output())?;
        let report = Report::new(&run, &model, table.rows());
        if self.json { out::print_json(&report) } else { out::print(&report.table()) }
    }
}

fn announce(event: PoolEvent) {
    if let PoolEvent::Died { worker, pid, how } = event {
        out::note(&format!("worker {worker} (pid {pid}) died: {how}; its rows are done again"));
    }
}

impl Report {
    fn new(run: &PoolRun, model: &Model<Mapping>, rows: usize) -> Self {
        let used = model.arrays().filter(|array| array.role() == Role::Predict);
        let one_copy: u64 = used.map(|array| array.stored_len()).sum();
        let workers: Vec<Worker> = run.workers.iter().map(Worker::new).collect();
        let members = workers.iter().map(|worker| worker.memory).chain([run.parent]);
        let total_pss = members.flatten().map(|memory| memory.pss).sum();
        Report {
            rows,
            parent: run.parent,
            total_pss,
            one_copy,
            total_over_one_copy: total_pss as f64 / one_copy.max(1) as f64,
            restarts: workers.iter().map(|worker| worker.attempts - 1).sum(),
            workers,
        }
    }

    fn table(&self) -> String {
        let header = ["worker", "pid", "rows", "first prediction", "done", "PSS", "private dirty"];
        let mut rows = vec![header.map(str::to_owned).to_vec()];
        for (index, worker) in self.workers.iter().enumerate() {
            rows.push(worker.row(index));
        }
        let parent = self.parent.unwrap_or_default();
        let blank = String::new;
        let (pss, dirty) = (text::bytes(parent.pss), text::bytes(parent.private_dirty));
        rows.push(vec!["parent".to_owned(), blank(), blank(), blank(), blank(), pss, dirty]);
        format!(
            "{}\nall processes together hold {}; one copy of what prediction reads is {}\n",
            text::columns(&rows),
            text::bytes(self.total_pss),
            text::bytes(self.one_copy)
        )
    }
}

impl Worker {
    fn new(report: &serve::WorkerReport) -> Self {
        let Range { start, end } = report.rows;
        Worker {
            pid: report.pid,
            rows: [start, end],
            attempts: report.attempts,
            first_prediction_s: report.first_prediction.as_secs_f64(),
            finished_s: report.finished.as_secs_f64(),
            memory: report.memory,
        }
    }

    fn row(&self, index: usize) -> Vec<String> {
        let seconds = |s| text::time(std::time::Duration::from_secs_f64(s));
        let memory = self.memory.unwrap_or_default();
        vec![
            index.to_string(),
            self.pid.to_string(),
            format!("{}..{}", self.rows[0], self.rows[1]),
            seconds(self.first_prediction_s),
            seconds(self.finished_s),
            text::bytes(memory.pss),
            text::bytes(memory.private_dirty),
        ]
    }
}
