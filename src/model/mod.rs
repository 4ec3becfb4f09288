//! What the bytes mean: arrays, the graph of the saved object, the plan of the engine.
#![forbid(unsafe_code)]

pub(crate) mod aligned;
pub(crate) mod array;
pub(crate) mod blocks;
pub(crate) mod graph;
pub(crate) mod in_order;
pub(crate) mod lower;
pub(crate) mod numerics;
pub(crate) mod pack;
pub(crate) mod plan;
pub(crate) mod terms;
pub(crate) mod trees;
pub(crate) mod units;
pub(crate) mod verify;

use std::error::Error;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::format::codec::Storage;
use crate::format::digest::Digest;
use crate::format::error::FormatError;
use crate::format::header::{Part, Prologue};
use crate::format::parts::Unpacked;
use crate::format::table::Index;
use crate::format::writer::Parts;
use crate::format::{ArrayId, ArrayInfo, Role};
use crate::mapping::{MapError, Mapping, OpenOptions};
use crate::model::array::{ArrayError, ArrayRef, ArraySource};
use crate::model::graph::{Graph, GraphError};
use crate::model::plan::validate::validate;
use crate::model::plan::{Plan, PlanArrays, PlanError};
use crate::model::units::UnitFolder;

/// A model file: its arrays, the object it was saved from, and what can be computed from it.
///
/// `D` holds the bytes: a [`Mapping`] of a file, or memory. Opening checks the prologue, the index, the plan and the
/// checksums of all parts but the arrays; that is [`Model::verify`].
#[derive(Debug)]
pub struct Model<D> {
    data: D,
    prologue: Prologue,
    /// Graph, plan and metadata, if they are packed in the file.
    unpacked: Option<Unpacked>,
    index: Index,
    plan: Plan,
    /// Set when the plan has been found to fit its arrays.
    plan_checked: OnceLock<()>,
    metadata: serde_json::Value,
    /// Where the units are of an archive that consists of them.
    units: Option<UnitFolder>,
}

/// A file that could not be opened as a model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// It cannot be mapped.
    #[error(transparent)]
    Map(#[from] MapError),
    /// It is not a model file, or damaged.
    #[error("cannot open model {}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: FormatError,
    },
}

impl Model<Mapping> {
    /// Maps a file and checks its prologue, index, graph, plan and metadata, not its arrays.
    ///
    /// # Errors
    ///
    /// [`OpenError`] names the path.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        Self::open_with(path, &OpenOptions::default())
    }

    /// [`Model::open`] with a say in how the file is mapped.
    ///
    /// # Errors
    ///
    /// [`OpenError`] names the path.
    pub fn open_with(path: impl AsRef<Path>, options: &OpenOptions) -> Result<Self, OpenError> {
        let path = path.as_ref();
        let mapping = Mapping::open(path)?;
        if options.huge_pages {
            mapping.advise_huge_pages();
        }
        let model = Self::from_bytes(mapping)
            .map_err(|source| OpenError::Format { path: path.to_owned(), source })?
            .beside_units(path);
        if options.populate {
            model.data.populate(model.prediction_range())?;
        }
        Ok(model)
    }
}

impl<D> Model<D> {
    /// What holds the bytes.
    pub fn data(&self) -> &D {
        &self.data
    }

    /// What can be computed from this file.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What its maker said about it: JSON, `null` if nothing.
    pub fn metadata(&self) -> &serde_json::Value {
        &self.metadata
    }

    /// The identity of the content, the same for the hot and the cold form of a file.
    pub fn digest(&self) -> Digest {
        self.prologue.digest
    }

    /// Whether arrays are compressed: `restore` makes them ready for use.
    pub fn is_cold(&self) -> bool {
        self.index.segments().iter().any(|segment| segment.storage != Storage::Raw)
    }

    /// From the first to the last byte of arrays that prediction reads.
    pub(crate) fn prediction_range(&self) -> Range<u64> {
        let predict = || self.index.segments().iter().filter(|segment| segment.role == Role::Predict);
        let start = predict().map(|segment| segment.offset).min().unwrap_or(0);
        start..predict().map(|segment| segment.range().end).max().unwrap_or(0)
    }

    /// Length of the file.
    pub fn len_bytes(&self) -> u64 {
        self.prologue.metadata.start + self.prologue.metadata.len
    }

    pub(crate) fn index(&self) -> &Index {
        &self.index
    }

    pub(crate) fn prologue(&self) -> &Prologue {
        &self.prologue
    }
}

impl<D: AsRef<[u8]>> Model<D> {
    /// Checks the bytes of a file, all but its arrays.
    ///
    /// # Errors
    ///
    /// [`FormatError`] says what is wrong and where.
    pub fn from_bytes(data: D) -> Result<Self, FormatError> {
        let file = data.as_ref();
        let prologue = Prologue::read(file)?;
        let index = Index::read(file, &prologue)?;
        let unpacked = Unpacked::read(file, &prologue)?;
        let parts = parts(file, &prologue, unpacked.as_ref());
        let plan = read_plan(parts.plan, prologue.plan)?;
        let metadata = read_metadata(parts.metadata, prologue.metadata)?;
        let plan_checked = OnceLock::new();
        Ok(Model { data, prologue, unpacked, index, plan, plan_checked, metadata, units: None })
    }

    /// The array of a name.
    ///
    /// # Errors
    ///
    /// [`ArrayError::NoSuchName`]
    pub fn array(&self, name: &str) -> Result<ArrayRef<'_>, ArrayError> {
        match self.index.find(name) {
            Some(id) => self.array_at(id),
            None => Err(ArrayError::NoSuchName { name: name.to_owned(), count: self.index.len() }),
        }
    }

    /// The array of an id.
    ///
    /// # Errors
    ///
    /// [`ArrayError::NoSuchId`]
    pub fn array_at(&self, id: ArrayId) -> Result<ArrayRef<'_>, ArrayError> {
        let segment =
            self.index.segment(id).ok_or(ArrayError::NoSuchId { id: id.0, count: self.index.len() })?;
        Ok(ArrayRef::new(id, self.index.name(segment), segment, self.bytes(segment.range())))
    }

    /// All arrays, in the order of their ids.
    pub fn arrays(&self) -> impl Iterator<Item = ArrayRef<'_>> {
        (0..self.index.len()).filter_map(|id| self.array_at(ArrayId(id)).ok())
    }

    /// The encoded graph; empty if the file holds none.
    pub(crate) fn graph_bytes(&self) -> &[u8] {
        self.parts().graph
    }

    /// The parts after the arrays, unpacked.
    pub(crate) fn parts(&self) -> Parts<'_> {
        parts(self.data.as_ref(), &self.prologue, self.unpacked.as_ref())
    }

    /// Bytes of the file; `range` has been checked when the file was opened.
    pub(crate) fn bytes(&self, range: Range<u64>) -> &[u8] {
        let start = usize::try_from(range.start).unwrap_or(usize::MAX);
        let end = usize::try_from(range.end).unwrap_or(usize::MAX);
        self.data.as_ref().get(start..end).unwrap_or_default()
    }
}

impl<D: AsRef<[u8]> + Sync> Model<D> {
    /// The plan, compared with its arrays once, so that the engine can follow their indices.
    ///
    /// # Errors
    ///
    /// [`PlanError`] says which array does not fit, also if it is compressed.
    pub fn checked_plan(&self) -> Result<&Plan, PlanError> {
        if self.plan_checked.get().is_none() {
            validate(&self.plan, self)?;
            self.plan_checked.get_or_init(|| ());
        }
        Ok(&self.plan)
    }
}

impl<D: AsRef<[u8]> + Sync> Model<D> {
    /// The saved object as plain data, read and checked anew; `None` if the file holds only arrays.
    ///
    /// # Errors
    ///
    /// [`GraphError`] says which byte or node is wrong.
    pub fn graph(&self) -> Result<Option<Graph>, GraphError> {
        match self.graph_bytes() {
            [] => Ok(None),
            bytes => Graph::decode(bytes, self).map(Some),
        }
    }
}

impl<D: AsRef<[u8]> + Sync> PlanArrays for Model<D> {
    fn plan_array_info(&self, id: ArrayId) -> Option<ArrayInfo> {
        Some(self.index.segment(id)?.info.clone())
    }

    fn plan_array_bytes(&self, id: ArrayId) -> Option<&[u8]> {
        let segment = self.index.segment(id)?;
        matches!(segment.storage, Storage::Raw).then(|| self.bytes(segment.range()))
    }
}

impl<D: AsRef<[u8]> + Sync> ArraySource for Model<D> {
    fn array_count(&self) -> u32 {
        self.index.len()
    }

    fn info(&self, id: ArrayId) -> ArrayInfo {
        match self.index.segment(id) {
            Some(segment) => segment.info.clone(),
            None => unreachable!(
                "array {} of {} was asked for by a graph that was not checked",
                id.0,
                self.index.len()
            ),
        }
    }

    fn read_at(&self, id: ArrayId, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let array = self.array_at(id).map_err(io::Error::other)?;
        let bytes = array.bytes().map_err(io::Error::other)?;
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let end = start.checked_add(buf.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        buf.copy_from_slice(bytes.get(start..end).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

fn parts<'a>(file: &'a [u8], prologue: &Prologue, unpacked: Option<&'a Unpacked>) -> Parts<'a> {
    if let Some(unpacked) = unpacked {
        return unpacked.parts();
    }
    let part = |part: Part| part.of(file).unwrap_or_default();
    let (graph, plan, metadata) = (prologue.graph, prologue.plan, prologue.metadata);
    Parts { graph: part(graph), plan: part(plan), metadata: part(metadata) }
}

fn read_plan(bytes: &[u8], part: Part) -> Result<Plan, FormatError> {
    if bytes.is_empty() {
        let (what, why) = ("arrays".to_owned(), "the file holds arrays without a model".to_owned());
        return Ok(Plan::uncovered(what, why));
    }
    Plan::decode(bytes).map_err(|error| unreadable("plan", part, &error))
}

fn read_metadata(bytes: &[u8], part: Part) -> Result<serde_json::Value, FormatError> {
    if bytes.is_empty() {
        return Ok(serde_json::Value::Null);
    }
    serde_json::from_slice(bytes).map_err(|error| unreadable("metadata", part, &error))
}

fn unreadable(name: &'static str, part: Part, error: &dyn Error) -> FormatError {
    let mut reason = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        reason = format!("{reason}: {error}");
        source = error.source();
    }
    FormatError::Part { part: name, start: part.start, reason }
}
