//! From graph to plan: one file per estimator family.
//!
//! A family reads the graph and stages arrays; only when every part of the model is staged is anything written,
//! so that a model that turns out to be uncovered half way leaves nothing behind.
#![forbid(unsafe_code)]

mod linear;
mod pipeline;
mod preprocess;
mod stage;
pub(crate) mod trees;

use std::collections::HashMap;

use crate::format::ArrayId;
use crate::model::array::{ArraySink, ArraySource};
use crate::model::graph::{Graph, NodeId};
use crate::model::pack::walk;
use crate::model::plan::{Op, Plan};

use self::stage::Stored;
pub(crate) use self::stage::{Lowered, Refusal, Staged, StagedData};

/// A plan could not be made because bytes could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LowerError {
    /// The foreign file or a temporary file.
    #[error("cannot read the arrays of `{class}`")]
    Read {
        /// The estimator that was being read.
        class: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file being written.
    #[error("cannot write array `{array}`")]
    Write {
        /// Its name.
        array: String,
        /// What the system says.
        source: std::io::Error,
    },
}

/// A plan, and the arrays of the graph that were written for it as they are.
pub(crate) struct Lowering {
    /// What the engine will run.
    pub(crate) plan: Plan,
    /// Arrays of the source, and where they now are; nobody need write them again.
    pub(crate) stored: HashMap<ArrayId, ArrayId>,
}

/// Makes the plan of the object that `graph` describes and writes the arrays that it needs to `sink`.
///
/// An estimator that is not covered is no error; the plan then says what and why.
///
/// # Errors
///
/// [`LowerError`] if arrays cannot be read or written.
pub(crate) fn lower(
    graph: &Graph,
    arrays: &dyn ArraySource,
    sink: &mut dyn ArraySink,
) -> Result<Lowering, LowerError> {
    let what = type_name(graph, graph.root);
    let uncovered = |what, why| Lowering { plan: Plan::Uncovered { what, why }, stored: HashMap::new() };
    match stage_model(graph, arrays) {
        Ok(model) => write(graph, arrays, model, sink),
        Err(Refusal::Uncovered { what: Some(inner), why }) => Ok(uncovered(inner, why)),
        Err(Refusal::Uncovered { what: None, why }) => Ok(uncovered(what, why)),
        Err(Refusal::Io(source)) => Err(LowerError::Read { class: what, source }),
    }
}

/// A model of which nothing is written yet.
struct StagedModel {
    /// In the order in which they run.
    steps: Vec<Lowered>,
    /// Whether the object is a pipeline, even of one step.
    pipeline: bool,
}

fn stage_model(graph: &Graph, arrays: &dyn ArraySource) -> Result<StagedModel, Refusal> {
    if family_of(graph, graph.root) == Some(Family::Pipeline) {
        let steps = pipeline::steps(graph, graph.root)?;
        let last = steps.len().saturating_sub(1);
        let stage = |(index, step): (usize, &pipeline::Step)| {
            pipeline::check_step(graph, step, index == last)?;
            lower_estimator(graph, step.estimator, arrays).map_err(|refusal| step.explain(graph, refusal))
        };
        let steps = steps.iter().enumerate().map(stage).collect::<Result<_, _>>()?;
        return Ok(StagedModel { steps, pipeline: true });
    }
    Ok(StagedModel { steps: vec![lower_estimator(graph, graph.root, arrays)?], pipeline: false })
}

/// Estimators that are lowered alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Trees,
    LinearRegressor,
    LogisticRegression,
    StandardScaler,
    MinMaxScaler,
    Pipeline,
}

/// The family of the object at `id`.
///
/// The file that defines a class has moved between scikit-learn versions (`sklearn.ensemble.forest`,
/// `sklearn.ensemble._forest`); the package has not.
fn family_of(graph: &Graph, id: NodeId) -> Option<Family> {
    let (module, class) = graph.class_of(id)?;
    let mut parts = module.split('.');
    if parts.next() != Some("sklearn") {
        return None;
    }
    match (parts.next()?, class) {
        ("ensemble", "RandomForestClassifier" | "RandomForestRegressor") => Some(Family::Trees),
        ("ensemble", "ExtraTreesClassifier" | "ExtraTreesRegressor") => Some(Family::Trees),
        ("tree", "DecisionTreeClassifier" | "DecisionTreeRegressor") => Some(Family::Trees),
        ("tree", "ExtraTreeClassifier" | "ExtraTreeRegressor") => Some(Family::Trees),
        ("linear_model", "LinearRegression" | "Ridge" | "Lasso" | "ElasticNet") => {
            Some(Family::LinearRegressor)
        }
        ("linear_model", "RidgeCV" | "LassoCV" | "ElasticNetCV") => Some(Family::LinearRegressor),
        ("linear_model", "MultiTaskLasso" | "MultiTaskElasticNet") => Some(Family::LinearRegressor),
        ("linear_model", "LogisticRegression" | "LogisticRegressionCV") => Some(Family::LogisticRegression),
        ("preprocessing", "StandardScaler") => Some(Family::StandardScaler),
        ("preprocessing", "MinMaxScaler") => Some(Family::MinMaxScaler),
        ("pipeline", "Pipeline") => Some(Family::Pipeline),
        _ => None,
    }
}

/// Whether the object at `id` transforms its input, so that a pipeline may go on after it.
fn is_transformer(graph: &Graph, id: NodeId) -> bool {
    matches!(family_of(graph, id), Some(Family::StandardScaler | Family::MinMaxScaler))
}

fn lower_estimator(graph: &Graph, id: NodeId, arrays: &dyn ArraySource) -> Result<Lowered, Refusal> {
    match family_of(graph, id) {
        Some(Family::Trees) => trees::lower_trees(graph, id, arrays),
        Some(Family::LinearRegressor) => linear::lower_regressor(graph, id, arrays),
        Some(Family::LogisticRegression) => linear::lower_logistic(graph, id, arrays),
        Some(Family::StandardScaler) => preprocess::lower_standard(graph, id, arrays),
        Some(Family::MinMaxScaler) => preprocess::lower_min_max(graph, id, arrays),
        Some(Family::Pipeline) => Err(Refusal::uncovered("it is a pipeline within a pipeline")),
        None if graph.object(id).is_some() => Err(Refusal::uncovered(
            "no native implementation of this class; load() gives the estimator itself",
        )),
        None => Err(Refusal::uncovered("the file holds data, not an estimator")),
    }
}

fn write(
    graph: &Graph,
    arrays: &dyn ArraySource,
    model: StagedModel,
    sink: &mut dyn ArraySink,
) -> Result<Lowering, LowerError> {
    let mut stored = Stored { ids: HashMap::new(), names: walk(graph, arrays).names() };
    let mut ops: Vec<Op> = Vec::new();
    let single = !model.pipeline;
    for lowered in model.steps {
        let prefix = if single { "predict.".to_owned() } else { format!("predict.{}.", ops.len()) };
        let ids = lowered
            .arrays
            .into_iter()
            .map(|staged| staged.write(&prefix, arrays, sink, &mut stored))
            .collect::<Result<Vec<_>, _>>()?;
        ops.push((lowered.op)(&ids));
    }
    if model.pipeline {
        let steps = (0..ops.len()).map(|step| step as u32).collect();
        ops.push(Op::Pipeline { steps });
    }
    debug_assert!(!ops.is_empty(), "{}", type_name(graph, graph.root));
    Ok(Lowering { plan: Plan::Native { ops }, stored: stored.ids })
}

/// What `id` is, in the words of Python: `sklearn.svm._classes.SVC`, `dict`, `numpy.ndarray`.
pub(crate) fn type_name(graph: &Graph, id: NodeId) -> String {
    if let Some((module, qualname)) = graph.class_of(id) {
        return format!("{module}.{qualname}");
    }
    graph.node(id).type_name().to_owned()
}
