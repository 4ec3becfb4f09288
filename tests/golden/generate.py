"""Trains small scikit-learn models and writes what they answer.

    python tests/golden/generate.py

Writes `files/*` and `cases.toml`. A case is a model as pickle and joblib, and a file of inputs and answers: arrays as
`numpy.save` writes them, one after the other, which `cases.toml` counts from 0. Needs the versions pinned in
`requirements.txt`; answers of linear models differ by rounding between machines, everything else does not.
"""

import pickle
import warnings
from pathlib import Path

import joblib
import numpy as np
import sklearn
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import ElasticNet, Lasso, LinearRegression, LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.tree import (
    DecisionTreeClassifier,
    DecisionTreeRegressor,
    ExtraTreeClassifier,
    ExtraTreeRegressor,
)

HERE = Path(__file__).parent
FILES = HERE / "files"
# Answers of BLAS depend on the processor: so many units of the last place of the sum are allowed.
LINEAR_RTOL = 1e-11
# numpy.log is not the C library's.
LOG_RTOL = 1e-14

rng = np.random.default_rng(2026)
N, FEATURES = 80, 5
X = rng.normal(size=(N, FEATURES))
X[:, 1] = rng.integers(-3, 4, N)  # repeated values: thresholds between integers
X[:, 2] = X[:, 2].astype(np.float32)
X[::7, 3] = 0.0
X[1::7, 3] = -0.0
X[2::7, 3] = 1e-41  # a subnormal float32
X[3::7, 3] = -1e-44
Y = X[:, 0] + 0.5 * X[:, 1] ** 2 - X[:, 2] + 0.1 * rng.normal(size=N)
BINARY = (Y > np.median(Y)).astype(np.int64)
MULTI = np.digitize(Y, np.quantile(Y, [0.25, 0.5, 0.75]))
WORDS = np.array(["alder", "birch", "cherry tree", "d\u00f6rnchen"])[MULTI]
WEIGHTS = rng.uniform(0.1, 3.0, N)
NAN = X.copy()
NAN[rng.random(X.shape) < 0.15] = np.nan

cases = []


def edges(model):
    """Rows at, just below and just above the model's own thresholds, and the ends of float32."""
    trees = [tree.tree_ for tree in getattr(model, "estimators_", [model])]
    splits = [(t.feature[i], t.threshold[i]) for t in trees for i in np.flatnonzero(t.children_left != -1)]
    rows = []
    for feature, threshold in splits[:24]:
        near = [threshold, np.nextafter(threshold, -np.inf), np.nextafter(threshold, np.inf)]
        near += [np.nextafter(np.float32(threshold), np.float32(end)) for end in (-np.inf, np.inf)]
        # A split of missing from other values has an infinite threshold.
        for value in (v for v in near if abs(v) < 1e38):
            row = X[len(rows) % N].copy()
            row[feature] = value
            rows.append(row)
    big = float(np.finfo(np.float32).max)
    for value in (0.0, -0.0, 1e-45, -1e-45, 1e-300, -1e-300, big, -big):
        rows.append(np.full(FEATURES, value))
    return np.array(rows)


def holes(x, seed):
    x = x.copy()
    x[np.random.default_rng(seed).random(x.shape) < 0.3] = np.nan
    return x


def is_tree(model):
    return hasattr(model, "tree_") or hasattr(model, "estimators_")


def answer(model, method, x):
    with warnings.catch_warnings(), np.errstate(divide="ignore"):
        warnings.simplefilter("ignore")
        given = getattr(model, method)(x)
    given = given if isinstance(given, list) else [given]
    # Text is compared as NumPy's fixed-width text; how wide, is up to the labels.
    return [np.asarray(g, dtype=str) if g.dtype == object else np.ascontiguousarray(g) for g in given]


def apply_unchecked(model, x):
    """The leaves that `Tree.apply` gives: no check for infinities stands before it."""
    trees = [tree.tree_.apply(x.astype(np.float32)) for tree in getattr(model, "estimators_", [model])]
    return [np.ascontiguousarray(np.array(trees).T) if hasattr(model, "estimators_") else trees[0]]


class Case:
    def __init__(self, name, model):
        self.name, self.model, self.checks, self.arrays = name, model, [], []
        protocol = 2 + len(cases) % 4
        (FILES / f"{name}.pkl").write_bytes(pickle.dumps(model, protocol=protocol))
        compress = [0, 0, 3, ("gzip", 3), ("xz", 3), ("lz4", 1)][len(cases) % 6]
        joblib.dump(model, FILES / f"{name}.joblib", compress=compress)
        cases.append(self)

    def save(self, array):
        self.arrays.append(array)
        with open(FILES / f"{self.name}.npys", "wb") as file:
            for array in self.arrays:
                np.save(file, array, allow_pickle=False)
        return len(self.arrays) - 1

    def check(self, x, methods, unchecked=False):
        source = self.save(x)
        for method in methods:
            given = apply_unchecked(self.model, x) if unchecked else answer(self.model, method, x)
            self.checks.append((method, source, [self.save(array) for array in given], unchecked))
        return self

    def rtol(self, method):
        steps = getattr(self.model, "steps", None)
        last = steps[-1][1] if steps else self.model
        if isinstance(last, (LinearRegression, Ridge, Lasso, ElasticNet, LogisticRegression)):
            return 0.0 if method == "predict" and hasattr(last, "classes_") else LINEAR_RTOL
        return LOG_RTOL if method == "predict_log_proba" else 0.0


def methods_of(model):
    names = ["predict", "predict_proba", "predict_log_proba", "decision_function", "apply", "transform"]
    return [name for name in names if hasattr(model, name)]


def tree_case(name, model, y, x=X, **fit):
    model.fit(x, y, **fit)
    case = Case(name, model)
    case.check(edges(model), methods_of(model))
    some = x[:21].astype(np.float32)
    case.check(np.asfortranarray(some), ["predict", "apply"])
    case.check(x[5:6], methods_of(model)[:1])
    wild = np.tile(some, (2, 1))
    wild[::3, 0], wild[1::3, 1], wild[2::3, 2] = np.inf, -np.inf, np.inf
    case.check(holes(wild, 1), ["apply"], unchecked=True)
    tags = sklearn.utils.get_tags(model)
    if tags.input_tags.allow_nan:
        case.check(holes(x[:40], 2), methods_of(model)[:2])
    return case


def trees():
    small = {"random_state": 0}
    tree_case("tree-binary", DecisionTreeClassifier(**small), BINARY)
    tree_case("tree-multiclass-depth-3", DecisionTreeClassifier(max_depth=3, criterion="entropy", **small), MULTI)
    tree_case("tree-string-classes", DecisionTreeClassifier(max_leaf_nodes=9, **small), WORDS)
    tree_case("tree-object-classes", DecisionTreeClassifier(max_depth=4, **small), WORDS.astype(object))
    tree_case("tree-bool-classes", DecisionTreeClassifier(max_depth=3, **small), BINARY == 1)
    tree_case("tree-float-classes", DecisionTreeClassifier(max_depth=3, **small), MULTI * 1.0)
    tree_case("tree-single-class", DecisionTreeClassifier(**small), np.full(N, 7))
    tree_case("tree-one-leaf", DecisionTreeRegressor(**small), np.full(N, -0.0))
    tree_case("tree-regressor", DecisionTreeRegressor(min_samples_leaf=2, **small), Y)
    tree_case("tree-regressor-best-first", DecisionTreeRegressor(max_leaf_nodes=12, **small), Y)
    tree_case("tree-regressor-weights", DecisionTreeRegressor(max_depth=5, **small), Y, sample_weight=WEIGHTS)
    tree_case("tree-regressor-two-outputs", DecisionTreeRegressor(max_depth=4, **small), np.c_[Y, -(Y**2)])
    tree_case("tree-two-outputs", DecisionTreeClassifier(max_depth=4, **small), np.c_[BINARY, MULTI])
    tree_case("tree-pruned", DecisionTreeClassifier(ccp_alpha=0.01, **small), MULTI)
    tree_case("tree-nan-trained", DecisionTreeClassifier(max_depth=6, **small), MULTI, x=NAN)
    tree_case("extra-tree", ExtraTreeClassifier(max_depth=5, **small), MULTI)
    tree_case("extra-tree-regressor-best", ExtraTreeRegressor(splitter="best", max_depth=5, **small), Y)


def forests():
    small = {"n_estimators": 6, "random_state": 0}
    tree_case("forest-binary", RandomForestClassifier(**small), BINARY)
    tree_case("forest-20-trees", RandomForestClassifier(n_estimators=20, max_depth=3, random_state=1), MULTI)
    tree_case("forest-string-classes", RandomForestClassifier(class_weight="balanced", max_depth=5, **small), WORDS)
    tree_case("forest-single-class", RandomForestClassifier(**small), np.full(N, "only"))
    tree_case("forest-weights", RandomForestClassifier(max_depth=5, **small), MULTI, sample_weight=WEIGHTS)
    tree_case("forest-two-outputs", RandomForestClassifier(max_depth=4, **small), np.c_[MULTI, BINARY])
    words = np.c_[WORDS, np.where(BINARY, "yes", "no")].astype(object)
    tree_case("forest-two-text-outputs", RandomForestClassifier(max_depth=3, **small), words)
    tree_case("forest-monotonic", RandomForestClassifier(monotonic_cst=[1, 0, -1, 0, 0], **small), BINARY)
    tree_case("forest-nan-trained", RandomForestClassifier(max_depth=6, **small), MULTI, x=NAN)
    tree_case("forest-regressor", RandomForestRegressor(**small), Y)
    tree_case("forest-regressor-best-first", RandomForestRegressor(max_leaf_nodes=10, **small), Y)
    tree_case("forest-regressor-absolute", RandomForestRegressor(criterion="absolute_error", max_depth=5, **small), Y)
    tree_case("forest-regressor-poisson", RandomForestRegressor(criterion="poisson", max_depth=5, **small), np.exp(Y / 4))
    tree_case("forest-regressor-two-outputs", RandomForestRegressor(max_depth=4, **small), np.c_[Y, Y**2])
    tree_case("forest-regressor-nan-trained", RandomForestRegressor(max_depth=6, **small), Y, x=NAN)
    tree_case("extra-trees", ExtraTreesClassifier(max_depth=6, **small), MULTI)
    tree_case("extra-trees-regressor", ExtraTreesRegressor(max_depth=6, **small), Y)
    tree_case("extra-trees-nan-trained", ExtraTreesClassifier(max_depth=6, **small), BINARY, x=NAN)


def plain_case(name, model, y=None, nan=False):
    model.fit(X, y)
    case = Case(name, model)
    case.check(np.asfortranarray(X[:23]), methods_of(model))
    case.check(X[:17].astype(np.float32) * 3, methods_of(model)[:2])
    if nan:
        case.check(holes(X[:9], 3), methods_of(model)[:1])
        case.check(holes(X[:9].astype(np.float32), 4), methods_of(model)[:1])
    return case


def scalers():
    plain_case("standard", StandardScaler(), nan=True)
    plain_case("standard-no-mean", StandardScaler(with_mean=False), nan=True)
    plain_case("standard-no-std", StandardScaler(with_std=False))
    plain_case("minmax", MinMaxScaler(), nan=True)
    plain_case("minmax-clip", MinMaxScaler(feature_range=(-0.5, 0.25), clip=True), nan=True)
    plain_case("minmax-range", MinMaxScaler(feature_range=(1e-3, 7.1)))
    model = MinMaxScaler(clip=True).fit(X.astype(np.float32))
    Case("minmax-fitted-on-float32", model).check(X[:9].astype(np.float32) * 2, ["transform"]).check(X[:9] * 2, ["transform"])


def linear():
    plain_case("linear-regression", LinearRegression(), Y)
    plain_case("linear-regression-two-outputs", LinearRegression(), np.c_[Y, Y**2])
    plain_case("linear-regression-no-intercept", LinearRegression(fit_intercept=False), Y)
    plain_case("ridge", Ridge(alpha=0.3), Y)
    plain_case("ridge-two-outputs", Ridge(alpha=0.3), np.c_[Y, -Y])
    plain_case("lasso", Lasso(alpha=0.1), Y)
    plain_case("elastic-net", ElasticNet(alpha=0.05), Y)
    plain_case("logistic-binary", LogisticRegression(), BINARY)
    plain_case("logistic-multinomial", LogisticRegression(C=3.0), WORDS)
    plain_case("logistic-no-intercept", LogisticRegression(fit_intercept=False), MULTI)
    plain_case("logistic-liblinear", LogisticRegression(solver="liblinear"), BINARY == 1)


def pipelines():
    forest = {"n_estimators": 5, "max_depth": 5, "random_state": 0}
    plain_case("pipeline-standard-forest", make_pipeline(StandardScaler(), RandomForestClassifier(**forest)), WORDS)
    plain_case("pipeline-minmax-trees", make_pipeline(MinMaxScaler(clip=True), ExtraTreesRegressor(**forest)), Y)
    plain_case("pipeline-standard-logistic", make_pipeline(StandardScaler(), LogisticRegression()), MULTI)
    plain_case("pipeline-two-scalers-ridge", make_pipeline(MinMaxScaler(), StandardScaler(), Ridge()), Y)
    plain_case("pipeline-of-scalers", make_pipeline(StandardScaler(), MinMaxScaler()), nan=True)
    plain_case("pipeline-one-step", make_pipeline(DecisionTreeRegressor(max_depth=3, random_state=0)), Y)


def toml():
    lines = ["# Written by generate.py.", f'source = "scikit-learn {sklearn.__version__}, numpy {np.__version__}"', ""]
    for case in cases:
        lines += ["[[case]]", f'name = "{case.name}"', f'files = ["{case.name}.pkl", "{case.name}.joblib"]', f'arrays = "{case.name}.npys"', "checks = ["]
        for method, source, files, unchecked in case.checks:
            fields = [f'method = "{method}"', f"input = {source}", f"expected = {files}"]
            rtol = case.rtol(method)
            fields += [f"rtol = {rtol}"] if rtol else []
            fields += ["check_finite = false"] if unchecked else []
            lines.append(f"    {{ {', '.join(fields)} }},")
        lines += ["]", ""]
    (HERE / "cases.toml").write_text("\n".join(lines))


if __name__ == "__main__":
    FILES.mkdir(exist_ok=True)
    for old in FILES.iterdir():
        old.unlink()
    trees()
    forests()
    scalers()
    linear()
    pipelines()
    toml()
    print(f"{len(cases)} cases, {sum(f.stat().st_size for f in FILES.iterdir())} bytes")
