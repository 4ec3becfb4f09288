//! `onecopy bench`
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use ndarray::Array2;
use onecopy::{ConvertOptions, Mapping, Method, Model, Role, RunOptions, VerifyOptions};
use serde::{Deserialize, Serialize};

use crate::csv_input::Header;
use crate::progress::Bar;
use crate::table::{InputPath, Table};
use crate::{npy, out, paths, text};

/// How many times more often short things are done.
const SHORT: u32 = 40;

/// The peer's side of the measurement.
const PEER: &str = include_str!("bench.py");

/// Measure a model against joblib and scikit-learn on this machine.
///
/// Converts the model to a temporary file and measures opening, verifying and predicting. If a Python with joblib and
/// scikit-learn is found, it loads and predicts the same in the same run, and the ratios are printed, also where onecopy is the slower one.
/// That Python unpickles the model, which runs the code in it: name only models that you trust, or give --no-python.
#[derive(Args)]
#[command(after_help = "Examples:
  onecopy bench forest.joblib
  onecopy bench forest.joblib --input x.npy --python ~/venv/bin/python --json")]
pub(crate) struct Bench {
    /// A model saved with joblib or pickle.
    model: PathBuf,
    /// Rows to predict; random numbers if not given.
    #[arg(long)]
    input: Option<InputPath>,
    /// Number of random rows.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=10_000_000), conflicts_with = "input")]
    rows: u32,
    /// The Python of the peers [default: .venv/bin/python, else python3]
    #[arg(long)]
    python: Option<PathBuf>,
    /// Measure onecopy alone; nothing of the model is run.
    #[arg(long, conflicts_with = "python")]
    no_python: bool,
    /// How often each thing is done; the median counts.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    repeats: u32,
    /// Report as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    model: PathBuf,
    rows: usize,
    method: Option<&'static str>,
    source_bytes: u64,
    onecopy_bytes: u64,
    predict_bytes: u64,
    convert_s: f64,
    verify_gb_per_s: f64,
    open_s: f64,
    first_prediction_s: Option<f64>,
    one_row_s: Option<f64>,
    all_rows_s: Option<f64>,
    peer: Option<Peer>,
    identical: Option<bool>,
}

#[derive(Serialize, Deserialize)]
struct Peer {
    python: String,
    joblib: String,
    sklearn: String,
    load_s: f64,
    mmap_s: f64,
    one_row_s: Option<f64>,
    all_rows_s: Option<f64>,
}

impl Bench {
    pub(crate) fn run(self) -> Result<()> {
        let source_bytes = paths::regular_file(&self.model)?.len();
        let folder = tempfile::tempdir().context("cannot create a temporary directory")?;
        let converted = folder.path().join("model.onecopy");
        let bar = Bar::new(source_bytes);
        let start = Instant::now();
        onecopy::convert(&self.model, &converted, &ConvertOptions::default(), &|progress| {
            bar.follow(progress);
        })?;
        let convert = start.elapsed();
        drop(bar);
        let mut report = self.measure(&converted, source_bytes, convert)?;
        if let Some(python) = self.python()? {
            self.ask_peer(&python, folder.path(), &converted, &mut report)?;
        }
        if self.json { out::print_json(&report) } else { out::print(&report.text()) }
    }

    fn measure(&self, converted: &Path, source_bytes: u64, convert: Duration) -> Result<Report> {
        let open = self.median(|| Model::open(converted).map(drop))?;
        let model = Model::open(converted)?;
        let verify = self.median(|| model.verify(VerifyOptions::default(), &|_| ()).map(drop))?;
        let mut report = Report {
            model: self.model.clone(),
            rows: 0,
            method: None,
            source_bytes,
            onecopy_bytes: model.len_bytes(),
            predict_bytes: model
                .arrays()
                .filter(|array| array.role() == Role::Predict)
                .map(|array| array.stored_len())
                .sum(),
            convert_s: convert.as_secs_f64(),
            verify_gb_per_s: model.len_bytes() as f64 / 1e9 / verify.as_secs_f64().max(1e-9),
            open_s: open.as_secs_f64(),
            first_prediction_s: None,
            one_row_s: None,
            all_rows_s: None,
            peer: None,
            identical: None,
        };
        drop(model);
        self.measure_predictions(converted, &mut report)?;
        Ok(report)
    }

    fn measure_predictions(&self, converted: &Path, report: &mut Report) -> Result<()> {
        let start = Instant::now();
        let model = Model::open(converted)?;
        let open = start.elapsed();
        let Some(method) = favourite(&model) else { return Ok(()) };
        let table = self.table(&model)?;
        let options = RunOptions { threads: Some(1), ..RunOptions::default() };
        let start = Instant::now();
        model.run(method, table.head(1), &options)?;
        report.first_prediction_s = Some((open + start.elapsed()).as_secs_f64());
        report.one_row_s = Some(
            self.median_of(SHORT * self.repeats, || model.run(method, table.head(1), &options).map(drop))?
                .as_secs_f64(),
        );
        report.all_rows_s =
            Some(self.median(|| model.run(method, table.input(), &options).map(drop))?.as_secs_f64());
        report.rows = table.rows();
        report.method = Some(method.name());
        Ok(())
    }

    fn table(&self, model: &Model<Mapping>) -> Result<Table> {
        match &self.input {
            Some(input) => input.read(Header::Auto, None),
            None => Ok(Table::F32(random(self.rows as usize, model.n_features().unwrap_or(1) as usize))),
        }
    }

    /// The peer's Python: the one given, or the first found that has what is needed.
    fn python(&self) -> Result<Option<PathBuf>> {
        let works = |python: &Path| {
            let mut command = process::Command::new(python);
            command.args(["-c", "import joblib, sklearn, numpy"]).stdin(process::Stdio::null());
            command.output().is_ok_and(|output| output.status.success())
        };
        if let Some(python) = &self.python {
            ensure!(
                works(python),
                "`{}` cannot import joblib, sklearn and numpy; install them or give another --python",
                python.display()
            );
            return Ok(Some(python.clone()));
        }
        let candidates = if self.no_python { &[][..] } else { &[".venv/bin/python", "python3"] };
        Ok(candidates.iter().map(PathBuf::from).find(|python| works(python)))
    }

    fn ask_peer(&self, python: &Path, folder: &Path, converted: &Path, report: &mut Report) -> Result<()> {
        let model = Model::open(converted)?;
        let (rows, answers) = (folder.join("x.npy"), folder.join("answers.npy"));
        let table = self.table(&model)?;
        onecopy::publish(&rows, |file| npy::write_table(&table, file))
            .context("cannot write the rows for the peer")?;
        let method = report.method.unwrap_or("predict");
        let output = process::Command::new(python)
            .args(["-c", PEER])
            .args([self.model.as_os_str(), rows.as_os_str(), method.as_ref()])
            .arg(self.repeats.to_string())
            .arg(&answers)
            .stdin(process::Stdio::null())
            .output()
            .with_context(|| format!("cannot run `{}`", python.display()))?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "`{}` could not measure joblib: {}",
            python.display(),
            errors.lines().last().unwrap_or("it said nothing")
        );
        report.peer = Some(serde_json::from_slice(&output.stdout).context("cannot read the peer's report")?);
        if let Some(method) = favourite(&model).filter(|_| report.method.is_some()) {
            let ours = model.run(method, table.input(), &RunOptions::default())?;
            let theirs = std::fs::read(&answers).ok();
            report.identical =
                ours.arrays.first().and_then(|array| Some(npy::to_bytes(array).ok()? == theirs?));
        }
        Ok(())
    }

    fn median<E>(&self, run: impl Fn() -> Result<(), E>) -> Result<Duration, E> {
        self.median_of(self.repeats, run)
    }

    fn median_of<E>(&self, repeats: u32, run: impl Fn() -> Result<(), E>) -> Result<Duration, E> {
        let mut times = Vec::new();
        for _ in 0..repeats {
            let start = Instant::now();
            run()?;
            times.push(start.elapsed());
        }
        times.sort();
        Ok(times[times.len() / 2])
    }
}

/// What is measured: probabilities if there are any, else the first method.
fn favourite(model: &Model<Mapping>) -> Option<Method> {
    let methods = model.methods();
    methods.iter().copied().find(|&method| method == Method::PredictProba).or(methods.first().copied())
}

/// The same random rows every time, from -3 to 3.
fn random(rows: usize, columns: usize) -> Array2<f32> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    Array2::from_shape_simple_fn((rows, columns), || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32 * 6.0 - 3.0
    })
}

impl Report {
    fn text(&self) -> String {
        let header = ["", "onecopy", "joblib", "ratio"].map(str::to_owned).to_vec();
        let mut rows = vec![header];
        let mut slower = Vec::new();
        let peer = self.peer.as_ref();
        let mut row = |what: &str, ours: Option<f64>, theirs: Option<f64>| {
            let shown = |seconds: Option<f64>| {
                seconds.map_or("-".to_owned(), |s| text::time(Duration::from_secs_f64(s)))
            };
            let ratio = ours.zip(theirs).map(|(ours, theirs)| theirs / ours.max(1e-9));
            if ratio.is_some_and(|ratio| ratio < 1.0) {
                slower.push(what.to_owned());
            }
            let ratio = ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.1}"));
            rows.push(vec![what.to_owned(), shown(ours), shown(theirs), ratio]);
        };
        row("open, against load", Some(self.open_s), peer.map(|peer| peer.load_s));
        row("open, against mmap_mode=\"r\"", Some(self.open_s), peer.map(|peer| peer.mmap_s));
        row(
            "open and predict one row",
            self.first_prediction_s,
            peer.and_then(|peer| Some(peer.load_s + peer.one_row_s?)),
        );
        row("one row", self.one_row_s, peer.and_then(|peer| peer.one_row_s));
        row(
            &format!("{} rows, one thread", self.rows),
            self.all_rows_s,
            peer.and_then(|peer| peer.all_rows_s),
        );
        let mut text = text::columns(&rows);
        text += &format!(
            "\nfile: {} as saved, {} as onecopy, of which prediction reads {}\nconverted in {}, verifies at {:.1} GB/s\n",
            text::bytes(self.source_bytes),
            text::bytes(self.onecopy_bytes),
            text::bytes(self.predict_bytes),
            text::time(Duration::from_secs_f64(self.convert_s)),
            self.verify_gb_per_s
        );
        if self.onecopy_bytes > self.source_bytes {
            slower.push("the size of the file".to_owned());
        }
        if let Some(peer) = peer {
            text += &format!(
                "peer: joblib {}, scikit-learn {}, Python {}\n",
                peer.joblib, peer.sklearn, peer.python
            );
        } else {
            text += "no Python with joblib and scikit-learn was asked: see --python\n";
        }
        if self.method.is_none() {
            text += "the engine does not cover this model, so predictions were not measured\n";
        }
        if let Some(identical) = self.identical {
            text += if identical {
                "answers are identical in every bit\n"
            } else {
                "answers are NOT identical in every bit\n"
            };
        }
        if !slower.is_empty() {
            text += &format!("the peer wins at: {}\n", slower.join(", "));
        }
        text
    }
}
