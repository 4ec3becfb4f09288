//! Archives of versions: those of one folder share what they have in common, unit by unit.
#![forbid(unsafe_code)]

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use crate::format::codec::Storage;
use crate::format::codec::stream::Decoder;
use crate::format::digest::Digest;
use crate::format::header::MAGIC;
use crate::format::units::{Unit, UnitStore};
use crate::format::{ArrayId, OnProgress};
use crate::mapping::Mapping;
use crate::model::blocks::Damage;
use crate::model::units::UnitFolder;
use crate::model::{Model, OpenError};
use crate::ops::rewrite::{ArchiveOptions, RewriteError, RewriteReport, rewrite};
use crate::store::fs::StepError;
use crate::store::units::UnitsHeld;

/// What an archive of versions has in common with others in its folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sharing {
    /// Units that were there before.
    pub shared_units: u64,
    /// Their bytes on disk.
    pub shared_bytes: u64,
    /// Units that were added.
    pub new_units: u64,
    /// Their bytes on disk.
    pub new_bytes: u64,
}

/// The units of an archive of versions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct UnitsSummary {
    /// Where they are.
    pub folder: PathBuf,
    /// How many there are.
    pub units: u64,
    /// Their bytes on disk.
    pub bytes: u64,
    /// Bytes of those that other archives of the folder need too.
    pub shared_bytes: u64,
    /// Bytes of those that only this archive needs: what removing it would set free.
    pub own_bytes: u64,
    /// Other archives of the folder that have units in common with this one.
    pub shared_with: u64,
    /// Units that are not there.
    pub missing: u64,
}

/// What was removed from a folder of archives of versions.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PruneReport {
    /// Archives in the folder that consist of units.
    pub archives: u64,
    /// Units that they need.
    pub kept: u64,
    /// Units that were removed.
    pub removed: u64,
    /// Their bytes on disk.
    pub removed_bytes: u64,
}

/// Why versions cannot be archived together, or units not be removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VersionsError {
    /// The archive cannot be made.
    #[error(transparent)]
    Rewrite(#[from] RewriteError),
    /// The base cannot be opened.
    #[error(transparent)]
    Base(#[from] OpenError),
    /// The base shares nothing.
    #[error(
        "{} is not an archive of versions: give the folder where versions shall be kept, also for the first one \
         (`onecopy archive MODEL --base FOLDER`)",
        path.display()
    )]
    NotVersions {
        /// The base.
        path: PathBuf,
    },
    /// The archive would lie apart from its units.
    #[error(
        "cannot write {}: versions that share units with those in {} lie in that folder",
        path.display(),
        folder.display()
    )]
    Elsewhere {
        /// Where it was to be.
        path: PathBuf,
        /// Where it must be.
        folder: PathBuf,
    },
    /// A folder without units.
    #[error("{} is no folder of archives of versions: there is no `onecopy-units` in it", folder.display())]
    NoUnits {
        /// The folder.
        folder: PathBuf,
    },
    /// An archive of which is not known what it needs.
    #[error("cannot tell which units {} needs, so none were removed; repair it or remove it", path.display())]
    Unreadable {
        /// The archive.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The system refused.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Units cannot be kept or removed.
    #[error(transparent)]
    Step(#[from] StepError),
}

/// The folder that a base stands for: itself, or where the archive is.
///
/// # Errors
///
/// [`VersionsError::Io`] if there is no such file or folder.
pub fn folder_of_versions(base: &Path) -> Result<PathBuf, VersionsError> {
    let failed = |source| VersionsError::Io { action: "find", path: base.to_owned(), source };
    if std::fs::metadata(base).map_err(failed)?.is_dir() {
        return Ok(base.to_owned());
    }
    let real = std::fs::canonicalize(base).map_err(failed)?;
    let beside =
        |path: &Path| path.parent().filter(|folder| !folder.as_os_str().is_empty()).map(Path::to_owned);
    let named = beside(base).unwrap_or_else(|| PathBuf::from("."));
    let same = std::fs::canonicalize(&named).ok().as_deref() == real.parent();
    Ok(if same { named } else { beside(&real).unwrap_or(named) })
}

/// Writes `src` to `dst` in compressed form, without what older versions in the folder of `dst` have too: arrays lie in units,
/// pieces of at most 1 MiB, in the folder `onecopy-units` beside the archives. `base` is the older version to share with, or that
/// folder, to share with all versions in it, of which there may be none yet.
///
/// Removing an archive removes nothing that others need; [`prune`] removes what none of them does.
///
/// # Errors
///
/// [`VersionsError`]; nothing is left at `dst` that was not there before. Units that were written stay for the next attempt, or
/// until [`prune`].
pub fn archive_version(
    src: &Path,
    dst: &Path,
    base: &Path,
    options: &ArchiveOptions,
    progress: OnProgress<'_>,
) -> Result<RewriteReport, VersionsError> {
    let folder = folder_of_versions(base)?;
    let real = |path: &Path| std::fs::canonicalize(path);
    let found = |source| VersionsError::Io { action: "find", path: folder.clone(), source };
    let real_folder = real(&folder).map_err(found)?;
    let beside = dst.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !real(beside).is_ok_and(|beside| beside == real_folder) {
        return Err(VersionsError::Elsewhere { path: dst.to_owned(), folder });
    }
    let units = UnitFolder { archive: dst.to_owned(), path: UnitFolder::in_folder(&real_folder) };
    let bases = bases(base)?;
    let held = UnitsHeld::to_add(&units.path)?;
    let store = Store::new(units, held, &bases);
    let mut report = rewrite(src, dst, Some(options.level), Some(&store), progress)?;
    let sharing = store.sharing();
    report.bytes += sharing.new_bytes;
    report.shared = Some(sharing);
    Ok(report)
}

/// Removes units that no archive in the folder lists.
///
/// # Errors
///
/// [`VersionsError::Unreadable`] if there is a file whose units are not known; nothing is removed then.
pub fn prune(folder: &Path) -> Result<PruneReport, VersionsError> {
    let units = UnitFolder::in_folder(folder);
    if !units.is_dir() {
        return Err(VersionsError::NoUnits { folder: folder.to_owned() });
    }
    let held = UnitsHeld::to_remove(&units)?;
    let (mut archives, mut needed) = (0, HashSet::new());
    for path in files(folder)? {
        let unreadable = |source| VersionsError::Unreadable { path: path.clone(), source };
        if let Some(listed) = listed(&path).map_err(unreadable)? {
            archives += 1;
            needed.extend(listed.iter().map(|unit| unit.digest.to_string()));
        }
    }
    let removed = held.keep_only(&needed)?;
    let kept = needed.len() as u64;
    Ok(PruneReport { archives, kept, removed: removed.units, removed_bytes: removed.bytes })
}

/// All that lies in a folder and may be an archive.
fn files(folder: &Path) -> Result<Vec<PathBuf>, VersionsError> {
    let failed = |source| VersionsError::Io { action: "list", path: folder.to_owned(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        // Links lead to archives too. What cannot be looked at is for whoever reads it to say.
        if std::fs::metadata(&path).map_or(true, |metadata| metadata.is_file()) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The units that a file lists; `None` if it is no archive of versions.
fn listed(path: &Path) -> Result<Option<HashSet<Unit>>, Box<dyn std::error::Error + Send + Sync>> {
    let named = path.extension() == Some(OsStr::new("onecopy"));
    let mut start = [0; MAGIC.len()];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut start));
    match read {
        Ok(()) if start == MAGIC || named => {}
        Err(error) if named || error.kind() != io::ErrorKind::UnexpectedEof => return Err(error.into()),
        _ => return Ok(None),
    }
    let model = Model::open(path)?;
    if model.has_units() { Ok(Some(model.units()?)) } else { Ok(None) }
}

/// The archives that a version may share with.
fn bases(base: &Path) -> Result<Vec<Model<Mapping>>, VersionsError> {
    if base.is_dir() {
        let models = files(base)?.into_iter().filter_map(|path| Model::open(path).ok());
        return Ok(models.filter(Model::has_units).collect());
    }
    let model = Model::open(base)?;
    if model.has_units() {
        Ok(vec![model])
    } else {
        Err(VersionsError::NotVersions { path: base.to_owned() })
    }
}

/// The units of a folder, while a version is added to it.
struct Store<'a> {
    units: UnitFolder,
    held: UnitsHeld,
    bases: &'a [Model<Mapping>],
    /// Arrays of units in the bases.
    arrays: HashMap<[u8; 32], (usize, ArrayId)>,
    seen: Mutex<Seen>,
}

/// Units of the new version, with their bytes on disk.
#[derive(Default)]
struct Seen {
    shared: HashMap<Unit, u64>,
    new: HashMap<Unit, u64>,
}

impl<'a> Store<'a> {
    fn new(units: UnitFolder, held: UnitsHeld, bases: &'a [Model<Mapping>]) -> Self {
        let mut arrays = HashMap::new();
        for (at, base) in bases.iter().enumerate() {
            for (id, segment) in (0..).zip(base.index().segments()) {
                if segment.storage == Storage::Units {
                    arrays.insert(segment.digest.0, (at, ArrayId(id)));
                }
            }
        }
        Store { units, held, bases, arrays, seen: Mutex::default() }
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sharing(&self) -> Sharing {
        let seen = self.seen();
        Sharing {
            shared_units: seen.shared.len() as u64,
            shared_bytes: seen.shared.values().sum(),
            new_units: seen.new.len() as u64,
            new_bytes: seen.new.values().sum(),
        }
    }
}

impl UnitStore for Store<'_> {
    fn older(&self, array: &str, digest: Digest, number: u64) -> Vec<Vec<Unit>> {
        let same_bytes = self.arrays.get(&digest.0).map(|&(at, id)| (at, id));
        let same_name = (0..).zip(self.bases).filter_map(|(at, base)| Some((at, base.index().find(array)?)));
        let mut lists: Vec<Vec<Unit>> = Vec::new();
        for (at, id) in same_bytes.into_iter().chain(same_name) {
            // A base that is damaged there is none that can be shared with.
            let list = self.bases.get(at).and_then(|base| units_at(base, id, number)?.ok());
            lists.extend(list.filter(|list| !lists.contains(list)));
        }
        lists
    }

    fn has(&self, unit: &Unit, decoder: &mut Decoder) -> bool {
        let known = |seen: &Seen| seen.shared.contains_key(unit) || seen.new.contains_key(unit);
        if known(&self.seen()) {
            return true;
        }
        let mut bytes = vec![0; unit.len as usize];
        if self.units.read(unit, decoder, &mut bytes).is_err() {
            return false;
        }
        let len = self.units.stored_len(unit).unwrap_or(0);
        self.seen().shared.insert(*unit, len);
        true
    }

    fn put(&self, unit: &Unit, file: &[u8]) -> io::Result<()> {
        self.held.put(&unit.digest.to_string(), file).map_err(io::Error::other)?;
        self.seen().new.insert(*unit, file.len() as u64);
        Ok(())
    }

    fn end(&self) -> io::Result<()> {
        self.held.sync().map_err(io::Error::other)
    }
}

/// The units of a block of an array, if it has such.
fn units_at(base: &Model<Mapping>, id: ArrayId, number: u64) -> Option<Result<Vec<Unit>, Damage>> {
    let segment = base.index().segment(id)?;
    let place = base.places(segment).nth(usize::try_from(number).ok()?)?;
    (place.segment.storage == Storage::Units).then(|| base.units_of(&place))
}

impl<D: AsRef<[u8]>> Model<D> {
    /// Bytes on disk, those of its units included.
    pub(crate) fn stored_len(&self) -> u64 {
        let summed = || {
            let folder = self.unit_folder()?;
            Some(self.units().ok()?.iter().filter_map(|unit| folder.stored_len(unit)).sum::<u64>())
        };
        self.len_bytes().saturating_add(summed().unwrap_or(0))
    }

    /// What is known of its units; `None` if it has none, or they are not known.
    pub(super) fn units_summary(&self) -> Option<UnitsSummary> {
        let folder = self.unit_folder()?;
        let units = self.units().ok()?;
        let others = folder.archive.parent().and_then(|parent| files(parent).ok()).unwrap_or_default();
        let own = |path: &PathBuf| std::fs::canonicalize(path).is_ok_and(|path| path == folder.archive);
        let others = others.into_iter().filter(|path| !own(path)).filter_map(|path| listed(&path).ok()?);
        let mut shared: HashSet<Unit> = HashSet::new();
        let mut shared_with = 0;
        for other in others {
            let common = units.intersection(&other).copied().collect::<Vec<_>>();
            shared_with += u64::from(!common.is_empty());
            shared.extend(common);
        }
        let mut summary = UnitsSummary {
            folder: folder.path.clone(),
            units: units.len() as u64,
            bytes: 0,
            shared_bytes: 0,
            own_bytes: 0,
            shared_with,
            missing: 0,
        };
        for unit in &units {
            match folder.stored_len(unit) {
                None => summary.missing += 1,
                Some(bytes) if shared.contains(unit) => summary.shared_bytes += bytes,
                Some(bytes) => summary.own_bytes += bytes,
            }
        }
        summary.bytes = summary.shared_bytes + summary.own_bytes;
        Some(summary)
    }
}
