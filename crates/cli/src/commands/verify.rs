//! `onecopy verify`
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use clap::Args;
use onecopy::{VerifyKey, VerifyOptions};
use serde::Serialize;

use crate::progress::Bar;
use crate::{out, paths, text};

/// Check every byte of a onecopy file against its checksums.
///
/// Opening a file checks its header, table, graph and plan; the data of the arrays is checked here. A damaged file gives exit code 1
/// and names the first damaged place.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  onecopy verify forest.onecopy\n  onecopy verify forest.onecopy --digest    # also the identity of the content\n  onecopy verify forest.onecopy --key public.pem\n  onecopy verify forest.onecopy --json"
)]
pub(crate) struct Verify {
    /// The onecopy file.
    file: PathBuf,
    /// Recompute the BLAKE3 digests too: slower, and proof against more than accidents.
    #[arg(long)]
    digest: bool,
    /// Also check that the file was signed with the private half of this ed25519 key (PEM); implies --digest.
    #[arg(long, value_name = "PUBLIC_KEY")]
    key: Option<PathBuf>,
    /// Report as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    file: PathBuf,
    bytes: u64,
    arrays: u32,
    blocks: u64,
    digest: String,
    digests_checked: bool,
    signature_checked: bool,
    seconds: f64,
}

impl Verify {
    pub(crate) fn run(self) -> Result<()> {
        let len_bytes = paths::regular_file(&self.file)?.len();
        let bar = Bar::new(len_bytes);
        let start = Instant::now();
        let follow = |progress| bar.follow(progress);
        let found = match &self.key {
            Some(key) => onecopy::verify_signed(&self.file, &VerifyKey::read(key)?, &follow)?,
            None => onecopy::verify(&self.file, VerifyOptions { digests: self.digest }, &follow)?,
        };
        let took = start.elapsed();
        drop(bar);
        if self.json {
            return out::print_json(&Report {
                file: self.file,
                bytes: found.bytes,
                arrays: found.arrays,
                blocks: found.blocks,
                digest: found.digest.to_string(),
                digests_checked: found.digests,
                signature_checked: self.key.is_some(),
                seconds: took.as_secs_f64(),
            });
        }
        let speed = text::bytes((found.bytes as f64 / took.as_secs_f64().max(1e-9)) as u64);
        let (bytes, took) = (text::bytes(found.bytes), text::time(took));
        let digest = if found.digests { format!("\nblake3 {}", found.digest) } else { String::new() };
        let signed = if self.key.is_some() { "\nsigned with this key" } else { "" };
        out::print(&format!(
            "{}: intact, {bytes} in {} arrays checked in {took} ({speed}/s){digest}{signed}\n",
            self.file.display(),
            found.arrays
        ))
    }
}
