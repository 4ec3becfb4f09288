//! Models of XGBoost: its own boosters, and the estimators around them.
//!
//! An estimator predicts with XGBoost's `inplace_predict`, a booster with `predict` of a `DMatrix`; they differ in
//! what they say to infinity, and with `dart` in how a tree's weight is applied.
#![forbid(unsafe_code)]

mod file;
mod objective;
#[cfg(test)]
mod tests;
mod tree;
mod ubjson;

use self::file::{Learner, Model};
use self::objective::Objective;
use crate::format::ArrayId;
use crate::format::dtype::Dtype;
use crate::model::array::ArraySource;
use crate::model::graph::{Blob, Graph, Node, NodeId};
use crate::model::lower::stage::{classes, text_array};
use crate::model::lower::trees::ensemble::Ensemble;
use crate::model::lower::trees::layout::LaidOut;
use crate::model::lower::{Lowered, Refusal, Staged};
use crate::model::plan::{
    Boosted, BoostedKind, BoostedLink, CategoryRule, Float, Head, LeafNumbers, Op, Trees,
};

/// Most features or columns; what validation of a plan allows too.
const MAX_COLUMNS: u32 = 1 << 24;
/// Words of category sets that any model may have; more if the file is long.
const MIN_CATEGORY_WORDS: u64 = 1 << 24;

/// Whether the name is that of an estimator or a booster of XGBoost.
pub(super) fn is_model(module: &str, class: &str) -> bool {
    match module.split('.').nth(1) {
        Some("core") => class == "Booster",
        Some("sklearn") => matches!(
            class,
            "XGBClassifier" | "XGBRegressor" | "XGBRanker" | "XGBRFClassifier" | "XGBRFRegressor"
        ),
        _ => false,
    }
}

/// Lowers a `Booster`, or an estimator that holds one.
///
/// # Errors
///
/// [`Refusal::Uncovered`] for what the engine does not compute, and for what XGBoost would not have written.
pub(super) fn lower_xgboost(graph: &Graph, id: NodeId, arrays: &dyn ArraySource) -> Result<Lowered, Refusal> {
    let name = graph.class_of(id).map_or("", |(_, name)| name).to_owned();
    let booster = match name.as_str() {
        "Booster" => id,
        _ => graph
            .attr(id, "_Booster")
            .filter(|booster| !graph.is_none(*booster))
            .ok_or_else(|| Refusal::uncovered("it is not fitted"))?,
    };
    let bytes = saved_bytes(graph, booster, arrays)?;
    let mut learner = file::read(&bytes)?;
    let wrapper = Wrapper::read(graph, id, booster != id)?;
    let model = trees_of(&mut learner)?;
    let sums = Sums::read(&learner, &model, &wrapper)?;
    let classes = match name.ends_with("Classifier") {
        true => Some(wrapper.classes(graph, id, arrays, &learner, sums.columns)?),
        false => None,
    };
    let n_features = learner.learner_model_param.num_feature.0;
    if !(1..=MAX_COLUMNS).contains(&n_features) {
        return Err(Refusal::uncovered(format!("it has {n_features} features")));
    }
    let words = MIN_CATEGORY_WORDS.max(bytes.len() as u64);
    drop(bytes);
    let ensemble =
        sums.ensemble(n_features, model, learner.gradient_booster.weight_drop.as_deref(), &wrapper, words)?;
    let names = Some(&learner.feature_names).filter(|names| names.len() == n_features as usize);
    let names = names.and_then(|names| text_array("feature_names", vec![u64::from(n_features)], names).ok());
    stage(name, &sums, classes, names, ensemble, &wrapper)
}

/// Makes arrays and an operation of everything that was read.
fn stage(
    estimator: String,
    sums: &Sums,
    classes: Option<Staged>,
    names: Option<Staged>,
    ensemble: Ensemble,
    wrapper: &Wrapper,
) -> Result<Lowered, Refusal> {
    let (n_features, n_trees) = (ensemble.n_features, ensemble.trees.len() as u32);
    let LaidOut { mut arrays, layout } = ensemble.lay_out()?;
    let in_layout = arrays.len();
    let start = bytemuck::cast_slice(&sums.start).to_vec();
    arrays.push(Staged::memory("start", Dtype::F32, vec![sums.start.len() as u64], start));
    let (has_classes, has_names) = (classes.is_some(), names.is_some());
    let Sums { columns, parallel, link, .. } = *sums;
    let Wrapper { in_place, missing } = *wrapper;
    arrays.extend(classes);
    arrays.extend(names);
    let op = Box::new(move |ids: &[ArrayId]| {
        let (layout_ids, rest) = ids.split_at(in_layout);
        let kind = match has_classes {
            true => BoostedKind::XgBoost { classes: rest[1] },
            false => BoostedKind::Regressor,
        };
        let head = Boosted {
            columns,
            parallel,
            sum: Float::F32,
            start: rest[0],
            link,
            kind,
            apply: LeafNumbers::Float32,
            mean_of: None,
        };
        Op::Trees(Trees {
            nan_allowed: true,
            infinity_allowed: in_place,
            // An entry that a sparse matrix does not have is missing, not 0.
            dense_only: true,
            missing_value: missing,
            feature_names: has_names.then(|| rest[rest.len() - 1]),
            ..Trees::new(estimator, Float::F32, n_features, n_trees, Head::Boosted(head), layout(layout_ids))
        })
    });
    Ok(Lowered { arrays, op })
}

/// What is added up, and what becomes of it.
struct Sums {
    columns: u32,
    parallel: u32,
    /// Trees that are predicted with.
    n_trees: usize,
    /// Per column.
    start: Vec<f32>,
    link: BoostedLink,
}

impl Sums {
    fn read(learner: &Learner, model: &Model, wrapper: &Wrapper) -> Result<Self, Refusal> {
        let columns = columns(learner)?;
        let objective = Objective::named(&learner.objective.name)?;
        let start = objective.start(&learner.learner_model_param.base_score, columns as usize)?;
        let n_trees = wrapper.rounds(learner, model, columns)?;
        let parallel = parallel(&model.tree_info[..n_trees], columns)?;
        Ok(Sums { columns, parallel, n_trees, start, link: objective.link })
    }

    /// The trees that are predicted with; `words` of category sets are allowed.
    fn ensemble(
        &self,
        n_features: u32,
        model: Model,
        weights: Option<&[f32]>,
        wrapper: &Wrapper,
        mut words: u64,
    ) -> Result<Ensemble, Refusal> {
        let mut by_category = false;
        let mut trees = Vec::new();
        let saved = model.trees.into_iter().zip(&model.tree_info).take(self.n_trees);
        for (index, (tree, column)) in saved.enumerate() {
            let base = self.start[*column as usize];
            let weight = weights.map(|weights| weights[index]);
            let plain = tree.plain(|leaf| weighted(leaf, weight, base, wrapper.in_place), &mut words);
            trees.push(plain.map_err(|refusal| refusal.in_tree(index))?);
            by_category |= tree.split_type.iter().any(|kind| *kind != 0);
        }
        Ok(Ensemble {
            n_features,
            input: Float::F32,
            leaves: Float::F32,
            trees,
            zero_is_missing: Vec::new(),
            rule: by_category.then_some(CategoryRule::XgBoost),
        })
    }
}

/// What a tree adds, in the order of XGBoost's own operations.
fn weighted(leaf: f32, weight: Option<f32>, base: f32, in_place: bool) -> f32 {
    match weight {
        None => leaf,
        Some(weight) if in_place => ((base + leaf) - base) * weight,
        Some(weight) => leaf * weight,
    }
}

/// What XGBoost saved of the booster: in its state, or as the file that it is made from.
fn saved_bytes(graph: &Graph, booster: NodeId, arrays: &dyn ArraySource) -> Result<Vec<u8>, Refusal> {
    let argument = || {
        let args = graph.items(graph.object(booster)?.args)?;
        args.get(2).copied()
    };
    let handle = graph.attr(booster, "handle").or_else(argument);
    match handle.map(|handle| graph.node(handle)) {
        Some(Node::ByteArray(Blob::Inline(bytes)) | Node::Bytes(Blob::Inline(bytes))) => Ok(bytes.to_vec()),
        Some(Node::ByteArray(Blob::Array(id)) | Node::Bytes(Blob::Array(id))) => {
            let len = arrays.info(*id).len_bytes().and_then(|len| usize::try_from(len).ok());
            let mut bytes = vec![0; len.ok_or_else(|| Refusal::uncovered("its booster is too long"))?];
            arrays.read_at(*id, 0, &mut bytes)?;
            Ok(bytes)
        }
        _ => Err(Refusal::uncovered("its booster is empty")),
    }
}

/// The trees, with as many columns and weights as there are trees.
fn trees_of(learner: &mut Learner) -> Result<Model, Refusal> {
    let booster = &mut learner.gradient_booster;
    match booster.name.as_str() {
        "gbtree" => booster.weight_drop = None,
        "dart" => {}
        "gblinear" => {
            return Err(Refusal::uncovered("it is linear (booster=\"gblinear\"); only trees are covered"));
        }
        other => {
            return Err(Refusal::uncovered(format!("its booster is `{other}`; gbtree and dart are covered")));
        }
    }
    let model = booster.model().ok_or_else(|| Refusal::uncovered("its booster holds no trees"))?;
    let lens = [model.tree_info.len(), booster.weight_drop.as_ref().map_or(model.trees.len(), Vec::len)];
    if lens != [model.trees.len(); 2] || (booster.name == "dart") != booster.weight_drop.is_some() {
        return Err(Refusal::uncovered(format!(
            "it has {} trees, but {lens:?} columns and weights",
            model.trees.len()
        )));
    }
    if model.trees.is_empty() || model.trees.len() > MAX_COLUMNS as usize {
        return Err(Refusal::uncovered(format!("it has {} trees", model.trees.len())));
    }
    Ok(model)
}

/// Raw scores per row: one per class or target.
fn columns(learner: &Learner) -> Result<u32, Refusal> {
    let param = &learner.learner_model_param;
    let columns = param.num_class.0.max(param.num_target.map_or(1, |n| n.0)).max(1);
    if columns > MAX_COLUMNS {
        return Err(Refusal::uncovered(format!("it has {columns} classes or targets")));
    }
    Ok(columns)
}

/// Consecutive trees of one column.
fn parallel(tree_info: &[i64], columns: u32) -> Result<u32, Refusal> {
    let first = tree_info.iter().take_while(|column| **column == 0).count();
    let parallel = if columns == 1 { 1 } else { first.max(1) };
    let regular = |(tree, column): (usize, &i64)| *column == (tree / parallel % columns as usize) as i64;
    if tree_info.iter().enumerate().all(regular) {
        return Ok(parallel as u32);
    }
    Err(Refusal::uncovered("its trees do not take turns among classes or targets"))
}

/// What an estimator adds to its booster.
struct Wrapper {
    /// Whether it is an estimator, which predicts in place.
    in_place: bool,
    /// What counts as missing besides NaN.
    missing: Option<f32>,
}

impl Wrapper {
    fn read(graph: &Graph, id: NodeId, in_place: bool) -> Result<Self, Refusal> {
        let given = graph.attr(id, "missing").filter(|missing| in_place && !graph.is_none(*missing));
        let refuse = || Refusal::uncovered("its `missing` is not a finite number or NaN");
        let missing = given.map(|missing| graph.as_f64(missing).ok_or_else(refuse)).transpose()?;
        let missing = missing.map(|missing| missing as f32).filter(|missing| !missing.is_nan());
        match missing.is_none_or(f32::is_finite) {
            true => Ok(Wrapper { in_place, missing }),
            false => Err(refuse()),
        }
    }

    /// The number of trees that are predicted with: to the best iteration, if training stopped early.
    fn rounds(&self, learner: &Learner, model: &Model, columns: u32) -> Result<usize, Refusal> {
        let all = model.trees.len();
        let Some(best) = learner.attributes.best_iteration.filter(|_| self.in_place) else { return Ok(all) };
        let parallel = model.gbtree_model_param.num_parallel_tree.map_or(1, |n| n.0.max(1));
        let trees = (u64::from(best.0) + 1)
            .checked_mul(u64::from(columns))
            .and_then(|trees| trees.checked_mul(u64::from(parallel)));
        match trees.and_then(|trees| usize::try_from(trees).ok()).filter(|trees| *trees <= all) {
            Some(trees) => Ok(trees),
            None => {
                Err(Refusal::uncovered(format!("its best iteration is {}, but it has {all} trees", best.0)))
            }
        }
    }

    /// The labels of a classifier: what a label encoder of older versions gives back, or numbers from 0.
    fn classes(
        &self,
        graph: &Graph,
        id: NodeId,
        arrays: &dyn ArraySource,
        learner: &Learner,
        columns: u32,
    ) -> Result<Staged, Refusal> {
        let n = columns.max(2);
        let objective = learner.objective.name.as_str();
        let own = graph.attr(id, "objective").and_then(|own| graph.as_str(own));
        if own.is_some_and(|own| own != objective) || (own.is_none() && objective == "multi:softmax") {
            return Err(Refusal::uncovered(format!(
                "its objective is not that of its booster, `{objective}`"
            )));
        }
        let n_classes = graph.attr(id, "n_classes_").and_then(|n| graph.as_int(n)).unwrap_or(i64::from(n));
        if columns > 1 && n_classes != i64::from(columns) || columns == 2 || columns == 1 && n_classes > 2 {
            return Err(Refusal::uncovered(format!(
                "it has {n_classes} classes and {columns} values per row; several labels per row are not covered"
            )));
        }
        if let Some(encoded) = graph.attr(id, "_le").and_then(|encoder| graph.attr(encoder, "classes_")) {
            let staged = classes(graph, encoded, arrays, None)?;
            return match staged.info.shape == [u64::from(n)] {
                true => Ok(staged),
                false => Err(Refusal::uncovered("its label encoder has another number of classes")),
            };
        }
        let (dtype, bytes) = if objective == "multi:softmax" {
            (Dtype::I32, (0..n as i32).flat_map(i32::to_le_bytes).collect())
        } else {
            (Dtype::I64, (0..i64::from(n)).flat_map(i64::to_le_bytes).collect())
        };
        Ok(Staged::memory("classes", dtype, vec![u64::from(n)], bytes))
    }
}
