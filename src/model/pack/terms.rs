//! Big dicts of `str` to int as arrays with a hash table.
#![forbid(unsafe_code)]

use std::collections::HashMap;

use crate::format::dtype::Dtype;
use crate::format::{ArrayInfo, Role};
use crate::model::array::ArraySink;
use crate::model::graph::{Graph, Node, NodeId, Terms};
use crate::model::pack::PackError;
use crate::model::pack::layout::Names;
use crate::model::pack::walk::Walk;
use crate::model::terms::NewTerms;

/// Smaller dicts are built in no time.
const MIN_TERMS: usize = 1024;

/// The dict as arrays, if all keys are `str` and all values `int`, or all `numpy.int64`, and there are many.
pub(super) fn of(graph: &Graph, pairs: &[(NodeId, NodeId)]) -> Option<NewTerms> {
    if pairs.len() < MIN_TERMS {
        return None;
    }
    let numpy = pairs.first().is_some_and(|(_, value)| is_numpy(graph.node(*value)));
    let alike = pairs.iter().all(|(key, value)| match (graph.node(*key), graph.node(*value)) {
        (Node::Str(_), Node::Int(_)) => !numpy,
        (Node::Str(_), value) => numpy && is_numpy(value),
        _ => false,
    });
    let pair = |(key, value): &(NodeId, NodeId)| {
        (graph.as_str(*key).unwrap_or_default(), graph.as_int(*value).unwrap_or_default())
    };
    if alike { NewTerms::new(pairs.iter().map(pair), numpy) } else { None }
}

fn is_numpy(value: &Node) -> bool {
    matches!(value, Node::Scalar { dtype, .. } if *dtype == Dtype::I64)
}

/// Stores the dicts that the walk chose.
pub(super) fn store(
    walk: &Walk,
    names: &mut Names,
    sink: &mut dyn ArraySink,
) -> Result<HashMap<NodeId, Terms>, PackError> {
    let mut stored = HashMap::new();
    for (id, name, new) in &walk.terms {
        let mut add = |word: &str, dtype: Dtype, len: usize, bytes: &[u8]| {
            let name = names.unique(&format!("{name}.{word}"));
            let info = ArrayInfo::new(dtype, [len as u64]);
            sink.add(&name, &info, Role::Rebuild, &mut { bytes })
                .map_err(|source| PackError::Write { array: name, source })
        };
        let terms = Terms {
            text: add("text", Dtype::U8, new.text.len(), &new.text)?,
            ends: add("ends", Dtype::U32, new.ends.len(), bytemuck::cast_slice(&new.ends))?,
            values: add("values", Dtype::I64, new.values.len(), bytemuck::cast_slice(&new.values))?,
            slots: add("slots", Dtype::U64, new.slots.len(), bytemuck::cast_slice(&new.slots))?,
            seed: new.seed,
            numpy: new.numpy,
        };
        stored.insert(*id, terms);
    }
    Ok(stored)
}
