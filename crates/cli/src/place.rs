//! Where the bytes of a model lie while it is used: options that commands share.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, ValueEnum};
use onecopy::{Cache, HotOptions, Share, VerifyKey};

/// Options of commands that use a model.
#[derive(Args)]
pub(crate) struct Place {
    #[command(flatten)]
    cache: CacheFolder,
    /// Where the bytes lie that processes share: in a file (an archive is restored into the cache), or in memory that
    /// nobody can change.
    #[arg(long, default_value = "cache")]
    share: ShareName,
    /// Copy the file into memory that nobody can change and check every byte of the copy, for files that others may
    /// overwrite or cut short.
    #[arg(long)]
    guard: Option<GuardName>,
    /// Refuse a file that was not signed with the private half of this ed25519 key (PEM)
    #[arg(long, value_name = "PUBLIC_KEY")]
    verify_key: Option<PathBuf>,
}

/// The cache that is meant.
#[derive(Args)]
pub(crate) struct CacheFolder {
    /// Folder for restored archives [default: $ONECOPY_CACHE, $XDG_CACHE_HOME/onecopy or ~/.cache/onecopy]
    #[arg(long, value_name = "FOLDER")]
    cache: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum ShareName {
    Cache,
    Memfd,
}

#[derive(Clone, Copy, ValueEnum)]
enum GuardName {
    Memfd,
}

impl Place {
    /// As the library takes them.
    pub(crate) fn options(&self) -> Result<HotOptions> {
        let share = match self.share {
            ShareName::Cache => Share::Cache,
            ShareName::Memfd => Share::Memfd,
        };
        let verify_key = self.verify_key.as_ref().map(VerifyKey::read).transpose()?;
        Ok(HotOptions { cache: self.cache.cache.clone(), share, guard: self.guard.is_some(), verify_key })
    }
}

impl CacheFolder {
    /// The cache in that folder, or the one of the user.
    pub(crate) fn open(&self) -> Result<Cache> {
        Ok(self.cache.as_ref().map_or_else(Cache::of_user, Cache::at)?)
    }
}
