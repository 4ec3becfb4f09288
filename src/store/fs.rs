//! The steps by which a file comes to be: a file without a name, bytes, sync, its name, sync of the directory. Where there
//! is a file of that name, the new one gets a temporary name first, and is renamed.
//!
//! Whoever looks at the path sees the old file or the new one, whole, also after a crash between any two steps. A
//! process that is killed while it writes leaves nothing, since the system frees a file without a name; a temporary sibling
//! stays only of one that is killed in the instant before it replaces a file, or on a file system without such files (NFS,
//! for one). Nothing here ever writes to a published path.
#![forbid(unsafe_code)]

use std::fs::{File, Permissions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// A file that could not be published. The path still holds what it held before.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError<E: std::error::Error + 'static> {
    /// What was to be written could not be.
    #[error(transparent)]
    Write(E),
    /// A step of publishing failed.
    #[error(transparent)]
    Step(#[from] StepError),
}

/// A step of publishing that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StepError {
    /// The system refused.
    #[error("cannot {step} {}", path.display())]
    Io {
        /// What was tried.
        step: &'static str,
        /// With which file or directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// There is something that a file must not replace.
    #[error("cannot write {}: it is {found}; give the path of a file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// What is there.
        found: &'static str,
    },
}

/// The steps, so that tests can stop after any of them.
pub(crate) trait Steps {
    /// Creates a file in `dir`, without a name if the file system has such files.
    fn create(&mut self, dir: &Path, prefix: &str, mode: u32) -> io::Result<Unpublished>;
    /// Waits until the bytes of the file are on disk.
    fn sync(&mut self, file: &File) -> io::Result<()>;
    /// Gives a file without a name its own name; `false` if there is a file of that name.
    fn link(&mut self, file: &File, path: &Path) -> io::Result<bool>;
    /// Gives the file a temporary name in `dir`, if it has none.
    fn name(&mut self, file: Unpublished, dir: &Path, prefix: &str) -> io::Result<NamedTempFile>;
    /// Gives the file its own name, in place of the old one.
    fn rename(&mut self, file: NamedTempFile, path: &Path) -> io::Result<()>;
    /// Waits until the names in a directory are on disk.
    fn sync_dir(&mut self, dir: &Path) -> io::Result<()>;
}

/// The steps as the system takes them.
pub(crate) struct RealSteps;

/// A file that is being written.
pub(crate) enum Unpublished {
    /// Gone when it is closed, however that comes.
    Unnamed(File),
    /// Removed when it is dropped.
    Named(NamedTempFile),
}

impl Unpublished {
    fn file(&self) -> &File {
        match self {
            Unpublished::Unnamed(file) => file,
            Unpublished::Named(file) => file.as_file(),
        }
    }

    fn file_mut(&mut self) -> &mut File {
        match self {
            Unpublished::Unnamed(file) => file,
            Unpublished::Named(file) => file.as_file_mut(),
        }
    }
}

impl Steps for RealSteps {
    fn create(&mut self, dir: &Path, prefix: &str, mode: u32) -> io::Result<Unpublished> {
        match create_unnamed(dir, mode) {
            Ok(file) => return Ok(Unpublished::Unnamed(file)),
            Err(error) if !is_unsupported(&error) => return Err(error),
            Err(_) => {}
        }
        let permissions = Permissions::from_mode(mode);
        temporary(prefix).permissions(permissions).tempfile_in(dir).map(Unpublished::Named)
    }

    fn link(&mut self, file: &File, path: &Path) -> io::Result<bool> {
        match link_unnamed(file, path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn name(&mut self, file: Unpublished, dir: &Path, prefix: &str) -> io::Result<NamedTempFile> {
        match file {
            Unpublished::Named(file) => Ok(file),
            Unpublished::Unnamed(file) => {
                let link = |path: &Path| {
                    link_unnamed(&file, path)?;
                    file.try_clone()
                };
                temporary(prefix).make_in(dir, link)
            }
        }
    }

    fn sync(&mut self, file: &File) -> io::Result<()> {
        file.sync_all()
    }

    fn rename(&mut self, file: NamedTempFile, path: &Path) -> io::Result<()> {
        file.persist(path).map(drop).map_err(|error| error.error)
    }

    fn sync_dir(&mut self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }
}

/// All steps but those that wait for the disk.
struct Unsynced(RealSteps);

impl Steps for Unsynced {
    fn create(&mut self, dir: &Path, prefix: &str, mode: u32) -> io::Result<Unpublished> {
        self.0.create(dir, prefix, mode)
    }

    fn link(&mut self, file: &File, path: &Path) -> io::Result<bool> {
        self.0.link(file, path)
    }

    fn name(&mut self, file: Unpublished, dir: &Path, prefix: &str) -> io::Result<NamedTempFile> {
        self.0.name(file, dir, prefix)
    }

    fn sync(&mut self, _: &File) -> io::Result<()> {
        Ok(())
    }

    fn rename(&mut self, file: NamedTempFile, path: &Path) -> io::Result<()> {
        self.0.rename(file, path)
    }

    fn sync_dir(&mut self, _: &Path) -> io::Result<()> {
        Ok(())
    }
}

fn temporary(prefix: &str) -> tempfile::Builder<'_, 'static> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(prefix).suffix(".tmp");
    builder
}

#[cfg(target_os = "linux")]
fn create_unnamed(dir: &Path, mode: u32) -> io::Result<File> {
    // Without it the file could not be given a name later.
    std::fs::metadata("/proc/self/fd").map_err(|_| io::ErrorKind::Unsupported)?;
    let flags = nix::fcntl::OFlag::O_TMPFILE.bits();
    std::fs::OpenOptions::new().read(true).write(true).mode(mode).custom_flags(flags).open(dir)
}

#[cfg(not(target_os = "linux"))]
fn create_unnamed(_: &Path, _: u32) -> io::Result<File> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Whether the system or the file system has no files without a name, whatever else may be wrong.
fn is_unsupported(error: &io::Error) -> bool {
    let known = [nix::libc::EOPNOTSUPP, nix::libc::EISDIR, nix::libc::EINVAL, nix::libc::ENOSYS];
    error.raw_os_error().is_none_or(|errno| known.contains(&errno))
}

fn link_unnamed(file: &File, path: &Path) -> io::Result<()> {
    let here = nix::fcntl::AT_FDCWD;
    let handle = format!("/proc/self/fd/{}", file.as_raw_fd());
    Ok(nix::unistd::linkat(here, handle.as_str(), here, path, nix::fcntl::AtFlags::AT_SYMLINK_FOLLOW)?)
}

/// A file that has no name yet that anyone would look for. Dropping it removes it.
pub(crate) struct Pending<S = RealSteps> {
    steps: S,
    file: Unpublished,
    prefix: String,
    path: PathBuf,
    dir: PathBuf,
    /// Whether there was a file at the path.
    replaces: bool,
}

impl Pending {
    /// Starts a file that shall appear at `path`.
    pub(crate) fn create(path: &Path) -> Result<Self, StepError> {
        Pending::create_by(RealSteps, path)
    }

    /// [`commit`](Self::commit) but for the last step: the caller waits for the directory, once for many files.
    pub(crate) fn commit_unsynced(self) -> Result<(), StepError> {
        self.named().map(drop)
    }
}

impl<S: Steps> Pending<S> {
    pub(crate) fn create_by(mut steps: S, path: &Path) -> Result<Self, StepError> {
        let not_a_file = |found| StepError::NotAFile { path: path.to_owned(), found };
        let name = path.file_name().ok_or_else(|| not_a_file("a directory"))?;
        let (mode, replaces) = match std::fs::metadata(path) {
            Ok(old) if old.is_dir() => return Err(not_a_file("a directory")),
            Ok(old) if !old.is_file() => return Err(not_a_file("a device, socket or FIFO")),
            Ok(old) => (old.permissions().mode() & 0o777, true),
            // Without an old file as a model: readable by all, as far as the umask lets it.
            Err(_) => (0o644, false),
        };
        let dir = match path.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir,
            _ => Path::new("."),
        };
        let prefix = format!(".{}.", name.to_string_lossy().chars().take(100).collect::<String>());
        let created = steps.create(dir, &prefix, mode);
        let file = created.map_err(failed("create a file in", dir))?;
        Ok(Pending { steps, file, prefix, path: path.to_owned(), dir: dir.to_owned(), replaces })
    }

    /// The file to write to.
    pub(crate) fn file(&mut self) -> &mut File {
        self.file.file_mut()
    }

    /// Makes the file appear at its path. On an error the path holds what it held before.
    pub(crate) fn commit(self) -> Result<(), StepError> {
        let dir = self.dir.clone();
        let mut steps = self.named()?;
        steps.sync_dir(&dir).map_err(failed("write to disk the directory", &dir))
    }

    /// Gives the file its name.
    fn named(mut self) -> Result<S, StepError> {
        self.steps.sync(self.file.file()).map_err(failed("write to disk", &self.path))?;
        let linked = match &self.file {
            Unpublished::Unnamed(file) if !self.replaces => self.steps.link(file, &self.path),
            _ => Ok(false),
        };
        if !linked.map_err(failed("name", &self.path))? {
            let named = self.steps.name(self.file, &self.dir, &self.prefix);
            let named = named.map_err(failed("name a file in", &self.dir))?;
            self.steps.rename(named, &self.path).map_err(failed("replace", &self.path))?;
        }
        Ok(self.steps)
    }
}

impl Write for Pending {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.file().write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file().flush()
    }
}

impl Seek for Pending {
    fn seek(&mut self, pos: SeekFrom) -> io::Result<u64> {
        self.file().seek(pos)
    }
}

/// Waits until the names in a directory are on disk.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), StepError> {
    RealSteps.sync_dir(dir).map_err(failed("write to disk the directory", dir))
}

fn failed(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StepError {
    move |source| StepError::Io { step, path: path.to_owned(), source }
}

/// Writes a file and gives it its name when it is whole and on disk. On an error nothing is left of it, and the
/// path holds what it held before. Only if the last step fails, the sync of the directory, is the new file in
/// place, whole, without a promise that it will be after a power cut.
///
/// # Errors
///
/// [`PublishError::Write`] with the error of `write`, or [`PublishError::Step`].
pub fn publish<T, E: std::error::Error + 'static>(
    path: &Path,
    write: impl FnOnce(&mut File) -> Result<T, E>,
) -> Result<T, PublishError<E>> {
    publish_by(RealSteps, path, write)
}

/// [`publish`] without waiting for the disk: whoever looks sees the old file or the new one, but after a power cut
/// the new one may be empty or cut short.
pub(crate) fn publish_unsynced<T, E: std::error::Error + 'static>(
    path: &Path,
    write: impl FnOnce(&mut File) -> Result<T, E>,
) -> Result<T, PublishError<E>> {
    publish_by(Unsynced(RealSteps), path, write)
}

pub(crate) fn publish_by<S: Steps, T, E: std::error::Error + 'static>(
    steps: S,
    path: &Path,
    write: impl FnOnce(&mut File) -> Result<T, E>,
) -> Result<T, PublishError<E>> {
    let mut pending = Pending::create_by(steps, path)?;
    let value = write(pending.file()).map_err(PublishError::Write)?;
    pending.commit()?;
    Ok(value)
}

/// Bytes that the file system of `file` can take; `None` if it does not say.
#[allow(clippy::useless_conversion, reason = "blocks are counted in 32 bits on some systems")]
pub(crate) fn free_bytes(file: &File) -> Option<u64> {
    let system = nix::sys::statvfs::fstatvfs(file).ok()?;
    let (blocks, size) = (u64::from(system.blocks_available()), u64::from(system.fragment_size()));
    (system.blocks() > 0).then(|| blocks.saturating_mul(size))
}

/// A file without a name in `dir`, gone when it is closed: room for bytes that do not fit in memory.
///
/// # Errors
///
/// [`StepError::Io`]
pub(crate) fn unnamed_in(dir: &Path) -> Result<File, StepError> {
    tempfile::tempfile_in(dir).map_err(failed("create a file in", dir))
}

#[cfg(test)]
mod tests;
