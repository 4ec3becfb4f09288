"""Committees of estimators, and what stands before an ensemble: the bits of scikit-learn, through `open` and `load`."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import make_classification
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingRegressor,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import SVC, SVR
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

import onecopy
from own_math import SAME_EXP, SAME_LOG

RANDOM = np.random.default_rng(5)
X, Y = make_classification(260, 5, n_informative=4, n_redundant=1, n_classes=3, random_state=2)
X = X.astype(np.float64)
TWO = (Y > 0).astype(int)
T = X[:, 0] * 2 + np.abs(X[:, 1]) + RANDOM.normal(size=len(X))
WORDS = np.array(["low", "middle", "höher"])[Y]
FRESH = np.concatenate([RANDOM.normal(size=(1000, 5)) * 2, X[:20]])
METHODS = ("predict", "predict_proba", "decision_function", "transform")
# Sums of linear models are rounded otherwise than those of BLAS, and NumPy has its own exp for some processors.
CLOSE = {"rtol": 1e-12, "atol": 1e-13}


def forest(**options):
    return RandomForestClassifier(**{"n_estimators": 5, "random_state": 0, "max_depth": 6, **options})


def trees(**options):
    return ExtraTreesRegressor(**{"n_estimators": 5, "random_state": 0, "max_depth": 6, **options})


def boosting(**options):
    return GradientBoostingClassifier(**{"n_estimators": 5, "random_state": 0, **options})


def histogram(**options):
    return HistGradientBoostingClassifier(**{"max_iter": 5, "random_state": 0, **options})


def voters() -> list:
    return [("forest", forest()), ("tree", DecisionTreeClassifier(max_depth=4)), ("boosting", boosting())]


def regressors() -> list:
    return [
        ("forest", RandomForestRegressor(4, random_state=1)),
        ("tree", DecisionTreeRegressor(max_depth=4)),
        ("boosting", GradientBoostingRegressor(n_estimators=4)),
        ("histogram", HistGradientBoostingRegressor(max_iter=4)),
    ]


def many(kind, n: int) -> list:
    return [(f"tree {i}", kind(max_depth=3, max_features=2, random_state=i)) for i in range(n)]


def dropped(committee, **names):
    return committee.set_params(**names)


def exact() -> dict:
    """Name: a fitted committee whose members are computed to the last bit."""
    scaled = make_pipeline(StandardScaler(), make_pipeline(MinMaxScaler(), forest(max_depth=3)))
    nested = VotingClassifier([("inner", VotingClassifier(voters(), voting="soft")), ("tree", forest())], voting="soft")
    soft, hard = {"voting": "soft"}, {"voting": "hard"}
    odd = [0.1, 0.7, 0.3]
    fold = KFold(2)
    final, last = forest(max_depth=3), trees(max_depth=3)
    extra = [("extra", ExtraTreesClassifier(4, random_state=1)), ("ada", AdaBoostClassifier(n_estimators=3))]
    return {
        "soft, two classes": VotingClassifier(voters(), **soft).fit(X, TWO),
        "soft, words": VotingClassifier(voters()[:2], **soft).fit(X, WORDS),
        "soft, weights": VotingClassifier(voters()[:2], **soft, weights=[0.1, 0.7]).fit(X, Y),
        "soft, integer weights": VotingClassifier(voters()[:2], **soft, weights=[3, 4]).fit(X, WORDS),
        "soft, an array of weights": VotingClassifier(voters(), **soft, weights=np.array(odd)).fit(X, TWO),
        "soft, matrices": VotingClassifier(voters(), **soft, flatten_transform=False).fit(X, TWO),
        "soft, dropped": dropped(VotingClassifier(voters(), **soft, weights=odd), tree="drop").fit(X, TWO),
        "soft, twenty": VotingClassifier(many(DecisionTreeClassifier, 20), **soft).fit(X, Y),
        "soft, one": VotingClassifier(voters()[:1], **soft).fit(X, Y),
        "soft, a pipeline": VotingClassifier([("scaled", scaled), ("tree", forest())], **soft).fit(X, Y),
        "soft, nested": nested.fit(X, TWO),
        "hard": VotingClassifier([*voters(), *extra], **hard).fit(X, Y),
        "hard, words": VotingClassifier(many(DecisionTreeClassifier, 7), **hard).fit(X, WORDS),
        "hard, weights": VotingClassifier(voters(), **hard, weights=odd).fit(X, Y),
        "hard, negative weights": VotingClassifier(voters(), **hard, weights=[-1, -2, -1]).fit(X, Y),
        "hard, dropped": dropped(VotingClassifier(voters(), **hard, weights=[5, 1, 2]), forest="drop").fit(X, Y),
        "hard, histogram": VotingClassifier([("histogram", histogram()), ("forest", forest())]).fit(X, Y),
        "regression": VotingRegressor(regressors()).fit(X, T),
        "regression, weights": VotingRegressor(regressors(), weights=[0.1, 0.7, 0.3, 2]).fit(X, T),
        "regression, dropped": dropped(VotingRegressor(regressors(), weights=[1, 2, 3, 4]), tree="drop").fit(X, T),
        "regression, twenty": VotingRegressor(many(DecisionTreeRegressor, 20)).fit(X, T),
        "regression, thirty weights": VotingRegressor(
            many(DecisionTreeRegressor, 30), weights=[0.1 * i for i in range(30)]
        ).fit(X, T),
        "regression in a pipeline": make_pipeline(StandardScaler(), VotingRegressor(regressors())).fit(X, T),
        "stacking, two classes": StackingClassifier(voters(), final, cv=fold).fit(X, TWO),
        "stacking, three classes": StackingClassifier(voters()[:2], final, cv=fold).fit(X, WORDS),
        "stacking, passthrough": StackingClassifier(voters()[:2], final, cv=fold, passthrough=True).fit(X, TWO),
        "stacking, predictions": StackingClassifier(voters(), final, cv=fold, stack_method="predict").fit(X, Y),
        "stacking, predictions and rows": StackingClassifier(
            voters(), final, cv=fold, stack_method="predict", passthrough=True
        ).fit(X, WORDS),
        "stacking, decisions": StackingClassifier(
            [("boosting", boosting()), ("histogram", histogram())], final, cv=fold, stack_method="decision_function"
        ).fit(X, Y),
        "stacking, dropped": dropped(StackingClassifier(voters(), boosting(), cv=fold), tree="drop").fit(X, TWO),
        "stacking, regressors among them": StackingClassifier(
            [("line", DecisionTreeRegressor(max_depth=3)), *voters()],
            final,
            cv=fold,
        ).fit(X, Y),
        "stacking, already fitted": StackingClassifier(
            [("forest", forest().fit(X, WORDS)), ("tree", DecisionTreeRegressor(max_depth=3).fit(X, T))],
            final,
            cv="prefit",
        ).fit(X, TWO),
        "stacking, nested": StackingClassifier(
            [("soft", VotingClassifier(voters(), **soft)), ("stack", StackingClassifier(voters(), final, cv=fold))],
            VotingClassifier(voters(), **soft),
            cv=fold,
        ).fit(X, TWO),
        "stacked regression": StackingRegressor(regressors(), last, cv=fold).fit(X, T),
        "stacked regression, passthrough": StackingRegressor(regressors(), last, cv=fold, passthrough=True).fit(X, T),
        "stacked regression, several outputs": StackingRegressor(
            [("both", DecisionTreeRegressor(max_depth=3).fit(X, np.column_stack([T, -T]))), ("one", trees().fit(X, T))],
            BaggingRegressor(n_estimators=3),
            cv="prefit",
        ).fit(X, T),
        "boosting from a forest": boosting(init=forest()).fit(X, TWO),
        "boosting of several from a forest": boosting(init=forest()).fit(X, WORDS),
        "boosting, exponential, from a histogram": boosting(loss="exponential", init=histogram()).fit(X, TWO),
        "boosting regression from a forest": GradientBoostingRegressor(n_estimators=4, init=trees()).fit(X, T),
        "boosting, huber, from a vote": GradientBoostingRegressor(
            n_estimators=40, loss="huber", init=VotingRegressor(regressors())
        ).fit(X, T),
    }


def close() -> dict:
    """Name: a fitted committee with members that are computed up to rounding."""
    linear = [("line", LinearRegression()), ("ridge", make_pipeline(StandardScaler(), Ridge())), *regressors()]
    logistic = [("logistic", LogisticRegression()), ("histogram", histogram()), *voters()]
    return {
        "soft, logistic": VotingClassifier(logistic, voting="soft").fit(X, Y),
        "hard, logistic": VotingClassifier(logistic, voting="hard").fit(X, WORDS),
        "regression, lines": VotingRegressor(linear).fit(X, T),
        "stacking, logistic": StackingClassifier(logistic, cv=3).fit(X, TWO),
        "stacking of three, logistic": StackingClassifier(logistic, cv=3, passthrough=True).fit(X, Y),
        "stacked regression, lines": StackingRegressor(linear, Ridge(), cv=3).fit(X, T),
    }


MODELS = {**exact(), **close()}
CLOSE_NAMES = {"soft, logistic", "hard, logistic", "regression, lines"}
CLOSE_NAMES |= {"stacking, logistic", "stacking of three, logistic", "stacked regression, lines"}


def forms(x: np.ndarray):
    """The rows in batches, types and orders."""
    yield from (x[:1], x[3:5], x[:13], x[:40], x[:1000], x.astype(np.float32), np.asfortranarray(x[:50]), x[::-3])


def ask(model, method, x):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return getattr(model, method)(x)


def same(expected, found, tolerance=None):
    assert expected.shape == found.shape
    if expected.dtype.kind == "O":
        expected = expected.astype(str)
    assert expected.dtype == found.dtype or expected.dtype.kind == found.dtype.kind == "U"
    if tolerance is None or expected.dtype.kind != "f":
        assert np.array_equal(expected, found, equal_nan=expected.dtype.kind == "f")
    else:
        np.testing.assert_allclose(found, expected, **tolerance)


def dumped(model, tmp_path):
    path = tmp_path / "model.onecopy"
    onecopy.dump(model, path)
    return path


def tolerance(name, model, method):
    last = model[-1] if hasattr(model, "steps") else model
    several = len(getattr(last, "classes_", ())) > 2 and method != "predict"
    if several and (isinstance(last, GradientBoostingClassifier) or not SAME_EXP):
        return CLOSE
    own_log = method == "predict_log_proba" and not SAME_LOG
    return CLOSE if name in CLOSE_NAMES or own_log else None


@pytest.mark.parametrize("name", MODELS)
def test_open_and_load_answer_as_scikit_learn_does(name, tmp_path):
    model = MODELS[name]
    path = dumped(model, tmp_path)
    opened, loaded = onecopy.open(path, threads=1), onecopy.load(path)
    assert opened.native
    methods = {method for method in METHODS if hasattr(model, method)}
    assert methods <= set(opened.methods)
    assert opened.n_features_in_ == 5
    for x in forms(FRESH):
        for method in methods:
            expected = ask(model, method, x)
            same(expected, ask(loaded, method, x))
            same(expected, ask(opened, method, x), tolerance(name, model, method))
    few = FRESH[:3]
    same(ask(model, "predict", few), ask(opened, "predict", few.tolist()), tolerance(name, model, "predict"))
    if hasattr(model, "classes_"):
        same(np.asarray(model.classes_), opened.classes_)


def test_threads_do_not_change_a_bit(tmp_path):
    path = dumped(MODELS["stacking, nested"], tmp_path)
    one, two = onecopy.open(path, threads=1), onecopy.open(path, threads=2)
    x = np.tile(FRESH, (5, 1))
    same(one.predict_proba(x), two.predict_proba(x))


def test_members_of_a_loaded_committee_predict_through_the_engine(tmp_path):
    from onecopy._onecopy import Part

    loaded = onecopy.load(dumped(MODELS["stacking, nested"], tmp_path))
    inner = loaded.estimators_[0].estimators_[0]
    same(ask(MODELS["stacking, nested"], "predict_proba", FRESH), ask(loaded, "predict_proba", FRESH))
    assert isinstance(inner.__dict__["estimators_"], Part)


@pytest.mark.parametrize(
    "model, what, why",
    [
        (VotingClassifier([("tree", forest()), ("svc", SVC())]), "sklearn.svm._classes.SVC", "member `svc`"),
        (StackingClassifier([("svc", SVC())], forest(), cv=2), "sklearn.svm._classes.SVC", "member `svc`"),
        (StackingClassifier([("a", forest())], SVC(), cv=2), "sklearn.svm._classes.SVC", "its last estimator"),
        (
            VotingClassifier([("inner", make_pipeline(StandardScaler(), SVC())), ("tree", forest())]),
            "sklearn.svm._classes.SVC",
            "member `inner`: step `svc`",
        ),
    ],
)
def test_what_is_not_covered_is_named_and_loads(model, what, why, tmp_path):
    model.fit(X, TWO)
    path = dumped(model, tmp_path)
    opened = onecopy.open(path)
    assert not opened.native
    with pytest.raises(onecopy.UnsupportedModelError, match=f"{what}.*{why}.*onecopy.load"):
        opened.predict(X)
    same(ask(model, "predict", FRESH), ask(onecopy.load(path), "predict", FRESH))


def test_a_committee_that_contains_itself_is_refused(tmp_path):
    model = VotingClassifier(voters()).fit(X, Y)
    model.estimators_[0] = model
    opened = onecopy.open(dumped(model, tmp_path))
    with pytest.raises(onecopy.UnsupportedModelError, match="contains itself"):
        opened.predict(X)


def test_one_estimator_may_be_several_members(tmp_path):
    shared = forest().fit(X, TWO)
    members = [("one", shared), ("other", shared)]
    model = StackingClassifier(members, forest(max_depth=2), cv="prefit").fit(X, TWO)
    opened = onecopy.open(dumped(model, tmp_path))
    same(model.predict_proba(FRESH), opened.predict_proba(FRESH))


def test_linear_models_of_float32_answer_in_float32(tmp_path):
    x, fresh = X.astype(np.float32), FRESH.astype(np.float32)
    single, double = {"rtol": 1e-5, "atol": 1e-5}, CLOSE
    for model in (
        LinearRegression().fit(x, T),
        Ridge(fit_intercept=False).fit(x, np.column_stack([T, -T])),
        LogisticRegression().fit(x, Y),
        LogisticRegression().fit(x, TWO),
        make_pipeline(StandardScaler(), LogisticRegression()).fit(x, WORDS),
    ):
        opened = onecopy.open(dumped(model, tmp_path))
        assert opened.native
        for method in opened.methods:
            same(ask(model, method, fresh), ask(opened, method, fresh), single)
            same(ask(model, method, FRESH), ask(opened, method, FRESH), double)


def test_boosting_starts_from_linear_models_too(tmp_path):
    # It shows them float32, and so do they compute.
    single = {"rtol": 1e-4, "atol": 1e-5}
    for model, target in (
        (GradientBoostingRegressor(n_estimators=3, init=LinearRegression()), T),
        (boosting(init=LogisticRegression()), TWO),
        (boosting(init=make_pipeline(StandardScaler(), LogisticRegression())), Y),
    ):
        model.fit(X, target)
        opened = onecopy.open(dumped(model, tmp_path))
        for method in opened.methods:
            same(ask(model, method, FRESH), ask(opened, method, FRESH), single)


def test_an_init_that_is_not_covered_is_named(tmp_path):
    model = GradientBoostingRegressor(n_estimators=3, init=SVR()).fit(X, T)
    path = dumped(model, tmp_path)
    with pytest.raises(onecopy.UnsupportedModelError, match="SVR.*its `init`"):
        onecopy.open(path).predict(X)
    same(model.predict(FRESH), onecopy.load(path).predict(FRESH))


def test_rows_that_a_member_refuses_are_refused(tmp_path):
    opened = onecopy.open(dumped(MODELS["soft, logistic"], tmp_path))
    holes = FRESH[:3].copy()
    holes[1, 2] = np.nan
    with pytest.raises(ValueError, match="contains NaN"):
        opened.predict(holes)
    with pytest.raises(ValueError, match="X has 4 features"):
        opened.predict(FRESH[:, :4])
    with pytest.raises(ValueError, match=r"0 sample\(s\)"):
        opened.predict(FRESH[:0])
    with pytest.raises(AttributeError, match="VotingClassifier has no `apply`"):
        opened.apply(FRESH)


def test_names_of_columns_are_those_of_the_members(tmp_path):
    table = pd.DataFrame(X, columns=list("abcde"))
    model = VotingClassifier(voters(), voting="soft").fit(table, TWO)
    opened = onecopy.open(dumped(model, tmp_path))
    same(model.predict_proba(table), opened.predict_proba(table))
    assert list(opened.feature_names_in_) == list("abcde")
    with pytest.raises(ValueError, match="same order"):
        opened.predict(table[list("edcba")])


def coded(n: int, low: int = 0, high: int = 40) -> np.ndarray:
    """Rows with categories in the second and the last column, some of them missing."""
    x = np.column_stack(
        [
            RANDOM.normal(size=n),
            RANDOM.integers(low, high, n) * 3.0,
            RANDOM.normal(size=n),
            RANDOM.integers(low, 6, n) - 2.5,
        ]
    )
    return np.where(RANDOM.random(x.shape) < 0.06, np.nan, x)


CODED = coded(600)
SIGNS = np.nan_to_num(CODED[:, 1] // 3 % 7 + CODED[:, 0] - CODED[:, 3] ** 2)


@pytest.mark.parametrize("wanted", [[1, 3], [3, 1], [False, True, False, True], [0, 1, 2, 3][3:]])
@pytest.mark.parametrize("classes", [None, 2, 3])
def test_categories_are_encoded_natively(wanted, classes, tmp_path):
    options = {"max_iter": 12, "categorical_features": wanted, "min_samples_leaf": 2, "random_state": 0}
    if classes is None:
        model = HistGradientBoostingRegressor(**options).fit(CODED, SIGNS)
    else:
        model = HistGradientBoostingClassifier(**options).fit(CODED, np.abs(SIGNS).astype(int) % classes)
    path = dumped(model, tmp_path)
    opened, loaded = onecopy.open(path), onecopy.load(path)
    assert opened.estimator == type(model).__name__
    fresh = coded(800, -4, 50)
    fresh[::9, 1] += 0.5
    fresh[4, 2], fresh[6, 2], fresh[7, 1] = np.inf, -np.inf, -0.0
    for x in (fresh, fresh[:1], fresh[:30], np.asfortranarray(fresh), fresh.astype(np.float32), fresh[::-2]):
        for method in opened.methods:
            expected = ask(model, method, x)
            same(expected, ask(loaded, method, x))
            exact = classes != 3 or method != "predict_proba"
            same(expected, ask(opened, method, x), None if exact else CLOSE)
    whole = np.nan_to_num(fresh, posinf=3, neginf=-3).astype(int)
    same(ask(model, "predict", whole), ask(opened, "predict", whole))
    fresh[4, 3] = np.inf
    for one in (model, opened):
        with pytest.raises(ValueError, match="contains infinity"):
            one.predict(fresh)


def test_numeric_categories_of_a_table_are_encoded_natively(tmp_path):
    table = pd.DataFrame({"size": CODED[:, 0], "kind": pd.Categorical(RANDOM.integers(5, 25, 600))})
    model = HistGradientBoostingRegressor(categorical_features="from_dtype", max_iter=9).fit(table, SIGNS)
    opened = onecopy.open(dumped(model, tmp_path))
    assert opened.native
    same(model.predict(table), opened.predict(table))
    same(model.predict(table), opened.predict(table.astype(float)))


def test_categories_of_text_are_refused_and_load(tmp_path):
    table = pd.DataFrame({"size": CODED[:, 0], "kind": pd.Categorical(np.where(SIGNS > 0, "up", "down"))})
    model = HistGradientBoostingRegressor(max_iter=3).fit(table, SIGNS)
    path = dumped(model, tmp_path)
    with pytest.raises(onecopy.UnsupportedModelError, match="column 1 are text.*onecopy.load"):
        onecopy.open(path).predict(np.zeros((1, 2)))
    same(model.predict(table), onecopy.load(path).predict(table))


def test_trees_that_encode_categories_are_members_and_last_steps(tmp_path):
    options = {"max_iter": 5, "categorical_features": [1, 3], "random_state": 0}
    one, two = HistGradientBoostingRegressor(**options), HistGradientBoostingRegressor(**options, max_depth=2)
    vote = VotingRegressor([("one", one), ("two", two)]).fit(CODED, SIGNS)
    boosted = GradientBoostingRegressor(n_estimators=3, init=one).fit(np.nan_to_num(CODED), SIGNS)
    for model, x in ((vote, coded(300)), (boosted, np.nan_to_num(coded(300)))):
        path = dumped(model, tmp_path)
        same(model.predict(x), onecopy.open(path).predict(x))
        same(model.predict(x), onecopy.load(path).predict(x))


def test_other_libraries_vote_too(tmp_path):
    lightgbm, xgboost = pytest.importorskip("lightgbm"), pytest.importorskip("xgboost")
    light = lightgbm.LGBMClassifier(n_estimators=5, verbose=-1, min_child_samples=2)
    cross = xgboost.XGBClassifier(n_estimators=5, max_depth=3)
    members = [("light", light), ("cross", cross), ("forest", forest())]
    for model in (
        VotingClassifier(members, voting="soft"),
        VotingClassifier(members, voting="hard"),
        StackingClassifier(members, forest(max_depth=2), cv=2),
        VotingClassifier([("cross", cross), ("other", xgboost.XGBClassifier(n_estimators=3))], voting="soft"),
    ):
        model.fit(X, TWO)
        path = dumped(model, tmp_path)
        opened = onecopy.open(path)
        for x in forms(FRESH):
            for method in opened.methods:
                expected = ask(model, method, x)
                # XGBoost has an exp of its own, in float32.
                same(expected, ask(opened, method, x), {"rtol": 1e-6, "atol": 1e-7})
    regressors = [("light", lightgbm.LGBMRegressor(n_estimators=5, verbose=-1)), ("cross", xgboost.XGBRegressor())]
    for members in (regressors, regressors[1:], [*regressors, ("trees", trees())]):
        model = VotingRegressor(members).fit(X, T)
        opened = onecopy.open(dumped(model, tmp_path))
        for x in forms(FRESH):
            same(ask(model, "predict", x), ask(opened, "predict", x))
            same(ask(model, "transform", x), ask(opened, "transform", x))
    with pytest.raises(TypeError, match=r"LGBMRegressor rounds integers beyond 2\*\*24"):
        opened.predict(np.full((2, 5), 2**25))


def test_xgboosts_largest_class_has_probabilities(tmp_path):
    xgboost = pytest.importorskip("xgboost")
    for target in (Y, np.arange(len(X)) % 13):
        model = xgboost.XGBClassifier(n_estimators=4, max_depth=3, objective="multi:softmax").fit(X, target)
        opened = onecopy.open(dumped(model, tmp_path))
        for x in forms(FRESH.astype(np.float32)):
            same(model.predict_proba(x), opened.predict_proba(x), {"rtol": 1e-6, "atol": 1e-9})
            same(model.predict(x), opened.predict(x))
