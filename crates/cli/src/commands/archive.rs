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
///
/// With --base, versions of a model are kept in one folder and share what they have in common: trees of a forest that was grown, iterations of
/// boosting that went on, rows that were added to, whole arrays that did not change. Every version is restored by itself. The shared
/// pieces lie in `onecopy-units` in that folder: copy and move the folder as a whole. An old version is removed with `rm`, and
/// `onecopy prune` then frees what no other version needs.
#[derive(Args)]
#[command(after_help = "Examples:
  onecopy archive forest.onecopy                  write forest.cold.onecopy
  onecopy archive forest.onecopy --level best     smaller and slower
  onecopy restore forest.cold.onecopy -o back.onecopy
  onecopy archive v1.onecopy --base shelf         the first version in the folder shelf
  onecopy archive v2.onecopy --base shelf         the next, without what is there already
  onecopy archive v3.onecopy --base shelf/v2.cold.onecopy -o shelf/v3.onecopy
  rm shelf/v1.cold.onecopy && onecopy prune shelf")]
pub(crate) struct Archive {
    /// The onecopy file.
    src: PathBuf,
    /// Where the archive goes, replacing what is there [default: NAME.cold.onecopy, which must not exist]
    #[arg(short, long)]
    output: Option<PathBuf>,
    /// How much work a smaller file is worth. Files of all levels are restored about as fast.
    #[arg(long, default_value_t = Level::default(), value_parser = levels())]
    level: Level,
    /// Share with an older version: an archive made with --base, or the folder of such, which may be empty
    #[arg(long, value_name = "ARCHIVE_OR_FOLDER")]
    base: Option<PathBuf>,
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
        let name = paths::archived_name(&self.src);
        let default = match &self.base {
            Some(base) => {
                onecopy::folder_of_versions(base)?.join(name.file_name().unwrap_or(name.as_os_str()))
            }
            None => name,
        };
        let output = paths::destination(self.output, default, &self.src)?;
        let bar = Bar::new(source_bytes);
        let options = ArchiveOptions { level: self.level };
        let follow = |progress| bar.follow(progress);
        let report = match &self.base {
            Some(base) => onecopy::archive_version(&self.src, &output, base, &options, &follow)?,
            None => onecopy::archive(&self.src, &output, &options, &follow)?,
        };
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
    #[serde(skip_serializing_if = "Option::is_none")]
    shared: Option<Shared>,
}

/// What a version has in common with others.
#[derive(Serialize)]
struct Shared {
    shared_units: u64,
    shared_bytes: u64,
    new_units: u64,
    new_bytes: u64,
}

/// Tells what `archive` or `restore` wrote.
pub(crate) fn print_rewrite(report: &RewriteReport, output: &Path, json: bool) -> Result<()> {
    let (source_bytes, bytes) = (report.source_bytes, report.bytes);
    if json {
        let shared = report.shared.map(|found| Shared {
            shared_units: found.shared_units,
            shared_bytes: found.shared_bytes,
            new_units: found.new_units,
            new_bytes: found.new_bytes,
        });
        let digest = report.digest.to_string();
        return out::print_json(&Report { output, source_bytes, bytes, digest, shared });
    }
    let shared = match report.shared {
        None => String::new(),
        Some(found) if found.shared_units == 0 => "; nothing is shared with older versions".to_owned(),
        Some(found) => format!("; {} more are shared with older versions", text::bytes(found.shared_bytes)),
    };
    let (from, bytes) = (text::bytes(source_bytes), text::bytes(bytes));
    out::print(&format!("{}: {bytes} from {from}{shared}\n", output.display()))
}
