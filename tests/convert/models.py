"""Trains small models, saves them, and writes what scikit-learn answers. Usage: models.py DIRECTORY"""

import json
import pickle
import sys
import warnings
import zlib
from pathlib import Path

import joblib
import numpy as np
from sklearn.ensemble import ExtraTreesRegressor, RandomForestClassifier
from sklearn.linear_model import (
    ElasticNet,
    Lasso,
    LinearRegression,
    LogisticRegression,
    MultiTaskLasso,
    Ridge,
)
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

warnings.simplefilter("ignore")
METHODS = ["predict", "predict_proba", "predict_log_proba", "decision_function", "transform", "apply"]

rng = np.random.default_rng(7)
X = rng.normal(size=(120, 5)) * [1, 10, 0.1, 3, 1] + [0, 5, 1, -2, 100]
y = X @ [1.0, -0.2, 3.0, 0.0, 0.01] + rng.normal(size=120)
Y = np.column_stack([y, -y + rng.normal(size=120)])
two = (y > np.median(y)).astype(np.int64)
three = np.digitize(y, np.quantile(y, [0.3, 0.6]))
words = np.array(["no", "maybe", "yes"])[three]


def aged(model, **attributes):
    """A model as an older scikit-learn would have saved it."""
    for name, value in attributes.items():
        setattr(model, name, value)
    return model


def models():
    yield "linear", LinearRegression().fit(X, y)
    yield "linear_two_outputs", LinearRegression().fit(X, Y)
    yield "linear_column", LinearRegression().fit(X, y[:, None])
    yield "linear_no_intercept", LinearRegression(fit_intercept=False).fit(X, y)
    yield "ridge", Ridge().fit(X, y)
    yield "ridge_two_outputs", Ridge().fit(X, Y)
    yield "lasso", Lasso(alpha=0.01).fit(X, y)
    yield "lasso_column", Lasso(alpha=0.01).fit(X, y[:, None])
    yield "elastic_net", ElasticNet(alpha=0.01).fit(X, y)
    yield "multi_task_lasso", MultiTaskLasso(alpha=0.01).fit(X, Y)
    yield "logistic_two", LogisticRegression().fit(X, two)
    yield "logistic_bool", LogisticRegression().fit(X, two.astype(bool))
    yield "logistic_float", LogisticRegression().fit(X, two * 2.0)
    yield "logistic_three", LogisticRegression().fit(X, three)
    yield "logistic_words", LogisticRegression().fit(X, words)
    yield "logistic_objects", LogisticRegression().fit(X, words.astype(object))
    yield "logistic_liblinear", LogisticRegression(solver="liblinear").fit(X, two)
    yield "standard", StandardScaler().fit(X)
    yield "standard_no_mean", StandardScaler(with_mean=False).fit(X)
    yield "standard_no_std", StandardScaler(with_std=False).fit(X)
    yield "min_max", MinMaxScaler().fit(X)
    yield "min_max_clip", MinMaxScaler(feature_range=(-1, 2), clip=True).fit(X[:60])
    yield "pipeline", make_pipeline(StandardScaler(), LogisticRegression()).fit(X, three)
    nested = Pipeline([("inner", make_pipeline(MinMaxScaler(), StandardScaler())), ("none", None), ("pass", "passthrough"),
                       ("model", Ridge())])
    yield "pipeline_nested", nested.fit(X, y)
    yield "pipeline_transform", make_pipeline(StandardScaler(), MinMaxScaler()).fit(X)
    yield "tree", DecisionTreeClassifier(random_state=0).fit(X, words)
    yield "forest", RandomForestClassifier(n_estimators=20, random_state=0, n_jobs=1).fit(X, three)
    yield "extra_trees", ExtraTreesRegressor(n_estimators=9, random_state=0).fit(X, Y)
    yield "pipeline_forest", make_pipeline(StandardScaler(), RandomForestClassifier(9, random_state=0)).fit(X, two)


def uncovered():
    yield "svc", SVC().fit(X, two), "sklearn.svm._classes.SVC"
    yield "pipeline_knn", make_pipeline(StandardScaler(), KNeighborsClassifier()).fit(X, two), "sklearn.neighbors._classification.KNeighborsClassifier"
    yield "unfitted", LinearRegression(), "sklearn.linear_model._base.LinearRegression"
    yield "dict", {"weights": X, "names": ["a", "b"]}, "dict"


def answer(values):
    """Nested lists; JSON has no minus infinity, which becomes null."""
    if isinstance(values, np.ndarray):
        values = values.tolist()
    if isinstance(values, list):
        return [answer(one) for one in values]
    return None if values == -np.inf else values


def checksums(model):
    """Of the nodes, without the bytes between fields, and the values of each tree."""
    sums = []
    for tree in getattr(model, "estimators_", []):
        state = tree.tree_.__getstate__()
        nodes = np.zeros(len(state["nodes"]), state["nodes"].dtype)
        for field in nodes.dtype.names:
            nodes[field] = state["nodes"][field]
        sums.append([zlib.crc32(nodes.tobytes()), zlib.crc32(state["values"].tobytes())])
    return sums


def main(directory):
    cases = []
    for name, model in models():
        file = f"{name}.joblib"
        joblib.dump(model, directory / file, compress=3 if len(cases) % 3 == 1 else 0)
        if len(cases) % 3 == 2:
            file = f"{name}.pkl"
            (directory / file).write_bytes(pickle.dumps(model, protocol=len(cases) % 6))
        answers = {method: answer(getattr(model, method)(X)) for method in METHODS if hasattr(model, method)}
        cases.append({"name": name, "file": file, "answers": answers, "trees": checksums(model)})
    for name, model, what in uncovered():
        joblib.dump(model, directory / f"{name}.joblib")
        cases.append({"name": name, "file": f"{name}.joblib", "uncovered": what})
    # What multi_class meant up to 1.7: the probabilities, from the decisions of the same model.
    three_way, two_way = LogisticRegression().fit(X, three), LogisticRegression().fit(X, two)
    decision, one = three_way.decision_function(X), two_way.decision_function(X)
    expit = 1 / (1 + np.exp(-decision))
    softmax = np.exp(np.column_stack([-one, one]))
    old = [
        ("old_ovr", aged(three_way, multi_class="ovr", _sklearn_version="1.2.0"), expit / expit.sum(axis=1, keepdims=True)),
        ("old_multinomial", aged(two_way, multi_class="multinomial"), softmax / softmax.sum(axis=1, keepdims=True)),
    ]
    for name, model, proba in old:
        joblib.dump(model, directory / f"{name}.joblib")
        cases.append({"name": name, "file": f"{name}.joblib", "answers": {"predict_proba": proba.tolist()}})
    (directory / "index.json").write_text(json.dumps({"x": X.tolist(), "cases": cases}))


main(Path(sys.argv[1]))
