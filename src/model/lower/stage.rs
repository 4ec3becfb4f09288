//! Arrays of a plan before they are written.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::io;
use std::ops::Range;

use tempfile::{SpooledData, SpooledTempFile};

use crate::format::dtype::{Dtype, Kind, Plain};
use crate::format::{ArrayId, ArrayInfo, Order, Role};
use crate::model::array::{ArraySink, ArraySource};
use crate::model::graph::read::PartReader;
use crate::model::graph::{ArrayPart, Graph, Node, NodeId};
use crate::model::lower::LowerError;
use crate::model::pack::Walk;
use crate::model::plan::Op;

/// Makes an operation from the ids of its arrays.
pub(crate) type MakeOp = Box<dyn FnOnce(&[ArrayId]) -> Op>;

/// What one estimator became.
pub(crate) struct Lowered {
    /// To be written in this order.
    pub(crate) arrays: Vec<Staged>,
    /// Makes the operation from the ids of `arrays`, in their order.
    pub(crate) op: MakeOp,
}

/// An array that is ready to be written.
pub(crate) struct Staged {
    /// A short name: `coef`, `nodes`. Unique within its estimator.
    pub(crate) name: &'static str,
    /// Tells apart arrays of the same name, such as the classes of several outputs.
    pub(crate) index: Option<u32>,
    /// What it is.
    pub(crate) info: ArrayInfo,
    /// Who reads it.
    pub(crate) role: Role,
    /// Its elements.
    pub(crate) data: StagedData,
}

/// The elements of a staged array, in the order that its `info` gives.
pub(crate) enum StagedData {
    /// Few of them.
    Memory(Vec<u8>),
    /// Many, made by lowering. Positioned anywhere; read from the start.
    Spool(SpooledTempFile),
    /// As the source has them. A whole array is then shared with the graph, not written twice.
    Part(ArrayPart),
}

#[cfg(test)]
impl StagedData {
    /// What lowering made.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        match self {
            StagedData::Memory(bytes) => bytes,
            StagedData::Spool(mut file) => {
                let mut bytes = Vec::new();
                io::Seek::rewind(&mut file).unwrap();
                io::Read::read_to_end(&mut file, &mut bytes).unwrap();
                bytes
            }
            StagedData::Part(_) => unreachable!("a part of the source"),
        }
    }
}

/// Why there is no plan for an estimator.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The engine does not compute this.
    Uncovered {
        /// The class that is not covered, if it is not the one that was asked for.
        what: Option<String>,
        /// In words for the user.
        why: String,
    },
    /// Bytes could not be read.
    Io(io::Error),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Refusal::Io(error)
    }
}

impl Refusal {
    /// The same, said of a part of the estimator.
    pub(crate) fn within(self, part: &str) -> Self {
        match self {
            Refusal::Uncovered { what, why } => Refusal::Uncovered { what, why: format!("{part}: {why}") },
            io @ Refusal::Io(_) => io,
        }
    }

    /// The same, said of one of the trees.
    pub(crate) fn in_tree(self, index: usize) -> Self {
        self.within(&format!("tree {index}"))
    }

    /// The estimator at hand is not covered.
    pub(crate) fn uncovered(why: impl Into<String>) -> Self {
        Refusal::Uncovered { what: None, why: why.into() }
    }
}

impl Staged {
    /// An array made by lowering.
    pub(crate) fn memory(name: &'static str, dtype: Dtype, shape: Vec<u64>, bytes: Vec<u8>) -> Self {
        let info = ArrayInfo { dtype, shape, order: Order::C };
        Staged { name, index: None, info, role: Role::Predict, data: StagedData::Memory(bytes) }
    }

    /// Writes the array, unless an earlier one wrote the same array of the source.
    pub(crate) fn write(
        self,
        prefix: &str,
        arrays: &dyn ArraySource,
        sink: &mut dyn ArraySink,
        walk: &Walk,
        stored: &mut HashMap<ArrayId, ArrayId>,
    ) -> Result<ArrayId, LowerError> {
        let shared = match &self.data {
            StagedData::Part(part) => {
                let whole = part.first_row == 0 && same_elements(&arrays.info(part.array), &self.info);
                whole.then_some(part.array)
            }
            _ => None,
        };
        if let Some(id) = shared.and_then(|array| stored.get(&array)) {
            return Ok(*id);
        }
        let name = match (shared.and_then(|array| walk.name_of(array)), self.index) {
            (Some(name), _) => name.to_owned(),
            (None, Some(index)) => format!("{prefix}{}.{index}", self.name),
            (None, None) => format!("{prefix}{}", self.name),
        };
        if let Some(array) = shared.filter(|array| arrays.slice(*array, 0..0).is_some()) {
            let added = sink.add_slices(&name, &self.info, self.role, &|bytes| arrays.slice(array, bytes));
            let id = added.map_err(|source| LowerError::Write { array: name, source })?;
            stored.insert(array, id);
            return Ok(id);
        }
        let add =
            |sink: &mut dyn ArraySink, data: &mut dyn io::Read| sink.add(&name, &self.info, self.role, data);
        let added = match self.data {
            StagedData::Memory(bytes) => add(sink, &mut bytes.as_slice()),
            StagedData::Spool(file) => match file.into_inner() {
                SpooledData::InMemory(bytes) => {
                    let piece =
                        |range: Range<u64>| bytes.get_ref().get(range.start as usize..range.end as usize);
                    sink.add_slices(&name, &self.info, self.role, &piece)
                }
                SpooledData::OnDisk(mut file) => {
                    io::Seek::rewind(&mut file).and_then(|()| add(sink, &mut file))
                }
            },
            StagedData::Part(part) => {
                PartReader::new(&part, arrays).and_then(|mut reader| add(sink, &mut reader))
            }
        };
        let id = added.map_err(|source| LowerError::Write { array: name, source })?;
        stored.extend(shared.map(|array| (array, id)));
        Ok(id)
    }
}

/// Whether two arrays are the same run of bytes, if perhaps in other dimensions.
fn same_elements(stored: &ArrayInfo, seen: &ArrayInfo) -> bool {
    let one_run = |info: &ArrayInfo| info.order == Order::C || info.shape.len() < 2;
    stored.dtype == seen.dtype
        && one_run(stored)
        && one_run(seen)
        && stored.shape.iter().product::<u64>() == seen.shape.iter().product::<u64>()
}

/// Most classes that a plan holds; their labels are read into memory.
const MAX_CLASS_BYTES: u64 = 1 << 24;

/// The labels of a classifier: integers, bools, floats or text.
///
/// Python strings become a `<U` array: the answers are the same text, in NumPy's fixed-width form.
pub(crate) fn classes(
    graph: &Graph,
    id: NodeId,
    arrays: &dyn ArraySource,
    index: Option<u32>,
) -> Result<Staged, Refusal> {
    if let Some(part) = graph.array_part(id) {
        let dtype = arrays.info(part.array).dtype;
        let Dtype::Plain(plain) = &dtype else {
            return Err(Refusal::uncovered("its classes are records"));
        };
        let covered = matches!(plain.kind, Kind::Bool | Kind::Int | Kind::Uint | Kind::Float | Kind::Str);
        if !covered || plain.big_endian || part.shape.len() != 1 || plain.itemsize == 0 {
            return Err(Refusal::uncovered(format!(
                "its classes are an array of {dtype}; integers, floats, bools and text are covered"
            )));
        }
        let info = ArrayInfo { dtype, shape: part.shape.to_vec(), order: Order::C };
        return Ok(Staged {
            name: "classes",
            index,
            info,
            role: Role::Predict,
            data: StagedData::Part(part.clone()),
        });
    }
    let texts = graph.texts_at(id, arrays, MAX_CLASS_BYTES)?;
    let Some((shape, texts)) = texts.filter(|(shape, _)| shape.len() == 1) else {
        let found = graph.plain_array(id).map_or("no array", |id| match graph.node(id) {
            Node::ObjectArray { .. } => "Python objects that are not all short strings",
            _ => "of another type",
        });
        return Err(Refusal::uncovered(format!(
            "its classes are {found}; integers, floats, bools and text are covered"
        )));
    };
    if texts.iter().any(|text| text.ends_with('\0')) {
        return Err(Refusal::uncovered("a class label ends with NUL, which NumPy text arrays cannot hold"));
    }
    Ok(Staged { index, ..text_array("classes", shape, &texts)? })
}

/// A `<U` array of `texts`.
pub(crate) fn text_array(name: &'static str, shape: Vec<u64>, texts: &[String]) -> Result<Staged, Refusal> {
    let width = texts.iter().map(|text| text.chars().count()).max().unwrap_or(0).max(1);
    let too_long = || Refusal::uncovered("its class labels are too long");
    let total = width
        .checked_mul(texts.len())
        .filter(|chars| *chars as u64 <= MAX_CLASS_BYTES)
        .ok_or_else(too_long)?;
    let itemsize = u32::try_from(width * 4).map_err(|_| too_long())?;
    let mut bytes = Vec::with_capacity(total * 4);
    for text in texts {
        let end = bytes.len() + width * 4;
        bytes.extend(text.chars().flat_map(|c| u32::from(c).to_le_bytes()));
        bytes.resize(end, 0);
    }
    Ok(Staged::memory(name, Dtype::Plain(Plain::new(Kind::Str, itemsize)), shape, bytes))
}
