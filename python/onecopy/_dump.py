"""Writing a model file from a live object."""

import copyreg
import functools
import io
import json
import math
import os
import pickle
import platform
import sys
import sysconfig
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from onecopy import _onecopy
from onecopy._errors import UnsupportedModelError

# What pickling raises for objects that it cannot store.
_REFUSALS = (pickle.PicklingError, TypeError, AttributeError, ValueError, NotImplementedError, RecursionError)
# Distributions that a library computes with; their versions belong to the model too.
_COMPANIONS = {
    "sklearn": ("scipy", "joblib", "threadpoolctl"),
    "pandas": ("pyarrow",),
}
_DISTRIBUTIONS = {"sklearn": "scikit-learn"}
# Estimators whose `vocabulary_` is theirs alone, as a rule.
_VECTORIZERS = {
    "sklearn.feature_extraction.text": ("CountVectorizer", "TfidfVectorizer"),
    "sklearn.feature_extraction._dict_vectorizer": ("DictVectorizer",),
}
_LEVELS = ("fast", "default", "best")
_MAX_DEPTH = 100


def dump(
    obj: Any,
    path: "str | os.PathLike[str]",
    *,
    metadata: "Mapping[str, Any] | None" = None,
    compress: "bool | str | None" = None,
    example_input: Any = None,
    sync: bool = True,
    progress: "Callable[[str, int, int], object] | None" = None,
) -> None:
    """Write a fitted estimator, or any object of plain data and arrays, to a model file.

    The file appears at its path when it is whole: whoever looks there sees the old file or the new one, and processes that
    have the old one mapped keep it. Arrays are written straight from memory. Equal objects give equal files.

    Parameters
    ----------
    obj : object
        A fitted estimator, a pipeline, a dict of arrays, ...
    path : str or path-like
        Where the file shall be, by custom with the ending `.onecopy`.
    metadata : dict, default=None
        What to keep about the model: where the training data are, scores, a date. Values as in JSON. The versions of
        Python and of the libraries that the model uses are kept anyway; no time is.
    compress : bool or {"fast", "default", "best"}, default=None
        A level of `archive`, or True for "default", writes a smaller file for archives, which is restored before use.
    example_input : array-like or DataFrame, default=None
        Some rows as the model takes them: their column names and types are kept as the schema of the input. Without it the
        schema is what the estimator remembers of its training data.
    sync : bool, default=True
        Wait until the file is on disk. False is faster for small files; a power cut soon after may then lose the new file
        and the old one.
    progress : callable, default=None
        Called as `progress(step, done_bytes, total_bytes)` now and then; `total_bytes` is 0 if unknown. An
        exception that it raises ends the dump, and leaves the old file.

    Raises
    ------
    UnsupportedModelError
        If the object holds what cannot be stored without loss: a lambda, an open file, ...; the message says where.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import numpy as np, onecopy, os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "weights.onecopy")
    >>> onecopy.dump({"weights": np.arange(3.0)}, path, metadata={"auc": 0.91})
    >>> onecopy.load(path)["weights"]
    array([0., 1., 2.])
    """
    user = None if metadata is None else _user_metadata(metadata)
    compress = _level(compress)
    if progress is not None and not callable(progress):
        raise TypeError(f"progress takes a callable, found {type(progress).__name__}")
    target = os.fsdecode(os.fspath(path))
    schema = _schema(obj, example_input)
    try:
        pickled = _pickled(obj)
    except _REFUSALS as error:
        raise _refused(obj, error) from error
    try:
        _onecopy.dump(
            *pickled,
            target,
            describe=_environment,
            schema=None if schema is None else json.dumps(schema),
            user=user,
            compress=compress,
            sync=bool(sync),
            progress=progress,
        )
    except UnsupportedModelError as error:
        raise _refused(obj, error) from error


def _pickled(obj: Any) -> "tuple[np.ndarray, list[np.ndarray], list[_onecopy.Terms]]":
    """The pickle of `obj` as bytes, the memory of its arrays, and its big vocabularies."""
    vocabularies = _Vocabularies()
    try:
        return _pickled_beside(obj, vocabularies)
    except _Shared:
        return _pickled_beside(obj, None)


def _pickled_beside(
    obj: Any, vocabularies: "_Vocabularies | None"
) -> "tuple[np.ndarray, list[np.ndarray], list[_onecopy.Terms]]":
    buffers: list[pickle.PickleBuffer] = []
    stream = io.BytesIO()
    pickler = pickle.Pickler(stream, protocol=5, buffer_callback=buffers.append)
    # A memory map is kept as the array that it is; NumPy itself would copy it into the stream.
    reducers: dict[Any, Callable[[Any], Any]] = {np.memmap: _reduce_memmap}
    if vocabularies is not None:
        reducers.update(vocabularies.reducers())
    pickler.dispatch_table = {**reducers, **copyreg.dispatch_table, np.memmap: _reduce_memmap}
    pickler.dump(obj)
    terms = [] if vocabularies is None else vocabularies.terms(pickler)
    return _bytes(stream.getbuffer()), [_bytes(buffer.raw()) for buffer in buffers], terms


class _Shared(Exception):
    """A vocabulary belongs to something else as well, and has to be one dict."""


class _Vocabularies:
    """The big vocabularies in an object. They are read at once; the pickle has stand-ins for them."""

    def __init__(self) -> None:
        self._terms: list[_onecopy.Terms] = []
        self._of: dict[int, tuple[Any, _onecopy.Terms]] = {}

    def reducers(self) -> "dict[Any, Callable[[Any], Any]]":
        reducers: dict[Any, Callable[[Any], Any]] = {_onecopy.MappedVocabulary: self._reduce_mapped}
        for module, names in _VECTORIZERS.items():
            # What is not imported cannot be in the object.
            known = vars(sys.modules[module]) if module in sys.modules else {}
            reducers.update((known[name], self._reduce_vectorizer) for name in names if name in known)
        return reducers

    def terms(self, pickler: pickle.Pickler) -> "list[_onecopy.Terms]":
        """What the stand-ins stand for, when the pickle is complete."""
        if self._of and not self._of.keys().isdisjoint(pickler.memo.copy()):
            raise _Shared
        return self._terms

    def _reduce_vectorizer(self, vectorizer: Any) -> Any:
        reduced = vectorizer.__reduce_ex__(5)
        state = reduced[2] if isinstance(reduced, tuple) and len(reduced) > 2 else None
        if type(state) is not dict or state is vectorizer.__dict__:
            return reduced
        vocabulary = state.get("vocabulary_")
        terms = self._read(vocabulary) if type(vocabulary) is dict else None
        if terms is None:
            return reduced
        return (*reduced[:2], {**state, "vocabulary_": terms}, *reduced[3:])

    def _reduce_mapped(self, vocabulary: _onecopy.MappedVocabulary) -> Any:
        terms = _onecopy.Terms.of(vocabulary, len(self._terms))
        if terms is None:
            return vocabulary.__reduce__()
        self._terms.append(terms)
        return terms.__reduce__()

    def _read(self, vocabulary: "dict[str, int]") -> "_onecopy.Terms | None":
        if id(vocabulary) in self._of:
            return self._of[id(vocabulary)][1]
        terms = _onecopy.Terms.of(vocabulary, len(self._terms))
        if terms is not None:
            self._terms.append(terms)
            self._of[id(vocabulary)] = (vocabulary, terms)
        return terms


def _bytes(memory: memoryview) -> np.ndarray:
    return np.frombuffer(memory, np.uint8) if memory.nbytes else np.empty(0, np.uint8)


def _reduce_memmap(array: np.memmap) -> Any:
    return array.view(np.ndarray).__reduce_ex__(5)


def _level(compress: "bool | str | None") -> "str | None":
    if compress is None or compress is False:
        return None
    if compress is True:
        return "default"
    if isinstance(compress, str) and compress in _LEVELS:
        return compress
    raise ValueError(f'compress takes True, False, None, "fast", "default" or "best", found {compress!r}')


# Metadata.


def _user_metadata(metadata: Mapping[str, Any]) -> str:
    if not isinstance(metadata, Mapping):
        raise TypeError(f"metadata takes a dict, found {type(metadata).__name__}")
    return json.dumps(_json_value(dict(metadata), "metadata", 0), ensure_ascii=False)


def _json_value(value: Any, path: str, depth: int) -> Any:
    """`value` if JSON keeps it as it is."""
    if depth > _MAX_DEPTH:
        raise ValueError(f"{path.split('[')[0]} is nested deeper than {_MAX_DEPTH} levels")
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        if not -(2**63) <= value < 2**64:
            raise ValueError(f"{path} is {value}, which does not fit in 64 bits; write it as a str")
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{path} is {value}, which JSON does not have; write None or a str")
        return float(value)
    if isinstance(value, (list, tuple)):
        return [_json_value(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(value)]
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"a key of {path} is {key!r}, a {type(key).__name__}; keys are str")
        return {key: _json_value(item, f"{path}[{key!r}]", depth + 1) for key, item in value.items()}
    hint = "use .item() or .tolist()" if isinstance(value, (np.generic, np.ndarray)) else "write it as a str"
    raise TypeError(f"{path} is a {_type_name(value)}, which JSON does not have; {hint}")


def _environment(modules: list[str], main: list[str]) -> str:
    """Versions of Python and of the libraries that own `modules`; the names in `__main__` are warned of."""
    if main:
        names = ", ".join(f"`__main__.{name}`" for name in main)
        warnings.warn(
            f"the model uses {names}, defined in a script: another program can load it only with a module "
            "`__main__` that has the same names, and with trusted=[...]; put them into a module that can be imported",
            UserWarning,
            stacklevel=3,
        )
    return _versions(frozenset(module.partition(".")[0] for module in modules))


# Asked for again and again by those who write many small models.
@functools.lru_cache(maxsize=64)
def _versions(packages: frozenset[str]) -> str:
    libraries = {"numpy"}
    for package in packages:
        if package not in sys.stdlib_module_names and package != "__main__":
            libraries.update((package, *_COMPANIONS.get(package, ())))
    versions = {_DISTRIBUTIONS.get(name, name): _version(name) for name in sorted(libraries)}
    environment = {
        "python": platform.python_version(),
        "implementation": sys.implementation.name,
        "platform": sysconfig.get_platform(),
        "libraries": {name: version for name, version in versions.items() if version is not None},
    }
    return json.dumps(environment)


def _version(library: str) -> "str | None":
    version = getattr(sys.modules.get(library), "__version__", None)
    if isinstance(version, str):
        return version
    from importlib import metadata

    try:
        return metadata.version(_DISTRIBUTIONS.get(library, library))
    except Exception:  # any of a broken installation's errors
        return None


def _schema(obj: Any, example: Any) -> "dict[str, Any] | None":
    if example is not None:
        return {"from": "example_input", **_columns(example)}
    names = _attribute(obj, "feature_names_in_")
    count = _attribute(obj, "n_features_in_")
    schema: dict[str, Any] = {"from": "estimator"}
    if isinstance(names, np.ndarray) and names.ndim == 1 and all(isinstance(name, str) for name in names):
        schema["columns"] = [{"name": str(name)} for name in names]
    if isinstance(count, (int, np.integer)) and not isinstance(count, bool):
        schema["n_features"] = int(count)
    return schema if len(schema) > 1 else None


def _attribute(obj: Any, name: str) -> Any:
    try:
        return getattr(obj, name, None)
    except Exception:  # a property of an estimator that is not fitted
        return None


def _columns(example: Any) -> dict[str, Any]:
    names, dtypes = getattr(example, "columns", None), getattr(example, "dtypes", None)
    if names is None and hasattr(example, "schema"):  # pyarrow
        names, dtypes = example.schema.names, example.schema.types
    if names is not None and dtypes is not None:
        pairs = zip(list(names), list(dtypes), strict=True)
        columns = [{"name": str(name), "dtype": str(dtype)} for name, dtype in pairs]
        return {"columns": columns, "n_features": len(columns)}
    sparse = hasattr(example, "tocsr")
    array = example if sparse else np.asarray(example)
    schema: dict[str, Any] = {"dtype": str(array.dtype)}
    if array.ndim >= 2:
        schema["n_features"] = int(array.shape[1])
    if sparse:
        schema["sparse"] = True
    return schema


# What cannot be stored, and where it is.


def _refused(obj: Any, error: BaseException) -> UnsupportedModelError:
    path, culprit, reason = _find(obj, error)
    where = f"`{path}`, a {_type_name(culprit)}," if path else f"a {_type_name(culprit)}"
    return UnsupportedModelError(f"{where} cannot be stored: {_explained(culprit, reason)}")


def _explained(culprit: Any, error: BaseException) -> str:
    if isinstance(error, RecursionError):
        return "it is nested deeper than Python's recursion limit"
    name = getattr(culprit, "__qualname__", None)
    if callable(culprit) and isinstance(name, str):
        if "<lambda>" in name:
            return "a lambda has no name to find it by; use a function of a module"
        if "<locals>" in name:
            return f"`{name}` is defined inside a function; define it at the top of a module"
    if isinstance(culprit, io.IOBase):
        return "an open file does not outlive its process; keep its path"
    return str(error)


def _find(obj: Any, error: BaseException) -> "tuple[str, Any, BaseException]":
    """The innermost part of `obj` that is refused on its own, the way to it, and why."""
    path, reason = "", error
    seen = {id(obj)}
    for _ in range(_MAX_DEPTH):
        for step, part in _parts(obj):
            if id(part) in seen:
                continue
            found = _refusal(part)
            if found is not None:
                path, obj, reason = path + step, part, found
                seen.add(id(part))
                break
        else:
            break
    return path.removeprefix("."), obj, reason


def _refusal(obj: Any) -> "BaseException | None":
    try:
        _onecopy.check_pickle(*_pickled(obj))
    except (*_REFUSALS, UnsupportedModelError) as error:
        return error
    return None


def _parts(obj: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(obj, dict):
        for key, value in obj.items():
            yield f"[{key!r}]", value
        for key in obj:
            yield f" key {key!r}", key
    elif isinstance(obj, (list, tuple)):
        for index, item in enumerate(obj):
            yield f"[{index}]", item
    elif isinstance(obj, (set, frozenset)):
        for item in obj:
            yield " item", item
    elif isinstance(obj, np.ndarray) and obj.dtype == object:
        for index in np.ndindex(obj.shape):
            yield f"[{', '.join(map(str, index))}]", obj[index]
    state = getattr(obj, "__dict__", None)
    if isinstance(state, dict) and not isinstance(obj, type):
        for name, value in state.items():
            yield f".{name}", value
    for name in _slots(type(obj)):
        if hasattr(obj, name):
            yield f".{name}", getattr(obj, name)


def _slots(kind: type) -> list[str]:
    found: list[str] = []
    for base in kind.__mro__:
        slots = base.__dict__.get("__slots__", ())
        names = (slots,) if isinstance(slots, str) else tuple(slots)
        found.extend(name for name in names if name not in ("__dict__", "__weakref__"))
    return found


def _type_name(obj: Any) -> str:
    kind = type(obj)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
