//! Opening a file to use it, whatever form it has: an archive is restored first, once for all processes.
#![forbid(unsafe_code)]

use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::format::writer::WriteError;
use crate::format::{OnProgress, Progress};
use crate::mapping::{Mapping, open_file, open_regular};
use crate::memory;
use crate::model::verify::{VerifyError, VerifyOptions};
use crate::model::{Model, OpenError};
use crate::ops::rewrite::{RewriteError, restore_into, restored_len};
use crate::ops::sign::{SignatureError, VerifyKey, vouched};
use crate::store::cache::{Cache, CacheError, Lock};
use crate::store::fs::PublishError;

/// What to do about a place where nothing can be put.
const INSTEAD: &str = "name another folder (cache=, --cache or ONECOPY_CACHE), hold it in memory (share=\"memfd\" or --share \
                       memfd), or use `onecopy restore` and the file that it writes";

/// Where the bytes lie that processes share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Share {
    /// In a file: a hot file itself, a cold one restored into a [`Cache`].
    #[default]
    Cache,
    /// In a sealed file in memory, which forked children have too, and other processes by its descriptor: [`Mapping::sealed`],
    /// [`Model::from_sealed`]. Only on Linux.
    Memfd,
}

/// How a file is made ready to use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HotOptions {
    /// The folder of the cache; [`Cache::of_user`] if none is given.
    pub cache: Option<PathBuf>,
    /// Where the bytes lie.
    pub share: Share,
    /// Copies the file into memory, compares the copy with all checksums and digests, and seals it: whatever becomes of
    /// the file afterwards does not matter. Implies [`Share::Memfd`].
    pub guard: bool,
    /// Refuses files that the owner of this key has not signed, and reads all of a file before it is used.
    pub verify_key: Option<VerifyKey>,
}

/// A file that could not be made ready.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HotError {
    /// It cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It cannot be restored.
    #[error(transparent)]
    Restore(#[from] RewriteError),
    /// A copy of it does not have its checksums.
    #[error("{} is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where.
        source: Box<VerifyError>,
    },
    /// The cache cannot be used.
    #[error("cannot restore {} into a cache; {INSTEAD}", path.display())]
    Cache {
        /// The archive.
        path: PathBuf,
        /// Why.
        source: CacheError,
    },
    /// The cache cannot hold what was to be written.
    #[error("cannot restore {} into the cache {}; {INSTEAD}", path.display(), folder.display())]
    Write {
        /// The archive.
        path: PathBuf,
        /// The folder of the cache.
        folder: PathBuf,
        /// Why.
        source: Box<RewriteError>,
    },
    /// Nobody vouches for it.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// The content cannot be held in memory.
    #[error("cannot hold {} in memory; use `onecopy restore` and the file that it writes", path.display())]
    Memory {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Model<Mapping> {
    /// Opens a file so that all of it can be used. A hot file is mapped, as by [`Model::open`]; an archive is restored first, once
    /// for all processes, and what was restored is mapped.
    ///
    /// Restoring uses threads of its own. `progress` is told while this process restores, or waits for another one that does.
    ///
    /// # Errors
    ///
    /// [`HotError`] says what to do if there is no place for what is restored.
    pub fn open_hot(
        path: impl AsRef<Path>,
        options: &HotOptions,
        progress: OnProgress<'_>,
    ) -> Result<Self, HotError> {
        let path = path.as_ref();
        let model = ready(path, options, progress)?;
        if let Some(key) = &options.verify_key {
            vouched(&model, path, key, progress)?;
        }
        Ok(model)
    }

    /// Maps a model that lies in a sealed file in memory: one that was opened with [`Share::Memfd`], here or in another
    /// process, which sent the descriptor. `name` is for messages.
    ///
    /// # Errors
    ///
    /// [`OpenError`], also if somebody could still change the file.
    pub fn from_sealed(file: File, name: impl AsRef<Path>) -> Result<Self, OpenError> {
        opened(Mapping::of_sealed(file, name.as_ref())?)
    }

    /// [`Model::from_sealed`] of the file at a path such as `/proc/self/fd/7`.
    ///
    /// # Errors
    ///
    /// As [`Model::from_sealed`].
    pub fn open_sealed(path: impl AsRef<Path>, name: impl AsRef<Path>) -> Result<Self, OpenError> {
        Self::from_sealed(open_file(path.as_ref()).map_err(OpenError::Map)?, name)
    }
}

fn ready(path: &Path, options: &HotOptions, progress: OnProgress<'_>) -> Result<Model<Mapping>, HotError> {
    if options.guard {
        return guarded(path, progress);
    }
    match options.share {
        Share::Memfd => in_memory(path, progress),
        Share::Cache => {
            let model = Model::open(path)?;
            if model.is_cold() { from_cache(&model, options.cache.as_deref(), progress) } else { Ok(model) }
        }
    }
}

fn opened(mapping: Mapping) -> Result<Model<Mapping>, OpenError> {
    let path = mapping.path().to_owned();
    let model = Model::from_bytes(mapping);
    let model = model.map_err(|source| OpenError::Format { path: path.clone(), source })?;
    Ok(model.beside_units(&path))
}

fn in_memory(path: &Path, progress: OnProgress<'_>) -> Result<Model<Mapping>, HotError> {
    let model = Model::open(path)?;
    if model.is_cold() {
        return restored_in_memory(&model, progress);
    }
    drop(model);
    Ok(opened(Mapping::seal(copied(path)?, path).map_err(OpenError::Map)?)?)
}

/// Nothing is decided on bytes that somebody else could change: they are copied first.
fn guarded(path: &Path, progress: OnProgress<'_>) -> Result<Model<Mapping>, HotError> {
    let copy = opened(Mapping::seal(copied(path)?, path).map_err(OpenError::Map)?)?;
    if copy.is_cold() {
        return restored_in_memory(&copy, progress);
    }
    let damaged = |error| HotError::Damaged { path: path.to_owned(), source: Box::new(error) };
    copy.verify(VerifyOptions { digests: true }, progress).map_err(damaged)?;
    Ok(copy)
}

/// The bytes of a file, in memory.
fn copied(path: &Path) -> Result<File, HotError> {
    let (file, len) = open_regular(path).map_err(OpenError::Map)?;
    memory::copy(&file, len).map_err(|source| HotError::Memory { path: path.to_owned(), source })
}

/// Bytes that an archive of any length may take in memory.
const SMALL_IN_MEMORY: u64 = 1 << 30;
/// How many times its own length a larger one may take.
const MAX_RATIO: u64 = 100;

fn restored_in_memory(
    archive: &Model<Mapping>,
    progress: OnProgress<'_>,
) -> Result<Model<Mapping>, HotError> {
    let path = archive.data().path();
    let refused = |source| HotError::Memory { path: path.to_owned(), source };
    let len = restored_len(archive);
    if len > SMALL_IN_MEMORY.max(archive.stored_len().saturating_mul(MAX_RATIO)) {
        let message = format!("it would take {len} bytes, far more than archives do");
        return Err(refused(io::Error::new(io::ErrorKind::QuotaExceeded, message)));
    }
    let mut file = memory::create().map_err(refused)?;
    restore_into(archive, &mut file, Path::new("memory"), false, progress).map_err(|error| match error {
        RewriteError::Write { source: WriteError::Output { source, .. }, .. } => refused(source),
        error => error.into(),
    })?;
    Ok(opened(Mapping::seal(file, path).map_err(OpenError::Map)?)?)
}

/// How often what was just restored may be gone when it is looked for, in a cache that is far too small.
const ATTEMPTS: u32 = 3;

fn from_cache(
    archive: &Model<Mapping>,
    folder: Option<&Path>,
    progress: OnProgress<'_>,
) -> Result<Model<Mapping>, HotError> {
    let failed = |source| HotError::Cache { path: archive.data().path().to_owned(), source };
    let cache = folder.map_or_else(Cache::of_user, Cache::at).map_err(failed)?;
    for _ in 0..ATTEMPTS {
        match found_or_turn(archive, &cache, progress).map_err(failed)? {
            Turn::Found(model) => return Ok(*model),
            Turn::Ours(lock) => restore_to(archive, &cache, &lock, progress)?,
        }
    }
    Err(failed(cache.gone(archive.digest())))
}

enum Turn {
    Found(Box<Model<Mapping>>),
    Ours(Lock),
}

/// Waits until the content is there, or it is this process's turn to restore it.
fn found_or_turn(
    archive: &Model<Mapping>,
    cache: &Cache,
    progress: OnProgress<'_>,
) -> Result<Turn, CacheError> {
    const LONGEST: Duration = Duration::from_millis(20);
    let (digest, len) = (archive.digest(), restored_len(archive));
    let mut pause = Duration::from_millis(1);
    loop {
        let found = || cache.find(digest).map(|model| Turn::Found(Box::new(model)));
        if let Some(found) = found() {
            return Ok(found);
        }
        if let Some(lock) = cache.lock(digest, len)? {
            // Whoever had the lock may have done the work since we looked.
            return Ok(found().unwrap_or(Turn::Ours(lock)));
        }
        progress(Progress { what: "waiting", done_bytes: 0, total_bytes: len });
        thread::sleep(pause);
        pause = (pause * 2).min(LONGEST);
    }
}

fn restore_to(
    archive: &Model<Mapping>,
    cache: &Cache,
    lock: &Lock,
    progress: OnProgress<'_>,
) -> Result<(), HotError> {
    let path = archive.data().path();
    let failed = |source| HotError::Cache { path: path.to_owned(), source };
    let mode = archive.data().mode();
    cache.make_room(lock).map_err(failed)?;
    let published = cache.publish(lock, |file, dst| {
        restore_into(archive, file, dst, true, progress)?;
        // Whom the archive does not let read may not read this file either.
        let readable = Permissions::from_mode(0o400 | (mode & 0o444));
        let unset = |source| WriteError::Output { offset: 0, source };
        file.set_permissions(readable)
            .map_err(|source| RewriteError::Write { path: dst.to_owned(), source: unset(source) })
    });
    published.map_err(|error| {
        let error = match error {
            PublishError::Write(error) => error,
            PublishError::Step(step) => RewriteError::Publish(step),
        };
        match error {
            error @ (RewriteError::Write { .. } | RewriteError::Publish(_) | RewriteError::NoRoom { .. }) => {
                HotError::Write {
                    path: path.to_owned(),
                    folder: cache.folder().to_owned(),
                    source: Box::new(error),
                }
            }
            error => error.into(),
        }
    })?;
    cache.shrink().map_err(failed)
}
