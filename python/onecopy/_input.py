"""What scikit-learn accepts as `X`, as arrays that the engine reads: NumPy, pandas, polars, pyarrow, SciPy, lists."""

import sys
import warnings
from typing import Any

import numpy as np

# Rows of a sparse matrix become dense this many bytes at a time.
_DENSE_BYTES = 16 << 20
# XGBoost: a category in a table is not its own value, and rows without names are taken as they are.
RECODING = frozenset(("XGBClassifier", "XGBRegressor", "XGBRanker", "XGBRFClassifier", "XGBRFRegressor", "Booster"))


def column_names(x: Any) -> "list[str] | None":
    """The names of the columns of a table, if it has names."""
    columns = "columns" if hasattr(x, "iloc") or not hasattr(x, "column_names") else "column_names"
    names = getattr(x, columns, None)
    if names is None or callable(names):
        return None
    names = list(names)
    kinds = {type(name).__name__ for name in names}
    are_text = [isinstance(name, str) for name in names]
    if names and all(are_text):
        return [str(name) for name in names]
    if any(are_text):
        raise TypeError(
            "Feature names are only supported if all input features have string names, but your input has "
            f"{sorted(kinds)} as feature name / column name types. If you want feature names to be stored and validated, "
            "you must convert them all to strings, by using X.columns = X.columns.astype(str) for example. Otherwise "
            "you can remove feature / column names from your input data, or convert them all to a non-string data type."
        )
    return None


def check_names(x: Any, fitted: "list[str] | None", estimator: str) -> None:
    """Compare the names of columns with those that the model was trained with, as scikit-learn does."""
    names = column_names(x)
    if names is None and (fitted is None or estimator in RECODING):
        return
    if fitted is None:
        _warn(f"X has feature names, but {estimator} was fitted without feature names")
    elif names is None:
        _warn(f"X does not have valid feature names, but {estimator} was fitted with feature names")
    elif names != fitted:
        raise ValueError(_difference(names, fitted))


def _warn(message: str) -> None:
    warnings.warn(message, UserWarning, stacklevel=5)


def _difference(names: "list[str]", fitted: "list[str]") -> str:
    def listed(found: "list[str]") -> str:
        more = ["- ...\n"] if len(found) > 5 else []
        return "".join([f"- {name}\n" for name in found[:5]] + more)

    message = "The feature names should match those that were passed during fit.\n"
    unseen = sorted(set(names) - set(fitted))
    missing = sorted(set(fitted) - set(names))
    if unseen:
        message += "Feature names unseen at fit time:\n" + listed(unseen)
    if missing:
        message += "Feature names seen at fit time, yet now missing:\n" + listed(missing)
    if not unseen and not missing:
        message += "Feature names must be in the same order as they were in fit.\n"
    return message


def is_sparse(x: Any) -> bool:
    """Whether it is a matrix of SciPy. Without SciPy there is none."""
    sparse = sys.modules.get("scipy.sparse")
    return sparse is not None and sparse.issparse(x)


def recodes(estimator: str) -> bool:
    """Whether the estimator looks up categories of a table in those of its training data."""
    return estimator in RECODING or estimator.startswith("LGBM")


def refuse_categories(x: Any, estimator: str) -> None:
    """Refuse a table with columns of categories, which the library would turn into the codes of its training data."""
    dtypes: Any = getattr(x, "dtypes", None)
    if not hasattr(dtypes, "items"):
        return
    for name, dtype in dtypes.items():
        if str(dtype) == "category":
            raise TypeError(
                f"{estimator} would look up the categories of column `{name}` in those of its training data, which is not "
                "covered natively: pass the codes that training gave them, as numbers"
            )


def refuse_big_integers(x: Any, estimator: str) -> None:
    """Refuse integers that LightGBM rounds to float32 and other members of a committee do not."""
    kind = getattr(getattr(x, "dtype", None), "kind", "")
    if kind in "iu" and kind and x.size and (abs(int(x.min())) > 2**24 or abs(int(x.max())) > 2**24):
        raise TypeError(
            f"{estimator} rounds integers beyond 2**24 to float32 and other members do not, which is not covered natively: "
            "pass X.astype('float64'), or use onecopy.load()"
        )


def dense_blocks(x: Any, takes: str) -> "Any":
    """The rows of a sparse matrix, a bounded number of bytes at a time."""
    if takes not in ("float32", "float64", "float"):
        raise TypeError(
            "Sparse data was passed for X, but dense data is required. Use '.toarray()' to convert to a dense numpy array."
        )
    x = x.tocsr()
    if x.dtype.kind == "c":
        raise ValueError("Complex data not supported")
    rows = max(1, _DENSE_BYTES // max(1, 8 * x.shape[1]))
    for start in range(0, max(1, x.shape[0]), rows):
        yield as_rows(x[start : start + rows].toarray(), takes, "")


def as_rows(x: Any, takes: str, estimator: str) -> np.ndarray:
    """Rows as an aligned array of float32 or float64 with two dimensions; the very same array if it is one.

    Parameters
    ----------
    x : array-like of shape (n_samples, n_features)
    takes : {"float32", "float64", "dense", "scale", "center", "float"}
        What the model makes of its input: float32 whatever it is, or float64 unless it is a float already. As LightGBM
        does it, which is "float": float32 unless it is float64 already.
    estimator : str
        For messages.
    """
    if type(x) is np.ndarray:
        array = x
    else:
        array = _as_lightgbm(x) if takes == "float" else _as_array(x)
    if array.dtype.kind == "c":
        raise ValueError(f"Complex data not supported\n{array}\n")
    target = _target(array, takes)
    if array.ndim == 2 and array.dtype == target and array.flags.aligned:
        return array
    try:
        array = array.astype(target, order="K")
    except TypeError as error:
        raise ValueError(str(error)) from error
    if array.ndim != 2:
        raise ValueError(_wrong_dimensions(array, estimator))
    return array


def _target(array: np.ndarray, takes: str) -> np.dtype:
    if takes == "float32" or array.dtype.kind == "f" and array.dtype.itemsize == 4:
        if takes == "float32" and array.dtype.kind == "f" and array.dtype.itemsize == 8 and array.dtype.isnative:
            return array.dtype  # the engine rounds as NumPy does
        return np.dtype(np.float32)
    if array.dtype.kind in "USV":
        raise ValueError(
            "dtype='numeric' is not compatible with arrays of bytes/strings. Convert your data to numeric values "
            "explicitly instead."
        )
    if takes == "float":
        return np.dtype(np.float64 if array.dtype == np.float64 else np.float32)
    if takes in ("scale", "center") and array.dtype == np.float16:
        raise ValueError(
            "scikit-learn scales float16 in float16, which loses most digits and is not supported here: use "
            "X.astype('float32')"
        )
    return np.dtype(np.float64)


def _as_array(x: Any) -> np.ndarray:
    if is_sparse(x):
        raise TypeError("a sparse matrix cannot be read as rows")
    if type(x).__name__ == "Series" and hasattr(x, "to_frame"):
        raise ValueError(
            f"Expected a 2-dimensional container but got {type(x)} instead. Pass a DataFrame containing a single row "
            "(i.e. single sample) or a single column (i.e. single feature) instead."
        )
    if _has_extension_types(x):
        return x.to_numpy(dtype=np.float64, na_value=np.nan)
    if isinstance(x, np.matrix):
        raise TypeError(
            "np.matrix is not supported. Please convert to a numpy array with np.asarray. For more information see: "
            "https://numpy.org/doc/stable/reference/generated/numpy.matrix.html"
        )
    return np.asarray(x)


def _as_lightgbm(x: Any) -> np.ndarray:
    """The array that LightGBM makes of a table: float32 only if that holds every column."""
    if type(x).__name__ == "Series" or not hasattr(x, "columns") and not hasattr(x, "column_names"):
        return _as_array(x)
    if not hasattr(x, "iloc"):
        array = _as_array(x)
        return array if array.dtype == np.float32 else array.astype(np.float64)
    categorical = [str(name) for name, dtype in x.dtypes.items() if type(dtype).__name__ == "CategoricalDtype"]
    if categorical:
        raise ValueError(
            f"columns of dtype category ({', '.join(categorical[:5])}) are not supported here, because their codes depend on "
            "the training data: give the codes that the model was trained with as numbers, or use onecopy.load()"
        )
    bad = [f"{name}: {dtype}" for name, dtype in x.dtypes.items() if np.dtype(dtype.type).kind not in "fiub"]
    if bad:
        raise ValueError(f"pandas dtypes must be int, float or bool.\nFields with bad pandas dtypes: {', '.join(bad)}")
    target = np.result_type(np.float32, *(dtype.type for dtype in x.dtypes))
    try:
        return x.to_numpy(dtype=target)
    except (TypeError, ValueError):
        return x.to_numpy(dtype=target, na_value=np.nan)


def _has_extension_types(x: Any) -> bool:
    """Whether pandas keeps columns in types of its own, which have a value of their own for missing ones."""
    dtypes = getattr(x, "dtypes", None)
    if dtypes is None or not hasattr(x, "iloc"):
        return False
    return any(not isinstance(dtype, np.dtype) and hasattr(dtype, "na_value") for dtype in dtypes)


def _wrong_dimensions(array: np.ndarray, estimator: str) -> str:
    if array.ndim > 2:
        return f"Found array with dim {array.ndim}, while dim <= 2 is required by {estimator}."
    kind = "1D" if array.ndim == 1 else "scalar"
    return (
        f"Expected 2D array, got {kind} array instead:\narray={array}.\nReshape your data either using "
        "array.reshape(-1, 1) if your data has a single feature or array.reshape(1, -1) if it contains a single sample."
    )
