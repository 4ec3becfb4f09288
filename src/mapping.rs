//! The bytes of one file, shared and read-only.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use memmap2::{Advice, Mmap, MmapMut, MmapOptions};
use nix::fcntl::OFlag;

use crate::memory;

#[cfg(target_endian = "big")]
compile_error!("onecopy maps little-endian numbers and shows them as they are: big-endian machines cannot");

/// How a file is mapped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenOptions {
    /// Brings the arrays that prediction reads into memory while opening, so that no request waits for the disk.
    pub populate: bool,
    /// Asks for huge pages. Files that this crate wrote get them without asking where the file system offers them.
    pub huge_pages: bool,
}

/// A file that could not be mapped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MapError {
    /// The file cannot be opened or mapped.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// Something else than a file.
    #[error("{} is {found}, expected a regular file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// What it is.
        found: &'static str,
    },
    /// A descriptor of something that others can change or shorten.
    #[error(
        "{} is no sealed file in memory; send the descriptor of a model that was opened with share=\"memfd\" or \
         guard=\"memfd\"",
        path.display()
    )]
    NotSealed {
        /// What it was called.
        path: PathBuf,
    },
    /// A file without bytes.
    #[error("{} is empty, expected a onecopy file; convert the model again", path.display())]
    Empty {
        /// The path.
        path: PathBuf,
    },
}

/// One file, mapped read-only and shared with every process that maps it.
#[derive(Debug)]
pub struct Mapping {
    map: Mmap,
    /// Kept to map the very same file again, whatever the path leads to by then.
    file: File,
    path: PathBuf,
}

/// The bytes of a [`Mapping`] once more, to write on: a page that is written to becomes this process's own, and the
/// file stays as it is.
#[derive(Debug)]
pub struct CopyOnWrite {
    /// Whoever reads or writes goes through `start`; held for its lifetime only.
    _map: MmapMut,
    start: usize,
    len: usize,
}

impl Mapping {
    /// Maps a regular file: one `open`, one `mmap`.
    ///
    /// # Errors
    ///
    /// [`MapError`] names the path.
    pub fn open(path: &Path) -> Result<Self, MapError> {
        let (file, len) = open_regular(path)?;
        Self::map(file, path, len)
    }

    /// Maps an open file; `path` is for messages.
    pub(crate) fn of_file(file: File, path: &Path) -> Result<Self, MapError> {
        let len = examine(&file, path)?;
        Self::map(file, path, len)
    }

    /// Seals a file in memory, so that nobody can change or shorten it any more, and maps it; `path` is for messages.
    pub(crate) fn seal(file: File, path: &Path) -> Result<Self, MapError> {
        let sealed = memory::seal(file);
        Self::of_file(
            sealed.map_err(|source| MapError::Io { path: path.to_owned(), action: "seal", source })?,
            path,
        )
    }

    /// Maps a sealed file in memory that another process may have made and sent; `path` is for messages.
    ///
    /// # Errors
    ///
    /// [`MapError::NotSealed`] if somebody could still change it.
    pub fn of_sealed(file: File, path: &Path) -> Result<Self, MapError> {
        if !memory::is_sealed(&file) {
            return Err(MapError::NotSealed { path: path.to_owned() });
        }
        Self::of_file(file, path)
    }

    /// The descriptor of a sealed file in memory, which other processes can map; `None` for other files.
    pub fn sealed(&self) -> Option<BorrowedFd<'_>> {
        memory::is_sealed(&self.file).then(|| self.file.as_fd())
    }

    fn map(file: File, path: &Path, len: u64) -> Result<Self, MapError> {
        let failed = |source| MapError::Io { path: path.to_owned(), action: "map", source };
        let len = usize::try_from(len).map_err(|_| failed(io::ErrorKind::OutOfMemory.into()))?;
        let mut options = MmapOptions::new();
        options.len(len);
        // SAFETY: `MmapOptions::map` asks that nobody changes or shortens the file while it is mapped. We cannot
        // check that. `store::fs` keeps it for our own files: they are written without a name, synced,
        // renamed, and never opened for writing again (SAFETY.md, "mapped files"). Files in memory are sealed first: the
        // system then refuses both to everybody.
        let map = unsafe { options.map(&file) }.map_err(failed)?;
        Ok(Mapping { map, file, path: path.to_owned() })
    }

    /// Maps the same file privately.
    ///
    /// # Errors
    ///
    /// [`MapError`] names the path.
    pub fn copy_on_write(&self) -> Result<CopyOnWrite, MapError> {
        let mut options = MmapOptions::new();
        options.len(self.map.len());
        // SAFETY: as in `open`; what is written through this mapping never reaches the file.
        let mut map = unsafe { options.map_copy(&self.file) }.map_err(|source| self.failed("map", source))?;
        let (start, len) = (map.as_mut_ptr() as usize, map.len());
        Ok(CopyOnWrite { _map: map, start, len })
    }

    /// The permissions of the file.
    pub(crate) fn mode(&self) -> u32 {
        self.file.metadata().map_or(0, |metadata| metadata.mode())
    }

    /// The path it was opened with.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads `range` into memory and into the page tables.
    pub(crate) fn populate(&self, range: Range<u64>) -> Result<(), MapError> {
        let range = self.clamp(range);
        if range.is_empty() {
            return Ok(());
        }
        match self.map.advise_range(Advice::PopulateRead, range.start, range.len()) {
            // Linux before 5.14 does not know the advice; pages then come when they are touched.
            Err(error) if error.raw_os_error() != Some(nix::libc::EINVAL) => {
                Err(self.failed("populate", error))
            }
            _ => Ok(()),
        }
    }

    /// Asks for huge pages. A file system that has none is no error.
    pub(crate) fn advise_huge_pages(&self) {
        let _ = self.map.advise(Advice::HugePage);
    }

    fn clamp(&self, range: Range<u64>) -> Range<usize> {
        let len = self.map.len();
        let clamp = |at: u64| usize::try_from(at).unwrap_or(len).min(len);
        clamp(range.start)..clamp(range.end)
    }

    fn failed(&self, action: &'static str, source: io::Error) -> MapError {
        MapError::Io { path: self.path.clone(), action, source }
    }
}

impl CopyOnWrite {
    /// The address of the first byte; the bytes after it are readable and writable.
    pub fn start(&self) -> usize {
        self.start
    }

    /// Number of bytes.
    pub fn len_bytes(&self) -> usize {
        self.len
    }
}

impl AsRef<[u8]> for Mapping {
    fn as_ref(&self) -> &[u8] {
        &self.map
    }
}

/// A file to read, of any kind.
pub(crate) fn open_file(path: &Path) -> Result<File, MapError> {
    open(path).map_err(|source| MapError::Io { path: path.to_owned(), action: "open", source })
}

/// A regular file to read, and its length, which is not 0.
pub(crate) fn open_regular(path: &Path) -> Result<(File, u64), MapError> {
    let file = open_file(path)?;
    let len = examine(&file, path)?;
    Ok((file, len))
}

/// The length of a regular file with bytes in it.
fn examine(file: &File, path: &Path) -> Result<u64, MapError> {
    let failed = |source| MapError::Io { path: path.to_owned(), action: "examine", source };
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        let found = kind_of(metadata.file_type());
        return Err(MapError::NotAFile { path: path.to_owned(), found });
    }
    match metadata.len() {
        0 => Err(MapError::Empty { path: path.to_owned() }),
        len => Ok(len),
    }
}

/// Opens without waiting: a FIFO without a writer would block for ever.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    std::fs::OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)
}

fn kind_of(kind: std::fs::FileType) -> &'static str {
    if kind.is_dir() {
        "a directory"
    } else if kind.is_fifo() {
        "a FIFO"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}
