//! `archive` and `restore`: the same content, compressed or ready to map.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::format::codec::stream::Scratch;
use crate::format::codec::{Codec, Level};
use crate::format::digest::Digest;
use crate::format::error::FormatError;
use crate::format::lanes::NewArray;
use crate::format::packed::BlockSource;
use crate::format::table::Segment;
use crate::format::units::UnitStore;
use crate::format::writer::{WriteError, Writer};
use crate::format::{OnProgress, Progress};
use crate::mapping::Mapping;
use crate::model::blocks::Place;
use crate::model::{Model, OpenError};
use crate::ops::versions::Sharing;
use crate::store::fs::{PublishError, StepError, publish};

/// How a file is archived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ArchiveOptions {
    /// How much work it is worth.
    pub level: Level,
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
    /// Of an archive of versions: the units beside it.
    pub shared: Option<Sharing>,
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

/// Writes `src` to `dst` in compressed form, each array in the way that suits it.
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
    rewrite(src, dst, Some(options.level), None, progress)
}

/// Writes `src` to `dst` ready to be mapped. Restoring an archive gives every byte of the file that was archived.
///
/// # Errors
///
/// [`RewriteError`]; nothing is left at `dst` that was not there before.
pub fn restore(src: &Path, dst: &Path, progress: OnProgress<'_>) -> Result<RewriteReport, RewriteError> {
    rewrite(src, dst, None, None, progress)
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
    let work = Rewrite { model: archive, src, dst, level: None, units: None, threads: &threads, progress };
    work.write(file).map(drop)
}

/// Writes the content of `hot`, a model file without a name, to `file` in compressed form. `path` is for messages.
pub(super) fn archive_into(
    hot: File,
    file: &mut File,
    path: &Path,
    level: Level,
    progress: OnProgress<'_>,
) -> Result<(u64, Digest), RewriteError> {
    let mapping = Mapping::of_file(hot, path).map_err(OpenError::Map)?;
    let opened = Model::from_bytes(mapping);
    let model = opened.map_err(|source| OpenError::Format { path: path.to_owned(), source })?;
    let threads = ThreadPoolBuilder::new().build().map_err(RewriteError::Threads)?;
    let level = Some(level);
    let work =
        Rewrite { model: &model, src: path, dst: path, level, units: None, threads: &threads, progress };
    work.write(file)
}

pub(super) fn rewrite(
    src: &Path,
    dst: &Path,
    level: Option<Level>,
    units: Option<&dyn UnitStore>,
    progress: OnProgress<'_>,
) -> Result<RewriteReport, RewriteError> {
    let model = Model::open(src)?;
    let features = |source| RewriteError::Features { path: src.to_owned(), source };
    model.prologue().check_rewritable().map_err(features)?;
    let threads = ThreadPoolBuilder::new().build().map_err(RewriteError::Threads)?;
    let work = Rewrite { model: &model, src, dst, level, units, threads: &threads, progress };
    let (bytes, digest) = publish(dst, |file| work.write(file)).map_err(|error| match error {
        PublishError::Write(error) => error,
        PublishError::Step(error) => RewriteError::Publish(error),
    })?;
    Ok(RewriteReport { source_bytes: model.len_bytes(), bytes, digest, shared: None })
}

struct Rewrite<'a> {
    model: &'a Model<Mapping>,
    src: &'a Path,
    dst: &'a Path,
    /// Of an archive; `None` if the result is to be mapped.
    level: Option<Level>,
    /// Where an archive of versions keeps what it shares.
    units: Option<&'a dyn UnitStore>,
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
        let padding = |source| OpenError::Format { path: self.src.to_owned(), source };
        model.check_gaps().map_err(padding)?;
        let total_bytes = model.index().segments().iter().map(|segment| segment.raw_len).sum();
        let done = AtomicU64::new(0);
        let told = Told { done: &done, total_bytes, progress: self.progress };
        let writer = match self.level {
            None => Writer::new(file, Codec::Raw),
            Some(level) => Writer::packing(file, level),
        };
        let mut writer = writer.map_err(failed)?;
        for segment in model.index().segments() {
            let name = model.index().name(segment);
            let array = NewArray { name, info: &segment.info, role: segment.role };
            let written = match self.level {
                None => {
                    let mut input = Counted { reader: model.reader(segment, self.threads), told };
                    writer.array(name, array.info, array.role, &mut input)
                }
                Some(_) => writer.packed(&array, &Packed::of(model, segment, told), self.units),
            };
            written.map_err(failed)?;
        }
        if let Some(units) = self.units {
            units.end().map_err(|source| failed(WriteError::Output { offset: 0, source }))?;
        }
        let (file, found) = writer.finish(&model.parts()).map_err(failed)?;
        let expected = model.digest();
        if found != expected {
            return Err(RewriteError::Digest { path: self.src.to_owned(), expected, found });
        }
        let len = file.metadata().map_err(|source| failed(WriteError::Output { offset: 0, source }))?.len();
        Ok((len, found))
    }
}

/// Tells how far the work has come.
#[derive(Clone, Copy)]
struct Told<'a> {
    done: &'a AtomicU64,
    total_bytes: u64,
    progress: OnProgress<'a>,
}

impl Told<'_> {
    fn more(&self, bytes: u64) {
        let done_bytes = self.done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        (self.progress)(Progress { what: "writing", done_bytes, total_bytes: self.total_bytes });
    }
}

/// The blocks of an array, decoded where that is needed.
struct Packed<'a> {
    model: &'a Model<Mapping>,
    digest: Digest,
    places: Vec<Place<'a>>,
    told: Told<'a>,
}

impl<'a> Packed<'a> {
    fn of(model: &'a Model<Mapping>, segment: &'a Segment, told: Told<'a>) -> Self {
        Packed { model, digest: segment.digest, places: model.places(segment).collect(), told }
    }
}

impl BlockSource for Packed<'_> {
    fn digest(&self) -> Digest {
        self.digest
    }

    fn block<'a>(&'a self, number: u64, scratch: &'a mut Scratch) -> io::Result<&'a [u8]> {
        let place = usize::try_from(number).ok().and_then(|number| self.places.get(number));
        let place = place.ok_or(io::ErrorKind::UnexpectedEof)?;
        self.model.checked(place, scratch).map_err(io::Error::other)
    }

    fn done(&self, bytes: usize) {
        self.told.more(bytes as u64);
    }
}

/// Tells how much has been read.
struct Counted<'a, R> {
    reader: R,
    told: Told<'a>,
}

impl<R: io::Read> io::Read for Counted<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.reader.read(buf)?;
        self.told.more(n as u64);
        Ok(n)
    }
}
