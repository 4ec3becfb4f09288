//! Sets in an order of their own: Python's is another in every process.
#![forbid(unsafe_code)]

use crate::model::graph::{Blob, Graph, Node, NodeId};

/// Tuples within tuples that an element may have.
const MAX_DEPTH: u32 = 8;

impl Graph {
    /// Sorts the elements of sets where Python's order depends on its hash seed or on addresses, so that equal sets
    /// give equal files. Sets of numbers keep their order, and sets of other objects too.
    pub(crate) fn sort_sets(&mut self) {
        for index in 0..self.nodes.len() {
            let Some(Node::Set(items) | Node::FrozenSet(items)) = self.nodes.get(index) else { continue };
            let Some(sorted) = self.sorted(items) else { continue };
            if let Some(Node::Set(items) | Node::FrozenSet(items)) = self.nodes.get_mut(index) {
                *items = sorted;
            }
        }
    }

    fn sorted(&self, items: &[NodeId]) -> Option<Vec<NodeId>> {
        let mut seeded = false;
        let mut keyed = Vec::with_capacity(items.len());
        for item in items {
            let mut key = Vec::new();
            seeded |= self.key(*item, 0, &mut key)?;
            keyed.push((key, *item));
        }
        keyed.sort();
        seeded.then(|| keyed.into_iter().map(|(_, item)| item).collect())
    }

    /// Appends what tells an element from others, and says whether its hash is another in every process. `None` for
    /// what has only its identity.
    fn key(&self, id: NodeId, depth: u32, key: &mut Vec<u8>) -> Option<bool> {
        let node = self.nodes.get(id.0 as usize)?;
        let mut add = |kind: u8, parts: &[&[u8]]| {
            key.push(kind);
            for part in parts {
                key.extend((part.len() as u64).to_le_bytes());
                key.extend_from_slice(part);
            }
        };
        match node {
            Node::Bool(value) => add(0, &[&[u8::from(*value)]]),
            Node::Int(value) => add(1, &[&value.to_le_bytes()]),
            Node::BigInt(bytes) => add(2, &[bytes]),
            Node::Float(value) => add(3, &[&value.to_bits().to_le_bytes()]),
            Node::None => add(4, &[]),
            Node::Str(text) => add(5, &[text.as_bytes()]),
            Node::Bytes(Blob::Inline(bytes)) => add(6, &[bytes]),
            Node::Name { module, qualname } => add(7, &[module.as_bytes(), qualname.as_bytes()]),
            Node::Scalar { dtype, bytes } => add(8, &[dtype.to_string().as_bytes(), bytes]),
            Node::Tuple(items) if depth < MAX_DEPTH => {
                key.push(9);
                key.extend((items.len() as u64).to_le_bytes());
                let mut seeded = false;
                for item in items {
                    seeded |= self.key(*item, depth + 1, key)?;
                }
                return Some(seeded);
            }
            _ => return None,
        }
        Some(!matches!(node, Node::Bool(_) | Node::Int(_) | Node::BigInt(_) | Node::Float(_)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(nodes: Vec<Node>, set: &[u32]) -> Vec<u32> {
        let mut graph = Graph { nodes, root: NodeId(0) };
        graph.nodes.push(Node::Set(set.iter().map(|id| NodeId(*id)).collect()));
        graph.sort_sets();
        let Some(Node::Set(items)) = graph.nodes.last() else { panic!() };
        items.iter().map(|id| id.0).collect()
    }

    #[test]
    fn sets_of_strings_are_sorted_and_sets_of_numbers_are_not() {
        let texts = || vec![Node::Str("b".into()), Node::Str("a".into()), Node::Int(3), Node::Int(2)];
        assert_eq!(sorted(texts(), &[0, 1]), [1, 0]);
        assert_eq!(sorted(texts(), &[2, 3]), [2, 3]);
        assert_eq!(sorted(texts(), &[0, 2, 1]), sorted(texts(), &[1, 0, 2]));
    }

    #[test]
    fn sets_of_objects_and_of_deep_tuples_keep_their_order() {
        let deep = (0..20).map(|id| Node::Tuple(vec![NodeId(id + 1)]));
        let nodes = deep.chain([Node::Str("x".into())]).collect();
        assert_eq!(sorted(nodes, &[20, 0]), [20, 0]);
        assert_eq!(sorted(vec![Node::Str("x".into()), Node::List(vec![])], &[1, 0]), [1, 0]);
    }
}
