//! `sklearn.pipeline.Pipeline`: its steps, those of inner pipelines in their place.
#![forbid(unsafe_code)]

use crate::model::graph::{Graph, NodeId};
use crate::model::lower::stage::Refusal;
use crate::model::lower::{Family, family_of, is_transformer, type_name};

/// More steps than anyone writes; a pipeline that contains itself ends here.
const MAX_STEPS: usize = 1000;

/// One step that does something.
pub(super) struct Step {
    /// As the pipeline calls it.
    pub(super) name: String,
    /// The fitted estimator.
    pub(super) estimator: NodeId,
}

impl Step {
    /// Says in which step a refusal arose.
    pub(super) fn explain(&self, graph: &Graph, refusal: Refusal) -> Refusal {
        match refusal {
            Refusal::Uncovered { what, why } => Refusal::Uncovered {
                what: what.or_else(|| Some(type_name(graph, self.estimator))),
                why: format!("step `{}` of the pipeline: {why}", self.name),
            },
            io => io,
        }
    }
}

/// The steps of the pipeline at `root` in order, without `None` and `"passthrough"`.
pub(super) fn steps(graph: &Graph, root: NodeId) -> Result<Vec<Step>, Refusal> {
    let mut steps = Vec::new();
    let mut seen = 0;
    let mut waiting = vec![(String::new(), root)];
    while let Some((name, estimator)) = waiting.pop() {
        seen += 1;
        if seen > MAX_STEPS {
            return Err(Refusal::uncovered("the pipeline has too many steps or contains itself"));
        }
        if graph.is_none(estimator) || graph.as_str(estimator) == Some("passthrough") {
            continue;
        }
        if family_of(graph, estimator) != Some(Family::Pipeline) {
            steps.push(Step { name, estimator });
            continue;
        }
        let inner = named_steps(graph, estimator, &name)?;
        if inner.len() > MAX_STEPS {
            return Err(Refusal::uncovered("the pipeline has too many steps"));
        }
        waiting.extend(inner.into_iter().rev());
    }
    if steps.is_empty() {
        return Err(Refusal::uncovered("the pipeline has no step that does anything"));
    }
    Ok(steps)
}

/// The last step of a pipeline, of the pipeline that is the last step, and so on; `id` itself if it is no pipeline.
pub(super) fn last_step(graph: &Graph, mut id: NodeId) -> NodeId {
    for _ in 0..MAX_STEPS {
        if family_of(graph, id) != Some(Family::Pipeline) {
            break;
        }
        let steps = graph.attr(id, "steps").and_then(|steps| graph.items(steps)).unwrap_or_default();
        let last = steps.iter().rev().filter_map(|step| graph.items(*step)?.get(1).copied());
        let does_nothing = |id: &NodeId| graph.is_none(*id) || graph.as_str(*id) == Some("passthrough");
        match last.into_iter().find(|id| !does_nothing(id)) {
            Some(last) => id = last,
            None => break,
        }
    }
    id
}

/// Only the last step may be something other than a transformer.
pub(super) fn check_step(graph: &Graph, step: &Step, last: bool) -> Result<(), Refusal> {
    if last || is_transformer(graph, step.estimator) || family_of(graph, step.estimator).is_none() {
        return Ok(());
    }
    Err(step.explain(graph, Refusal::uncovered("it is not the last one, but not a transformer either")))
}

fn named_steps(graph: &Graph, pipeline: NodeId, outer: &str) -> Result<Vec<(String, NodeId)>, Refusal> {
    let list = graph.attr(pipeline, "steps").and_then(|steps| graph.items(steps));
    let malformed = || Refusal::uncovered("its `steps` are not a list of names and estimators");
    let dot = if outer.is_empty() { "" } else { "." };
    let step = |id: &NodeId| match graph.items(*id) {
        Some([name, estimator]) => Some((format!("{outer}{dot}{}", graph.as_str(*name)?), *estimator)),
        _ => None,
    };
    list.ok_or_else(malformed)?.iter().map(|id| step(id).ok_or_else(malformed)).collect()
}
