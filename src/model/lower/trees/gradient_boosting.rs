//! `GradientBoostingClassifier` and `GradientBoostingRegressor`.
#![forbid(unsafe_code)]

use crate::model::array::ArraySource;
use crate::model::graph::{ArrayPart, Graph, Node, NodeId};
use crate::model::lower::arena::Arena;
use crate::model::lower::linear::unfitted;
use crate::model::lower::trees::boosted::{BoostedTrees, classes_of, link_of};
use crate::model::lower::trees::ensemble::Ensemble;
use crate::model::lower::trees::plain::{Columns, PlainTrees};
use crate::model::lower::{Lowered, Refusal, type_name};
use crate::model::numerics::{clipped, logit, multinomial_logit};
use crate::model::plan::{BoostedLink, Float, LeafNumbers};

/// Most bytes of the array of constants of a dummy estimator.
const MAX_BYTES: u64 = 1 << 24;

/// Lowers the estimator; its `init` before it, unless that gives constants.
pub(in crate::model::lower) fn lower_begun(arena: &mut Arena<'_>, id: NodeId) -> Result<u32, Refusal> {
    let (graph, arrays) = (arena.graph, arena.arrays);
    let init = graph.attr(id, "init_").ok_or_else(|| unfitted("init_"))?;
    let dummy = graph.class_of(init).is_some_and(|(_, name)| name.starts_with("Dummy"));
    let begun = match graph.as_str(init) {
        None if !dummy => Some(arena.part(init, "its `init`")?),
        _ => None,
    };
    let lowered = lower_gradient_boosting(graph, id, arrays, begun)?;
    Ok(arena.push(id, lowered))
}

/// Lowers an estimator whose raw scores start from constants, or from what the operation `init` answers.
pub(in crate::model::lower) fn lower_gradient_boosting(
    graph: &Graph,
    id: NodeId,
    arrays: &dyn ArraySource,
    init: Option<u32>,
) -> Result<Lowered, Refusal> {
    let (columns, estimators) = stages(graph, id).ok_or_else(|| unfitted("estimators_"))?;
    let scale = graph.attr(id, "learning_rate").and_then(|rate| graph.as_f64(rate));
    let scale = scale.ok_or_else(|| Refusal::uncovered("its `learning_rate` is not a number"))?;
    let link = link_of(graph, id)?;
    let mut trees = PlainTrees::new(graph, arrays);
    for estimator in estimators {
        // scikit-learn compares with thresholds alone here: NaN goes right.
        trees.add(*estimator, &Columns { features: None, missing: false }, |_, value| Some(scale * value))?;
    }
    let (n_features, trees) = trees.finish()?;
    let boosted = BoostedTrees {
        estimator: graph.class_of(id).map_or("", |(_, name)| name).to_owned(),
        start: match init {
            Some(_) => vec![0.0; columns],
            None => start(graph, id, arrays, link, columns)?,
        },
        link,
        classes: classes_of(graph, id, arrays)?,
        nan_allowed: false,
        infinity_allowed: false,
        dense_only: false,
        log_proba: true,
        second_at_zero: true,
        apply: LeafNumbers::Stages,
        init,
        ensemble: Ensemble {
            n_features,
            input: Float::F32,
            leaves: Float::F64,
            trees,
            zero_is_missing: Vec::new(),
            rule: None,
        },
    };
    boosted.lower()
}

/// Trees per stage, and the estimators of all stages.
fn stages(graph: &Graph, id: NodeId) -> Option<(usize, &[NodeId])> {
    match graph.node(graph.attr(id, "estimators_")?) {
        Node::ObjectArray { shape, items, .. } => match **shape {
            [_, columns] => Some((usize::try_from(columns).ok().filter(|&columns| columns > 0)?, items)),
            _ => None,
        },
        _ => None,
    }
}

/// The arrays of nodes, for those who want to know how long they are.
pub(super) fn node_parts(graph: &Graph, id: NodeId) -> impl Iterator<Item = &ArrayPart> {
    let estimators = stages(graph, id).map_or(&[][..], |(_, estimators)| estimators);
    estimators
        .iter()
        .filter_map(|estimator| graph.array_part(graph.attr(graph.attr(*estimator, "tree_")?, "nodes")?))
}

/// The raw scores before the first tree: zeros, or what the link makes of the answers of a dummy estimator.
fn start(
    graph: &Graph,
    id: NodeId,
    arrays: &dyn ArraySource,
    link: BoostedLink,
    columns: usize,
) -> Result<Vec<f64>, Refusal> {
    let init = graph.attr(id, "init_").ok_or_else(|| unfitted("init_"))?;
    if graph.as_str(init) == Some("zero") {
        return Ok(vec![0.0; columns]);
    }
    let text = |name| graph.attr(init, name).and_then(|text| graph.as_str(text));
    let attribute = match graph.class_of(init).map(|(_, name)| name) {
        Some("DummyRegressor") => "constant_",
        Some("DummyClassifier") if text("strategy") == Some("prior") => "class_prior_",
        _ => {
            let why = format!("its `init` is a {}, not a constant", type_name(graph, init));
            return Err(Refusal::uncovered(why));
        }
    };
    let constants = graph.attr(init, attribute).ok_or_else(|| unfitted(attribute))?;
    let constants =
        graph.plain_array_at(constants, arrays, MAX_BYTES)?.and_then(|constants| constants.f64s());
    let constants = constants.unwrap_or_default();
    let start = match link {
        BoostedLink::Identity | BoostedLink::Exponential => Some(constants),
        _ => linked(link, &constants),
    };
    let uneven = || Refusal::uncovered(format!("its `init` has not {columns} constants"));
    start.filter(|start| start.len() == columns && link != BoostedLink::Exponential).ok_or_else(uneven)
}

/// The link of the probabilities of a dummy classifier, as scikit-learn computes it.
fn linked(link: BoostedLink, prior: &[f64]) -> Option<Vec<f64>> {
    match link {
        BoostedLink::Logistic => Some(vec![logit(clipped(*prior.get(1)?))]),
        BoostedLink::HalfLogistic => Some(vec![0.5 * logit(clipped(*prior.get(1)?))]),
        _ => {
            let mut prior: Vec<f64> = prior.iter().map(|p| clipped(*p)).collect();
            multinomial_logit(&mut prior);
            Some(prior)
        }
    }
}
