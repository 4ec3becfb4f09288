"""Model files made with the package itself, for tests that need no built command."""

import warnings

import joblib
import numpy as np

import onecopy


def make(model, folder, name="model"):
    """Convert a joblib file of `model`; gives the path of the model file as text."""
    source = folder / f"{name}.joblib"
    joblib.dump(model, source)
    return onecopy.convert(source, folder / f"{name}.onecopy")


def same(expected, found):
    """Whether two answers are the same to the bit, types included."""
    if isinstance(expected, list):
        return isinstance(found, list) and all(same(a, b) for a, b in zip(expected, found, strict=True))
    return (
        type(found) is np.ndarray
        and expected.dtype == found.dtype
        and expected.shape == found.shape
        and expected.tobytes() == found.tobytes()
    )


def outcome(function, *args):
    """What a call gives: a result, or the type of its error; and the texts of its warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = function(*args)
        except Exception as error:
            result = type(error)
    return result, [str(warning.message) for warning in caught]
