"""Load a trained model once; serve it from every process.

`load` gives the real scikit-learn object on memory that all processes share, `open` a native model that needs numpy
alone, `dump` writes a model file, `convert` makes one of a pickle or joblib file without running it.
"""

from typing import TYPE_CHECKING, Any

from onecopy._onecopy import __version__

if TYPE_CHECKING:
    from onecopy._dump import dump
    from onecopy._errors import (
        ChecksumError,
        FormatError,
        OnecopyError,
        SignatureError,
        StaleReferenceError,
        UnsupportedModelError,
        UntrustedTypesError,
    )
    from onecopy._functions import archive, convert, inspect, prune, restore, sign, verify
    from onecopy._load import load
    from onecopy._model import Model, open
    from onecopy._reference import Reference, by_reference

# Names are imported when they are first used: the command needs none of them, and no numpy.
_HOMES = {
    "ChecksumError": "_errors",
    "FormatError": "_errors",
    "OnecopyError": "_errors",
    "SignatureError": "_errors",
    "StaleReferenceError": "_errors",
    "UnsupportedModelError": "_errors",
    "UntrustedTypesError": "_errors",
    "dump": "_dump",
    "load": "_load",
    "Model": "_model",
    "open": "_model",
    "Reference": "_reference",
    "by_reference": "_reference",
    "archive": "_functions",
    "convert": "_functions",
    "inspect": "_functions",
    "prune": "_functions",
    "restore": "_functions",
    "sign": "_functions",
    "verify": "_functions",
}

__all__ = ["__version__", *sorted(_HOMES)]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'onecopy' has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(f"onecopy.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(__all__) | set(globals()))
