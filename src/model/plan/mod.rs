//! What the engine runs: a typed model whose parameters are arrays of the same file.
//!
//! Stored as JSON, made when the file is written. `ops` is an arena: an operation refers only to operations
//! before it, and the last one is the model. Members are ensembles within the saved object that have an operation too. [`validate`](validate::validate) checks a plan against the arrays
//! before its first use; afterwards the engine follows its indices without asking again.
#![forbid(unsafe_code)]

mod committee;
pub(crate) mod compact;
pub(crate) mod lanes;
pub(crate) mod subtrees;
mod trees;
pub(crate) mod validate;

use serde::{Deserialize, Serialize};

pub use self::committee::{Asked, Recoded, Stacking, StackingMember, Voting, VotingKind};
pub use self::trees::{
    Boosted, BoostedKind, BoostedLink, Categories, CategoryRule, Encoding, Float, Forest, ForestKind, Head,
    LeafNumbers, Subtrees, TreeLayout, Trees,
};

use crate::format::{ArrayId, ArrayInfo};

/// Most bytes of an encoded plan.
const MAX_BYTES: usize = 4 << 20;
/// Most operations of a plan.
const MAX_OPS: usize = 4096;
/// Most operations within one another.
const MAX_DEPTH: usize = 32;

/// What can be computed natively from a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "plan", rename_all = "snake_case", deny_unknown_fields)]
pub enum Plan {
    /// Operations of the engine.
    Native {
        /// Each refers only to earlier ones; the last is the model.
        ops: Vec<Op>,
        /// Ensembles of the graph, in the order of their nodes.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        members: Vec<Member>,
    },
    /// The file holds a model that the engine does not cover, or no model.
    Uncovered {
        /// The estimator or value that is not covered: `sklearn.svm._classes.SVC`, `dict`.
        what: String,
        /// Why, in words for the user.
        why: String,
        /// What the members run.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        ops: Vec<Op>,
        /// Ensembles of the graph, in the order of their nodes.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        members: Vec<Member>,
    },
}

/// An ensemble within the saved object that the engine computes, whether it computes the whole or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// The number of its node in the graph.
    pub node: u32,
    /// The operation, a [`Op::Trees`].
    pub op: u32,
}

/// One operation. Arrays are C order and little-endian; shapes are given as `[rows, columns]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub enum Op {
    /// `(x - mean) / scale`, as `sklearn.preprocessing.StandardScaler`.
    StandardScaler {
        /// Columns of the input.
        n_features: u32,
        /// `f64 [n_features]`
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mean: Option<ArrayId>,
        /// `f64 [n_features]`
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scale: Option<ArrayId>,
    },
    /// `x * scale + min`, as `sklearn.preprocessing.MinMaxScaler`.
    MinMaxScaler {
        /// Columns of the input.
        n_features: u32,
        /// `f64 [n_features]`
        scale: ArrayId,
        /// `f64 [n_features]`
        min: ArrayId,
        /// Bounds of `clip=True`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        clip: Option<[f64; 2]>,
    },
    /// `x @ coef.T + intercept`.
    LinearRegressor {
        /// Class name, for messages: `Ridge`.
        estimator: String,
        /// Columns of the input.
        n_features: u32,
        /// Columns of the output.
        n_outputs: u32,
        /// `f64 [n_outputs, n_features]`
        coef: ArrayId,
        /// `f64 [n_outputs]`
        intercept: ArrayId,
        /// `true` if `predict` gives one dimension.
        flat: bool,
        /// Whether it was fitted on `float32`: the answers for rows of `float32` are `float32` then.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        float32: bool,
    },
    /// `sklearn.linear_model.LogisticRegression`.
    LogisticRegression {
        /// Columns of the input.
        n_features: u32,
        /// `f64 [1 or n_classes, n_features]`
        coef: ArrayId,
        /// `f64 [1 or n_classes]`
        intercept: ArrayId,
        /// `[n_classes]`
        classes: ArrayId,
        /// How decisions become probabilities.
        link: Link,
        /// Whether it was fitted on `float32`: the answers for rows of `float32` are `float32` then.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        float32: bool,
    },
    /// Decision trees, alone or averaged.
    Trees(Trees),
    /// Steps run one after another; all but the last transform.
    Pipeline {
        /// Indices of earlier operations, none of them a pipeline: nested ones are flattened.
        steps: Vec<u32>,
    },
    /// Members that vote, or whose answers are averaged.
    Voting(Voting),
    /// Members whose answers are columns for a last estimator.
    Stacking(Stacking),
    /// Trees behind columns in another order and encoded categories.
    Recoded(Recoded),
}

/// From decision values to probabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Link {
    /// Two classes, one decision column `d`: `[1 - p, p]` with `p = 1 / (1 + exp(-d))`.
    Logistic,
    /// Multinomial: `exp(d - max)` divided by the sum. With one decision column `d` (older versions), over `[-d, d]`.
    Softmax,
    /// One-vs-rest: logistic per class, then divided by the sum; all equal where the sum is zero.
    OneVsRest,
}

impl Plan {
    /// The JSON stored in a file. The same plan gives the same bytes.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a plan has only string keys and finite numbers")
    }

    /// Reads what [`Plan::encode`] wrote, and checks what can be checked without arrays.
    ///
    /// # Errors
    ///
    /// [`PlanError::TooLarge`], [`PlanError::Json`], or what is wrong with the order of operations.
    pub fn decode(bytes: &[u8]) -> Result<Self, PlanError> {
        if bytes.len() > MAX_BYTES {
            return Err(PlanError::TooLarge { what: "bytes", found: bytes.len(), limit: MAX_BYTES });
        }
        let plan: Plan = serde_json::from_slice(bytes).map_err(|source| PlanError::Json { source })?;
        check_order(&plan)?;
        Ok(plan)
    }

    /// A plan for a model that is not covered.
    pub fn uncovered(what: impl Into<String>, why: impl Into<String>) -> Self {
        Plan::Uncovered { what: what.into(), why: why.into(), ops: Vec::new(), members: Vec::new() }
    }

    /// All operations.
    pub fn ops(&self) -> &[Op] {
        match self {
            Plan::Native { ops, .. } | Plan::Uncovered { ops, .. } => ops,
        }
    }

    /// Ensembles within the saved object, in the order of their nodes.
    pub fn members(&self) -> &[Member] {
        match self {
            Plan::Native { members, .. } | Plan::Uncovered { members, .. } => members,
        }
    }

    /// Gives the members the node numbers of another form of the graph.
    pub(crate) fn renumber(&mut self, node: impl Fn(u32) -> u32) {
        let (Plan::Native { members, .. } | Plan::Uncovered { members, .. }) = self;
        members.iter_mut().for_each(|member| member.node = node(member.node));
        members.sort_by_key(|member| member.node);
    }
}

fn check_order(plan: &Plan) -> Result<(), PlanError> {
    let ops = plan.ops();
    if ops.len() > MAX_OPS {
        return Err(PlanError::TooLarge { what: "operations", found: ops.len(), limit: MAX_OPS });
    }
    if ops.is_empty() && matches!(plan, Plan::Native { .. }) {
        return Err(PlanError::Empty);
    }
    check_members(ops, plan.members())?;
    for (op, operation) in ops.iter().enumerate() {
        match operation {
            Op::Pipeline { steps } => check_steps(&ops[..op], op, steps)?,
            Op::Recoded(Recoded { trees, .. }) if !matches!(ops.get(*trees as usize), Some(Op::Trees(_))) => {
                return Err(PlanError::Part { op, part: *trees, problem: "is not an operation over trees" });
            }
            _ => {}
        }
    }
    check_parts(ops)
}

/// Each part is an earlier operation and part of no other, so that nothing runs twice; and they are not too deep.
fn check_parts(ops: &[Op]) -> Result<(), PlanError> {
    let mut depths = vec![0; ops.len()];
    let mut taken = vec![false; ops.len()];
    for (op, operation) in ops.iter().enumerate() {
        for part in operation.parts() {
            let wrong = |problem| Err(PlanError::Part { op, part, problem });
            let at = part as usize;
            if at >= op {
                return wrong("is not an earlier operation");
            }
            if std::mem::replace(&mut taken[at], true) {
                return wrong("is part of two operations");
            }
            depths[op] = depths[op].max(depths[at] + 1);
        }
        if depths[op] > MAX_DEPTH {
            let what = "operations within one another";
            return Err(PlanError::TooLarge { what, found: depths[op], limit: MAX_DEPTH });
        }
    }
    Ok(())
}

/// Each is an ensemble of its own.
fn check_members(ops: &[Op], members: &[Member]) -> Result<(), PlanError> {
    let mut before = None;
    for (member, &Member { node, op }) in members.iter().enumerate() {
        let wrong = |problem| Err(PlanError::Member { member, node, op, problem });
        if before.is_some_and(|before| before >= node) {
            return wrong("is not after the member before it");
        }
        if !matches!(ops.get(op as usize), Some(Op::Trees(_))) {
            return wrong("has no operation over trees");
        }
        before = Some(node);
    }
    Ok(())
}

fn check_steps(earlier: &[Op], op: usize, steps: &[u32]) -> Result<(), PlanError> {
    let Some((last, transforms)) = steps.split_last() else {
        return Err(PlanError::Step { op, step: 0, problem: "is missing: a pipeline has at least one step" });
    };
    if steps.len() > MAX_OPS {
        return Err(PlanError::TooLarge { what: "pipeline steps", found: steps.len(), limit: MAX_OPS });
    }
    for &step in transforms {
        if !earlier.get(step as usize).is_some_and(Op::transforms) {
            return Err(PlanError::Step { op, step, problem: "is not an earlier transforming operation" });
        }
    }
    match earlier.get(*last as usize) {
        None | Some(Op::Pipeline { .. }) => {
            Err(PlanError::Step { op, step: *last, problem: "is not an earlier plain operation" })
        }
        Some(_) => Ok(()),
    }
}

impl Op {
    /// Whether the operation gives columns for a next one.
    pub fn transforms(&self) -> bool {
        matches!(self, Op::StandardScaler { .. } | Op::MinMaxScaler { .. })
    }

    /// The class name that messages use.
    pub fn estimator(&self) -> &str {
        match self {
            Op::StandardScaler { .. } => "StandardScaler",
            Op::MinMaxScaler { .. } => "MinMaxScaler",
            Op::LinearRegressor { estimator, .. } => estimator,
            Op::LogisticRegression { .. } => "LogisticRegression",
            Op::Trees(trees) => &trees.estimator,
            Op::Pipeline { .. } => "Pipeline",
            Op::Voting(voting) => &voting.estimator,
            Op::Stacking(stacking) => &stacking.estimator,
            Op::Recoded(recoded) => &recoded.estimator,
        }
    }
}

/// The arrays of a plan, in memory or mapped.
pub(crate) trait PlanArrays: Sync {
    /// What array `id` is; `None` if there is no such array.
    fn plan_array_info(&self, id: ArrayId) -> Option<ArrayInfo>;
    /// The bytes of array `id`; `None` if it is not there, or stored compressed.
    fn plan_array_bytes(&self, id: ArrayId) -> Option<&[u8]>;
}

/// Why a plan cannot be run. Operations count from 0.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// More than any model needs.
    #[error("the plan has {found} {what}, more than the limit of {limit}; convert the model again")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// How much.
        found: usize,
        /// How much is allowed.
        limit: usize,
    },
    /// Not the JSON of a plan.
    #[error("the plan is not one that this build knows; convert the model again, or upgrade onecopy")]
    Json {
        /// What the parser says.
        source: serde_json::Error,
    },
    /// No operation at all.
    #[error("the plan has no operation; convert the model again")]
    Empty,
    /// A pipeline that cannot be run.
    #[error("operation {op} of the plan: pipeline step {step} {problem}; convert the model again")]
    Step {
        /// The pipeline.
        op: usize,
        /// The operation it names.
        step: u32,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A part of an operation that cannot be run.
    #[error("operation {op} of the plan: its part, operation {part}, {problem}; convert the model again")]
    Part {
        /// The operation.
        op: usize,
        /// The operation it names.
        part: u32,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A member that cannot be run.
    #[error(
        "member {member} of the plan, node {node} with operation {op}, {problem}; convert the model again"
    )]
    Member {
        /// Its position.
        member: usize,
        /// The node of the graph.
        node: u32,
        /// The operation.
        op: u32,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A member that is not there.
    #[error("there is no member {member} among {count} of the plan")]
    NoMember {
        /// What was asked for.
        member: u32,
        /// Members there are.
        count: usize,
    },
    /// An array that the file does not have.
    #[error("operation {op} of the plan: `{parameter}` is array {array}, but the file has no such array")]
    NoArray {
        /// The operation.
        op: usize,
        /// The parameter.
        parameter: &'static str,
        /// The array's number.
        array: u32,
    },
    /// An array whose bytes are not there to compute with.
    #[error("operation {op} of the plan: `{parameter}` is stored compressed; restore the file first")]
    Compressed {
        /// The operation.
        op: usize,
        /// The parameter.
        parameter: &'static str,
    },
    /// Bytes that do not start at a multiple of the element size.
    #[error(
        "operation {op} of the plan: the bytes of `{parameter}` are not aligned; load the file into memory aligned to 64 bytes, or open it by path"
    )]
    Misaligned {
        /// The operation.
        op: usize,
        /// The parameter.
        parameter: &'static str,
    },
    /// An array of another type or shape.
    #[error(
        "operation {op} of the plan: `{parameter}` should be {expected}, found {found}; convert the model again"
    )]
    Array {
        /// The operation.
        op: usize,
        /// The parameter.
        parameter: &'static str,
        /// What the operation needs.
        expected: String,
        /// What the file has.
        found: String,
    },
    /// A number that contradicts another.
    #[error("operation {op} of the plan: `{field}` is {found}, expected {expected}; convert the model again")]
    Field {
        /// The operation.
        op: usize,
        /// Which number.
        field: &'static str,
        /// What it must be.
        expected: String,
        /// What it is.
        found: u64,
    },
    /// A tree that would lead outside of itself.
    #[error(
        "operation {op} of the plan: node {node} of tree {tree} {problem}; the file is damaged: convert the model again"
    )]
    Node {
        /// The operation.
        op: usize,
        /// The tree.
        tree: u64,
        /// The node, counted over all trees.
        node: u64,
        /// What is wrong with it.
        problem: &'static str,
    },
}

#[cfg(test)]
mod tests;
