"""Content that compiled code follows without looking, checked before a loaded object is used.

`STATES` holds, by (module, qualified name) of a class, what looks at a state before an instance gets it. `check_of`
gives, for a class, what looks at an instance when all of it has been built: the checks in `CHECKS` of the class and its
bases, and for scikit-learn's classes that no attribute hides a method. All raise `FormatError`.

The rules were found by following each `predict` and `transform` into its compiled code; `tests/hostile/load` has a file
for each.
"""

from collections.abc import Callable
from typing import Any

from onecopy import _check_estimators, _check_frames, _check_sparse
from onecopy._check_states import STATES
from onecopy._content import need
from onecopy._errors import FormatError

__all__ = ["CHECKS", "STATES", "check_of"]

Check = Callable[[Any], None]

CHECKS: dict[tuple[str, str], Check] = {
    **{
        ("scipy.sparse._" + kind, f"{kind}_{form}"): check
        for form in ("matrix", "array")
        for kind, check in {
            "csr": _check_sparse.compressed,
            "csc": _check_sparse.compressed,
            "bsr": _check_sparse.compressed,
            "coo": _check_sparse.coordinates,
            "dia": _check_sparse.diagonals,
            "lil": _check_sparse.lists,
            "dok": _check_sparse.keyed,
        }.items()
    },
    ("scipy.interpolate._bsplines", "BSpline"): _check_estimators.spline,
    ("sklearn.svm._base", "BaseLibSVM"): _check_estimators.libsvm,
    ("sklearn.cluster._kmeans", "_BaseKMeans"): _check_estimators.centers,
    ("sklearn.cluster._bisect_k_means", "BisectingKMeans"): _check_estimators.bisecting,
    ("sklearn.cluster._birch", "Birch"): _check_estimators.birch,
    ("sklearn.cluster._agglomerative", "FeatureAgglomeration"): _check_estimators.agglomerated,
    ("sklearn.cluster._hdbscan.hdbscan", "HDBSCAN"): _check_estimators.hdbscan,
    ("sklearn.neighbors._base", "NeighborsBase"): _check_estimators.neighbours,
    ("sklearn.neighbors._classification", "KNeighborsClassifier"): _check_estimators.neighbours_classifier,
    (
        "sklearn.neighbors._classification",
        "RadiusNeighborsClassifier",
    ): _check_estimators.neighbours_classifier,
    ("sklearn.tree._classes", "BaseDecisionTree"): _check_estimators.tree_model,
    ("sklearn.ensemble._forest", "BaseForest"): _check_estimators.forest,
    ("sklearn.ensemble._iforest", "IsolationForest"): _check_estimators.isolation_forest,
    ("sklearn.ensemble._gb", "BaseGradientBoosting"): _check_estimators.boosting,
    (
        "sklearn.ensemble._hist_gradient_boosting.gradient_boosting",
        "BaseHistGradientBoosting",
    ): _check_estimators.histogram_boosting,
    ("sklearn.ensemble._hist_gradient_boosting.predictor", "TreePredictor"): _check_estimators.predictor,
    ("sklearn.preprocessing._encoders", "OneHotEncoder"): _check_estimators.one_hot,
    ("sklearn.preprocessing._label", "MultiLabelBinarizer"): _check_estimators.label_cache,
    ("sklearn.preprocessing._polynomial", "PolynomialFeatures"): _check_estimators.polynomial,
    ("sklearn.feature_extraction._hash", "FeatureHasher"): _check_estimators.hashing,
    ("sklearn.feature_extraction.text", "HashingVectorizer"): _check_estimators.hashing,
    ("sklearn.feature_extraction.text", "CountVectorizer"): _check_estimators.vocabulary,
    ("sklearn.feature_extraction._dict_vectorizer", "DictVectorizer"): _check_estimators.vocabulary,
    ("pandas.core.internals.managers", "BlockManager"): _check_frames.block_manager,
    ("pandas.core.internals.managers", "SingleBlockManager"): _check_frames.single_block,
    ("pandas", "Categorical"): _check_frames.categorical,
    ("pandas", "MultiIndex"): _check_frames.many_levels,
    ("pandas", "Int64Dtype"): _check_frames.masked_type,
    ("pandas.arrays", "IntegerArray"): _check_frames.masked_values,
    ("pandas.arrays", "StringArray"): _check_frames.text_values,
    ("pandas.arrays", "DatetimeArray"): _check_frames.times,
    ("pandas.arrays", "ArrowStringArray"): _check_frames.arrow_text,
}


def check_of(kind: type) -> "Check | None":
    """What looks at a complete instance of `kind`, or None."""
    found = [
        CHECKS[name]
        for base in reversed(kind.__mro__)
        if (name := (base.__module__, base.__qualname__)) in CHECKS
    ]
    hidden = method_names(kind) if kind.__module__.startswith("sklearn.") else frozenset()
    if not found and not hidden:
        return None

    def check(instance: Any) -> None:
        attributes = getattr(instance, "__dict__", {})
        if not hidden.isdisjoint(attributes):
            names = ", ".join(sorted(hidden.intersection(attributes)))
            need(False, instance, f"no attribute in the place of a method ({names})")
        for one in found:
            try:
                one(instance)
            except FormatError:
                raise
            except Exception as error:
                raise FormatError(
                    f"a `{kind.__module__}.{kind.__qualname__}` of the file is not usable: {error}"
                ) from error

    return check


def method_names(kind: type) -> frozenset:
    """Names of methods that an instance attribute would hide: an estimator's own checks must not be replaced."""
    names = set()
    for base in kind.__mro__[:-1]:
        for name, value in vars(base).items():
            hides = callable(value) or (
                hasattr(type(value), "__get__") and not hasattr(type(value), "__set__")
            )
            if hides and not isinstance(value, type):
                names.add(name)
    return frozenset(names)
