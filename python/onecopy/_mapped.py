"""Ensembles of trees whose trees become Python objects when someone looks, and that predict as a whole until then.

A mapped ensemble is an instance of a subclass that shows itself as the class it was saved from. Its big attribute,
`estimators_` for most, is a `Part` in the instance's `__dict__`; a descriptor puts the real value in its place at the
first look. What is pickled, copied or fitted is always an ordinary instance with ordinary content.
"""

import functools
import sys
import weakref
from typing import TYPE_CHECKING, Any

from onecopy._onecopy import MappedTree, Member, Part, Stages, stages

if TYPE_CHECKING:
    import numpy as np

_FOREST = "sklearn.ensemble._forest"
_BOOSTING = "sklearn.ensemble._gb"
_HISTOGRAM = "sklearn.ensemble._hist_gradient_boosting.gradient_boosting"
_ISOLATION = "sklearn.ensemble._iforest"
_ADABOOST = "sklearn.ensemble._weight_boosting"
_BAGGING = "sklearn.ensemble._bagging"

# The attribute that holds the trees.
_LAZY = {
    (_FOREST, "RandomForestClassifier"): "estimators_",
    (_FOREST, "RandomForestRegressor"): "estimators_",
    (_FOREST, "ExtraTreesClassifier"): "estimators_",
    (_FOREST, "ExtraTreesRegressor"): "estimators_",
    (_FOREST, "RandomTreesEmbedding"): "estimators_",
    (_ISOLATION, "IsolationForest"): "estimators_",
    (_ADABOOST, "AdaBoostClassifier"): "estimators_",
    (_ADABOOST, "AdaBoostRegressor"): "estimators_",
    (_BAGGING, "BaggingClassifier"): "estimators_",
    (_BAGGING, "BaggingRegressor"): "estimators_",
    (_BOOSTING, "GradientBoostingClassifier"): "estimators_",
    (_BOOSTING, "GradientBoostingRegressor"): "estimators_",
    (_HISTOGRAM, "HistGradientBoostingClassifier"): "_predictors",
    (_HISTOGRAM, "HistGradientBoostingRegressor"): "_predictors",
}

# Attributes that the engine has read: an instance that holds another value of one computes for itself.
_READ = {
    _BOOSTING: ("learning_rate",),
    _HISTOGRAM: ("_baseline_prediction", "_bin_mapper"),
    _ISOLATION: (
        "_max_samples", "_decision_path_lengths", "_average_path_length_per_tree", "estimators_features_"
    ),
    _ADABOOST: ("estimator_weights_", "classes_", "n_classes_"),
    _BAGGING: ("n_estimators", "estimators_features_", "classes_", "n_classes_"),
}

# Methods after which an instance holds other trees.
_FITTING = ("fit", "partial_fit", "fit_transform", "fit_predict")


def lazy_attribute(module: str, qualname: str, cls: "type | None" = None) -> "str | None":
    """The attribute of a class that is built when someone looks at it, if it has one.

    Parameters
    ----------
    module, qualname : str
        The name of the class.
    cls : type, default=None
        The class: those that derive from a known one have the attribute too.

    Returns
    -------
    str or None

    Examples
    --------
    >>> lazy_attribute("sklearn.ensemble._forest", "RandomForestClassifier")
    'estimators_'
    """
    if (module, qualname) in _LAZY or cls is None:
        return _LAZY.get((module, qualname))
    base = _known_base(cls)
    return None if base is None else _LAZY[base.__module__, base.__qualname__]


def _known_base(cls: type) -> "type | None":
    return next((base for base in cls.__mro__ if (base.__module__, base.__qualname__) in _LAZY), None)


class _Loaded:
    """What an instance was loaded with."""

    __slots__ = ("first", "items", "member", "read", "stages", "value")

    def __init__(self) -> None:
        self.first: Any = None
        self.member: Member | None = None
        self.stages: Stages | None = None
        self.value: Any = None
        self.items: list[tuple[Any, ...]] = []
        self.read: list[Any] = []


# Beside the instances, not in them: their `__dict__` is what users, `vars` and pickle see.
_loaded: "weakref.WeakKeyDictionary[Any, _Loaded]" = weakref.WeakKeyDictionary()


def _record(instance: Any) -> _Loaded:
    return _loaded.setdefault(instance, _Loaded())


def attach(instance: Any, member: "Member | None") -> None:
    """Tell a mapped ensemble, whose state is set, which member of the plan computes it.

    Parameters
    ----------
    instance : object
        Of a class made by `mapped_class`.
    member : Member or None
        Nothing, if the engine does not cover it.
    """
    part = instance.__dict__.get(_lazy_name(type(instance)))
    if isinstance(part, Part):
        loaded = _record(instance)
        loaded.member = member
        loaded.read = _read_attributes(instance)


def _read_attributes(instance: Any) -> "list[Any]":
    names = _READ.get(_known_base(type(instance)._onecopy_class).__module__, ())
    return [instance.__dict__.get(name) for name in names]


class _LazyAttribute:
    """A data descriptor that puts the value of a `Part` in its place."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: "type | None" = None) -> Any:
        if instance is None:
            raise AttributeError(self.name)
        try:
            value = instance.__dict__[self.name]
        except KeyError:
            message = f"{type(instance).__name__!r} object has no attribute {self.name!r}"
            raise AttributeError(message, name=self.name, obj=instance) from None
        return _look(instance, self.name, value) if isinstance(value, Part) else value

    def __set__(self, instance: Any, value: Any) -> None:
        instance.__dict__[self.name] = value

    def __delete__(self, instance: Any) -> None:
        try:
            del instance.__dict__[self.name]
        except KeyError:
            raise AttributeError(self.name) from None


def _look(instance: Any, name: str, part: Part) -> Any:
    value = part.build()
    loaded = _record(instance)
    if loaded.value is None:
        loaded.items = _snapshot(value)
        loaded.value = value
    if instance.__dict__.get(name) is part:
        instance.__dict__[name] = value
        try:
            _check(type(instance)._onecopy_class)(instance)
        except Exception:
            instance.__dict__[name] = part
            raise
    return value


@functools.cache
def _check(cls: type) -> Any:
    """What looks at an instance with all of its parts, as `load` did without them."""
    from onecopy._checks import check_of

    return check_of(cls) or (lambda instance: None)


# Where the nodes of an estimator are.
_NODES = ("tree_", "nodes", "raw_left_cat_bitsets")


def _snapshot(value: Any) -> "list[tuple[Any, ...]]":
    """Each estimator with its nodes, to see later whether anything was put in its place."""
    return [(item, *_nodes(item)) for item in _flat(value)]


def _nodes(item: Any) -> "list[Any]":
    content = getattr(item, "__dict__", {})
    return [content.get(name) for name in _NODES]


def _flat(value: Any) -> "list[Any]":
    if not isinstance(value, list):
        return value.ravel().tolist()
    return [inner for item in value for inner in (item if isinstance(item, list) else [item])]


def _untouched(instance: Any) -> "_Loaded | None":
    """What the instance was loaded with, if it still holds that."""
    loaded = _loaded.get(instance)
    value = instance.__dict__.get(_lazy_name(type(instance)))
    if isinstance(value, Part):
        return loaded or _record(instance)
    if loaded is None or value is not loaded.value:
        return None
    items = _flat(value)
    same = len(items) == len(loaded.items) and all(
        item is kept and all(a is b for a, b in zip(_nodes(item), nodes))
        for item, (kept, *nodes) in zip(items, loaded.items)
    )
    return loaded if same else None


def _lazy_name(cls: type) -> str:
    return cls.__dict__["_onecopy_lazy"]


@functools.cache
def mapped_class(cls: type) -> type:
    """The subclass of which mapped instances are.

    Parameters
    ----------
    cls : type
        A class that `lazy_attribute` knows.

    Returns
    -------
    type
        It has the name and the `__class__` of `cls`, so that `repr`, `clone` and tools see that.
    """
    name = lazy_attribute(cls.__module__, cls.__qualname__, cls)
    if name is None:
        raise TypeError(f"{cls.__module__}.{cls.__qualname__} has no part that is built when someone looks")
    namespace: dict[str, Any] = {
        "__slots__": (),
        "__module__": cls.__module__,
        "__qualname__": cls.__qualname__,
        "__doc__": cls.__doc__,
        "__class__": property(lambda self: cls, _set_class),
        "__getstate__": _getstate,
        "__reduce_ex__": _reduce_ex,
        "_onecopy_lazy": name,
        "_onecopy_class": cls,
        name: _LazyAttribute(name),
    }
    for method in _FITTING:
        if callable(getattr(cls, method, None)):
            namespace[method] = _ordinary_first(cls, method)
    base = _known_base(cls)
    for method, replacement in _replacements(base).items():
        # A derived class with a method of its own keeps it.
        if getattr(cls, method) is getattr(base, method):
            namespace[method] = functools.wraps(getattr(cls, method))(replacement)
    return type(cls)(cls.__name__, (cls,), namespace)


def _set_class(instance: Any, cls: type) -> None:
    object.__dict__["__class__"].__set__(instance, cls)


def _ordinary_first(cls: type, method: str) -> Any:
    @functools.wraps(getattr(cls, method))
    def fitting(self: Any, *args: Any, **kwargs: Any) -> Any:
        make_ordinary(self)
        return getattr(self, method)(*args, **kwargs)

    return fitting


def make_ordinary(instance: Any) -> None:
    """Turn a mapped ensemble into an instance of its own class, with everything in it.

    Parameters
    ----------
    instance : object
        Of a class made by `mapped_class`.
    """
    cls = type(instance)._onecopy_class
    getattr(instance, _lazy_name(type(instance)), None)
    if _known_base(cls).__module__ == _BOOSTING:
        _make_trees_ordinary(instance.__dict__.get("estimators_"))
    _loaded.pop(instance, None)
    _set_class(instance, cls)


def _make_trees_ordinary(estimators: Any) -> None:
    """Boosting goes on from its trees in compiled code, which follows scikit-learn's own trees only."""
    for estimator in [] if estimators is None else _flat(estimators):
        tree = estimator.__dict__.get("tree_")
        if type(tree) is MappedTree:
            estimator.tree_ = _ordinary_tree(tree)


def _ordinary_tree(tree: MappedTree) -> Any:
    cls, args, state = tree.__reduce__()
    ordinary = cls(*args)
    ordinary.__setstate__(state)
    return ordinary


def _ordinary_twin(instance: Any) -> Any:
    """An instance of the original class with the same attributes, none of them lazy."""
    getattr(instance, _lazy_name(type(instance)), None)
    cls = type(instance)._onecopy_class
    twin = cls.__new__(cls)
    twin.__dict__.update(instance.__dict__)
    return twin


def _getstate(self: Any) -> Any:
    return _ordinary_twin(self).__getstate__()


def _reduce_ex(self: Any, protocol: Any) -> Any:
    return _ordinary_twin(self).__reduce_ex__(protocol)


def _replacements(cls: type) -> "dict[str, Any]":
    """Methods that the engine computes for the whole ensemble."""
    if cls.__module__ == _FOREST:
        found = {"_validate_X_predict": _validate_x_predict, "apply": _apply}
        if hasattr(cls, "predict_proba"):
            found["predict_proba"] = _predict_proba
        elif hasattr(cls, "predict"):
            found["predict"] = _predict
        return found
    if cls.__module__ == _BOOSTING:
        return {
            "_raw_predict_init": _raw_predict_init,
            "_raw_predict": _raw_predict,
            "_staged_raw_predict": _staged_raw_predict,
        }
    if cls.__module__ == _HISTOGRAM:
        return {"_raw_predict": _raw_predict_histogram}
    if cls.__module__ == _ISOLATION:
        return {"_compute_score_samples": _compute_score_samples}
    if cls.__module__ == _ADABOOST:
        return {"decision_function": _weighted_votes} if hasattr(cls, "predict_proba") else {"predict": _weighted_median}
    if cls.__module__ == _BAGGING:
        return {"predict_proba": _bagged_proba} if hasattr(cls, "predict_proba") else {"predict": _bagged_predict}
    return {}


# Forests


def _original(self: Any) -> type:
    return type(self)._onecopy_class


class _First:
    """Stands for `estimators_` where scikit-learn asks the first tree about the input."""

    def __init__(self, first: Any) -> None:
        self.first = first

    def __getitem__(self, index: Any) -> Any:
        return self.first


def _with_first(self: Any, method: str, x: Any) -> Any:
    """Call a method of the original class that needs no tree but the first."""
    cls, part = _original(self), self.__dict__.get("estimators_")
    if not isinstance(part, Part):
        return getattr(cls, method)(self, x)
    loaded = _record(self)
    if loaded.first is None:
        loaded.first = part.first()
    return getattr(cls, method)(_twin(self, _First(loaded.first)), x)


def _twin(self: Any, estimators: Any) -> Any:
    """An instance of the original class with other estimators."""
    cls = _original(self)
    twin = cls.__new__(cls)
    twin.__dict__.update(self.__dict__)
    twin.__dict__["estimators_"] = estimators
    return twin


def _validate_x_predict(self: Any, X: Any) -> Any:
    return _with_first(self, "_validate_X_predict", X)


def _member(self: Any, X: Any) -> "Member | None":
    """What computes the whole forest; nothing for sparse rows, which go tree by tree."""
    loaded = None if hasattr(X, "tocsr") else _untouched(self)
    if loaded is None or any(a is not b for a, b in zip(loaded.read, _read_attributes(self))):
        return None
    return loaded.member


def _threads(self: Any) -> int:
    from joblib import effective_n_jobs

    return max(1, effective_n_jobs(self.n_jobs))


def _predict_proba(self: Any, X: Any) -> Any:
    member = _member(self, X)
    if member is None:
        return _original(self).predict_proba(self, X)
    _check_is_fitted(self)
    return member.run("predict_proba", self._validate_X_predict(X), _threads(self))


def _predict(self: Any, X: Any) -> Any:
    member = _member(self, X)
    if member is None:
        return _original(self).predict(self, X)
    _check_is_fitted(self)
    return member.run("predict", self._validate_X_predict(X), _threads(self))


def _apply(self: Any, X: Any) -> Any:
    member = _member(self, X)
    if member is None:
        return _original(self).apply(self, X)
    import numpy as np

    return np.asfortranarray(member.run("apply", self._validate_X_predict(X), _threads(self)))


def _check_is_fitted(self: Any) -> None:
    from sklearn.utils.validation import check_is_fitted

    check_is_fitted(self)


# Gradient boosting


def _raw_predict_init(self: Any, X: Any) -> Any:
    return _with_first(self, "_raw_predict_init", X)


def _stages(self: Any) -> "Stages | None":
    """The trees as they are now, if all are mapped: those that were loaded, or what the user made of them."""
    value = self.__dict__.get("estimators_")
    if isinstance(value, Part):
        loaded = _record(self)
        if loaded.stages is None:
            loaded.stages = value.stages()
        return loaded.stages
    loaded = _untouched(self)
    if loaded is not None and loaded.stages is not None:
        return loaded.stages
    estimators = self.estimators_
    if getattr(estimators, "ndim", None) != 2:
        return None
    trees = [getattr(estimator, "tree_", None) for estimator in estimators.ravel().tolist()]
    found = stages(trees, estimators.shape[1])
    if loaded is not None:
        loaded.stages = found
    return found


def _add_stages(self: Any, X: Any, raw: Any, first: "int | None" = None) -> Any:
    """`raw` with the trees of one stage added, or of all."""
    found = _stages(self)
    if found is None:
        return _add_stages_ordinary(self, X, raw, first)
    end = len(found) if first is None else first + 1
    raw[...] = found.add(X, self.learning_rate, raw, first or 0, end)
    return raw


def _add_stages_ordinary(self: Any, X: Any, raw: Any, first: "int | None") -> Any:
    from sklearn.ensemble._gradient_boosting import predict_stage, predict_stages

    _make_trees_ordinary(self.estimators_)
    if first is None:
        predict_stages(self.estimators_, X, self.learning_rate, raw)
    else:
        predict_stage(self.estimators_, first, X, self.learning_rate, raw)
    return raw


def _raw_predict(self: Any, X: Any) -> Any:
    _check_is_fitted(self)
    raw = self._raw_predict_init(X)
    member = _member(self, X)
    if member is None or not _same_bits(raw, member.start):
        return _add_stages(self, X, raw)
    return member.run("raw_scores", X)


def _same_bits(rows: Any, start: Any) -> bool:
    """Whether every row is `start`."""
    return rows.dtype == start.dtype and bool((rows.view("u8") == start.view("u8")).all())


def _staged_raw_predict(self: Any, X: Any, check_input: bool = True) -> Any:
    import numpy as np

    if check_input:
        from sklearn.utils.validation import validate_data

        X = validate_data(self, X, dtype=np.float32, order="C", accept_sparse="csr", reset=False)
    raw = self._raw_predict_init(X)
    found = _stages(self)
    count = len(found) if found is not None else self.estimators_.shape[0]
    for stage in range(count):
        _add_stages(self, X, raw, stage)
        yield raw.copy()


# Histogram gradient boosting


def _raw_predict_histogram(self: Any, X: Any, n_threads: "int | None" = None) -> Any:
    member = None if getattr(self, "_in_fit", False) else _member(self, X)
    if member is None:
        return _original(self)._raw_predict(self, X, n_threads)
    import numpy as np
    from sklearn.utils._openmp_helpers import _openmp_effective_n_threads

    _check_is_fitted(self)
    X = self._preprocess_X(X, reset=False)
    # In this order, as rows are added up by column where there are more than two classes.
    return np.asfortranarray(member.run("raw_scores", X, _openmp_effective_n_threads(n_threads)))


# Isolation forests


def _compute_score_samples(self: Any, X: Any, subsample_features: bool) -> Any:
    member = _member(self, X)
    if member is None:
        return _original(self)._compute_score_samples(self, X, subsample_features)
    import numpy as np
    from sklearn.ensemble._iforest import _average_path_length

    depths = member.run("raw_scores", X).ravel()
    denominator = len(self._decision_path_lengths) * _average_path_length([self._max_samples])
    return 2 ** (-np.divide(depths, denominator, out=np.ones_like(depths), where=denominator != 0))


# AdaBoost and bagging


def _finite(X: Any) -> "np.ndarray | None":
    """Rows that every tree takes; nothing if the trees have to look at them."""
    import numpy as np

    if type(X) is not np.ndarray or X.dtype.kind not in "fiub" or X.ndim != 2:
        return None
    rows = X if X.dtype in (np.float32, np.float64) else X.astype(np.float32)
    with np.errstate(over="ignore"):
        return rows if np.isfinite(rows.astype(np.float32, copy=False)).all() else None


def _weighted_votes(self: Any, X: Any) -> Any:
    import numpy as np

    member = _member(self, X)
    rows = None if member is None else _finite(self._check_X(X))
    if rows is None:
        return _original(self).decision_function(self, X)
    _check_is_fitted(self)
    return np.asfortranarray(member.run("decision_function", rows))


class _Predicted:
    """Stands for a tree whose predictions are known."""

    def __init__(self, values: Any) -> None:
        self.values = values

    def predict(self, X: Any) -> Any:
        return self.values


def _weighted_median(self: Any, X: Any) -> Any:
    member = _member(self, X)
    rows = None if member is None else _finite(self._check_X(X))
    if rows is None:
        return _original(self).predict(self, X)
    trees = [_Predicted(column) for column in member.run("raw_scores", rows).T]
    return _original(self).predict(_twin(self, trees), X)


def _bagged(self: Any, method: str, X: Any, params: "dict[str, Any]") -> Any:
    """The answer of the engine; nothing if the trees have to look at the rows."""
    from sklearn.utils.validation import validate_data

    member = None if params else _member(self, X)
    if member is None:
        return None
    _check_is_fitted(self)
    rows = _finite(
        validate_data(self, X, accept_sparse=["csr", "csc"], dtype=None, ensure_all_finite=False, reset=False)
    )
    return None if rows is None else member.run(method, rows, _threads(self))


def _bagged_proba(self: Any, X: Any, **params: Any) -> Any:
    found = _bagged(self, "predict_proba", X, params)
    return _original(self).predict_proba(self, X, **params) if found is None else found


def _bagged_predict(self: Any, X: Any, **params: Any) -> Any:
    found = _bagged(self, "predict", X, params)
    return _original(self).predict(self, X, **params) if found is None else found


def decision_path(indices: "np.ndarray", indptr: "np.ndarray", shape: "tuple[int, int]") -> Any:
    """The matrix that `Tree.decision_path` of the installed scikit-learn gives.

    Parameters
    ----------
    indices, indptr : ndarray of int64
        Of the rows.
    shape : tuple of int
        Rows and nodes.

    Returns
    -------
    sparse matrix or array
        Ones where a row goes through a node.
    """
    import numpy as np
    from scipy.sparse import csr_array, csr_matrix

    data = np.ones(shape=len(indices), dtype=np.intp)
    align = getattr(sys.modules.get("sklearn.utils"), "_align_api_if_sparse", None)
    if align is None:
        return csr_matrix((data, indices, indptr), shape=shape)
    return align(csr_array((data, indices, indptr), shape=shape))
