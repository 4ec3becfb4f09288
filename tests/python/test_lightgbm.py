"""LightGBM: what its own predictor answers, bit for bit, from its text files, pickles and live objects."""

import copyreg
import gzip
import os
import pickle
import re
import subprocess
import sys

import joblib
import lightgbm
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import onecopy

RNG = np.random.default_rng(11)
N = 400
TINY = float(np.float32(1e-35))


def table(rows, rng):
    """Six features: two plain, one with many zeros, one with NaN, two of categories."""
    x = rng.normal(size=(rows, 6)) * [1, 1000, 1, 1e-3, 1, 1]
    x[:, 2] = np.where(rng.random(rows) < 0.4, 0, x[:, 2])
    x[rng.random(rows) < 0.2, 3] = np.nan
    x[:, 4] = rng.integers(0, 70, rows)
    x[:, 5] = rng.integers(0, 4, rows)
    return x


X = table(N, RNG)
SCORE = (
    X[:, 0]
    + X[:, 1] / 1000
    + np.where(X[:, 2] == 0, 1, X[:, 2])
    + np.isnan(X[:, 3])
    + np.sin(X[:, 4] * 7)
    + X[:, 5]
)
REAL = SCORE + RNG.normal(size=N) / 10
TWO = (SCORE > np.median(SCORE)).astype(int)
THREE = np.digitize(SCORE, np.quantile(SCORE, [0.3, 0.7]))
WORDS = np.array(["low", "middle", "höher"])[THREE]
GROUPS = [40] * 10
FRESH = table(150, RNG)
CATEGORIES = {"categorical_feature": [4, 5]}
SMALL = {
    "n_estimators": 9,
    "num_leaves": 9,
    "min_child_samples": 5,
    "verbose": -1,
    "n_jobs": 1,
    "random_state": 0,
}


def classifier(**options):
    return lightgbm.LGBMClassifier(**{**SMALL, **options})


def regressor(**options):
    return lightgbm.LGBMRegressor(**{**SMALL, **options})


def booster(y=TWO, rounds=9, fit=None, **params):
    params = {"num_leaves": 9, "min_data_in_leaf": 5, "verbose": -1, "num_threads": 1, "seed": 0, **params}
    return lightgbm.train(params, lightgbm.Dataset(X, y, **(fit or CATEGORIES)), rounds)


def own_loss(y, raw):
    return raw - y, np.ones_like(y)


def two_sided(raw, data):
    return raw - data.get_label(), np.ones_like(raw)


def stopped():
    data = lightgbm.Dataset(X, TWO, **CATEGORIES)
    params = {
        "objective": "binary",
        "num_leaves": 5,
        "learning_rate": 0.9,
        "verbose": -1,
        "num_threads": 1,
        "seed": 0,
    }
    seen = data.create_valid(FRESH, (FRESH[:, 0] + FRESH[:, 5] > 1).astype(int))
    stop = [lightgbm.early_stopping(3, verbose=False)]
    model = lightgbm.train(params, data, 60, [seen], callbacks=stop, keep_training_booster=True)
    assert 0 < model.best_iteration < model.num_trees()
    return model


def stopped_classifier():
    stop = [lightgbm.early_stopping(3, verbose=False)]
    labels = (FRESH[:, 0] + FRESH[:, 5] > 1).astype(int)
    return classifier(n_estimators=60).fit(X, TWO, eval_X=FRESH, eval_y=labels, callbacks=stop, **CATEGORIES)


FOREST = {"boosting_type": "rf", "subsample": 0.7, "subsample_freq": 1, "colsample_bytree": 0.8}
MODELS = {
    "binary": lambda: classifier().fit(X, TWO, **CATEGORIES),
    "binary, plain features": lambda: classifier().fit(X, TWO),
    "binary, one tree": lambda: classifier(n_estimators=1).fit(X, TWO),
    "binary, stumps": lambda: classifier(num_leaves=2).fit(X, TWO, **CATEGORIES),
    "binary, no split": lambda: classifier(min_child_samples=1000).fit(X, TWO),
    "binary of bools": lambda: classifier().fit(X, TWO.astype(bool)),
    "binary, another slope": lambda: classifier(sigmoid=0.7).fit(X, TWO),
    "binary, one class": lambda: classifier().fit(X, np.zeros(N, int)),
    "binary, unbalanced": lambda: classifier(is_unbalance=True).fit(X, TWO),
    "binary, zero as missing": lambda: classifier(zero_as_missing=True).fit(X, TWO, **CATEGORIES),
    "binary, missing unused": lambda: classifier(use_missing=False).fit(np.nan_to_num(X), TWO, **CATEGORIES),
    "binary, many categories": lambda: classifier(max_cat_to_onehot=1, min_data_per_group=5).fit(
        X, TWO, **CATEGORIES
    ),
    "binary, stopped early": stopped_classifier,
    "booster, stopped early": stopped,
    "multiclass": lambda: classifier().fit(X, WORDS, **CATEGORIES),
    "multiclass of floats": lambda: classifier().fit(X, THREE.astype(float)),
    "multiclass, zero as missing": lambda: classifier(zero_as_missing=True).fit(X, THREE),
    "one against all": lambda: classifier(objective="multiclassova", sigmoid=1.3).fit(X, THREE, **CATEGORIES),
    "cross entropy": lambda: classifier(objective="cross_entropy").fit(X, TWO),
    "own objective": lambda: classifier(objective=own_loss).fit(X, TWO),
    "dart": lambda: classifier(boosting_type="dart", drop_rate=0.5).fit(X, TWO, **CATEGORIES),
    "goss": lambda: classifier(data_sample_strategy="goss").fit(X, TWO),
    "forest": lambda: classifier(**FOREST).fit(X, TWO, **CATEGORIES),
    "forest of three classes": lambda: classifier(**FOREST).fit(X, WORDS),
    "forest regressor": lambda: regressor(**FOREST).fit(X, REAL, **CATEGORIES),
    "regression": lambda: regressor().fit(X, REAL, **CATEGORIES),
    "regression, extra trees": lambda: regressor(extra_trees=True).fit(X, REAL),
    "regression of roots": lambda: regressor(reg_sqrt=True).fit(X, REAL),
    "absolute": lambda: regressor(objective="l1").fit(X, REAL),
    "huber": lambda: regressor(objective="huber").fit(X, REAL),
    "fair": lambda: regressor(objective="fair").fit(X, REAL),
    "quantile": lambda: regressor(objective="quantile", alpha=0.2).fit(X, REAL),
    "percentage": lambda: regressor(objective="mape").fit(X, REAL),
    "poisson": lambda: regressor(objective="poisson").fit(X, np.abs(REAL)),
    "gamma": lambda: regressor(objective="gamma").fit(X, np.abs(REAL) + 0.1),
    "tweedie": lambda: regressor(objective="tweedie").fit(X, np.abs(REAL), **CATEGORIES),
    "cross entropy of rates": lambda: booster(objective="cross_entropy_lambda"),
    "ranker": lambda: lightgbm.LGBMRanker(**SMALL).fit(X, THREE, group=GROUPS, **CATEGORIES),
    "ranker, xendcg": lambda: lightgbm.LGBMRanker(objective="rank_xendcg", **SMALL).fit(
        X, THREE, group=GROUPS
    ),
    "booster, binary": lambda: booster(objective="binary"),
    "booster, multiclass": lambda: booster(THREE, objective="multiclass", num_class=3),
    "booster, one against all": lambda: booster(THREE, objective="multiclassova", num_class=3),
    "booster, own objective": lambda: booster(REAL, objective=two_sided),
    "booster, regression": lambda: booster(REAL, objective="regression"),
}


def as_float(x):
    with np.errstate(over="ignore"):
        return x.astype(np.float32)


def edges(model):
    """Rows at, beside and far from every threshold of the model, with what is missing, infinite, tiny or no category."""
    text = booster_of(model).dump_model()
    known = [{0.0} for _ in range(X.shape[1])]
    stack = [tree["tree_structure"] for tree in text["tree_info"]]
    while stack:
        node = stack.pop()
        if "split_feature" not in node:
            continue
        stack += [node["left_child"], node["right_child"]]
        if node["decision_type"] == "<=":
            known[node["split_feature"]].add(node["threshold"])
    special = [
        np.nan,
        np.inf,
        -np.inf,
        0.0,
        -0.0,
        1e-36,
        -1e-36,
        TINY,
        -TINY,
        np.nextafter(TINY, 1),
        -np.nextafter(TINY, 1),
        1e-35,
        5e-324,
        1e300,
        -1e300,
        0.5,
        -0.5,
        -1,
        -0.9,
        1.7,
        3.999,
        31,
        32,
        63,
        64,
        69,
        70,
        1e6,
        2**31 - 1,
        2**31,
        2**33,
        -(2**31),
        1e20,
    ]
    rows = []
    for feature, values in enumerate(known):
        values = np.array(sorted(values))
        values = np.r_[values, np.nextafter(values, np.inf), np.nextafter(values, -np.inf), special]
        base = FRESH[RNG.integers(0, len(FRESH), len(values))]
        base[:, feature] = values
        rows.append(base)
    mixed = RNG.choice(special, size=(60, X.shape[1]))
    return np.vstack([FRESH, *rows, mixed])


def booster_of(model):
    return model if isinstance(model, lightgbm.Booster) else model.booster_


def same(expected, got):
    assert expected.dtype.kind == got.dtype.kind or expected.dtype == object, (expected.dtype, got.dtype)
    assert expected.shape == got.shape
    if expected.dtype.kind == "f":
        assert expected.dtype == got.dtype
        np.testing.assert_array_equal(expected.view(np.int64), got.view(np.int64))
    else:
        np.testing.assert_array_equal(expected, got)


def check(model, opened, x):
    options = {"num_threads": 1} if isinstance(model, lightgbm.Booster) else {}
    same(model.predict(x, **options), opened.predict(x))
    leaves = model.predict(x, pred_leaf=True, **options)
    assert opened.apply(x).dtype == np.int32
    same(leaves, opened.apply(x))
    raw = model.predict(x, raw_score=True, **options)
    same(raw.reshape(len(x), -1), opened._native.run("raw_scores", x, 1))
    if "predict_proba" in opened.methods:
        same(model.predict_proba(x), opened.predict_proba(x))
        same(raw, opened.decision_function(x))


@pytest.fixture(scope="module", params=list(MODELS))
def pair(request, tmp_path_factory):
    model = MODELS[request.param]()
    folder = tmp_path_factory.mktemp("pair")
    onecopy.dump(model, folder / "model.onecopy")
    return model, onecopy.open(folder / "model.onecopy", threads=1)


def test_answers_are_lightgbms_bit_for_bit(pair):
    model, opened = pair
    assert opened.native, opened._native.uncovered
    rows = edges(model)
    for x in [rows, as_float(rows), np.asfortranarray(rows), rows[::-2], rows[:1], rows[:5]]:
        check(model, opened, x)


def test_a_text_file_gives_the_answers_of_its_booster(pair, tmp_path):
    model, _ = pair
    path = tmp_path / "model.txt"
    booster_of(model).save_model(path)
    read = lightgbm.Booster(model_file=path)
    opened = onecopy.open(onecopy.convert(path))
    assert opened.native, opened._native.uncovered
    assert opened.estimator == "Booster"
    check(read, opened, edges(model))


def test_classifiers_have_their_methods_and_classes(tmp_path):
    model = MODELS["multiclass"]()
    onecopy.dump(model, tmp_path / "model.onecopy")
    opened = onecopy.open(tmp_path / "model.onecopy")
    assert opened.methods == ("predict", "predict_proba", "decision_function", "apply")
    assert opened.classes_.tolist() == model.classes_.tolist() == ["höher", "low", "middle"]
    assert opened.n_features_in_ == 6


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("name", ["multiclass", "booster, binary"])
def test_pickles_of_every_protocol_are_read(name, protocol, tmp_path):
    model = MODELS[name]()
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(model, protocol))
    check(model, onecopy.open(onecopy.convert(path)), edges(model))


@pytest.mark.parametrize("compress", [0, 3, ("lz4", 1)])
def test_joblib_files_are_read(compress, tmp_path):
    model = MODELS["booster, stopped early"]()
    joblib.dump(model, tmp_path / "model.joblib", compress=compress)
    check(model, onecopy.open(onecopy.convert(tmp_path / "model.joblib")), edges(model))


def test_a_compressed_text_file_is_read(tmp_path):
    model = MODELS["booster, multiclass"]()
    path = tmp_path / "model.txt.gz"
    path.write_bytes(gzip.compress(model.model_to_string().encode()))
    check(model, onecopy.open(onecopy.convert(path)), FRESH)


def test_texts_with_other_line_ends_and_without_sizes_are_read(tmp_path):
    model = MODELS["booster, multiclass"]()
    text = re.sub("tree_sizes=.*\n", "", model.model_to_string())
    for name, edited in [("plain", text), ("dos", text.replace("\n", "\r\n"))]:
        path = tmp_path / f"{name}.txt"
        path.write_bytes(edited.encode())
        check(lightgbm.Booster(model_str=edited), onecopy.open(onecopy.convert(path)), FRESH)


@pytest.mark.parametrize(
    "version, dropped", [("v3", "nothing"), ("v2", "is_linear|leaf_weight|internal_weight")]
)
def test_texts_of_earlier_versions_are_read(version, dropped, tmp_path):
    text = MODELS["booster, multiclass"]().model_to_string().replace("version=v4", f"version={version}")
    text = re.sub(f"({dropped}|tree_sizes)=.*\n", "", text)
    (tmp_path / "model.txt").write_text(text)
    check(lightgbm.Booster(model_str=text), onecopy.open(onecopy.convert(tmp_path / "model.txt")), FRESH)


class OldBooster:
    """Pickled as LightGBM 3 pickles a `Booster`: the text is in `handle`."""

    def __init__(self, model):
        self.state = model.__getstate__()
        self.state["handle"] = self.state.pop("_handle")

    def __reduce__(self):
        return copyreg._reconstructor, (lightgbm.Booster, object, None), self.state


def test_boosters_of_lightgbm_3_are_read(tmp_path):
    model = MODELS["booster, stopped early"]()
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(OldBooster(model)))
    check(model, onecopy.open(onecopy.convert(tmp_path / "model.pkl")), FRESH)


TWO_WAYS = """tree
version=v4
num_class=1
num_tree_per_iteration=1
label_index=0
max_feature_idx=1
objective=OBJECTIVE
feature_names=a b
feature_infos=[0:1] [0:1]

Tree=0
num_leaves=3
num_cat=0
split_feature=0 1
split_gain=1 1
threshold=THRESHOLDS
decision_type=DECISIONS
left_child=1 -1
right_child=-3 -2
leaf_value=-0.3 0.7 1.9
leaf_weight=1 1 1
leaf_count=1 1 1
internal_value=0 0
internal_weight=0 0
internal_count=3 2
is_linear=0
shrinkage=1


end of trees

pandas_categorical:null
"""


def written(folder, objective="regression", thresholds="0.5 0.5", decisions="2 2"):
    text = (
        TWO_WAYS.replace("OBJECTIVE", objective)
        .replace("THRESHOLDS", thresholds)
        .replace("DECISIONS", decisions)
    )
    path = folder / "written.txt"
    path.write_text(text)
    return lightgbm.Booster(model_str=text), onecopy.open(
        onecopy.convert(path, folder / "written.onecopy"), threads=1
    )


@pytest.mark.parametrize("decisions", ["0 2", "2 0", "4 6", "6 4", "8 10", "10 8", "0 6", "4 10", "10 4"])
@pytest.mark.parametrize(
    "threshold",
    [
        "0",
        "-0",
        "1e-36",
        "-1e-36",
        "1e-35",
        "-1e-35",
        "1.0000000180025095e-35",
        "-1.0000000180025095e-35",
        "2",
    ],
)
def test_zeros_and_what_is_next_to_them_go_as_in_lightgbm(decisions, threshold, tmp_path):
    values = [
        0.0,
        -0.0,
        1e-36,
        -1e-36,
        TINY,
        -TINY,
        np.nextafter(TINY, 1),
        -np.nextafter(TINY, 1),
        1e-35,
        -1e-35,
        5e-324,
        1,
        2,
        3,
        -1,
        np.nan,
        np.inf,
        -np.inf,
    ]
    rows = np.array(np.meshgrid(values, values)).reshape(2, -1).T.copy()
    booster, opened = written(tmp_path, thresholds=f"{threshold} {threshold}", decisions=decisions)
    assert opened.native
    for x in [rows, as_float(rows)]:
        same(booster.predict(x, num_threads=1), opened.predict(x))


@pytest.mark.parametrize(
    "objective",
    [
        "regression",
        "regression sqrt",
        "regression_l1 sqrt",
        "huber sqrt",
        "fair sqrt",
        "quantile sqrt",
        "mape sqrt",
        "poisson",
        "poisson sqrt",
        "gamma",
        "tweedie",
        "binary sigmoid:1",
        "binary sigmoid:0.123457",
        "binary sigmoid:1e-05",
        "cross_entropy",
        "cross_entropy_lambda",
        "lambdarank",
        "rank_xendcg",
        "none",
        "custom",
    ],
)
def test_every_objective_has_its_own_output(objective, tmp_path):
    booster, opened = written(tmp_path, objective)
    assert opened.native, opened._native.uncovered
    x = np.array([[0, 0], [0, 1], [1, 0]], float)
    same(booster.predict(x, num_threads=1), opened.predict(x))


def test_zeros_that_are_missing_only_sometimes_are_refused(tmp_path):
    text = TWO_WAYS.replace("split_feature=0 1", "split_feature=0 0")
    text = (
        text.replace("OBJECTIVE", "regression").replace("THRESHOLDS", "0.5 0.6").replace("DECISIONS", "4 8")
    )
    (tmp_path / "model.txt").write_text(text)
    opened = onecopy.open(onecopy.convert(tmp_path / "model.txt"))
    with pytest.raises(onecopy.UnsupportedModelError, match="feature 0 has splits that take 0 for missing"):
        opened.predict([[0, 0]])


def test_linear_trees_are_refused_and_kept(tmp_path):
    model = regressor(linear_tree=True).fit(np.nan_to_num(X), REAL)
    onecopy.dump(model, tmp_path / "model.onecopy")
    opened = onecopy.open(tmp_path / "model.onecopy")
    with pytest.raises(onecopy.UnsupportedModelError, match="tree 0: it is a linear tree"):
        opened.predict(X)


def test_stopping_while_predicting_is_refused(tmp_path):
    onecopy.dump(classifier(pred_early_stop=True).fit(X, TWO), tmp_path / "model.onecopy")
    with pytest.raises(onecopy.UnsupportedModelError, match="pred_early_stop"):
        onecopy.open(tmp_path / "model.onecopy").predict(X)


def test_what_was_never_fitted_is_refused(tmp_path):
    onecopy.dump(classifier(), tmp_path / "model.onecopy")
    with pytest.raises(onecopy.UnsupportedModelError, match="it is not fitted"):
        onecopy.open(tmp_path / "model.onecopy").predict(X)


def test_numbers_of_any_type_become_what_lightgbm_makes_of_them(tmp_path):
    y = REAL + X[:, 4]
    big = np.column_stack([X[:, 4] * 1_000_003 + 2**24, X[:, 5] * 7, np.arange(N) + 2**25])
    model = regressor().fit(big, y)
    onecopy.dump(model, tmp_path / "model.onecopy")
    opened = onecopy.open(tmp_path / "model.onecopy")
    ints = big.astype(np.int64)
    inputs = {
        "int64": ints,
        "int32": ints.astype(np.int32),
        "list": ints.tolist(),
        "float16": (big % 100).astype(np.float16),
        "bool": big % 2 > 0,
        "frame of int64": pd.DataFrame(ints),
        "frame of float32": pd.DataFrame(big.astype(np.float32)),
        "frame of small ints": pd.DataFrame((ints % 100).astype(np.int8)),
        "frame of many types": pd.DataFrame(
            {"a": ints[:, 0], "b": big[:, 1].astype(np.float32), "c": big[:, 2] > 2**25}
        ),
        "frame of nullable ints": pd.DataFrame(ints).astype("Int64"),
    }
    for name, x in inputs.items():
        np.testing.assert_array_equal(model.predict(x), opened.predict(x), err_msg=name)


def test_sparse_rows_are_read(tmp_path):
    model = MODELS["binary"]()
    onecopy.dump(model, tmp_path / "model.onecopy")
    x = scipy.sparse.csr_matrix(np.nan_to_num(FRESH))
    same(model.predict_proba(x), onecopy.open(tmp_path / "model.onecopy").predict_proba(x))


def test_columns_of_pandas_categories_are_refused(tmp_path):
    frame = pd.DataFrame({"a": X[:, 0], "b": pd.Categorical(X[:, 5].astype(int))})
    model = classifier().fit(frame, TWO)
    onecopy.dump(model, tmp_path / "model.onecopy")
    opened = onecopy.open(tmp_path / "model.onecopy")
    with pytest.raises(ValueError, match=r"columns of dtype category \(b\)"):
        opened.predict(frame)
    codes = frame.assign(b=frame.b.cat.codes)
    same(model.predict_proba(frame), opened.predict_proba(codes))


@pytest.mark.parametrize("column", [["1", "2"], [1, "2"]])
def test_columns_that_are_no_numbers_are_refused_as_by_lightgbm(column, tmp_path):
    model = regressor(min_child_samples=1).fit([[0, 0], [1, 1]], [0, 1])
    onecopy.dump(model, tmp_path / "model.onecopy")
    frame = pd.DataFrame({"a": [0.5, 1.5], "b": column})
    for predict in [model.predict, onecopy.open(tmp_path / "model.onecopy").predict]:
        with pytest.raises(ValueError, match="Fields with bad pandas dtypes: b"):
            predict(frame)


def test_the_number_of_columns_is_checked(tmp_path):
    onecopy.dump(MODELS["binary"](), tmp_path / "model.onecopy")
    with pytest.raises(
        ValueError, match="X has 5 features, but LGBMClassifier is expecting 6 features as input"
    ):
        onecopy.open(tmp_path / "model.onecopy").predict(X[:, :5])


def test_a_pipeline_ends_in_lightgbm(tmp_path):
    x = np.nan_to_num(X)
    model = make_pipeline(StandardScaler(), classifier()).fit(x, WORDS)
    onecopy.dump(model, tmp_path / "model.onecopy")
    opened = onecopy.open(tmp_path / "model.onecopy")
    for rows in [x, as_float(x)]:
        same(model.predict_proba(rows), opened.predict_proba(rows))
        np.testing.assert_array_equal(model.predict(rows), opened.predict(rows))


def test_an_opened_model_needs_no_lightgbm(tmp_path):
    model = MODELS["binary"]()
    onecopy.dump(model, tmp_path / "model.onecopy")
    np.save(tmp_path / "x.npy", FRESH)
    program = (
        "import sys, numpy as np, onecopy\n"
        "model = onecopy.open('model.onecopy')\n"
        "np.save('y.npy', model.predict_proba(np.load('x.npy')))\n"
        "assert not {'lightgbm', 'sklearn', 'scipy'} & set(sys.modules)\n"
    )
    package = os.path.dirname(os.path.dirname(onecopy.__file__))
    run = {"cwd": tmp_path, "env": {**os.environ, "PYTHONPATH": package}, "check": True, "timeout": 60}
    subprocess.run([sys.executable, "-c", program], **run)
    same(model.predict_proba(FRESH), np.load(tmp_path / "y.npy"))


LIGHTGBM = ["lightgbm.basic.Booster", "lightgbm.sklearn.LGBMClassifier"]


def test_loading_asks_for_trust_and_gives_the_estimator(tmp_path):
    model = MODELS["multiclass"]()
    onecopy.dump(model, tmp_path / "model.onecopy")
    with pytest.raises(onecopy.UntrustedTypesError) as refused:
        onecopy.load(tmp_path / "model.onecopy")
    assert set(LIGHTGBM) <= set(refused.value.types)
    loaded = onecopy.load(tmp_path / "model.onecopy", trusted=refused.value.types)
    same(model.predict_proba(FRESH), loaded.predict_proba(FRESH))
    assert loaded.booster_.model_to_string() == model.booster_.model_to_string()


def test_loading_a_text_file_gives_the_booster_that_lightgbm_makes_of_it(tmp_path):
    frame = pd.DataFrame({"größe": X[:, 0], "b": pd.Categorical(X[:, 5].astype(int))})
    path = tmp_path / "model.txt"
    classifier().fit(frame, TWO).booster_.save_model(path)
    made = onecopy.convert(path)
    with pytest.raises(onecopy.UntrustedTypesError):
        onecopy.load(made)
    loaded, read = onecopy.load(made, trusted=["lightgbm.basic.Booster"]), lightgbm.Booster(model_file=path)
    assert loaded.pandas_categorical == read.pandas_categorical == [[0, 1, 2, 3]]
    assert loaded.params == read.params
    assert loaded.feature_name() == ["größe", "b"]
    same(read.predict(frame, num_threads=1), loaded.predict(frame, num_threads=1))


@pytest.mark.parametrize(
    "edit",
    [
        ("num_leaves=3", "num_leaves=2147483647"),
        ("num_leaves=3", "num_leaves=0"),
        ("left_child=1 -1", "left_child=0 -1"),
        ("left_child=1 -1", "left_child=7 -1"),
        ("right_child=-3 -2", "right_child=-3 -3"),
        ("split_feature=0 1", "split_feature=0 2"),
        ("max_feature_idx=1", "max_feature_idx=4294967295"),
        ("max_feature_idx=1", "max_feature_idx=2"),
        ("num_class=1", "num_class=4294967295"),
        ("leaf_value=-0.3 0.7 1.9", "leaf_value=-0.3 0.7"),
        ("leaf_value=-0.3 0.7 1.9", "leaf_value=-0.3 0.7 x"),
        ("DECISIONS", "1 2"),
        ("DECISIONS", "14 2"),
        ("version=v4", "version=v9"),
        ("feature_infos", "tree_sizes=99999999999\nfeature_infos"),
        ("Tree=0", "Treetop=0"),
    ],
)
def test_damaged_texts_are_kept_but_not_predicted_from(edit, tmp_path):
    text = (
        TWO_WAYS.replace(*edit)
        .replace("OBJECTIVE", "regression")
        .replace("THRESHOLDS", "1 1")
        .replace("DECISIONS", "2 2")
    )
    (tmp_path / "model.txt").write_text(text)
    opened = onecopy.open(onecopy.convert(tmp_path / "model.txt"))
    with pytest.raises(onecopy.UnsupportedModelError):
        opened.predict([[0.0, 0.0]])


def test_bytes_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "model.txt").write_bytes(b"tree\nversion=v4\n\xff")
    with pytest.raises(onecopy.FormatError, match="not UTF-8 at byte 16"):
        onecopy.convert(tmp_path / "model.txt")


def test_inspection_says_what_is_predicted_natively(tmp_path):
    (tmp_path / "model.txt").write_text(MODELS["booster, binary"]().model_to_string())
    opened = onecopy.open(onecopy.convert(tmp_path / "model.txt"))
    assert opened.methods == ("predict", "apply")
    assert opened.untrusted_types() == ["lightgbm.basic.Booster"]
