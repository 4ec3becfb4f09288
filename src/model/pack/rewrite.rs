//! The graph of the source with its nodes renumbered and its arrays where they are in the file.
#![forbid(unsafe_code)]

use std::collections::HashMap;

use crate::format::ArrayId;
use crate::format::dtype::Dtype;
use crate::model::graph::{ArrayPart, Blob, Graph, Node, NodeId, Quotients, Records, Terms};
use crate::model::pack::layout::{Form, Group, Layout, Place};
use crate::model::pack::walk::Walk;

pub(super) fn rewrite(
    mut graph: Graph,
    walk: &Walk,
    layout: &Layout,
    ids: &[Vec<ArrayId>],
    mut terms: HashMap<NodeId, Terms>,
) -> Graph {
    let rewrite = Rewrite { walk, layout, ids };
    let mut nodes = Vec::with_capacity(walk.order.len());
    for id in &walk.order {
        if let Some(terms) = terms.remove(id) {
            nodes.push(Node::Terms(Box::new(terms)));
            continue;
        }
        let Some(node) = graph.nodes.get_mut(id.0 as usize) else { continue };
        nodes.push(rewrite.node(std::mem::replace(node, Node::None)));
    }
    Graph { nodes, root: rewrite.id(graph.root) }
}

struct Rewrite<'a> {
    walk: &'a Walk,
    layout: &'a Layout,
    ids: &'a [Vec<ArrayId>],
}

impl Rewrite<'_> {
    fn id(&self, id: NodeId) -> NodeId {
        NodeId(self.walk.number.get(id.0 as usize).copied().unwrap_or_default())
    }

    fn all(&self, ids: &mut [NodeId]) {
        ids.iter_mut().for_each(|id| *id = self.id(*id));
    }

    fn pairs(&self, pairs: &mut [(NodeId, NodeId)]) {
        pairs.iter_mut().for_each(|(key, value)| (*key, *value) = (self.id(*key), self.id(*value)));
    }

    fn node(&self, mut node: Node) -> Node {
        match &mut node {
            Node::Tuple(items) | Node::List(items) | Node::Set(items) | Node::FrozenSet(items) => {
                self.all(items);
            }
            Node::ObjectArray { items, .. } => self.all(items),
            Node::Dict(pairs) => self.pairs(pairs),
            Node::ArrayOfClass { class, array } => (*class, *array) = (self.id(*class), self.id(*array)),
            Node::Object(object) => {
                object.callable = self.id(object.callable);
                object.args = self.id(object.args);
                object.kwargs = object.kwargs.map(|id| self.id(id));
                object.state = object.state.map(|id| self.id(id));
                self.all(&mut object.items);
                self.pairs(&mut object.pairs);
            }
            Node::Terms(terms) => {
                for id in [&mut terms.text, &mut terms.ends, &mut terms.values, &mut terms.slots] {
                    *id = self.first(*id);
                }
            }
            Node::Array(part) => return self.array(part),
            Node::Bytes(Blob::Array(id)) | Node::ByteArray(Blob::Array(id)) => *id = self.first(*id),
            Node::Records(records) => records.columns.iter_mut().for_each(|part| *part = self.part(part)),
            Node::Quotients(quotients) => {
                quotients.numerators = self.part(&quotients.numerators);
                quotients.denominators = quotients.denominators.as_ref().map(|part| self.part(part));
            }
            _ => {}
        }
        node
    }

    fn group(&self, array: ArrayId) -> Option<(&Group, Place, &[ArrayId])> {
        let place = *self.layout.places.get(&array)?;
        Some((self.layout.groups.get(place.group)?, place, self.ids.get(place.group)?))
    }

    fn first(&self, array: ArrayId) -> ArrayId {
        self.group(array).and_then(|(_, _, ids)| ids.first().copied()).unwrap_or(array)
    }

    fn part(&self, part: &ArrayPart) -> ArrayPart {
        let base = self.group(part.array).map_or(0, |(_, place, _)| place.base);
        ArrayPart {
            array: self.first(part.array),
            first_row: base + part.first_row,
            shape: part.shape.clone(),
        }
    }

    fn array(&self, part: &ArrayPart) -> Node {
        let Some((group, place, ids)) = self.group(part.array) else { return Node::None };
        match &group.form {
            Form::Stored(_) | Form::Plain => Node::Array(self.part(part)),
            Form::Columns(columns) => {
                let column = |(column, array): (&super::layout::Column, &ArrayId)| {
                    let field = column.field.shape.iter().map(|len| u64::from(*len));
                    let shape = part.shape.iter().copied().chain(field).collect();
                    ArrayPart { array: *array, first_row: place.base, shape }
                };
                let columns = columns.iter().zip(ids).map(column).collect();
                let dtype: Dtype = group.info.dtype.clone();
                Node::Records(Box::new(Records { dtype, shape: part.shape.clone(), columns }))
            }
            Form::Quotients { divided, .. } => {
                let rows = part.shape.first().copied().unwrap_or_default();
                let weights = group.sibling.filter(|_| *divided).and_then(|sibling| {
                    let array = *self.ids.get(sibling.group)?.get(sibling.field)?;
                    Some(ArrayPart { array, first_row: place.base, shape: [rows].into() })
                });
                Node::Quotients(Box::new(Quotients { numerators: self.part(part), denominators: weights }))
            }
        }
    }
}
