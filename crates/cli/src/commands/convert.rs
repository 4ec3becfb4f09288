//! `onecopy convert`
#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use onecopy::{ConvertOptions, ConvertReport, Limits, Plan};
use serde::Serialize;

use crate::progress::Bar;
use crate::{out, paths, text};

/// Convert a model saved with joblib or pickle.
///
/// Reads pickle protocols 0 to 5, joblib files plain or compressed (zlib, gzip, bz2, lzma, xz, lz4), .npy and LightGBM's text files. Nothing that the file names is
/// imported or called, so a hostile file can do no more than be refused. Forests, linear models, scalers and pipelines of them can then be
/// predicted from directly; anything else is stored, and the report says why it is not covered.
#[derive(Args)]
#[command(after_help = "Examples:
  onecopy convert forest.joblib                       write forest.onecopy
  onecopy convert forest.pkl -o /srv/models/forest.onecopy
  onecopy convert forest.joblib --metadata card.json  keep a model card in the file")]
pub(crate) struct Convert {
    /// The model: a .joblib, .pkl, .npy or LightGBM .txt file, compressed or not. Its name does not matter, its content does.
    src: PathBuf,
    /// Where the onecopy file goes, replacing what is there [default: NAME.onecopy, which must not exist]
    #[arg(short, long)]
    output: Option<PathBuf>,
    /// JSON to keep in the file; `inspect` shows it under `user`.
    #[arg(long, value_name = "FILE.json")]
    metadata: Option<PathBuf>,
    /// How many bytes the file may decompress to, as 4GiB or 500MB [default: 256 times its length and 1 GiB]
    #[arg(long, value_name = "SIZE", value_parser = text::size)]
    max_decoded: Option<u64>,
    /// Report as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    output: &'a Path,
    model: &'a str,
    container: &'a str,
    covered: bool,
    why_not: Option<&'a str>,
    source_bytes: u64,
    bytes: u64,
    arrays: u32,
    digest: String,
}

impl Convert {
    pub(crate) fn run(self) -> Result<()> {
        let source_bytes = paths::regular_file(&self.src)?.len();
        let output = paths::destination(self.output, paths::converted_name(&self.src), &self.src)?;
        let mut limits = Limits::for_source(source_bytes);
        limits.decoded_bytes = self.max_decoded.unwrap_or(limits.decoded_bytes);
        let metadata = self.metadata.as_deref().map(read_metadata).transpose()?;
        let options = ConvertOptions { limits: Some(limits), metadata };
        let bar = Bar::new(source_bytes);
        let report = onecopy::convert(&self.src, &output, &options, &|progress| bar.follow(progress))?;
        drop(bar);
        if self.json {
            out::print_json(&Report::new(&report, &output))
        } else {
            out::print(&text_of(&report, &output))
        }
    }
}

fn read_metadata(path: &Path) -> Result<serde_json::Value> {
    paths::regular_file(path)?;
    let read = fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    serde_json::from_slice(&read)
        .with_context(|| format!("cannot use `{}` as metadata, expected JSON", path.display()))
}

fn why_not(plan: &Plan) -> Option<(&str, &str)> {
    match plan {
        Plan::Uncovered { what, why, .. } => Some((what, why)),
        Plan::Native { .. } => None,
    }
}

fn text_of(report: &ConvertReport, output: &Path) -> String {
    let covered = match why_not(&report.plan) {
        None => "predicted from natively".to_owned(),
        Some((what, why)) => format!(
            "stored, but not predicted from natively: {}: {}",
            text::printable(what),
            text::printable(why)
        ),
    };
    format!(
        "{}: {} from {} of {}\n{}: {covered}\n",
        output.display(),
        text::bytes(report.bytes),
        text::bytes(report.source_bytes),
        report.container,
        text::printable(&report.model)
    )
}

impl<'a> Report<'a> {
    fn new(report: &'a ConvertReport, output: &'a Path) -> Self {
        let why_not = why_not(&report.plan).map(|(_, why)| why);
        Report {
            output,
            model: &report.model,
            container: &report.container,
            covered: why_not.is_none(),
            why_not,
            source_bytes: report.source_bytes,
            bytes: report.bytes,
            arrays: report.arrays,
            digest: report.digest.to_string(),
        }
    }
}
