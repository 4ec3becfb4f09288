"""Writes the hostile models of this folder: `python make.py`. Each is named after its kind and what is wrong with it.

They are pickles of real estimators with one thing changed. `expected.tsv` says what loading answers to each after conversion:
the exception, or `accepted` for what is harmless, which is then also asked to predict.
"""

import collections
import decimal
import functools
import importlib
import operator
import pathlib
import pickle
import sys
import warnings

import joblib
import numpy as np
import scipy.sparse as sp
from scipy.stats import randint
from sklearn import (
    cluster,
    compose,
    ensemble,
    feature_extraction,
    linear_model,
    neighbors,
    pipeline,
    preprocessing,
    svm,
    tree,
)
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer

HERE = pathlib.Path(__file__).parent
PAYLOAD = "touch canary"
UNTRUSTED, FORMAT, ACCEPTED = "UntrustedTypesError", "FormatError", "accepted"
# Trees of ensembles are built, and refused, when someone looks at them; until then the engine predicts, from what it has checked.
LATE = "FormatError, perhaps later"
FILES = []

rng = np.random.RandomState(0)
X = np.abs(rng.normal(size=(40, 4))).round(3)
y = np.arange(40) % 3
T = X[:, 0] * 2 + X[:, 1]


class Made:
    """An object that pickles as whatever is wanted."""

    def __init__(self, callable, *args, state=None, items=None, pairs=None):
        self.made = (callable, args, state, items and iter(items), pairs and iter(pairs))

    def __reduce__(self):
        return self.made


class Name:
    """Pickles as a name that may not exist here."""

    def __init__(self, module, qualname):
        self.module, self.qualname = module, qualname


class Pickler(pickle._Pickler):
    dispatch = pickle._Pickler.dispatch.copy()

    def save_name(self, value):
        self.save(value.module)
        self.save(value.qualname)
        self.write(pickle.STACK_GLOBAL)
        self.memoize(value)

    dispatch[Name] = save_name

    def save_reduce(
        self, func, args, state=None, listitems=None, dictitems=None, state_setter=None, obj=None
    ):
        if not isinstance(obj, Made):
            return super().save_reduce(func, args, state, listitems, dictitems, obj=obj)
        self.save(func)
        self.save(args)
        self.write(pickle.REDUCE)
        # Unless its own state has led here again.
        if id(obj) not in self.memo:
            self.memoize(obj)
        self._batch_appends(listitems or iter(()))
        self._batch_setitems(dictitems or iter(()))
        if state is not None:
            self.save(state)
            self.write(pickle.BUILD)


def file(name, value, answer, suffix=".pkl"):
    path = HERE / f"{name}{suffix}"
    if suffix == ".pkl":
        with path.open("wb") as stream:
            Pickler(stream, 4).dump(value)
    else:
        joblib.dump(value, path, compress=3)
    FILES.append((path.name, answer))


def transformer(function, **settings):
    return preprocessing.FunctionTransformer(function, check_inverse=False, **settings)


def attribute(path):
    module, name = path.split(":")
    found = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found


RUNNERS = """os:system os:popen posix:system subprocess:Popen subprocess:check_output builtins:eval builtins:exec builtins:compile builtins:open
builtins:__import__ builtins:breakpoint builtins:setattr builtins:delattr builtins:globals builtins:input builtins:print builtins:vars importlib:import_module
runpy:run_path runpy:run_module pickle:loads pickle:load marshal:loads shelve:open code:interact pdb:run timeit:timeit cProfile:run profile:run
pty:spawn webbrowser:open ctypes:CDLL types:FunctionType types:CodeType logging.config:fileConfig shutil:rmtree shutil:copyfile pathlib:Path
tempfile:mktemp socket:socket urllib.request:urlopen zipfile:ZipFile tarfile:open sqlite3:connect bdb:Bdb pydoc:pipepager trace:Trace
numpy:load numpy:save numpy:fromfile numpy:loadtxt numpy:genfromtxt numpy:memmap numpy:vectorize numpy:frompyfunc numpy:apply_along_axis numpy:piecewise
numpy:ndarray numpy:savetxt numpy:show_config numpy.testing:rundocs numpy.lib.npyio:NpzFile joblib:load joblib:dump joblib:Memory joblib:Parallel
pandas:read_pickle pandas:read_csv pandas:eval pandas:read_sql pandas:DataFrame.to_pickle scipy.io:loadmat scipy.io:savemat
sklearn.datasets:load_files sklearn.datasets:load_svmlight_file sklearn.datasets:fetch_openml sklearn.utils:_safe_indexing sklearn.base:clone
sklearn.cluster._kmeans:_kmeans_single_lloyd sklearn.neighbors._kd_tree:newObj sklearn.svm._libsvm:predict sklearn.utils._mocking:MockDataFrame
operator:attrgetter operator:methodcaller operator:setitem functools:reduce functools:lru_cache itertools:chain copyreg:_reconstructor""".split()


def doors():
    for path in RUNNERS:
        try:
            value = attribute(path)
        except (ImportError, AttributeError):
            continue
        module, name = path.split(":")
        short = path.replace(":", "-").replace(".", "-").replace("_", "-").lower()
        file(f"door-value-{short}", transformer(Name(module, name)), UNTRUSTED)
    system = Name("os", "system")
    file("door-call", Made(system, PAYLOAD), UNTRUSTED)
    file("door-call-in-joblib", Made(attribute("os:system"), PAYLOAD), UNTRUSTED, ".joblib")
    file("door-call-in-an-estimator", linear_model.Ridge(alpha=Made(system, PAYLOAD)), UNTRUSTED)
    file("door-dotted-name", Made(Name("sklearn.datasets._base", "os.system"), PAYLOAD), UNTRUSTED)
    file("door-dotted-value", transformer(Name("numpy", "f2py.os.system")), UNTRUSTED)
    file("door-name-with-a-module-in-it", transformer(Name("numpy.f2py", "os.system")), UNTRUSTED)
    file("door-dunder", transformer(Name("numpy", "exp.__class__.__base__")), UNTRUSTED)
    file(
        "door-in-a-partial",
        transformer(Made(functools.partial, system, state=(system, (), {}, {}))),
        UNTRUSTED,
    )
    file(
        "door-other-function-in-a-partial",
        transformer(Made(functools.partial, np.exp, state=(np.log, (), {}, {}))),
        UNTRUSTED,
    )
    again = Made(functools.partial, np.exp)
    again.made = (functools.partial, (np.exp,), (again, (), {}, {}))
    file("door-partial-of-itself", transformer(again), UNTRUSTED)
    file(
        "door-argument-of-a-partial",
        transformer(Made(functools.partial, np.exp, state=(np.exp, (system,), {}, {}))),
        UNTRUSTED,
    )
    file(
        "door-keyword-of-a-partial",
        transformer(Made(functools.partial, np.exp, state=(np.exp, (), {"out": system}, {}))),
        UNTRUSTED,
    )
    file("door-methodcaller", transformer(Made(operator.methodcaller, "tofile", "canary")), UNTRUSTED)
    file("door-attrgetter", transformer(Made(operator.attrgetter, "__class__")), UNTRUSTED)
    file("door-getattr-of-os", transformer(Made(getattr, Name("os", "path"), "os")), UNTRUSTED)
    file("door-getattr-format", transformer(Made(getattr, str, "format")), UNTRUSTED)
    file("door-getattr-dunder", transformer(Made(getattr, str, "__class__")), UNTRUSTED)
    file("door-computed-callable", transformer(Made(Made(getattr, str, "lower"), "X")), UNTRUSTED)
    file("door-key-of-a-dict", {Name("os", "system"): 1}, UNTRUSTED)
    file("door-in-a-set", {1, Name("os", "system")}, UNTRUSTED)
    objects = np.empty(1, object)
    objects[0] = system
    file("door-in-an-object-array", objects, UNTRUSTED)
    file("door-keyword-of-a-transformer", transformer(np.exp, kw_args={"out": system}), UNTRUSTED)
    file("door-the-root-is-a-name", system, UNTRUSTED)
    file("door-score-of-a-scorer", Made(Name("sklearn.metrics._scorer", "_Scorer"), system, 1, {}), UNTRUSTED)
    file(
        "door-class-of-an-array",
        Made(Name("numpy._core.multiarray", "_reconstruct"), system, (0,), b"b"),
        UNTRUSTED,
    )
    file("door-class-of-a-tree", Made(Name("sklearn.neighbors._kd_tree", "newObj"), system), UNTRUSTED)
    file(
        "door-bit-generator-of-any-class",
        Made(Name("numpy.random._pickle", "__bit_generator_ctor"), system),
        UNTRUSTED,
    )
    file(
        "door-bit-generator-by-name",
        Made(Name("numpy.random._pickle", "__bit_generator_ctor"), "os.system"),
        UNTRUSTED,
    )
    file(
        "door-random-state-of-a-call",
        Made(Name("numpy.random._pickle", "__randomstate_ctor"), Made(system, PAYLOAD)),
        UNTRUSTED,
    )
    file(
        "door-index-of-any-class", Made(Name("pandas.core.indexes.base", "_new_Index"), system, {}), UNTRUSTED
    )
    file("door-factory-of-a-defaultdict", Made(collections.defaultdict, system), UNTRUSTED)
    file("door-stop-words-that-are-code", CountVectorizer(analyzer=system), UNTRUSTED)
    file("door-metric", neighbors.NearestNeighbors(metric=system), UNTRUSTED)
    file("door-kernel", svm.SVC(kernel=system), UNTRUSTED)
    file("door-files-as-input", CountVectorizer(input="filename").fit([__file__]), UNTRUSTED)
    file("door-readers-as-input", HashingVectorizer(input="file"), UNTRUSTED)
    file("door-frozen-distribution", {"alpha": randint(1, 3)}, UNTRUSTED)
    file(
        "door-memory",
        pipeline.Pipeline([("a", preprocessing.StandardScaler())], memory=joblib.Memory("canary", verbose=0)),
        UNTRUSTED,
    )
    file("door-vectorize", transformer(np.vectorize(attribute("os:system"))), UNTRUSTED)
    file("door-string-as-dtype", Made(Name("numpy", "dtype"), "os.system", False, True), FORMAT)
    file("door-lowercase-class-called", Made(Name("sklearn.svm._classes", "SVC")), UNTRUSTED)
    file("door-made-with-arguments", Made(Name("sklearn.tree._tree", "Tree"), "canary", 1, 2), UNTRUSTED)
    # Each alone is allowed: a state dict that is at the same time an ordinary value.
    shared = {"_kmeans_single": attribute("sklearn.cluster._kmeans:_kmeans_single_lloyd")}
    bisecting = cluster.BisectingKMeans.__new__(cluster.BisectingKMeans)
    bisecting.__dict__ = shared
    file(
        "door-state-that-is-shared",
        [
            Made(Name("copyreg", "__newobj__"), cluster.BisectingKMeans, state=shared),
            transformer(np.exp, kw_args=shared),
        ],
        UNTRUSTED,
    )


def hidden_methods():
    model = svm.SVC().fit(X, y)
    model._validate_for_predict = np.nan_to_num
    file("door-attribute-in-place-of-a-method", model, FORMAT)
    model = cluster.KMeans(3, n_init=1, random_state=0).fit(X)
    model._check_test_data = np.nan_to_num
    file("door-attribute-in-place-of-a-check", model, FORMAT)
    model = linear_model.Ridge().fit(X, T)
    model.predict = np.exp
    file("door-attribute-in-place-of-predict", model, FORMAT)


def exhaustion():
    equal = [n * (2**61 - 1) for n in range(1, 30_001)]
    keys = dict.fromkeys(range(3))
    file("exhaust-colliding-keys", Colliding("dict", equal), FORMAT)
    file("exhaust-colliding-set", Colliding("set", equal[:3000]), FORMAT)
    file("exhaust-colliding-counter", Made(collections.Counter, Colliding("dict", equal[:3000])), FORMAT)
    file(
        "exhaust-colliding-ordered",
        Made(collections.OrderedDict, pairs=[(key, None) for key in equal[:3000]]),
        FORMAT,
    )
    file("exhaust-colliding-floats-of-tuples", Colliding("dict", [(n,) for n in equal[:3000]]), FORMAT)
    key = ("a",)
    for _ in range(60):
        key = (key, key)
    file("exhaust-key-of-shared-tuples", Colliding("dict", [key]), FORMAT)
    shared = [keys]
    for _ in range(200):
        shared = [shared, shared]
    file("exhaust-shared-lists", shared, ACCEPTED)
    model = ensemble.RandomForestClassifier(2, max_depth=2, random_state=0).fit(X, y)
    model.n_jobs = 10**6
    file("exhaust-n-jobs", model, FORMAT)
    file("exhaust-n-jobs-of-a-partial", transformer(np.exp, kw_args={"n_jobs": 10**6}), FORMAT)
    file("exhaust-n-jobs-of-a-scalar", neighbors.KNeighborsClassifier(n_jobs=np.int64(10**6)), FORMAT)
    model = cluster.KMeans(3, n_init=1, random_state=0).fit(X)
    model._n_threads = 10**6
    file("exhaust-threads-of-k-means", model, FORMAT)
    model = cluster.BisectingKMeans(2, n_init=1, random_state=0).fit(X)
    node = model._bisecting_tree.left
    for _ in range(60):
        parent = type(node).__new__(type(node))
        parent.__dict__.update(vars(node), left=node, right=node)
        node = parent
    model._bisecting_tree = node
    file("exhaust-tree-of-shared-branches", model, FORMAT)
    file("exhaust-decimal", Made(decimal.Decimal, "1E+999999999"), UNTRUSTED)
    file(
        "exhaust-void-scalar",
        Made(Name("numpy._core.multiarray", "scalar"), np.dtype("V2000000000"), b""),
        UNTRUSTED,
    )
    file("exhaust-range", transformer(np.exp, kw_args={"where": Made(range, 0, 10**15, 1)}), ACCEPTED)
    steps = preprocessing.StandardScaler().fit(X)
    for _ in range(300):
        steps = pipeline.Pipeline([("a", steps)])
    file("exhaust-pipelines-in-pipelines", steps, FORMAT)
    model = preprocessing.PolynomialFeatures(2).fit(X)
    model._n_out_full = 2**62
    file("exhaust-polynomial", model, FORMAT)


class Colliding:
    """A dict or set of keys that Python would take long to make."""

    def __init__(self, kind, keys):
        self.kind, self.keys = kind, keys


def save_colliding(self, value):
    self.write(pickle.EMPTY_DICT if value.kind == "dict" else pickle.EMPTY_SET)
    self.memoize(value)
    self.write(pickle.MARK)
    for key in value.keys:
        self.save(key)
        if value.kind == "dict":
            self.save(None)
    self.write(pickle.SETITEMS if value.kind == "dict" else pickle.ADDITEMS)


Pickler.dispatch[Colliding] = save_colliding


def changed(name, model, answer=FORMAT, **attributes):
    for key, value in attributes.items():
        setattr(model, key, value)
    file(f"content-{name}", model, answer)


def late(name, model, **attributes):
    changed(name, model, LATE, **attributes)


def machines():
    def fitted(**settings):
        return svm.SVC(**settings).fit(X, y)

    model = fitted()
    n = len(model.support_)
    changed(
        "svc-more-support-than-vectors",
        fitted(),
        _n_support=np.array([n + 2_000_000, -2_000_000, 0], np.int32),
    )
    changed("svc-negative-support", fitted(), _n_support=np.array([-1, n, 1], np.int32))
    changed("svc-more-classes", fitted(), _n_support=np.array([n // 2, n - n // 2] + [0] * 500, np.int32))
    changed("svc-narrow-vectors", fitted(), support_vectors_=model.support_vectors_[:, :1].copy())
    changed("svc-fewer-vectors", fitted(), support_vectors_=model.support_vectors_[:1])
    changed("svc-short-coefficients", fitted(), _dual_coef_=model._dual_coef_[:, :1].copy())
    changed("svc-one-intercept", fitted(), _intercept_=model._intercept_[:1])
    changed("svc-short-probabilities", fitted(probability=True, random_state=0), _probA=np.zeros(1))
    changed("svc-features-of-another", fitted(), n_features_in_=1)
    changed("svc-another-implementation", fitted(), _impl="epsilon_svr")
    changed("svr-two-intercepts-missing", svm.SVR().fit(X, T), _intercept_=np.zeros(0))
    changed("svr-many-outputs", svm.SVR().fit(X, T), _n_support=np.array([1] * 50, np.int32))
    precomputed = svm.SVC(kernel="precomputed").fit(X @ X.T, y)
    changed("svc-precomputed-far-support", precomputed, support_=precomputed.support_ + 10**8)
    sparse = svm.SVC().fit(sp.csr_matrix(X), y)
    short = sparse._dual_coef_.copy()
    short.data = short.data[:1].copy()
    short.indices, short.indptr = short.indices[:1].copy(), np.minimum(short.indptr, 1)
    changed("svc-sparse-short-coefficients", sparse, _dual_coef_=short)
    sparse = svm.SVC().fit(sp.csr_matrix(X), y)
    sparse.support_vectors_.indices[:] = 10**8
    changed("svc-sparse-far-features", sparse)


def tree_state(kind, **changes):
    found = kind(X, leaf_size=5)
    state = list(found.__reduce__()[2])
    places = dict(
        zip(
            "data idx_array node_data node_bounds leaf_size n_levels n_nodes n_trims n_leaves n_splits n_calls dist_metric sample_weight".split(),
            range(13),
        )
    )
    for name, value in changes.items():
        state[places[name]] = value(state[places[name]]) if callable(value) else value
    module = kind.__module__
    return Made(importlib.import_module(module).newObj, kind, state=tuple(state))


def searched(name, answer=FORMAT, kind=neighbors.KDTree, **changes):
    model = neighbors.NearestNeighbors(
        algorithm="kd_tree" if kind is neighbors.KDTree else "ball_tree", leaf_size=5
    ).fit(X)
    model._tree = tree_state(kind, **changes)
    file(f"content-{name}", model, answer)


def edit(name, index, value):
    def change(nodes):
        nodes = nodes.copy()
        nodes[name][index] = value
        return nodes

    return change


def nearest():
    searched("kd-tree-as-it-is", ACCEPTED)
    searched("kd-tree-far-index", idx_array=lambda index: index + 10**9)
    searched("kd-tree-negative-index", idx_array=lambda index: -index - 1)
    searched("kd-tree-points-twice", idx_array=lambda index: np.zeros_like(index))
    searched("kd-tree-short-index", idx_array=lambda index: index[:1])
    searched("kd-tree-node-past-the-points", node_data=edit("idx_end", slice(None), 10**9))
    searched("kd-tree-node-before-the-points", node_data=edit("idx_start", slice(None), -(10**9)))
    searched("kd-tree-without-leaves", node_data=edit("is_leaf", slice(None), 0))
    searched("kd-tree-fewer-nodes", node_data=lambda nodes: nodes[:1])
    searched("kd-tree-short-bounds", node_bounds=lambda bounds: bounds[:, :1].copy())
    searched("kd-tree-more-levels", n_levels=40, n_nodes=2**40 - 1)
    searched("kd-tree-negative-levels", n_levels=-1)
    searched("kd-tree-short-weights", sample_weight=np.ones(1))
    searched("ball-tree-far-index", kind=neighbors.BallTree, idx_array=lambda index: index + 10**9)
    searched(
        "ball-tree-short-bounds", kind=neighbors.BallTree, node_bounds=lambda bounds: bounds[:, :1].copy()
    )
    for metric, vec, mat in [
        ("SEuclidean", np.ones(1), np.zeros((1, 1))),
        ("Mahalanobis", np.zeros(1), np.eye(1)),
        ("Minkowski", np.ones(1), np.zeros((1, 1))),
        ("Haversine", np.zeros(1), np.zeros((1, 1))),
    ]:
        kind = attribute(f"sklearn.metrics._dist_metrics:{metric}Distance64")
        narrow = Made(attribute("sklearn.metrics._dist_metrics:newObj"), kind, state=(2.0, vec, mat))
        changes = {
            "data": lambda data: data[:, :3].copy(),
            "node_bounds": lambda bounds: bounds[..., :3].copy(),
        }
        searched(f"ball-tree-narrow-{metric.lower()}", kind=neighbors.BallTree, dist_metric=narrow, **changes)
    skewed = Made(
        attribute("sklearn.metrics._dist_metrics:newObj"),
        attribute("sklearn.metrics._dist_metrics:MahalanobisDistance64"),
        state=(2.0, np.zeros(1), np.zeros((4, 1))),
    )
    searched("ball-tree-skewed-mahalanobis", kind=neighbors.BallTree, dist_metric=skewed)
    changed(
        "neighbours-far-labels", neighbors.KNeighborsClassifier(3, algorithm="brute").fit(X, y), _y=y + 10**7
    )
    changed(
        "neighbours-negative-labels",
        neighbors.KNeighborsClassifier(3, algorithm="brute").fit(X, y),
        _y=y - 10**7,
    )
    changed("neighbours-few-labels", neighbors.KNeighborsClassifier(3, algorithm="brute").fit(X, y), _y=y[:1])
    changed(
        "radius-far-labels", neighbors.RadiusNeighborsClassifier(9, algorithm="brute").fit(X, y), _y=y + 10**7
    )
    model = neighbors.KNeighborsClassifier(3, algorithm="brute").fit(sp.csr_matrix(X), y)
    model._fit_X.indices[:] = 10**8
    changed("neighbours-sparse-far", model)


def trees():
    def forest():
        return ensemble.RandomForestClassifier(2, max_depth=3, random_state=0).fit(X, y)

    def damaged(field, value, at=0):
        model = tree.DecisionTreeClassifier(max_depth=3, random_state=0).fit(X, y)
        args, state = model.tree_.__reduce__()[1:]
        state["nodes"] = state["nodes"].copy()
        state["nodes"][field][at] = value
        model.tree_ = Made(tree._tree.Tree, *args, state=state)
        return model

    late("tree-far-child", damaged("left_child", 10**6))
    late("tree-cycle", damaged("left_child", 0))
    late("tree-negative-child", damaged("right_child", -5))
    late("tree-far-feature", damaged("feature", 10**6))
    late("tree-negative-feature", damaged("feature", -7))
    model = tree.DecisionTreeClassifier(max_depth=3, random_state=0).fit(X, y)
    args, state = model.tree_.__reduce__()[1:]
    late(
        "tree-many-nodes", model, tree_=Made(tree._tree.Tree, *args, state={**state, "node_count": 10**6})
    )
    late(
        "tree-few-values",
        model,
        tree_=Made(tree._tree.Tree, *args, state={**state, "values": state["values"][:1]}),
    )
    late(
        "tree-of-other-features",
        model,
        tree_=tree.DecisionTreeClassifier(random_state=0).fit(np.hstack([X] * 50)[:, ::-1], y).tree_,
    )
    model = forest()
    wide = np.hstack([np.zeros((40, 500)), X])
    late(
        "forest-of-wider-trees",
        model,
        estimators_=[tree.DecisionTreeClassifier(random_state=0).fit(wide, y)] * 2,
    )
    model = ensemble.IsolationForest(n_estimators=2, random_state=0).fit(X)
    late(
        "isolation-of-wider-trees",
        model,
        estimators_=ensemble.IsolationForest(n_estimators=2, random_state=0).fit(wide).estimators_,
    )
    boosting = ensemble.GradientBoostingClassifier(n_estimators=2, random_state=0).fit(X, y)
    more = np.concatenate([boosting.estimators_] * 40, axis=1)
    late(
        "boosting-more-trees-than-classes",
        ensemble.GradientBoostingClassifier(n_estimators=2, random_state=0).fit(X, y),
        estimators_=more,
    )
    late(
        "boosting-more-trees-said",
        ensemble.GradientBoostingClassifier(n_estimators=2, random_state=0).fit(X, y),
        estimators_=more,
        n_trees_per_iteration_=120,
    )
    wider = ensemble.GradientBoostingClassifier(n_estimators=2, random_state=0).fit(wide, y)
    late("boosting-of-wider-trees", boosting, estimators_=wider.estimators_)


def histograms():
    def fitted():
        frame = X.copy()
        frame[:, 3] = np.arange(40) // 10
        return ensemble.HistGradientBoostingClassifier(
            max_iter=2, min_samples_leaf=2, categorical_features=[3], random_state=0
        ).fit(frame, y)

    def damaged(field, value, only=None):
        model = fitted()
        for stage in model._predictors:
            for predictor in stage:
                nodes = predictor.nodes
                where = slice(None) if only is None else np.flatnonzero(nodes[only])
                nodes[field][where] = value
        return model

    late("histogram-far-child", damaged("left", 10**9))
    late("histogram-cycle", damaged("right", 0))
    late("histogram-far-feature", damaged("feature_idx", 10**9))
    late("histogram-negative-feature", damaged("feature_idx", -(10**9)))
    model = damaged("is_categorical", 1)
    for stage in model._predictors:
        for predictor in stage:
            predictor.nodes["bitset_idx"] = 10**8
    late("histogram-far-bits", model)
    model = fitted()
    for stage in model._predictors:
        for predictor in stage:
            predictor.raw_left_cat_bitsets = np.zeros((0, 8), np.uint32)
            predictor.nodes["is_categorical"] = 1
    late("histogram-no-bits", model)
    late("histogram-categories-of-numbers", damaged("is_categorical", 1))
    model = fitted()
    model._bin_mapper.bin_thresholds_[0] = np.array([10.0**6])
    model._bin_mapper.bin_thresholds_ = [np.array([10.0**8])] * 4
    late("histogram-far-categories", model)
    model = fitted()
    model._bin_mapper.is_categorical_ = np.zeros(0, np.uint8)
    late("histogram-no-kinds", model)
    late("histogram-fewer-features", fitted(), n_features_in_=1)
    narrow = compose.ColumnTransformer([("a", preprocessing.FunctionTransformer(), [0])]).fit(X)
    late("histogram-preprocessor-that-drops", fitted(), _preprocessor=narrow)


def matrices():
    def model(**parts):
        found = linear_model.LogisticRegression().fit(X, y)
        found.sparsify()
        for name, value in parts.items():
            setattr(found.coef_, name, value)
        return found

    changed("csr-far-indices", model(indices=np.full(12, 10**8, np.int32)))
    changed("csr-negative-indices", model(indices=np.full(12, -5, np.int32)))
    changed("csr-pointers-that-fall", model(indptr=np.array([0, 12, -4, 12], np.int32)))
    changed("csr-far-pointers", model(indptr=np.array([0, 4, 8, 10**8], np.int32)))
    changed("csr-few-values", model(data=np.zeros(1)))
    changed("csr-large-shape", model(_shape=(10**6, 4)))
    holders = {
        "csc": sp.csc_matrix(X),
        "bsr": sp.bsr_matrix(X, blocksize=(2, 2)),
        "coo": sp.coo_matrix(X),
        "dia": sp.dia_matrix(X),
        "lil": sp.lil_matrix(X),
        "dok": sp.dok_matrix(X),
    }
    for kind, matrix in holders.items():
        if kind in ("csc", "bsr"):
            matrix.indices[:] = 10**8
        elif kind == "coo":
            matrix.coords[0][:] = 10**8
        elif kind == "dia":
            matrix.data = matrix.data[:1].copy()
        elif kind == "lil":
            matrix.rows[0] = [10**8, *matrix.rows[0][1:]]
        else:
            far = {(10**8, 0): 1.0}
            matrix = Made(
                attribute("copyreg:_reconstructor"),
                sp.dok_matrix,
                dict,
                far,
                state={**vars(matrix), "_dict": far},
            )
        file(f"content-{kind}-outside", transformer(np.exp, kw_args={"where": matrix}), FORMAT)
    longer = sp.lil_matrix(X)
    longer.data[0] = [1.0] * 10_000
    file("content-lil-more-values", longer, FORMAT)


def vocabularies():
    texts = ["old mill", "new mill by the river"]
    vocabulary = CountVectorizer().fit(texts)
    changed("vocabulary-far-column", vocabulary, vocabulary_={"mill": 10**9, "old": 0})
    changed(
        "vocabulary-negative-column", CountVectorizer().fit(texts), vocabulary_={"mill": -(10**9), "old": 0}
    )
    changed("vocabulary-column-of-text", CountVectorizer().fit(texts), vocabulary_={"mill": "0"})
    many = {f"word {n}": n for n in range(2000)}
    many["mill"] = 10**9
    changed("vocabulary-far-column-of-many", CountVectorizer().fit(texts), vocabulary_=many)
    dicts = feature_extraction.DictVectorizer(sparse=False).fit([{"a": 1, "b": 2}])
    changed("dict-vocabulary-far-column", dicts, vocabulary_={"a": 10**9, "b": 0})
    changed("hashing-no-features", feature_extraction.FeatureHasher(4, input_type="string"), n_features=0)
    changed("hashing-negative-features", HashingVectorizer(), n_features=-3)
    labels = preprocessing.MultiLabelBinarizer().fit([["a"], ["b"]])
    changed("label-far-column", labels, _cached_dict={"a": 10**9, "b": 0})
    rare = preprocessing.OneHotEncoder(
        min_frequency=12, handle_unknown="infrequent_if_exist", sparse_output=False
    ).fit(np.array([0] * 20 + [1] * 15 + [2] * 5)[:, None])
    changed("one-hot-fewer-columns", rare, _n_features_outs=[1])
    rare = preprocessing.OneHotEncoder(min_frequency=12, sparse_output=False).fit(
        np.array([0] * 20 + [1] * 10 + [2] * 5)[:, None]
    )
    rare._default_to_infrequent_mappings[0][:] = 10**9
    changed("one-hot-far-rare-category", rare)


def groups():
    def means(kind=cluster.KMeans):
        return kind(3, n_init=1, random_state=0).fit(X)

    changed("k-means-narrow-centers", means(), cluster_centers_=np.zeros((3, 1)))
    changed("mini-batch-narrow-centers", means(cluster.MiniBatchKMeans), cluster_centers_=np.zeros((3, 1)))
    changed("k-means-wide-features", means(), n_features_in_=1)
    changed("k-means-no-centers", means(), cluster_centers_=np.zeros((0, 4)))
    model = means(cluster.BisectingKMeans)
    model._bisecting_tree.left.center = np.zeros(1)
    model._bisecting_tree.right.center = np.zeros(1)
    changed("bisecting-narrow-centers", model)
    changed(
        "birch-few-norms", cluster.Birch(threshold=0.2, n_clusters=3).fit(X), _subcluster_norms=np.zeros(1)
    )
    model = cluster.HDBSCAN(min_cluster_size=5, copy=True).fit(X)
    model._single_linkage_tree_["left_node"] = 10**9
    changed("hdbscan-far-link", model)
    model = preprocessing.SplineTransformer().fit(X)
    model.bsplines_[0]._c = np.zeros((1, 7))
    changed("spline-few-coefficients", model)
    model = preprocessing.SplineTransformer().fit(X)
    model.bsplines_[0].k = 10**6
    changed("spline-degree", model)
    model = preprocessing.SplineTransformer().fit(X)
    model.bsplines_[0]._t = model.bsplines_[0]._t[::-1].copy()
    changed("spline-falling-knots", model)
    changed(
        "agglomeration-far-label", cluster.FeatureAgglomeration(2).fit(X), labels_=np.array([0, 1, 10**12, 1])
    )


def random_states():
    constructor = attribute("numpy.random._pickle:__bit_generator_ctor")
    for kind, change in [
        (np.random.MT19937, lambda state: state["state"].update(pos=10**9)),
        (np.random.MT19937, lambda state: state["state"].update(key=np.zeros(1, np.uint32))),
        (np.random.Philox, lambda state: state.update(buffer_pos=-(10**6))),
        (np.random.SFC64, lambda state: state["state"].update(state=np.zeros(1, np.uint64))),
    ]:
        bits = kind(1)
        state = bits.__reduce__()[2]
        change(state[0])
        name = f"random-{kind.__name__.lower()}-{len(FILES)}"
        file(
            f"content-{name}",
            transformer(np.exp, kw_args={"a": Made(constructor, kind, state=state)}),
            FORMAT,
        )
    state = np.random.RandomState(1).__reduce__()[2]
    state["state"]["pos"] = 10**9
    model = ensemble.RandomForestClassifier(2, random_state=0).fit(X, y)
    model.random_state = Made(
        attribute("numpy.random._pickle:__randomstate_ctor"), np.random.MT19937(1), state=state
    )
    file("content-random-state-position", model, FORMAT)
    sequence = attribute("numpy.random.bit_generator:__pyx_unpickle_SeedSequence")
    args = np.random.SeedSequence(1).__reduce__()[1]
    file(
        "content-seed-sequence-pool",
        Made(sequence, *args, state=(1, 0, np.zeros(1, np.uint32), 10**6, ())),
        FORMAT,
    )
    masked = np.ma.masked_array([1.0, 2.0], [True, False]).__reduce__()
    file(
        "content-masked-short",
        Made(masked[0], *masked[1], state=(1, (10**6,), np.dtype("f8"), False, b"", b"", None)),
        FORMAT,
    )
    file(
        "content-masked-negative",
        Made(masked[0], *masked[1], state=(1, (-5, -5), np.dtype("f8"), False, b"", b"", None)),
        UNTRUSTED,
    )


def frames():
    import pandas as pd

    blocks = attribute("pandas._libs.internals:_unpickle_block")
    manager = attribute("pandas.core.internals.managers:BlockManager")
    index = pd.RangeIndex(2)
    block = Made(blocks, np.zeros((1, 2)), slice(10**6, 10**6 + 1, 1), 2)
    frame = Made(
        Name("copyreg", "__newobj__"),
        pd.DataFrame,
        state={
            "_mgr": Made(manager, (block,), [index, index]),
            "_typ": "dataframe",
            "_metadata": [],
            "attrs": {},
            "_flags": {"allows_duplicate_labels": True},
        },
    )
    file("content-frame-far-column", frame, FORMAT)
    values = pd.Categorical([3, 4])
    callable, args, state = values.__reduce__()
    codes = [np.full(2, 100, np.int8) if isinstance(part, np.ndarray) else part for part in state]
    file("content-categorical-far-code", Made(callable, *args, state=tuple(codes)), FORMAT)


def main():
    warnings.simplefilter("ignore")
    sys.setrecursionlimit(20_000)
    for old in [*HERE.glob("*.pkl"), *HERE.glob("*.joblib")]:
        old.unlink()
    for part in [
        doors,
        hidden_methods,
        exhaustion,
        machines,
        nearest,
        trees,
        histograms,
        matrices,
        vocabularies,
        groups,
        random_states,
        frames,
    ]:
        part()
    (HERE / "expected.tsv").write_text("".join(f"{name}\t{answer}\n" for name, answer in sorted(FILES)))
    print(len(FILES), "files,", sum(path.stat().st_size for path in HERE.iterdir()) // 1024, "KiB")


if __name__ == "__main__":
    main()
