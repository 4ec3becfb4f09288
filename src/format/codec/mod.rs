//! How the blocks of an array are stored.
//!
//! An array is cut into blocks of 1 MiB, the last one shorter. Each is stored by itself, so that any thread can
//! decode any block. A block that a codec does not make smaller is stored as it is, which its length tells.
//!
//! `stream` decodes filtered blocks, `recipe` makes them, `choose` finds the recipe that suits an array.
#![forbid(unsafe_code)]

mod choose;
mod columns;
mod delta;
mod dictionary;
pub(crate) mod pack;
mod recipe;
mod shuffle;
pub(crate) mod stream;
pub(crate) mod zstd;

use std::fmt;
use std::str::FromStr;

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

/// How much work an archive is worth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Level {
    /// Little: few filters are tried, on a small sample.
    Fast,
    /// What most archives are worth.
    #[default]
    Default,
    /// The smallest files, slowly written. They are restored as fast as others.
    Best,
}

impl Level {
    /// All of them, from the fastest to the smallest.
    pub const ALL: [Level; 3] = [Level::Fast, Level::Default, Level::Best];

    /// `fast`, `default` or `best`.
    pub fn name(self) -> &'static str {
        match self {
            Level::Fast => "fast",
            Level::Default => "default",
            Level::Best => "best",
        }
    }

    /// Level of zstd.
    pub(super) fn zstd(self) -> i32 {
        match self {
            Level::Fast => 1,
            Level::Default => 12,
            Level::Best => 19,
        }
    }

    /// Level of zstd by which filters are compared.
    fn trial_zstd(self) -> i32 {
        self.zstd().min(9)
    }

    /// Bytes that filters are tried on.
    fn sample(self) -> usize {
        match self {
            Level::Fast => 32 << 10,
            Level::Default | Level::Best => 1 << 20,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A word that is no level.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no level `{0}`, expected `fast`, `default` or `best`")]
pub struct UnknownLevel(pub String);

impl FromStr for Level {
    type Err = UnknownLevel;

    fn from_str(word: &str) -> Result<Self, UnknownLevel> {
        let level = Level::ALL.into_iter().find(|level| level.name() == word);
        level.ok_or_else(|| UnknownLevel(word.to_owned()))
    }
}

/// How one array of a file is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Storage {
    /// As it is: it can be viewed in place.
    Raw,
    /// In zstd blocks: it must be restored before use.
    Zstd,
    /// In blocks that have been filtered, each as it says itself: it must be restored before use.
    Filtered,
    /// Not at all: another array of the file has the same bytes.
    Copy,
    /// As a list of units, which lie beside the archive and are shared: it must be restored before use.
    Units,
}

impl Storage {
    pub(crate) fn code(self) -> u8 {
        match self {
            Storage::Raw => 0,
            Storage::Zstd => 1,
            Storage::Filtered => 2,
            Storage::Copy => 3,
            Storage::Units => 4,
        }
    }

    pub(crate) fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Storage::Raw),
            1 => Some(Storage::Zstd),
            2 => Some(Storage::Filtered),
            3 => Some(Storage::Copy),
            4 => Some(Storage::Units),
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

/// What can be done to the blocks of an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Way {
    Stored,
    Zstd,
    Shuffle,
    Delta,
    DeltaShuffle,
    Dictionary,
    Fields,
    ColumnMajor,
}

impl Way {
    const ALL: [(Way, &'static str); 8] = [
        (Way::Stored, "as it is"),
        (Way::Zstd, "zstd"),
        (Way::Shuffle, "shuffle"),
        (Way::Delta, "delta"),
        (Way::DeltaShuffle, "delta and shuffle"),
        (Way::Dictionary, "dictionary"),
        (Way::Fields, "fields apart"),
        (Way::ColumnMajor, "column-major"),
    ];

    /// Its number in an entry, from 1 on.
    fn code(self) -> u8 {
        Way::ALL.iter().position(|(way, _)| *way == self).map_or(0, |at| at as u8 + 1)
    }

    fn from_code(code: u8) -> Option<Self> {
        Way::ALL.get(usize::from(code).checked_sub(1)?).map(|(way, _)| *way)
    }

    /// In words.
    pub(crate) fn name(self) -> &'static str {
        Way::ALL.iter().find(|(way, _)| *way == self).map_or("", |(_, name)| name)
    }
}

/// How well one way did on a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trial {
    pub(crate) way: Way,
    /// Hundredths of how many times smaller the sample became.
    pub(crate) ratio: u16,
}

/// Why an array is stored as it is: what was tried, the chosen way first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trials {
    /// Bytes of the sample.
    pub(crate) sample: u32,
    /// At most [`Trials::KEPT`] are kept.
    pub(crate) trials: Vec<Trial>,
}

impl Trials {
    /// How many a file keeps.
    pub(crate) const KEPT: usize = 4;
    /// Bytes of an entry.
    pub(crate) const LEN: usize = 4 + 4 * Trials::KEPT;

    pub(crate) fn read(bytes: &[u8; Trials::LEN]) -> Self {
        let (sample, trials) = bytes.split_at(4);
        let trial = |bytes: &[u8; 4]| {
            let [code, _, low, high] = *bytes;
            Some(Trial { way: Way::from_code(code)?, ratio: u16::from_le_bytes([low, high]) })
        };
        let sample = sample.iter().rev().fold(0, |number, &byte| number << 8 | u32::from(byte));
        Trials { sample, trials: trials.as_chunks().0.iter().map_while(trial).collect() }
    }

    pub(crate) fn write(&self) -> [u8; Trials::LEN] {
        let mut bytes = [0; Trials::LEN];
        let (sample, trials) = bytes.split_at_mut(4);
        sample.copy_from_slice(&self.sample.to_le_bytes());
        for (to, trial) in trials.as_chunks_mut::<4>().0.iter_mut().zip(&self.trials) {
            let [low, high] = trial.ratio.to_le_bytes();
            *to = [trial.way.code(), 0, low, high];
        }
        bytes
    }
}
