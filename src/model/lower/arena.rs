//! Estimators that are lowered one after the other, the parts of each before it.
#![forbid(unsafe_code)]

use crate::format::ArrayId;
use crate::model::array::ArraySource;
use crate::model::graph::{Blob, Graph, Node, NodeId};
use crate::model::lower::pipeline::{self, Step};
use crate::model::lower::{
    Family, Lowered, Refusal, committee, family_of, lower_estimator, trees, type_name,
};
use crate::model::plan::Op;

/// Most estimators in one object.
const MAX_ESTIMATORS: usize = 1000;
/// Most estimators within one another; an object that contains itself ends here.
const MAX_NESTED: usize = 8;
/// Bytes of nodes that parts may have beyond those of the file's arrays: small models are kept in the graph itself.
const SPARE_BYTES: u64 = 64 << 20;

/// An operation of which nothing is written yet, and the node that it is.
pub(super) struct StagedOp {
    pub(super) node: NodeId,
    pub(super) lowered: Lowered,
}

/// Operations so far. An operation refers to others by their position here, and the last is the model.
pub(super) struct Arena<'a> {
    pub(super) graph: &'a Graph,
    pub(super) arrays: &'a dyn ArraySource,
    ops: Vec<StagedOp>,
    nested: usize,
    estimators: usize,
    /// Bytes of nodes that may still be read: parts that share their trees would make the file larger without end.
    budget: u64,
}

impl<'a> Arena<'a> {
    pub(super) fn new(graph: &'a Graph, arrays: &'a dyn ArraySource) -> Self {
        let infos = (0..arrays.array_count()).map(|id| arrays.info(ArrayId(id)));
        let budget =
            infos.fold(SPARE_BYTES, |sum, info| sum.saturating_add(info.len_bytes().unwrap_or(u64::MAX)));
        Arena { graph, arrays, ops: Vec::new(), nested: 0, estimators: 0, budget }
    }

    pub(super) fn into_ops(self) -> Vec<StagedOp> {
        self.ops
    }

    /// Adds an operation whose parts are here already; gives its position.
    pub(super) fn push(&mut self, node: NodeId, lowered: Lowered) -> u32 {
        self.ops.push(StagedOp { node, lowered });
        self.ops.len() as u32 - 1
    }

    /// Lowers the estimator at `id` and what it is made of; gives the position of its operation.
    pub(super) fn add(&mut self, id: NodeId) -> Result<u32, Refusal> {
        self.estimators += 1;
        if self.estimators > MAX_ESTIMATORS || self.nested >= MAX_NESTED {
            return Err(Refusal::uncovered("it holds too many estimators, or contains itself"));
        }
        self.nested += 1;
        let added = self.lower(id);
        self.nested -= 1;
        added
    }

    fn lower(&mut self, id: NodeId) -> Result<u32, Refusal> {
        match family_of(self.graph, id) {
            Some(Family::Pipeline) => self.pipeline(id),
            Some(Family::Voting) => committee::lower_voting(self, id),
            Some(Family::Stacking) => committee::lower_stacking(self, id),
            family => {
                self.take(id)?;
                match family {
                    Some(Family::GradientBoosting) => trees::lower_begun(self, id),
                    Some(Family::Histogram) => trees::lower_recoded(self, id),
                    _ => {
                        let lowered = lower_estimator(self.graph, id, self.arrays)?;
                        Ok(self.push(id, lowered))
                    }
                }
            }
        }
    }

    fn pipeline(&mut self, id: NodeId) -> Result<u32, Refusal> {
        let steps = pipeline::steps(self.graph, id)?;
        let last = steps.len().saturating_sub(1);
        let add = |(index, step): (usize, &Step)| {
            pipeline::check_step(self.graph, step, index == last)?;
            self.add(step.estimator).map_err(|refusal| step.explain(self.graph, refusal))
        };
        let steps: Vec<u32> = steps.iter().enumerate().map(add).collect::<Result<_, _>>()?;
        let op = move |_: &[ArrayId]| Op::Pipeline { steps };
        Ok(self.push(id, Lowered { arrays: Vec::new(), op: Box::new(op) }))
    }

    /// Lowers a part and says in which one a refusal arose: "member `svc`".
    pub(super) fn part(&mut self, id: NodeId, part: &str) -> Result<u32, Refusal> {
        self.add(id).map_err(|refusal| match refusal {
            Refusal::Uncovered { what, why } => Refusal::Uncovered {
                what: what.or_else(|| Some(type_name(self.graph, id))),
                why: format!("{part}: {why}"),
            },
            io @ Refusal::Io(_) => io,
        })
    }

    fn take(&mut self, id: NodeId) -> Result<(), Refusal> {
        let bytes = trees::len_bytes(self.graph, id, self.arrays).saturating_add(self.booster_bytes(id));
        let left = self.budget.checked_sub(bytes);
        self.budget = left
            .ok_or_else(|| Refusal::uncovered("some of its trees are those of another tree or estimator"))?;
        Ok(())
    }

    /// Bytes of what a booster of another library is saved as, or made from.
    fn booster_bytes(&self, id: NodeId) -> u64 {
        let graph = self.graph;
        let booster = graph.attr(id, "_Booster").unwrap_or(id);
        let saved = ["handle", "_handle"].into_iter().find_map(|name| graph.attr(booster, name));
        let made = graph.object(booster).and_then(|object| graph.items(object.args)).unwrap_or_default();
        let bytes = |id: &NodeId| match graph.node(*id) {
            Node::Str(text) => text.len() as u64,
            Node::Bytes(Blob::Inline(bytes)) | Node::ByteArray(Blob::Inline(bytes)) => bytes.len() as u64,
            Node::Bytes(Blob::Array(array)) | Node::ByteArray(Blob::Array(array)) => {
                self.arrays.info(*array).len_bytes().unwrap_or(u64::MAX)
            }
            _ => 0,
        };
        saved.iter().chain(made).map(bytes).fold(0, u64::saturating_add)
    }
}
