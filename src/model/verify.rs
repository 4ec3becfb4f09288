//! Every byte of a file against its checksums.
#![forbid(unsafe_code)]

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::format::codec::stream::Scratch;
use crate::format::digest::{ContentHasher, Digest};
use crate::format::error::FormatError;
use crate::format::header::{PROLOGUE_LEN, check_zero};
use crate::format::table::Segment;
use crate::format::{OnProgress, Progress};
use crate::model::Model;
use crate::model::blocks::{Damage, Place};

/// Files shorter than this are verified by the calling thread.
const SMALL: u64 = 8 << 20;

/// How much is verified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VerifyOptions {
    /// Also hashes every array with BLAKE3, which is slower. The CRC32 of each block finds accidents; the digest
    /// tells that the content is the one that the digest names.
    pub digests: bool,
}

/// What was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifyReport {
    /// Arrays in the file.
    pub arrays: u32,
    /// Blocks compared with their CRC32.
    pub blocks: u64,
    /// Bytes of the file that were read.
    pub bytes: u64,
    /// Whether the digests of arrays were computed.
    pub digests: bool,
    /// The digest of the content.
    pub digest: Digest,
}

/// What is wrong with a file that can be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// Blocks are damaged.
    #[error("{first}{}", others(*damaged))]
    Damaged {
        /// The first one in the file.
        first: Damage,
        /// How many there are.
        damaged: u64,
    },
    /// A byte between the parts is not zero.
    #[error(transparent)]
    Padding(FormatError),
    /// The blocks are as written, but their digest is not.
    #[error("array `{}` has digest {found}, expected {expected}; convert the file again", array.escape_debug())]
    ArrayDigest {
        /// The array.
        array: String,
        /// According to the index.
        expected: Digest,
        /// Of its bytes.
        found: Digest,
    },
    /// The digest of the whole does not match its parts.
    #[error("the content has digest {found}, the prologue says {expected}; convert the file again")]
    Digest {
        /// According to the prologue.
        expected: Digest,
        /// Of the content.
        found: Digest,
    },
    /// No thread could be started.
    #[error("cannot start threads")]
    Threads(#[source] rayon::ThreadPoolBuildError),
}

fn others(damaged: u64) -> String {
    match damaged {
        0 | 1 => String::new(),
        n => format!(" ({} more blocks are damaged)", n - 1),
    }
}

impl<D: AsRef<[u8]> + Sync> Model<D> {
    /// Reads the whole file and compares each block with its CRC32, and the bytes between the parts with zero.
    ///
    /// Uses threads of its own, which have ended when it returns.
    ///
    /// # Errors
    ///
    /// [`VerifyError`] says which array is damaged and where.
    pub fn verify(
        &self,
        options: VerifyOptions,
        progress: OnProgress<'_>,
    ) -> Result<VerifyReport, VerifyError> {
        let places: Vec<Place<'_>> = self.own_segments().flat_map(|segment| self.places(segment)).collect();
        let threads = match self.len_bytes() {
            // Starting threads would take longer than reading the file.
            ..SMALL => None,
            _ => Some(ThreadPoolBuilder::new().build().map_err(VerifyError::Threads)?),
        };
        self.check_gaps().map_err(VerifyError::Padding)?;
        self.verify_blocks(&places, threads.as_ref(), progress)?;
        self.verify_content()?;
        if options.digests {
            self.verify_digests(threads.as_ref(), progress)?;
        }
        Ok(VerifyReport {
            arrays: self.index().len(),
            blocks: places.len() as u64,
            bytes: self.whole().len() as u64,
            digests: options.digests,
            digest: self.digest(),
        })
    }

    /// The arrays that have bytes of their own; others have been compared with theirs when the file was opened.
    fn own_segments(&self) -> impl Iterator<Item = &Segment> {
        self.index().segments().iter().filter(|segment| segment.copy_of.is_none())
    }

    fn whole(&self) -> &[u8] {
        self.bytes(0..self.len_bytes())
    }

    /// Refuses bytes between arrays that are not zero.
    pub(crate) fn check_gaps(&self) -> Result<(), FormatError> {
        // `check_zero` looks at what there is; the ranges have been checked when the file was opened.
        self.gaps().try_for_each(|gap| check_zero(self.whole(), gap))
    }

    /// Bytes between the prologue, the arrays and the index.
    fn gaps(&self) -> impl Iterator<Item = Range<u64>> {
        let ends = self.index().segments().iter().map(|segment| segment.range().end);
        let starts = self.index().segments().iter().map(|segment| segment.offset);
        let ends = std::iter::once(PROLOGUE_LEN).chain(ends);
        ends.zip(starts.chain([self.prologue().index.start])).map(|(end, start)| end..start)
    }

    fn verify_blocks(
        &self,
        places: &[Place<'_>],
        threads: Option<&ThreadPool>,
        progress: OnProgress<'_>,
    ) -> Result<(), VerifyError> {
        let total_bytes = places.iter().map(|place| u64::from(place.block.stored_len)).sum();
        let done = AtomicU64::new(0);
        let found: Mutex<Option<(Damage, u64)>> = Mutex::new(None);
        let check = |scratch: &mut Scratch, place: &Place<'_>| {
            if let Err(damage) = self.checked(place, scratch) {
                note(&found, damage);
            }
            let len = u64::from(place.block.stored_len);
            let done_bytes = done.fetch_add(len, Ordering::Relaxed) + len;
            progress(Progress { what: "checking", done_bytes, total_bytes });
            Ok(())
        };
        each(threads, places, check)?;
        match found.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
            None => Ok(()),
            Some((first, damaged)) => Err(VerifyError::Damaged { first, damaged }),
        }
    }

    /// The digest in the prologue against the index and the parts.
    fn verify_content(&self) -> Result<(), VerifyError> {
        let mut hasher = ContentHasher::new();
        for segment in self.index().segments() {
            hasher.array(self.index().name(segment), &segment.info, segment.role, &segment.digest);
        }
        let parts = self.parts();
        let found = hasher.finish(parts.graph, parts.plan, parts.metadata);
        let expected = self.digest();
        if found == expected { Ok(()) } else { Err(VerifyError::Digest { expected, found }) }
    }

    fn verify_digests(
        &self,
        threads: Option<&ThreadPool>,
        progress: OnProgress<'_>,
    ) -> Result<(), VerifyError> {
        let segments: Vec<&Segment> = self.own_segments().collect();
        let total_bytes = segments.iter().map(|segment| segment.raw_len).sum();
        let done = AtomicU64::new(0);
        each(threads, &segments, |scratch, segment| {
            let damaged = |first| VerifyError::Damaged { first, damaged: 1 };
            let found = self.hash_array(segment, scratch).map_err(damaged)?;
            let done_bytes = done.fetch_add(segment.raw_len, Ordering::Relaxed) + segment.raw_len;
            progress(Progress { what: "hashing", done_bytes, total_bytes });
            let expected = segment.digest;
            if found == expected {
                return Ok(());
            }
            let array = self.index().name(segment).to_owned();
            Err(VerifyError::ArrayDigest { array, expected, found })
        })
    }

    fn hash_array(&self, segment: &Segment, scratch: &mut Scratch) -> Result<Digest, Damage> {
        let mut hasher = blake3::Hasher::new();
        for place in self.places(segment) {
            hasher.update(self.checked(&place, scratch)?);
        }
        Ok(Digest(*hasher.finalize().as_bytes()))
    }
}

/// Calls `check` for each item, on `threads` if there are any. Each thread has a buffer of its own.
fn each<T: Sync>(
    threads: Option<&ThreadPool>,
    items: &[T],
    check: impl Fn(&mut Scratch, &T) -> Result<(), VerifyError> + Sync + Send,
) -> Result<(), VerifyError> {
    let Some(threads) = threads else {
        let mut scratch = Scratch::default();
        return items.iter().try_for_each(|item| check(&mut scratch, item));
    };
    threads.install(|| items.par_iter().try_for_each_init(Scratch::default, check))
}

fn note(found: &Mutex<Option<(Damage, u64)>>, damage: Damage) {
    let mut found = found.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    *found = Some(match found.take() {
        None => (damage, 1),
        Some((first, n)) if first.start <= damage.start => (first, n + 1),
        Some((_, n)) => (damage, n + 1),
    });
}
