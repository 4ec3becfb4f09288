//! What the boosted trees of scikit-learn have in common: start, link, classes.
#![forbid(unsafe_code)]

use crate::format::ArrayId;
use crate::format::dtype::Dtype;
use crate::model::array::ArraySource;
use crate::model::graph::{Graph, NodeId};
use crate::model::lower::linear::unfitted;
use crate::model::lower::stage::classes;
use crate::model::lower::trees::MAX_COLUMNS;
use crate::model::lower::trees::ensemble::Ensemble;
use crate::model::lower::{Lowered, Refusal, Staged};
use crate::model::plan::{Boosted, BoostedKind, BoostedLink, Float, Head, LeafNumbers, Op, Trees};

/// A boosted model, read.
pub(super) struct BoostedTrees {
    pub(super) estimator: String,
    /// The raw scores before the first tree.
    pub(super) start: Vec<f64>,
    pub(super) link: BoostedLink,
    /// `None` for a regressor.
    pub(super) classes: Option<Staged>,
    pub(super) nan_allowed: bool,
    pub(super) infinity_allowed: bool,
    pub(super) dense_only: bool,
    pub(super) log_proba: bool,
    pub(super) second_at_zero: bool,
    pub(super) apply: LeafNumbers,
    /// The operation whose answers are what the raw scores begin with.
    pub(super) init: Option<u32>,
    pub(super) ensemble: Ensemble,
}

impl BoostedTrees {
    /// Lays the trees out and makes the operation.
    ///
    /// # Errors
    ///
    /// [`Refusal::Uncovered`] if start, trees and classes disagree, or the trees cannot be laid out.
    pub(super) fn lower(self) -> Result<Lowered, Refusal> {
        let (n_features, n_trees) = (self.ensemble.n_features, self.ensemble.trees.len());
        let (columns, input) = (self.start.len(), self.ensemble.input);
        let n_classes = self.classes.as_ref().map(|classes| classes.info.shape.first().copied().unwrap_or(0));
        let agree = match n_classes {
            None => columns == 1,
            Some(1 | 2) => columns == 1,
            Some(n) => columns as u64 == n,
        };
        if !agree || (self.link == BoostedLink::Softmax) != (columns > 1) {
            return Err(Refusal::uncovered(format!("it has {columns} raw scores for {n_classes:?} classes")));
        }
        let most = MAX_COLUMNS as usize;
        if n_trees == 0 || n_trees > most || n_features as usize > most || n_trees % columns != 0 {
            return Err(Refusal::uncovered(format!("it has {n_trees} trees for {columns} raw scores")));
        }
        let laid_out = self.ensemble.lay_out()?;
        let mut arrays = laid_out.arrays;
        let n_laid_out = arrays.len();
        let bytes = bytemuck::cast_slice(&self.start).to_vec();
        arrays.push(Staged::memory("start", Dtype::F64, vec![columns as u64], bytes));
        arrays.extend(self.classes);
        let (link, log_proba, second_at_zero) = (self.link, self.log_proba, self.second_at_zero);
        let kind = move |classes: Option<&ArrayId>| match classes {
            None => BoostedKind::Regressor,
            Some(&classes) => BoostedKind::Classifier { classes, decision: true, log_proba, second_at_zero },
        };
        let (estimator, apply) = (self.estimator, self.apply);
        let (nan_allowed, infinity_allowed) = (self.nan_allowed, self.infinity_allowed);
        let (dense_only, init) = (self.dense_only, self.init);
        let op = move |ids: &[ArrayId]| {
            let (layout, rest) = ids.split_at(n_laid_out);
            let head = Head::Boosted(Boosted {
                columns: columns as u32,
                parallel: 1,
                sum: Float::F64,
                start: rest[0],
                link,
                kind: kind(rest.get(1)),
                mean_of: None,
                apply,
            });
            let n_trees = n_trees as u32;
            let layout = (laid_out.layout)(layout);
            Op::Trees(Trees {
                nan_allowed,
                infinity_allowed,
                dense_only,
                init,
                ..Trees::new(estimator, input, n_features, n_trees, head, layout)
            })
        };
        Ok(Lowered { arrays, op: Box::new(op) })
    }
}

/// The link of the estimator's `_loss`.
pub(super) fn link_of(graph: &Graph, id: NodeId) -> Result<BoostedLink, Refusal> {
    let loss = graph.attr(id, "_loss").ok_or_else(|| unfitted("_loss"))?;
    let link = graph.attr(loss, "link").and_then(|link| graph.class_of(link)).map(|(_, name)| name);
    match link {
        Some("IdentityLink") => Ok(BoostedLink::Identity),
        Some("LogLink") => Ok(BoostedLink::Exponential),
        Some("LogitLink") => Ok(BoostedLink::Logistic),
        Some("HalfLogitLink") => Ok(BoostedLink::HalfLogistic),
        Some("MultinomialLogit") => Ok(BoostedLink::Softmax),
        _ => Err(Refusal::uncovered("its loss is not one that scikit-learn has had since 1.1")),
    }
}

/// The labels of a classifier.
pub(super) fn classes_of(
    graph: &Graph,
    id: NodeId,
    arrays: &dyn ArraySource,
) -> Result<Option<Staged>, Refusal> {
    if !graph.class_of(id).is_some_and(|(_, name)| name.ends_with("Classifier")) {
        return Ok(None);
    }
    let labels = graph.attr(id, "classes_").ok_or_else(|| unfitted("classes_"))?;
    classes(graph, labels, arrays, None).map(Some)
}
