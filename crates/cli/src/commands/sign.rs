//! `onecopy sign`
#![forbid(unsafe_code)]

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use crate::progress::Bar;
use crate::{out, paths};

/// Vouch for a onecopy file: write a signature of its content beside it.
///
/// The whole file is read first; what is damaged is not signed. The signature, FILE.sig, holds as well for the archive of the file and
/// for what is restored from it: copy it along under their names.
#[derive(Args)]
#[command(after_help = "Examples:
  openssl genpkey -algorithm ed25519 -out private.pem    # once; keep it where only you can read it
  openssl pkey -in private.pem -pubout -out public.pem   # for those who use your models
  onecopy sign forest.onecopy --key private.pem
  onecopy verify forest.onecopy --key public.pem")]
pub(crate) struct Sign {
    /// The onecopy file.
    file: PathBuf,
    /// An ed25519 private key in PEM.
    #[arg(long, value_name = "PRIVATE_KEY")]
    key: PathBuf,
    /// Report as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    file: PathBuf,
    signature: PathBuf,
}

impl Sign {
    pub(crate) fn run(self) -> Result<()> {
        let bar = Bar::new(paths::regular_file(&self.file)?.len());
        let signature = onecopy::sign(&self.file, &self.key, &|progress| bar.follow(progress))?;
        drop(bar);
        if self.json {
            return out::print_json(&Report { file: self.file, signature });
        }
        out::print(&format!("{} is signed in {}\n", self.file.display(), signature.display()))
    }
}
