//! What a model file says about its model in its metadata, read from the object itself.
#![forbid(unsafe_code)]

use crate::model::Model;
use crate::model::array::ArraySource;
use crate::model::graph::read::read_plain;
use crate::model::graph::{ArrayPart, Graph, GraphError, NodeId};
use crate::model::lower::type_name;
use crate::model::plan::{Op, Plan, PlanArrays, Trees};

/// Names and labels longer than this together stay in the graph only.
const MAX_BYTES: u64 = 1 << 20;

/// What is known of the saved object.
#[derive(Clone, Debug, serde::Serialize)]
pub(super) struct Description {
    /// `sklearn.ensemble._forest.RandomForestClassifier`.
    #[serde(rename = "type")]
    pub(super) model: String,
    /// The version that saved it.
    #[serde(skip_serializing_if = "Option::is_none")]
    scikit_learn: Option<String>,
    /// `n_features_in_`.
    #[serde(skip_serializing_if = "Option::is_none")]
    n_features_in: Option<i64>,
    /// `feature_names_in_`.
    #[serde(skip_serializing_if = "Option::is_none")]
    feature_names_in: Option<Vec<String>>,
    /// `classes_`, as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    classes: Option<Vec<String>>,
    /// The steps of a pipeline.
    #[serde(skip_serializing_if = "Option::is_none")]
    steps: Option<Vec<Step>>,
}

#[derive(Clone, Debug, serde::Serialize)]
struct Step {
    name: String,
    #[serde(rename = "type")]
    model: String,
}

/// Describes the root of `graph`. What cannot be read is left out.
pub(super) fn describe(graph: &Graph, arrays: &dyn ArraySource) -> Description {
    let root = graph.root;
    let steps = steps(graph, root);
    let inner = |step: Option<&(String, NodeId)>| step.map_or(root, |(_, id)| *id);
    let (first, last) = (inner(steps.first()), inner(steps.last()));
    let texts = |id: Option<NodeId>| {
        let (_, texts) = graph.texts_at(id?, arrays, MAX_BYTES).ok()??;
        Some(texts)
    };
    let attr = |name| graph.attr(root, name);
    Description {
        model: type_name(graph, root),
        scikit_learn: attr("_sklearn_version").and_then(|id| graph.as_str(id)).map(str::to_owned),
        n_features_in: graph.attr(first, "n_features_in_").and_then(|id| graph.as_int(id)),
        feature_names_in: texts(graph.attr(first, "feature_names_in_")),
        classes: classes(graph, graph.attr(last, "classes_"), arrays),
        steps: (!steps.is_empty()).then(|| {
            steps.iter().map(|(name, id)| Step { name: name.clone(), model: type_name(graph, *id) }).collect()
        }),
    }
}

/// Most bytes of names that [`Model::feature_names`] reads.
const MAX_NAMES: u64 = 1 << 28;

impl<D: AsRef<[u8]> + Sync> Model<D> {
    /// The names of the columns that the model was trained with: `feature_names_in_` of the object, or of the first step of
    /// a pipeline, or those that a booster of XGBoost keeps. `None` if it was trained without names.
    ///
    /// # Errors
    ///
    /// [`GraphError`] if the graph is damaged.
    pub fn feature_names(&self) -> Result<Option<Vec<String>>, GraphError> {
        if let Some(names) = self.planned_names() {
            return Ok(Some(names));
        }
        let Some(graph) = self.graph()? else { return Ok(None) };
        let first = steps(&graph, graph.root).first().map_or(graph.root, |(_, id)| *id);
        let Some(names) = graph.attr(first, "feature_names_in_") else { return Ok(None) };
        Ok(graph.texts_at(names, self, MAX_NAMES).ok().flatten().map(|(_, texts)| texts))
    }
}

impl<D: AsRef<[u8]> + Sync> Model<D> {
    /// The names that the plan has because the object keeps them where only its own library reads them.
    fn planned_names(&self) -> Option<Vec<String>> {
        let Plan::Native { ops, .. } = self.plan() else { return None };
        let Some(Op::Trees(Trees { feature_names: Some(id), .. })) = ops.last() else { return None };
        let shape = self.plan_array_info(*id)?.shape.into();
        let part = ArrayPart { array: *id, first_row: 0, shape };
        read_plain(&part, self, MAX_NAMES).ok()??.texts()
    }
}

fn classes(graph: &Graph, id: Option<NodeId>, arrays: &dyn ArraySource) -> Option<Vec<String>> {
    if let Ok(Some((_, texts))) = graph.texts_at(id?, arrays, MAX_BYTES) {
        return Some(texts);
    }
    let array = graph.plain_array_at(id?, arrays, MAX_BYTES).ok()??;
    if let Some(integers) = array.i64s() {
        return Some(integers.iter().map(i64::to_string).collect());
    }
    array.f64s().map(|floats| floats.iter().map(f64::to_string).collect())
}

/// The steps of a pipeline that have a name.
fn steps(graph: &Graph, root: NodeId) -> Vec<(String, NodeId)> {
    if graph.class_of(root).is_none_or(|(_, name)| name != "Pipeline") {
        return Vec::new();
    }
    let items = graph.attr(root, "steps").and_then(|id| graph.items(id)).unwrap_or_default();
    let step = |id: &NodeId| match graph.items(*id) {
        Some([name, step]) => Some((graph.as_str(*name)?.to_owned(), *step)),
        _ => None,
    };
    items.iter().take(1000).filter_map(step).collect()
}
