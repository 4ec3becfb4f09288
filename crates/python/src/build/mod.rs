//! From a graph to Python objects, in the order and with the meaning that pickle gives to it, without recursion.
//!
//! A call sees its arguments complete, a container exists before what it holds refers to it, and each node becomes one
//! object however often it is referred to. Attributes that hold a whole ensemble are left as a [`Part`].
#![forbid(unsafe_code)]

mod class;
mod numpy;
mod object;
mod part;
mod written;

pub(crate) use self::part::{Part, Session};

use onecopy::{Blob, Graph, Node, NodeId, Object, Order};
use pyo3::prelude::*;
use pyo3::types::{
    PyByteArray, PyBytes, PyDict, PyFloat, PyFrozenSet, PyInt, PyList, PySet, PyString, PyTuple,
};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::build::class::Classes;
use crate::build::numpy::Arrays;
use crate::error::{self, Kind};
use crate::source::{Mode, Source};
use crate::tree;
use crate::trust;
use crate::vocabulary;

/// Most nodes on the way from the root to one that is being built.
const MAX_DEPTH: usize = 20_000;
/// Tuples, object arrays and calls directly in one another: CPython and NumPy hash and free these by recursion.
const MAX_NESTED: u32 = 1_000;
/// References looked at again because of cycles through tuples.
const MAX_REVISITS: usize = 20_000_000;

/// What is built of a graph so far.
pub(crate) struct Builder<'a, 'py> {
    py: Python<'py>,
    graph: &'a Graph,
    /// The object of each node.
    memo: Vec<Option<Bound<'py, PyAny>>>,
    /// How often each node is on the stack.
    open: Vec<u16>,
    stack: Vec<Frame<'py>>,
    /// Frames on the stack whose object may exist before it is complete.
    containers: usize,
    revisits: usize,
    /// Nodes that recursion in C would follow, by how many such lie in one another.
    nested: FxHashMap<NodeId, u32>,
    /// Interned names of attributes, by the node of their text.
    attributes: FxHashMap<NodeId, Bound<'py, PyString>>,
    mode: Mode,
    session: Bound<'py, Session>,
    source: Bound<'py, Source>,
    /// Values that were left to be built later.
    parts: FxHashMap<NodeId, Bound<'py, Part>>,
    /// Vocabularies that are looked up in the mapping.
    mapped_terms: FxHashSet<NodeId>,
    /// Arrays that are writable whatever the mode.
    written: FxHashSet<NodeId>,
    classes: Classes<'py>,
    /// What looks at the content of objects, and the objects.
    checks: Vec<(Bound<'py, PyAny>, Bound<'py, PyAny>)>,
    arrays: Arrays<'py>,
}

/// A node whose children are being built.
struct Frame<'py> {
    node: NodeId,
    /// The next child to look at, counted anew in each stage.
    next: usize,
    stage: Stage,
    /// An object that has been made and is being filled.
    made: Option<Bound<'py, PyAny>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Everything but an object; the callable and arguments of an object.
    Make,
    Items,
    Pairs,
    State,
}

impl<'a, 'py> Builder<'a, 'py> {
    fn new(session: &Bound<'py, Session>, graph: &'a Graph) -> PyResult<Self> {
        let py = session.py();
        let source = session.get().source(py);
        Ok(Builder {
            py,
            graph,
            memo: vec![None; graph.nodes.len()],
            open: vec![0; graph.nodes.len()],
            stack: Vec::new(),
            containers: 0,
            revisits: 0,
            nested: FxHashMap::default(),
            attributes: FxHashMap::default(),
            mode: source.get().mode(),
            session: session.clone(),
            parts: FxHashMap::default(),
            mapped_terms: match source.get().mode() {
                Mode::Copy => FxHashSet::default(),
                Mode::Read | Mode::CopyOnWrite => vocabulary::of_vectorizers(graph),
            },
            written: match source.get().mode() {
                Mode::Read => written::written(graph),
                Mode::CopyOnWrite | Mode::Copy => FxHashSet::default(),
            },
            classes: Classes::new(py, source.get().mode())?,
            checks: Vec::new(),
            arrays: Arrays::new(source.clone()),
            source,
        })
    }

    fn build(&mut self, root: NodeId) -> PyResult<Bound<'py, PyAny>> {
        if !self.is_built(root) {
            self.visit(root)?;
        }
        while let Some(frame) = self.stack.pop() {
            self.advance(frame)?;
        }
        // Only now is all that an object leads to complete.
        for (check, made) in std::mem::take(&mut self.checks) {
            check.call1((made,))?;
        }
        self.value(root)
    }

    /// Looks at the children of a frame until one must be built first, or finishes it.
    fn advance(&mut self, mut frame: Frame<'py>) -> PyResult<()> {
        let node = self.graph.node(frame.node);
        loop {
            while let Some(child) = self.child(node, &frame) {
                frame.next += 1;
                if self.is_built(child) {
                    continue;
                }
                self.stack.push(frame);
                return self.visit(child);
            }
            match node {
                Node::Object(object) => {
                    if !self.next_stage(&mut frame, object)? {
                        break;
                    }
                }
                _ => {
                    self.complete(frame.node, node)?;
                    break;
                }
            }
        }
        self.close(frame.node);
        Ok(())
    }

    /// The child that a frame looks at next.
    fn child(&self, node: &Node, frame: &Frame<'py>) -> Option<NodeId> {
        let next = frame.next;
        match node {
            Node::Tuple(items) | Node::List(items) | Node::Set(items) | Node::FrozenSet(items) => {
                items.get(next).copied()
            }
            Node::ObjectArray { items, .. } => items.get(next).copied(),
            Node::Dict(pairs) => child_of_pairs(pairs, next),
            Node::ArrayOfClass { class, array } => [*class, *array].get(next).copied(),
            Node::Object(object) => match frame.stage {
                Stage::Make => self.child_of_make(object, next),
                Stage::Items => object.items.get(next).copied(),
                Stage::Pairs => child_of_pairs(&object.pairs, next),
                Stage::State => self.child_of_state(object, frame),
            },
            _ => None,
        }
    }

    fn is_built(&self, id: NodeId) -> bool {
        self.memo.get(id.0 as usize).is_some_and(Option::is_some)
    }

    /// Builds a node without children at once; puts any other on the stack.
    fn visit(&mut self, id: NodeId) -> PyResult<()> {
        let node = self.graph.node(id);
        if let Node::Terms(terms) = node {
            let value = match self.mapped_terms.contains(&id) {
                true => vocabulary::mapped_vocabulary(&self.source, terms)?,
                false => vocabulary::dict(&self.source, terms)?,
            };
            self.keep(id, value);
            return Ok(());
        }
        if self.is_mapped_tree(node) {
            let tree = tree::mapped_tree(self.py, &self.source, self.graph, id)?;
            self.keep(id, tree);
            return Ok(());
        }
        if let Some(value) = self.leaf(id, node)? {
            self.keep(id, value);
            return Ok(());
        }
        let opened = self.open.get(id.0 as usize).copied().unwrap_or_default();
        if opened > 0 {
            if let Some(container) = self.empty(node)? {
                self.keep(id, container);
                return Ok(());
            }
            self.revisits += node.children().count().max(1);
            if usize::from(opened) > self.containers || self.revisits > MAX_REVISITS {
                return Err(self.refuse(id, "is part of a cycle that Python objects cannot have"));
            }
        }
        if self.stack.len() >= MAX_DEPTH {
            return Err(self.refuse(id, &format!("lies more than {MAX_DEPTH} objects deep")));
        }
        if let Some(opened) = self.open.get_mut(id.0 as usize) {
            *opened = opened.saturating_add(1);
        }
        self.containers += usize::from(is_container(node));
        self.stack.push(Frame { node: id, next: 0, stage: Stage::Make, made: None });
        Ok(())
    }

    fn is_mapped_tree(&self, node: &Node) -> bool {
        match node {
            Node::Object(object) => self.mode != Mode::Copy && self.is_tree(object),
            _ => false,
        }
    }

    /// Whether an object is scikit-learn's `Tree`.
    fn is_tree(&self, object: &Object) -> bool {
        self.graph.name_at(object.callable) == Some(("sklearn.tree._tree", "Tree"))
    }

    fn close(&mut self, id: NodeId) {
        if let Some(opened) = self.open.get_mut(id.0 as usize) {
            *opened = opened.saturating_sub(1);
        }
        self.containers -= usize::from(is_container(self.graph.node(id)));
    }

    fn keep(&mut self, id: NodeId, value: Bound<'py, PyAny>) {
        if let Some(slot) = self.memo.get_mut(id.0 as usize) {
            *slot = Some(value);
        }
    }

    fn value(&self, id: NodeId) -> PyResult<Bound<'py, PyAny>> {
        match self.memo.get(id.0 as usize) {
            Some(Some(value)) => Ok(value.clone()),
            _ => Err(self.refuse(id, "was used before it was built")),
        }
    }

    fn values(&self, ids: &[NodeId]) -> PyResult<Vec<Bound<'py, PyAny>>> {
        ids.iter().map(|id| self.value(*id)).collect()
    }

    /// The value of a node without children.
    fn leaf(&mut self, id: NodeId, node: &Node) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = self.py;
        Ok(Some(match node {
            Node::None => py.None().into_bound(py),
            Node::Bool(value) => value.into_pyobject(py)?.to_owned().into_any(),
            Node::Int(value) => value.into_pyobject(py)?.into_any(),
            Node::BigInt(bytes) => big_int(py, bytes)?,
            Node::Float(value) => PyFloat::new(py, *value).into_any(),
            Node::Str(text) => PyString::new(py, text).into_any(),
            Node::Bytes(blob) => PyBytes::new(py, self.blob(blob)?).into_any(),
            Node::ByteArray(blob) => PyByteArray::new(py, self.blob(blob)?).into_any(),
            Node::Tuple(items) if items.is_empty() => PyTuple::empty(py).into_any(),
            Node::Name { module, qualname } => {
                trust::resolve(py, module, qualname, self.session.get().trusted())?
            }
            Node::Array(part) if self.written.contains(&id) => {
                self.arrays.array_in(part, Mode::CopyOnWrite)?
            }
            Node::Array(part) => self.arrays.array(part)?,
            Node::Records(records) => self.arrays.records(node, records)?,
            Node::Quotients(quotients) => self.arrays.quotients(node, quotients)?,
            Node::Scalar { dtype, bytes } => self.arrays.scalar(dtype, bytes)?,
            Node::Dtype(dtype) => self.arrays.descr(dtype)?.into_any(),
            _ => return Ok(None),
        }))
    }

    fn blob<'b>(&'b self, blob: &'b Blob) -> PyResult<&'b [u8]> {
        match blob {
            Blob::Inline(bytes) => Ok(bytes),
            Blob::Array(id) => self.arrays.bytes(*id),
        }
    }

    /// The container of a node before anything is in it; `None` for what exists only when it is complete.
    fn empty(&self, node: &Node) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = self.py;
        Ok(Some(match node {
            Node::List(_) => PyList::empty(py).into_any(),
            Node::Dict(_) => PyDict::new(py).into_any(),
            Node::Set(_) => PySet::empty(py)?.into_any(),
            Node::ObjectArray { shape, order, .. } => self.arrays.of_objects(shape, *order)?,
            _ => return Ok(None),
        }))
    }

    /// Makes the value of a node whose children are built, unless a cycle has led to it already, and fills it.
    fn complete(&mut self, id: NodeId, node: &Node) -> PyResult<()> {
        let py = self.py;
        let before = self.memo.get(id.0 as usize).cloned().flatten();
        match (node, before) {
            (Node::Tuple(_) | Node::FrozenSet(_) | Node::ArrayOfClass { .. }, Some(_)) => return Ok(()),
            (Node::List(items), None) => {
                let list = PyList::new(py, self.values(items)?)?;
                self.keep(id, list.into_any());
            }
            (Node::List(items), Some(list)) => {
                let list = list.cast_into::<PyList>()?;
                items.iter().try_for_each(|item| list.append(self.value(*item)?))?;
            }
            (Node::Tuple(items), None) => {
                self.nest(id, items)?;
                let tuple = PyTuple::new(py, self.values(items)?)?;
                self.keep(id, tuple.into_any());
            }
            (Node::FrozenSet(items), None) => {
                self.nest(id, items)?;
                let items = self.values(items)?;
                trust::guard_keys(py, &items)?;
                self.keep(id, PyFrozenSet::new(py, items)?.into_any());
            }
            (Node::Set(items), before) => {
                let items = self.values(items)?;
                trust::guard_keys(py, &items)?;
                let set = match before {
                    Some(set) => set.cast_into::<PySet>()?,
                    None => PySet::empty(py)?,
                };
                items.into_iter().try_for_each(|item| set.add(item))?;
                self.keep(id, set.into_any());
            }
            (Node::Dict(pairs), before) => {
                let dict = match before {
                    Some(dict) => dict.cast_into::<PyDict>()?,
                    None => PyDict::new(py),
                };
                self.fill(&dict, pairs)?;
                self.keep(id, dict.into_any());
            }
            (Node::ObjectArray { shape, order, items }, before) => {
                self.nest(id, items)?;
                let array = match before {
                    Some(array) => array,
                    None => self.arrays.of_objects(shape, *order)?,
                };
                self.arrays.fill_objects(&array, self.values(items)?)?;
                self.keep(id, array);
            }
            (Node::ArrayOfClass { class, array }, None) => {
                let (class, array) = (self.value(*class)?, self.value(*array)?);
                let array = self.arrays.of_class(&class, &array)?;
                self.keep(id, array);
            }
            _ => return Err(self.refuse(id, "is of no kind that has parts")),
        }
        Ok(())
    }

    fn fill(&self, dict: &Bound<'py, PyDict>, pairs: &[(NodeId, NodeId)]) -> PyResult<()> {
        self.guard_keys(pairs)?;
        pairs.iter().try_for_each(|(key, value)| dict.set_item(self.value(*key)?, self.value(*value)?))
    }

    fn guard_keys(&self, pairs: &[(NodeId, NodeId)]) -> PyResult<()> {
        let keys: Vec<_> = pairs.iter().map(|(key, _)| self.value(*key)).collect::<PyResult<_>>()?;
        trust::guard_keys(self.py, &keys)
    }

    /// Notes how deep recursion in C would go at `id`.
    fn nest(&mut self, id: NodeId, children: &[NodeId]) -> PyResult<()> {
        let careless = |child: &&NodeId| {
            matches!(
                self.graph.node(**child),
                Node::Tuple(_) | Node::FrozenSet(_) | Node::ObjectArray { .. } | Node::Object(_)
            )
        };
        let below =
            children.iter().filter(careless).map(|child| self.nested.get(child).copied().unwrap_or(1));
        let Some(below) = below.max() else { return Ok(()) };
        if below >= MAX_NESTED {
            return Err(self.refuse(id, &format!("holds {MAX_NESTED} values directly in one another")));
        }
        self.nested.insert(id, below + 1);
        Ok(())
    }

    fn refuse(&self, id: NodeId, why: &str) -> PyErr {
        let what = self.graph.node(id).type_name();
        error::raise(self.py, Kind::Format, format!("node {} of the graph ({what}) {why}", id.0))
    }
}

fn child_of_pairs(pairs: &[(NodeId, NodeId)], next: usize) -> Option<NodeId> {
    let (key, value) = pairs.get(next / 2)?;
    Some(if next.is_multiple_of(2) { *key } else { *value })
}

/// Whether a cycle may lead back to the node before it is complete.
fn is_container(node: &Node) -> bool {
    matches!(node, Node::List(_) | Node::Dict(_) | Node::Set(_) | Node::ObjectArray { .. } | Node::Object(_))
}

fn big_int<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let signed = PyDict::new(py);
    signed.set_item("signed", true)?;
    py.get_type::<PyInt>().call_method("from_bytes", (PyBytes::new(py, bytes), "little"), Some(&signed))
}

/// The memory order as NumPy spells it.
fn letter(order: Order) -> &'static str {
    match order {
        Order::C => "C",
        Order::F => "F",
    }
}
