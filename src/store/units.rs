//! The folder of units beside archives of versions.
//!
//! ```text
//! <BLAKE3>                one unit, published whole: see `store::fs`
//! lock                    shared by those who archive, held alone by whoever removes units
//! ```
//!
//! A unit that is there stays until no archive in the folder above lists it. Somebody who archives may rely on units that
//! were there before: nobody removes any meanwhile. A killed process leaves units that no archive lists; they are removed
//! like those of archives that are gone. A lock ends with the process that holds it.
#![forbid(unsafe_code)]

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use crate::store::fs::{Pending, StepError, sync_dir};

const LOCK: &str = "lock";

/// A folder of units from which nobody removes anything, or only this process.
#[derive(Debug)]
pub(crate) struct UnitsHeld {
    folder: PathBuf,
    /// Unlocked when it is closed.
    _lock: File,
}

/// Units that were removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Removed {
    pub(crate) units: u64,
    pub(crate) bytes: u64,
}

impl UnitsHeld {
    /// The folder, made if it is not there, while units are added. Waits for whoever removes some.
    pub(crate) fn to_add(folder: &Path) -> Result<Self, StepError> {
        match std::fs::create_dir(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(failed("create the folder", folder)(error));
            }
            _ => {}
        }
        UnitsHeld::locked(folder, File::lock_shared)
    }

    /// The folder while units are removed. Waits for all who add some.
    pub(crate) fn to_remove(folder: &Path) -> Result<Self, StepError> {
        UnitsHeld::locked(folder, File::lock)
    }

    fn locked(folder: &Path, lock: fn(&File) -> io::Result<()>) -> Result<Self, StepError> {
        let path = folder.join(LOCK);
        let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        let mut options = File::options();
        let file = options.write(true).create(true).truncate(false).mode(0o644).custom_flags(flags.bits());
        let file = file.open(&path).map_err(failed("open", &path))?;
        lock(&file).map_err(failed("lock", &path))?;
        Ok(UnitsHeld { folder: folder.to_owned(), _lock: file })
    }

    /// Writes the file of a unit. Its name is on disk after [`sync`](Self::sync).
    pub(crate) fn put(&self, name: &str, bytes: &[u8]) -> Result<(), StepError> {
        let path = self.folder.join(name);
        let mut pending = Pending::create(&path)?;
        io::Write::write_all(&mut pending, bytes).map_err(failed("write", &path))?;
        pending.commit_unsynced()
    }

    /// Waits until the names of units are on disk.
    pub(crate) fn sync(&self) -> Result<(), StepError> {
        sync_dir(&self.folder)
    }

    /// Removes units whose names are not in `needed`, and what killed processes may leave of one that they wrote.
    pub(crate) fn keep_only(&self, needed: &HashSet<String>) -> Result<Removed, StepError> {
        let mut removed = Removed::default();
        for entry in std::fs::read_dir(&self.folder).map_err(failed("list", &self.folder))? {
            let entry = entry.map_err(failed("list", &self.folder))?;
            let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
            let unneeded = is_digest(&name) && !needed.contains(&name);
            if unneeded || is_unfinished(&name) {
                let path = entry.path();
                let bytes = entry.metadata().map_or(0, |metadata| metadata.len());
                std::fs::remove_file(&path).map_err(failed("remove", &path))?;
                removed.units += 1;
                removed.bytes += bytes;
            }
        }
        Ok(removed)
    }
}

fn is_digest(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The temporary name of a unit, on file systems where files must have one.
fn is_unfinished(name: &str) -> bool {
    let digest = name.strip_prefix('.').and_then(|rest| rest.split_at_checked(64));
    digest.is_some_and(|(digest, rest)| is_digest(digest) && rest.starts_with('.') && rest.ends_with(".tmp"))
}

fn failed(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StepError {
    move |source| StepError::Io { step, path: path.to_owned(), source }
}
