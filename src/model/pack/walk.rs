//! One walk over the graph: what the root leads to, in which order, and where each array is.
#![forbid(unsafe_code)]

use std::collections::{HashMap, HashSet};
use std::fmt::Write;

use crate::format::ArrayId;
use crate::format::dtype::Dtype;
use crate::model::array::ArraySource;
use crate::model::graph::{ArrayPart, Blob, Graph, Node, NodeId};
use crate::model::pack::terms::{self, Found};
use crate::model::terms::NewTerms;

/// Components of a name; of longer paths the last ones.
const MAX_COMPONENTS: usize = 24;
/// Characters of a component.
const MAX_COMPONENT: usize = 64;

/// What a walk from the root found.
pub(crate) struct Walk {
    /// Nodes to keep, in the order in which the walk met them.
    pub(super) order: Vec<NodeId>,
    /// The new number of each old node; [`GONE`] if nothing leads to it.
    pub(super) number: Vec<u32>,
    /// Arrays in the order in which the walk met them.
    pub(super) arrays: Vec<Seen>,
    /// Big dicts of `str` to int that become arrays, with the names of those.
    pub(super) terms: Vec<(NodeId, String, Found)>,
    /// `values` arrays, and the `nodes` array beside each.
    pub(super) siblings: HashMap<ArrayId, ArrayId>,
}

/// The number of a node that is not kept.
pub(super) const GONE: u32 = u32::MAX;

/// An array of the source.
pub(crate) struct Seen {
    /// Its number in the source.
    pub(super) array: ArrayId,
    /// Attributes, keys and indices on the way to it: `estimators_.3.tree_.nodes`.
    pub(super) name: String,
    /// The same with `*` for indices.
    pub(super) pattern: String,
    /// Whether every reference is to the whole array, as an array.
    pub(super) whole: bool,
}

impl Walk {
    /// The nodes that the root leads to.
    pub(crate) fn nodes(&self) -> &[NodeId] {
        &self.order
    }

    /// The name of an array that the object holds: the way to it.
    pub(crate) fn name_of(&self, array: ArrayId) -> Option<&str> {
        self.arrays.iter().find(|seen| seen.array == array).map(|seen| seen.name.as_str())
    }
}

/// Walks from the root, depth first, items in their order.
pub(crate) fn walk(graph: &Graph, arrays: &dyn ArraySource) -> Walk {
    let mut walker = Walker {
        graph,
        arrays,
        number: vec![GONE; graph.nodes.len()],
        order: Vec::new(),
        constants: HashMap::new(),
        steps: vec![Step { before: 0, component: Component::Root }],
        waiting: vec![(graph.root, 0)],
        seen: Vec::new(),
        by_array: HashMap::new(),
        terms: Vec::new(),
        kwargs: graph.nodes.iter().filter_map(kwargs).collect(),
        siblings: HashMap::new(),
    };
    while let Some((id, path)) = walker.waiting.pop() {
        walker.visit(id, path);
    }
    let Walker { order, number, seen: arrays, terms, siblings, .. } = walker;
    Walk { order, number, arrays, terms, siblings }
}

/// Constants that Python does not tell apart by identity.
#[derive(PartialEq, Eq, Hash)]
enum Constant<'a> {
    None,
    Bool(bool),
    Int(i64),
    Float(u64),
    Str(&'a str),
    Name(&'a str, &'a str),
    Scalar(&'a Dtype, &'a [u8]),
    EmptyTuple,
}

fn kwargs(node: &Node) -> Option<NodeId> {
    match node {
        Node::Object(object) => object.kwargs,
        _ => None,
    }
}

fn constant(node: &Node) -> Option<Constant<'_>> {
    Some(match node {
        Node::None => Constant::None,
        Node::Bool(value) => Constant::Bool(*value),
        Node::Int(value) => Constant::Int(*value),
        Node::Float(value) => Constant::Float(value.to_bits()),
        Node::Str(text) => Constant::Str(text),
        Node::Name { module, qualname } => Constant::Name(module, qualname),
        Node::Scalar { dtype, bytes } => Constant::Scalar(dtype, bytes),
        Node::Tuple(items) if items.is_empty() => Constant::EmptyTuple,
        _ => return None,
    })
}

#[derive(Clone, Copy)]
enum Component {
    Root,
    Key(NodeId),
    Index(usize),
    Word(&'static str),
}

struct Step {
    before: usize,
    component: Component,
}

struct Walker<'a> {
    graph: &'a Graph,
    arrays: &'a dyn ArraySource,
    number: Vec<u32>,
    order: Vec<NodeId>,
    constants: HashMap<Constant<'a>, u32>,
    steps: Vec<Step>,
    waiting: Vec<(NodeId, usize)>,
    seen: Vec<Seen>,
    by_array: HashMap<ArrayId, usize>,
    terms: Vec<(NodeId, String, Found)>,
    /// Dicts of keyword arguments, which stay dicts.
    kwargs: HashSet<NodeId>,
    siblings: HashMap<ArrayId, ArrayId>,
}

impl<'a> Walker<'a> {
    fn visit(&mut self, id: NodeId, path: usize) {
        let graph = self.graph;
        let (Some(node), Some(&GONE)) = (graph.nodes.get(id.0 as usize), self.number.get(id.0 as usize))
        else {
            return;
        };
        let next = self.order.len() as u32;
        let number = match constant(node) {
            Some(constant) => *self.constants.entry(constant).or_insert(next),
            None => next,
        };
        self.number[id.0 as usize] = number;
        if number == next {
            self.order.push(id);
            self.node(id, node, path);
        }
    }

    fn node(&mut self, id: NodeId, node: &'a Node, path: usize) {
        let first = self.waiting.len();
        match node {
            Node::Array(part) => self.array(part.array, path, self.is_whole(part)),
            Node::Bytes(Blob::Array(id)) | Node::ByteArray(Blob::Array(id)) => self.array(*id, path, false),
            Node::Records(records) => {
                records.columns.iter().for_each(|part| self.array(part.array, path, false));
            }
            Node::Quotients(quotients) => {
                self.array(quotients.numerators.array, path, false);
                if let Some(part) = &quotients.denominators {
                    self.array(part.array, path, false);
                }
            }
            Node::Tuple(items) | Node::List(items) | Node::Set(items) | Node::FrozenSet(items) => {
                self.items(items, path);
            }
            Node::ObjectArray { items, .. } => self.items(items, path),
            Node::Terms(terms) => {
                let (name, _) = self.name(path);
                self.terms.push((id, name, Found::There((**terms).clone())));
            }
            Node::Dict(pairs) => {
                if let Some(terms) = self.new_terms(id, pairs) {
                    let (name, _) = self.name(path);
                    return self.terms.push((id, name, Found::New(terms)));
                }
                self.pairs(pairs, path);
                self.tree_state(pairs);
            }
            Node::ArrayOfClass { class, array } => self.waiting.extend([(*class, path), (*array, path)]),
            Node::Object(object) => {
                self.waiting.push((object.callable, path));
                self.step(object.args, path, Component::Word("args"));
                if let Some(kwargs) = object.kwargs {
                    self.step(kwargs, path, Component::Word("kwargs"));
                }
                self.items(&object.items, path);
                self.pairs(&object.pairs, path);
                self.waiting.extend(object.state.map(|state| (state, path)));
            }
            _ => {}
        }
        self.waiting[first..].reverse();
    }

    fn new_terms(&self, id: NodeId, pairs: &[(NodeId, NodeId)]) -> Option<NewTerms> {
        let alike = terms::alike(self.graph, pairs) && !self.kwargs.contains(&id);
        if alike { terms::of(self.graph, pairs) } else { None }
    }

    fn items(&mut self, items: &[NodeId], path: usize) {
        for (index, item) in items.iter().enumerate() {
            self.step(*item, path, Component::Index(index));
        }
    }

    fn pairs(&mut self, pairs: &[(NodeId, NodeId)], path: usize) {
        for (key, value) in pairs {
            self.waiting.push((*key, path));
            self.step(*value, path, Component::Key(*key));
        }
    }

    /// Constants need no path.
    fn step(&mut self, id: NodeId, before: usize, component: Component) {
        if constant(self.graph.node(id)).is_some() {
            self.waiting.push((id, before));
            return;
        }
        self.steps.push(Step { before, component });
        self.waiting.push((id, self.steps.len() - 1));
    }

    fn is_whole(&self, part: &ArrayPart) -> bool {
        part.first_row == 0 && *part.shape == *self.arrays.info(part.array).shape
    }

    fn array(&mut self, array: ArrayId, path: usize, whole: bool) {
        if let Some(seen) = self.by_array.get(&array).and_then(|index| self.seen.get_mut(*index)) {
            seen.whole &= whole;
            return;
        }
        let (name, pattern) = self.name(path);
        self.by_array.insert(array, self.seen.len());
        self.seen.push(Seen { array, name, pattern, whole });
    }

    fn name(&self, mut path: usize) -> (String, String) {
        let mut steps = Vec::new();
        while let Some(step) = self.steps.get(path).filter(|_| steps.len() < MAX_COMPONENTS) {
            if matches!(step.component, Component::Root) {
                break;
            }
            steps.push(step.component);
            path = step.before;
        }
        if steps.is_empty() {
            return ("array".to_owned(), "array".to_owned());
        }
        let (mut name, mut pattern) = (String::new(), String::new());
        for component in steps.into_iter().rev() {
            if !name.is_empty() {
                name.push('.');
                pattern.push('.');
            }
            let start = name.len();
            match component {
                Component::Index(index) => {
                    let _ = write!(name, "{index}");
                    pattern.push('*');
                    continue;
                }
                Component::Root => {}
                Component::Word(word) => name.push_str(word),
                Component::Key(key) => self.key(key, &mut name),
            }
            pattern.push_str(&name[start..]);
        }
        (name, pattern)
    }

    /// Appends a key of a dict.
    fn key(&self, key: NodeId, name: &mut String) {
        match self.graph.node(key) {
            Node::Str(text) if !text.is_empty() => {
                let plain = |c: char| if c.is_alphanumeric() || matches!(c, '_' | '-') { c } else { '_' };
                name.extend(text.chars().take(MAX_COMPONENT).map(plain));
            }
            Node::Int(value) => {
                let _ = write!(name, "{value}");
            }
            _ => name.push_str("key"),
        }
    }

    /// The state of a tree has `values` beside its `nodes`.
    fn tree_state(&mut self, pairs: &[(NodeId, NodeId)]) {
        if pairs.len() > 16 {
            return;
        }
        let find = |name: &str| {
            let pair = pairs.iter().find(|(key, _)| self.graph.as_str(*key) == Some(name));
            pair.and_then(|(_, value)| match self.graph.node(*value) {
                Node::Array(part) => Some(part.array),
                _ => None,
            })
        };
        if let (Some(values), Some(nodes)) = (find("values"), find("nodes")) {
            self.siblings.insert(values, nodes);
        }
    }
}
