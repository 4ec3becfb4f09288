"""Methods of tree ensembles that the engine computes for the whole ensemble, from rows that scikit-learn has checked.

A method falls back to scikit-learn's own, tree by tree, where the instance holds other trees than it was loaded
with, and where an answer depends on more than the trees.
"""

from typing import TYPE_CHECKING, Any

from onecopy._mapped import (
    ADABOOST,
    BAGGING,
    BOOSTING,
    FOREST,
    HISTOGRAM,
    ISOLATION,
    make_trees_ordinary,
    read_attributes,
    record,
    untouched,
)
from onecopy._onecopy import Member, Part, Stages, stages

if TYPE_CHECKING:
    import numpy as np


def replacements(cls: type) -> "dict[str, Any]":
    """Methods that the engine computes for the whole ensemble."""
    if cls.__module__ == FOREST:
        found = {"_validate_X_predict": _validate_x_predict, "apply": _apply}
        if hasattr(cls, "predict_proba"):
            found["predict_proba"] = _predict_proba
        elif hasattr(cls, "predict"):
            found["predict"] = _predict
        return found
    if cls.__module__ == BOOSTING:
        return {
            "_raw_predict_init": _raw_predict_init,
            "_raw_predict": _raw_predict,
            "_staged_raw_predict": _staged_raw_predict,
        }
    if cls.__module__ == HISTOGRAM:
        return {"_raw_predict": _raw_predict_histogram}
    if cls.__module__ == ISOLATION:
        return {"_compute_score_samples": _compute_score_samples}
    if cls.__module__ == ADABOOST:
        return {"decision_function": _weighted_votes} if hasattr(cls, "predict_proba") else {"predict": _weighted_median}
    if cls.__module__ == BAGGING:
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
    loaded = record(self)
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
    loaded = None if hasattr(X, "tocsr") else untouched(self)
    if loaded is None or any(a is not b for a, b in zip(loaded.read, read_attributes(self))):
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
        loaded = record(self)
        if loaded.stages is None:
            loaded.stages = value.stages()
        return loaded.stages
    loaded = untouched(self)
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

    make_trees_ordinary(self.estimators_)
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
