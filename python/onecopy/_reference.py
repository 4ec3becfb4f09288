"""Handles that travel between processes: path and digest instead of content."""

import os
import threading
import weakref
from typing import Any

from onecopy._errors import StaleReferenceError
from onecopy._place import USUAL, How, Place

# What each loaded object came from, by its id: estimators may be equal without being the same, or have no hash.
_LOADED: "dict[int, tuple[weakref.ref, tuple]]" = {}
# What this process has opened or loaded for a handle, so that it maps each file once.
_CACHE: "weakref.WeakValueDictionary[tuple, Any]" = weakref.WeakValueDictionary()
_LOCK = threading.RLock()


def _after_fork() -> None:
    global _LOCK
    _LOCK = threading.RLock()


os.register_at_fork(after_in_child=_after_fork)


def remember(
    obj: Any, path: str, digest: str, mmap_mode: "str | None", trusted: "list[str]", how: How
) -> None:
    """Keep in mind what `load` made an object of, as long as the object lives."""
    key = id(obj)
    try:
        known = weakref.ref(obj, lambda _: _LOADED.pop(key, None))
    except TypeError:
        return  # a dict or a list: `by_reference` says so
    _LOADED[key] = known, (path, digest, mmap_mode, tuple(trusted), *_unusual(how))


def _unusual(how: How) -> "tuple[How, ...]":
    """What a handle says of `cache`, `share` and `guard`."""
    return () if how == USUAL else (how,)


def origin_of(model: Any) -> tuple:
    """What a handle of an opened model holds."""
    if not isinstance(model.path, str):
        raise TypeError(
            "a model opened from a descriptor has no path that could travel; send the descriptor itself, with "
            "`socket.send_fds` or `multiprocessing.reduction.send_handle`"
        )
    return (model.path, model.digest, model._threads, *_unusual(model._how))


def by_reference(model: Any) -> "Reference":
    """Make a handle of a loaded model that travels to other processes as path and digest.

    Unpickling the handle gives the model itself, loaded from the same file. A worker process maps the file once,
    however many handles it receives.

    Parameters
    ----------
    model : object
        What `load` or `open` gave.

    Returns
    -------
    Reference
        A small object; its `model` is the model.

    Raises
    ------
    TypeError
        If the model was not loaded from a file, or is of a type that cannot be remembered, such as a dict.

    Notes
    -----
    Changes that were made to the model after it was loaded do not travel. `cache`, `share` and `guard` do: the other process
    opens the file in the same way. With `share="memfd"` that is memory of its own; `Model.fileno` shares the one there is.

    Where the handle is unpickled, `StaleReferenceError` says that another file is behind the path, and
    `FileNotFoundError` that there is none.

    Examples
    --------
    >>> import onecopy, os, pickle, tempfile
    >>> from sklearn.linear_model import LinearRegression
    >>> path = os.path.join(tempfile.mkdtemp(), "line.onecopy")
    >>> onecopy.dump(LinearRegression().fit([[0.0], [1.0]], [0.0, 2.0]), path)
    >>> model = onecopy.load(path)
    >>> travelling = pickle.dumps(onecopy.by_reference(model))
    >>> len(travelling) < 500
    True
    >>> pickle.loads(travelling).predict([[2.0]])
    array([4.])
    """
    from onecopy._model import Model

    if isinstance(model, Model):
        return Reference(model, origin_of(model), opened=True)
    known = _LOADED.get(id(model))
    if known is None or known[0]() is not model:
        raise TypeError(
            f"by_reference takes what onecopy.load or onecopy.open gave; this {type(model).__name__} was made otherwise, or is "
            "of a type that cannot be remembered"
        )
    return Reference(model, known[1], opened=False)


class Reference:
    """A loaded model on its way to another process, where it arrives as the model itself.

    Attributes
    ----------
    model : object
        The model.
    path : str
        Its file.
    digest : str
        The identity of the content.
    """

    __slots__ = ("__weakref__", "_opened", "_origin", "model")

    def __init__(self, model: Any, origin: tuple, *, opened: bool) -> None:
        self.model = model
        self._origin = origin
        self._opened = opened

    @property
    def path(self) -> str:
        return self._origin[0]

    @property
    def digest(self) -> str:
        return self._origin[1]

    def __reduce__(self) -> tuple:
        return (reopen if self._opened else reload), self._origin

    def __repr__(self) -> str:
        return f"<onecopy.Reference to {type(self.model).__name__} in {self.path}>"


def reopen(path: str, digest: str, threads: "int | None", how: How = USUAL) -> Any:
    """The opened model behind a handle."""
    from onecopy._model import Model
    from onecopy._onecopy import NativeModel

    key = ("open", path, digest, threads, how)
    with _LOCK:
        model = _CACHE.get(key)
        if model is None:
            native = NativeModel(path, *how)
            _compare(path, digest, native.digest)
            model = _CACHE[key] = Model(native, Place(path, how), threads)
    return model


def reload(path: str, digest: str, mmap_mode: "str | None", trusted: "tuple[str, ...]", how: How = USUAL) -> Any:
    """The loaded model behind a handle."""
    from onecopy import _onecopy
    from onecopy._load import load

    key = ("load", path, digest, mmap_mode, trusted, how)
    with _LOCK:
        model = _CACHE.get(key)
        if model is None:
            _compare(path, digest, _onecopy.digest(path))
            options = dict(zip(("cache", "share", "guard", "verify_key"), how))
            model = load(path, mmap_mode=mmap_mode, trusted=trusted, **options)
            known = _LOADED.get(id(model))
            if known is not None:
                _compare(path, digest, known[1][1])
            _CACHE[key] = model
    return model


def _compare(path: str, expected: str, found: str) -> None:
    if found != expected:
        raise StaleReferenceError(
            f"{path} holds content with digest {found}, the handle was made of {expected}: the file was replaced; make the "
            "handle anew"
        )
