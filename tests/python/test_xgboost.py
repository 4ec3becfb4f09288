"""XGBoost's models: the engine's answers are those of XGBoost itself, bit for bit."""

import gzip
import io
import json
import os
import pickle
import subprocess
import sys

import joblib
import numpy as np
import pytest

import onecopy

xgboost = pytest.importorskip("xgboost")

TRUSTED = [
    "xgboost.core.Booster",
    "xgboost.sklearn.XGBClassifier",
    "xgboost.sklearn.XGBRegressor",
    "builtins.bytearray",
]


def data(n=400, columns=6, seed=0):
    """Values on a grid, so that thresholds are often equal to values, and some that are missing."""
    rng = np.random.default_rng(seed)
    x = np.round(rng.normal(size=(n, columns)), 1).astype(np.float32)
    x[rng.random(x.shape) < 0.1] = np.nan
    return x


def fresh(columns=6, seed=9):
    """What the model has not seen: zeros of both signs, subnormals, extremes, float64 that float32 rounds."""
    rng = np.random.default_rng(seed)
    x = np.concatenate([data(300, columns, seed), rng.normal(size=(300, columns)).astype(np.float32) * 3])
    odd = np.array([0.0, -0.0, 1e-45, -1e-45, 1.1754942e-38, 3.4028235e38, -3.4028235e38, np.nan], np.float32)
    x[:64] = rng.choice(odd, size=(64, columns))
    return x


def thresholds(booster):
    """The values that the model splits at, and their neighbours."""
    found = set()
    for tree in trees(booster):
        split = np.array(tree["left_children"]) != -1
        found.update(np.array(tree["split_conditions"], np.float32)[split].tolist())
    at = np.array(sorted(found), np.float32)
    return np.concatenate([at, np.nextafter(at, np.float32(-np.inf)), np.nextafter(at, np.float32(np.inf))])


def trees(booster):
    model = json.loads(booster.save_raw("json"))["learner"]["gradient_booster"]
    return model.get("gbtree", model)["model"]["trees"]


def rows(booster, columns=6):
    x = fresh(columns)
    at = thresholds(booster)
    if len(at):
        rng = np.random.default_rng(3)
        x = np.concatenate([x, rng.choice(at, size=(200, columns))])
    return x


def same(expected, found):
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    assert np.array_equal(expected, found, equal_nan=True), np.flatnonzero(expected.ravel() != found.ravel())[:5]


def raw_scores(model, x):
    return model._native.run("raw_scores", x, None)


def agrees(estimator, path, columns=6, x=None):
    """Dumps the estimator; every method gives what XGBoost gives, from float32 and float64, in one row or many."""
    onecopy.dump(estimator, path)
    model = onecopy.open(path)
    assert model.native, model._native.uncovered
    x = rows(estimator.get_booster(), columns) if x is None else x
    for batch in (x, np.asfortranarray(x), x.astype(np.float64) * (1 + 1e-9), x[:1], x[7:24]):
        same(estimator.predict(batch), model.predict(batch))
        same(estimator.apply(batch), model.apply(batch))
        margin = estimator.predict(batch, output_margin=True)
        same(margin.reshape(len(batch), -1), raw_scores(model, batch))
        if getattr(estimator, "objective", "") == "multi:softmax":
            # SciPy's softmax goes through NumPy's exp, which is not everywhere the one of the C library.
            np.testing.assert_allclose(model.predict_proba(batch), estimator.predict_proba(batch), rtol=1e-6)
        elif "predict_proba" in model.methods:
            same(estimator.predict_proba(batch), model.predict_proba(batch))
    booster_path = path + ".booster"
    onecopy.dump(estimator.get_booster(), booster_path)
    booster_agrees(estimator.get_booster(), booster_path, x)
    return model


def booster_agrees(booster, path, x):
    model = onecopy.open(path)
    assert model.native, model._native.uncovered
    matrix = xgboost.DMatrix(x, nthread=1, feature_types=booster.feature_types)
    same(booster.predict(matrix), model.predict(x))
    same(booster.predict(matrix, pred_leaf=True), model.apply(x))
    margin = booster.predict(matrix, output_margin=True)
    same(margin.reshape(len(x), -1), raw_scores(model, x))
    return model


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "model.onecopy")


REGRESSION = {
    "reg:squarederror": lambda y: y,
    "reg:squaredlogerror": np.abs,
    "reg:pseudohubererror": lambda y: y,
    "reg:absoluteerror": lambda y: y,
    "reg:logistic": lambda y: 1 / (1 + np.exp(-y)),
    "reg:gamma": lambda y: np.abs(y) + 0.1,
    "reg:tweedie": np.abs,
    "count:poisson": lambda y: np.floor(np.abs(y)),
    "survival:cox": lambda y: np.abs(y) + 0.1,
    "binary:logistic": lambda y: y > 0,
    "binary:logitraw": lambda y: y > 0,
    "binary:hinge": lambda y: y > 0,
}


@pytest.mark.parametrize("objective", REGRESSION)
@pytest.mark.parametrize("base_score", [None, 0.37])
def test_every_objective_gives_the_same_bits(objective, base_score, path):
    x = data()
    y = REGRESSION[objective](np.nan_to_num(x[:, 0] * 2 - x[:, 1] + 0.3))
    model = xgboost.XGBRegressor(
        n_estimators=25, max_depth=4, objective=objective, base_score=base_score, n_jobs=1
    ).fit(x, y)
    agrees(model, path)


def test_quantiles_and_several_targets_have_a_column_each(path):
    x = data()
    y = np.nan_to_num(np.stack([x[:, 0], x[:, 1] - x[:, 2], x[:, 3]], axis=1))
    agrees(xgboost.XGBRegressor(n_estimators=9, max_depth=3, n_jobs=1).fit(x, y), path)
    quantiles = xgboost.XGBRegressor(
        n_estimators=9, max_depth=3, n_jobs=1, objective="reg:quantileerror", quantile_alpha=[0.1, 0.5, 0.9]
    )
    agrees(quantiles.fit(x, y[:, 0]), path)


@pytest.mark.parametrize("n_classes", [1, 2, 3, 7])
@pytest.mark.parametrize("booster", ["gbtree", "dart"])
@pytest.mark.parametrize("parallel", [1, 3])
def test_classifiers_give_the_same_labels_and_probabilities(n_classes, booster, parallel, path):
    x = data()
    y = np.digitize(np.nan_to_num(x[:, 0] + x[:, 1]), np.linspace(-1, 1, n_classes + 1)[1:-1])
    model = xgboost.XGBClassifier(
        n_estimators=7,
        max_depth=3,
        booster=booster,
        rate_drop=0.4 if booster == "dart" else None,
        num_parallel_tree=parallel,
        subsample=0.8,
        n_jobs=1,
    )
    opened = agrees(model.fit(x, y), path)
    assert opened.methods == ("predict", "predict_proba", "apply")


@pytest.mark.parametrize("objective", ["multi:softmax", "multi:softprob", "binary:hinge", "binary:logitraw"])
def test_a_classifier_may_have_another_objective(objective, path):
    x = data()
    y = np.nan_to_num(x[:, 0] > 0).astype(int) + (objective.startswith("multi") * (np.nan_to_num(x[:, 1]) > 0))
    model = agrees(xgboost.XGBClassifier(n_estimators=5, max_depth=3, objective=objective, n_jobs=1).fit(x, y), path)
    assert "predict_proba" in model.methods


def test_dart_weights_are_applied_as_each_predictor_applies_them(path):
    x = data()
    y = np.nan_to_num(x[:, 0] * 3 + 5)
    model = xgboost.XGBRegressor(n_estimators=20, max_depth=3, booster="dart", rate_drop=0.5, n_jobs=1).fit(x, y)
    unequal = model.predict(x) != model.get_booster().predict(xgboost.DMatrix(x))
    assert unequal.any(), "the two predictors of XGBoost no longer differ"
    agrees(model, path)


def test_forests_rankers_and_single_trees_are_covered(path):
    x = data()
    y = np.nan_to_num(x[:, 0])
    agrees(xgboost.XGBRFRegressor(n_estimators=9, max_depth=4, n_jobs=1).fit(x, y), path)
    agrees(xgboost.XGBRFClassifier(n_estimators=9, max_depth=4, n_jobs=1).fit(x, np.digitize(y, [-0.5, 0.5])), path)
    agrees(xgboost.XGBRegressor(n_estimators=1, max_depth=3, n_jobs=1).fit(x, y), path)
    agrees(xgboost.XGBRegressor(n_estimators=3, max_depth=2, n_jobs=1).fit(x, np.full(len(x), 2.0)), path)
    agrees(xgboost.XGBRegressor(n_estimators=40, max_depth=12, grow_policy="lossguide", n_jobs=1).fit(x, y), path)
    agrees(xgboost.XGBRegressor(n_estimators=5, max_depth=5, gamma=2.0, tree_method="exact", n_jobs=1).fit(x, y), path)
    for objective in ("rank:ndcg", "rank:pairwise", "rank:map"):
        ranker = xgboost.XGBRanker(n_estimators=9, max_depth=3, objective=objective, n_jobs=1)
        agrees(ranker.fit(x, (y > 0).astype(int), qid=np.repeat(np.arange(40), 10)), path)


def test_an_estimator_that_stopped_early_predicts_to_its_best_iteration(path):
    x, rng = data(), np.random.default_rng(5)
    y = (np.nan_to_num(x[:, 0]) + rng.normal(size=len(x)) > 0).astype(int) + (np.nan_to_num(x[:, 1]) > 1)
    model = xgboost.XGBClassifier(
        n_estimators=200, max_depth=3, early_stopping_rounds=5, num_parallel_tree=2, n_jobs=1, learning_rate=0.5
    )
    model.fit(x[:300], y[:300], eval_set=[(x[300:], y[300:])], verbose=False)
    assert model.best_iteration + 1 < model.get_booster().num_boosted_rounds()
    agrees(model, path)


@pytest.mark.parametrize("missing", [-1.0, 0, 0.1])
def test_the_missing_value_of_an_estimator_is_missing(missing, path):
    x = data()
    x[np.isnan(x)] = missing
    y = np.nan_to_num(x[:, 0])
    agrees(xgboost.XGBRegressor(n_estimators=9, max_depth=4, missing=missing, n_jobs=1).fit(x, y), path)


def test_infinity_is_refused_where_xgboost_refuses_it(path):
    x = data()
    model = xgboost.XGBRegressor(n_estimators=9, max_depth=4, n_jobs=1).fit(x, np.nan_to_num(x[:, 0]))
    opened = agrees(model, path)
    infinite = fresh()
    infinite[::3, 0], infinite[1::3, 1] = np.inf, -np.inf
    same(model.predict(infinite), opened.predict(infinite))
    with pytest.raises(xgboost.core.XGBoostError, match="inf"):
        model.apply(infinite)
    with pytest.raises(ValueError, match="infinity"):
        opened.apply(infinite)
    onecopy.dump(model.get_booster(), path)
    with pytest.raises(ValueError, match="infinity"):
        onecopy.open(path).predict(infinite)


@pytest.mark.parametrize("max_cat_to_onehot", [1, 100])
def test_splits_by_category_go_where_xgboost_goes(max_cat_to_onehot, path):
    rng = np.random.default_rng(1)
    x = np.concatenate([rng.integers(0, 70, size=(600, 2)), rng.normal(size=(600, 1))], axis=1).astype(np.float32)
    y = x[:, 0] % 3 + (x[:, 1] % 5) / 2 + x[:, 2]
    x[rng.random(x.shape) < 0.05] = np.nan
    model = xgboost.XGBRegressor(
        n_estimators=9,
        max_depth=5,
        feature_types=["c", "c", "q"],
        enable_categorical=True,
        max_cat_to_onehot=max_cat_to_onehot,
        n_jobs=1,
    )
    model.fit(x, y)
    strange = x[:200].copy()
    odd = np.array([-1, -0.5, -0.0, 3.7, 69, 70, 95, 96, 1000, 2**24 - 1, 2**24, 1e9, 3e38, np.nan], np.float32)
    strange[:, :2] = rng.choice(odd, size=(200, 2))
    agrees(model, path, x=np.concatenate([x, strange]))


def test_a_table_with_categories_is_refused_and_its_codes_are_taken(path):
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(1)
    table = pandas.DataFrame({"a": pandas.Categorical(rng.choice(list("abcde"), 300)), "b": rng.normal(size=300)})
    y = table["a"].cat.codes * 2.0 + table["b"]
    model = xgboost.XGBRegressor(n_estimators=9, max_depth=3, enable_categorical=True, n_jobs=1).fit(table, y)
    onecopy.dump(model, path)
    opened = onecopy.open(path)
    with pytest.raises(TypeError, match="categories.*column `a`"):
        opened.predict(table)
    codes = np.stack([table["a"].cat.codes, table["b"]], axis=1).astype(np.float32)
    same(model.predict(table), opened.predict(codes))


def test_columns_must_have_the_names_of_training_in_their_order(path, tmp_path):
    pandas = pytest.importorskip("pandas")
    x = pandas.DataFrame(np.nan_to_num(data(columns=3)), columns=["a", "b", "\u00e9"])
    model = xgboost.XGBRegressor(n_estimators=3, max_depth=2, n_jobs=1).fit(x, x["a"])
    source = str(tmp_path / "model.ubj")
    model.save_model(source)
    onecopy.dump(model, path)
    onecopy.convert(source, path + ".converted")
    for opened in (onecopy.open(path), onecopy.open(path + ".converted")):
        assert list(opened.feature_names_in_) == list(x.columns)
        same(model.predict(x), opened.predict(x))
        same(model.predict(x), opened.predict(x.to_numpy()))
        with pytest.raises(ValueError, match="same order"):
            opened.predict(x[["b", "a", "\u00e9"]])


def fitted(seed=0):
    x = data(seed=seed)
    return xgboost.XGBClassifier(n_estimators=6, max_depth=3, n_jobs=1).fit(x, np.nan_to_num(x[:, 0]) > 0)


@pytest.mark.parametrize("suffix", ["json", "ubj"])
@pytest.mark.parametrize("compressed", [False, True])
def test_model_files_are_converted_to_the_booster_that_they_hold(suffix, compressed, tmp_path):
    model = fitted()
    source, path = str(tmp_path / f"model.{suffix}"), str(tmp_path / "model.onecopy")
    model.save_model(source)
    plain = source
    if compressed:
        source += ".gz"
        with open(plain, "rb") as file, gzip.open(source, "wb") as packed:
            packed.write(file.read())
    onecopy.convert(source, path)
    booster_agrees(model.get_booster(), path, rows(model.get_booster()))
    opened = onecopy.open(path)
    assert opened.untrusted_types() == ["xgboost.core.Booster"]
    loaded = onecopy.load(path, trusted=["xgboost.core.Booster"])
    assert type(loaded) is xgboost.Booster
    assert loaded.save_raw("json") == xgboost.Booster(model_file=plain).save_raw("json")


def test_indented_json_is_a_model_file_too(tmp_path):
    model = fitted()
    source, path = tmp_path / "model.json", str(tmp_path / "model.onecopy")
    source.write_text(json.dumps(json.loads(model.get_booster().save_raw("json")), indent=2, sort_keys=False))
    onecopy.convert(source, path)
    booster_agrees(model.get_booster(), path, rows(model.get_booster()))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5, "joblib", "joblib zlib"])
def test_pickles_that_embed_a_booster_are_converted(protocol, tmp_path):
    model = fitted()
    source, path = str(tmp_path / "model.pkl"), str(tmp_path / "model.onecopy")
    if isinstance(protocol, int):
        with open(source, "wb") as file:
            pickle.dump(model, file, protocol=protocol)
    else:
        joblib.dump(model, source, compress=3 if "zlib" in protocol else 0)
    onecopy.convert(source, path)
    opened = onecopy.open(path)
    x = rows(model.get_booster())
    same(model.predict(x), opened.predict(x))
    same(model.predict_proba(x), opened.predict_proba(x))
    trusted = opened.untrusted_types()
    assert {"xgboost.core.Booster", "xgboost.sklearn.XGBClassifier"} <= set(trusted) <= set(TRUSTED)
    loaded = onecopy.load(path, trusted=trusted)
    same(model.predict_proba(x), loaded.predict_proba(x))


def test_a_pipeline_may_end_in_xgboost(path):
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x = np.nan_to_num(data())
    model = make_pipeline(StandardScaler(), xgboost.XGBClassifier(n_estimators=6, max_depth=3, n_jobs=1))
    model.fit(x, x[:, 0] > 0)
    onecopy.dump(model, path)
    opened = onecopy.open(path)
    assert opened.native, opened._native.uncovered
    same(model.predict_proba(x), opened.predict_proba(x))
    same(model.predict(x), opened.predict(x))


def test_predicting_imports_neither_xgboost_nor_scikit_learn(path, tmp_path):
    model = fitted()
    onecopy.dump(model, path)
    np.save(tmp_path / "x.npy", fresh())
    code = (
        "import sys, numpy, onecopy; x = numpy.load(sys.argv[2]);"
        "numpy.save(sys.argv[3], onecopy.open(sys.argv[1]).predict_proba(x));"
        "assert not {'xgboost', 'sklearn', 'scipy'} & set(sys.modules)"
    )
    out = str(tmp_path / "p.npy")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code, path, str(tmp_path / "x.npy"), out], check=True, env=environment)
    same(model.predict_proba(fresh()), np.load(out))


def refused(model, path):
    onecopy.dump(model, path)
    opened = onecopy.open(path)
    assert not opened.native
    with pytest.raises(onecopy.UnsupportedModelError) as error:
        opened.predict(fresh())
    return str(error.value)


def test_what_is_not_covered_is_refused_by_name(path):
    x = np.nan_to_num(data())
    y = np.stack([x[:, 0], x[:, 1]], axis=1)
    linear = xgboost.XGBRegressor(n_estimators=3, booster="gblinear", n_jobs=1).fit(x, y[:, 0])
    assert "gblinear" in refused(linear, path)
    vectors = xgboost.XGBRegressor(
        n_estimators=3, multi_strategy="multi_output_tree", tree_method="hist", n_jobs=1
    ).fit(x, y)
    assert "multi_output_tree" in refused(vectors, path)
    labels = xgboost.XGBClassifier(n_estimators=3, n_jobs=1).fit(x, y > 0)
    assert "several labels per row" in refused(labels, path)
    assert "not fitted" in refused(xgboost.XGBRegressor(), path)
    infinite = xgboost.XGBRegressor(n_estimators=3, missing=np.inf, n_jobs=1).fit(x, y[:, 0])
    assert "`missing`" in refused(infinite, path)


def changed(path, tmp_path, change):
    """A model file whose JSON someone edited."""
    saved = json.loads(fitted().get_booster().save_raw("json"))
    change(saved["learner"])
    source = tmp_path / "changed.json"
    source.write_text(json.dumps(saved))
    onecopy.convert(source, path)
    opened = onecopy.open(path)
    assert not opened.native
    return opened._native.uncovered[1]


def tree_of(learner):
    return learner["gradient_booster"]["model"]["trees"][1]


def test_damaged_models_are_refused_with_the_reason(path, tmp_path):
    def child(learner, value):
        tree_of(learner)["left_children"][0] = value

    def put(key, value):
        return lambda learner: tree_of(learner).__setitem__(key, value)

    assert "tree 1: node 0 has the child 999" in changed(path, tmp_path, lambda learner: child(learner, 999))
    assert "tree 1: node 0 has two parents" in changed(path, tmp_path, lambda learner: child(learner, 0))
    assert "tree 1: node 0 has the child -2" in changed(path, tmp_path, lambda learner: child(learner, -2))
    assert "not of one length" in changed(path, tmp_path, put("split_conditions", [1.0]))
    assert "feature" in changed(path, tmp_path, lambda learner: tree_of(learner)["split_indices"].__setitem__(0, 6))
    assert "feature -1" in changed(path, tmp_path, lambda learner: tree_of(learner)["split_indices"].__setitem__(0, -1))
    assert "one segment" in changed(path, tmp_path, put("categories_nodes", [0]))

    def categories(learner, category):
        tree = tree_of(learner)
        tree["split_type"][0] = 1
        tree.update(categories=[category], categories_nodes=[0], categories_segments=[0], categories_sizes=[1])

    assert "the category -1" in changed(path, tmp_path, lambda learner: categories(learner, -1))
    assert "the category 16777216" in changed(path, tmp_path, lambda learner: categories(learner, 1 << 24))

    def objective(learner):
        learner["objective"]["name"] = "reg:imagined"

    assert "`reg:imagined` is not covered" in changed(path, tmp_path, objective)

    def order(learner):
        learner["gradient_booster"]["model"]["tree_info"][1] = 1

    assert "take turns" in changed(path, tmp_path, order)
    assert "base_score" in changed(
        path, tmp_path, lambda learner: learner["learner_model_param"].update(base_score="[]")
    )
    assert "missing field" in changed(path, tmp_path, lambda learner: learner.pop("objective"))


def test_a_booster_cut_short_is_refused(path, tmp_path):
    model = fitted()
    raw = bytes(model.get_booster().save_raw("ubj"))
    for end in (40, len(raw) // 2, len(raw) - 1):
        source = tmp_path / "short.ubj"
        source.write_bytes(raw[:end])
        onecopy.convert(source, path)
        opened = onecopy.open(path)
        assert not opened.native
        assert "is not UBJSON as XGBoost writes it" in opened._native.uncovered[1]


def test_the_same_model_gives_the_same_file(tmp_path):
    model = fitted()
    first, second = io.BytesIO(), io.BytesIO()
    for index, file in enumerate((first, second)):
        path = str(tmp_path / f"{index}.onecopy")
        onecopy.dump(model, path)
        with open(path, "rb") as written:
            file.write(written.read())
    assert first.getvalue() == second.getvalue()
