//! The values that a pickle builds: graph nodes, and arrays beside them.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::ops::Range;

use crate::convert::error::{Fault, Problem};
use crate::convert::limits::Budget;
use crate::convert::pickle::text;
use crate::convert::source::{ForeignArray, ForeignData, Numbers, ReadAt};
use crate::convert::spill::Spill;
use crate::format::dtype::Dtype;
use crate::format::{ArrayId, ArrayInfo, Order};
use crate::model::graph::{ArrayPart, Blob, Node, NodeId, Terms};
use crate::model::terms::NewTerms;

/// Nodes and arrays in order of appearance. Every [`NodeId`] that a node holds was given out here.
pub(crate) struct Values<'a> {
    pub(crate) nodes: Vec<Node>,
    pub(crate) arrays: Vec<ForeignArray>,
    pub(crate) budget: Budget,
    pub(crate) spill: Spill<'a>,
    source: &'a dyn ReadAt,
    /// Where the UTF-8 of long `str` nodes lies, which are empty until [`Values::read_long`] is asked for.
    pub(crate) long_texts: HashMap<NodeId, Range<u64>>,
    none: Option<NodeId>,
    bools: [Option<NodeId>; 2],
    empty_tuple: Option<NodeId>,
    small_ints: Vec<Option<NodeId>>,
}

/// Bytes of a `bytes` value, wherever they are.
pub(crate) enum Raw<'a> {
    Source(Range<u64>),
    Here(&'a [u8]),
}

/// From this size on, `bytes` stay in the source and `str` are read when their use is known.
pub(crate) const LONG: u64 = 4096;

impl<'a> Values<'a> {
    pub(crate) fn new(source: &'a dyn ReadAt, budget: Budget, spill: Spill<'a>) -> Self {
        Values {
            nodes: Vec::new(),
            arrays: Vec::new(),
            budget,
            spill,
            source,
            long_texts: HashMap::new(),
            none: None,
            bools: [None; 2],
            empty_tuple: None,
            small_ints: vec![None; 256],
        }
    }

    /// Adds a node. Immutable values that need no identity are shared.
    pub(crate) fn add(&mut self, node: Node) -> Result<NodeId, Problem> {
        if let Some(id) = self.shared(&node).and_then(|slot| *slot) {
            return Ok(id);
        }
        self.budget.hold(size_of::<Node>() as u64 + payload(&node))?;
        let next = u32::try_from(self.nodes.len()).ok().filter(|id| *id < u32::MAX);
        let limit = u64::from(u32::MAX);
        let id = NodeId(next.ok_or(Problem::Limit { name: "opcodes", limit, asked: limit + 1 })?);
        if let Some(slot) = self.shared(&node) {
            *slot = Some(id);
        }
        self.nodes.push(node);
        Ok(id)
    }

    fn shared(&mut self, node: &Node) -> Option<&mut Option<NodeId>> {
        match node {
            Node::None => Some(&mut self.none),
            Node::Bool(value) => self.bools.get_mut(usize::from(*value)),
            Node::Int(value) => self.small_ints.get_mut(usize::try_from(*value).ok()?),
            Node::Tuple(items) if items.is_empty() => Some(&mut self.empty_tuple),
            _ => None,
        }
    }

    pub(crate) fn node(&self, id: NodeId) -> &Node {
        self.nodes.get(id.0 as usize).unwrap_or(&Node::None)
    }

    pub(crate) fn node_mut(&mut self, id: NodeId) -> Option<&mut Node> {
        self.nodes.get_mut(id.0 as usize)
    }

    pub(crate) fn replace(&mut self, id: NodeId, node: Node) {
        if let Some(slot) = self.node_mut(id) {
            *slot = node;
        }
    }

    /// Adds an array; the number of bytes of `data` has been checked.
    pub(crate) fn add_array(&mut self, info: ArrayInfo, data: ForeignData) -> Result<ArrayId, Problem> {
        self.budget.array_bytes(data.len_bytes())?;
        if !matches!(data, ForeignData::Source(_)) {
            self.budget.hold(data.len_bytes())?;
        }
        self.budget.hold(size_of::<ForeignArray>() as u64 + 8 * info.shape.len() as u64)?;
        let id = u32::try_from(self.arrays.len()).unwrap_or(u32::MAX);
        self.arrays.push(ForeignArray { info, data });
        Ok(ArrayId(id))
    }

    /// A node for an array of plain data; `None` if the bytes do not fit the shape.
    pub(crate) fn array_node(
        &mut self,
        dtype: Dtype,
        shape: Vec<u64>,
        order: Order,
        data: ForeignData,
    ) -> Result<Option<Node>, Fault> {
        if len_bytes(&dtype, &shape) != Some(data.len_bytes()) {
            return Ok(None);
        }
        let part = shape.clone().into_boxed_slice();
        let array = self.add_array(ArrayInfo { dtype, shape, order }, data)?;
        Ok(Some(Node::Array(ArrayPart { array, first_row: 0, shape: part })))
    }

    /// A node for a big dict that was passed beside the pickle.
    pub(crate) fn terms_node(&mut self, new: NewTerms) -> Result<Node, Problem> {
        let NewTerms { text, ends, values, slots, seed, numpy } = new;
        let mut add = |dtype: Dtype, len: usize, data: Box<dyn ReadAt>| {
            self.add_array(ArrayInfo::new(dtype, [len as u64]), ForeignData::Beside(data))
        };
        Ok(Node::Terms(Box::new(Terms {
            text: add(Dtype::U8, text.len(), Box::new(Numbers(text)))?,
            ends: add(Dtype::U32, ends.len(), Box::new(Numbers(ends)))?,
            values: add(Dtype::I64, values.len(), Box::new(Numbers(values)))?,
            slots: add(Dtype::U64, slots.len(), Box::new(Numbers(slots)))?,
            seed,
            numpy,
        })))
    }

    /// A `bytes` value that stays in the source.
    pub(crate) fn blob_in_source(&mut self, range: Range<u64>) -> Result<Blob, Problem> {
        let info = ArrayInfo { dtype: Dtype::U8, shape: vec![range.end - range.start], order: Order::C };
        self.add_array(info, ForeignData::Source(range)).map(Blob::Array)
    }

    /// Bytes of a buffer: short ones are read, others stay where they are.
    pub(crate) fn blob_at(&mut self, range: Range<u64>) -> Result<Blob, Fault> {
        if range.end - range.start < LONG {
            return Ok(Blob::Inline(self.read_long(&range)?.into()));
        }
        Ok(self.blob_in_source(range)?)
    }

    /// A `bytes` value that was decoded: in memory if short, else in the spill file.
    pub(crate) fn blob(&mut self, bytes: Vec<u8>) -> Result<Blob, Fault> {
        if (bytes.len() as u64) < LONG {
            return Ok(Blob::Inline(bytes.into()));
        }
        let range = self.spill.append(&bytes).map_err(Fault::Spool)?;
        Ok(self.blob_in_source(range)?)
    }

    /// A `str` whose UTF-8 lies in the source; read only if it is still text at the end.
    pub(crate) fn add_long_text(&mut self, range: Range<u64>) -> Result<NodeId, Problem> {
        let id = self.add(Node::Str(Box::default()))?;
        self.long_texts.insert(id, range);
        Ok(id)
    }

    /// The UTF-8 bytes of a long `str`.
    pub(crate) fn read_long(&mut self, range: &Range<u64>) -> Result<Vec<u8>, Fault> {
        let count = range.end.saturating_sub(range.start);
        self.budget.hold(count)?;
        let mut bytes = vec![0; usize::try_from(count).unwrap_or(0)];
        self.source.read_exact_at(range.start, &mut bytes).map_err(Fault::Read)?;
        Ok(bytes)
    }

    /// The characters of a `str` as Latin-1; `None` if some are beyond it.
    pub(crate) fn latin1(&mut self, id: NodeId) -> Result<Option<Blob>, Fault> {
        let bytes = match self.long_texts.get(&id).cloned() {
            Some(range) => match self.spill_latin1(&range)? {
                Some(range) => return Ok(Some(self.blob_in_source(range)?)),
                None => None,
            },
            None => self.str_at(id).and_then(text::latin1),
        };
        bytes.map(|bytes| self.blob(bytes)).transpose()
    }

    /// Decodes a long text to Latin-1 piece by piece.
    fn spill_latin1(&mut self, range: &Range<u64>) -> Result<Option<Range<u64>>, Fault> {
        let mut at = range.start;
        let mut written: Option<Range<u64>> = None;
        while at < range.end {
            let mut piece = vec![0; (range.end - at).min(1 << 20) as usize];
            self.source.read_exact_at(at, &mut piece).map_err(Fault::Read)?;
            // A character of two bytes may be cut in two by the piece's end.
            if at + (piece.len() as u64) < range.end && piece.last().is_some_and(|byte| *byte >= 0xc0) {
                piece.pop();
            }
            at += piece.len() as u64;
            let Some(bytes) = std::str::from_utf8(&piece).ok().and_then(text::latin1) else {
                return Ok(None);
            };
            let more = self.spill.append(&bytes).map_err(Fault::Spool)?;
            written = Some(written.map_or(more.clone(), |before| before.start..more.end));
        }
        Ok(written)
    }

    pub(crate) fn raw<'v>(&'v self, blob: &'v Blob) -> Option<Raw<'v>> {
        match blob {
            Blob::Inline(bytes) => Some(Raw::Here(bytes)),
            Blob::Array(id) => match &self.arrays.get(id.0 as usize)?.data {
                ForeignData::Source(range) => Some(Raw::Source(range.clone())),
                ForeignData::Owned(bytes) => Some(Raw::Here(bytes)),
                ForeignData::Beside(_) => None,
            },
        }
    }

    pub(crate) fn str_at(&self, id: NodeId) -> Option<&str> {
        match self.node(id) {
            Node::Str(text) if !text.is_empty() || !self.long_texts.contains_key(&id) => Some(text),
            _ => None,
        }
    }

    /// An int or a bool, as Python 2's NumPy mixes them.
    pub(crate) fn int_at(&self, id: NodeId) -> Option<i64> {
        match self.node(id) {
            Node::Int(value) => Some(*value),
            Node::Bool(value) => Some(i64::from(*value)),
            _ => None,
        }
    }

    pub(crate) fn tuple_at(&self, id: NodeId) -> Option<&[NodeId]> {
        match self.node(id) {
            Node::Tuple(items) => Some(items),
            _ => None,
        }
    }

    pub(crate) fn name_at(&self, id: NodeId) -> Option<(&str, &str)> {
        match self.node(id) {
            Node::Name { module, qualname } => Some((module, qualname)),
            _ => None,
        }
    }

    /// A tuple of at most 64 lengths; also one int, as NumPy takes it.
    pub(crate) fn shape_at(&self, id: NodeId) -> Option<Vec<u64>> {
        let dims = match self.node(id) {
            Node::Int(_) => std::slice::from_ref(&id),
            _ => self.tuple_at(id)?,
        };
        if dims.len() > 64 {
            return None;
        }
        dims.iter().map(|dim| u64::try_from(self.int_at(*dim)?).ok()).collect()
    }
}

/// Bytes of an array; `None` beyond 2^63, or for elements of no bytes.
pub(crate) fn len_bytes(dtype: &Dtype, shape: &[u64]) -> Option<u64> {
    let itemsize = u64::from(dtype.itemsize());
    if itemsize == 0 {
        return None;
    }
    // Not a plain product: a zero must not hide an overflow of the other lengths.
    let mut nonzero = shape.iter().filter(|len| **len > 0);
    let product = nonzero.try_fold(itemsize, |product, len| product.checked_mul(*len))?;
    if i64::try_from(product).is_err() {
        return None;
    }
    Some(if shape.contains(&0) { 0 } else { product })
}

fn payload(node: &Node) -> u64 {
    (match node {
        Node::BigInt(bytes) | Node::Bytes(Blob::Inline(bytes)) | Node::ByteArray(Blob::Inline(bytes)) => {
            bytes.len()
        }
        Node::Scalar { bytes, .. } => bytes.len(),
        Node::Str(text) => text.len(),
        Node::Tuple(items) | Node::List(items) | Node::Set(items) | Node::FrozenSet(items) => 4 * items.len(),
        Node::Dict(pairs) => 8 * pairs.len(),
        Node::Name { module, qualname } => module.len() + qualname.len(),
        Node::Object(_) => size_of::<crate::model::graph::Object>(),
        _ => 0,
    }) as u64
}
