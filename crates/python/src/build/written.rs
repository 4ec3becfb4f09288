//! Arrays that a loaded estimator must be able to write to, whatever the mode: they are mapped copy-on-write.
#![forbid(unsafe_code)]

use onecopy::{Graph, Node, NodeId};
use rustc_hash::{FxHashMap, FxHashSet};

/// Module, class and attributes: arrays or lists of arrays that `partial_fit` and a warm start change in place, or that compiled
/// code takes only as writable buffers. `tests/python/test_load.py` has the evidence.
const WRITTEN: &[(&str, &str, &[&str])] = &[
    ("sklearn.cluster._birch", "_CFNode", &["init_centroids_", "init_sq_norm_"]),
    ("sklearn.cluster._kmeans", "MiniBatchKMeans", &["_counts", "cluster_centers_"]),
    ("sklearn.decomposition._dict_learning", "MiniBatchDictionaryLearning", &["_A", "_B", "components_"]),
    ("sklearn.decomposition._lda", "LatentDirichletAllocation", &["components_"]),
    (
        "sklearn.decomposition._nmf",
        "MiniBatchNMF",
        &["_components_denominator", "_components_numerator", "components_"],
    ),
    (
        "sklearn.ensemble._hist_gradient_boosting.predictor",
        "TreePredictor",
        &["binned_left_cat_bitsets", "nodes"],
    ),
    ("sklearn.linear_model._coordinate_descent", "ElasticNet", &["coef_"]),
    ("sklearn.linear_model._coordinate_descent", "Lasso", &["coef_"]),
    ("sklearn.linear_model._coordinate_descent", "MultiTaskElasticNet", &["coef_"]),
    ("sklearn.linear_model._coordinate_descent", "MultiTaskLasso", &["coef_"]),
    ("sklearn.naive_bayes", "BernoulliNB", &["class_count_", "feature_count_"]),
    ("sklearn.naive_bayes", "CategoricalNB", &["category_count_", "class_count_"]),
    ("sklearn.naive_bayes", "ComplementNB", &["class_count_", "feature_count_"]),
    ("sklearn.naive_bayes", "GaussianNB", &["class_count_", "theta_", "var_"]),
    ("sklearn.naive_bayes", "MultinomialNB", &["class_count_", "feature_count_"]),
    ("sklearn.neural_network._multilayer_perceptron", "MLPClassifier", &["coefs_", "intercepts_"]),
    ("sklearn.neural_network._multilayer_perceptron", "MLPRegressor", &["coefs_", "intercepts_"]),
    (
        "sklearn.neural_network._rbm",
        "BernoulliRBM",
        &["components_", "intercept_hidden_", "intercept_visible_"],
    ),
];

/// The arrays of a graph that are written to.
pub(super) fn written(graph: &Graph) -> FxHashSet<NodeId> {
    let classes = classes(graph);
    let mut found = FxHashSet::default();
    if classes.is_empty() {
        return found;
    }
    for (index, node) in graph.nodes.iter().enumerate() {
        let Node::Object(object) = node else { continue };
        let Some(attributes) = classes.get(&object.callable) else { continue };
        for name in *attributes {
            let Some(value) = graph.attr(NodeId(index as u32), name) else { continue };
            found.insert(value);
            if let Node::List(items) = graph.node(value) {
                found.extend(items);
            }
        }
    }
    found
}

/// The attributes of each class that the graph names.
fn classes(graph: &Graph) -> FxHashMap<NodeId, &'static [&'static str]> {
    let listed = |id: NodeId| {
        let name = graph.name_at(id)?;
        WRITTEN.iter().find(|(module, class, _)| (*module, *class) == name).map(|entry| (id, entry.2))
    };
    (0..graph.nodes.len() as u32).filter_map(|id| listed(NodeId(id))).collect()
}
