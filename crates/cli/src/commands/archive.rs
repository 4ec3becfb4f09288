//! `onecopy archive`
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use onecopy::{ArchiveOptions, Level, RewriteReport};
use serde::Serialize;

use crate::progress::Bar;
use crate::{out, paths, text};

/// Compress a onecopy file for storage.
///
/// The archive keeps the identity (digest) of the content; `onecopy restore` gives every byte of the file back. An archive can be used
/// as it is: it is then restored into a cache, once for all processes (`onecopy cache --help`).
#[derive(Args)]
#[command(after_help = "Examples:
  onecopy archive forest.onecopy                  write forest.cold.onecopy
  onecopy archive forest.onecopy --level best     smaller and slower
  onecopy restore forest.cold.onecopy -o back.onecopy")]
pub(crate) struct Archive {
    /// The onecopy file.
    src: PathBuf,
    /// Where the archive goes, replacing what is there [default: NAME.cold.onecopy, which must not exist]
    #[arg(short, long)]
    output: Option<PathBuf>,
    /// How much work a smaller file is worth. Files of all levels are restored about as fast.
    #[arg(long, default_value_t = Level::default(), value_parser = levels())]
    level: Level,
    /// Report as JSON.
    #[arg(long)]
    json: bool,
}

fn levels() -> impl TypedValueParser<Value = Level> {
    PossibleValuesParser::new(Level::ALL.map(Level::name)).try_map(|word| word.parse::<Level>())
}

impl Archive {
    pub(crate) fn run(self) -> Result<()> {
        let source_bytes = paths::regular_file(&self.src)?.len();
        let output = paths::destination(self.output, paths::archived_name(&self.src), &self.src)?;
        let bar = Bar::new(source_bytes);
        let options = ArchiveOptions { level: self.level };
        let report = onecopy::archive(&self.src, &output, &options, &|progress| bar.follow(progress))?;
        drop(bar);
        print_rewrite(&report, &output, self.json)
    }
}

#[derive(Serialize)]
struct Report<'a> {
    output: &'a Path,
    source_bytes: u64,
    bytes: u64,
    digest: String,
}

/// Tells what `archive` or `restore` wrote.
pub(crate) fn print_rewrite(report: &RewriteReport, output: &Path, json: bool) -> Result<()> {
    let (source_bytes, bytes) = (report.source_bytes, report.bytes);
    if json {
        return out::print_json(&Report { output, source_bytes, bytes, digest: report.digest.to_string() });
    }
    out::print(&format!("{}: {} from {}\n", output.display(), text::bytes(bytes), text::bytes(source_bytes)))
}
