"""Estimators: attributes that the compiled code behind `predict` and `transform` follows."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from onecopy._content import MOST_THREADS, is_array, is_count, need, never_falls, within
from onecopy._errors import FormatError
from onecopy._onecopy import histogram_tree_fits


def libsvm(model: Any) -> None:
    v = vars(model)
    need("_impl" not in v, model, "the implementation of its class")
    if "support_" not in v and "_dual_coef_" not in v:
        return
    support, vectors, per_class = v.get("support_"), v.get("support_vectors_"), v.get("_n_support")
    dual, intercept, fitted_on = v.get("_dual_coef_"), v.get("_intercept_"), v.get("shape_fit_")
    need(
        is_array(support, "i", None) and is_array(per_class, "i", None) and isinstance(fitted_on, tuple),
        model,
        "support vectors",
    )
    count, classes = len(support), len(per_class)
    need(classes >= 2 and is_array(intercept, "f", None), model, "two classes or more")
    classifies = model._impl in ("c_svc", "nu_svc")
    pairs = classes * (classes - 1) // 2 if classifies else 1
    rows = classes - 1 if classifies else 1
    if classifies:
        need(
            within(per_class, 0, count + 1) and int(per_class.sum()) == count,
            model,
            "`_n_support` to add up to the support vectors",
        )
    else:
        need(classes == 2, model, "two entries in `_n_support`")
    need(intercept.shape == (pairs,), model, f"{pairs} intercepts")
    need(
        len(fitted_on) >= 1 and is_count(fitted_on[0], 0, 2**62) and within(support, 0, int(fitted_on[0])),
        model,
        "support vectors among the points fitted on",
    )
    if v.get("_sparse"):
        need(
            vectors.shape == (count, model.n_features_in_)
            and dual.shape == (rows, count)
            and dual.data.size == rows * count,
            model,
            "a coefficient for each support vector",
        )
    else:
        need(is_array(dual, "f", rows, count), model, "a coefficient for each support vector")
        by_kernel = model.kernel == "precomputed" or callable(model.kernel)
        shape = (0, 0) if by_kernel and getattr(vectors, "size", None) == 0 else (count, model.n_features_in_)
        need(
            is_array(vectors, "f", None, None) and (vectors.shape == shape or shape == (0, 0)),
            model,
            "support vectors of as many features as the model",
        )
    for name in ("_probA", "_probB"):
        need(
            is_array(v.get(name), "f", None) and v[name].size in ((0, pairs) if classifies else (0, 1)),
            model,
            "probabilities for each pair of classes",
        )


def centers(model: Any) -> None:
    v = vars(model)
    if "cluster_centers_" in v:
        need(
            is_array(v["cluster_centers_"], "f", None, model.n_features_in_) and len(v["cluster_centers_"]),
            model,
            "centers of as many features as the model",
        )
    need(is_count(v.get("_n_threads", 1), 1, MOST_THREADS), model, f"at most {MOST_THREADS} threads")


def bisecting(model: Any) -> None:
    centers(model)
    v = vars(model)
    need(
        v.get("_X_mean") is None or is_array(v["_X_mean"], "f", model.n_features_in_),
        model,
        "a mean of as many features as the model",
    )
    todo, seen = [v["_bisecting_tree"]] if "_bisecting_tree" in v else [], set()
    while todo:
        node = todo.pop()
        need(type(node).__name__ == "_BisectingTree" and id(node) not in seen, model, "a tree of clusters")
        seen.add(id(node))
        branch = vars(node)
        need(
            is_array(branch.get("center"), "f", model.n_features_in_),
            model,
            "centers of as many features as the model",
        )
        children = [branch.get(side) for side in ("left", "right")]
        need(all(child is None for child in children) or None not in children, model, "two children or none")
        if children[0] is None:
            need(
                is_count(branch.get("label", 0), 0, len(v["cluster_centers_"]) - 1),
                model,
                "labels of its clusters",
            )
        todo.extend(child for child in children if child is not None)


def birch(model: Any) -> None:
    v = vars(model)
    if "subcluster_centers_" in v:
        points = v["subcluster_centers_"]
        need(
            is_array(points, "f", None, model.n_features_in_),
            model,
            "centers of as many features as the model",
        )
        need(is_array(v.get("_subcluster_norms"), "f", len(points)), model, "one norm per center")


def agglomerated(model: Any) -> None:
    labels = vars(model).get("labels_")
    if labels is not None:
        need(
            is_array(labels, "i", None) and within(labels, 0, len(labels)),
            model,
            "a cluster for each feature",
        )


def hdbscan(model: Any) -> None:
    tree = vars(model).get("_single_linkage_tree_")
    if tree is not None and len(tree):
        need(
            isinstance(tree, np.ndarray)
            and tree.ndim == 1
            and tree.dtype.names == ("left_node", "right_node", "value", "cluster_size"),
            model,
            "a linkage tree",
        )
        before = len(tree) + 1 + np.arange(len(tree))
        for side in ("left_node", "right_node"):
            need(
                ((tree[side] >= 0) & (tree[side] < before)).all(),
                model,
                "links to points and to earlier links",
            )
        need(within(tree["cluster_size"], 1, len(tree) + 2), model, "clusters no larger than the points")


def neighbours_classifier(model: Any) -> None:
    v = vars(model)
    if "_y" not in v:
        return
    labels, classes = v["_y"], v.get("classes_")
    need(is_array(labels, "iu", None) or is_array(labels, "iu", None, None), model, "encoded labels")
    need(len(labels) == v.get("n_samples_fit_"), model, "one label per point")
    several = isinstance(classes, list)
    columns = labels if labels.ndim == 2 else labels[:, None]
    need(columns.shape[1] == (len(classes) if several else 1), model, "classes for each output")
    for column, known in zip(columns.T, classes if several else [classes]):
        need(within(column, 0, len(known)), model, "labels of its classes")


def neighbours(model: Any) -> None:
    v = vars(model)
    if "_fit_X" not in v or v["_fit_X"] is None or "n_samples_fit_" not in v:
        return
    need(
        v["_fit_X"].ndim == 2 and v["_fit_X"].shape[0] == v["n_samples_fit_"],
        model,
        "the points it was fitted on",
    )
    tree = v.get("_tree")
    if tree is not None:
        need(tree.data.shape == v["_fit_X"].shape, model, "a tree of the points it was fitted on")
    need(type(v.get("effective_metric_", "")) is str or callable(v["effective_metric_"]), model, "a metric")


def tree_model(model: Any) -> None:
    tree = vars(model).get("tree_")
    if tree is not None:
        kind = type(tree)
        known = (kind.__module__, kind.__name__) in {
            ("sklearn.tree._tree", "Tree"),
            ("sklearn.tree._tree", "MappedTree"),
        }
        need(
            known and tree.n_features == model.n_features_in_,
            model,
            "a tree of as many features as the model",
        )


def trees_of(model: Any) -> list:
    trees = vars(model).get("estimators_")
    return trees if isinstance(trees, list) else []


def forest(model: Any) -> None:
    for tree in trees_of(model):
        need(
            vars(tree).get("n_features_in_") == model.n_features_in_,
            model,
            "trees of as many features as the model",
        )


def isolation_forest(model: Any) -> None:
    features = vars(model).get("estimators_features_")
    trees = trees_of(model)
    need(not trees or features is None or len(features) == len(trees), model, "features for each tree")
    for at, tree in enumerate(trees):
        count = model.n_features_in_ if features is None else len(features[at])
        need(
            vars(tree).get("n_features_in_") in (count, model.n_features_in_)
            and tree.tree_.n_features == count,
            model,
            "trees of as many features as they are given",
        )


def boosting(model: Any) -> None:
    v = vars(model)
    if "n_trees_per_iteration_" not in v or "init_" not in v:
        return
    count = v["n_trees_per_iteration_"]
    stages = v.get("estimators_")
    if isinstance(stages, np.ndarray):
        need(
            is_array(stages, "O", None, None) and stages.shape[1] == count and len(stages),
            model,
            "a tree per iteration and class",
        )
        for tree in stages.flat:
            fits = type(tree).__name__ == "DecisionTreeRegressor" and "tree_" in vars(tree)
            need(
                fits and tree.tree_.n_features == model.n_features_in_,
                model,
                "trees of as many features as the model",
            )
            need(tree.tree_.n_outputs == 1 and tree.tree_.max_n_classes == 1, model, "trees of one output")
    need(is_count(count, 1, 10**6), model, "trees in each iteration")
    if isinstance(v["init_"], str):
        need(v["init_"] == "zero", model, "an initial model")
        return
    from sklearn.base import is_classifier
    from sklearn.ensemble._gb import _init_raw_predictions

    one = np.zeros((1, model.n_features_in_), dtype=np.float32)
    try:
        raw = _init_raw_predictions(one, v["init_"], model._loss, is_classifier(model))
    except Exception as error:
        raise FormatError(
            f"the initial model of a `{type(model).__qualname__}` does not predict: {error}"
        ) from error
    need(raw.shape == (1, count), model, "an initial model with a value for each tree of an iteration")


def histogram_boosting(model: Any) -> None:
    v = vars(model)
    if "_bin_mapper" not in v:
        return
    features = model.n_features_in_
    mapper = vars(v["_bin_mapper"])
    categorical = mapper.get("is_categorical_")
    need(is_array(categorical, "u", features) and within(categorical, 0, 2), model, "a kind for each feature")
    thresholds = mapper.get("bin_thresholds_")
    need(isinstance(thresholds, list) and len(thresholds) == features, model, "thresholds for each feature")
    for at in np.flatnonzero(categorical):
        values = np.asarray(thresholds[at])
        need(values.ndim == 1 and ((values >= 0) & (values <= 255)).all(), model, "categories from 0 to 255")
    if v.get("_preprocessor") is not None:
        histogram_preprocessor(model, v["_preprocessor"], features)
    stages = v.get("_predictors")
    if not isinstance(stages, list):
        return
    for tree in (tree for stage in stages for tree in stage):
        need(type(tree).__name__ == "TreePredictor", model, "trees")
        fits = histogram_tree_fits(tree.nodes, len(tree.raw_left_cat_bitsets), categorical)
        need(fits, model, "splits of its features, by categories only where a feature has them")


def histogram_preprocessor(model: Any, transformer: Any, features: int) -> None:
    need(type(transformer).__name__ == "ColumnTransformer", model, "an encoder of columns")
    covered = np.zeros(features, dtype=int)
    for name, step, columns in vars(transformer).get("transformers_", []):
        if isinstance(step, str) and step == "drop":
            continue
        kind = type(step).__name__
        mask = np.asarray(columns)
        need(mask.dtype == bool and mask.shape == (features,), model, "columns of the encoder as a mask")
        covered += mask
        if kind == "FunctionTransformer":
            from sklearn.utils.validation import check_array

            function = step.func
            plain = function is None or (
                getattr(function, "func", None) is check_array
                and function.args == ()
                and set(function.keywords) <= {"dtype", "ensure_all_finite", "force_all_finite"}
            )
            need(plain, model, "an encoder that keeps the columns")
        else:
            need(
                kind == "OrdinalEncoder" and len(step.categories_) == int(mask.sum()),
                model,
                "an encoder that keeps the columns",
            )
    need((covered == 1).all(), model, "an encoder of each column once")


def predictor(tree: Any) -> None:
    v = vars(tree)
    nodes, bits = v.get("nodes"), v.get("raw_left_cat_bitsets")
    need(is_array(bits, "u", None, 8), tree, "bits for 256 categories")
    need(
        isinstance(nodes, np.ndarray) and histogram_tree_fits(nodes, len(bits)),
        tree,
        "nodes with children after their parents, and bits for each categorical split",
    )


def one_hot(encoder: Any) -> None:
    v = vars(encoder)
    if "categories_" not in v:
        return
    need(
        isinstance(v["categories_"], list)
        and all(is_array(known, "OUSifub", None) for known in v["categories_"]),
        encoder,
        "lists of categories",
    )
    mappings = v.get("_default_to_infrequent_mappings") or [None] * len(v["categories_"])
    need(len(mappings) == len(v["categories_"]), encoder, "a mapping for each feature")
    for mapping, known in zip(mappings, v["categories_"]):
        rare = mapping is not None
        need(
            not rare or (is_array(mapping, "iu", len(known)) and within(mapping, 0, len(known))),
            encoder,
            "rare categories among the known ones",
        )
    if "_n_features_outs" in v:
        try:
            expected = encoder._compute_n_features_outs()
        except Exception as error:
            raise FormatError(
                f"a `{type(encoder).__qualname__}` of the file is not usable: {error}"
            ) from error
        need(list(v["_n_features_outs"]) == list(expected), encoder, "as many columns as categories")
        for mapping, rare, count in zip(mappings, v.get("_infrequent_indices", []), expected):
            dropped = v.get("drop") is not None
            need(
                mapping is None or within(mapping, 0, int(count) + dropped),
                encoder,
                "columns for the rare categories",
            )


def label_cache(encoder: Any) -> None:
    cache = vars(encoder).get("_cached_dict")
    if cache is not None:
        need(
            isinstance(cache, dict) and all(is_count(at, 0, len(cache) - 1) for at in cache.values()),
            encoder,
            "a column for each class",
        )
        need(len(cache) == len(vars(encoder).get("classes_", ())), encoder, "a column for each class")


def hashing(vectorizer: Any) -> None:
    need(
        is_count(vars(vectorizer).get("n_features", 1), 1, 2**31 - 1),
        vectorizer,
        "a number of features from 1 to 2147483647",
    )


def vocabulary(vectorizer: Any) -> None:
    for name in ("vocabulary_", "vocabulary"):
        terms = vars(vectorizer).get(name)
        if isinstance(terms, Mapping):
            columns_within(vectorizer, terms)


def columns_within(vectorizer: Any, terms: Mapping) -> None:
    if (mapped := getattr(terms, "_columns_fit", None)) is not None:
        need(mapped(), vectorizer, "a column for each term")
        return
    columns = terms.values()
    lowest, highest = (
        (min(columns), max(columns))
        if len(terms) and all_counts(columns)
        else (0, -1 if not len(terms) else None)
    )
    need(highest is not None and lowest >= 0 and highest < len(terms), vectorizer, "a column for each term")


def all_counts(columns: Iterable) -> bool:
    return all(type(column) is int or isinstance(column, np.integer) for column in columns)


def spline(curve: Any) -> None:
    v = vars(curve)
    knots, coefficients, degree = v.get("_t", v.get("t")), v.get("_c", v.get("c")), v.get("k")
    need(
        is_count(degree, 0, 100) and is_array(knots, "f", None) and len(knots) >= 2 * degree + 2,
        curve,
        "a degree and enough knots",
    )
    need(np.isfinite(knots).all() and never_falls(knots), curve, "knots that never fall")
    fits = isinstance(coefficients, np.ndarray) and coefficients.dtype.kind in "fc" and coefficients.ndim >= 1
    need(fits and coefficients.shape[0] >= len(knots) - degree - 1, curve, "a coefficient for each knot")
    need(v.get("axis", 0) in range(coefficients.ndim), curve, "an axis of its coefficients")


def polynomial(model: Any) -> None:
    v = vars(model)
    need(
        is_count(v.get("_max_degree", 1), 0, 10**4) and is_count(v.get("_n_out_full", 1), 0, 2**40),
        model,
        "a degree that can be computed",
    )
