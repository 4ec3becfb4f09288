"""Ensembles of trees whose trees become Python objects when someone looks, and that predict as a whole until then.

A mapped ensemble is an instance of a subclass that shows itself as the class it was saved from. Its big attribute,
`estimators_` for most, is a `Part` in the instance's `__dict__`; a descriptor puts the real value in its place at the
first look. What is pickled, copied or fitted is always an ordinary instance with ordinary content.
"""

import functools
import sys
import weakref
from typing import TYPE_CHECKING, Any

from onecopy._onecopy import MappedTree, Member, Part, Stages

if TYPE_CHECKING:
    import numpy as np

FOREST = "sklearn.ensemble._forest"
BOOSTING = "sklearn.ensemble._gb"
HISTOGRAM = "sklearn.ensemble._hist_gradient_boosting.gradient_boosting"
ISOLATION = "sklearn.ensemble._iforest"
ADABOOST = "sklearn.ensemble._weight_boosting"
BAGGING = "sklearn.ensemble._bagging"

# The attribute that holds the trees.
_LAZY = {
    (FOREST, "RandomForestClassifier"): "estimators_",
    (FOREST, "RandomForestRegressor"): "estimators_",
    (FOREST, "ExtraTreesClassifier"): "estimators_",
    (FOREST, "ExtraTreesRegressor"): "estimators_",
    (FOREST, "RandomTreesEmbedding"): "estimators_",
    (ISOLATION, "IsolationForest"): "estimators_",
    (ADABOOST, "AdaBoostClassifier"): "estimators_",
    (ADABOOST, "AdaBoostRegressor"): "estimators_",
    (BAGGING, "BaggingClassifier"): "estimators_",
    (BAGGING, "BaggingRegressor"): "estimators_",
    (BOOSTING, "GradientBoostingClassifier"): "estimators_",
    (BOOSTING, "GradientBoostingRegressor"): "estimators_",
    (HISTOGRAM, "HistGradientBoostingClassifier"): "_predictors",
    (HISTOGRAM, "HistGradientBoostingRegressor"): "_predictors",
}

# Attributes that the engine has read: an instance that holds another value of one computes for itself.
_READ = {
    BOOSTING: ("learning_rate",),
    HISTOGRAM: ("_baseline_prediction", "_bin_mapper"),
    ISOLATION: (
        "_max_samples", "_decision_path_lengths", "_average_path_length_per_tree", "estimators_features_"
    ),
    ADABOOST: ("estimator_weights_", "classes_", "n_classes_"),
    BAGGING: ("n_estimators", "estimators_features_", "classes_", "n_classes_"),
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


def record(instance: Any) -> _Loaded:
    """What the instance was loaded with, made if there is nothing yet."""
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
        loaded = record(instance)
        loaded.member = member
        loaded.read = read_attributes(instance)


def read_attributes(instance: Any) -> "list[Any]":
    """The attributes beside the trees that the engine has read, as the instance holds them."""
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
    loaded = record(instance)
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


def untouched(instance: Any) -> "_Loaded | None":
    """What the instance was loaded with, if it still holds that."""
    loaded = _loaded.get(instance)
    value = instance.__dict__.get(_lazy_name(type(instance)))
    if isinstance(value, Part):
        return loaded or record(instance)
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
    from onecopy._ensembles import replacements

    base = _known_base(cls)
    for method, replacement in replacements(base).items():
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
    if _known_base(cls).__module__ == BOOSTING:
        make_trees_ordinary(instance.__dict__.get("estimators_"))
    _loaded.pop(instance, None)
    _set_class(instance, cls)


def make_trees_ordinary(estimators: Any) -> None:
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
