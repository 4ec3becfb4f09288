//! A lock that is a file, and is removed by the last one who held it.
#![forbid(unsafe_code)]

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

/// A file that this process alone has locked. The system unlocks it when the process ends, however that comes.
#[derive(Debug)]
pub(super) struct LockFile {
    file: File,
    path: PathBuf,
}

impl LockFile {
    /// Locks the file at `path`, made if there is none; `None` if somebody else holds it.
    pub(super) fn take(path: &Path) -> io::Result<Option<Self>> {
        let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        let mut options = File::options();
        let file = options.write(true).create(true).truncate(false).mode(0o600);
        let file = file.custom_flags(flags.bits()).open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        // Between `open` and `try_lock` its holder may have removed it, and somebody else made and locked another.
        Ok(is_at(&file, path).then(|| LockFile { file, path: path.to_owned() }))
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    let (Ok(own), Ok(named)) = (file.metadata(), path.symlink_metadata()) else { return false };
    (own.dev(), own.ino()) == (named.dev(), named.ino())
}

impl Drop for LockFile {
    /// The name goes first: who has the file open by then finds that it has none.
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
        // A child that was forked meanwhile has the descriptor too; closing would not unlock it.
        let _ = self.file.unlock();
    }
}
