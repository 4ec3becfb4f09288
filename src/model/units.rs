//! Reading the units that an archive lists and that lie beside it.
#![forbid(unsafe_code)]

use std::collections::HashSet;
use std::fmt::Write as _;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::format::codec::Storage;
use crate::format::codec::stream::Decoder;
use crate::format::table::Segment;
use crate::format::units::Unit;
use crate::mapping::{MapError, open_regular};
use crate::model::Model;
use crate::model::blocks::{Damage, Place};

/// The folder of units, beside the archives that share them.
pub(crate) const FOLDER: &str = "onecopy-units";

/// An archive of units, and where they are.
#[derive(Clone, Debug)]
pub(crate) struct UnitFolder {
    /// The archive, wherever links to it are.
    pub(crate) archive: PathBuf,
    /// The folder of its units.
    pub(crate) path: PathBuf,
}

impl UnitFolder {
    /// That of the archive at a path.
    pub(crate) fn beside(archive: &Path) -> Self {
        let archive = std::fs::canonicalize(archive).unwrap_or_else(|_| archive.to_owned());
        let path = archive.parent().unwrap_or(Path::new(".")).join(FOLDER);
        UnitFolder { archive, path }
    }

    /// That of the archives in a folder.
    pub(crate) fn in_folder(folder: &Path) -> PathBuf {
        folder.join(FOLDER)
    }

    /// Bytes of a unit on disk; `None` if it is not there.
    pub(crate) fn stored_len(&self, unit: &Unit) -> Option<u64> {
        Some(std::fs::metadata(self.path_of(unit)).ok()?.len())
    }

    /// The file of a unit.
    pub(crate) fn path_of(&self, unit: &Unit) -> PathBuf {
        self.path.join(unit.digest.to_string())
    }

    /// Fills `out`, as long as the unit, with its bytes.
    pub(crate) fn read(&self, unit: &Unit, decoder: &mut Decoder, out: &mut [u8]) -> Result<(), String> {
        let (file, len) = open_regular(&self.path_of(unit)).map_err(|error| self.missing(unit, &error))?;
        let most = unit.max_file_len();
        let altered = |problem: &str| {
            format!("needs unit {} of {}, which is damaged: it {problem}", unit.digest, self.path.display())
        };
        if len > most {
            return Err(altered(&format!("has {len} bytes, expected at most {most}")));
        }
        let mut bytes = Vec::with_capacity(len as usize);
        file.take(most)
            .read_to_end(&mut bytes)
            .map_err(|error| altered(&format!("cannot be read ({error})")))?;
        unit.decode(&bytes, decoder, out).map_err(|problem| altered(&problem))
    }

    fn missing(&self, unit: &Unit, error: &MapError) -> String {
        let mut why = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(error) = source {
            // Writing to a string cannot fail.
            let _ = write!(why, ": {error}");
            source = error.source();
        }
        format!("needs unit {} of {}, which is not there ({why})", unit.digest, self.path.display())
    }
}

impl<D> Model<D> {
    /// Whether some arrays consist of units.
    pub(crate) fn has_units(&self) -> bool {
        self.index().segments().iter().any(|segment| segment.storage == Storage::Units)
    }

    /// The model, which was read from that path or a copy of what is there.
    pub(crate) fn beside_units(mut self, path: &Path) -> Self {
        if self.has_units() {
            self.units = Some(UnitFolder::beside(path));
        }
        self
    }

    /// Where the units are.
    pub(crate) fn unit_folder(&self) -> Option<&UnitFolder> {
        self.units.as_ref()
    }
}

impl<D: AsRef<[u8]>> Model<D> {
    /// The units of a block of an array that consists of them.
    pub(crate) fn units_of(&self, place: &Place<'_>) -> Result<Vec<Unit>, Damage> {
        let list = self.stored(place)?;
        Unit::read_list(list, place.decoded_len()).map_err(|problem| self.damage(place, &problem))
    }

    /// All units that arrays consist of.
    pub(crate) fn units(&self) -> Result<HashSet<Unit>, Damage> {
        let shared = |segment: &&Segment| segment.storage == Storage::Units;
        let mut units = HashSet::new();
        for segment in self.index().segments().iter().filter(shared) {
            for place in self.places(segment) {
                units.extend(self.units_of(&place)?);
            }
        }
        Ok(units)
    }

    /// Fills `scratch.bytes`, as long as the block, with those of its units.
    pub(super) fn join_units(
        &self,
        place: &Place<'_>,
        out: &mut [u8],
        decoder: &mut Decoder,
    ) -> Result<(), Damage> {
        let units = self.units_of(place)?;
        let Some(folder) = &self.units else {
            return Err(self.damage(place, "consists of units, and where they are is not known"));
        };
        let mut rest = out;
        for unit in units {
            let out;
            // The list has been found to add up to the block.
            (out, rest) = std::mem::take(&mut rest).split_at_mut(unit.len as usize);
            folder.read(&unit, decoder, out).map_err(|problem| self.damage(place, &problem))?;
        }
        Ok(())
    }
}
