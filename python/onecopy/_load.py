"""The real estimator on memory that all processes share."""

import os
from collections.abc import Iterable
from typing import Any

from onecopy import _onecopy, _reference
from onecopy._place import Place


def load(
    path: "str | os.PathLike[str] | int",
    *,
    mmap_mode: "str | None" = "r",
    trusted: "Iterable[str] | None" = None,
    cache: "str | os.PathLike[str] | None" = None,
    share: str = "cache",
    guard: "str | None" = None,
    verify_key: "str | os.PathLike[str] | None" = None,
) -> Any:
    """Rebuild the object of a model file on the memory of the file.

    Arrays are views of the mapped file: processes that load the same file share one copy, and loading takes as long for
    ten gigabytes as for ten megabytes. Nothing in the file is run: every name in it must be on the list of what scikit-learn,
    NumPy, SciPy and pandas need, or in `trusted`, before the first module is imported.

    Parameters
    ----------
    path : str, path-like or int
        A file made by `dump`, `convert` or `archive`. A number is the descriptor of a model in memory, see
        `Model.fileno`; it stays open.
    mmap_mode : {"r", "c", None}, default="r"
        "r": arrays are read-only. "c": arrays can be written to, each process keeps its own changes, the file stays
        as it is. None: ordinary arrays, read into memory.
    trusted : iterable of str, default=None
        Types and functions of your own that the file may use, such as `"shop.features.Clip"`.
    cache : str or path-like, default=None
        The folder in which archives are restored, as for `open`.
    share : {"cache", "memfd"}, default="cache"
        Where the bytes lie, as for `open`.
    guard : {None, "memfd"}, default=None
        "memfd": nobody can change what was loaded, as for `open`.
    verify_key : str or path-like, default=None
        A file with an ed25519 public key in PEM. The file must have been signed with its private half, see `sign`, and all of it
        is read and compared before it is used.

    Returns
    -------
    object
        What was dumped: a fitted estimator, a pipeline, a dict of arrays.

    Raises
    ------
    UntrustedTypesError
        If the file uses names that are not trusted; `types` lists them. Nothing has been imported.
    SignatureError
        If `verify_key` is given and its owner has not signed the file.
    FormatError
        If the file is damaged, or no model file.
    OSError
        If it cannot be read.

    Examples
    --------
    >>> import numpy as np, onecopy, os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "weights.onecopy")
    >>> onecopy.dump({"weights": np.arange(3.0)}, path)
    >>> onecopy.load(path)["weights"]
    array([0., 1., 2.])
    """
    names = _names(trusted)
    place = Place.of(path, cache, share, guard, verify_key)
    loaded, digest = _onecopy.load(place.path, mmap_mode, names, *place.how)
    if isinstance(place.path, str):
        _reference.remember(loaded, place.path, digest, mmap_mode, names, place.how)
    return loaded


def _names(trusted: "Iterable[str] | None") -> list[str]:
    if trusted is None:
        return []
    if isinstance(trusted, (str, bool)):
        raise TypeError(f"trusted takes a list of names such as ['shop.features.Clip'], found {trusted!r}")
    names = list(trusted)
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"trusted takes names such as 'shop.features.Clip', found {name!r}")
    return names
