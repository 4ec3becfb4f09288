"""What people put into estimators: one small case each.

`variants()` gives (name, object, fresh data or None). What is not trusted by default is in test_trusted.py, with the reason.
"""

import collections
import datetime
import decimal
import fractions
import functools
import operator
import pathlib
import re
import uuid
import warnings
from collections.abc import Iterator

import numpy as np
import pandas as pd
import scipy.sparse
import sklearn
from estimators import TEXTS, table
from scipy.special import expit
from sklearn import (
    calibration,
    cluster,
    compose,
    decomposition,
    ensemble,
    feature_selection,
    impute,
    kernel_approximation,
    linear_model,
    metrics,
    model_selection,
    multiclass,
    naive_bayes,
    neighbors,
    neural_network,
    pipeline,
    preprocessing,
    svm,
    tree,
)
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfVectorizer
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor, kernels
from sklearn.utils import Bunch
from sklearn.utils.validation import check_array

X, y, FRESH, FRESH_Y = table(3)
T = table(0)[1]
NUMERIC = {"X": FRESH, "y": FRESH_Y}


def variants() -> Iterator[tuple[str, object, dict | None]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for part in [
            python,
            arrays,
            sparse,
            randomness,
            frames,
            functions,
            text,
            losses,
            trees,
            metric_trees,
            searches,
            others,
        ]:
            yield from part()


def holder(value) -> preprocessing.FunctionTransformer:
    """An estimator with a value among its settings."""
    return preprocessing.FunctionTransformer(kw_args={"value": value})


def python():
    values = {
        "scalars": [
            None,
            True,
            0,
            -1,
            2**40,
            2**200,
            -(2**63) - 1,
            1.5,
            -0.0,
            float("nan"),
            1 + 2j,
            "text",
            b"bytes",
            bytearray(b"x"),
        ],
        "containers": [
            (),
            (1,),
            [],
            {},
            {1, 2},
            frozenset({3}),
            range(3),
            slice(1, None),
            slice(None, None, 2),
            ...,
            NotImplemented,
        ],
        "keys": {
            1: "a",
            "1": "b",
            (1, "x"): "c",
            None: "d",
            b"1": "e",
            2.5: "f",
            True and "t": 1,
            frozenset({1}): 2,
            np.int64(7): 3,
        },
        "keys that are bools": {False: 1, True: 2},
        "collections": [
            collections.deque([1, 2], 5),
            collections.deque([1]),
            collections.Counter("aab"),
            collections.OrderedDict(b=1, a=2),
            collections.defaultdict(list, a=[1]),
            collections.defaultdict(int),
            collections.defaultdict(None),
        ],
        "numbers": [
            decimal.Decimal("1.50"),
            decimal.Decimal("NaN"),
            decimal.Decimal("1E+5"),
            fractions.Fraction(1, 3),
        ],
        "times": [
            datetime.date(2026, 1, 2),
            datetime.datetime(2026, 1, 2, 3, 4, 5),
            datetime.timedelta(1, 2, 3),
        ],
        "library": [uuid.UUID(int=5), pathlib.PurePosixPath("a/b"), re.compile(r"\w+", re.I)],
        "types": [
            int,
            float,
            bool,
            dict,
            list,
            object,
            np.float32,
            np.int64,
            np.uint8,
            np.bool_,
            np.number,
            type(None),
        ],
    }
    shared, cycle = [1, 2], []
    cycle.append(cycle)
    values["sharing"] = [shared, shared, {"again": shared}]
    values["cycle"] = cycle
    for name, value in values.items():
        yield name, holder(value), None
        yield f"{name}, on their own", value, None
    yield "bunch", Bunch(a=1, b=np.arange(3)), None


def arrays():
    rng = np.random.default_rng(0)
    records = np.zeros(4, [("a", "f8"), ("b", "<i4", (2,)), ("c", "u1")])
    records["a"] = [1, np.nan, np.inf, -0.0]
    objects = np.empty((2, 2), object)
    objects[:] = [["a", 1], [None, [2.5]]]
    nested = np.empty(2, object)
    nested[:] = [np.arange(3), objects]
    one = rng.normal(size=(3, 4))
    values = {
        "kinds": [
            np.arange(6).reshape(2, 3).astype(k)
            for k in "i1 u2 <i4 >i8 f2 f4 f8 >f8 c8 c16 ? U3 S4 M8[D] m8[ms] V3".split()
            if k != "V3"
        ],
        "orders": [
            one,
            np.asfortranarray(one),
            one.T,
            one[::2],
            np.zeros((2, 3, 4)).transpose(1, 0, 2),
            np.array(5.0),
            np.zeros((0, 3)),
        ],
        "records": [records, records[0], np.zeros(2, np.dtype([("a", "i1"), ("b", "f8")], align=True))],
        "objects": [objects, np.asfortranarray(objects), np.array([], object), nested],
        "masked": [
            np.ma.masked_array([1.0, 2.0], [True, False]),
            np.ma.masked_array(np.array(["a", 1], object), [False, True]),
            np.ma.masked_array([1, 2]),
        ],
        "matrix": np.matrix([[1.0, 2.0]]),
        "recarray": np.rec.array([(1, 2.0)], dtype=[("a", "i8"), ("b", "f8")]),
        "text": np.array(["a", "bc"], np.dtypes.StringDType()),
        "text with missing": np.array(["a", np.nan], np.dtypes.StringDType(na_object=np.nan)),
        "longdouble": np.ones(3, np.longdouble),
        "nan payload": np.array([0x7FF8000000000001, 0xFFF0000000000001], np.uint64).view(np.float64),
        "numpy scalars": [
            np.float64(1.5),
            np.int8(-3),
            np.bool_(True),
            np.str_("ab"),
            np.bytes_(b"x"),
            np.datetime64("2020-01-01"),
            np.complex64(1j),
        ],
        "dtypes": [np.dtype(k) for k in ["f8", ">i2", "U5", "M8[ns]", "?"]]
        + [np.dtype(object), records.dtype],
        "shared": (one, one, {"view": one[1:]}),
    }
    for name, value in values.items():
        yield f"arrays: {name}", holder(value), None


def sparse():
    for kind in ["csr", "csc", "coo", "bsr", "dia", "lil", "dok"]:
        for make in [scipy.sparse.random, scipy.sparse.random_array]:
            shape = (6, 4) if make is scipy.sparse.random else ((6, 4),)
            matrix = make(*shape, density=0.4, format=kind, rng=0)
            yield f"sparse: {type(matrix).__name__}", holder(matrix), None
    sparse_x = scipy.sparse.csr_matrix(np.where(X > 0.8, X, 0))
    fresh = {"X": scipy.sparse.csr_matrix(np.where(FRESH > 0.8, FRESH, 0)), "y": FRESH_Y}
    yield "SVC of a sparse matrix", svm.SVC(probability=False).fit(sparse_x, y), fresh
    yield "NuSVC of a sparse matrix", svm.NuSVC(nu=0.2).fit(sparse_x, y), fresh
    yield "SVR of a sparse matrix", svm.SVR().fit(sparse_x, T), fresh
    yield "OneClassSVM of a sparse matrix", svm.OneClassSVM().fit(sparse_x), fresh
    yield "neighbours of a sparse matrix", neighbors.KNeighborsClassifier().fit(sparse_x, y), fresh
    yield (
        "a sparse model",
        linear_model.SGDClassifier(penalty="l1", random_state=0).fit(sparse_x, y).sparsify(),
        fresh,
    )
    yield "a sparse regression", linear_model.Lasso(alpha=0.1).fit(sparse_x, T), fresh
    yield (
        "random projection",
        __import__("sklearn.random_projection")
        .random_projection.SparseRandomProjection(3, random_state=0)
        .fit(X),
        NUMERIC,
    )
    precomputed = neighbors.kneighbors_graph(X, 10, mode="distance")
    yield (
        "precomputed neighbours",
        neighbors.KNeighborsClassifier(3, metric="precomputed").fit(precomputed, y),
        None,
    )


def randomness():
    for bits in [np.random.MT19937, np.random.PCG64, np.random.PCG64DXSM, np.random.Philox, np.random.SFC64]:
        generator = np.random.Generator(bits(7))
        generator.random(3)
        yield f"random: Generator({bits.__name__})", holder(generator), None
        yield f"random: RandomState({bits.__name__})", holder(np.random.RandomState(bits(7))), None
        yield f"random: {bits.__name__}", holder(bits(7)), None
    state = np.random.RandomState(3)
    state.normal()
    yield (
        "random: a used RandomState",
        ensemble.RandomForestClassifier(3, random_state=state).fit(X, y),
        NUMERIC,
    )
    spawned = np.random.SeedSequence(5, spawn_key=(1, 2))
    spawned.spawn(2)
    yield "random: SeedSequence", holder(spawned), None
    yield (
        "random: entropy of many words",
        holder([np.random.SeedSequence(), np.random.SeedSequence([1, 2])]),
        None,
    )


def frames():
    frame = pd.DataFrame({"a": [1.5, 2, 3], "b": [1, 2, 3], "c": pd.Categorical(["x", "y", "x"])})
    values = {
        "frame": frame,
        "series": frame["a"],
        "objects": pd.DataFrame({"o": pd.Series(["p", 1, None], dtype=object)}),
        "named index": pd.DataFrame({"v": [1, 2]}, index=pd.Index([3, 4], name="n")),
        "many levels": pd.DataFrame({"v": [1, 2]}, index=pd.MultiIndex.from_tuples([(1, 3), (2, 4)])),
        "nullable": pd.Series([1, None, 3], dtype="Int64"),
        "missing": pd.NA,
        "timestamp": [pd.Timestamp("2026-01-02"), pd.NaT],
        "times": pd.Series(pd.to_datetime(["2026-01-02", "2026-01-03"])),
        "text": pd.Series(["a", "b"], dtype=pd.StringDtype("python")),
        "dtype": frame["c"].dtype,
    }
    for name, value in values.items():
        yield f"pandas: {name}", holder(value), None
    frame = pd.DataFrame({"n": X[:, 0], "m": X[:, 1], "c": np.array(["u", "v", "w"], object)[y]})
    fresh = pd.DataFrame(
        {"n": FRESH[:, 0], "m": FRESH[:, 1], "c": np.array(["u", "v", "w"], object)[FRESH_Y]}
    )
    columns = compose.make_column_transformer(
        (
            preprocessing.OneHotEncoder(handle_unknown="ignore"),
            compose.make_column_selector(dtype_include=[object, "string"]),
        ),
        (
            pipeline.make_pipeline(impute.SimpleImputer(), preprocessing.StandardScaler()),
            compose.make_column_selector(dtype_include=np.number),
        ),
        remainder="passthrough",
    )
    yield (
        "columns of a frame",
        pipeline.make_pipeline(columns, linear_model.LogisticRegression()).fit(frame, y),
        {"X": fresh, "y": FRESH_Y},
    )
    by_name = compose.ColumnTransformer(
        [("s", preprocessing.StandardScaler(), slice("n", "m")), ("d", "drop", ["c"])]
    )
    yield "a slice of columns", by_name.fit(frame), {"X": fresh}
    rest = compose.ColumnTransformer(
        [("s", preprocessing.MinMaxScaler(), ["n"])],
        remainder=preprocessing.OrdinalEncoder(),
        verbose_feature_names_out=False,
    )
    yield "the rest of the columns", rest.fit(frame), {"X": fresh}
    forest = ensemble.HistGradientBoostingClassifier(
        max_iter=5, categorical_features="from_dtype", random_state=0
    )
    for part in [frame, fresh]:
        part["c"] = pd.Categorical(part["c"], categories=["u", "v", "w"])
    yield "categories of a frame", forest.fit(frame, y), {"X": fresh, "y": FRESH_Y}
    frame_out = preprocessing.StandardScaler().set_output(transform="pandas").fit(frame[["n", "m"]])
    yield "pandas out", frame_out, {"X": fresh[["n", "m"]]}


def functions():
    for function in [
        np.log1p,
        np.expm1,
        np.exp,
        np.log,
        np.sqrt,
        np.median,
        np.mean,
        expit,
        np.nan_to_num,
        len,
        int,
        list,
        dict,
    ]:
        yield (
            f"function: {function.__name__}",
            preprocessing.FunctionTransformer(function, check_inverse=False),
            NUMERIC,
        )
    yield (
        "function: partial",
        preprocessing.FunctionTransformer(functools.partial(np.clip, a_min=0.2, a_max=1)),
        NUMERIC,
    )
    yield (
        "function: partial of positions",
        preprocessing.FunctionTransformer(functools.partial(np.add, 2.0)),
        NUMERIC,
    )
    yield (
        "function: check_array",
        preprocessing.FunctionTransformer(functools.partial(check_array, dtype=np.float32)),
        NUMERIC,
    )
    yield (
        "function: arguments",
        preprocessing.FunctionTransformer(np.clip, kw_args={"a_min": 0, "a_max": 1}),
        NUMERIC,
    )
    yield "function: itemgetter", preprocessing.FunctionTransformer(operator.itemgetter(slice(0, 3))), NUMERIC
    yield "function: itemgetter of names", holder(operator.itemgetter("a", "b")), None
    for score in "f_classif chi2 mutual_info_classif".split():
        yield (
            f"selection: {score}",
            feature_selection.SelectKBest(getattr(feature_selection, score), k=2).fit(X, y),
            NUMERIC,
        )
    for score in "f_regression r_regression mutual_info_regression".split():
        yield (
            f"selection: {score}",
            feature_selection.SelectKBest(getattr(feature_selection, score), k=2).fit(X, T),
            {"X": FRESH, "y": table(0)[3]},
        )
    transformed = compose.TransformedTargetRegressor(
        linear_model.Ridge(), func=np.log1p, inverse_func=np.expm1
    )
    yield "target transformed", transformed.fit(X, np.abs(T)), NUMERIC


def text():
    fresh = {"X": [*TEXTS, "unseen"]}
    yield "text: lower by method", CountVectorizer(preprocessor=str.lower).fit(TEXTS), fresh
    yield "text: split by method", TfidfVectorizer(tokenizer=str.split, token_pattern=None).fit(TEXTS), fresh
    yield "text: other methods", holder([str.upper, str.strip, str.casefold, str.title, str.splitlines]), None
    yield "text: given vocabulary", CountVectorizer(vocabulary={"mill": 0, "river": 1}).fit(TEXTS), fresh
    yield "text: vocabulary of a set", CountVectorizer(vocabulary={"mill"}).fit(TEXTS), fresh
    yield (
        "text: stop words",
        CountVectorizer(stop_words=["the", "a"], ngram_range=(1, 2), binary=True).fit(TEXTS),
        fresh,
    )
    yield (
        "text: english",
        TfidfVectorizer(stop_words="english", sublinear_tf=True, dtype=np.float32).fit(TEXTS),
        fresh,
    )
    yield "text: characters", TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 3)).fit(TEXTS), fresh
    yield "text: hashing", HashingVectorizer(n_features=2**8).fit(TEXTS), fresh
    many = [f"word{i} term{i * 7} item{i * 13}" for i in range(2000)]
    yield "text: a big vocabulary", TfidfVectorizer().fit(many), {"X": many[:50] + TEXTS}
    yield (
        "text: pipeline",
        pipeline.make_pipeline(TfidfVectorizer(), linear_model.SGDClassifier(random_state=0)).fit(
            TEXTS, [0, 1, 0, 1, 1]
        ),
        fresh,
    )
    topics = pipeline.make_pipeline(
        CountVectorizer(), decomposition.LatentDirichletAllocation(2, random_state=0, max_iter=3)
    )
    yield "text: topics", topics.fit(TEXTS), fresh


def losses():
    regressions = {
        "absolute_error": {},
        "quantile": {"quantile": 0.3},
        "poisson": {},
        "gamma": {},
        "squared_error": {},
    }
    for loss, more in regressions.items():
        model = ensemble.HistGradientBoostingRegressor(loss=loss, max_iter=4, random_state=0, **more)
        yield f"loss: histogram {loss}", model.fit(X, np.abs(T) + 0.1), NUMERIC
    for loss in ["huber", "quantile", "absolute_error"]:
        yield (
            f"loss: boosting {loss}",
            ensemble.GradientBoostingRegressor(loss=loss, n_estimators=3, random_state=0).fit(X, T),
            NUMERIC,
        )
    for loss in ["log_loss", "exponential"]:
        yield (
            f"loss: boosting {loss}",
            ensemble.GradientBoostingClassifier(loss=loss, n_estimators=3, random_state=0).fit(X, y > 0),
            NUMERIC,
        )
    yield (
        "loss: multinomial",
        ensemble.HistGradientBoostingClassifier(max_iter=3, random_state=0).fit(X, y),
        NUMERIC,
    )
    yield (
        "loss: boosting multinomial",
        ensemble.GradientBoostingClassifier(n_estimators=3, random_state=0).fit(X, y),
        NUMERIC,
    )
    for power in [0, 1.5, 3]:
        yield (
            f"loss: tweedie {power}",
            linear_model.TweedieRegressor(power=power).fit(X, np.abs(T) + 0.1),
            NUMERIC,
        )
    yield (
        "loss: tweedie with identity",
        linear_model.TweedieRegressor(power=1.5, link="log").fit(X, np.abs(T) + 0.1),
        NUMERIC,
    )
    for loss in [
        "hinge",
        "log_loss",
        "modified_huber",
        "squared_hinge",
        "perceptron",
        "squared_error",
        "huber",
        "epsilon_insensitive",
        "squared_epsilon_insensitive",
    ]:
        yield (
            f"loss: descent {loss}",
            linear_model.SGDClassifier(loss=loss, max_iter=5, random_state=0).fit(X, y),
            NUMERIC,
        )
    for loss in ["hinge", "squared_hinge"]:
        yield (
            f"loss: passive {loss}",
            linear_model.PassiveAggressiveClassifier(loss=loss, max_iter=5, random_state=0).fit(X, y),
            NUMERIC,
        )
    for loss in ["epsilon_insensitive", "squared_epsilon_insensitive", "huber"]:
        yield (
            f"loss: descent to a number {loss}",
            linear_model.SGDRegressor(loss=loss, max_iter=5, random_state=0).fit(X, T),
            NUMERIC,
        )
    yield (
        "averaged descent",
        linear_model.SGDClassifier(average=True, max_iter=5, random_state=0).fit(X, y),
        NUMERIC,
    )


def trees():
    missing = X.copy()
    missing[::7, 1] = np.nan
    labels = np.array(["no", "maybe", "yes"], object)[y]
    yield "tree: missing values", tree.DecisionTreeClassifier(random_state=0).fit(missing, y), NUMERIC
    yield (
        "tree: several outputs",
        ensemble.RandomForestClassifier(3, random_state=0).fit(X, np.column_stack([y, y > 0])),
        {"X": FRESH},
    )
    yield (
        "tree: text classes",
        ensemble.ExtraTreesClassifier(3, random_state=0).fit(X, labels),
        {"X": FRESH, "y": labels[:30]},
    )
    yield (
        "tree: out of bag",
        ensemble.RandomForestRegressor(5, oob_score=True, bootstrap=True, random_state=0).fit(X, T),
        NUMERIC,
    )
    yield (
        "tree: monotonic",
        ensemble.HistGradientBoostingRegressor(max_iter=4, monotonic_cst=[1, 0, -1, 0], random_state=0).fit(
            X, T
        ),
        NUMERIC,
    )
    stopped = ensemble.HistGradientBoostingClassifier(
        max_iter=6, early_stopping=True, random_state=0, interaction_cst="pairwise"
    )
    yield "tree: early stopping", stopped.fit(X, y), NUMERIC
    yield (
        "tree: initial model",
        ensemble.GradientBoostingClassifier(
            init=linear_model.LogisticRegression(), n_estimators=3, random_state=0
        ).fit(X, y),
        NUMERIC,
    )
    yield (
        "tree: zero initial model",
        ensemble.GradientBoostingRegressor(init="zero", n_estimators=3, random_state=0).fit(X, T),
        NUMERIC,
    )
    yield "tree: boosted", ensemble.AdaBoostRegressor(n_estimators=3, random_state=0).fit(X, T), NUMERIC
    yield (
        "tree: extra boosted",
        ensemble.AdaBoostClassifier(
            tree.ExtraTreeClassifier(max_depth=2), n_estimators=3, random_state=0
        ).fit(X, y),
        NUMERIC,
    )
    yield (
        "tree: bagged features",
        ensemble.BaggingClassifier(tree.DecisionTreeClassifier(), 3, max_features=2, random_state=0).fit(
            X, y
        ),
        NUMERIC,
    )
    yield (
        "tree: isolation",
        ensemble.IsolationForest(n_estimators=4, contamination=0.1, random_state=0).fit(X),
        NUMERIC,
    )
    yield "tree: embedding", ensemble.RandomTreesEmbedding(3, random_state=0).fit(X), NUMERIC
    yield (
        "tree: class weights",
        ensemble.RandomForestClassifier(3, class_weight={0: 1, 1: 2, 2: 3}, random_state=0).fit(X, y),
        NUMERIC,
    )
    yield "tree: pruned", tree.DecisionTreeRegressor(ccp_alpha=0.01, random_state=0).fit(X, T), NUMERIC


def metric_trees():
    positions = np.abs(FRESH[:, :2])
    for name, of in [
        ("kd_tree", ["euclidean", "manhattan", "chebyshev", "minkowski"]),
        ("ball_tree", BALL_METRICS),
    ]:
        for metric in of:
            more, data, fresh = {}, X, FRESH
            if metric == "minkowski":
                more = {"p": 3}
            elif metric == "seuclidean":
                more = {"metric_params": {"V": X.var(0)}}
            elif metric == "mahalanobis":
                more = {"metric_params": {"VI": np.linalg.inv(np.cov(X.T))}}
            elif metric == "haversine":
                data, fresh = np.abs(X[:, :2]), positions
            elif metric in BOOLEAN_METRICS:
                data, fresh = X > 0.5, FRESH > 0.5
            model = neighbors.NearestNeighbors(algorithm=name, metric=metric, leaf_size=5, **more)
            yield f"neighbours: {name} {metric}", model.fit(data), {"X": fresh}
    yield "neighbours: with missing values", holder(neighbors.NearestNeighbors(metric="nan_euclidean")), None
    yield (
        "neighbours: weights",
        neighbors.KNeighborsRegressor(weights="distance", algorithm="ball_tree").fit(X, T),
        NUMERIC,
    )
    yield "neighbours: brute, cosine", neighbors.KNeighborsClassifier(metric="cosine").fit(X, y), NUMERIC
    for kernel in ["gaussian", "tophat", "epanechnikov", "exponential", "linear", "cosine"]:
        yield (
            f"density: {kernel}",
            neighbors.KernelDensity(kernel=kernel, bandwidth=0.5, algorithm="ball_tree").fit(X),
            NUMERIC,
        )
    yield "outliers: novelty", neighbors.LocalOutlierFactor(novelty=True, algorithm="kd_tree").fit(X), NUMERIC
    yield (
        "clusters: hdbscan centers",
        cluster.HDBSCAN(min_cluster_size=5, store_centers="both", copy=True).fit(X),
        None,
    )
    yield "clusters: birch", cluster.Birch(threshold=0.2, branching_factor=3, n_clusters=3).fit(X), NUMERIC
    yield (
        "clusters: birch with agglomeration",
        cluster.Birch(threshold=0.2, n_clusters=cluster.AgglomerativeClustering(3)).fit(X),
        NUMERIC,
    )
    yield "clusters: bisecting", cluster.BisectingKMeans(3, random_state=0).fit(X), NUMERIC
    yield (
        "clusters: float32",
        cluster.KMeans(3, random_state=0, n_init=1).fit(X.astype(np.float32)),
        {"X": FRESH.astype(np.float32)},
    )
    yield "clusters: elkan", cluster.KMeans(3, algorithm="elkan", random_state=0, n_init=1).fit(X), NUMERIC


BOOLEAN_METRICS = ["dice", "jaccard", "rogerstanimoto", "russellrao", "sokalsneath"]
BALL_METRICS = [
    "euclidean",
    "manhattan",
    "chebyshev",
    "minkowski",
    "seuclidean",
    "mahalanobis",
    "haversine",
    "hamming",
    "canberra",
    "braycurtis",
    *BOOLEAN_METRICS,
]


def searches():
    kinds = {
        "GroupKFold": {},
        "GroupShuffleSplit": {},
        "KFold": {},
        "LeaveOneGroupOut": {},
        "LeaveOneOut": {},
        "LeavePGroupsOut": {"n_groups": 2},
        "LeavePOut": {"p": 2},
        "PredefinedSplit": {"test_fold": [0, 1, 0]},
        "RepeatedKFold": {},
        "RepeatedStratifiedKFold": {},
        "ShuffleSplit": {},
        "StratifiedGroupKFold": {},
        "StratifiedKFold": {},
        "StratifiedShuffleSplit": {},
        "TimeSeriesSplit": {},
    }
    for kind, more in kinds.items():
        yield (
            f"split: {kind}",
            model_selection.GridSearchCV(
                linear_model.Ridge(), {"alpha": [1.0]}, cv=getattr(model_selection, kind)(**more)
            ),
            None,
        )
    grid = {"tree__max_depth": [1, 2], "scale": [preprocessing.StandardScaler(), "passthrough"]}
    steps = pipeline.Pipeline(
        [("scale", "passthrough"), ("tree", tree.DecisionTreeClassifier(random_state=0))]
    )
    inner = model_selection.GridSearchCV(steps, grid, cv=2)
    yield "search: in a search", model_selection.GridSearchCV(inner, {"cv": [2]}, cv=2).fit(X, y), NUMERIC
    scoring = {
        "a": "accuracy",
        "f": metrics.make_scorer(metrics.f1_score, average="macro"),
        "l": "neg_log_loss",
        "r": "roc_auc_ovr",
    }
    several = model_selection.GridSearchCV(
        linear_model.LogisticRegression(), {"C": [0.1, 1]}, scoring=scoring, refit="a", cv=2
    )
    yield "search: several scores", several.fit(X, y), NUMERIC
    for score in [
        metrics.accuracy_score,
        metrics.balanced_accuracy_score,
        metrics.roc_auc_score,
        metrics.log_loss,
    ]:
        yield f"scorer: {score.__name__}", holder(metrics.make_scorer(score)), None
    yield "scorer: with arguments", holder(metrics.make_scorer(metrics.fbeta_score, beta=2)), None
    random = model_selection.RandomizedSearchCV(
        tree.DecisionTreeRegressor(random_state=0), {"max_depth": [1, 2, 3]}, n_iter=2, random_state=0, cv=2
    )
    yield "search: random", random.fit(X, T), NUMERIC
    halving = model_selection.HalvingGridSearchCV(
        tree.DecisionTreeClassifier(random_state=0), {"max_depth": [1, 2]}, random_state=0, cv=2
    )
    yield "search: halving", halving.fit(X, y), NUMERIC
    yield (
        "features: recursive",
        feature_selection.RFECV(linear_model.LogisticRegression(), cv=2).fit(X, y),
        NUMERIC,
    )


def others():
    for method in ["sigmoid", "isotonic", "temperature"]:
        calibrated = calibration.CalibratedClassifierCV(naive_bayes.GaussianNB(), method=method, cv=2)
        yield f"calibrated: {method}", calibrated.fit(X, y), NUMERIC
    kernel = kernels.ConstantKernel(1.0) * kernels.RBF(1.0) + kernels.WhiteKernel(0.1)
    yield "process: sum of products", GaussianProcessRegressor(kernel, optimizer=None).fit(X, T), NUMERIC
    others = (
        kernels.Matern()
        + kernels.RationalQuadratic() * kernels.DotProduct()
        + kernels.ExpSineSquared()
        + kernels.RBF() ** 2
    )
    others = (
        others + kernels.PairwiseKernel(metric="rbf") + kernels.CompoundKernel([kernels.RBF()]).kernels[0]
    )
    yield (
        "process: all kernels",
        GaussianProcessRegressor(others, optimizer=None, alpha=10).fit(X, T),
        NUMERIC,
    )
    yield "process: compound", holder(kernels.CompoundKernel([kernels.RBF(), kernels.Matern()])), None
    yield "process: two classes", GaussianProcessClassifier(optimizer=None).fit(X, y > 0), NUMERIC
    yield (
        "process: one against one",
        GaussianProcessClassifier(multi_class="one_vs_one", optimizer=None).fit(X, y),
        NUMERIC,
    )
    for solver in ["sgd", "lbfgs", "adam"]:
        yield (
            f"network: {solver}",
            neural_network.MLPRegressor(
                hidden_layer_sizes=(5,), solver=solver, max_iter=5, random_state=0
            ).fit(X, T),
            NUMERIC,
        )
    yield (
        "network: early stopping",
        neural_network.MLPClassifier((5,), early_stopping=True, max_iter=5, random_state=0).fit(X, y),
        NUMERIC,
    )
    yield (
        "stacked",
        ensemble.StackingClassifier(
            [("a", tree.DecisionTreeClassifier(max_depth=2)), ("b", svm.LinearSVC(dual="auto"))], cv=2
        ).fit(X, y),
        NUMERIC,
    )
    yield (
        "vote",
        ensemble.VotingClassifier(
            [("a", naive_bayes.GaussianNB()), ("b", "drop"), ("c", linear_model.LogisticRegression())],
            voting="soft",
        ).fit(X, y),
        NUMERIC,
    )
    constant = multiclass.OneVsRestClassifier(svm.LinearSVC(dual="auto"))
    yield (
        "labels: a constant one",
        constant.fit(X, np.column_stack([y > 0, np.zeros(60, int)]).astype(int)),
        {"X": FRESH},
    )
    yield (
        "bins",
        preprocessing.KBinsDiscretizer(3, encode="onehot-dense", quantile_method="linear").fit(X),
        NUMERIC,
    )
    yield "splines", preprocessing.SplineTransformer(extrapolation="periodic", n_knots=4).fit(X), NUMERIC
    yield "splines: sparse", preprocessing.SplineTransformer(sparse_output=True, order="C").fit(X), NUMERIC
    yield (
        "quantiles",
        preprocessing.QuantileTransformer(n_quantiles=10, output_distribution="normal", random_state=0).fit(
            X
        ),
        NUMERIC,
    )
    yield (
        "rare categories",
        preprocessing.OneHotEncoder(
            min_frequency=10, handle_unknown="infrequent_if_exist", dtype=np.float32
        ).fit(y[:, None]),
        {"X": FRESH_Y[:, None]},
    )
    mixed = np.array([["a", None], [np.nan, "b"], ["c", "b"]] * 5, object)
    yield (
        "missing categories",
        preprocessing.OrdinalEncoder(encoded_missing_value=-1).fit(mixed),
        {"X": mixed[::-1]},
    )
    yield (
        "unknown categories",
        preprocessing.OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan).fit(
            [["a"], ["b"]]
        ),
        {"X": [["a"], ["c"]]},
    )
    imputed = pipeline.make_pipeline(
        impute.SimpleImputer(strategy="most_frequent", add_indicator=True),
        impute.KNNImputer(add_indicator=True),
    )
    holes = np.where(X > 1.2, np.nan, X)
    yield "imputed", imputed.fit(holes), {"X": np.where(FRESH > 1.2, np.nan, FRESH)}
    yield (
        "approximated kernel",
        pipeline.make_pipeline(
            kernel_approximation.Nystroem(n_components=5, random_state=0), linear_model.Ridge()
        ).fit(X, T),
        NUMERIC,
    )
    with sklearn.config_context(enable_metadata_routing=True):
        asking = linear_model.LogisticRegression().set_fit_request(sample_weight=True)
    yield "metadata requested", asking, None
    yield (
        "old and new shared",
        pipeline.FeatureUnion([("a", preprocessing.StandardScaler()), ("b", decomposition.PCA(2))]).fit(X),
        NUMERIC,
    )
    yield (
        "fast ica with a function",
        decomposition.FastICA(2, fun="exp", random_state=0, whiten="arbitrary-variance").fit(X),
        NUMERIC,
    )
    yield "sparse filter of variance", feature_selection.VarianceThreshold(0.01).fit(X), NUMERIC
    yield "attributes added", annotated(), NUMERIC


def annotated():
    model = linear_model.Ridge().fit(X, T)
    model.trained_on = datetime.date(2026, 1, 2)
    model.table_ = pd.DataFrame({"a": [1, 2]})
    model.me = model
    return model
