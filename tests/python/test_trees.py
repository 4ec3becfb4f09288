"""Trees on mapped memory: the same answers as the ordinary ones, lazily, and ordinary again when it matters."""

import copy
import inspect
import io
import os
import pickle
import warnings

import joblib
import numpy as np
import pytest
import scipy.sparse
from sklearn.base import clone
from sklearn.datasets import make_classification, make_regression
from sklearn.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    BaggingClassifier,
    BaggingRegressor,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
    RandomTreesEmbedding,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.exceptions import NotFittedError
from sklearn.inspection import partial_dependence, permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import (
    DecisionTreeClassifier,
    DecisionTreeRegressor,
    ExtraTreeClassifier,
    ExtraTreeRegressor,
    export_graphviz,
    export_text,
    plot_tree,
)
from sklearn.tree._tree import Tree
from sklearn.utils.validation import check_is_fitted

import onecopy
from onecopy._onecopy import MappedTree, Part

ROWS = np.random.default_rng(7)
X_C, Y_C = make_classification(300, 6, n_informative=4, n_classes=3, random_state=0)
X_R, Y_R = make_regression(300, 6, n_targets=1, random_state=0)
Y_R2 = np.column_stack([Y_R, Y_R**2, -Y_R])
Y_C2 = np.column_stack([Y_C, Y_C % 2])
FRESH = ROWS.normal(size=(200, 6)) * 2
HOLES = np.where(ROWS.random(X_C.shape) < 0.1, np.nan, X_C)
FRESH_HOLES = np.where(ROWS.random(FRESH.shape) < 0.1, np.nan, FRESH)
WORDS = np.array(["low", "middle", "höher"])[Y_C]
WEIGHTS = ROWS.random(300)
SPARSE = scipy.sparse.csr_matrix(np.where(np.abs(X_C) < 0.7, 0, X_C))
FRESH_SPARSE = scipy.sparse.csr_matrix(np.where(np.abs(FRESH) < 0.7, 0, FRESH))

METHODS = [
    "predict", "predict_proba", "predict_log_proba", "decision_function", "score_samples", "apply", "transform",
    "decision_path", "staged_predict", "staged_predict_proba", "staged_decision_function",
]


def fitted() -> dict:
    """Name: estimator and fresh rows."""
    seed = {"random_state": 0}
    few = {"n_estimators": 12, **seed}
    models = {
        "forest": (RandomForestClassifier(**few).fit(X_C, Y_C), FRESH),
        "forest of words": (RandomForestClassifier(**few).fit(X_C, WORDS), FRESH),
        "forest, several outputs": (RandomForestClassifier(**few).fit(X_C, Y_C2), FRESH),
        "forest, holes": (RandomForestClassifier(**few).fit(HOLES, Y_C), FRESH_HOLES),
        "forest, weights": (RandomForestClassifier(**few).fit(X_C, Y_C, WEIGHTS), FRESH),
        "forest, balanced": (RandomForestClassifier(class_weight="balanced", **few).fit(X_C, Y_C), FRESH),
        "forest, sparse": (RandomForestClassifier(**few).fit(SPARSE, Y_C), FRESH_SPARSE),
        "forest, threads": (RandomForestClassifier(n_jobs=2, max_depth=4, **few).fit(X_C, Y_C), FRESH[:3]),
        "forest of stumps": (RandomForestRegressor(max_depth=1, **few).fit(X_R, Y_R), FRESH),
        "forest of leaves": (RandomForestRegressor(min_samples_split=1.0, **few).fit(X_R, Y_R), FRESH),
        "regression forest": (RandomForestRegressor(**few).fit(X_R, Y_R), FRESH),
        "regression forest, several outputs": (RandomForestRegressor(**few).fit(X_R, Y_R2), FRESH),
        "extra trees": (ExtraTreesClassifier(**few).fit(X_C, Y_C), FRESH),
        "extra regression": (ExtraTreesRegressor(**few).fit(X_R, Y_R2), FRESH),
        "embedding": (RandomTreesEmbedding(**few).fit(X_C), FRESH),
        "isolation": (IsolationForest(**few).fit(X_C), FRESH),
        "adaboost": (AdaBoostClassifier(**few).fit(X_C, Y_C), FRESH),
        "adaboost regression": (AdaBoostRegressor(**few).fit(X_R, Y_R), FRESH),
        "bagging": (BaggingClassifier(max_features=3, **few).fit(X_C, Y_C), FRESH),
        "bagging regression": (BaggingRegressor(**few).fit(X_R, Y_R), FRESH),
        "boosting": (GradientBoostingClassifier(**few).fit(X_C, Y_C), FRESH),
        "boosting, two classes": (GradientBoostingClassifier(**few).fit(X_C, Y_C > 0), FRESH),
        "boosting from zero": (GradientBoostingClassifier(init="zero", **few).fit(X_C, Y_C), FRESH),
        "boosting, sparse": (GradientBoostingClassifier(**few).fit(SPARSE, Y_C), FRESH_SPARSE),
        "boosting regression": (GradientBoostingRegressor(subsample=0.5, **few).fit(X_R, Y_R), FRESH),
        "boosting deep": (GradientBoostingRegressor(max_depth=None, **few).fit(X_R, Y_R), FRESH[:20]),
        "histogram": (HistGradientBoostingClassifier(max_iter=8, **seed).fit(HOLES, Y_C), FRESH_HOLES),
        "histogram regression": (HistGradientBoostingRegressor(max_iter=8, **seed).fit(X_R, Y_R), FRESH),
        "tree": (DecisionTreeClassifier(**seed).fit(HOLES, Y_C), FRESH_HOLES),
        "tree, several outputs": (DecisionTreeClassifier(**seed).fit(X_C, Y_C2), FRESH),
        "tree of one node": (DecisionTreeRegressor().fit(X_R, np.ones(300)), FRESH),
        "pruned tree": (DecisionTreeClassifier(ccp_alpha=0.01, **seed).fit(X_C, Y_C), FRESH),
        "tree, best first": (DecisionTreeClassifier(max_leaf_nodes=9, **seed).fit(X_C, Y_C), FRESH),
        "extra tree": (ExtraTreeClassifier(**seed).fit(X_C, Y_C), FRESH),
        "extra tree regression": (ExtraTreeRegressor(**seed).fit(X_R, Y_R2), FRESH),
        "pipeline": (make_pipeline(StandardScaler(), RandomForestClassifier(**few)).fit(X_C, Y_C), FRESH),
        "search": (
            GridSearchCV(RandomForestClassifier(**few), {"max_depth": [2, 5]}, cv=2).fit(X_C, Y_C),
            FRESH,
        ),
        "voting": (
            VotingClassifier(
                [("f", RandomForestClassifier(**few)), ("g", GradientBoostingClassifier(**few))], voting="soft"
            ).fit(X_C, Y_C),
            FRESH,
        ),
        "stacking": (
            StackingClassifier([("f", ExtraTreesClassifier(**few)), ("l", LogisticRegression())], cv=2).fit(X_C, Y_C),
            FRESH,
        ),
    }
    return models


MODELS = fitted()
ENSEMBLES = [name for name, (model, _) in MODELS.items() if hasattr(model, "estimators_") and "voting" not in name
             and "stacking" not in name]


def load(model, tmp_path, **options):
    path = tmp_path / "model.onecopy"
    onecopy.dump(model, path)
    return onecopy.load(path, **options)


def flat(value) -> list:
    """The arrays of an answer."""
    if isinstance(value, (list, tuple)) or inspect.isgenerator(value):
        return [array for item in value for array in flat(item)]
    if scipy.sparse.issparse(value):
        return [type(value), value.shape, value.indices, value.indptr, value.data]
    return [value]


def assert_same(expected, found, what: str = "") -> None:
    expected, found = flat(expected), flat(found)
    assert len(expected) == len(found), what
    for one, other in zip(expected, found):
        if isinstance(one, np.ndarray):
            assert (one.dtype, one.shape) == (other.dtype, other.shape), what
            assert one.flags.c_contiguous == other.flags.c_contiguous, what
            assert one.flags.f_contiguous == other.flags.f_contiguous, what
            assert one.tobytes() == other.tobytes(), what
        else:
            assert one == other, what


def assert_same_answers(model, loaded, x) -> None:
    for method in METHODS:
        if hasattr(model, method):
            # Twice: before anyone looks at the trees, and in the state that the first call left.
            for _ in range(2):
                assert_same(getattr(model, method)(x), getattr(loaded, method)(x), method)


def one_job(model):
    """The reference: threads of scikit-learn add up in any order."""
    model = copy.deepcopy(model)
    if "n_jobs" in model.get_params():
        model.set_params(n_jobs=1)
    return model


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("mmap_mode", ["r", "c", None])
def test_answers_have_the_same_bits(name, mmap_mode, tmp_path):
    model, x = MODELS[name]
    loaded = load(model, tmp_path, mmap_mode=mmap_mode)
    assert_same_answers(one_job(model), one_job(loaded) if mmap_mode is None else loaded, x)


@pytest.mark.parametrize("name", MODELS)
def test_one_row_and_float32_rows_have_the_same_bits(name, tmp_path):
    model, x = MODELS[name]
    loaded, model = load(model, tmp_path), one_job(model)
    assert_same_answers(model, loaded, x[:1])
    if not scipy.sparse.issparse(x):
        assert_same_answers(model, loaded, np.asfortranarray(x[::3].astype(np.float32)))


@pytest.mark.parametrize("name", ENSEMBLES)
def test_trees_become_objects_when_someone_looks(name, tmp_path):
    model, x = MODELS[name]
    loaded = load(model, tmp_path)
    assert isinstance(loaded.__dict__["estimators_"], Part)
    assert type(model) is loaded.__class__ and isinstance(loaded, type(model))
    assert repr(loaded) == repr(model)
    assert len(loaded.estimators_) == len(model.estimators_)
    assert type(loaded.estimators_) is type(model.estimators_)
    assert loaded.__dict__["estimators_"] is loaded.estimators_
    assert vars(loaded).keys() == vars(model).keys()


@pytest.mark.parametrize("name", ["forest", "regression forest", "extra trees", "boosting", "boosting regression"])
def test_an_ensemble_predicts_as_a_whole_without_making_its_trees(name, tmp_path):
    model, x = MODELS[name]
    loaded = load(model, tmp_path)
    assert_same(model.predict(x), loaded.predict(x))
    if hasattr(model, "predict_proba"):
        assert_same(model.predict_proba(x), loaded.predict_proba(x))
    if "forest" in name or "extra" in name:
        assert_same(model.apply(x), loaded.apply(x))
    assert isinstance(loaded.__dict__["estimators_"], Part)


@pytest.mark.parametrize("name", ["pipeline", "search"])
def test_nested_ensembles_predict_as_a_whole_too(name, tmp_path):
    model, x = MODELS[name]
    loaded = load(model, tmp_path)
    assert_same(model.predict_proba(x), loaded.predict_proba(x))
    inner = loaded[-1] if name == "pipeline" else loaded.best_estimator_
    assert isinstance(inner.__dict__["estimators_"], Part)


@pytest.mark.parametrize("name", ["forest", "regression forest", "boosting", "boosting regression"])
def test_changed_ensembles_answer_with_what_they_hold(name, tmp_path):
    model, x = copy.deepcopy(MODELS[name][0]), MODELS[name][1]
    loaded = load(model, tmp_path)
    for one in (model, loaded):
        one.estimators_ = one.estimators_[:5]
    assert_same(model.predict(x), loaded.predict(x))
    for one in (model, loaded):
        one.estimators_[0], one.estimators_[1] = one.estimators_[1], one.estimators_[0]
    assert_same(model.predict(x), loaded.predict(x))
    first = loaded.estimators_[0] if isinstance(loaded.estimators_, list) else loaded.estimators_[0, 0]
    other = model.estimators_[1] if isinstance(model.estimators_, list) else model.estimators_[1, 0]
    (model.estimators_[0] if isinstance(model.estimators_, list) else model.estimators_[0, 0]).tree_ = other.tree_
    first.tree_ = other.tree_
    assert_same(model.predict(x), loaded.predict(x))


def test_a_learning_rate_that_is_set_later_counts(tmp_path):
    model, x = copy.deepcopy(MODELS["boosting"][0]), FRESH
    loaded = load(model, tmp_path)
    for one in (model, loaded):
        one.set_params(learning_rate=0.7)
    assert_same(model.decision_function(x), loaded.decision_function(x))


@pytest.mark.parametrize("name", ENSEMBLES)
def test_fitting_gives_an_ordinary_model(name, tmp_path):
    model, x = MODELS[name]
    loaded, fresh = load(model, tmp_path), clone(model)
    loaded.set_params(random_state=3)
    fresh.set_params(random_state=3)
    train, target = (SPARSE if scipy.sparse.issparse(x) else X_C), Y_C
    assert fresh.fit(train, target).__class__ is type(loaded.fit(train, target))
    assert_same_answers(one_job(fresh), one_job(loaded), x)


@pytest.mark.parametrize("name", ["forest", "regression forest", "boosting", "boosting regression", "isolation"])
def test_warm_start_goes_on_from_the_loaded_trees(name, tmp_path):
    model, x = copy.deepcopy(MODELS[name][0]), MODELS[name][1]
    loaded = load(model, tmp_path)
    target = Y_R if "regression" in name else Y_C
    train = X_R if "regression" in name else X_C
    for one in (model, loaded):
        one.set_params(warm_start=True, n_estimators=20)
        one.fit(train, target)
    assert type(loaded) is type(model)
    assert len(loaded.estimators_) == 20
    assert_same_answers(one_job(model), one_job(loaded), x)


def through_pickle(model):
    return pickle.loads(pickle.dumps(model))


def through_joblib(model):
    file = io.BytesIO()
    joblib.dump(model, file)
    file.seek(0)
    return joblib.load(file)


def through_skops(model):
    skops = pytest.importorskip("skops.io")
    data = skops.dumps(model)
    return skops.loads(data, trusted=skops.get_untrusted_types(data=data))


@pytest.mark.parametrize("way", [through_pickle, copy.deepcopy, through_joblib, through_skops])
@pytest.mark.parametrize("name", MODELS)
def test_copies_are_ordinary(name, way, tmp_path):
    if way is through_skops and name.startswith("histogram"):
        pytest.skip("skops writes to the arrays of its own pickles")
    model, x = MODELS[name]
    loaded = load(model, tmp_path)
    made = way(loaded)
    assert type(made) is type(model)
    for estimator in trees_of(made):
        assert type(estimator.tree_) is Tree
    assert_same_answers(one_job(model), one_job(made), x)
    assert_same_answers(one_job(model), loaded, x)


def trees_of(model) -> list:
    estimators = vars(model).get("estimators_", [model] if hasattr(model, "tree_") else [])
    found = list(np.ravel(np.array(estimators, dtype=object)))
    return [estimator for estimator in found if hasattr(estimator, "tree_")]


@pytest.mark.parametrize("name", ENSEMBLES)
def test_clones_are_unfitted(name, tmp_path):
    loaded = load(MODELS[name][0], tmp_path)
    made = clone(loaded)
    assert type(made) is type(MODELS[name][0])
    assert made.get_params().keys() == loaded.get_params().keys()
    assert "estimators_" not in vars(made)
    with pytest.raises(NotFittedError):
        check_is_fitted(made)


ATTRIBUTES = [
    "n_features", "n_outputs", "max_n_classes", "max_depth", "node_count", "capacity", "n_classes", "n_leaves",
    "children_left", "children_right", "feature", "threshold", "impurity", "n_node_samples",
    "weighted_n_node_samples", "missing_go_to_left", "value",
]
TREES = ["tree", "tree, several outputs", "tree of one node", "pruned tree", "extra tree regression"]


def both_trees(name, tmp_path):
    model = through_pickle(MODELS[name][0])
    return model.tree_, load(model, tmp_path).tree_, MODELS[name][1].astype(np.float32)


@pytest.mark.parametrize("name", TREES)
def test_a_mapped_tree_has_all_that_a_tree_has(name, tmp_path):
    tree, mapped, x = both_trees(name, tmp_path)
    assert type(mapped) is MappedTree and isinstance(mapped, Tree)
    names = {name for name in dir(Tree) if not name.startswith("__")}
    assert names <= set(dir(mapped))
    assert names - set(ATTRIBUTES) == {
        "apply", "predict", "decision_path", "compute_feature_importances", "compute_node_depths",
        "compute_partial_dependence",
    }
    for attribute in ATTRIBUTES:
        one, other = getattr(tree, attribute), getattr(mapped, attribute)
        assert type(one) is type(other), attribute
        if isinstance(one, np.ndarray):
            assert (one.dtype, one.shape) == (other.dtype, other.shape), attribute
            assert one.tobytes() == other.tobytes(), attribute
            assert attribute == "n_classes" or not other.flags.writeable
        else:
            assert one == other, attribute
    for method in ("apply", "predict", "decision_path"):
        for rows in (x, x[:2], x[:0], np.asfortranarray(x), x[::-2], scipy.sparse.csr_matrix(np.nan_to_num(x))):
            assert_same(getattr(tree, method)(rows), getattr(mapped, method)(rows), method)
    assert_same(tree.compute_node_depths(), mapped.compute_node_depths())
    for normalize in (True, False):
        assert_same(tree.compute_feature_importances(normalize), mapped.compute_feature_importances(normalize))
    grid, targets = np.ascontiguousarray(np.nan_to_num(x[:, :2])), np.array([3, 0], dtype=np.intp)
    sums = np.full(len(x), 0.25), np.full(len(x), 0.25)
    tree.compute_partial_dependence(grid, targets, sums[0])
    mapped.compute_partial_dependence(grid, targets, sums[1])
    assert_same(*sums)


@pytest.mark.parametrize("name", TREES)
def test_the_state_of_a_mapped_tree_is_that_of_a_tree(name, tmp_path):
    tree, mapped, _ = both_trees(name, tmp_path)
    assert pickle.dumps(tree) == pickle.dumps(mapped)
    assert type(copy.copy(mapped)) is Tree
    state = mapped.__getstate__()
    assert state["nodes"].dtype == tree.__getstate__()["nodes"].dtype
    assert state["nodes"].tobytes() == tree.__getstate__()["nodes"].tobytes()
    with pytest.raises(TypeError, match="cannot be changed"):
        mapped.__setstate__(state)


def test_wrong_rows_are_refused_in_the_words_of_scikit_learn(tmp_path):
    tree, mapped, x = both_trees("tree", tmp_path)
    wrong = [x.tolist(), x.astype(np.float64), x[0], scipy.sparse.csc_matrix(x), scipy.sparse.csr_matrix(x, dtype=float)]
    for rows in wrong:
        with pytest.raises(ValueError) as expected:
            tree.apply(rows)
        for method in (mapped.apply, mapped.predict, mapped.decision_path):
            with pytest.raises(ValueError) as found:
                method(rows)
            assert str(expected.value) == str(found.value)
    with pytest.raises(ValueError, match="X has 2 features, but the tree was fitted with 6"):
        mapped.apply(np.ascontiguousarray(x[:, :2]))


@pytest.mark.parametrize("name", ["forest", "regression forest, several outputs", "boosting", "tree"])
def test_wrong_rows_are_refused_by_estimators_as_ever(name, tmp_path):
    model, x = MODELS[name]
    loaded = load(model, tmp_path)
    infinite = x.copy()
    infinite[3, 2] = np.inf
    holes = x.copy()
    holes[3, 2] = np.nan
    for rows in (x[:, :3], x[0], infinite, holes if "boosting" in name else infinite, x[:0], [["a"] * 6]):
        with pytest.raises(ValueError) as expected:
            model.predict(rows)
        with pytest.raises(ValueError) as found:
            loaded.predict(rows)
        assert str(expected.value) == str(found.value)


def test_feature_names_are_compared_once(tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X_C, columns=list("abcdef"))
    loaded = load(RandomForestClassifier(3, random_state=0).fit(frame, Y_C), tmp_path)
    for rows in (FRESH, scipy.sparse.csr_matrix(FRESH)):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            loaded.predict_proba(rows)
        assert len(caught) == 1 and "does not have valid feature names" in str(caught[0].message)


@pytest.mark.parametrize("name", ["tree", "pruned tree", "extra tree"])
def test_trees_are_exported_and_drawn(name, tmp_path):
    model = MODELS[name][0]
    loaded = load(model, tmp_path)
    assert export_text(model) == export_text(loaded)
    assert export_graphviz(model) == export_graphviz(loaded)
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    assert [str(note) for note in plot_tree(model)] == [str(note) for note in plot_tree(loaded)]


@pytest.mark.parametrize("name", ["forest", "boosting", "boosting regression", "regression forest", "tree"])
def test_importances_and_partial_dependence_are_the_same(name, tmp_path):
    model, x = MODELS[name]
    loaded = load(model, tmp_path)
    assert_same(model.feature_importances_, loaded.feature_importances_)
    target = Y_R[:200] if "regression" in name else Y_C[:200]
    x = np.nan_to_num(x)
    scores = [permutation_importance(one, x, target, n_repeats=2, random_state=0) for one in (model, loaded)]
    assert_same(scores[0].importances, scores[1].importances)
    if name in ("boosting regression", "regression forest"):
        for method in ("recursion", "brute"):
            grids = [partial_dependence(one, x, [1], method=method).average for one in (model, loaded)]
            assert_same(*grids)


def test_pruning_starts_from_the_loaded_parameters(tmp_path):
    model = DecisionTreeClassifier(random_state=0).fit(X_C, Y_C)
    loaded = load(model, tmp_path)
    expected, found = (one.cost_complexity_pruning_path(X_C, Y_C) for one in (model, loaded))
    assert_same(expected.ccp_alphas, found.ccp_alphas)


def test_compiled_code_refuses_a_mapped_tree_without_a_crash(tmp_path):
    from sklearn.tree._tree import ccp_pruning_path

    with pytest.raises(TypeError):
        ccp_pruning_path(load(MODELS["tree"][0], tmp_path).tree_)


def test_a_mapped_tree_outlives_its_estimator_and_its_file(tmp_path):
    model = MODELS["tree"][0]
    tree = load(model, tmp_path).tree_
    os.remove(tmp_path / "model.onecopy")
    x = FRESH_HOLES.astype(np.float32)
    assert_same(model.tree_.predict(x), tree.predict(x))


def test_threads_may_look_and_predict_at_once(tmp_path):
    model, x = MODELS["boosting"]
    loaded, expected = load(model, tmp_path), model.predict_proba(x)
    work = [joblib.delayed(lambda: (loaded.estimators_, loaded.predict_proba(x))[1])() for _ in range(16)]
    for found in joblib.Parallel(n_jobs=8, prefer="threads")(work):
        assert_same(expected, found)


FORKS = """
import os, sys, threading
import numpy as np, onecopy
loaded = onecopy.load(sys.argv[1])
loaded.set_params(n_jobs=2)
x = np.random.default_rng(0).normal(size=(3000, 6))
expected = loaded.predict_proba(x).tobytes()
stop = threading.Event()
def predict():
    while not stop.is_set():
        assert loaded.predict_proba(x).tobytes() == expected
threads = [threading.Thread(target=predict) for _ in range(3)]
[thread.start() for thread in threads]
for _ in range(20):
    child = os.fork()
    if child == 0:
        os._exit(0 if loaded.predict_proba(x).tobytes() == expected else 1)
    assert os.waitpid(child, 0)[1] == 0
stop.set()
[thread.join() for thread in threads]
"""


def test_children_predict_whatever_the_threads_of_their_parent_were_doing(tmp_path):
    import subprocess
    import sys

    path = tmp_path / "model.onecopy"
    onecopy.dump(RandomForestClassifier(40, random_state=0).fit(X_C, Y_C), path)
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", FORKS, path], timeout=120, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


class Tilted(GradientBoostingRegressor):
    """A class of the user's."""

    def predict(self, X):
        return super().predict(X) + 1


def test_classes_derived_from_boosting_work_too(tmp_path):
    model = Tilted(n_estimators=5, random_state=0).fit(X_R, Y_R)
    loaded = load(model, tmp_path, trusted=[f"{Tilted.__module__}.Tilted"])
    assert_same(model.predict(FRESH), loaded.predict(FRESH))
    assert isinstance(loaded, Tilted)


def damaged(change) -> DecisionTreeClassifier:
    """A tree whose nodes were changed before it was saved: scikit-learn takes any."""
    model = DecisionTreeClassifier(max_depth=3, random_state=0).fit(X_C, Y_C)
    cls, args, state = model.tree_.__reduce__()
    state["nodes"] = state["nodes"].copy()
    change(state)
    model.tree_ = cls(*args)
    model.tree_.__setstate__(state)
    return model


def set_node(node, **fields):
    def change(state):
        for name, value in fields.items():
            state["nodes"][name][node] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        set_node(0, left_child=0),
        set_node(1, right_child=10**6),
        set_node(1, left_child=-5),
        set_node(0, right_child=1),
        set_node(0, feature=6),
        set_node(0, feature=-3),
        lambda state: state.update(max_depth=1),
    ],
)
def test_nodes_that_lead_astray_are_refused_before_they_are_followed(change, tmp_path):
    model = damaged(change)
    loaded = load(model, tmp_path)
    uses = [
        lambda: loaded.predict(FRESH), lambda: loaded.tree_.children_left, lambda: pickle.dumps(loaded),
        lambda: loaded.tree_.compute_node_depths(), lambda: loaded.feature_importances_,
    ]
    for use in uses:
        with pytest.raises(onecopy.FormatError, match="of a tree"):
            use()
    with pytest.raises(onecopy.FormatError, match="of a tree"):
        onecopy.load(tmp_path / "model.onecopy", mmap_mode=None)
