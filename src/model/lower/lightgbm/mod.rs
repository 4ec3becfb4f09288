//! LightGBM: its text of a model, wherever it lies, to [`Trees`].
#![forbid(unsafe_code)]

mod objective;
#[cfg(test)]
mod tests;
mod text;
mod tree;

use crate::format::ArrayId;
use crate::format::dtype::Dtype;
use crate::model::array::ArraySource;
use crate::model::graph::{Graph, Make, NodeId};
use crate::model::lower::lightgbm::text::ModelText;
use crate::model::lower::lightgbm::tree::{Missing, MissingRule, ReadTree};
use crate::model::lower::stage::classes;
use crate::model::lower::trees::ensemble::{Ensemble, PlainTree};
use crate::model::lower::{Lowered, Refusal, Staged};
use crate::model::plan::{
    Boosted, BoostedKind, BoostedLink, CategoryRule, Float, Head, LeafNumbers, Op, Trees,
};

/// Lowers a `Booster`, or an estimator that has one.
///
/// # Errors
///
/// [`Refusal::Uncovered`] if its text is not one that LightGBM writes, and for linear trees.
pub(super) fn lower_lightgbm(
    graph: &Graph,
    id: NodeId,
    arrays: &dyn ArraySource,
) -> Result<Lowered, Refusal> {
    let estimator = graph.class_of(id).map_or("", |(_, name)| name).to_owned();
    let booster = booster_of(graph, id)?;
    let text = booster_text(graph, booster)?;
    let model = ModelText::read(text)?;
    let best = graph.attr(booster, "best_iteration").and_then(|id| graph.as_int(id)).unwrap_or(-1);
    let (ensemble, n_iterations) = ensemble(&model, best)?;
    let link = objective::link(model.objective, model.columns)?;
    let labels = labels(graph, id, arrays, model.columns)?;
    stage(estimator, &model, ensemble, n_iterations, link, labels)
}

/// Whether a class is one that predicts.
pub(super) fn is_model(module: &str, class: &str) -> bool {
    match module {
        "lightgbm.basic" => class == "Booster",
        "lightgbm.sklearn" => {
            matches!(class, "LGBMClassifier" | "LGBMRegressor" | "LGBMRanker" | "LGBMModel")
        }
        _ => false,
    }
}

/// The `Booster` behind an estimator.
fn booster_of(graph: &Graph, id: NodeId) -> Result<NodeId, Refusal> {
    let booster = if is_booster(graph, id) { Some(id) } else { graph.attr(id, "_Booster") };
    let booster = booster.filter(|booster| is_booster(graph, *booster));
    let booster = booster.ok_or_else(|| Refusal::uncovered("it is not fitted"))?;
    let other = graph.attr(id, "_other_params").and_then(|other| graph.dict_item(other, "pred_early_stop"));
    if other.is_some_and(|value| graph.as_bool(value) != Some(false)) {
        return Err(Refusal::uncovered("it stops early while predicting (`pred_early_stop`)"));
    }
    Ok(booster)
}

fn is_booster(graph: &Graph, id: NodeId) -> bool {
    graph.class_of(id) == Some(("lightgbm.basic", "Booster"))
}

/// The text that a `Booster` is saved as, or made from: `Booster(params, train_set, model_file, model_str)`.
fn booster_text(graph: &Graph, id: NodeId) -> Result<&str, Refusal> {
    let saved = graph.attr(id, "_handle").or_else(|| graph.attr(id, "handle"));
    let made = || {
        let object = graph.object(id).filter(|object| object.make == Make::Call)?;
        graph.items(object.args)?.get(3).copied()
    };
    let text = saved.or_else(made).and_then(|text| graph.as_str(text));
    text.ok_or_else(|| Refusal::uncovered("it holds no text of a model"))
}

/// The trees that `predict` uses, and the number of iterations that they are.
fn ensemble(model: &ModelText<'_>, best_iteration: i64) -> Result<(Ensemble, u32), Refusal> {
    let columns = model.columns as usize;
    let all = model.trees.len() / columns;
    let best = usize::try_from(best_iteration).ok().filter(|best| *best > 0);
    let n_iterations = best.map_or(all, |best| best.min(all));
    if n_iterations == 0 {
        return Err(Refusal::uncovered("it has no trees"));
    }
    let mut zero = Zeros::new(model.n_features);
    let read = |(index, block): (usize, &&str)| {
        let read = ReadTree::read(block).and_then(|read| {
            zero.add(read.rules)?;
            Ok(read.tree)
        });
        read.map_err(|refusal| refusal.in_tree(index))
    };
    let used = model.trees.iter().take(n_iterations * columns);
    let trees: Vec<PlainTree> = used.enumerate().map(read).collect::<Result<_, _>>()?;
    let ensemble = Ensemble {
        n_features: model.n_features,
        input: Float::F64,
        leaves: Float::F64,
        trees,
        zero_is_missing: zero.finish()?,
        rule: Some(CategoryRule::LightGbm),
    };
    let n_iterations =
        u32::try_from(n_iterations).map_err(|_| Refusal::uncovered("it has too many trees"))?;
    Ok((ensemble, n_iterations))
}

/// What the splits of each feature do with zeros.
struct Zeros {
    /// Zeros go another way than by comparison, where NaN goes.
    missing: Vec<bool>,
    /// Zeros do not go where NaN goes.
    unlike_nan: Vec<bool>,
}

impl Zeros {
    fn new(n_features: u32) -> Self {
        let none = vec![false; n_features as usize];
        Zeros { missing: none.clone(), unlike_nan: none }
    }

    fn add(&mut self, rules: Vec<MissingRule>) -> Result<(), Refusal> {
        for rule in rules.into_iter().filter(|rule| rule.unlike_zero) {
            let features =
                if rule.missing == Missing::Zero { &mut self.missing } else { &mut self.unlike_nan };
            let unknown = || Refusal::uncovered(format!("it splits by feature {}", rule.feature));
            *features.get_mut(rule.feature as usize).ok_or_else(unknown)? = true;
        }
        Ok(())
    }

    /// Per feature whether zeros go where NaN goes; nothing if that is so for none.
    fn finish(self) -> Result<Vec<bool>, Refusal> {
        let both = self.missing.iter().zip(&self.unlike_nan).position(|(zero, nan)| *zero && *nan);
        if let Some(feature) = both {
            let why = format!("feature {feature} has splits that take 0 for missing, and splits that do not");
            return Err(Refusal::uncovered(why));
        }
        Ok(if self.missing.contains(&true) { self.missing } else { vec![] })
    }
}

/// The classes of a classifier that answers with labels.
fn labels(
    graph: &Graph,
    id: NodeId,
    arrays: &dyn ArraySource,
    columns: u32,
) -> Result<Option<Staged>, Refusal> {
    let classifier = graph.class_of(id).is_some_and(|(_, name)| name == "LGBMClassifier");
    // With an objective of the user's own it answers with raw scores.
    let known = graph.attr(id, "_objective").is_none_or(|objective| graph.as_str(objective).is_some());
    if !classifier || !known {
        return Ok(None);
    }
    let encoder = || graph.attr(graph.attr(id, "_le")?, "classes_");
    let found = graph.attr(id, "_classes").filter(|classes| !graph.is_none(*classes)).or_else(encoder);
    let staged = classes(graph, found.ok_or_else(|| Refusal::uncovered("it has no classes"))?, arrays, None)?;
    let n_classes = staged.info.shape.first().copied().unwrap_or(0);
    let fits = if columns == 1 { (1..=2).contains(&n_classes) } else { n_classes == u64::from(columns) };
    if !fits {
        let why = format!("it has {n_classes} classes, and {columns} trees in an iteration");
        return Err(Refusal::uncovered(why));
    }
    Ok(Some(staged))
}

fn stage(
    estimator: String,
    model: &ModelText<'_>,
    ensemble: Ensemble,
    n_iterations: u32,
    link: BoostedLink,
    labels: Option<Staged>,
) -> Result<Lowered, Refusal> {
    let (n_features, columns) = (model.n_features, model.columns);
    let n_trees = ensemble.trees.len() as u32;
    let mean_of = model.average.then_some(n_iterations);
    let laid_out = ensemble.lay_out()?;
    let start = vec![0; 8 * columns as usize];
    let mut arrays = vec![Staged::memory("start", Dtype::F64, vec![u64::from(columns)], start)];
    let has_labels = labels.is_some();
    arrays.extend(labels);
    let n_own = arrays.len();
    arrays.extend(laid_out.arrays);
    let op = move |ids: &[ArrayId]| {
        let (own, rest) = ids.split_at(n_own);
        let kind =
            if has_labels { BoostedKind::LightGbm { classes: own[1] } } else { BoostedKind::Regressor };
        let apply = LeafNumbers::Int32;
        let boosted =
            Boosted { columns, parallel: 1, sum: Float::F64, start: own[0], mean_of, link, kind, apply };
        Op::Trees(Trees {
            nan_allowed: true,
            infinity_allowed: true,
            integers_as_f32: true,
            ..Trees::new(
                estimator,
                Float::F64,
                n_features,
                n_trees,
                Head::Boosted(boosted),
                (laid_out.layout)(rest),
            )
        })
    };
    Ok(Lowered { arrays, op: Box::new(op) })
}
