//! Restored archives: one file for each content, which all processes of a user map.
//!
//! ```text
//! <digest>.onecopy        read-only, published whole: see `store::fs`
//! .<digest>.lock          while somebody restores that content; locked by whoever does
//! ```
//!
//! A file is looked at before it is used and made anew if it is not what its name says. It leaves by being unlinked, so that
//! processes which have it mapped keep it. A lock ends with the process that holds it. Nothing else in the folder is touched.
#![forbid(unsafe_code)]

mod lock;

use std::env;
use std::fs::{DirBuilder, File, FileTimes, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nix::fcntl::OFlag;

use crate::format::digest::Digest;
use crate::mapping::Mapping;
use crate::model::Model;
use crate::store::cache::lock::LockFile;
use crate::store::fs::{PublishError, publish};

/// The folder, if no other is given.
const FOLDER: &str = "ONECOPY_CACHE";
/// How many bytes it may hold.
const MAX_BYTES: &str = "ONECOPY_CACHE_BYTES";
/// If nobody says: 16 GiB.
const DEFAULT_MAX_BYTES: u64 = 16 << 30;
const ENDING: &str = ".onecopy";

/// A folder of restored archives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    folder: PathBuf,
    max_bytes: u64,
}

/// One restored archive.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheEntry {
    /// The digest of the content, in hexadecimal.
    pub digest: String,
    /// The file.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// When a process last opened it.
    pub last_used: SystemTime,
}

/// What was removed from a cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cleared {
    /// Files.
    pub entries: u64,
    /// Their lengths. Memory and disk space are free when the last process that has them mapped lets go of them.
    pub bytes: u64,
}

/// The right to make the file of a digest. It ends when this is dropped, or with the process.
pub(crate) struct Lock {
    digest: Digest,
    /// Room that the file needs.
    bytes: u64,
    _held: LockFile,
}

/// A cache that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// Nobody says where it is.
    #[error("no folder is given: ONECOPY_CACHE, XDG_CACHE_HOME and HOME are not set")]
    NoFolder,
    /// A number was expected.
    #[error("{MAX_BYTES} is `{found}`, expected a number of bytes")]
    MaxBytes {
        /// The value.
        found: String,
    },
    /// The system refused.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A model larger than all that the cache may hold.
    #[error("{bytes} bytes do not fit in a cache of {max_bytes}; set {MAX_BYTES} higher")]
    TooLarge {
        /// Of the model.
        bytes: u64,
        /// Of the cache.
        max_bytes: u64,
    },
    /// Others needed the room.
    #[error("{} was removed as soon as it was there; set {MAX_BYTES} higher", path.display())]
    Gone {
        /// The file.
        path: PathBuf,
    },
}

impl Cache {
    /// The cache in a folder, which is made when it is needed.
    ///
    /// # Errors
    ///
    /// [`CacheError::MaxBytes`] if `ONECOPY_CACHE_BYTES` is no number.
    pub fn at(folder: impl Into<PathBuf>) -> Result<Self, CacheError> {
        let max_bytes = match env::var_os(MAX_BYTES) {
            None => DEFAULT_MAX_BYTES,
            Some(text) => {
                let number = text.to_str().and_then(|text| text.trim().parse().ok());
                number.ok_or_else(|| CacheError::MaxBytes { found: text.to_string_lossy().into_owned() })?
            }
        };
        Ok(Cache { folder: folder.into(), max_bytes })
    }

    /// The cache of this user: in `$ONECOPY_CACHE`, else in `$XDG_CACHE_HOME/onecopy`, else in `~/.cache/onecopy`.
    ///
    /// # Errors
    ///
    /// [`CacheError::NoFolder`], [`CacheError::MaxBytes`]
    pub fn of_user() -> Result<Self, CacheError> {
        let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let own = set(FOLDER);
        let shared = || set("XDG_CACHE_HOME").filter(|path| path.is_absolute());
        let home = || set("HOME").map(|home| home.join(".cache"));
        let folder = own.or_else(|| shared().or_else(home).map(|caches| caches.join("onecopy")));
        Self::at(folder.ok_or(CacheError::NoFolder)?)
    }

    /// The same with another limit. What was used longest ago is removed to stay below it.
    #[must_use]
    pub fn with_max_bytes(self, max_bytes: u64) -> Self {
        Cache { max_bytes, ..self }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// How many bytes it may hold.
    pub fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    /// What is in it, the least recently used first.
    ///
    /// # Errors
    ///
    /// [`CacheError::Io`]
    pub fn entries(&self) -> Result<Vec<CacheEntry>, CacheError> {
        let mut entries = Vec::new();
        self.each_name(|name, path| {
            let Some(digest) = name.strip_suffix(ENDING).filter(|digest| is_digest(digest)) else { return };
            let Ok(metadata) = path.symlink_metadata() else { return };
            if metadata.is_file() {
                let last_used = metadata.accessed().unwrap_or(SystemTime::UNIX_EPOCH);
                entries.push(CacheEntry {
                    digest: digest.to_owned(),
                    bytes: metadata.len(),
                    path,
                    last_used,
                });
            }
        })?;
        entries.sort_by(|a, b| (a.last_used, &a.digest).cmp(&(b.last_used, &b.digest)));
        Ok(entries)
    }

    /// Removes all that is in it. Processes that have a file mapped keep it.
    ///
    /// # Errors
    ///
    /// [`CacheError::Io`] names the file that stays.
    pub fn clear(&self) -> Result<Cleared, CacheError> {
        let mut cleared = Cleared::default();
        for entry in self.entries()? {
            remove(&entry.path)?;
            cleared.entries += 1;
            cleared.bytes += entry.bytes;
        }
        self.sweep()?;
        Ok(cleared)
    }

    /// The restored content of that digest, if it is there and can be trusted: a whole file of ours that nobody else
    /// can write to.
    pub(crate) fn find(&self, digest: Digest) -> Option<Model<Mapping>> {
        let path = self.path_of(digest);
        let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let file = File::options().read(true).custom_flags(flags.bits()).open(&path).ok()?;
        if !is_ours(&file.metadata().ok()?) {
            return None;
        }
        // Access times of the system are coarse or switched off.
        let _ = file.set_times(FileTimes::new().set_accessed(SystemTime::now()));
        let model = Model::from_bytes(Mapping::of_file(file, &path).ok()?).ok()?;
        (model.digest() == digest && !model.is_cold()).then_some(model)
    }

    /// The right to make the file of that digest; `None` if somebody else has it.
    ///
    /// # Errors
    ///
    /// [`CacheError`] if the folder cannot be used, or is too small for `bytes`.
    pub(crate) fn lock(&self, digest: Digest, bytes: u64) -> Result<Option<Lock>, CacheError> {
        if bytes > self.max_bytes {
            return Err(CacheError::TooLarge { bytes, max_bytes: self.max_bytes });
        }
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.folder);
        made.map_err(failed("create the folder", &self.folder))?;
        let path = self.lock_of(&digest.to_string());
        let held = LockFile::take(&path).map_err(failed("lock", &path))?;
        Ok(held.map(|held| Lock { digest, bytes, _held: held }))
    }

    /// Removes what stands where the file of a lock shall be, leftovers of killed processes, and what was used longest ago
    /// until there is room for the file.
    pub(crate) fn make_room(&self, lock: &Lock) -> Result<(), CacheError> {
        remove(&self.path_of(lock.digest))?;
        self.remove_leftovers(&lock.digest.to_string())?;
        self.sweep()?;
        self.shrink_to(self.max_bytes.saturating_sub(lock.bytes))
    }

    /// Publishes the file of a lock.
    pub(crate) fn publish<E: std::error::Error + 'static>(
        &self,
        lock: &Lock,
        write: impl FnOnce(&mut File, &Path) -> Result<(), E>,
    ) -> Result<(), PublishError<E>> {
        let path = self.path_of(lock.digest);
        publish(&path, |file| write(file, &path))
    }

    /// Removes what was used longest ago until the limit is kept, which others may have passed meanwhile.
    pub(crate) fn shrink(&self) -> Result<(), CacheError> {
        self.shrink_to(self.max_bytes)
    }

    /// Removes what was used longest ago until `bytes` are left.
    fn shrink_to(&self, bytes: u64) -> Result<(), CacheError> {
        let entries = self.entries()?;
        let mut held = entries.iter().fold(0u64, |sum, entry| sum.saturating_add(entry.bytes));
        for entry in entries {
            if held <= bytes {
                break;
            }
            remove(&entry.path)?;
            held -= entry.bytes;
        }
        Ok(())
    }

    /// Removes what killed processes may leave: locks that nobody holds, and, on file systems that have no files
    /// without names, files that nobody finishes.
    fn sweep(&self) -> Result<(), CacheError> {
        let mut digests = Vec::new();
        self.each_name(|name, _| {
            if let Some(digest) = leftover_of(name) {
                digests.push(digest.to_owned());
            }
        })?;
        for digest in digests {
            if let Ok(Some(_lock)) = LockFile::take(&self.lock_of(&digest)) {
                self.remove_leftovers(&digest)?;
            }
        }
        Ok(())
    }

    /// Removes unfinished files of a digest, whose lock the caller has.
    fn remove_leftovers(&self, digest: &str) -> Result<(), CacheError> {
        let mut paths = Vec::new();
        self.each_name(|name, path| {
            if name.ends_with(".tmp") && leftover_of(name) == Some(digest) {
                paths.push(path);
            }
        })?;
        paths.iter().try_for_each(|path| remove(path))
    }

    fn each_name(&self, mut see: impl FnMut(&str, PathBuf)) -> Result<(), CacheError> {
        let listed = match std::fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            listed => listed.map_err(failed("list", &self.folder))?,
        };
        for entry in listed {
            let entry = entry.map_err(failed("list", &self.folder))?;
            if let Some(name) = entry.file_name().to_str() {
                see(name, entry.path());
            }
        }
        Ok(())
    }

    /// What to say if the file of a digest does not stay.
    pub(crate) fn gone(&self, digest: Digest) -> CacheError {
        CacheError::Gone { path: self.path_of(digest) }
    }

    fn path_of(&self, digest: Digest) -> PathBuf {
        self.folder.join(format!("{digest}{ENDING}"))
    }

    fn lock_of(&self, digest: &str) -> PathBuf {
        self.folder.join(format!(".{digest}.lock"))
    }
}

/// Whether a file is one that only this user, or the administrator, can have written.
fn is_ours(metadata: &Metadata) -> bool {
    let owners = [nix::unistd::geteuid().as_raw(), 0];
    metadata.is_file() && owners.contains(&metadata.uid()) && metadata.mode() & 0o022 == 0
}

fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The digest in the name of a lock, `.<digest>.lock`, or of an unfinished file, `.<digest>.onecopy.XXXXXX.tmp`.
fn leftover_of(name: &str) -> Option<&str> {
    let (digest, ending) = name.strip_prefix('.')?.split_at_checked(64)?;
    let known = ending == ".lock" || (ending.starts_with(".onecopy.") && ending.ends_with(".tmp"));
    (known && is_digest(digest)).then_some(digest)
}

/// Unlinks a file, if it is there.
fn remove(path: &Path) -> Result<(), CacheError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", path)(error)),
        _ => Ok(()),
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CacheError {
    move |source| CacheError::Io { action, path: path.to_owned(), source }
}
