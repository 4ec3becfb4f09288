//! Committees of trees: AdaBoost and bagging.
#![forbid(unsafe_code)]

use crate::format::ArrayId;
use crate::format::dtype::Dtype;
use crate::model::array::ArraySource;
use crate::model::graph::{Graph, NodeId};
use crate::model::lower::linear::unfitted;
use crate::model::lower::stage::classes;
use crate::model::lower::trees::ensemble::Ensemble;
use crate::model::lower::trees::layout::LaidOut;
use crate::model::lower::trees::plain::{Columns, PlainTrees, feature_maps};
use crate::model::lower::trees::tags::{self, Version};
use crate::model::lower::trees::vectors::VectorTrees;
use crate::model::lower::{Lowered, Refusal, Staged, type_name};
use crate::model::numerics::pairwise_sum;
use crate::model::plan::{
    Boosted, BoostedKind, BoostedLink, Float, Forest, ForestKind, Head, LeafNumbers, Op, Trees,
};

/// Most bytes of weights or labels.
const MAX_BYTES: u64 = 1 << 24;

/// Lowers `AdaBoostClassifier` over trees: a leaf holds what its class adds to every class.
pub(in crate::model::lower) fn lower_adaboost_classifier(
    graph: &Graph,
    id: NodeId,
    arrays: &dyn ArraySource,
) -> Result<Lowered, Refusal> {
    let estimators = estimators(graph, id, "DecisionTreeClassifier", "ExtraTreeClassifier")?;
    let weights = weights(graph, id, arrays, estimators.len())?;
    let labels = graph.attr(id, "classes_").ok_or_else(|| unfitted("classes_"))?;
    let staged = classes(graph, labels, arrays, None)?;
    let n_classes = staged.info.shape.first().copied().unwrap_or(0);
    if n_classes < 2 {
        return Err(Refusal::uncovered("it has one class"));
    }
    let n_features = n_features(graph, id, estimators)?;
    let own = label_bytes(graph, labels, arrays)?;
    let mut trees = VectorTrees::new(graph, arrays, estimators, n_features, n_classes)?;
    for (estimator, &weight) in estimators.iter().zip(&weights) {
        let labels = graph.attr(*estimator, "classes_").ok_or_else(|| unfitted("classes_"))?;
        if label_bytes(graph, labels, arrays)? != own {
            return Err(Refusal::uncovered("a tree has other classes than the ensemble"));
        }
        // As `-1 / (n_classes - 1) * w` in Python.
        let other = -1.0 / (n_classes - 1) as f64 * weight;
        trees.add(*estimator, None, |stored, vector| {
            vector.fill(other);
            if let Some(value) = vector.get_mut(argmax(stored)) {
                *value = weight;
            }
        })?;
    }
    let committee = Committee {
        kind: ForestKind::AdaBoost,
        classes: vec![staged],
        n_outputs: 1,
        max_classes: n_classes,
        divisor: Some(pairwise_sum(&weights)),
        nan_allowed: false,
    };
    committee.lower(graph, id, estimators.len(), n_features, trees.finish())
}

/// Lowers `AdaBoostRegressor` over trees: a column for each tree, of which the weighted median is the answer.
pub(in crate::model::lower) fn lower_adaboost_regressor(
    graph: &Graph,
    id: NodeId,
    arrays: &dyn ArraySource,
) -> Result<Lowered, Refusal> {
    let estimators = estimators(graph, id, "DecisionTreeRegressor", "ExtraTreeRegressor")?;
    let mut weights = weights(graph, id, arrays, estimators.len())?;
    weights.truncate(estimators.len());
    let mut trees = PlainTrees::new(graph, arrays);
    for estimator in estimators {
        trees.add(*estimator, &Columns { features: None, missing: true }, |_, value| Some(value))?;
    }
    let (n_features, trees) = trees.finish()?;
    let n_trees = trees.len() as u32;
    let ensemble = Ensemble {
        n_features,
        input: Float::F32,
        leaves: Float::F64,
        trees,
        zero_is_missing: Vec::new(),
        rule: None,
    };
    let laid_out = ensemble.lay_out()?;
    let mut arrays = laid_out.arrays;
    let n_laid_out = arrays.len();
    let shape = vec![weights.len() as u64];
    let zeros = vec![0; weights.len() * 8];
    arrays.push(Staged::memory("start", Dtype::F64, shape.clone(), zeros));
    arrays.push(Staged::memory("weights", Dtype::F64, shape, bytemuck::cast_slice(&weights).to_vec()));
    let estimator = graph.class_of(id).map_or("", |(_, name)| name).to_owned();
    let op = move |ids: &[ArrayId]| {
        let (layout, rest) = ids.split_at(n_laid_out);
        let head = Head::Boosted(Boosted {
            columns: n_trees,
            parallel: 1,
            mean_of: None,
            sum: Float::F64,
            start: rest[0],
            link: BoostedLink::Identity,
            kind: BoostedKind::Median { weights: rest[1] },
            apply: LeafNumbers::Absent,
        });
        let layout = (laid_out.layout)(layout);
        Op::Trees(Trees::new(estimator, Float::F32, n_features, n_trees, head, layout))
    };
    Ok(Lowered { arrays, op: Box::new(op) })
}

/// Lowers `BaggingClassifier` over trees: a leaf holds its probabilities at the places of their classes.
pub(in crate::model::lower) fn lower_bagging_classifier(
    graph: &Graph,
    id: NodeId,
    arrays: &dyn ArraySource,
) -> Result<Lowered, Refusal> {
    let estimators = estimators(graph, id, "DecisionTreeClassifier", "ExtraTreeClassifier")?;
    if Version::read(graph, id).leaves_are_counts() {
        return Err(Refusal::uncovered("scikit-learn before 1.4.1 saved it, whose leaves hold counts"));
    }
    let labels = graph.attr(id, "classes_").ok_or_else(|| unfitted("classes_"))?;
    let staged = classes(graph, labels, arrays, None)?;
    let n_classes = staged.info.shape.first().copied().unwrap_or(0);
    let (n_features, maps) = feature_maps(graph, id, arrays, estimators.len())?;
    let mut trees = VectorTrees::new(graph, arrays, estimators, n_features, n_classes)?;
    for (estimator, map) in estimators.iter().zip(&maps) {
        let own = graph.attr(*estimator, "classes_").ok_or_else(|| unfitted("classes_"))?;
        let own = graph.plain_array_at(own, arrays, MAX_BYTES)?.and_then(|own| own.i64s());
        let place = |class: i64| usize::try_from(class).ok().filter(|&class| (class as u64) < n_classes);
        let own = own.and_then(|own| own.into_iter().map(place).collect::<Option<Vec<_>>>());
        let own =
            own.ok_or_else(|| Refusal::uncovered("a tree has classes that the ensemble does not have"))?;
        trees.add(*estimator, Some(map), |stored, vector| {
            vector.fill(0.0);
            own.iter().zip(stored).for_each(|(&class, value)| vector[class] = *value);
        })?;
    }
    let committee = Committee {
        kind: ForestKind::Bagging,
        classes: vec![staged],
        n_outputs: 1,
        max_classes: n_classes,
        divisor: None,
        nan_allowed: nan_allowed(graph, estimators),
    };
    committee.lower(graph, id, estimators.len(), n_features, trees.finish())
}

/// Lowers `BaggingRegressor` over trees.
pub(in crate::model::lower) fn lower_bagging_regressor(
    graph: &Graph,
    id: NodeId,
    arrays: &dyn ArraySource,
) -> Result<Lowered, Refusal> {
    let estimators = estimators(graph, id, "DecisionTreeRegressor", "ExtraTreeRegressor")?;
    let outputs = estimators.first().and_then(|first| graph.attr(*first, "n_outputs_"));
    let n_outputs =
        outputs.and_then(|n| u64::try_from(graph.as_int(n)?).ok()).ok_or_else(|| unfitted("n_outputs_"))?;
    let (n_features, maps) = feature_maps(graph, id, arrays, estimators.len())?;
    let mut trees = VectorTrees::new(graph, arrays, estimators, n_features, n_outputs)?;
    for (estimator, map) in estimators.iter().zip(&maps) {
        trees.add(*estimator, Some(map), |stored, vector| {
            vector.iter_mut().zip(stored).for_each(|(to, value)| *to = *value);
        })?;
    }
    let committee = Committee {
        kind: ForestKind::Bagging,
        classes: vec![],
        n_outputs,
        max_classes: 1,
        divisor: None,
        nan_allowed: nan_allowed(graph, estimators),
    };
    committee.lower(graph, id, estimators.len(), n_features, trees.finish())
}

/// What a head is made of.
struct Committee {
    kind: ForestKind,
    classes: Vec<Staged>,
    n_outputs: u64,
    max_classes: u64,
    divisor: Option<f64>,
    nan_allowed: bool,
}

impl Committee {
    fn lower(
        self,
        graph: &Graph,
        id: NodeId,
        n_trees: usize,
        n_features: u32,
        trees: LaidOut,
    ) -> Result<Lowered, Refusal> {
        let estimator = graph.class_of(id).map_or("", |(_, name)| name).to_owned();
        let LaidOut { mut arrays, layout } = trees;
        let n_laid_out = arrays.len();
        let n_classes = self.classes.len();
        arrays.extend(self.classes);
        let has_divisor = self.divisor.is_some();
        let divisor =
            |value: f64| Staged::memory("divisor", Dtype::F64, vec![1], value.to_le_bytes().to_vec());
        arrays.extend(self.divisor.map(divisor));
        let (kind, nan_allowed) = (self.kind, self.nan_allowed);
        let (n_outputs, max_classes) = (self.n_outputs as u32, self.max_classes as u32);
        let op = move |ids: &[ArrayId]| {
            let (laid_out, rest) = ids.split_at(n_laid_out);
            let (classes, rest) = rest.split_at(n_classes);
            let head = Head::Forest(Forest {
                n_outputs,
                max_classes,
                classes: classes.to_vec(),
                average: true,
                divisor: has_divisor.then(|| rest[0]),
                kind,
            });
            Op::Trees(Trees {
                nan_allowed,
                ..Trees::new(estimator, Float::F32, n_features, n_trees as u32, head, layout(laid_out))
            })
        };
        Ok(Lowered { arrays, op: Box::new(op) })
    }
}

/// The fitted trees, all of one of two classes.
fn estimators<'a>(graph: &'a Graph, id: NodeId, one: &str, other: &str) -> Result<&'a [NodeId], Refusal> {
    let list = graph.attr(id, "estimators_").and_then(|list| graph.items(list));
    let list = list.filter(|list| !list.is_empty()).ok_or_else(|| unfitted("estimators_"))?;
    let is_tree = |estimator: &NodeId| {
        let class = graph.class_of(*estimator);
        class.is_some_and(|(module, name)| {
            module.starts_with("sklearn.tree.") && (name == one || name == other)
        })
    };
    match list.iter().find(|estimator| !is_tree(estimator)) {
        Some(&found) => {
            let why = format!("its estimators are {}, not decision trees", type_name(graph, found));
            Err(Refusal::uncovered(why))
        }
        None => Ok(list),
    }
}

fn n_features(graph: &Graph, id: NodeId, estimators: &[NodeId]) -> Result<u32, Refusal> {
    let own = graph.attr(id, "n_features_in_");
    let n = own.or_else(|| graph.attr(*estimators.first()?, "n_features_in_"));
    let n = n.and_then(|n| u32::try_from(graph.as_int(n)?).ok()).filter(|&n| n > 0 && n < 1 << 24);
    n.ok_or_else(|| unfitted("n_features_in_"))
}

fn nan_allowed(graph: &Graph, estimators: &[NodeId]) -> bool {
    let allowed = |&tree: &NodeId| tags::nan_allowed(graph, tree, tree, Version::read(graph, tree));
    estimators.iter().all(allowed)
}

/// The weights of the trees, and zeros for trees that were never fitted, as fitting ended early.
fn weights(graph: &Graph, id: NodeId, arrays: &dyn ArraySource, n_trees: usize) -> Result<Vec<f64>, Refusal> {
    let weights = graph.attr(id, "estimator_weights_").ok_or_else(|| unfitted("estimator_weights_"))?;
    let weights = graph.plain_array_at(weights, arrays, MAX_BYTES)?.and_then(|weights| weights.f64s());
    let weights = weights.filter(|weights| weights.len() >= n_trees);
    weights.ok_or_else(|| Refusal::uncovered("it has not one weight per tree"))
}

/// Labels to compare: their type with their bytes, or their texts.
fn label_bytes(graph: &Graph, labels: NodeId, arrays: &dyn ArraySource) -> Result<Vec<u8>, Refusal> {
    if let Some((_, texts)) = graph.texts_at(labels, arrays, MAX_BYTES)? {
        return Ok(texts.join("\0").into_bytes());
    }
    let array = graph.plain_array_at(labels, arrays, MAX_BYTES)?;
    let array = array.ok_or_else(|| Refusal::uncovered("its classes are neither numbers nor text"))?;
    let mut bytes = Dtype::Plain(array.dtype).to_string().into_bytes();
    bytes.extend(array.bytes);
    Ok(bytes)
}

/// `numpy.argmax` of numbers.
fn argmax(values: &[f64]) -> usize {
    let mut best = 0;
    for (index, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = index;
        }
    }
    best
}
