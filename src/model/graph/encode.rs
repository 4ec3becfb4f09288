//! Graph to bytes. `docs/format.md` has the table; [`super::decode`] is the other half.
#![forbid(unsafe_code)]

use crate::format::Order;
use crate::format::dtype::{Dtype, Kind, Plain, TimeUnit};
use crate::model::graph::{ArrayPart, Blob, Graph, Make, Node, NodeId, Object, Records};

/// First byte of a node.
pub(super) mod tag {
    pub(in crate::model::graph) const NONE: u8 = 0;
    pub(in crate::model::graph) const FALSE: u8 = 1;
    pub(in crate::model::graph) const TRUE: u8 = 2;
    pub(in crate::model::graph) const INT: u8 = 3;
    pub(in crate::model::graph) const BIG_INT: u8 = 4;
    pub(in crate::model::graph) const FLOAT: u8 = 5;
    pub(in crate::model::graph) const STR: u8 = 6;
    pub(in crate::model::graph) const BYTES: u8 = 7;
    pub(in crate::model::graph) const BYTES_ARRAY: u8 = 8;
    pub(in crate::model::graph) const BYTEARRAY: u8 = 9;
    pub(in crate::model::graph) const BYTEARRAY_ARRAY: u8 = 10;
    pub(in crate::model::graph) const TUPLE: u8 = 11;
    pub(in crate::model::graph) const LIST: u8 = 12;
    pub(in crate::model::graph) const DICT: u8 = 13;
    pub(in crate::model::graph) const SET: u8 = 14;
    pub(in crate::model::graph) const FROZEN_SET: u8 = 15;
    pub(in crate::model::graph) const NAME: u8 = 16;
    pub(in crate::model::graph) const ARRAY: u8 = 17;
    pub(in crate::model::graph) const RECORDS: u8 = 18;
    pub(in crate::model::graph) const RECORDS_RUN: u8 = 19;
    pub(in crate::model::graph) const OBJECT_ARRAY_C: u8 = 20;
    pub(in crate::model::graph) const OBJECT_ARRAY_F: u8 = 21;
    pub(in crate::model::graph) const ARRAY_OF_CLASS: u8 = 22;
    pub(in crate::model::graph) const SCALAR: u8 = 23;
    pub(in crate::model::graph) const DTYPE: u8 = 24;
    pub(in crate::model::graph) const CALL: u8 = 25;
    pub(in crate::model::graph) const NEW: u8 = 26;
    pub(in crate::model::graph) const INTEGERS: u8 = 27;
    pub(in crate::model::graph) const QUOTIENTS: u8 = 28;
    pub(in crate::model::graph) const TERMS: u8 = 29;
    pub(in crate::model::graph) const TERMS_OF_NUMPY: u8 = 30;
}

/// Fields that a run of columns may have, so that few bytes cannot ask for much memory.
pub(super) const MAX_RUN_COLUMNS: usize = 32;
/// Dimensions that a run of columns may have.
pub(super) const MAX_RUN_DIMENSIONS: usize = 2;

impl Graph {
    /// The graph as bytes. The same graph gives the same bytes.
    pub fn encode(&self) -> Vec<u8> {
        let dtypes = self.dtypes();
        let mut out = Encoder { out: Vec::new(), dtypes: &dtypes, node: 0 };
        out.len(dtypes.len());
        for dtype in &dtypes {
            out.dtype(dtype);
        }
        out.len(self.nodes.len());
        out.number(self.root.0.into());
        for (index, node) in self.nodes.iter().enumerate() {
            out.node = index as u32;
            out.node(node);
        }
        out.out
    }

    /// The dtypes in the graph, in order of appearance.
    fn dtypes(&self) -> Vec<Dtype> {
        let mut seen = rustc_hash::FxHashSet::default();
        let mut dtypes = Vec::new();
        for node in &self.nodes {
            let dtype = match node {
                Node::Records(records) => &records.dtype,
                Node::Scalar { dtype, .. } | Node::Dtype(dtype) => dtype,
                _ => continue,
            };
            if seen.insert(dtype) {
                dtypes.push(dtype.clone());
            }
        }
        dtypes
    }
}

struct Encoder<'a> {
    out: Vec<u8>,
    dtypes: &'a [Dtype],
    node: u32,
}

impl Encoder<'_> {
    fn byte(&mut self, byte: u8) {
        self.out.push(byte);
    }

    /// Seven bits a byte, low bits first; the high bit says that more follow.
    fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.byte(value as u8 | 0x80);
            value >>= 7;
        }
        self.byte(value as u8);
    }

    /// Small magnitudes of either sign in few bytes.
    fn signed(&mut self, value: i64) {
        self.number(((value << 1) ^ (value >> 63)) as u64);
    }

    fn len(&mut self, len: usize) {
        self.number(len as u64);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.len(bytes.len());
        self.out.extend_from_slice(bytes);
    }

    fn id(&mut self, id: NodeId) {
        self.signed(i64::from(self.node) - i64::from(id.0));
    }

    fn ids(&mut self, ids: &[NodeId]) {
        self.len(ids.len());
        for id in ids {
            self.id(*id);
        }
    }

    fn pairs(&mut self, pairs: &[(NodeId, NodeId)]) {
        self.len(pairs.len());
        for (key, value) in pairs {
            self.id(*key);
            self.id(*value);
        }
    }

    fn shape(&mut self, shape: &[u64]) {
        self.len(shape.len());
        for len in shape {
            self.number(*len);
        }
    }

    fn node(&mut self, node: &Node) {
        match node {
            Node::None => self.byte(tag::NONE),
            Node::Bool(false) => self.byte(tag::FALSE),
            Node::Bool(true) => self.byte(tag::TRUE),
            Node::Int(value) => {
                self.byte(tag::INT);
                self.signed(*value);
            }
            Node::BigInt(bytes) => self.tagged(tag::BIG_INT, bytes),
            Node::Float(value) => {
                self.byte(tag::FLOAT);
                self.out.extend_from_slice(&value.to_le_bytes());
            }
            Node::Str(text) => self.tagged(tag::STR, text.as_bytes()),
            Node::Bytes(blob) => self.blob(tag::BYTES, tag::BYTES_ARRAY, blob),
            Node::ByteArray(blob) => self.blob(tag::BYTEARRAY, tag::BYTEARRAY_ARRAY, blob),
            Node::Tuple(items) => self.container(tag::TUPLE, items),
            Node::List(items) => self.container(tag::LIST, items),
            Node::Set(items) => self.container(tag::SET, items),
            Node::FrozenSet(items) => self.container(tag::FROZEN_SET, items),
            Node::Dict(pairs) => {
                self.byte(tag::DICT);
                self.pairs(pairs);
            }
            Node::Terms(terms) => {
                self.byte(if terms.numpy { tag::TERMS_OF_NUMPY } else { tag::TERMS });
                for array in [terms.text, terms.ends, terms.values, terms.slots] {
                    self.number(array.0.into());
                }
                self.number(terms.seed);
            }
            Node::Name { module, qualname } => {
                self.tagged(tag::NAME, module.as_bytes());
                self.bytes(qualname.as_bytes());
            }
            Node::Array(part) => {
                self.byte(tag::ARRAY);
                self.part(part);
            }
            Node::Records(records) => self.records(records),
            Node::Quotients(quotients) => {
                self.byte(if quotients.denominators.is_some() { tag::QUOTIENTS } else { tag::INTEGERS });
                self.part(&quotients.numerators);
                if let Some(denominators) = &quotients.denominators {
                    self.part(denominators);
                }
            }
            Node::ObjectArray { shape, order, items } => {
                self.byte(if *order == Order::C { tag::OBJECT_ARRAY_C } else { tag::OBJECT_ARRAY_F });
                self.shape(shape);
                self.ids(items);
            }
            Node::ArrayOfClass { class, array } => {
                self.byte(tag::ARRAY_OF_CLASS);
                self.id(*class);
                self.id(*array);
            }
            Node::Scalar { dtype, bytes } => {
                self.byte(tag::SCALAR);
                self.dtype_index(dtype);
                self.out.extend_from_slice(bytes);
            }
            Node::Dtype(dtype) => {
                self.byte(tag::DTYPE);
                self.dtype_index(dtype);
            }
            Node::Object(object) => self.object(object),
        }
    }

    fn tagged(&mut self, tag: u8, bytes: &[u8]) {
        self.byte(tag);
        self.bytes(bytes);
    }

    fn container(&mut self, tag: u8, items: &[NodeId]) {
        self.byte(tag);
        self.ids(items);
    }

    fn blob(&mut self, inline: u8, array: u8, blob: &Blob) {
        match blob {
            Blob::Inline(bytes) => self.tagged(inline, bytes),
            Blob::Array(id) => {
                self.byte(array);
                self.number(id.0.into());
            }
        }
    }

    fn part(&mut self, part: &ArrayPart) {
        self.number(part.array.0.into());
        self.number(part.first_row);
        self.shape(&part.shape);
    }

    fn records(&mut self, records: &Records) {
        let run = first_of_run(records);
        self.byte(if run.is_some() { tag::RECORDS_RUN } else { tag::RECORDS });
        self.dtype_index(&records.dtype);
        self.shape(&records.shape);
        if let Some(first) = run {
            self.number(first.array.0.into());
            self.number(first.first_row);
            return;
        }
        self.len(records.columns.len());
        for column in &records.columns {
            self.part(column);
        }
    }

    fn object(&mut self, object: &Object) {
        self.byte(match object.make {
            Make::Call => tag::CALL,
            Make::New => tag::NEW,
        });
        let flags = [
            object.kwargs.is_some(),
            !object.items.is_empty(),
            !object.pairs.is_empty(),
            object.state.is_some(),
        ];
        self.byte(flags.iter().enumerate().map(|(bit, set)| u8::from(*set) << bit).sum());
        self.id(object.callable);
        self.id(object.args);
        if let Some(kwargs) = object.kwargs {
            self.id(kwargs);
        }
        if !object.items.is_empty() {
            self.ids(&object.items);
        }
        if !object.pairs.is_empty() {
            self.pairs(&object.pairs);
        }
        if let Some(state) = object.state {
            self.id(state);
        }
    }

    fn dtype_index(&mut self, dtype: &Dtype) {
        let index = self.dtypes.iter().position(|known| known == dtype);
        self.len(index.expect("every dtype of the graph was collected"));
    }

    fn dtype(&mut self, dtype: &Dtype) {
        match dtype {
            Dtype::Plain(plain) => {
                self.byte(0);
                self.plain(*plain);
            }
            Dtype::Record(record) => {
                self.byte(if record.aligned { 2 } else { 1 });
                self.number(record.itemsize.into());
                self.len(record.fields.len());
                for field in &record.fields {
                    self.bytes(field.name.as_bytes());
                    self.plain(field.dtype);
                    self.len(field.shape.len());
                    for len in &field.shape {
                        self.number((*len).into());
                    }
                    self.number(field.offset.into());
                }
            }
        }
    }

    fn plain(&mut self, plain: Plain) {
        let (letter, unit) = letter_of(plain.kind);
        self.byte(letter);
        self.byte(plain.big_endian.into());
        self.number(plain.itemsize.into());
        if let Some(unit) = unit {
            self.byte(unit.base);
            self.number(unit.count.into());
        }
    }
}

/// NumPy's letter.
fn letter_of(kind: Kind) -> (u8, Option<TimeUnit>) {
    match kind {
        Kind::Bool => (b'b', None),
        Kind::Int => (b'i', None),
        Kind::Uint => (b'u', None),
        Kind::Float => (b'f', None),
        Kind::Complex => (b'c', None),
        Kind::Bytes => (b'S', None),
        Kind::Str => (b'U', None),
        Kind::Void => (b'V', None),
        Kind::DateTime(unit) => (b'M', Some(unit)),
        Kind::TimeDelta(unit) => (b'm', Some(unit)),
    }
}

/// The first column, if the columns are arrays of successive numbers, from one row on, of the records' own shape.
fn first_of_run(records: &Records) -> Option<&ArrayPart> {
    let first = records.columns.first()?;
    let Dtype::Record(record) = &records.dtype else { return None };
    let small = records.columns.len() == record.fields.len()
        && records.columns.len() <= MAX_RUN_COLUMNS
        && records.shape.len() <= MAX_RUN_DIMENSIONS;
    let alike = |(index, column): (usize, &ArrayPart)| {
        Some(column.array.0) == first.array.0.checked_add(index as u32)
            && column.first_row == first.first_row
            && column.shape == records.shape
    };
    (small && records.columns.iter().enumerate().all(alike)).then_some(first)
}
