//! From the values of a finished pickle to a graph: repeated keys merged, what is unreachable left out.
#![forbid(unsafe_code)]

use std::collections::HashMap;

use crate::convert::error::{Fault, Problem};
use crate::convert::pickle::text;
use crate::convert::pickle::values::Values;
use crate::convert::source::ForeignArray;
use crate::format::ArrayId;
use crate::format::dtype::{Dtype, Kind};
use crate::model::graph::{Blob, Graph, Node, NodeId, Terms};

const UNSEEN: u32 = u32::MAX;

/// Numbers nodes and arrays in the order in which a walk from `root` first meets them.
pub(crate) fn finish(values: &mut Values<'_>, root: NodeId) -> Result<(Graph, Vec<ForeignArray>), Fault> {
    merge_keys(values)?;
    let order = walk(values, root)?;
    read_long_texts(values, &order.number)?;
    let mut taken: Vec<Option<ForeignArray>> =
        std::mem::take(&mut values.arrays).into_iter().map(Some).collect();
    let mut arrays = Vec::new();
    let mut array_number = vec![UNSEEN; taken.len()];
    let mut nodes = Vec::with_capacity(order.nodes.len());
    for id in &order.nodes {
        let Some(slot) = values.node_mut(*id) else { continue };
        let mut node = std::mem::replace(slot, Node::None);
        each_id(&mut node, |id| *id = NodeId(order.number[id.0 as usize]));
        each_array(&mut node, |id| {
            let Some(number) = array_number.get_mut(id.0 as usize) else { return };
            if *number == UNSEEN {
                *number = arrays.len() as u32;
                arrays.extend(taken[id.0 as usize].take());
            }
            *id = ArrayId(*number);
        });
        nodes.push(node);
    }
    Ok((Graph { nodes, root: NodeId(0) }, arrays))
}

struct Order {
    /// Reachable nodes, in order.
    nodes: Vec<NodeId>,
    /// The new number of every node.
    number: Vec<u32>,
}

fn walk(values: &Values<'_>, root: NodeId) -> Result<Order, Problem> {
    let depth = values.budget.limits().depth;
    let mut order = Order { nodes: vec![root], number: vec![UNSEEN; values.nodes.len()] };
    let mut path = vec![(root, 0usize)];
    if let Some(number) = order.number.get_mut(root.0 as usize) {
        *number = 0;
    }
    while let Some((id, next)) = path.last_mut() {
        let Some(child) = child(values.node(*id), *next) else {
            path.pop();
            continue;
        };
        *next += 1;
        let Some(number) = order.number.get_mut(child.0 as usize) else { continue };
        if *number != UNSEEN {
            continue;
        }
        *number = order.nodes.len() as u32;
        order.nodes.push(child);
        if path.len() as u64 > u64::from(depth) {
            return Err(Problem::Limit { name: "depth", limit: depth.into(), asked: path.len() as u64 });
        }
        path.push((child, 0));
    }
    Ok(order)
}

/// The `index`-th node that `node` refers to.
fn child(node: &Node, index: usize) -> Option<NodeId> {
    match node {
        Node::Tuple(items) | Node::List(items) | Node::Set(items) | Node::FrozenSet(items) => {
            items.get(index).copied()
        }
        Node::Dict(pairs) => pair_child(pairs, index),
        Node::ObjectArray { items, .. } => items.get(index).copied(),
        Node::ArrayOfClass { class, array } => [*class, *array].get(index).copied(),
        Node::Object(object) => {
            let head = [Some(object.callable), Some(object.args), object.kwargs, object.state];
            let mut head = head.into_iter().flatten();
            let skipped = 2 + usize::from(object.kwargs.is_some()) + usize::from(object.state.is_some());
            match index.checked_sub(skipped) {
                None => head.nth(index),
                Some(index) => match index.checked_sub(object.items.len()) {
                    None => object.items.get(index).copied(),
                    Some(index) => pair_child(&object.pairs, index),
                },
            }
        }
        _ => None,
    }
}

fn pair_child(pairs: &[(NodeId, NodeId)], index: usize) -> Option<NodeId> {
    let (key, value) = pairs.get(index / 2)?;
    Some(if index.is_multiple_of(2) { *key } else { *value })
}

fn each_id(node: &mut Node, mut change: impl FnMut(&mut NodeId)) {
    match node {
        Node::Tuple(items) | Node::List(items) | Node::Set(items) | Node::FrozenSet(items) => {
            items.iter_mut().for_each(change);
        }
        Node::Dict(pairs) => pairs.iter_mut().flat_map(|(key, value)| [key, value]).for_each(change),
        Node::ObjectArray { items, .. } => items.iter_mut().for_each(change),
        Node::ArrayOfClass { class, array } => [class, array].into_iter().for_each(change),
        Node::Object(object) => {
            let object = &mut **object;
            change(&mut object.callable);
            change(&mut object.args);
            object.kwargs.iter_mut().for_each(&mut change);
            object.state.iter_mut().for_each(&mut change);
            object.items.iter_mut().for_each(&mut change);
            object.pairs.iter_mut().flat_map(|(key, value)| [key, value]).for_each(change);
        }
        _ => {}
    }
}

fn each_array(node: &mut Node, mut change: impl FnMut(&mut ArrayId)) {
    match node {
        Node::Bytes(Blob::Array(id)) | Node::ByteArray(Blob::Array(id)) => change(id),
        Node::Array(part) => change(&mut part.array),
        Node::Terms(terms) => {
            let Terms { text, ends, values, slots, .. } = &mut **terms;
            [text, ends, values, slots].into_iter().for_each(change);
        }
        _ => {}
    }
}

fn read_long_texts(values: &mut Values<'_>, number: &[u32]) -> Result<(), Fault> {
    for (id, range) in std::mem::take(&mut values.long_texts) {
        if number.get(id.0 as usize).is_some_and(|number| *number != UNSEEN) {
            let bytes = values.read_long(&range)?;
            values.replace(id, Node::Str(text::utf8(bytes)?));
        }
    }
    Ok(())
}

/// The type of a node that Python cannot hash.
pub(crate) fn unhashable(node: &Node) -> Option<&'static str> {
    match node {
        Node::List(_)
        | Node::Dict(_)
        | Node::Terms(_)
        | Node::Set(_)
        | Node::ByteArray(_)
        | Node::Array(_)
        | Node::Records(_)
        | Node::Quotients(_)
        | Node::ObjectArray { .. }
        | Node::ArrayOfClass { .. } => Some(node.type_name()),
        _ => None,
    }
}

/// A key as Python compares it: `1`, `1.0` and `True` are equal.
#[derive(PartialEq, Eq, Hash)]
enum Key<'v> {
    None,
    Int(i64),
    BigInt(&'v [u8]),
    Float(u64),
    Str(&'v str),
    Bytes(&'v [u8]),
    Name(&'v str, &'v str),
    /// A tuple or frozenset, numbered so that equal ones have one number.
    Class(u32),
    /// An object, equal to itself only.
    Identity(NodeId),
}

/// Keeps of equal keys the first key and the last value, as a dict does; of equal set elements the first.
fn merge_keys(values: &mut Values<'_>) -> Result<(), Problem> {
    let mut classes = Classes::default();
    for at in 0..values.nodes.len() {
        let merged = match &values.nodes[at] {
            Node::Dict(pairs) if pairs.len() > 1 => merge(values, &mut classes, pairs)?.map(Node::Dict),
            Node::Set(items) if items.len() > 1 => unique(values, &mut classes, items)?.map(Node::Set),
            Node::FrozenSet(items) if items.len() > 1 => {
                unique(values, &mut classes, items)?.map(Node::FrozenSet)
            }
            Node::Dict(pairs) => {
                pairs.iter().try_for_each(|(key, _)| classes.key(values, *key, "a key").map(drop))?;
                None
            }
            Node::Set(items) | Node::FrozenSet(items) => {
                items
                    .iter()
                    .try_for_each(|item| classes.key(values, *item, "an element of a set").map(drop))?;
                None
            }
            _ => None,
        };
        if let Some(node) = merged {
            values.nodes[at] = node;
        }
    }
    Ok(())
}

type Pairs = Vec<(NodeId, NodeId)>;

fn merge(values: &Values<'_>, classes: &mut Classes, pairs: &Pairs) -> Result<Option<Pairs>, Problem> {
    let mut seen = HashMap::with_capacity(pairs.len());
    let mut merged: Option<Pairs> = None;
    for (at, (key, value)) in pairs.iter().enumerate() {
        let place = merged.as_ref().map_or(at, Vec::len);
        match *seen.entry(classes.key(values, *key, "a key")?).or_insert(place) {
            before if before < place => merged.get_or_insert_with(|| pairs[..at].to_vec())[before].1 = *value,
            _ => merged.iter_mut().for_each(|merged| merged.push((*key, *value))),
        }
    }
    Ok(merged)
}

fn unique(
    values: &Values<'_>,
    classes: &mut Classes,
    items: &[NodeId],
) -> Result<Option<Vec<NodeId>>, Problem> {
    let mut seen = std::collections::HashSet::with_capacity(items.len());
    let mut kept = Vec::with_capacity(items.len());
    for item in items {
        if seen.insert(classes.key(values, *item, "an element of a set")?) {
            kept.push(*item);
        }
    }
    Ok((kept.len() < items.len()).then_some(kept))
}

/// Numbers for tuples and frozensets: equal contents, equal number.
#[derive(Default)]
struct Classes {
    of: HashMap<NodeId, u32>,
    known: HashMap<Vec<u32>, u32>,
    leaves: HashMap<OwnedKey, u32>,
}

/// [`Key`] without borrowing, for the contents of tuples.
#[derive(PartialEq, Eq, Hash)]
enum OwnedKey {
    None,
    Int(i64),
    Float(u64),
    Bytes(u8, Box<[u8]>),
    Name(Box<str>, Box<str>),
    Class(u32),
    Identity(NodeId),
}

impl Classes {
    fn key<'v>(
        &mut self,
        values: &'v Values<'_>,
        id: NodeId,
        role: &'static str,
    ) -> Result<Key<'v>, Problem> {
        match values.node(id) {
            Node::Tuple(_) | Node::FrozenSet(_) => self.class(values, id, role).map(Key::Class),
            node => simple_key(values, id, node, role),
        }
    }

    /// The number of a tuple or frozenset; its contents are numbered first, without recursion.
    fn class(&mut self, values: &Values<'_>, id: NodeId, role: &'static str) -> Result<u32, Problem> {
        let mut todo = vec![id];
        while let Some(&next) = todo.last() {
            let items = match values.node(next) {
                Node::Tuple(items) | Node::FrozenSet(items) if !self.of.contains_key(&next) => items,
                _ => {
                    todo.pop();
                    continue;
                }
            };
            let inner = items.iter().filter(|item| {
                matches!(values.node(**item), Node::Tuple(_) | Node::FrozenSet(_))
                    && !self.of.contains_key(item)
            });
            let before = todo.len();
            todo.extend(inner.copied());
            if todo.len() == before {
                self.number(values, next, items, role)?;
                todo.pop();
            }
        }
        Ok(self.of.get(&id).copied().unwrap_or(UNSEEN))
    }

    fn number(
        &mut self,
        values: &Values<'_>,
        id: NodeId,
        items: &[NodeId],
        role: &'static str,
    ) -> Result<(), Problem> {
        let frozen = matches!(values.node(id), Node::FrozenSet(_));
        let mut contents = Vec::with_capacity(items.len() + 1);
        for item in items {
            let key = match values.node(*item) {
                Node::Tuple(_) | Node::FrozenSet(_) => {
                    OwnedKey::Class(self.of.get(item).copied().unwrap_or(UNSEEN))
                }
                node => simple_key(values, *item, node, role)?.into_owned(),
            };
            let next = self.leaves.len() as u32;
            contents.push(*self.leaves.entry(key).or_insert(next));
        }
        if frozen {
            contents.sort_unstable();
            contents.dedup();
        }
        contents.push(u32::from(frozen));
        let next = self.known.len() as u32;
        let number = *self.known.entry(contents).or_insert(next);
        self.of.insert(id, number);
        Ok(())
    }
}

impl Key<'_> {
    fn into_owned(self) -> OwnedKey {
        match self {
            Key::None => OwnedKey::None,
            Key::Int(value) => OwnedKey::Int(value),
            Key::BigInt(bytes) => OwnedKey::Bytes(0, bytes.into()),
            Key::Float(bits) => OwnedKey::Float(bits),
            Key::Str(text) => OwnedKey::Bytes(1, text.as_bytes().into()),
            Key::Bytes(bytes) => OwnedKey::Bytes(2, bytes.into()),
            Key::Name(module, qualname) => OwnedKey::Name(module.into(), qualname.into()),
            Key::Class(number) => OwnedKey::Class(number),
            Key::Identity(id) => OwnedKey::Identity(id),
        }
    }
}

fn simple_key<'v>(
    values: &Values<'_>,
    id: NodeId,
    node: &'v Node,
    role: &'static str,
) -> Result<Key<'v>, Problem> {
    if let Some(found) = unhashable(node) {
        return Err(Problem::Unhashable { found, role });
    }
    Ok(match node {
        Node::None => Key::None,
        Node::Bool(value) => Key::Int(i64::from(*value)),
        Node::Int(value) => Key::Int(*value),
        Node::BigInt(bytes) => Key::BigInt(bytes),
        Node::Float(value) => float_key(*value, id),
        Node::Str(text) if !values.long_texts.contains_key(&id) => Key::Str(text),
        Node::Bytes(Blob::Inline(bytes)) => Key::Bytes(bytes),
        Node::Name { module, qualname } => Key::Name(module, qualname),
        Node::Scalar { dtype, bytes } => scalar_key(dtype, bytes, id),
        _ => Key::Identity(id),
    })
}

/// A float that is an int compares as that int; NaN is equal to itself only.
fn float_key<'v>(value: f64, id: NodeId) -> Key<'v> {
    let int = value as i64;
    if value.is_nan() {
        Key::Identity(id)
    } else if int as f64 == value && int != i64::MAX {
        Key::Int(int)
    } else {
        Key::Float(value.to_bits())
    }
}

/// NumPy's scalars compare as the Python values they stand for.
fn scalar_key<'v>(dtype: &Dtype, bytes: &[u8], id: NodeId) -> Key<'v> {
    let Dtype::Plain(plain) = dtype else { return Key::Identity(id) };
    let mut bytes = bytes.to_vec();
    if plain.big_endian {
        bytes.reverse();
    }
    let node = match (plain.kind, bytes.len()) {
        (Kind::Bool | Kind::Uint, _) => {
            bytes.push(0);
            text::int_from_le(&bytes)
        }
        (Kind::Int, _) => text::int_from_le(&bytes),
        (Kind::Float, 8) => Node::Float(f64::from_le_bytes(bytes.try_into().unwrap_or_default())),
        (Kind::Float, 4) => Node::Float(f32::from_le_bytes(bytes.try_into().unwrap_or_default()).into()),
        _ => return Key::Identity(id),
    };
    match node {
        Node::Int(value) => Key::Int(value),
        Node::Float(value) => float_key(value, id),
        _ => Key::Identity(id),
    }
}
