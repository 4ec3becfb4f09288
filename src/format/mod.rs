//! The file, as bytes: where each part lies and how it is checked. Knows no files and no mmap.
//!
//! Offsets are `u64` bytes from the start of the file. All integers are little-endian.
#![forbid(unsafe_code)]

pub(crate) mod dtype;

use self::dtype::Dtype;

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

/// Who touches an array; those of one role lie together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Prediction reads it.
    Predict,
    /// Only `apply`, `load()` and inspection read it.
    Rebuild,
}
