//! `onecopy cache`
#![forbid(unsafe_code)]

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use clap::{Args, Subcommand};
use onecopy::{Cache as Folder, CacheEntry};
use serde::Serialize;

use crate::place::CacheFolder;
use crate::{out, text};

/// List or clear the archives that were restored to be used.
///
/// An archive that is opened is restored once for all processes of a user. What was used longest ago is removed when the cache
/// would pass its limit: $ONECOPY_CACHE_BYTES, or 16 GiB. Processes that use a removed file keep it.
#[derive(Args)]
#[command(after_help = "Examples:
  onecopy cache list
  onecopy cache list --json | jq .bytes
  onecopy cache clear")]
pub(crate) struct Cache {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Show what is in the cache, the least recently used first.
    List(Options),
    /// Remove all that is in the cache.
    Clear(Options),
}

#[derive(Args)]
struct Options {
    #[command(flatten)]
    cache: CacheFolder,
    /// Report as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Listing<'a> {
    folder: &'a Path,
    bytes: u64,
    max_bytes: u64,
    entries: Vec<Entry<'a>>,
}

#[derive(Serialize)]
struct Entry<'a> {
    digest: &'a str,
    path: &'a Path,
    bytes: u64,
    /// Seconds since 1970.
    last_used: u64,
}

#[derive(Serialize)]
struct Removed<'a> {
    folder: &'a Path,
    entries: u64,
    bytes: u64,
}

impl Cache {
    pub(crate) fn run(self) -> Result<()> {
        match self.action {
            Action::List(options) => list(&options.cache.open()?, options.json),
            Action::Clear(options) => clear(&options.cache.open()?, options.json),
        }
    }
}

fn list(cache: &Folder, json: bool) -> Result<()> {
    let entries = cache.entries()?;
    let bytes = entries.iter().map(|entry| entry.bytes).sum();
    if json {
        let entries = entries.iter().map(Entry::of).collect();
        let max_bytes = cache.max_bytes();
        return out::print_json(&Listing { folder: cache.folder(), bytes, max_bytes, entries });
    }
    let mut rows = vec![["digest", "bytes", "last used"].map(str::to_owned).to_vec()];
    for entry in &entries {
        let ago = SystemTime::now().duration_since(entry.last_used).unwrap_or_default();
        rows.push(vec![entry.digest.clone(), text::bytes(entry.bytes), format!("{} ago", rounded(ago))]);
    }
    let total = format!(
        "{}: {} of {} in {} restored archives\n",
        cache.folder().display(),
        text::bytes(bytes),
        text::bytes(cache.max_bytes()),
        entries.len()
    );
    let listing = if entries.is_empty() { String::new() } else { format!("{}\n", text::columns(&rows)) };
    out::print(&(listing + &total))
}

fn clear(cache: &Folder, json: bool) -> Result<()> {
    let cleared = cache.clear()?;
    if json {
        let (entries, bytes) = (cleared.entries, cleared.bytes);
        return out::print_json(&Removed { folder: cache.folder(), entries, bytes });
    }
    let (entries, bytes) = (cleared.entries, text::bytes(cleared.bytes));
    out::print(&format!("{}: removed {entries} restored archives, {bytes}\n", cache.folder().display()))
}

impl<'a> Entry<'a> {
    fn of(entry: &'a CacheEntry) -> Self {
        let last_used = entry.last_used.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Entry { digest: &entry.digest, path: &entry.path, bytes: entry.bytes, last_used }
    }
}

fn rounded(time: Duration) -> String {
    match time.as_secs() {
        seconds @ ..120 => format!("{seconds} s"),
        seconds @ ..7_200 => format!("{} min", seconds / 60),
        seconds @ ..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    }
}
