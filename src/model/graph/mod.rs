//! The saved Python object as plain data.
//!
//! Nodes refer to each other by number, so shared references stay shared and cycles are possible.
//! Walk with an explicit stack and a set of seen nodes; never by recursion.
#![forbid(unsafe_code)]

mod audit;
pub(crate) mod check;
mod decode;
mod encode;
mod error;
pub(crate) mod read;
mod sets;
#[cfg(test)]
mod tests;
pub(crate) mod view;

pub use self::audit::{Audit, NameUse};
pub use self::error::GraphError;

use crate::format::dtype::{Dtype, Plain};
use crate::format::{ArrayId, Order};

/// The number of a node in its [`Graph`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub u32);

/// One saved object: nodes and the one to start from. Every [`NodeId`] inside is below `nodes.len()`.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    /// All nodes.
    pub nodes: Vec<Node>,
    /// The saved object itself.
    pub root: NodeId,
}

/// One Python value.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// `None`
    None,
    /// `True` or `False`
    Bool(bool),
    /// An int that fits.
    Int(i64),
    /// Any other int: two's complement, little-endian, shortest form.
    BigInt(Box<[u8]>),
    /// `float`, every bit kept.
    Float(f64),
    /// `str`
    Str(Box<str>),
    /// `bytes`
    Bytes(Blob),
    /// `bytearray`
    ByteArray(Blob),
    /// `tuple`
    Tuple(Vec<NodeId>),
    /// `list`
    List(Vec<NodeId>),
    /// `dict`, in insertion order. Keys keep their type: `1`, `True` and `"1"` are three keys here.
    Dict(Vec<(NodeId, NodeId)>),
    /// A big `dict` of `str` to int, in arrays.
    Terms(Box<Terms>),
    /// `set`
    Set(Vec<NodeId>),
    /// `frozenset`
    FrozenSet(Vec<NodeId>),
    /// A class, function or other importable name; never resolved by this crate.
    Name {
        /// As in the file, also when the module has since been renamed.
        module: Box<str>,
        /// Dotted path within the module.
        qualname: Box<str>,
    },
    /// A numeric array: some rows of a stored array, seen with a shape of their own.
    Array(ArrayPart),
    /// A record array stored as one array per field, narrowed where no value changes.
    Records(Box<Records>),
    /// A float array stored as integers that are divided.
    Quotients(Box<Quotients>),
    /// An array of Python objects, in C order of its indices.
    ObjectArray {
        /// Length of each dimension.
        shape: Box<[u64]>,
        /// The memory order NumPy reports.
        order: Order,
        /// One node per element, C order whatever `order` says.
        items: Vec<NodeId>,
    },
    /// An array of an ndarray subclass such as `numpy.matrix`.
    ArrayOfClass {
        /// A [`Node::Name`].
        class: NodeId,
        /// A [`Node::Array`], [`Node::Records`] or [`Node::ObjectArray`].
        array: NodeId,
    },
    /// A NumPy scalar: one element's bytes.
    Scalar {
        /// Its type.
        dtype: Dtype,
        /// `itemsize` bytes.
        bytes: Box<[u8]>,
    },
    /// A `numpy.dtype` object.
    Dtype(Dtype),
    /// An object made by calling a name, then filled.
    Object(Box<Object>),
}

/// Bytes of a `bytes` or `bytearray`.
#[derive(Clone, Debug, PartialEq)]
pub enum Blob {
    /// Short ones lie in the graph.
    Inline(Box<[u8]>),
    /// Long ones are a one-dimensional `u8` array.
    Array(ArrayId),
}

/// A `dict` whose keys are `str` and whose values are ints of 64 bits, in insertion order, with a hash table.
///
/// The arrays have one dimension. [`Model::terms`](crate::Model::terms) reads them.
#[derive(Clone, Debug, PartialEq)]
pub struct Terms {
    /// UTF-8 of the keys, end to end: `u1`.
    pub text: ArrayId,
    /// Where each key ends in it: `u4`.
    pub ends: ArrayId,
    /// The values: `i8`.
    pub values: ArrayId,
    /// The hash table: `u8`, a power of two of them.
    pub slots: ArrayId,
    /// What hashes start from.
    pub seed: u64,
    /// Whether values are `numpy.int64` rather than `int`.
    pub numpy: bool,
}

/// Rows `first_row..first_row + rows` of a stored array, where rows are elements of its first axis.
///
/// A whole array has `first_row` 0 and the shape of the stored array, or, in C order, any shape of as many elements. Arrays of many similar objects (the trees
/// of a forest) are stored end to end in one stored array, in C order; each part then has its own shape, whose first length is its number of rows.
#[derive(Clone, Debug, PartialEq)]
pub struct ArrayPart {
    /// The stored array.
    pub array: ArrayId,
    /// Where the part starts, in rows of the stored array.
    pub first_row: u64,
    /// The shape of the part.
    pub shape: Box<[u64]>,
}

/// A record array in pieces.
#[derive(Clone, Debug, PartialEq)]
pub struct Records {
    /// The record dtype to give back. Bytes that belong to no field are zero.
    pub dtype: Dtype,
    /// The shape to give back; C order.
    pub shape: Box<[u64]>,
    /// One part per field, in field order; its shape is the record array's (and the field's sub-array). The stored type may be a narrower
    /// integer than the field's; widening gives every bit back.
    pub columns: Vec<ArrayPart>,
}

/// A little-endian `f64` array in C order whose element `[i, ...]` is `numerators[i, ...] / denominators[i]`, bit for bit.
///
/// The values of a classification tree are such quotients: counts, divided by the weight of the node.
#[derive(Clone, Debug, PartialEq)]
pub struct Quotients {
    /// Unsigned integers of at most 4 bytes, of the shape to give back.
    pub numerators: ArrayPart,
    /// One per row: unsigned integers of at most 4 bytes, or `f64`. Without it the numerators are the values.
    pub denominators: Option<ArrayPart>,
}

/// `callable(*args, **kwargs)` or `callable.__new__(callable, *args, **kwargs)`, then items, pairs and state,
/// in that order, as `copyreg` defines them.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// How it is made.
    pub make: Make,
    /// What makes it: a [`Node::Name`], rarely an object.
    pub callable: NodeId,
    /// A [`Node::Tuple`].
    pub args: NodeId,
    /// A [`Node::Dict`] with string keys, for [`Make::New`] from protocol 4 on.
    pub kwargs: Option<NodeId>,
    /// Appended with `extend` or `append`.
    pub items: Vec<NodeId>,
    /// Set with `obj[key] = value`.
    pub pairs: Vec<(NodeId, NodeId)>,
    /// Given to `__setstate__`, or put into `__dict__`.
    pub state: Option<NodeId>,
}

/// How an [`Object`] comes to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Make {
    /// `callable(*args)`
    Call,
    /// `callable.__new__(callable, *args, **kwargs)`
    New,
}

impl Graph {
    /// The graph of `None`.
    pub fn empty() -> Self {
        Graph { nodes: vec![Node::None], root: NodeId(0) }
    }
}

impl Node {
    /// What Python calls the type, for messages: `dict`, `numpy.ndarray`.
    pub fn type_name(&self) -> &'static str {
        match self {
            Node::None => "None",
            Node::Bool(_) => "bool",
            Node::Int(_) | Node::BigInt(_) => "int",
            Node::Float(_) => "float",
            Node::Str(_) => "str",
            Node::Bytes(_) => "bytes",
            Node::ByteArray(_) => "bytearray",
            Node::Tuple(_) => "tuple",
            Node::List(_) => "list",
            Node::Dict(_) | Node::Terms(_) => "dict",
            Node::Set(_) => "set",
            Node::FrozenSet(_) => "frozenset",
            Node::Name { .. } => "class or function",
            Node::Array(_)
            | Node::Records(_)
            | Node::Quotients(_)
            | Node::ObjectArray { .. }
            | Node::ArrayOfClass { .. } => "numpy.ndarray",
            Node::Scalar { .. } => "numpy scalar",
            Node::Dtype(_) => "numpy.dtype",
            Node::Object(_) => "object",
        }
    }
}

impl Records {
    /// The plain dtypes of the fields.
    pub fn field_dtypes(&self) -> impl Iterator<Item = Plain> + '_ {
        let fields = match &self.dtype {
            Dtype::Record(record) => record.fields.as_slice(),
            Dtype::Plain(_) => &[],
        };
        fields.iter().map(|field| field.dtype)
    }
}
