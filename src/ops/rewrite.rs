//! `archive` and `restore`: the same content, compressed or ready to map.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::format::codec::stream::{Decoder, Scratch};
use crate::format::codec::{Codec, Level, Storage};
use crate::format::digest::Digest;
use crate::format::error::FormatError;
use crate::format::lanes::NewArray;
use crate::format::packed::BlockSource;
use crate::format::restored::DecodeBlocks;
use crate::format::table::Segment;
use crate::format::units::UnitStore;
use crate::format::writer::{WriteError, Writer};
use crate::format::{OnProgress, Progress};
use crate::mapping::Mapping;
use crate::model::blocks::Place;
use crate::model::{Model, OpenError};
use crate::ops::versions::Sharing;
use crate::store::ahead::Ahead;
use crate::store::fs::{PublishError, StepError, free_bytes, publish};

/// From this many bytes on, restoring is worth threads.
const THREADS_FROM: u64 = 4 << 20;

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
    /// There is less room than the content takes.
    #[error(
        "cannot write {}: the arrays take {needed} bytes, {free} are free there; make room, write elsewhere, or do not \
         trust the archive",
        path.display()
    )]
    NoRoom {
        /// The target.
        path: PathBuf,
        /// Bytes of the arrays as they are in memory.
        needed: u64,
        /// Bytes that the file system can take.
        free: u64,
        /// What the system would have said.
        source: io::Error,
    },
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
/// is for messages; `sync` says whether the file shall be on disk in the end.
pub(crate) fn restore_into(
    archive: &Model<Mapping>,
    file: &mut File,
    dst: &Path,
    sync: bool,
    progress: OnProgress<'_>,
) -> Result<(), RewriteError> {
    let src = archive.data().path();
    let features = |source| RewriteError::Features { path: src.to_owned(), source };
    archive.prologue().check_rewritable().map_err(features)?;
    Rewrite { model: archive, src, dst, level: None, units: None, sync, progress }.write(file).map(drop)
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
    let work = Rewrite { model: &model, src, dst, level, units, sync: true, progress };
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
    /// Whether the file shall be on disk in the end.
    sync: bool,
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
        let total_bytes = restored_len(model);
        let done = AtomicU64::new(0);
        let told = Told { done: &done, total_bytes, progress: self.progress };
        let segments = model.index().segments();
        let arrays: Vec<NewArray<'_>> = segments.iter().map(|segment| new_array(model, segment)).collect();
        if self.level.is_none() {
            self.check_room(file, total_bytes)?;
        }
        let mut file = Ahead::new(file, self.sync);
        let writer = match self.level {
            None => {
                let threads = threads(total_bytes).map_err(RewriteError::Threads)?;
                let places = segments.iter().map(|segment| model.places(segment).collect()).collect();
                let blocks = Restored { model, places, told };
                Writer::new(&mut file, Codec::Raw).and_then(|mut writer| {
                    writer.restored(&arrays, &blocks, threads.as_ref())?;
                    Ok(writer)
                })
            }
            Some(level) => Writer::packing(&mut file, level).and_then(|mut writer| {
                for (array, segment) in arrays.iter().zip(segments) {
                    let places = model.places(segment).collect();
                    writer.packed(array, &Packed { model, segment, places, told }, self.units)?;
                }
                Ok(writer)
            }),
        };
        let writer = writer.map_err(failed)?;
        if let Some(units) = self.units {
            units.end().map_err(|source| failed(WriteError::Output { offset: 0, source }))?;
        }
        let (file, found) = writer.finish(&model.parts()).map_err(failed)?;
        let expected = model.digest();
        if found != expected {
            return Err(RewriteError::Digest { path: self.src.to_owned(), expected, found });
        }
        let len = file.len().map_err(|source| failed(WriteError::Output { offset: 0, source }))?;
        (self.progress)(Progress::publishing(len));
        Ok((len, found))
    }
}

impl Rewrite<'_> {
    /// Refuses to fill a disk with less than all of the content.
    fn check_room(&self, file: &File, needed: u64) -> Result<(), RewriteError> {
        match free_bytes(file) {
            Some(free) if free < needed => {
                let source = io::ErrorKind::StorageFull.into();
                Err(RewriteError::NoRoom { path: self.dst.to_owned(), needed, free, source })
            }
            _ => Ok(()),
        }
    }
}

fn new_array<'a>(model: &'a Model<Mapping>, segment: &'a Segment) -> NewArray<'a> {
    NewArray { name: model.index().name(segment), info: &segment.info, role: segment.role }
}

/// Threads to restore `bytes` with; `None` if there is only one, or starting more would take longer.
fn threads(bytes: u64) -> Result<Option<ThreadPool>, rayon::ThreadPoolBuildError> {
    if bytes < THREADS_FROM {
        return Ok(None);
    }
    let threads = ThreadPoolBuilder::new().build()?;
    Ok(Some(threads).filter(|threads| threads.current_num_threads() > 1))
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
    segment: &'a Segment,
    places: Vec<Place<'a>>,
    told: Told<'a>,
}

impl Packed<'_> {
    fn place(&self, number: u64) -> Option<&Place<'_>> {
        self.places.get(usize::try_from(number).ok()?)
    }
}

impl BlockSource for Packed<'_> {
    fn digest(&self) -> Digest {
        self.segment.digest
    }

    fn is_hashed(&self) -> bool {
        false
    }

    fn crc(&self, number: u64) -> u32 {
        self.place(number).map_or(0, |place| place.block.crc)
    }

    fn peek(&self, range: Range<u64>) -> Option<&[u8]> {
        let segment = Some(self.segment).filter(|segment| segment.storage == Storage::Raw)?;
        let all = self.model.bytes(segment.range());
        all.get(usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?)
    }

    fn block<'a>(&'a self, number: u64, scratch: &'a mut Scratch) -> io::Result<&'a [u8]> {
        let place = self.place(number).ok_or(io::ErrorKind::UnexpectedEof)?;
        self.model.checked(place, scratch).map_err(io::Error::other)
    }

    fn done(&self, bytes: usize) {
        self.told.more(bytes as u64);
    }
}

/// All blocks of a file, decoded where they are wanted.
struct Restored<'a> {
    model: &'a Model<Mapping>,
    places: Vec<Vec<Place<'a>>>,
    told: Told<'a>,
}

impl DecodeBlocks for Restored<'_> {
    fn decode(&self, array: usize, number: u64, out: &mut [u8], decoder: &mut Decoder) -> io::Result<u32> {
        let places = self.places.get(array).ok_or(io::ErrorKind::UnexpectedEof)?;
        let place = usize::try_from(number).ok().and_then(|number| places.get(number));
        let place = place.ok_or(io::ErrorKind::UnexpectedEof)?;
        self.model.decode(place, out, decoder).map_err(io::Error::other)?;
        Ok(place.block.crc)
    }

    fn done(&self, bytes: u64) {
        self.told.more(bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::format::writer::Parts;

    #[test]
    fn what_the_disk_has_no_room_for_is_refused_before_it_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let [hot, dst] = ["hot", "restored"].map(|name| dir.path().join(name));
        let (bytes, _) =
            Writer::new(Cursor::new(Vec::new()), Codec::Raw).unwrap().finish(&Parts::default()).unwrap();
        publish(&hot, |file| io::Write::write_all(file, &bytes.into_inner())).unwrap();
        let model = Model::open(&hot).unwrap();
        let work = Rewrite {
            model: &model,
            src: &hot,
            dst: &dst,
            level: None,
            units: None,
            sync: false,
            progress: &|_| {},
        };
        let file = File::open(&hot).unwrap();
        assert!(work.check_room(&file, 1).is_ok());
        let error = work.check_room(&file, u64::MAX).unwrap_err();
        assert!(matches!(&error, RewriteError::NoRoom { needed: u64::MAX, .. }), "{error}");
        assert!(
            error.to_string().contains("make room, write elsewhere, or do not trust the archive"),
            "{error}"
        );
    }
}
