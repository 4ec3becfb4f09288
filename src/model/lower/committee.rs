//! `VotingClassifier`, `VotingRegressor`, `StackingClassifier` and `StackingRegressor`.
#![forbid(unsafe_code)]

use crate::format::ArrayId;
use crate::format::dtype::Dtype;
use crate::model::graph::{Graph, Node, NodeId};
use crate::model::lower::arena::Arena;
use crate::model::lower::linear::unfitted;
use crate::model::lower::pipeline::last_step;
use crate::model::lower::stage::classes;
use crate::model::lower::{Lowered, Refusal, Staged};
use crate::model::plan::{Asked, Op, Stacking, StackingMember, Voting, VotingKind};

/// Most bytes of weights or labels.
const MAX_BYTES: u64 = 1 << 24;

/// Lowers members that vote, or whose answers are averaged.
pub(super) fn lower_voting(arena: &mut Arena<'_>, id: NodeId) -> Result<u32, Refusal> {
    let (graph, arrays) = (arena.graph, arena.arrays);
    let estimator = graph.class_of(id).map_or("", |(_, name)| name).to_owned();
    let members = Members::read(graph, id)?;
    let weights = members.weights(arena, id)?;
    let voting = graph.attr(id, "voting").and_then(|voting| graph.as_str(voting));
    let flat = graph.attr(id, "flatten_transform").is_none_or(|flat| graph.as_bool(flat) != Some(false));
    let labels = match (estimator.as_str(), voting) {
        ("VotingRegressor", _) => None,
        (_, Some("hard" | "soft")) => {
            let labels = graph.attr(id, "classes_").ok_or_else(|| unfitted("classes_"))?;
            Some(classes(graph, labels, arrays, None)?)
        }
        _ => return Err(Refusal::uncovered("its `voting` is neither hard nor soft")),
    };
    if !flat && members.fitted.len() == 1 {
        return Err(Refusal::uncovered("it has one member and `flatten_transform=False`"));
    }
    let hard = labels.is_some() && voting == Some("hard");
    let mut ops = Vec::with_capacity(members.fitted.len());
    for (member, part) in members.named() {
        ops.push(arena.part(member, &part)?);
        if let Some(labels) = labels.as_ref().filter(|_| hard) {
            check_positions(arena, member, labels).map_err(|refusal| refusal.within(&part))?;
        }
    }
    let has_weights = weights.is_some();
    let staged: Vec<Staged> = labels.into_iter().chain(weights).collect();
    let has_labels = staged.len() > usize::from(has_weights);
    let op = move |ids: &[ArrayId]| {
        let (labels, weights) = ids.split_at(usize::from(has_labels));
        let kind = match labels.first() {
            None => VotingKind::Mean,
            Some(&classes) if hard => VotingKind::Hard { classes },
            Some(&classes) => VotingKind::Soft { classes, flat },
        };
        Op::Voting(Voting { estimator, members: ops, weights: weights.first().copied(), kind })
    };
    Ok(arena.push(id, Lowered { arrays: staged, op: Box::new(op) }))
}

/// Lowers members whose answers are columns for a last estimator.
pub(super) fn lower_stacking(arena: &mut Arena<'_>, id: NodeId) -> Result<u32, Refusal> {
    let (graph, arrays) = (arena.graph, arena.arrays);
    let estimator = graph.class_of(id).map_or("", |(_, name)| name).to_owned();
    let members = Members::read(graph, id)?;
    let asked = asked(graph, id, members.fitted.len())?;
    let labels = match estimator.as_str() {
        "StackingRegressor" => None,
        _ => {
            let labels = graph.attr(id, "classes_").ok_or_else(|| unfitted("classes_"))?;
            if graph.items(labels).is_some() {
                return Err(Refusal::uncovered("it has several outputs"));
            }
            Some(classes(graph, labels, arrays, None)?)
        }
    };
    let two_classes = labels.as_ref().is_some_and(|labels| labels.info.shape == [2]);
    let mut stacked = Vec::with_capacity(asked.len());
    for ((member, part), asked) in members.named().zip(asked) {
        let op = arena.part(member, &part)?;
        if asked == Asked::Predict {
            check_numbers(arena, member).map_err(|refusal| refusal.within(&part))?;
        }
        let without_first = two_classes && asked == Asked::PredictProba;
        stacked.push(StackingMember { op, asked, without_first });
    }
    let part = "its last estimator";
    let last = graph.attr(id, "final_estimator_").ok_or_else(|| unfitted("final_estimator_"))?;
    let last_op = arena.part(last, part)?;
    if let Some(labels) = &labels {
        check_positions(arena, last, labels).map_err(|refusal| refusal.within(part))?;
    }
    let passthrough = graph.attr(id, "passthrough").and_then(|passthrough| graph.as_bool(passthrough));
    let passthrough =
        passthrough.ok_or_else(|| Refusal::uncovered("its `passthrough` is neither true nor false"))?;
    let op = move |ids: &[ArrayId]| {
        let classes = ids.first().copied();
        Op::Stacking(Stacking { estimator, members: stacked, passthrough, last: last_op, classes })
    };
    Ok(arena.push(id, Lowered { arrays: labels.into_iter().collect(), op: Box::new(op) }))
}

/// What each member is asked: `stack_method_`.
fn asked(graph: &Graph, id: NodeId, n_members: usize) -> Result<Vec<Asked>, Refusal> {
    let methods = graph.attr(id, "stack_method_").and_then(|methods| graph.items(methods));
    let methods = methods.ok_or_else(|| unfitted("stack_method_"))?;
    let asked = |method: &NodeId| match graph.as_str(*method) {
        Some("predict") => Some(Asked::Predict),
        Some("predict_proba") => Some(Asked::PredictProba),
        Some("decision_function") => Some(Asked::DecisionFunction),
        _ => None,
    };
    let all: Option<Vec<Asked>> = methods.iter().map(asked).collect();
    all.filter(|all| all.len() == n_members)
        .ok_or_else(|| Refusal::uncovered("its `stack_method_` is not one method per member"))
}

/// What is fitted, and what it was made from.
struct Members<'a> {
    fitted: &'a [NodeId],
    /// Of each of `estimators` the name, unless it was dropped.
    names: Vec<Option<&'a str>>,
}

impl<'a> Members<'a> {
    fn read(graph: &'a Graph, id: NodeId) -> Result<Self, Refusal> {
        let list = |name| graph.attr(id, name).and_then(|list| graph.items(list));
        let fitted = list("estimators_").filter(|fitted| !fitted.is_empty());
        let fitted = fitted.ok_or_else(|| unfitted("estimators_"))?;
        let given = list("estimators").unwrap_or_default();
        let name = |item: &NodeId| match graph.items(*item) {
            Some(&[name, estimator]) => {
                let dropped = graph.is_none(estimator) || graph.as_str(estimator) == Some("drop");
                graph.as_str(name).map(|name| (!dropped).then_some(name))
            }
            _ => None,
        };
        let names: Option<Vec<_>> = given.iter().map(name).collect();
        let names = names.filter(|names| names.iter().flatten().count() == fitted.len());
        let names = names.ok_or_else(|| {
            Refusal::uncovered("its `estimators` are not those that `estimators_` were made of")
        })?;
        Ok(Members { fitted, names })
    }

    /// Every fitted member, and what to call it.
    fn named(&self) -> impl Iterator<Item = (NodeId, String)> {
        let names = self.names.iter().flatten();
        self.fitted.iter().zip(names).map(|(member, name)| (*member, format!("member `{name}`")))
    }

    /// The weights of members that were not dropped.
    fn weights(&self, arena: &Arena<'_>, id: NodeId) -> Result<Option<Staged>, Refusal> {
        let graph = arena.graph;
        let Some(weights) = graph.attr(id, "weights").filter(|weights| !graph.is_none(*weights)) else {
            return Ok(None);
        };
        let unknown = || Refusal::uncovered("its weights are not one number per member, integers or float64");
        let number = |id: &NodeId| match graph.node(*id) {
            Node::Scalar { dtype, .. } if *dtype != Dtype::F64 && *dtype != Dtype::I64 => None,
            _ => graph.as_f64(*id),
        };
        let all: Option<Vec<f64>> = match graph.items(weights) {
            Some(items) => items.iter().map(number).collect(),
            None => graph
                .plain_array_at(weights, arena.arrays, MAX_BYTES)?
                .filter(|array| [Dtype::F64, Dtype::I64].contains(&Dtype::Plain(array.dtype)))
                .and_then(|array| array.f64s()),
        };
        let all = all.filter(|all| all.len() == self.names.len()).ok_or_else(unknown)?;
        let kept: Vec<f64> =
            all.into_iter().zip(&self.names).filter(|(_, name)| name.is_some()).map(|(w, _)| w).collect();
        if kept.iter().sum::<f64>() == 0.0 {
            return Err(Refusal::uncovered("its weights add up to zero"));
        }
        let bytes = bytemuck::cast_slice(&kept).to_vec();
        Ok(Some(Staged::memory("weights", Dtype::F64, vec![kept.len() as u64], bytes)))
    }
}

/// The labels that a member predicts, if it keeps them where scikit-learn does.
fn labels_of(arena: &Arena<'_>, member: NodeId) -> Option<NodeId> {
    arena.graph.attr(last_step(arena.graph, member), "classes_")
}

/// What a member predicts are positions among `labels`: it was fitted on labels that were encoded.
fn check_positions(arena: &Arena<'_>, member: NodeId, labels: &Staged) -> Result<(), Refusal> {
    let n_classes = labels.info.shape.first().copied().unwrap_or(0);
    let Some(own) = labels_of(arena, member) else { return Ok(()) };
    let own = arena.graph.plain_array_at(own, arena.arrays, MAX_BYTES)?;
    let own = own.filter(|own| Dtype::Plain(own.dtype) == Dtype::I64).and_then(|own| own.i64s());
    let within = |label: &i64| u64::try_from(*label).is_ok_and(|label| label < n_classes);
    match own {
        Some(own) if own.iter().all(within) => Ok(()),
        _ => Err(Refusal::uncovered("it was not fitted on the encoded classes of the whole, as int64")),
    }
}

/// What a member predicts can stand beside other columns.
fn check_numbers(arena: &Arena<'_>, member: NodeId) -> Result<(), Refusal> {
    let Some(own) = labels_of(arena, member) else { return Ok(()) };
    let own = arena.graph.plain_array_at(own, arena.arrays, MAX_BYTES)?;
    match own.map(|own| Dtype::Plain(own.dtype)) {
        Some(Dtype::I64 | Dtype::F64) => Ok(()),
        _ => Err(Refusal::uncovered("it predicts labels that are neither int64 nor float64")),
    }
}
