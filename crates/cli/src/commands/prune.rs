//! `onecopy prune`
#![forbid(unsafe_code)]

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use crate::{out, text};

/// Free what no archive in a folder of versions needs any more.
///
/// Archives made with `onecopy archive --base` share pieces in `onecopy-units`. Removing an archive leaves them, since others may need
/// them; this reads all archives of the folder and removes the pieces that none of them lists. If one of them cannot be read, nothing
/// is removed. Archiving meanwhile waits.
#[derive(Args)]
#[command(after_help = "Examples:
  rm shelf/v1.cold.onecopy && onecopy prune shelf
  onecopy prune shelf --json | jq .removed_bytes")]
pub(crate) struct Prune {
    /// The folder of the archives.
    folder: PathBuf,
    /// Report as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    folder: PathBuf,
    archives: u64,
    kept: u64,
    removed: u64,
    removed_bytes: u64,
}

impl Prune {
    pub(crate) fn run(self) -> Result<()> {
        let found = onecopy::prune(&self.folder)?;
        if self.json {
            return out::print_json(&Report {
                folder: self.folder,
                archives: found.archives,
                kept: found.kept,
                removed: found.removed,
                removed_bytes: found.removed_bytes,
            });
        }
        out::print(&format!(
            "{}: removed {} units, {}; {} archives need the other {}\n",
            self.folder.display(),
            found.removed,
            text::bytes(found.removed_bytes),
            found.archives,
            found.kept
        ))
    }
}
