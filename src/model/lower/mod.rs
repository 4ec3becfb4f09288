//! From graph to plan: one file per estimator family.
//!
//! A family reads the graph and stages arrays; only when every part of the model is staged is anything written,
//! so that a model that turns out to be uncovered half way leaves nothing behind.
#![forbid(unsafe_code)]

mod arena;
mod committee;
mod lightgbm;
mod linear;
mod pipeline;
mod preprocess;
mod stage;
pub(crate) mod trees;
mod write;
mod xgboost;

use std::collections::HashMap;

use crate::format::ArrayId;
use crate::model::array::{ArraySink, ArraySource};
use crate::model::graph::{Graph, NodeId};
use crate::model::pack::Walk;
use crate::model::plan::Plan;

use self::arena::{Arena, StagedOp};
pub(crate) use self::stage::{Lowered, Refusal, Staged, StagedData};
use self::write::Write;

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
    walk: &Walk,
    sink: &mut dyn ArraySink,
) -> Result<Lowering, LowerError> {
    let what = type_name(graph, graph.root);
    let model = match stage_model(graph, arrays) {
        Ok(model) => Ok(model),
        Err(Refusal::Uncovered { what: inner, why }) => Err((inner.unwrap_or(what), why)),
        Err(Refusal::Io(source)) => return Err(LowerError::Read { class: what, source }),
    };
    let mut write = Write::new(graph, arrays, sink, walk);
    let model = match model {
        Ok(model) => Ok(write.model(model)?),
        Err(refused) => Err(refused),
    };
    let nodes = walk.nodes().iter().copied();
    write.members(nodes.filter(|node| model.is_err() || *node != graph.root))?;
    Ok(write.finish(model))
}

/// The operations of the model, each behind its parts; nothing of them is written yet.
fn stage_model(graph: &Graph, arrays: &dyn ArraySource) -> Result<Vec<StagedOp>, Refusal> {
    let mut arena = Arena::new(graph, arrays);
    arena.add(graph.root)?;
    Ok(arena.into_ops())
}

/// Estimators that are lowered alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Trees,
    AdaBoostClassifier,
    AdaBoostRegressor,
    BaggingClassifier,
    BaggingRegressor,
    GradientBoosting,
    Histogram,
    Isolation,
    LightGbm,
    LinearRegressor,
    LogisticRegression,
    StandardScaler,
    MinMaxScaler,
    Pipeline,
    Stacking,
    Voting,
    XgBoost,
}

/// The family of the object at `id`.
///
/// The file that defines a class has moved between scikit-learn versions (`sklearn.ensemble.forest`,
/// `sklearn.ensemble._forest`); the package has not.
fn family_of(graph: &Graph, id: NodeId) -> Option<Family> {
    let (module, class) = graph.class_of(id)?;
    let mut parts = module.split('.');
    match parts.next()? {
        "sklearn" => {}
        "lightgbm" => return lightgbm::is_model(module, class).then_some(Family::LightGbm),
        "xgboost" => return xgboost::is_model(module, class).then_some(Family::XgBoost),
        _ => return None,
    }
    match (parts.next()?, class) {
        ("ensemble", "RandomForestClassifier" | "RandomForestRegressor") => Some(Family::Trees),
        ("ensemble", "ExtraTreesClassifier" | "ExtraTreesRegressor") => Some(Family::Trees),
        ("ensemble", "RandomTreesEmbedding") => Some(Family::Trees),
        ("ensemble", "AdaBoostClassifier") => Some(Family::AdaBoostClassifier),
        ("ensemble", "AdaBoostRegressor") => Some(Family::AdaBoostRegressor),
        ("ensemble", "BaggingClassifier") => Some(Family::BaggingClassifier),
        ("ensemble", "BaggingRegressor") => Some(Family::BaggingRegressor),
        ("ensemble", "IsolationForest") => Some(Family::Isolation),
        ("ensemble", "VotingClassifier" | "VotingRegressor") => Some(Family::Voting),
        ("ensemble", "StackingClassifier" | "StackingRegressor") => Some(Family::Stacking),
        ("tree", "DecisionTreeClassifier" | "DecisionTreeRegressor") => Some(Family::Trees),
        ("tree", "ExtraTreeClassifier" | "ExtraTreeRegressor") => Some(Family::Trees),
        ("ensemble", "GradientBoostingClassifier" | "GradientBoostingRegressor") => {
            Some(Family::GradientBoosting)
        }
        ("ensemble", "HistGradientBoostingClassifier" | "HistGradientBoostingRegressor") => {
            Some(Family::Histogram)
        }
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

/// Lowers an estimator that has no parts, or whose parts are left out.
fn lower_estimator(graph: &Graph, id: NodeId, arrays: &dyn ArraySource) -> Result<Lowered, Refusal> {
    match family_of(graph, id) {
        Some(Family::Trees) => trees::lower_trees(graph, id, arrays),
        Some(Family::AdaBoostClassifier) => trees::lower_adaboost_classifier(graph, id, arrays),
        Some(Family::AdaBoostRegressor) => trees::lower_adaboost_regressor(graph, id, arrays),
        Some(Family::BaggingClassifier) => trees::lower_bagging_classifier(graph, id, arrays),
        Some(Family::BaggingRegressor) => trees::lower_bagging_regressor(graph, id, arrays),
        Some(Family::Isolation) => trees::lower_isolation(graph, id, arrays),
        Some(Family::GradientBoosting) => trees::lower_gradient_boosting(graph, id, arrays, None),
        Some(Family::Histogram) => trees::lower_encoded(graph, id, arrays),
        Some(Family::LightGbm) => lightgbm::lower_lightgbm(graph, id, arrays),
        Some(Family::LinearRegressor) => linear::lower_regressor(graph, id, arrays),
        Some(Family::LogisticRegression) => linear::lower_logistic(graph, id, arrays),
        Some(Family::StandardScaler) => preprocess::lower_standard(graph, id, arrays),
        Some(Family::MinMaxScaler) => preprocess::lower_min_max(graph, id, arrays),
        Some(Family::XgBoost) => xgboost::lower_xgboost(graph, id, arrays),
        Some(Family::Pipeline | Family::Stacking | Family::Voting) => {
            Err(Refusal::uncovered("it has parts that are estimators"))
        }
        None if graph.object(id).is_some() => Err(Refusal::uncovered(
            "no native implementation of this class; load() gives the estimator itself",
        )),
        None => Err(Refusal::uncovered("the file holds data, not an estimator")),
    }
}

/// Whether the object at `id` is an ensemble that may be a member of a plan.
fn is_ensemble(graph: &Graph, id: NodeId) -> bool {
    match family_of(graph, id) {
        Some(Family::Trees) => graph.attr(id, "estimators_").is_some(),
        Some(Family::AdaBoostClassifier | Family::AdaBoostRegressor | Family::BaggingClassifier) => true,
        Some(Family::BaggingRegressor | Family::GradientBoosting | Family::Histogram) => true,
        Some(Family::Isolation) => true,
        _ => false,
    }
}

/// What `id` is, in the words of Python: `sklearn.svm._classes.SVC`, `dict`, `numpy.ndarray`.
pub(crate) fn type_name(graph: &Graph, id: NodeId) -> String {
    if let Some((module, qualname)) = graph.class_of(id) {
        return format!("{module}.{qualname}");
    }
    graph.node(id).type_name().to_owned()
}
