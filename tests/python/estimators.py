"""Fitted instances of every estimator of scikit-learn, with fresh data, what they answer, and how to compare.

    for case in cases():            # at least one of each class of `all_estimators()`
        before = answers(case.estimator, case.fresh)
        after = answers(loaded, case.fresh)
        assert difference(before, after) is None

`variants()` (see variants.py) adds what people put into estimators.
"""

import contextlib
import dataclasses
import re
import types
import unittest
import warnings
from collections.abc import Iterator, Mapping

import numpy as np
import scipy.sparse
import sklearn
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.experimental import enable_halving_search_cv, enable_iterative_imputer  # noqa: F401
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.utils import all_estimators, get_tags
from sklearn.utils._test_common.instance_generator import _construct_instances
from sklearn.utils._testing import set_random_state

OF_X = [
    "predict",
    "predict_proba",
    "predict_log_proba",
    "decision_function",
    "transform",
    "score_samples",
    "apply",
    "decision_path",
    "kneighbors_graph",
    "radius_neighbors_graph",
    "staged_predict",
    "staged_predict_proba",
    "staged_decision_function",
    "mahalanobis",
    "gibbs",
    "sample_y",
]
TEXTS = [
    "old mill by the river",
    "new mill",
    "the old tree and the river",
    "red tree on a hill",
    "hill, river; mill!",
]


@dataclasses.dataclass
class Case:
    """A fitted estimator and data it has not seen; `fresh` holds `X` and perhaps `y`."""

    name: str
    estimator: object
    fresh: dict


def cases(names: set[str] | None = None) -> Iterator[Case]:
    """At least one fitted instance of each class of `all_estimators()`, or of those that are named."""
    for name, kind in all_estimators():
        if names is not None and name not in names:
            continue
        for number, estimator in enumerate(instances(kind)):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                set_random_state(estimator, 0)
                args, fresh = data_for(estimator)
                estimator.fit(*args)
            yield Case(f"{name}-{number}", estimator, fresh)


def instances(kind: type) -> list:
    if kind is FrozenEstimator:
        X, y, _, _ = table(3)
        return [FrozenEstimator(LogisticRegression().fit(X, y))]
    try:
        return list(_construct_instances(kind))
    except unittest.SkipTest as error:
        raise LookupError(f"no way to make a {kind.__name__} is known: add one here") from error


def table(classes: int, features: int = 4) -> tuple:
    """`X`, `y` to fit, and the same of fresh rows; positive, rounded to three digits, so that ties occur."""
    rng = np.random.RandomState(7)
    X = np.abs(rng.normal(size=(90, features))).round(3)
    weights = np.linspace(1, -0.5, features)
    y = (X @ weights + rng.normal(scale=0.1, size=90)).round(4)
    if classes:
        y = np.digitize(y, np.quantile(y, np.arange(1, classes) / classes))
    return X[:60], y[:60], X[60:], y[60:]


def data_for(estimator) -> tuple[tuple, dict]:
    """What to give to `fit`, and fresh data, as the tags of the estimator ask for it."""
    name = type(estimator).__name__
    tags = get_tags(estimator)
    inputs, targets = tags.input_tags, tags.target_tags
    if name in OTHER_DATA:
        return OTHER_DATA[name]()
    if inputs.dict:
        rows = [{"city": "Rome", "size": 3}, {"city": "Oslo", "size": 5.5}, {"size": 1, "old": 2}]
        return (rows,), {"X": [*rows[::-1], {"city": "Bonn", "old": 1}]}
    if inputs.string and not inputs.two_d_array:
        return (TEXTS,), {"X": [text.upper() for text in TEXTS] + ["unseen words on the hill", ""]}
    if inputs.one_d_array:
        X, y, fresh, fresh_y = table(0)
        return (X[:, 0], y), {"X": fresh[:, 0], "y": fresh_y}
    classes = 0
    if is_classifier(estimator) or (targets.required and not is_regressor(estimator)):
        classes = 2 if tags.classifier_tags is not None and not tags.classifier_tags.multi_class else 3
    X, y, fresh, fresh_y = table(classes, 3 if name == "SparseCoder" else 4)
    if not classes and targets.positive_only:
        y, fresh_y = np.exp(y), np.exp(fresh_y)
    if inputs.pairwise:
        of = distances if "Neighbors" in name else np.dot
        X, fresh = of(X, X.T), of(fresh, X.T)
    if not targets.single_output:
        second = np.cos(y * 3)
        y = np.column_stack([y, second]) if not classes else np.column_stack([y == 0, y == 1]).astype(int)
        fresh_y = (
            np.column_stack([fresh_y, np.cos(fresh_y * 3)])
            if not classes
            else np.column_stack([fresh_y == 0, fresh_y == 1]).astype(int)
        )
    return (X, y), {"X": fresh, "y": fresh_y}


def distances(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    return np.sqrt(((rows[:, :, None] - columns[None]) ** 2).sum(1))


def labels(*values):
    return lambda: ((list(values) * 3,), {"X": np.asarray(values)[::-1]})


def images():
    rng = np.random.RandomState(3)
    return (rng.rand(3, 12, 10),), {"X": rng.rand(2, 12, 10)}


def two_targets():
    X, y, fresh, fresh_y = table(0)
    return (X, np.column_stack([y, np.sin(y)])), {
        "X": fresh,
        "y": np.column_stack([fresh_y, np.sin(fresh_y)]),
    }


def two_classes():
    X, y, fresh, fresh_y = table(2)
    return (X, y), {"X": fresh, "y": fresh_y}


def three_classes():
    X, y, fresh, fresh_y = table(3)
    return (X, y), {"X": fresh, "y": fresh_y}


def several_labels():
    X, y, fresh, fresh_y = table(3)
    return (X, np.column_stack([y > 0, y > 1]).astype(int)), {
        "X": fresh,
        "y": np.column_stack([fresh_y > 0, fresh_y > 1]).astype(int),
    }


def kernel():
    X, _, fresh, _ = table(0)
    return (X @ X.T,), {"X": fresh @ X.T}


def categories():
    X, y, fresh, fresh_y = table(3)
    return ((X * 2).astype(int), y), {
        "X": np.minimum((fresh * 2).astype(int), (X * 2).astype(int).max(0)),
        "y": fresh_y,
    }


def columns():
    X = np.array([["a", 1], ["b", 2], ["a", 3], ["c", 1], ["b", 3], ["c", 2]] * 5, object)
    return (X, np.arange(30) % 3), {"X": X[::-1][:7]}


def label_sets():
    sets = [["old", "red"], ["new"], ["red", "new"], []]
    return (sets,), {"X": sets[::-1]}


OTHER_DATA = {
    "LabelEncoder": labels("red", "green", "blue"),
    "LabelBinarizer": labels(5, 1, 9),
    "MultiLabelBinarizer": label_sets,
    "PatchExtractor": images,
    "KernelCenterer": kernel,
    "CategoricalNB": categories,
    "OneHotEncoder": columns,
    "OrdinalEncoder": columns,
    "TargetEncoder": columns,
    "ClassifierChain": several_labels,
    "MultiOutputClassifier": several_labels,
    "MultiOutputRegressor": two_targets,
    "RegressorChain": two_targets,
    "CCA": two_targets,
    "PLSCanonical": two_targets,
    "PLSRegression": two_targets,
    "PLSSVD": two_targets,
    "SequentialFeatureSelector": three_classes,
    "FixedThresholdClassifier": two_classes,
    "TunedThresholdClassifierCV": two_classes,
}


def answers(estimator, fresh: dict) -> dict:
    """What every method of the estimator gives for fresh data; an exception counts as an answer."""
    X, y = fresh.get("X"), fresh.get("y")
    given = {}

    def ask(name, function, *args, **kwargs):
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            try:
                result = function(*args, **kwargs)
                given[name] = list(result) if isinstance(result, types.GeneratorType) else result
            except Exception as error:
                given[name] = Raised(type(error).__name__)

    if X is not None:
        for name in OF_X:
            if method(estimator, name):
                ask(name, getattr(estimator, name), X)
        if method(estimator, "score"):
            ask("score", estimator.score, *([X] if y is None else [X, y]))
        if method(estimator, "kneighbors"):
            ask("kneighbors", estimator.kneighbors, X)
            ask("kneighbors of what was fitted", estimator.kneighbors)
        if method(estimator, "radius_neighbors"):
            ask(
                "radius_neighbors", lambda: [list(part) for part in estimator.radius_neighbors(X, radius=0.8)]
            )
        if method(estimator, "inverse_transform"):
            ask("inverse_transform", estimator.inverse_transform, given.get("transform", X))
        if (
            "Gaussian" in type(estimator).__name__
            and hasattr(estimator, "kernel_")
            and method(estimator, "sample_y")
        ):
            ask("predict with std", estimator.predict, X, return_std=True)
            ask("predict with cov", estimator.predict, X, return_cov=True)
        if not any(method(estimator, name) for name in OF_X):
            for name in ["fit_predict", "fit_transform"]:
                if method(estimator, name):
                    ask(name, getattr(clone(estimator), name), X)
    if method(estimator, "sample") and type(estimator).__name__ == "KernelDensity":
        ask("sample", estimator.sample, 5, random_state=0)
    elif method(estimator, "sample"):
        ask("sample", estimator.sample, 5)
    for name in [
        "get_feature_names_out",
        "get_support",
        "get_covariance",
        "get_precision",
        "get_n_splits",
        "get_indices",
    ]:
        if method(estimator, name):
            ask(name, getattr(estimator, name), *([0] if name == "get_indices" else []))
    ask("repr", lambda: re.sub(r" at 0x[0-9A-Fa-f]+", "", repr(estimator)))
    return given


def method(estimator, name: str) -> bool:
    with contextlib.suppress(Exception):
        return callable(getattr(estimator, name, None))
    return False


@dataclasses.dataclass
class Raised:
    """An exception as an answer."""

    name: str


def same(a, b) -> bool:
    """Whether two answers are the same to the last bit: types, dtypes, shapes, memory order, NaN payloads."""
    return difference(a, b) is None


def difference(a, b, sharing: bool = True) -> str | None:
    """Where two values first differ, or None. Follows attributes of objects.

    What is one object in `a` must be one object in `b`, unless `sharing` is false: joblib writes a shared array twice.
    """
    todo = [("", a, b)]
    partner, pairs = {}, set()
    kept = []
    while todo:
        where, a, b = todo.pop()
        if is_plain(a):
            if type(a) is not type(b) or not equal_plain(a, b):
                return f"{where or 'value'}: {a!r} became {b!r}"
            continue
        if sharing and partner.setdefault(id(a), id(b)) != id(b):
            return f"{where}: was the same object as another, and is no longer"
        if (id(a), id(b)) in pairs:
            continue
        pairs.add((id(a), id(b)))
        kept.append((a, b))
        found = compare(where, a, b, todo)
        if found:
            return found
    return None


def is_plain(value) -> bool:
    return (
        value is None
        or isinstance(value, (bool, int, float, complex, str, bytes, np.generic, type, np.dtype))
        or callable_name(value) is not None
    )


def callable_name(value):
    if isinstance(value, (types.FunctionType, types.BuiltinFunctionType, np.ufunc)):
        return getattr(value, "__module__", None), getattr(value, "__qualname__", None) or value.__name__
    return None


def equal_plain(a, b) -> bool:
    if isinstance(a, np.void):
        fields = ((np.asarray(a[name]), np.asarray(b[name])) for name in a.dtype.names or ())
        return a.dtype == b.dtype and all(x.tobytes() == y.tobytes() for x, y in fields)
    if isinstance(a, np.generic):
        return a.dtype == b.dtype and (a.tobytes() == b.tobytes())
    if isinstance(a, float):
        return np.float64(a).tobytes() == np.float64(b).tobytes()
    if isinstance(a, complex):
        return np.complex128(a).tobytes() == np.complex128(b).tobytes()
    if (name := callable_name(a)) is not None:
        return name == callable_name(b)
    return a == b


def compare(where, a, b, todo) -> str | None:
    if isinstance(a, np.ndarray):
        return compare_arrays(where, a, b, todo)
    if type(a).__name__ == "Tree" and type(a).__module__ == "sklearn.tree._tree":
        return compare_trees(where, a, b, todo)
    if isinstance(a, dict) and type(a) is dict and isinstance(b, Mapping):
        return compare_dicts(where, a, b, todo)
    if a.__class__ is not b.__class__:
        return f"{where}: a {type(a).__qualname__} became a {type(b).__qualname__}"
    if scipy.sparse.issparse(a) and a.format in ("csr", "csc", "bsr", "coo", "dia"):
        parts = {
            "csr": ["indices", "indptr"],
            "csc": ["indices", "indptr"],
            "bsr": ["indices", "indptr"],
            "coo": ["coords"],
            "dia": ["offsets"],
        }[a.format]
        for part in ["data", "shape", *parts]:
            todo.append((f"{where}.{part}", getattr(a, part), getattr(b, part)))
        return None
    if isinstance(a, (list, tuple)):
        if len(a) != len(b):
            return f"{where}: {len(a)} items became {len(b)}"
        todo.extend((f"{where}[{i}]", x, y) for i, (x, y) in enumerate(zip(a, b)))
        if type(a) in (list, tuple):
            return None
    if isinstance(a, (set, frozenset)):
        return None if a == b else f"{where}: the set differs"
    if isinstance(a, dict) and (found := compare_dicts(where, a, b, todo)):
        return found
    if type(a).__module__.startswith("pandas"):
        same = a.equals(b) and same_dtypes(a, b) if hasattr(a, "equals") else a is b or a == b
        return None if same else f"{where}: {a!r} became {b!r}"
    state_a, state_b = state(a), state(b)
    if state_a is None and hasattr(a, "__dict__"):
        state_a, state_b = vars(a), vars(b)
    if state_a is not None:
        todo.append(
            (
                f"{where}.",
                dict(state_a) if isinstance(state_a, dict) else state_a,
                dict(state_b) if isinstance(state_b, dict) else state_b,
            )
        )
        return None
    if type(a).__eq__ is not object.__eq__:
        return None if a == b else f"{where}: {a!r} became {b!r}"
    return None


def same_dtypes(a, b) -> bool:
    return str(getattr(a, "dtypes", None)) == str(getattr(b, "dtypes", None))


def state(value):
    """What pickle would save, without the names that make it."""
    try:
        made = value.__reduce_ex__(4)
    except Exception:
        return None
    if isinstance(made, str):
        return (made,)
    callable, args, content, items, pairs = (tuple(made) + (None,) * 5)[:5]
    if getattr(callable, "__name__", "") in ("_reconstruct", "__newobj__"):
        args = args[1:]
    return (
        callable,
        args,
        content,
        list(items) if items is not None else None,
        list(pairs) if pairs is not None else None,
    )


def compare_dicts(where, a, b, todo) -> str | None:
    if len(a) != len(b):
        return f"{where}: {len(a)} entries became {len(b)}: {set(map(str, a)) ^ set(map(str, b))}"
    for (key, value), (other, found) in zip(a.items(), b.items()):
        if key == "_stop_words_id":
            # Where the words were in the memory of the process that fitted.
            continue
        todo.append((f"{where} key {key!r}", key, other))
        todo.append((f"{where}{key}" if where.endswith(".") else f"{where}[{key!r}]", value, found))
    return None


def compare_arrays(where, a, b, todo) -> str | None:
    if type(b) is not type(a) and not (type(a) is np.memmap and type(b) is np.ndarray):
        return f"{where}: a {type(a).__qualname__} became a {type(b).__qualname__}"
    for what in ["dtype", "shape"]:
        if getattr(a, what) != getattr(b, what):
            return f"{where}: {what} {getattr(a, what)} became {getattr(b, what)}"
    if (
        a.size
        and a.ndim > 1
        and a.flags.forc
        and b.flags.forc
        and (a.flags.c_contiguous, a.flags.f_contiguous) != (b.flags.c_contiguous, b.flags.f_contiguous)
    ):
        return f"{where}: memory order changed"
    if isinstance(a, np.ma.MaskedArray):
        # NumPy makes the fill value of objects anew, as one type of text or the other.
        parts = ["mask"] if a.dtype.hasobject else ["mask", "fill_value"]
        todo.extend((f"{where}.{part}", getattr(a, part), getattr(b, part)) for part in parts)
        a, b = a.data, b.data
    if a.dtype.hasobject:
        todo.extend(
            (f"{where}[{i}]", x, y) for i, (x, y) in enumerate(zip(a.ravel().tolist(), b.ravel().tolist()))
        )
    elif a.dtype.names:
        todo.extend((f"{where}.{name}", a[name], b[name]) for name in a.dtype.names)
    elif a.tobytes() != b.tobytes():
        return f"{where}: {count_differing(a, b)} of {a.size} values differ"
    return None


def count_differing(a, b) -> int:
    size = max(a.dtype.itemsize, 1)
    rows = [np.frombuffer(x.tobytes(), np.uint8).reshape(-1, size) for x in (a, b)]
    return int((rows[0] != rows[1]).any(1).sum())


def compare_trees(where, a, b, todo) -> str | None:
    """A `Tree` and what stands in for it."""
    names = ["n_features", "n_outputs", "max_depth", "node_count", "n_leaves", "max_n_classes", "capacity"]
    names += ["n_classes", "children_left", "children_right", "feature", "threshold", "value", "impurity"]
    names += ["n_node_samples", "weighted_n_node_samples", "missing_go_to_left"]
    todo.extend((f"{where}.{name}", getattr(a, name), getattr(b, name)) for name in names)
    return None


def attributes(estimator) -> dict:
    """The attributes of an estimator, for `difference`."""
    return dict(vars(estimator))


def version() -> str:
    return sklearn.__version__
