//! Writes the arrays of what was staged, and makes the plan.
#![forbid(unsafe_code)]

use std::collections::HashMap;

use crate::format::ArrayId;
use crate::model::array::{ArraySink, ArraySource};
use crate::model::graph::{Graph, NodeId};
use crate::model::lower::stage::{Lowered, Refusal};
use crate::model::lower::{LowerError, Lowering, StagedOp, is_ensemble, lower_estimator, trees, type_name};
use crate::model::pack::Walk;
use crate::model::plan::{Member, Op, Plan};

/// More ensembles than this in one object run tree by tree.
const MAX_MEMBERS: usize = 1024;

/// The plan so far.
pub(super) struct Write<'a> {
    graph: &'a Graph,
    arrays: &'a dyn ArraySource,
    sink: &'a mut dyn ArraySink,
    walk: &'a Walk,
    /// Arrays of the source that are written already, and where they are.
    stored: HashMap<ArrayId, ArrayId>,
    ops: Vec<Op>,
    members: Vec<Member>,
    /// Bytes of nodes that members may still read: no file has more nodes than bytes for them.
    budget: u64,
}

impl<'a> Write<'a> {
    pub(super) fn new(
        graph: &'a Graph,
        arrays: &'a dyn ArraySource,
        sink: &'a mut dyn ArraySink,
        walk: &'a Walk,
    ) -> Self {
        let (stored, ops, members) = (HashMap::new(), Vec::new(), Vec::new());
        let infos = (0..arrays.array_count()).map(|id| arrays.info(ArrayId(id)));
        let budget = infos.fold(0u64, |sum, info| sum.saturating_add(info.len_bytes().unwrap_or(0)));
        Write { graph, arrays, sink, walk, stored, ops, members, budget }
    }

    /// Writes the arrays of the model; gives its last operation, which goes behind those of the members.
    ///
    /// Operations refer to each other by their position among `model`, so this comes before all others.
    pub(super) fn model(&mut self, mut model: Vec<StagedOp>) -> Result<Option<Op>, LowerError> {
        let Some(last) = model.pop() else { return Ok(None) };
        for StagedOp { node, lowered } in model {
            let index = self.ops.len();
            let op = self.op(lowered, &format!("predict.{index}."))?;
            self.member(node, index, &op);
            self.ops.push(op);
        }
        self.op(last.lowered, "predict.").map(Some)
    }

    /// Writes the arrays of every other ensemble among `nodes`. What is not covered runs tree by tree.
    pub(super) fn members(&mut self, nodes: impl Iterator<Item = NodeId>) -> Result<(), LowerError> {
        for node in nodes {
            let known = self.members.iter().any(|member| member.node == node.0);
            if self.members.len() >= MAX_MEMBERS || known || !is_ensemble(self.graph, node) {
                continue;
            }
            let Some(budget) = self.budget.checked_sub(trees::len_bytes(self.graph, node, self.arrays))
            else {
                continue;
            };
            match lower_estimator(self.graph, node, self.arrays) {
                Ok(lowered) => {
                    self.budget = budget;
                    let prefix = format!("predict.member.{}.", self.members.len());
                    let op = self.op(lowered, &prefix)?;
                    self.member(node, self.ops.len(), &op);
                    self.ops.push(op);
                }
                Err(Refusal::Uncovered { .. }) => {}
                Err(Refusal::Io(source)) => {
                    return Err(LowerError::Read { class: type_name(self.graph, node), source });
                }
            }
        }
        Ok(())
    }

    /// The plan of a model that ends in this operation, or of one that is not covered.
    pub(super) fn finish(mut self, model: Result<Option<Op>, (String, String)>) -> Lowering {
        let plan = match model {
            Ok(last) => {
                if let Some(last) = last {
                    self.member(self.graph.root, self.ops.len(), &last);
                    self.ops.push(last);
                }
                self.members.sort_by_key(|member| member.node);
                Plan::Native { ops: self.ops, members: self.members }
            }
            Err((what, why)) => {
                self.members.sort_by_key(|member| member.node);
                Plan::Uncovered { what, why, ops: self.ops, members: self.members }
            }
        };
        Lowering { plan, stored: self.stored }
    }

    fn op(&mut self, lowered: Lowered, prefix: &str) -> Result<Op, LowerError> {
        let write =
            |staged: super::Staged| staged.write(prefix, self.arrays, self.sink, self.walk, &mut self.stored);
        let ids = lowered.arrays.into_iter().map(write).collect::<Result<Vec<_>, _>>()?;
        Ok((lowered.op)(&ids))
    }

    /// Notes what a loaded ensemble may ask: trees alone, with nothing before them.
    fn member(&mut self, node: NodeId, index: usize, op: &Op) {
        let alone = matches!(op, Op::Trees(trees) if trees.init.is_none());
        let known = self.members.iter().any(|member| member.node == node.0);
        if alone && !known && is_ensemble(self.graph, node) {
            self.members.push(Member { node: node.0, op: index as u32 });
        }
    }
}
