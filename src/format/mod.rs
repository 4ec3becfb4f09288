//! The file, as bytes: where each part lies and how it is checked. Knows no files and no mmap.
//!
//! ```text
//! 0            128                                  index_offset                          file_len
//! | prologue | 0 | array | 0 | array | 0 | ... | 0 | index | 0 | graph | 0 | plan | 0 | metadata |
//! ```
//!
//! The prologue ([`header`]) names the version, the length of the file and the checksum of each part after the
//! arrays. The index ([`table`]) says for every array what it is and where it lies. An array is stored as it is
//! or in compressed blocks ([`codec`]); each MiB of it has a CRC32, the whole a BLAKE3 digest ([`digest`]). Every byte
//! that belongs to none of these is zero. `docs/format.md` is the specification.
//!
//! Offsets are `u64` bytes from the start of the file. All integers are little-endian.
#![forbid(unsafe_code)]

pub(crate) mod chunk;
pub(crate) mod codec;
pub(crate) mod digest;
pub(crate) mod dtype;
pub(crate) mod dtype_text;
pub(crate) mod error;
pub(crate) mod hashes;
pub(crate) mod header;
pub(crate) mod lanes;
pub(crate) mod packed;
mod packed_memory;
pub(crate) mod parts;
pub(crate) mod restored;
mod sums;
pub(crate) mod table;
pub(crate) mod units;
pub(crate) mod writer;

use self::dtype::Dtype;

/// Decoded bytes of one block, the unit of checksums and of compression. The last block of an array is shorter.
pub(crate) const BLOCK: usize = 1 << 20;

/// Arrays shorter than this lie at the next [`SMALL_ALIGN`], others at the next [`BIG_ALIGN`].
pub(crate) const BIG: u64 = 64 << 10;
/// Where big arrays may start: a multiple of every page size in use.
pub(crate) const BIG_ALIGN: u64 = 64 << 10;
/// Where small arrays and compressed arrays may start.
pub(crate) const SMALL_ALIGN: u64 = 64;
/// Where the index, the graph, the plan and the metadata start.
pub(crate) const PART_ALIGN: u64 = 8;

/// Most dimensions of an array, as in NumPy 2.
pub(crate) const MAX_NDIM: usize = 64;
/// Longest name of an array, in bytes.
pub(crate) const MAX_NAME: usize = 4096;
/// Longest plan, in bytes: it is decoded when the file is opened.
pub(crate) const MAX_PLAN: u64 = 64 << 20;
/// Longest metadata, in bytes: it is decoded when the file is opened.
pub(crate) const MAX_METADATA: u64 = 16 << 20;

/// The position of an array in the segment table, which is the order of writing and of file offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct ArrayId(pub u32);

/// How the elements of an array follow each other in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Order {
    /// Row-major: the last index varies fastest.
    C,
    /// Column-major: the first index varies fastest.
    F,
}

/// What an array is, without its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArrayInfo {
    /// Type of one element.
    pub dtype: Dtype,
    /// Length of each dimension; empty for a 0-d array of one element.
    pub shape: Vec<u64>,
    /// How elements follow each other.
    pub order: Order,
}

impl ArrayInfo {
    /// A C-order array.
    pub fn new(dtype: Dtype, shape: impl Into<Vec<u64>>) -> Self {
        ArrayInfo { dtype, shape: shape.into(), order: Order::C }
    }

    /// Bytes of the whole array; `None` if they are more than a file can hold.
    ///
    /// As in NumPy the lengths other than zero must have a product that fits, also when another length is zero.
    pub fn len_bytes(&self) -> Option<u64> {
        let itemsize = u64::from(self.dtype.itemsize());
        let extent = |zero: u64| {
            let lengths = self.shape.iter().copied().chain([itemsize]);
            lengths.map(|n| if n == 0 { zero } else { n }).try_fold(1u64, u64::checked_mul)
        };
        i64::try_from(extent(1)?).ok()?;
        extent(0)
    }
}

/// Who touches an array; those of one role lie together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Prediction reads it.
    Predict,
    /// Only `apply`, `load()` and inspection read it.
    Rebuild,
}

/// How far a long operation has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is being done: `writing`, `checking`, ...
    pub what: &'static str,
    /// Bytes behind us.
    pub done_bytes: u64,
    /// Bytes in all; 0 if not known.
    pub total_bytes: u64,
}

impl Progress {
    /// What is being done when a file of `bytes` is whole, just before it gets its name: the last that is told of work whose
    /// result is a file.
    pub const PUBLISHING: &'static str = "publishing";

    pub(crate) fn publishing(bytes: u64) -> Self {
        Progress { what: Progress::PUBLISHING, done_bytes: bytes, total_bytes: bytes }
    }
}

/// Told about progress, from any thread. A panic of it ends the work, and what was at the path of its result stays as it was.
pub type OnProgress<'a> = &'a (dyn Fn(Progress) + Sync);

/// `offset` rounded up to a multiple of `align`, a power of two.
pub(crate) fn align_up(offset: u64, align: u64) -> Option<u64> {
    Some(offset.checked_add(align - 1)? & !(align - 1))
}
