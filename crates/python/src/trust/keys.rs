//! Keys that would keep Python busy: with equal hashes, or tuples of shared tuples that multiply when hashed.
#![forbid(unsafe_code)]

use std::collections::HashMap;

use onecopy::{Graph, Node, NodeId};
use pyo3::prelude::*;

use crate::error::{self, Kind};

/// Most keys of one dict or set with the same hash. Each is compared with all before it.
const EQUAL_HASHES: u32 = 64;
/// Fewer keys cannot take long.
const FEW: usize = 128;
/// Most values that hashing one key visits.
const KEY_WEIGHT: u64 = 100_000;
/// Most tuples within tuples of one key: Python hashes them by recursion.
const KEY_DEPTH: u32 = 200;

/// Refuses keys of one dict or set of which too many have the same hash, before any of them is compared.
pub(crate) fn guard_keys<'py>(py: Python<'py>, keys: &[Bound<'py, PyAny>]) -> PyResult<()> {
    if keys.len() <= FEW {
        return Ok(());
    }
    let mut seen: HashMap<isize, u32> = HashMap::with_capacity(keys.len());
    for key in keys {
        let count = seen.entry(key.hash()?).or_default();
        *count += 1;
        if *count > EQUAL_HASHES {
            let message = format!(
                "a dict or set of {} keys has more than {EQUAL_HASHES} with the same hash: it was made to keep Python busy",
                keys.len()
            );
            return Err(error::raise(py, Kind::Format, message));
        }
    }
    Ok(())
}

/// Whether every key of the graph can be hashed in short time.
pub(super) fn check_keys(graph: &Graph) -> Result<(), String> {
    let mut weights = Weights { graph, known: HashMap::new() };
    for node in &graph.nodes {
        match node {
            Node::Dict(pairs) => pairs.iter().try_for_each(|(key, _)| weights.check(*key))?,
            Node::Set(items) | Node::FrozenSet(items) => {
                items.iter().try_for_each(|item| weights.check(*item))?;
            }
            Node::Object(object) => object.pairs.iter().try_for_each(|(key, _)| weights.check(*key))?,
            _ => {}
        }
    }
    Ok(())
}

struct Weights<'g> {
    graph: &'g Graph,
    /// Values within a tuple or frozenset, and its depth.
    known: HashMap<NodeId, (u64, u32)>,
}

impl Weights<'_> {
    fn check(&mut self, key: NodeId) -> Result<(), String> {
        let Some((weight, depth)) = self.weigh(key) else {
            return Err("a key of a dict or set contains itself".to_owned());
        };
        if weight > KEY_WEIGHT || depth > KEY_DEPTH {
            return Err(format!(
                "a key of a dict or set is a tuple of {weight} values, {depth} levels deep, beyond the limit of {KEY_WEIGHT} and {KEY_DEPTH}"
            ));
        }
        Ok(())
    }

    fn inner(&self, id: NodeId) -> Option<&[NodeId]> {
        match self.graph.node(id) {
            Node::Tuple(items) | Node::FrozenSet(items) => Some(items),
            _ => None,
        }
    }

    /// Without recursion; `None` for a cycle.
    fn weigh(&mut self, key: NodeId) -> Option<(u64, u32)> {
        if self.inner(key).is_none() {
            return Some((1, 0));
        }
        let mut path = vec![(key, 0usize)];
        let mut on_path = std::collections::HashSet::from([key]);
        while let Some((id, next)) = path.last().copied() {
            let child = self.inner(id).unwrap_or_default().get(next).copied();
            if let Some(slot) = path.last_mut() {
                slot.1 += 1;
            }
            match child {
                Some(child) if self.inner(child).is_some() && !self.known.contains_key(&child) => {
                    if !on_path.insert(child) {
                        return None;
                    }
                    path.push((child, 0));
                }
                Some(_) => {}
                None => {
                    let sum = self.sum(id);
                    self.known.insert(id, sum);
                    on_path.remove(&id);
                    path.pop();
                }
            }
        }
        self.known.get(&key).copied()
    }

    fn sum(&self, id: NodeId) -> (u64, u32) {
        let items = self.inner(id).unwrap_or_default();
        items.iter().fold((1u64, 1u32), |(weight, depth), item| {
            let (inner, levels) = self.known.get(item).copied().unwrap_or((1, 0));
            (weight.saturating_add(inner), depth.max(levels.saturating_add(1)))
        })
    }
}
