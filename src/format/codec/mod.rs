//! How the blocks of an array are stored.
//!
//! An array is cut into blocks of 1 MiB, the last one shorter. Each is stored by itself, so that any thread can
//! decode any block. A block that a codec does not make smaller is stored as it is, which its length tells.
#![forbid(unsafe_code)]

pub(crate) mod zstd;

/// How a writer stores arrays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// As they are, to be mapped.
    Raw,
    /// In zstd blocks, to be restored before use.
    Zstd {
        /// 1 (fast) to 22 (small).
        level: i32,
    },
}

/// How one array of a file is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Storage {
    /// As it is: it can be viewed in place.
    Raw,
    /// In zstd blocks: it must be restored before use.
    Zstd,
}

impl Storage {
    pub(crate) fn code(self) -> u8 {
        match self {
            Storage::Raw => 0,
            Storage::Zstd => 1,
        }
    }

    pub(crate) fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Storage::Raw),
            1 => Some(Storage::Zstd),
            _ => None,
        }
    }
}

impl Codec {
    pub(crate) fn storage(self) -> Storage {
        match self {
            Codec::Raw => Storage::Raw,
            Codec::Zstd { .. } => Storage::Zstd,
        }
    }
}
