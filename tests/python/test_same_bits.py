"""Models trained here, predicted by the command: trees bit for bit, linear models within rounding."""

import numpy as np
import pytest
from sklearn.datasets import make_classification, make_regression
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor, RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import (
    ElasticNet,
    ElasticNetCV,
    Lasso,
    LassoCV,
    LinearRegression,
    LogisticRegression,
    LogisticRegressionCV,
    MultiTaskElasticNet,
    MultiTaskLasso,
    Ridge,
    RidgeCV,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier, ExtraTreeRegressor

ROWS = 600


def classes(count, **kwargs):
    return make_classification(
        ROWS, n_features=12, n_informative=8, n_classes=count, flip_y=0.1, random_state=count, **kwargs
    )


def values(targets=1):
    return make_regression(ROWS, n_features=12, n_informative=8, n_targets=targets, noise=5.0, random_state=targets)


def strings(y):
    return np.array(["red", "green", "blue", "ultramarine"])[y]


def holes(x):
    x = x.copy()
    x[np.random.default_rng(0).random(x.shape) < 0.1] = np.nan
    return x


def same(expected, found):
    assert expected.dtype == found.dtype and expected.shape == found.shape
    assert expected.tobytes() == found.tobytes()


CLASSIFIERS = [DecisionTreeClassifier, ExtraTreeClassifier, RandomForestClassifier, ExtraTreesClassifier]
REGRESSORS = [DecisionTreeRegressor, ExtraTreeRegressor, RandomForestRegressor, ExtraTreesRegressor]


def fit(kind, x, y, **parameters):
    if "Forest" in kind.__name__ or "Trees" in kind.__name__:
        parameters.setdefault("n_estimators", 15)
    return kind(random_state=0, **parameters).fit(x, y)


@pytest.mark.parametrize("n_classes", [2, 3, 4])
@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_tree_classifiers(onecopy, kind, n_classes):
    x, y = classes(n_classes)
    model = fit(kind, x, y)
    path = onecopy.convert(model)
    for rows in (x, x.astype(np.float32), np.asfortranarray(x), x[:1]):
        for method in ("predict", "predict_proba", "apply"):
            same(getattr(model, method)(rows), onecopy.ask(path, rows, method))


@pytest.mark.parametrize("kind", REGRESSORS)
@pytest.mark.parametrize("targets", [1, 3])
def test_tree_regressors(onecopy, kind, targets):
    x, y = values(targets)
    model = fit(kind, x, y)
    path = onecopy.convert(model)
    for rows in (x, x.astype(np.float32)):
        same(model.predict(rows), onecopy.ask(path, rows))


@pytest.mark.parametrize("kind", CLASSIFIERS[2:])
def test_log_probabilities_of_forests(onecopy, kind):
    x, y = classes(3)
    model = fit(kind, x, y, max_depth=5)
    found = onecopy.ask(onecopy.convert(model), x, "predict_log_proba")
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(found, model.predict_log_proba(x), rtol=1e-14)


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_labels_that_are_strings(onecopy, kind):
    x, y = classes(4)
    model = fit(kind, x, strings(y))
    same(model.predict(x), onecopy.ask(onecopy.convert(model), x))


@pytest.mark.parametrize("kind", CLASSIFIERS + REGRESSORS)
def test_missing_values_and_infinity(onecopy, kind):
    x, y = classes(3)
    model = fit(kind, holes(x), y)
    path = onecopy.convert(model)
    same(model.predict(holes(x)), onecopy.ask(path, holes(x)))
    rows = x.copy()
    rows[3, 4] = np.inf
    np.save(onecopy.folder / "inf.npy", rows)
    error = onecopy("predict", path, "inf.npy", expect=1).stderr
    assert "row 3" in error and "column 4" in error


@pytest.mark.parametrize("kind", [RandomForestClassifier, ExtraTreesClassifier, DecisionTreeClassifier])
def test_several_outputs(onecopy, kind):
    x, y = classes(3)
    model = fit(kind, x, np.stack([y, (y + 1) % 2, 2 - y], axis=1))
    path = onecopy.convert(model)
    same(model.predict(x), onecopy.ask(path, x))
    for expected, found in zip(model.predict_proba(x), onecopy.ask(path, x, "predict_proba", out="y.npz"), strict=True):
        same(expected, found)
    error = onecopy("predict", path, "x.npy", "--method", "predict_proba", expect=1).stderr
    assert "3 outputs" in error and ".npz" in error


@pytest.mark.parametrize("parameters", [{"max_leaf_nodes": 20}, {"max_depth": 1}, {"criterion": "entropy"}, {"bootstrap": False}])
def test_shapes_of_forests(onecopy, parameters):
    x, y = classes(3)
    model = fit(RandomForestClassifier, x, y, **parameters)
    same(model.predict_proba(x), onecopy.ask(onecopy.convert(model), x, "predict_proba"))


@pytest.mark.parametrize("dtype", [np.float16, np.int8, np.int32, np.int64, np.uint16, bool, ">f8", ">i4"])
def test_input_of_other_number_types(onecopy, dtype):
    x, y = classes(2)
    model = fit(RandomForestClassifier, x, y)
    rows = (x * 3).astype(dtype)
    same(model.predict_proba(rows), onecopy.ask(onecopy.convert(model), rows, "predict_proba"))


@pytest.mark.parametrize("compress", [("zlib", 3), ("gzip", 3), ("bz2", 3), ("lzma", 3), ("xz", 3), ("lz4", 3)])
def test_compressed_joblib_files(onecopy, compress):
    x, y = classes(3)
    model = fit(RandomForestClassifier, x, y)
    same(model.predict_proba(x), onecopy.ask(onecopy.convert(model, compress=compress), x, "predict_proba"))


ONE_TARGET = [LinearRegression, Ridge, RidgeCV, Lasso, LassoCV, ElasticNet, ElasticNetCV]
TWO_TARGETS = [LinearRegression, Ridge, RidgeCV, Lasso, ElasticNet, MultiTaskLasso, MultiTaskElasticNet]


@pytest.mark.parametrize(
    ("kind", "targets"), [(kind, 1) for kind in ONE_TARGET] + [(kind, 2) for kind in TWO_TARGETS]
)
def test_linear_regressors(onecopy, kind, targets):
    x, y = values(targets)
    model = kind().fit(x, y)
    expected, found = model.predict(x), onecopy.ask(onecopy.convert(model), x)
    assert expected.dtype == found.dtype and expected.shape == found.shape
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize(
    ("model", "n_classes"),
    [
        (LogisticRegression(max_iter=1000), 2),
        (LogisticRegression(max_iter=1000), 3),
        (LogisticRegression(solver="liblinear"), 2),
        (LogisticRegressionCV(Cs=3, cv=3, max_iter=1000), 2),
        (LogisticRegressionCV(Cs=3, cv=3, max_iter=1000), 3),
    ],
)
def test_logistic_regression(onecopy, model, n_classes):
    x, y = classes(n_classes)
    model.fit(x, strings(y))
    path = onecopy.convert(model)
    same(model.predict(x), onecopy.ask(path, x))
    for method in ("predict_proba", "decision_function", "predict_log_proba"):
        np.testing.assert_allclose(onecopy.ask(path, x, method), getattr(model, method)(x), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("scaler", [StandardScaler(), MinMaxScaler(), MinMaxScaler(clip=True)])
def test_scalers(onecopy, scaler):
    x, _ = classes(2)
    scaler.fit(x)
    same(scaler.transform(x * 2), onecopy.ask(onecopy.convert(scaler), x * 2, "transform"))


def test_pipelines(onecopy):
    x, y = classes(3)
    forest = make_pipeline(StandardScaler(), RandomForestClassifier(15, random_state=0)).fit(x, y)
    same(forest.predict_proba(x), onecopy.ask(onecopy.convert(forest), x, "predict_proba"))
    linear = make_pipeline(MinMaxScaler(), StandardScaler(), LogisticRegression()).fit(x, y)
    found = onecopy.ask(onecopy.convert(linear, "linear"), x, "predict_proba")
    np.testing.assert_allclose(found, linear.predict_proba(x), rtol=1e-9, atol=1e-12)
