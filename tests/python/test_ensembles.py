"""Tree ensembles other than forests: the bits of scikit-learn, through `open` and through `load`."""

import pickle
import warnings

import joblib
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from sklearn.datasets import make_classification
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    BaggingClassifier,
    BaggingRegressor,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
    RandomTreesEmbedding,
)
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier, ExtraTreeRegressor

import onecopy
from onecopy._onecopy import Part
from own_math import SAME_LOG

RANDOM = np.random.default_rng(3)
X, Y = make_classification(240, 6, n_informative=4, n_classes=3, random_state=1)
X = X.astype(np.float64)
HOLES = np.where(RANDOM.random(X.shape) < 0.1, np.nan, X)
T = X[:, 0] * 2 + np.abs(X[:, 1]) + RANDOM.normal(size=len(X))
MANY = np.arange(240) % 11
WORDS = np.array(["low", "middle", "höher"])[Y]
# Enough rows to fill the lower ones of several levels.
LONG, LONG_Y = make_classification(3000, 9, n_informative=7, n_classes=3, flip_y=0.3, random_state=2)
LONG_HOLES = np.where(RANDOM.random(LONG.shape) < 0.1, np.nan, LONG)
LONG_T = LONG[:, 0] * LONG[:, 1] + RANDOM.normal(size=len(LONG))
METHODS = ("predict", "predict_proba", "predict_log_proba", "decision_function", "score_samples", "apply", "transform")
# Methods that go through `load` only.
LOAD_ONLY = {BaggingClassifier: {"predict_log_proba"}, RandomTreesEmbedding: {"transform"}}
# Answers that NumPy's own exp goes into, which is not everywhere the one of the C library.
TOLERANCE = {"rtol": 1e-13, "atol": 1e-300}
# Of decisions, which are what scores of 0.5 to 1 have more than an offset: the last bit of such a score.
TOLERANCE_OF_DECISIONS = {"rtol": 1e-13, "atol": 2.0**-53}


def histogram(**options):
    return HistGradientBoostingClassifier(**{"max_iter": 6, "random_state": 0, **options})


def histogram_regressor(loss, **options):
    return HistGradientBoostingRegressor(**{"loss": loss, "max_iter": 6, "random_state": 0, **options})


def boosting(**options):
    return GradientBoostingClassifier(**{"n_estimators": 6, "random_state": 0, **options})


def boosting_regressor(loss, **options):
    return GradientBoostingRegressor(**{"loss": loss, "n_estimators": 6, "random_state": 0, **options})


def few_levels() -> dict:
    """Name: a fitted estimator whose trees are cut into subtrees."""
    few = {"n_estimators": 12, "random_state": 0}
    return {
        "forest of 7 levels": RandomForestClassifier(max_depth=7, **few).fit(LONG, LONG_Y),
        "forest of 7 levels, words": RandomForestClassifier(max_depth=7, **few).fit(LONG, np.array(["a", "b", "c"])[LONG_Y]),
        "forest of 7 levels, holes": RandomForestClassifier(max_depth=7, **few).fit(LONG_HOLES, LONG_Y),
        "forest of 7 levels, two outputs": RandomForestClassifier(max_depth=7, **few).fit(
            LONG, np.column_stack([LONG_Y, LONG_Y > 0])
        ),
        "regression of 10 levels": RandomForestRegressor(max_depth=10, **few).fit(LONG, LONG_T),
        "extra trees of 7 levels": ExtraTreesRegressor(max_depth=7, **few).fit(LONG, np.column_stack([LONG_T, -LONG_T])),
        "bagging of 7 levels": BaggingClassifier(DecisionTreeClassifier(max_depth=7), max_features=6, **few).fit(LONG, LONG_Y),
        "boosting, 8 levels": boosting_regressor("squared_error", max_depth=8).fit(LONG, LONG_T),
        "histogram of 7 levels": histogram_regressor(
            "squared_error", max_depth=7, max_leaf_nodes=None, min_samples_leaf=1
        ).fit(LONG_HOLES, LONG_T),
    }


def fitted() -> dict:
    """Name: a fitted estimator that the engine computes."""
    positive = np.abs(T) + 0.1
    return {
        "histogram": histogram().fit(HOLES, Y),
        "histogram, two classes": histogram().fit(HOLES, Y > 0),
        "histogram, words": histogram().fit(HOLES, WORDS),
        "histogram, two words": histogram().fit(X, WORDS == "low"),
        "histogram, one class": histogram().fit(X, np.full(240, 7)),
        "histogram, eleven classes": histogram(max_iter=2).fit(X, MANY),
        "histogram, weights": histogram().fit(X, Y, sample_weight=np.abs(T)),
        "histogram, stopped early": histogram(early_stopping=True, n_iter_no_change=2, max_iter=60).fit(X, Y),
        "histogram, deep": histogram(max_leaf_nodes=None, min_samples_leaf=1).fit(X, Y),
        "histogram, stumps": histogram(max_depth=1).fit(X, Y > 1),
        "histogram, nothing to learn": histogram_regressor("squared_error").fit(X, np.ones(240)),
        "histogram, monotonic": histogram_regressor("squared_error", monotonic_cst=[1, 0, -1, 0, 0, 0]).fit(X, T),
        "histogram, float32": histogram_regressor("squared_error").fit(X.astype(np.float32), T),
        "histogram, infinities": histogram_regressor("squared_error").fit(np.where(HOLES > 2, np.inf, HOLES), T),
        "histogram squared_error": histogram_regressor("squared_error").fit(HOLES, T),
        "histogram absolute_error": histogram_regressor("absolute_error").fit(HOLES, T),
        "histogram quantile": histogram_regressor("quantile", quantile=0.8).fit(HOLES, T),
        "histogram gamma": histogram_regressor("gamma").fit(HOLES, positive),
        "histogram poisson": histogram_regressor("poisson").fit(HOLES, positive),
        "boosting": boosting().fit(X, Y),
        "boosting, two classes": boosting().fit(X, Y > 0),
        "boosting, words": boosting().fit(X, WORDS),
        "boosting, eleven classes": boosting(n_estimators=2).fit(X, MANY),
        "boosting, half and half": boosting().fit(X, np.arange(240) % 2),
        "boosting exponential": boosting(loss="exponential").fit(X, Y == 1),
        "boosting from zero": boosting(init="zero").fit(X, Y),
        "boosting two from zero": boosting(init="zero").fit(X, Y == 2),
        "boosting from a dummy": boosting(init=DummyClassifier()).fit(X, Y),
        "boosting, subsample": boosting(subsample=0.5, max_features=2).fit(X, Y),
        "boosting, stopped early": boosting(n_iter_no_change=2, n_estimators=60).fit(X, Y),
        "boosting, weights": boosting(learning_rate=0.3).fit(X, Y, sample_weight=np.abs(T)),
        "boosting squared_error": boosting_regressor("squared_error").fit(X, T),
        "boosting absolute_error": boosting_regressor("absolute_error").fit(X, T),
        "boosting huber": boosting_regressor("huber").fit(X, T),
        "boosting quantile": boosting_regressor("quantile", alpha=0.2).fit(X, T),
        "boosting regression from zero": boosting_regressor("huber", init="zero").fit(X, T),
        "boosting from a median": boosting_regressor("squared_error", init=DummyRegressor(strategy="median")).fit(X, T),
        "boosting, deep": boosting_regressor("squared_error", max_depth=None).fit(X, T),
        "boosting, best first": boosting_regressor("squared_error", max_leaf_nodes=5).fit(X, T),
        "isolation": IsolationForest(n_estimators=9, random_state=0).fit(X),
        "isolation, holes": IsolationForest(n_estimators=9, random_state=0).fit(HOLES),
        "isolation, some features": IsolationForest(n_estimators=9, max_features=3, random_state=0).fit(X),
        "isolation, contamination": IsolationForest(n_estimators=9, contamination=0.2, random_state=0).fit(X),
        "isolation, two samples": IsolationForest(n_estimators=3, max_samples=2, random_state=0).fit(X),
        "isolation, one sample": IsolationForest(n_estimators=3, max_samples=1, random_state=0).fit(X),
        "adaboost": AdaBoostClassifier(n_estimators=9, random_state=0).fit(X, Y),
        "adaboost, two classes": AdaBoostClassifier(n_estimators=9, random_state=0).fit(X, Y > 0),
        "adaboost, words": AdaBoostClassifier(DecisionTreeClassifier(max_depth=3), n_estimators=4).fit(X, WORDS),
        "adaboost, extra trees": AdaBoostClassifier(ExtraTreeClassifier(max_depth=3), random_state=0).fit(X, Y),
        "adaboost, perfect": AdaBoostClassifier(DecisionTreeClassifier(), random_state=0).fit(X, Y),
        "adaboost, eleven classes": AdaBoostClassifier(n_estimators=9, random_state=0).fit(X, MANY),
        "adaboost regression": AdaBoostRegressor(n_estimators=9, random_state=0).fit(X, T),
        "adaboost exponential": AdaBoostRegressor(
            DecisionTreeRegressor(max_depth=2), n_estimators=20, loss="exponential", random_state=0
        ).fit(X, T),
        "bagging": BaggingClassifier(n_estimators=9, random_state=0).fit(X, Y),
        "bagging, words": BaggingClassifier(n_estimators=9, random_state=0).fit(X, WORDS),
        "bagging, some features": BaggingClassifier(n_estimators=9, max_features=3, random_state=0).fit(X, Y),
        "bagging, features twice": BaggingClassifier(
            ExtraTreeClassifier(), n_estimators=9, bootstrap_features=True, random_state=0
        ).fit(X, Y),
        "bagging, few rows each": BaggingClassifier(n_estimators=9, max_samples=8, random_state=0).fit(X, MANY),
        "bagging, holes": BaggingClassifier(n_estimators=9, random_state=0).fit(HOLES, Y),
        "bagging, one class": BaggingClassifier(n_estimators=3).fit(X, np.zeros(240)),
        "bagging regression": BaggingRegressor(n_estimators=9, max_features=4, random_state=0).fit(X, T),
        "bagging regression, several outputs": BaggingRegressor(
            ExtraTreeRegressor(), n_estimators=9, random_state=0
        ).fit(X, np.column_stack([T, -T])),
        "embedding": RandomTreesEmbedding(n_estimators=9, random_state=0).fit(X),
        "pipeline": make_pipeline(StandardScaler(), boosting()).fit(X, Y),
        "pipeline with holes": make_pipeline(StandardScaler(), histogram()).fit(HOLES, Y),
    }


FEW_LEVELS = few_levels()
MODELS = fitted() | FEW_LEVELS


def thresholds(model) -> np.ndarray:
    """Values that splits compare with."""
    predictors = getattr(model, "_predictors", None)
    if predictors is not None:
        found = [p.nodes["num_threshold"][p.nodes["is_leaf"] == 0] for stage in predictors for p in stage]
    else:
        trees = np.ravel(getattr(model, "estimators_", []))
        found = [tree.tree_.threshold[tree.tree_.feature >= 0] for tree in trees if hasattr(tree, "tree_")]
    return np.concatenate([*found, [0.5]])


def takes(model, x) -> bool:
    try:
        getattr(model, "predict", getattr(model, "apply", None))(x)
    except ValueError:
        return False
    return True


def rows(model) -> np.ndarray:
    """Fresh rows: ordinary ones, zeros of both signs, values at thresholds and beside them, and what is allowed of NaN
    and infinity."""
    width = model.n_features_in_
    fresh = RANDOM.normal(size=(1000, width)) * 2
    fresh[::7, 0], fresh[1::7, 1], fresh[2::7, 2] = -0.0, 0.0, 1e-310
    at = RANDOM.choice(thresholds(model), size=fresh.shape)
    with np.errstate(over="ignore"):
        beside = [at, np.nextafter(at, np.inf), np.nextafter(at, -np.inf), at.astype(np.float32)]
    chosen = RANDOM.integers(0, 8, size=fresh.shape)
    for choice, values in enumerate(beside):
        fresh = np.where((chosen == choice) & (np.abs(values) < 1e30), values, fresh)
    for value in (np.nan, np.inf, -np.inf):
        if takes(model, np.full((1, width), value)):
            fresh = np.where(RANDOM.random(fresh.shape) < 0.05, value, fresh)
    return fresh


def forms(x: np.ndarray):
    """The rows in batches, types and orders."""
    yield from (x, x[:1], x[5:8], x[:17], x.astype(np.float32), np.asfortranarray(x), x[::-3])
    yield np.repeat(x[:40], 2, axis=1)[:, ::2]


def same(expected, found, exact=True, tolerance=TOLERANCE):
    if isinstance(expected, list):
        assert len(expected) == len(found)
        for one, other in zip(expected, found):
            same(one, other, exact, tolerance)
        return
    if scipy.sparse.issparse(expected):
        expected, found = expected.toarray(), found.toarray()
    assert expected.shape == found.shape
    if expected.dtype.kind == "O":
        expected = expected.astype(str)
    assert expected.dtype == found.dtype or expected.dtype.kind == found.dtype.kind == "U"
    if exact or expected.dtype.kind != "f":
        assert np.array_equal(expected, found, equal_nan=expected.dtype.kind == "f")
    else:
        np.testing.assert_allclose(found, expected, **tolerance)


def ask(model, method, x):
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return getattr(model, method)(x)


def dumped(model, tmp_path):
    path = tmp_path / "model.onecopy"
    onecopy.dump(model, path)
    return path


def has_numpys_own(model, method) -> bool:
    if method == "predict_log_proba" and not SAME_LOG:
        return True
    last = model[-1] if hasattr(model, "steps") else model
    several = len(getattr(last, "classes_", ())) > 2 or isinstance(last, AdaBoostClassifier)
    if isinstance(last, IsolationForest):
        return True
    log_link = getattr(last, "loss", "") in ("gamma", "poisson")
    if isinstance(last, BaggingClassifier):
        return False
    return log_link and method == "predict" or several and method in ("predict_proba", "predict_log_proba")


@pytest.mark.parametrize("name", MODELS)
def test_open_and_load_answer_as_scikit_learn_does(name, tmp_path):
    model = MODELS[name]
    path = dumped(model, tmp_path)
    opened, loaded = onecopy.open(path, threads=1), onecopy.load(path)
    assert opened.native
    methods = {method for method in METHODS if hasattr(model, method)}
    assert set(opened.methods) == methods - LOAD_ONLY.get(type(model), set())
    for x in forms(rows(model)):
        for method in methods:
            expected = ask(model, method, x)
            same(expected, ask(loaded, method, x))
            if method in opened.methods:
                tolerance = TOLERANCE_OF_DECISIONS if method == "decision_function" else TOLERANCE
                same(expected, ask(opened, method, x), not has_numpys_own(model, method), tolerance)
    few = rows(model)[:5]
    if "predict" in methods:
        same(ask(model, "predict", few), ask(opened, "predict", few.tolist()))


@pytest.mark.parametrize("name", FEW_LEVELS)
def test_trees_of_few_levels_are_cut_into_subtrees(name, tmp_path):
    found = onecopy.inspect(dumped(FEW_LEVELS[name], tmp_path))
    assert "three levels at a time" in found["native"]["trees"][0]
    nodes, subtrees = (
        next(array["len_bytes"] for array in found["arrays"] if array["name"] == f"predict.{wanted}")
        for wanted in ("nodes", "subtrees")
    )
    assert subtrees <= nodes


@pytest.mark.parametrize("name", [name for name in MODELS if "pipeline" not in name])
def test_a_loaded_ensemble_predicts_without_making_its_trees(name, tmp_path):
    model = MODELS[name]
    loaded = onecopy.load(dumped(model, tmp_path))
    attribute = "_predictors" if hasattr(model, "_predictors") else "estimators_"
    ask(loaded, "apply" if isinstance(model, RandomTreesEmbedding) else "predict", np.nan_to_num(rows(model)))
    assert isinstance(loaded.__dict__[attribute], Part)


@pytest.mark.parametrize("name", ["histogram", "histogram gamma", "boosting", "boosting huber", "boosting exponential"])
@pytest.mark.parametrize("compress", [None, 3])
def test_converted_files_answer_as_scikit_learn_does(name, compress, tmp_path):
    model = MODELS[name]
    source, path = tmp_path / "model.joblib", tmp_path / "model.onecopy"
    if compress is None:
        source.write_bytes(pickle.dumps(model))
    else:
        joblib.dump(model, source, compress=compress)
    onecopy.convert(source, path)
    opened, loaded = onecopy.open(path), onecopy.load(path)
    x = rows(model)
    for method in opened.methods:
        expected = ask(model, method, x)
        same(expected, ask(loaded, method, x))
        same(expected, ask(opened, method, x), exact=not has_numpys_own(model, method))
    same(ask(model, "predict", x), ask(pickle.loads(pickle.dumps(loaded)), "predict", x))


def test_staged_answers_are_those_of_scikit_learn(tmp_path):
    for name in ("histogram", "boosting", "boosting huber", "histogram poisson"):
        model = MODELS[name]
        loaded = onecopy.load(dumped(model, tmp_path))
        x = np.nan_to_num(rows(model))
        for expected, found in zip(model.staged_predict(x), loaded.staged_predict(x), strict=True):
            same(expected, found)


def categories(n: int) -> pd.DataFrame:
    """Rows with categories of text and of numbers, unknown and missing ones among them."""
    colours = RANDOM.choice(["red", "green", "blue", "white", None], n)
    return pd.DataFrame(
        {
            "size": RANDOM.normal(size=n),
            "colour": pd.Categorical(colours, categories=["red", "green", "blue", "white"]),
            "kind": pd.Categorical(RANDOM.integers(0, 30, n)),
            "weight": np.where(RANDOM.random(n) < 0.1, np.nan, RANDOM.normal(size=n)),
        }
    )


@pytest.mark.parametrize("classes", [2, 3])
def test_categories_are_encoded_by_scikit_learn_and_computed_natively_through_load(classes, tmp_path):
    table = categories(400)
    target = (table["kind"].cat.codes.to_numpy() * 7 + (table["colour"] == "red").to_numpy() * 3) % classes
    model = histogram(max_iter=20, categorical_features="from_dtype", min_samples_leaf=3).fit(table, target)
    assert any(p.nodes["is_categorical"].any() for stage in model._predictors for p in stage)
    path = dumped(model, tmp_path)
    loaded = onecopy.load(path)
    fresh = categories(1000)
    for x in (fresh, fresh[:1], fresh[3:20]):
        for method in ("predict", "predict_proba", "decision_function"):
            same(ask(model, method, x), ask(loaded, method, x))
    assert isinstance(loaded.__dict__["_predictors"], Part)
    with pytest.raises(onecopy.UnsupportedModelError, match="column 1 are text.*onecopy.load"):
        onecopy.open(path).predict(np.zeros((1, 4)))


def test_categories_given_by_number_are_computed_natively_through_load(tmp_path):
    x = np.column_stack([RANDOM.integers(0, 200, 600), RANDOM.normal(size=600), RANDOM.integers(0, 5, 600)])
    x = np.where(RANDOM.random(x.shape) < 0.05, np.nan, x).astype(float)
    model = histogram_regressor("squared_error", categorical_features=[0, 2], min_samples_leaf=2)
    model.fit(x, np.nan_to_num(x[:, 0] % 7 + x[:, 1] - x[:, 2]))
    loaded = onecopy.load(dumped(model, tmp_path))
    fresh = np.column_stack([RANDOM.integers(-3, 260, 500), RANDOM.normal(size=500), RANDOM.integers(0, 9, 500)])
    same(model.predict(fresh), loaded.predict(fresh))
    same(model.predict(x), loaded.predict(x))


def test_a_changed_learning_rate_counts(tmp_path):
    model = pickle.loads(pickle.dumps(MODELS["boosting huber"]))
    loaded = onecopy.load(dumped(model, tmp_path))
    model.learning_rate = loaded.learning_rate = 0.7
    same(model.predict(X), loaded.predict(X))


def test_a_changed_baseline_counts(tmp_path):
    model = pickle.loads(pickle.dumps(MODELS["histogram"]))
    loaded = onecopy.load(dumped(model, tmp_path))
    model._baseline_prediction = model._baseline_prediction + 1
    loaded._baseline_prediction = loaded._baseline_prediction + 1
    same(model.decision_function(X), loaded.decision_function(X))


def test_predictors_put_in_place_of_others_count(tmp_path):
    model = pickle.loads(pickle.dumps(MODELS["histogram"]))
    loaded = onecopy.load(dumped(model, tmp_path))
    for estimator in (model, loaded):
        estimator._predictors[0][0] = estimator._predictors[1][1]
    same(model.decision_function(X), loaded.decision_function(X))
    nodes = loaded._predictors[0][0].nodes.copy()
    nodes["value"] = 3.0
    model._predictors[0][0].nodes = loaded._predictors[0][0].nodes = nodes
    same(model.decision_function(X), loaded.decision_function(X))


def test_boosting_from_another_model_is_loaded_with_it(tmp_path):
    model = boosting_regressor("squared_error", init=LinearRegression()).fit(X, T)
    same(model.predict(X), onecopy.load(dumped(model, tmp_path)).predict(X))


def test_a_search_predicts_through_its_best_estimator(tmp_path):
    search = GridSearchCV(histogram(), {"max_depth": [2, 3]}, cv=2).fit(HOLES, Y)
    loaded = onecopy.load(dumped(search, tmp_path))
    same(search.predict_proba(HOLES), loaded.predict_proba(HOLES))
    assert isinstance(loaded.best_estimator_.__dict__["_predictors"], Part)


def test_histograms_refuse_sparse_rows_as_scikit_learn_does(tmp_path):
    opened = onecopy.open(dumped(MODELS["histogram"], tmp_path))
    with pytest.raises(TypeError, match="dense data is required"):
        opened.predict(scipy.sparse.csr_matrix(X))


def test_boosting_takes_sparse_rows(tmp_path):
    model = MODELS["boosting"]
    path = dumped(model, tmp_path)
    sparse = scipy.sparse.csr_matrix(np.where(np.abs(X) < 1, 0, X))
    same(model.decision_function(sparse), onecopy.open(path).decision_function(sparse))
    same(model.decision_function(sparse), onecopy.load(path).decision_function(sparse))


def test_boosting_refuses_nan_as_scikit_learn_does(tmp_path):
    opened = onecopy.open(dumped(MODELS["boosting"], tmp_path))
    with pytest.raises(ValueError, match="NaN"):
        opened.predict(HOLES)


def child_outside(nodes):
    nodes["left"][0] = 10**6


def child_is_root(nodes):
    nodes["right"][0] = 0


def two_parents(nodes):
    nodes["right"][0] = nodes["left"][0]


def feature_outside(nodes):
    nodes["feature_idx"][0] = 6


def feature_below_zero(nodes):
    nodes["feature_idx"][0] = -1


def set_outside(nodes):
    nodes["is_categorical"][0], nodes["bitset_idx"][0] = 1, 5


def last_is_split(nodes):
    nodes["is_leaf"][-1] = 0


@pytest.mark.parametrize(
    "damage",
    [child_outside, child_is_root, two_parents, feature_outside, feature_below_zero, set_outside, last_is_split],
)
def test_trees_that_lead_astray_are_not_computed(damage, tmp_path):
    model = pickle.loads(pickle.dumps(MODELS["histogram"]))
    damage(model._predictors[2][1].nodes)
    source, path = tmp_path / "model.pkl", tmp_path / "model.onecopy"
    source.write_bytes(pickle.dumps(model))
    onecopy.convert(source, path)
    with pytest.raises(onecopy.UnsupportedModelError, match="tree 7"):
        onecopy.open(path).predict(X)


@pytest.mark.parametrize(
    "name, attribute, value",
    [
        ("histogram", "_baseline_prediction", np.zeros((1, 2))),
        ("histogram", "_baseline_prediction", np.zeros((1, 3), np.float32)),
        ("histogram", "_predictors", []),
        ("histogram", "classes_", np.arange(7)),
        ("histogram", "n_features_in_", 3),
        ("histogram", "n_features_in_", 2**40),
        ("boosting", "classes_", np.arange(2)),
        ("boosting", "learning_rate", "high"),
        ("boosting", "init_", 5),
        ("isolation", "estimators_features_", [np.array([99])] * 9),
        ("isolation", "_decision_path_lengths", (np.zeros(1),) * 9),
        ("adaboost", "estimator_weights_", np.zeros(2)),
        ("adaboost", "classes_", np.arange(4)),
        ("bagging", "estimators_features_", [np.arange(6)] * 2),
        ("bagging, some features", "estimators_features_", [np.arange(2)] * 9),
        ("bagging", "classes_", np.arange(2)),
    ],
)
def test_attributes_that_contradict_each_other_are_not_computed(name, attribute, value, tmp_path):
    model = pickle.loads(pickle.dumps(MODELS[name]))
    setattr(model, attribute, value)
    source, path = tmp_path / "model.pkl", tmp_path / "model.onecopy"
    source.write_bytes(pickle.dumps(model))
    onecopy.convert(source, path)
    assert not onecopy.open(path).native


def test_trees_that_share_their_nodes_are_read_once(tmp_path):
    model = pickle.loads(pickle.dumps(MODELS["histogram squared_error"]))
    model._predictors = [model._predictors[0]] * 100_000
    source, path = tmp_path / "model.pkl", tmp_path / "model.onecopy"
    source.write_bytes(pickle.dumps(model))
    onecopy.convert(source, path)
    with pytest.raises(onecopy.UnsupportedModelError, match="another tree"):
        onecopy.open(path).predict(X)
