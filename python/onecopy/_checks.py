"""Content that compiled code follows without looking, checked before a loaded object is used.

`STATES` holds, by (module, qualified name) of a class, what looks at a state before an instance gets it. `check_of` gives, for
a class, what looks at an instance when all of it has been built: the checks in `CHECKS` of the class and its bases, and
for scikit-learn's classes that no attribute hides a method. All raise `FormatError`.

The rules were found by following each `predict` and `transform` into its compiled code; `tests/hostile/load` has a file for each.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from onecopy._errors import FormatError

Check = Callable[[Any], None]

MOST_THREADS = 1024


def need(fits: Any, what: Any, rule: str) -> None:
    """Raise `FormatError` unless `fits`."""
    if not fits:
        kind = type(what)
        raise FormatError(
            f"a `{kind.__module__}.{kind.__qualname__}` of the file is not usable: expected {rule}"
        )


def is_array(value: Any, kinds: str, *shape: "int | None") -> bool:
    """Whether `value` is an ndarray of these dtype kinds and this shape; `None` stands for any length."""
    return (
        isinstance(value, np.ndarray)
        and value.dtype.kind in kinds
        and value.ndim == len(shape)
        and all(length is None or length == found for length, found in zip(shape, value.shape))
    )


def is_count(value: Any, low: int, high: int) -> bool:
    """Whether `value` is an integer from `low` to `high`."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and low <= value <= high


def within(values: np.ndarray, low: int, high: int) -> bool:
    """Whether all integers are at least `low` and below `high`."""
    return values.size == 0 or (int(values.min()) >= low and int(values.max()) < high)


# --- states -----------------------------------------------------------------------------------------------------------


def bit_generator_state(generator: Any, state: Any) -> None:
    if isinstance(state, tuple):
        state = state[0]
    inner = state.get("state") if isinstance(state, dict) else None
    need(isinstance(inner, dict), generator, "a state with numbers")
    kind = state.get("bit_generator")
    if kind == "MT19937":
        need(is_array(inner.get("key"), "u", 624), generator, "a key of 624 words")
        need(is_count(inner.get("pos"), 0, 624), generator, "a position from 0 to 624")
    elif kind == "Philox":
        need(
            is_array(inner.get("counter"), "u", 4) and is_array(inner.get("key"), "u", 2),
            generator,
            "a counter of 4 and a key of 2 words",
        )
        need(
            is_array(state.get("buffer"), "u", 4) and is_count(state.get("buffer_pos"), 0, 4),
            generator,
            "a buffer of 4 words and a position in it",
        )
    elif kind == "SFC64":
        need(is_array(inner.get("state"), "u", 4), generator, "a state of 4 words")
    else:
        need(kind in ("PCG64", "PCG64DXSM"), generator, "a generator of NumPy")
        need(
            all(is_count(inner.get(name), 0, 2**128 - 1) for name in ("state", "inc")),
            generator,
            "two numbers of 128 bits",
        )
    if kind != "MT19937":
        need(
            is_count(state.get("has_uint32"), 0, 1) and is_count(state.get("uinteger"), 0, 2**32 - 1),
            generator,
            "a spare number of 32 bits",
        )


def seed_sequence_state(sequence: Any, state: Any) -> None:
    need(isinstance(state, tuple) and len(state) == 5, sequence, "five parts")
    entropy, spawned, pool, size, key = state
    need(is_count(spawned, 0, 2**63 - 1) and is_count(size, 1, 4096), sequence, "counts")
    need(
        is_array(pool, "u", int(size)) and pool.dtype == np.uint32,
        sequence,
        "a pool of as many words as it says",
    )
    words = entropy if isinstance(entropy, (list, tuple)) else [] if entropy is None else [entropy]
    need(
        all(is_count(word, 0, 2**4096) for word in [*words, *key]),
        sequence,
        "entropy and spawn key of whole numbers",
    )


def record_dtype_state(dtype: Any, state: Any) -> None:
    need(isinstance(state, tuple) and len(state) == 8, dtype, "eight parts")
    _, _, _, names, fields, size, _, flags = state
    need(
        isinstance(names, tuple) and isinstance(fields, dict) and set(names) == set(fields),
        dtype,
        "a field for each name",
    )
    need(is_count(size, 1, 10**6) and is_count(flags, 0, 255) and not flags & 0x0F, dtype, "plain bytes")
    for field in fields.values():
        need(
            isinstance(field, tuple) and len(field) == 2 and isinstance(field[0], np.dtype),
            dtype,
            "a type and an offset for each field",
        )
        inner, offset = field
        need(
            not inner.hasobject and is_count(offset, 0, size - inner.itemsize),
            dtype,
            "fields within the record",
        )


def masked_array_state(array: Any, state: Any) -> None:
    need(isinstance(state, tuple) and len(state) == 7, array, "seven parts")
    _, shape, dtype, _, raw, mask, _ = state
    need(isinstance(dtype, np.dtype), array, "a dtype")
    count = int(np.prod(shape, dtype=object)) if shape else 1
    size = count if dtype.hasobject else count * dtype.itemsize
    need(
        len(raw) == size and isinstance(raw, list) == dtype.hasobject,
        array,
        "as many values as its shape asks for",
    )
    need(
        isinstance(mask, bytes) and len(mask) == count * np.ma.make_mask_descr(dtype).itemsize,
        array,
        "a mask of its shape",
    )


NODE_FIELDS = ("idx_start", "idx_end", "is_leaf", "radius")


def binary_tree_state(tree: Any, state: Any) -> None:
    need(isinstance(state, tuple) and len(state) == 13, tree, "thirteen parts")
    data, index, nodes, bounds, leaf_size, levels, count = state[:7]
    metric, weights = state[11:]
    need(is_array(data, "f", None, None) and data.shape[1] > 0, tree, "points with features")
    points, features = data.shape
    need(is_array(index, "i", points) and within(index, 0, points), tree, "an index of the points")
    need(points == 0 or int(np.bincount(index, minlength=points).max()) == 1, tree, "each point once")
    need(
        is_count(levels, 1, 48) and count == 2**levels - 1 and is_count(leaf_size, 1, 2**62),
        tree,
        "a complete tree",
    )
    need(
        isinstance(nodes, np.ndarray) and nodes.dtype.names == NODE_FIELDS and nodes.shape == (count,),
        tree,
        "as many nodes as levels allow",
    )
    sides = 2 if type(tree).__name__.startswith("KDTree") else 1
    need(is_array(bounds, "f", sides, count, features), tree, "bounds for each node and feature")
    start, end, leaf = (nodes[name] for name in NODE_FIELDS[:3])
    inner = np.flatnonzero(leaf == 0)
    need(start[0] == 0 and end[0] == points and (start <= end).all(), tree, "nodes that span the points")
    need(inner.size == 0 or 2 * int(inner[-1]) + 2 < count, tree, "leaves at the end of every branch")
    left, right = 2 * inner + 1, 2 * inner + 2
    splits = (start[left] == start[inner]) & (end[left] == start[right]) & (end[right] == end[inner])
    need(splits.all(), tree, "children that share the points of their parent")
    need(weights is None or is_array(weights, "f", points), tree, "one weight per point")
    metric_fits(metric, features)


def metric_fits(metric: Any, features: int) -> None:
    kind, (_, vector, matrix) = type(metric).__name__, metric.__getstate__()[:3]
    if kind.startswith("SEuclidean"):
        need(vector.shape == (features,), metric, f"{features} variances")
    elif kind.startswith("Mahalanobis"):
        need(matrix.shape == (features, features), metric, f"a matrix of {features} features")
    elif kind.startswith("Minkowski"):
        need(vector.size == 0 or vector.shape == (features,), metric, f"{features} weights or none")
    elif kind.startswith("Haversine"):
        need(features == 2, metric, "points of latitude and longitude")


def metric_state(metric: Any, state: Any) -> None:
    need(isinstance(state, tuple) and len(state) in (3, 5), metric, "three or five parts")
    need(
        is_array(state[1], "f", None) and is_array(state[2], "f", None, None), metric, "a vector and a matrix"
    )
    need(state[2].shape[0] == state[2].shape[1], metric, "a square matrix")
    need(
        isinstance(state[0], float)
        and (len(state) == 3 or (callable(state[3]) and isinstance(state[4], dict))),
        metric,
        "a power and a function",
    )


METRICS = (
    "BrayCurtis Canberra Chebyshev Dice Euclidean Hamming Haversine Jaccard Mahalanobis Manhattan Minkowski PyFunc "
    "RogersTanimoto RussellRao SEuclidean SokalSneath"
).split()

STATES: dict[tuple[str, str], Callable[[Any, Any], None]] = {
    ("numpy.random._mt19937", "MT19937"): bit_generator_state,
    ("numpy.random._pcg64", "PCG64"): bit_generator_state,
    ("numpy.random._pcg64", "PCG64DXSM"): bit_generator_state,
    ("numpy.random._philox", "Philox"): bit_generator_state,
    ("numpy.random._sfc64", "SFC64"): bit_generator_state,
    ("numpy.random.mtrand", "RandomState"): bit_generator_state,
    ("numpy.random.bit_generator", "SeedSequence"): seed_sequence_state,
    ("numpy.dtypes", "VoidDType"): record_dtype_state,
    ("numpy.ma", "MaskedArray"): masked_array_state,
    ("numpy.ma.core", "MaskedArray"): masked_array_state,
    ("sklearn.neighbors._kd_tree", "KDTree"): binary_tree_state,
    ("sklearn.neighbors._ball_tree", "BallTree"): binary_tree_state,
    **{("sklearn.metrics._dist_metrics", f"{name}Distance64"): metric_state for name in METRICS},
}


# --- sparse matrices --------------------------------------------------------------------------------------------------


def indices_within(values: np.ndarray, high: int) -> bool:
    return within(values, 0, high)


def never_falls(values: np.ndarray) -> bool:
    return bool((values[1:] >= values[:-1]).all())


def compressed(matrix: Any) -> None:
    v = vars(matrix)
    shape, data, indices, indptr = v.get("_shape"), v.get("data"), v.get("indices"), v.get("indptr")
    need(
        isinstance(shape, tuple) and len(shape) in (1, 2) and all(is_count(n, 0, 2**62) for n in shape),
        matrix,
        "a shape",
    )
    need(is_array(indices, "i", None) and is_array(indptr, "i", None), matrix, "indices and row pointers")
    blocks = (
        data.shape[1:] if matrix.format == "bsr" and is_array(data, "biufc", None, None, None) else (1, 1)
    )
    need(
        is_array(data, "biufc", None) or blocks != (1, 1) or matrix.format == "bsr" and data.ndim == 3,
        matrix,
        "numbers",
    )
    rows, columns = (1, shape[0]) if len(shape) == 1 else shape
    if matrix.format == "bsr":
        need(
            all(blocks) and rows % blocks[0] == 0 and columns % blocks[1] == 0,
            matrix,
            "blocks that divide the shape",
        )
    along, across = (columns, rows) if matrix.format == "csc" else (rows // blocks[0], columns // blocks[1])
    need(
        indptr.shape == (along + 1,) and indptr[0] == 0 and never_falls(indptr),
        matrix,
        "row pointers that never fall",
    )
    stored = int(indptr[-1])
    need(stored <= len(indices) and stored <= len(data), matrix, "as many values as the row pointers say")
    need(
        indices.dtype == indptr.dtype and indices_within(indices, across), matrix, "indices within the shape"
    )


def coordinates(matrix: Any) -> None:
    v = vars(matrix)
    shape, data = v.get("_shape"), v.get("data")
    coords = v["coords"] if "coords" in v else (v.get("row"), v.get("col"))
    need(
        isinstance(shape, tuple) and isinstance(coords, tuple) and len(coords) == len(shape),
        matrix,
        "coordinates for its shape",
    )
    need(is_array(data, "biufc", None), matrix, "numbers")
    for axis, length in zip(coords, shape):
        need(
            is_array(axis, "i", len(data)) and is_count(length, 0, 2**62) and indices_within(axis, length),
            matrix,
            "coordinates within the shape",
        )


def diagonals(matrix: Any) -> None:
    v = vars(matrix)
    offsets, data, shape = v.get("offsets"), v.get("data"), v.get("_shape")
    need(
        isinstance(shape, tuple) and len(shape) == 2 and all(is_count(n, 0, 2**31 - 1) for n in shape),
        matrix,
        "a shape",
    )
    need(
        is_array(offsets, "i", None) and is_array(data, "biufc", len(offsets), None),
        matrix,
        "a row of values for each diagonal",
    )
    need(within(offsets, -(2**31) + 1, 2**31 - 1), matrix, "offsets within the shape")


def lists(matrix: Any) -> None:
    v = vars(matrix)
    rows, data, shape = v.get("rows"), v.get("data"), v.get("_shape")
    need(isinstance(shape, tuple) and len(shape) == 2, matrix, "a shape")
    need(is_array(rows, "O", shape[0]) and is_array(data, "O", shape[0]), matrix, "a list for each row")
    need(isinstance(v.get("dtype", np.dtype(float)), np.dtype), matrix, "a dtype")
    for columns, values in zip(rows, data):
        need(
            type(columns) is list and type(values) is list and len(columns) == len(values),
            matrix,
            "a value for each column",
        )
        need(all(is_count(column, 0, shape[1] - 1) for column in columns), matrix, "columns within the shape")


def keyed(matrix: Any) -> None:
    v = vars(matrix)
    shape, entries = v.get("_shape"), v.get("_dict")
    need(isinstance(shape, tuple) and isinstance(entries, dict), matrix, "a shape and entries")
    for key in entries:
        key = key if isinstance(key, tuple) else (key,)
        need(
            len(key) == len(shape) and all(is_count(at, 0, length - 1) for at, length in zip(key, shape)),
            matrix,
            "entries within the shape",
        )


# --- estimators -------------------------------------------------------------------------------------------------------


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
    for predictor in (predictor for stage in stages for predictor in stage):
        need(type(predictor).__name__ == "TreePredictor", model, "trees")
        nodes = predictor.nodes[predictor.nodes["is_leaf"] == 0]
        need(within(nodes["feature_idx"], 0, features), model, "splits of its features")
        need(
            categorical[nodes["feature_idx"][nodes["is_categorical"] != 0]].all(),
            model,
            "categories of categorical features only",
        )


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
    need(
        isinstance(nodes, np.ndarray) and nodes.ndim == 1 and len(nodes) and nodes.dtype.names is not None,
        tree,
        "nodes",
    )
    need(
        {"is_leaf", "left", "right", "feature_idx", "is_categorical", "bitset_idx"} <= set(nodes.dtype.names),
        tree,
        "nodes with children",
    )
    at = np.flatnonzero(nodes["is_leaf"] == 0)
    for side in ("left", "right"):
        children = nodes[side][at].astype(np.int64)
        need((children > at).all() and within(children, 0, len(nodes)), tree, "children after their parents")
    need(is_array(bits, "u", None, 8), tree, "bits for 256 categories")
    need(
        within(nodes["bitset_idx"][nodes["is_categorical"] != 0], 0, len(bits)),
        tree,
        "bits for each categorical split",
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


# --- pandas -----------------------------------------------------------------------------------------------------------


def block_manager(manager: Any) -> None:
    length = len(manager.axes[0])
    covered = np.zeros(length, dtype=int)
    for block in manager.blocks:
        places = block.mgr_locs.as_array
        need(
            within(places, 0, length) and block.values.shape[0] in (len(places), len(manager.axes[-1])),
            manager,
            "columns within the frame",
        )
        need(
            block.shape[0] == len(places) and block.shape[-1] == len(manager.axes[-1]),
            manager,
            "columns as long as the frame",
        )
        np.add.at(covered, places, 1)
    need((covered == 1).all(), manager, "each column once")


def single_block(manager: Any) -> None:
    need(
        len(manager.blocks) == 1 and len(manager.blocks[0].values) == len(manager.axes[0]),
        manager,
        "values as long as the index",
    )


def categorical(values: Any) -> None:
    codes, categories = values._ndarray, values.dtype.categories
    need(is_array(codes, "i", None) or is_array(codes, "i", None, None), values, "codes")
    need(categories is not None and within(codes, -1, len(categories)), values, "codes of its categories")


def many_levels(index: Any) -> None:
    need(len(index.levels) == len(index.codes), index, "codes for each level")
    for level, codes in zip(index.levels, index.codes):
        need(
            within(np.asarray(codes), -1, len(level)) and len(codes) == len(index.codes[0]),
            index,
            "codes of its levels",
        )


def masked_values(values: Any) -> None:
    data, mask = vars(values).get("_data"), vars(values).get("_mask")
    need(
        is_array(data, "iufb", None) and is_array(mask, "b", len(data)),
        values,
        "a mask as long as the values",
    )


def text_values(values: Any) -> None:
    found = values._ndarray
    need(isinstance(found, np.ndarray) and found.dtype.kind in "OT", values, "text")


def times(values: Any) -> None:
    need(is_array(values._ndarray, "M", None) or is_array(values._ndarray, "M", None, None), values, "times")
    need(values._dtype == values._ndarray.dtype, values, "times of its unit")


CHECKS: dict[tuple[str, str], Check] = {
    **{
        ("scipy.sparse._" + kind, f"{kind}_{form}"): check
        for form in ("matrix", "array")
        for kind, check in {
            "csr": compressed,
            "csc": compressed,
            "bsr": compressed,
            "coo": coordinates,
            "dia": diagonals,
            "lil": lists,
            "dok": keyed,
        }.items()
    },
    ("scipy.interpolate._bsplines", "BSpline"): spline,
    ("sklearn.svm._base", "BaseLibSVM"): libsvm,
    ("sklearn.cluster._kmeans", "_BaseKMeans"): centers,
    ("sklearn.cluster._bisect_k_means", "BisectingKMeans"): bisecting,
    ("sklearn.cluster._birch", "Birch"): birch,
    ("sklearn.cluster._agglomerative", "FeatureAgglomeration"): agglomerated,
    ("sklearn.cluster._hdbscan.hdbscan", "HDBSCAN"): hdbscan,
    ("sklearn.neighbors._base", "NeighborsBase"): neighbours,
    ("sklearn.neighbors._classification", "KNeighborsClassifier"): neighbours_classifier,
    ("sklearn.neighbors._classification", "RadiusNeighborsClassifier"): neighbours_classifier,
    ("sklearn.tree._classes", "BaseDecisionTree"): tree_model,
    ("sklearn.ensemble._forest", "BaseForest"): forest,
    ("sklearn.ensemble._iforest", "IsolationForest"): isolation_forest,
    ("sklearn.ensemble._gb", "BaseGradientBoosting"): boosting,
    (
        "sklearn.ensemble._hist_gradient_boosting.gradient_boosting",
        "BaseHistGradientBoosting",
    ): histogram_boosting,
    ("sklearn.ensemble._hist_gradient_boosting.predictor", "TreePredictor"): predictor,
    ("sklearn.preprocessing._encoders", "OneHotEncoder"): one_hot,
    ("sklearn.preprocessing._label", "MultiLabelBinarizer"): label_cache,
    ("sklearn.preprocessing._polynomial", "PolynomialFeatures"): polynomial,
    ("sklearn.feature_extraction._hash", "FeatureHasher"): hashing,
    ("sklearn.feature_extraction.text", "HashingVectorizer"): hashing,
    ("sklearn.feature_extraction.text", "CountVectorizer"): vocabulary,
    ("sklearn.feature_extraction._dict_vectorizer", "DictVectorizer"): vocabulary,
    ("pandas.core.internals.managers", "BlockManager"): block_manager,
    ("pandas.core.internals.managers", "SingleBlockManager"): single_block,
    ("pandas", "Categorical"): categorical,
    ("pandas", "MultiIndex"): many_levels,
    ("pandas.arrays", "IntegerArray"): masked_values,
    ("pandas.arrays", "StringArray"): text_values,
    ("pandas.arrays", "DatetimeArray"): times,
}


def check_of(kind: type) -> "Check | None":
    """What looks at a complete instance of `kind`, or None."""
    found = [
        CHECKS[name]
        for base in reversed(kind.__mro__)
        if (name := (base.__module__, base.__qualname__)) in CHECKS
    ]
    hidden = method_names(kind) if kind.__module__.startswith("sklearn.") else frozenset()
    if not found and not hidden:
        return None

    def check(instance: Any) -> None:
        attributes = getattr(instance, "__dict__", {})
        if not hidden.isdisjoint(attributes):
            names = ", ".join(sorted(hidden.intersection(attributes)))
            need(False, instance, f"no attribute in the place of a method ({names})")
        for one in found:
            try:
                one(instance)
            except FormatError:
                raise
            except Exception as error:
                raise FormatError(
                    f"a `{kind.__module__}.{kind.__qualname__}` of the file is not usable: {error}"
                ) from error

    return check


def method_names(kind: type) -> frozenset:
    """Names of methods that an instance attribute would hide: an estimator's own checks must not be replaced."""
    names = set()
    for base in kind.__mro__[:-1]:
        for name, value in vars(base).items():
            hides = callable(value) or (
                hasattr(type(value), "__get__") and not hasattr(type(value), "__set__")
            )
            if hides and not isinstance(value, type):
                names.add(name)
    return frozenset(names)
