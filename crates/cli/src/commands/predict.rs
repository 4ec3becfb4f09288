//! `onecopy predict`
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use onecopy::{Mapping, Method, Model, RunOptions};
use serde::Serialize;

use crate::commands::idle::wait_for_end_of_input;
use crate::csv_input::Header;
use crate::place::Place;
use crate::progress::Bar;
use crate::results::{self, OutputPath};
use crate::table::{InputPath, Table};
use crate::{out, paths};

/// Predict one answer per row of a table.
///
/// The table is a .npy file of two dimensions (float, integer or bool) or a .csv file: numbers separated by commas, an empty cell is a
/// missing value, and a first line of words names the columns. If the model knows the names of its features, named columns are
/// matched by name.
///
/// Without -o the answers go to standard output as CSV, one line per row. An archive is restored first, once for all processes.
#[derive(Args)]
#[command(after_help = "Examples:
  onecopy predict forest.onecopy x.npy
  onecopy predict forest.onecopy x.csv --method predict_proba -o proba.npy
  onecopy predict forest.onecopy x.npy | sort | uniq -c")]
pub(crate) struct Predict {
    #[command(flatten)]
    question: Question,
    /// Threads; as many as the machine has if not given. Answers do not depend on it.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    threads: Option<u32>,
    /// Print times as one line of JSON, then stay until standard input ends, so that memory can be measured.
    #[arg(long)]
    report: bool,
}

/// What is asked of which model; `predict` and `pool` share it.
#[derive(Args)]
pub(crate) struct Question {
    /// The onecopy file.
    model: PathBuf,
    /// The rows to predict: a .npy or .csv file.
    input: InputPath,
    /// Write the answers to this .npy, .npz or .csv file, replacing it when all are there.
    #[arg(short, long)]
    output: Option<OutputPath>,
    /// What to ask.
    #[arg(long, default_value = "predict")]
    method: MethodName,
    /// Whether the first line of a .csv file names the columns.
    #[arg(long, default_value = "auto")]
    header: Header,
    #[command(flatten)]
    place: Place,
}

/// scikit-learn's names.
#[derive(Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
enum MethodName {
    Predict,
    PredictProba,
    PredictLogProba,
    DecisionFunction,
    Apply,
    Transform,
}

impl Question {
    /// What to ask.
    pub(crate) fn method(&self) -> Method {
        match self.method {
            MethodName::Predict => Method::Predict,
            MethodName::PredictProba => Method::PredictProba,
            MethodName::PredictLogProba => Method::PredictLogProba,
            MethodName::DecisionFunction => Method::DecisionFunction,
            MethodName::Apply => Method::Apply,
            MethodName::Transform => Method::Transform,
        }
    }

    /// The onecopy file.
    pub(crate) fn model(&self) -> &Path {
        &self.model
    }

    /// Where answers go; `None` is standard output.
    pub(crate) fn output(&self) -> Option<&OutputPath> {
        self.output.as_ref()
    }

    /// Opens the model, checking paths first. The time is that of opening alone.
    pub(crate) fn open(&self) -> Result<(Model<Mapping>, Duration)> {
        paths::regular_file(&self.model)?;
        if let Some(output) = &self.output {
            paths::check_output(output.path(), &[&self.model, self.input.path()])?;
        }
        let bar = Bar::new(0);
        let start = Instant::now();
        let model = Model::open_hot(&self.model, &self.place.options()?, &|progress| bar.follow(progress))?;
        Ok((model, start.elapsed()))
    }

    /// Reads the table.
    pub(crate) fn table(&self, model: &Model<Mapping>) -> Result<Table> {
        let names = feature_names(model);
        self.input.read(self.header, names.as_deref())
    }
}

/// The names of the model's features, if it was trained with names.
fn feature_names(model: &Model<Mapping>) -> Option<Vec<String>> {
    let names = model.metadata().pointer("/model/feature_names_in")?.as_array()?;
    names.iter().map(|name| name.as_str().map(str::to_owned)).collect()
}

#[derive(Serialize)]
struct Report {
    pid: u32,
    rows: usize,
    /// From before the file was opened.
    open_s: f64,
    first_prediction_s: f64,
    all_predictions_s: f64,
}

impl Predict {
    pub(crate) fn run(self) -> Result<()> {
        let (model, open) = self.question.open()?;
        let table = self.question.table(&model)?;
        let threads = self.threads.map(|threads| threads as usize);
        let options = RunOptions { threads, ..RunOptions::default() };
        let ask = |rows| {
            model.run(self.question.method(), rows, &options).with_context(|| {
                format!(
                    "cannot predict from `{}` with `{}`",
                    self.question.input.path().display(),
                    self.question.model.display()
                )
            })
        };
        if self.report {
            let start = Instant::now();
            ask(table.head(1))?;
            let first = start.elapsed();
            results::write_if_asked(&ask(table.input())?, self.question.output())?;
            let report = Report {
                pid: std::process::id(),
                rows: table.rows(),
                open_s: open.as_secs_f64(),
                first_prediction_s: (open + first).as_secs_f64(),
                all_predictions_s: (open + start.elapsed()).as_secs_f64(),
            };
            out::print(&(serde_json::to_string(&report)? + "\n"))?;
            return wait_for_end_of_input();
        }
        results::write(&ask(table.input())?, self.question.output())
    }
}
