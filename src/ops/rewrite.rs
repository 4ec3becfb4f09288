//! `archive` and `restore`: the same content, compressed or ready to map.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::format::codec::Codec;
use crate::format::digest::Digest;
use crate::format::error::FormatError;
use crate::format::writer::{Parts, WriteError, Writer};
use crate::format::{OnProgress, Progress};
use crate::mapping::Mapping;
use crate::model::{Model, OpenError};
use crate::store::fs::{PublishError, StepError, publish};

/// How a file is archived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArchiveOptions {
    /// Level of zstd: 1 (fast) to 22 (small).
    pub level: i32,
}

impl Default for ArchiveOptions {
    fn default() -> Self {
        ArchiveOptions { level: 3 }
    }
}

/// What `archive` or `restore` did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RewriteReport {
    /// Length of the old file.
    pub source_bytes: u64,
    /// Length of the new file.
    pub bytes: u64,
    /// The digest of the content, the same in both.
    pub digest: Digest,
}

/// A file that could not be archived or restored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RewriteError {
    /// The source cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The source has features that would be lost.
    #[error("cannot rewrite {}", path.display())]
    Features {
        /// The source.
        path: PathBuf,
        /// Which.
        source: FormatError,
    },
    /// There is no such level.
    #[error("zstd has levels 1 to 22, not {0}")]
    Level(i32),
    /// The source is damaged.
    #[error("cannot read {}", path.display())]
    Read {
        /// The source.
        path: PathBuf,
        /// Where and why.
        source: WriteError,
    },
    /// The content is not what its digest says.
    #[error("{} holds content with digest {found}, its prologue says {expected}; it is damaged", path.display())]
    Digest {
        /// The source.
        path: PathBuf,
        /// According to its prologue.
        expected: Digest,
        /// Of what was read.
        found: Digest,
    },
    /// The target cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The target.
        path: PathBuf,
        /// Why.
        source: WriteError,
    },
    /// The target cannot be published.
    #[error(transparent)]
    Publish(StepError),
    /// No thread could be started.
    #[error("cannot start threads")]
    Threads(#[source] rayon::ThreadPoolBuildError),
}

/// Writes `src` to `dst` in zstd blocks.
///
/// # Errors
///
/// [`RewriteError`]; nothing is left at `dst` that was not there before.
pub fn archive(
    src: &Path,
    dst: &Path,
    options: &ArchiveOptions,
    progress: OnProgress<'_>,
) -> Result<RewriteReport, RewriteError> {
    if !(1..=22).contains(&options.level) {
        return Err(RewriteError::Level(options.level));
    }
    rewrite(src, dst, Codec::Zstd { level: options.level }, progress)
}

/// Writes `src` to `dst` ready to be mapped. Restoring an archive gives every byte of the file that was archived.
///
/// # Errors
///
/// [`RewriteError`]; nothing is left at `dst` that was not there before.
pub fn restore(src: &Path, dst: &Path, progress: OnProgress<'_>) -> Result<RewriteReport, RewriteError> {
    rewrite(src, dst, Codec::Raw, progress)
}

/// Bytes of all arrays of a file as they are in memory.
pub(crate) fn restored_len(model: &Model<Mapping>) -> u64 {
    model.index().segments().iter().fold(0, |sum, segment| sum.saturating_add(segment.raw_len))
}

/// Writes the content of an open archive to an empty file, ready to be mapped, and compares it with its digest. `dst`
/// is for messages.
pub(crate) fn restore_into(
    archive: &Model<Mapping>,
    file: &mut File,
    dst: &Path,
    progress: OnProgress<'_>,
) -> Result<(), RewriteError> {
    let src = archive.data().path();
    let features = |source| RewriteError::Features { path: src.to_owned(), source };
    archive.prologue().check_rewritable().map_err(features)?;
    let threads = ThreadPoolBuilder::new().build().map_err(RewriteError::Threads)?;
    let work = Rewrite { model: archive, src, dst, codec: Codec::Raw, threads: &threads, progress };
    work.write(file).map(drop)
}

fn rewrite(
    src: &Path,
    dst: &Path,
    codec: Codec,
    progress: OnProgress<'_>,
) -> Result<RewriteReport, RewriteError> {
    let model = Model::open(src)?;
    let features = |source| RewriteError::Features { path: src.to_owned(), source };
    model.prologue().check_rewritable().map_err(features)?;
    let threads = ThreadPoolBuilder::new().build().map_err(RewriteError::Threads)?;
    let work = Rewrite { model: &model, src, dst, codec, threads: &threads, progress };
    let (bytes, digest) = publish(dst, |file| work.write(file)).map_err(|error| match error {
        PublishError::Write(error) => error,
        PublishError::Step(error) => RewriteError::Publish(error),
    })?;
    Ok(RewriteReport { source_bytes: model.len_bytes(), bytes, digest })
}

struct Rewrite<'a> {
    model: &'a Model<Mapping>,
    src: &'a Path,
    dst: &'a Path,
    codec: Codec,
    threads: &'a ThreadPool,
    progress: OnProgress<'a>,
}

impl Rewrite<'_> {
    fn write(&self, file: &mut File) -> Result<(u64, Digest), RewriteError> {
        let failed = |source| match source {
            WriteError::Input { .. } => RewriteError::Read { path: self.src.to_owned(), source },
            _ => RewriteError::Write { path: self.dst.to_owned(), source },
        };
        let model = self.model;
        let total_bytes = model.index().segments().iter().map(|segment| segment.raw_len).sum();
        let done = AtomicU64::new(0);
        let mut writer = Writer::new(file, self.codec).map_err(failed)?;
        for segment in model.index().segments() {
            let reader = model.reader(segment, self.threads);
            let mut input = Counted { reader, done: &done, total_bytes, progress: self.progress };
            let name = model.index().name(segment);
            writer.array(name, &segment.info, segment.role, &mut input).map_err(failed)?;
        }
        let prologue = model.prologue();
        let parts = Parts {
            graph: model.part(prologue.graph),
            plan: model.part(prologue.plan),
            metadata: model.part(prologue.metadata),
        };
        let (file, found) = writer.finish(&parts).map_err(failed)?;
        let expected = model.digest();
        if found != expected {
            return Err(RewriteError::Digest { path: self.src.to_owned(), expected, found });
        }
        let len = file.metadata().map_err(|source| failed(WriteError::Output { offset: 0, source }))?.len();
        Ok((len, found))
    }
}

/// Tells how much has been read.
struct Counted<'a, R> {
    reader: R,
    done: &'a AtomicU64,
    total_bytes: u64,
    progress: OnProgress<'a>,
}

impl<R: io::Read> io::Read for Counted<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.reader.read(buf)?;
        let done_bytes = self.done.fetch_add(n as u64, Ordering::Relaxed) + n as u64;
        (self.progress)(Progress { what: "writing", done_bytes, total_bytes: self.total_bytes });
        Ok(n)
    }
}
