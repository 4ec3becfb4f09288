//! `IsolationForest`.
#![forbid(unsafe_code)]

use crate::format::ArrayId;
use crate::format::dtype::Dtype;
use crate::model::array::ArraySource;
use crate::model::graph::{Graph, NodeId};
use crate::model::lower::linear::unfitted;
use crate::model::lower::trees::ensemble::Ensemble;
use crate::model::lower::trees::plain::{Columns, PlainTrees, feature_maps};
use crate::model::lower::{Lowered, Refusal, Staged};
use crate::model::plan::{Boosted, BoostedKind, BoostedLink, Float, Head, LeafNumbers, Op, Trees};

/// Most bytes of the path lengths of one tree.
const MAX_BYTES: u64 = 1 << 34;
/// `numpy.euler_gamma`
const EULER_GAMMA: f64 = 0.577_215_664_901_532_9;

/// Lowers the forest: leaves hold path lengths.
pub(in crate::model::lower) fn lower_isolation(
    graph: &Graph,
    id: NodeId,
    arrays: &dyn ArraySource,
) -> Result<Lowered, Refusal> {
    let list = |name: &str| graph.attr(id, name).and_then(|list| graph.items(list));
    let estimators = list("estimators_").ok_or_else(|| unfitted("estimators_"))?;
    let before =
        || Refusal::uncovered("scikit-learn before 1.3 saved it, without the path lengths of its trees");
    let depths = list("_decision_path_lengths").filter(|list| list.len() == estimators.len());
    let lengths = list("_average_path_length_per_tree").filter(|list| list.len() == estimators.len());
    let (depths, lengths) = depths.zip(lengths).ok_or_else(before)?;
    let (n_features, maps) = feature_maps(graph, id, arrays, estimators.len())?;
    let floats = |array: NodeId| graph.plain_array_at(array, arrays, MAX_BYTES);
    let mut trees = PlainTrees::new(graph, arrays);
    for (index, estimator) in estimators.iter().enumerate() {
        trees.charge(depths[index])?;
        trees.charge(lengths[index])?;
        let depths = floats(depths[index])?.and_then(|array| array.f64s()).unwrap_or_default();
        let lengths = floats(lengths[index])?.and_then(|array| array.f64s()).unwrap_or_default();
        let value = |node: usize, _| Some(depths.get(node)? + lengths.get(node)? - 1.0);
        trees.add(*estimator, &Columns { features: Some(&maps[index]), missing: true }, value)?;
    }
    let ensemble = Ensemble {
        n_features,
        input: Float::F32,
        leaves: Float::F64,
        trees: trees.into_trees(),
        zero_is_missing: Vec::new(),
        rule: None,
    };
    let scale = scale(graph, id, estimators.len())?;
    lower(graph, id, ensemble, scale)
}

/// What depths are divided by, and the offset of the decision function.
fn scale(graph: &Graph, id: NodeId, n_trees: usize) -> Result<[f64; 2], Refusal> {
    let number = |name: &'static str| graph.attr(id, name).and_then(|number| graph.as_f64(number));
    let samples = number("_max_samples").ok_or_else(|| unfitted("_max_samples"))?;
    let offset = number("offset_").ok_or_else(|| unfitted("offset_"))?;
    Ok([n_trees as f64 * average_path_length(samples), offset])
}

/// scikit-learn's `_average_path_length`.
fn average_path_length(samples: f64) -> f64 {
    if samples <= 1.0 {
        return 0.0;
    }
    if samples == 2.0 {
        return 1.0;
    }
    2.0 * ((samples - 1.0).ln() + EULER_GAMMA) - 2.0 * (samples - 1.0) / samples
}

fn lower(graph: &Graph, id: NodeId, ensemble: Ensemble, scale: [f64; 2]) -> Result<Lowered, Refusal> {
    let (n_features, n_trees) = (ensemble.n_features, ensemble.trees.len() as u32);
    let estimator = graph.class_of(id).map_or("", |(_, name)| name).to_owned();
    let laid_out = ensemble.lay_out()?;
    let mut arrays = laid_out.arrays;
    let n_laid_out = arrays.len();
    let bytes = |values: &[f64]| bytemuck::cast_slice(values).to_vec();
    arrays.push(Staged::memory("start", Dtype::F64, vec![1], bytes(&[0.0])));
    arrays.push(Staged::memory("scale", Dtype::F64, vec![2], bytes(&scale)));
    let op = move |ids: &[ArrayId]| {
        let (layout, rest) = ids.split_at(n_laid_out);
        let head = Head::Boosted(Boosted {
            columns: 1,
            parallel: 1,
            mean_of: None,
            sum: Float::F64,
            start: rest[0],
            link: BoostedLink::Identity,
            kind: BoostedKind::Isolation { scale: rest[1] },
            apply: LeafNumbers::Absent,
        });
        Op::Trees(Trees {
            nan_allowed: true,
            infinity_allowed: true,
            ..Trees::new(estimator, Float::F32, n_features, n_trees, head, (laid_out.layout)(layout))
        })
    };
    Ok(Lowered { arrays, op: Box::new(op) })
}
