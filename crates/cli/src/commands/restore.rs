//! `onecopy restore`
#![forbid(unsafe_code)]

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::commands::archive::print_rewrite;
use crate::paths;
use crate::progress::Bar;

/// Give back the file that was archived, every byte of it.
#[derive(Args)]
#[command(after_help = "Examples:
  onecopy restore forest.cold.onecopy             write forest.onecopy
  onecopy restore forest.cold.onecopy -o /srv/models/forest.onecopy")]
pub(crate) struct Restore {
    /// The archived onecopy file.
    src: PathBuf,
    /// Where the file goes, replacing what is there [default: NAME.onecopy, which must not exist]
    #[arg(short, long)]
    output: Option<PathBuf>,
    /// Report as JSON.
    #[arg(long)]
    json: bool,
}

impl Restore {
    pub(crate) fn run(self) -> Result<()> {
        let source_bytes = paths::regular_file(&self.src)?.len();
        let output = paths::destination(self.output, paths::restored_name(&self.src), &self.src)?;
        let bar = Bar::new(source_bytes);
        let report = onecopy::restore(&self.src, &output, &|progress| bar.follow(progress))?;
        drop(bar);
        print_rewrite(&report, &output, self.json)
    }
}
