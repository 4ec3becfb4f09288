//! Scalers.
#![forbid(unsafe_code)]

use crate::format::ArrayId;
use crate::model::array::ArraySource;
use crate::model::graph::{Graph, NodeId};
use crate::model::lower::linear::{stage_f64, unfitted};
use crate::model::lower::stage::{Lowered, Refusal, Staged};
use crate::model::plan::Op;

/// Lowers `StandardScaler`.
pub(super) fn lower_standard(
    graph: &Graph,
    id: NodeId,
    arrays: &dyn ArraySource,
) -> Result<Lowered, Refusal> {
    let n_features = n_features(graph, id)?;
    let switched = |name| graph.attr(id, name).and_then(|id| graph.as_bool(id)).unwrap_or(true);
    let mut staged = Vec::new();
    let (with_mean, with_std) = (switched("with_mean"), switched("with_std"));
    if with_mean {
        staged.push(per_feature(graph, id, arrays, "mean_", "mean", n_features)?);
    }
    if with_std {
        staged.push(per_feature(graph, id, arrays, "scale_", "scale", n_features)?);
    }
    let op = move |ids: &[ArrayId]| {
        let mut ids = ids.iter().copied();
        let mean = if with_mean { ids.next() } else { None };
        Op::StandardScaler { n_features, mean, scale: if with_std { ids.next() } else { None } }
    };
    Ok(Lowered { arrays: staged, op: Box::new(op) })
}

/// Lowers `MinMaxScaler`.
pub(super) fn lower_min_max(graph: &Graph, id: NodeId, arrays: &dyn ArraySource) -> Result<Lowered, Refusal> {
    let n_features = n_features(graph, id)?;
    let scale = per_feature(graph, id, arrays, "scale_", "scale", n_features)?;
    let min = per_feature(graph, id, arrays, "min_", "min", n_features)?;
    let clip = match graph.attr(id, "clip").map(|id| graph.as_bool(id)) {
        None | Some(Some(false)) => None,
        Some(Some(true)) => Some(feature_range(graph, id)?),
        Some(None) => return Err(Refusal::uncovered("its `clip` is not a bool")),
    };
    let op = move |ids: &[ArrayId]| Op::MinMaxScaler { n_features, scale: ids[0], min: ids[1], clip };
    Ok(Lowered { arrays: vec![scale, min], op: Box::new(op) })
}

fn feature_range(graph: &Graph, id: NodeId) -> Result<[f64; 2], Refusal> {
    let range = graph.attr(id, "feature_range").and_then(|id| graph.items(id));
    let bounds = match range {
        Some([low, high]) => graph.as_f64(*low).zip(graph.as_f64(*high)),
        _ => None,
    };
    let finite = bounds.filter(|(low, high)| low.is_finite() && high.is_finite());
    finite
        .map(|(low, high)| [low, high])
        .ok_or_else(|| Refusal::uncovered("its `feature_range` is not two numbers"))
}

/// `n_features_in_`; before 0.24 the length of `scale_`, `mean_` or `var_`.
fn n_features(graph: &Graph, id: NodeId) -> Result<u32, Refusal> {
    let known = graph.attr(id, "n_features_in_").and_then(|id| graph.as_int(id));
    let length = |name| match *graph.array_part(graph.attr(id, name)?)?.shape {
        [len] => i64::try_from(len).ok(),
        _ => None,
    };
    let found = known.or_else(|| ["scale_", "mean_", "var_"].into_iter().find_map(length));
    let found = found.and_then(|len| u32::try_from(len).ok()).filter(|len| *len > 0);
    found.ok_or_else(|| unfitted("n_features_in_"))
}

/// Numbers as `f64`. A scaler fitted on `float32` keeps `float32` numbers, and one product or sum of two such gives the same
/// bits whether it is computed in `float32` or in `f64` and then rounded.
fn per_feature(
    graph: &Graph,
    id: NodeId,
    arrays: &dyn ArraySource,
    attr: &str,
    name: &'static str,
    n_features: u32,
) -> Result<Staged, Refusal> {
    let attr = graph.attr(id, attr).filter(|id| !graph.is_none(*id)).ok_or_else(|| unfitted(attr))?;
    let shape = vec![u64::from(n_features)];
    match graph.array_part(attr) {
        Some(part) if *part.shape == *shape => stage_f64(name, attr, part, shape, graph, arrays),
        _ => Err(Refusal::uncovered(format!("its `{name}` is not one number per feature"))),
    }
}
