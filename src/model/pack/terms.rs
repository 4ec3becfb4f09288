//! Big dicts of `str` to int as arrays with a hash table.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::io;
use std::ops::Range;

use crate::format::dtype::Dtype;
use crate::format::{ArrayId, ArrayInfo, Role};
use crate::model::array::{ArraySink, ArraySource};
use crate::model::graph::{Graph, Node, NodeId, Terms};
use crate::model::pack::PackError;
use crate::model::pack::layout::Names;
use crate::model::pack::walk::Walk;
use crate::model::terms::{MIN_TERMS, NewTerms};

/// A big dict of `str` to int that becomes arrays.
pub(super) enum Found {
    /// They were made of it.
    New(NewTerms),
    /// The source has them.
    There(Terms),
}

/// Whether the dict is big, all its keys are `str`, and all its values `int`, or all `numpy.int64`.
pub(super) fn alike(graph: &Graph, pairs: &[(NodeId, NodeId)]) -> bool {
    let numpy = pairs.first().is_some_and(|(_, value)| is_numpy(graph.node(*value)));
    pairs.len() >= MIN_TERMS
        && pairs.iter().all(|(key, value)| match (graph.node(*key), graph.node(*value)) {
            (Node::Str(_), Node::Int(_)) => !numpy,
            (Node::Str(_), value) => numpy && is_numpy(value),
            _ => false,
        })
}

/// The arrays of a dict that is [`alike`].
pub(super) fn of(graph: &Graph, pairs: &[(NodeId, NodeId)]) -> Option<NewTerms> {
    let numpy = pairs.first().is_some_and(|(_, value)| is_numpy(graph.node(*value)));
    let pair = |(key, value): &(NodeId, NodeId)| {
        (graph.as_str(*key).unwrap_or_default(), graph.as_int(*value).unwrap_or_default())
    };
    NewTerms::new(pairs.iter().map(pair), numpy)
}

fn is_numpy(value: &Node) -> bool {
    matches!(value, Node::Scalar { dtype, .. } if *dtype == Dtype::I64)
}

/// Stores the dicts that the walk chose.
pub(super) fn store(
    walk: &Walk,
    names: &mut Names,
    arrays: &dyn ArraySource,
    sink: &mut dyn ArraySink,
) -> Result<HashMap<NodeId, Terms>, PackError> {
    let mut stored = HashMap::new();
    for (id, name, found) in &walk.terms {
        let mut add = |word: &str, dtype: Dtype, bytes: Bytes<'_>| {
            let name = names.unique(&format!("{name}.{word}"));
            bytes
                .store(&name, &dtype, arrays, sink)
                .map_err(|source| PackError::Write { array: name, source })
        };
        let (seed, numpy) = match found {
            Found::New(new) => (new.seed, new.numpy),
            Found::There(terms) => (terms.seed, terms.numpy),
        };
        let [text, ends, values, slots] = match found {
            Found::New(new) => [
                Bytes::New(&new.text),
                Bytes::New(bytemuck::cast_slice(&new.ends)),
                Bytes::New(bytemuck::cast_slice(&new.values)),
                Bytes::New(bytemuck::cast_slice(&new.slots)),
            ],
            Found::There(terms) => [terms.text, terms.ends, terms.values, terms.slots].map(Bytes::There),
        };
        let terms = Terms {
            text: add("text", Dtype::U8, text)?,
            ends: add("ends", Dtype::U32, ends)?,
            values: add("values", Dtype::I64, values)?,
            slots: add("slots", Dtype::U64, slots)?,
            seed,
            numpy,
        };
        stored.insert(*id, terms);
    }
    Ok(stored)
}

/// The bytes of one array of a dict.
enum Bytes<'a> {
    New(&'a [u8]),
    There(ArrayId),
}

impl Bytes<'_> {
    fn store(
        self,
        name: &str,
        dtype: &Dtype,
        arrays: &dyn ArraySource,
        sink: &mut dyn ArraySink,
    ) -> io::Result<ArrayId> {
        let len = match &self {
            Bytes::New(bytes) => bytes.len() as u64,
            Bytes::There(id) => arrays.info(*id).len_bytes().ok_or(io::ErrorKind::InvalidData)?,
        };
        let info = ArrayInfo::new(dtype.clone(), [len / u64::from(dtype.itemsize())]);
        let range =
            |range: &Range<u64>| Some(usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?);
        match self {
            Bytes::New(bytes) => {
                sink.add_slices(name, &info, Role::Rebuild, &|piece| bytes.get(range(&piece)?))
            }
            Bytes::There(id) if arrays.slice(id, 0..0).is_some() => {
                sink.add_slices(name, &info, Role::Rebuild, &|piece| arrays.slice(id, piece))
            }
            Bytes::There(id) => {
                let mut bytes = vec![0; usize::try_from(len).map_err(|_| io::ErrorKind::OutOfMemory)?];
                arrays.read_at(id, 0, &mut bytes)?;
                sink.add(name, &info, Role::Rebuild, &mut bytes.as_slice())
            }
        }
    }
}
