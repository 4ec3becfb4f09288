"""Work on whole files: `convert`, `verify`, `inspect`, `archive`, `restore`, `prune`."""

import json
import os
from collections.abc import Callable, Mapping
from typing import Any

from onecopy import _onecopy

Progress = Callable[[str, int, int], Any]


def convert(
    src: "str | os.PathLike[str]",
    dst: "str | os.PathLike[str] | None" = None,
    *,
    metadata: "Mapping[str, Any] | None" = None,
    progress: "Progress | None" = None,
) -> str:
    """Make a model file of a pickle, joblib, .npy, XGBoost (JSON, UBJSON) or LightGBM text file, without running it.

    Parameters
    ----------
    src : str or path-like
        The file, compressed or not.
    dst : str or path-like, default=None
        The model file, replaced if it exists. If None, the name of `src` with the ending ``.onecopy``, which must not
        exist.
    metadata : mapping, default=None
        What to say about the model, as JSON; kept under ``"user"`` in its metadata.
    progress : callable, default=None
        Called as ``progress(what, done_bytes, total_bytes)`` now and then; the total is 0 if it is not known. What it
        raises ends the conversion, and leaves what was at `dst`.

    Returns
    -------
    str
        The path of the model file.

    Raises
    ------
    FormatError
        If `src` cannot be read as one of these kinds.
    OSError
        If a file cannot be read or written. `dst` then is what it was.

    Examples
    --------
    >>> import numpy as np, onecopy, os, tempfile
    >>> folder = tempfile.mkdtemp()
    >>> np.save(os.path.join(folder, "x.npy"), np.arange(3))
    >>> path = onecopy.convert(os.path.join(folder, "x.npy"))
    >>> os.path.basename(path)
    'x.onecopy'
    """
    text = None if metadata is None else json.dumps(metadata, allow_nan=False)
    return os.fspath(_onecopy.convert(os.fspath(src), _path(dst), text, progress))


def verify(
    path: "str | os.PathLike[str]",
    *,
    key: "str | os.PathLike[str] | None" = None,
    progress: "Progress | None" = None,
) -> None:
    """Compare every byte of a model file with its checksums and digests, and its signature if asked to.

    Parameters
    ----------
    path : str or path-like
        The file.
    key : str or path-like, default=None
        A file with an ed25519 public key in PEM; the file must have been signed with its private half, see `sign`.
    progress : callable, default=None
        Called as ``progress(what, done_bytes, total_bytes)`` now and then.

    Raises
    ------
    ChecksumError
        If bytes are damaged; the message says which array and where.
    SignatureError
        If `key` is given and its owner has not signed the file.
    FormatError
        If it is no model file.
    OSError
        If it cannot be read.

    Examples
    --------
    >>> import numpy as np, onecopy, os, tempfile
    >>> folder = tempfile.mkdtemp()
    >>> np.save(os.path.join(folder, "x.npy"), np.arange(3))
    >>> onecopy.verify(onecopy.convert(os.path.join(folder, "x.npy")))
    """
    if key is None:
        _onecopy.verify(os.fspath(path), progress)
    else:
        _onecopy.verify_signed(os.fspath(path), os.fspath(key), progress)


def sign(
    path: "str | os.PathLike[str]",
    *,
    key: "str | os.PathLike[str]",
    progress: "Progress | None" = None,
) -> str:
    """Vouch for a model file: write an ed25519 signature of its content beside it.

    The file is read first, and a damaged one not signed. What is signed is the digest of the content, so the signature also
    holds for the archive of the file and for what is restored from it, if it is copied along under their names.

    Parameters
    ----------
    path : str or path-like
        The file.
    key : str or path-like
        A file with an ed25519 private key in PEM, as ``openssl genpkey -algorithm ed25519`` writes it.
    progress : callable, default=None
        Called as ``progress(what, done_bytes, total_bytes)`` now and then.

    Returns
    -------
    str
        The path of the signature: `path` followed by ``.sig``. An earlier one is replaced.

    Raises
    ------
    ChecksumError
        If the file is damaged.
    SignatureError
        If there is no such key in the file.
    OSError
        If a file cannot be read or written.

    See Also
    --------
    verify, load, open : They take the public half of the key.

    Examples
    --------
    >>> import onecopy
    >>> onecopy.sign("forest.onecopy", key="private.pem")  # doctest: +SKIP
    'forest.onecopy.sig'
    >>> model = onecopy.load("forest.onecopy", verify_key="public.pem")  # doctest: +SKIP
    """
    return os.fspath(_onecopy.sign(os.fspath(path), os.fspath(key), progress))


def inspect(path: "str | os.PathLike[str]") -> "dict[str, Any]":
    """Tell what is in a model file, without reading its arrays or importing anything.

    Parameters
    ----------
    path : str or path-like
        The file.

    Returns
    -------
    dict
        Format, digest, the saved object with the names that it uses, what is computed natively, all arrays, and the
        metadata: what ``onecopy inspect --json`` prints.

    Raises
    ------
    FormatError
        If it is damaged, or no model file.
    OSError
        If it cannot be read.

    Examples
    --------
    >>> import numpy as np, onecopy, os, tempfile
    >>> folder = tempfile.mkdtemp()
    >>> np.save(os.path.join(folder, "x.npy"), np.arange(3))
    >>> found = onecopy.inspect(onecopy.convert(os.path.join(folder, "x.npy")))
    >>> [(array["name"], array["dtype"], array["shape"]) for array in found["arrays"]]
    [('array', '<i8', [3])]
    """
    return json.loads(_onecopy.inspect(os.fspath(path)))


def archive(
    src: "str | os.PathLike[str]",
    dst: "str | os.PathLike[str] | None" = None,
    *,
    level: "str | None" = None,
    base: "str | os.PathLike[str] | None" = None,
    progress: "Progress | None" = None,
) -> str:
    """Write a model file in compressed form, for storage and transport.

    With `base`, versions of a model are kept in one folder and share what they have in common, in pieces that lie in its folder
    ``onecopy-units``.

    Parameters
    ----------
    src : str or path-like
        The model file.
    dst : str or path-like, default=None
        The archive, replaced if it exists. If None, ``NAME.cold.onecopy``, which must not exist; with `base` in that folder.
    level : {"fast", "default", "best"}, default=None
        How much work a smaller file is worth; "default" if None. Files of all levels are restored about as fast.
    base : str or path-like, default=None
        An older version to share with, which was archived with `base` too, or the folder of such, which may be empty.
        ``inspect(path)["units"]`` tells what is shared. The archive can be used as long as it lies in that folder.
    progress : callable, default=None
        Called as ``progress(what, done_bytes, total_bytes)`` now and then.

    Returns
    -------
    str
        The path of the archive.

    Examples
    --------
    >>> import numpy as np, onecopy, os, tempfile
    >>> folder = tempfile.mkdtemp()
    >>> np.save(os.path.join(folder, "x.npy"), np.arange(3))
    >>> hot = onecopy.convert(os.path.join(folder, "x.npy"))
    >>> cold = onecopy.archive(hot)
    >>> again = onecopy.restore(cold, os.path.join(folder, "again.onecopy"))
    >>> open(hot, "rb").read() == open(again, "rb").read()
    True

    A model of which more rows are known today shares those of yesterday:

    >>> shelf = os.path.join(folder, "shelf")
    >>> os.mkdir(shelf)
    >>> rows = np.random.default_rng(0).normal(size=(90_000, 2))
    >>> np.save(os.path.join(folder, "monday.npy"), rows[:80_000])
    >>> np.save(os.path.join(folder, "tuesday.npy"), rows)
    >>> for day in ("monday", "tuesday"):
    ...     version = onecopy.archive(onecopy.convert(os.path.join(folder, f"{day}.npy")), base=shelf)
    >>> units = onecopy.inspect(version)["units"]
    >>> units["shared_bytes"] > 7 * units["own_bytes"]
    True
    """
    if level not in (None, "fast", "default", "best"):
        raise ValueError(f'level must be "fast", "default" or "best", found {level!r}')
    return os.fspath(_onecopy.archive(os.fspath(src), _path(dst), level, _path(base), progress))


def restore(
    src: "str | os.PathLike[str]",
    dst: "str | os.PathLike[str] | None" = None,
    *,
    progress: "Progress | None" = None,
) -> str:
    """Give back the file that was archived, every byte of it.

    Parameters
    ----------
    src : str or path-like
        The archive.
    dst : str or path-like, default=None
        The model file, replaced if it exists. If None, the name that was archived, which must not exist.
    progress : callable, default=None
        Called as ``progress(what, done_bytes, total_bytes)`` now and then.

    Returns
    -------
    str
        The path of the model file.

    Examples
    --------
    See `archive`.
    """
    return os.fspath(_onecopy.restore(os.fspath(src), _path(dst), progress))


def prune(folder: "str | os.PathLike[str]") -> int:
    """Free what no archive in a folder of versions needs any more.

    Archives that were made with ``archive(..., base=...)`` share pieces of their arrays. Removing an archive leaves them, since
    others may need them; this removes those that no archive of the folder lists.

    Parameters
    ----------
    folder : str or path-like
        The folder of the archives.

    Returns
    -------
    int
        Bytes that were freed.

    Raises
    ------
    FormatError
        If an archive cannot be read, so that it is not known what it needs; nothing is removed then.

    Examples
    --------
    >>> import numpy as np, onecopy, os, tempfile
    >>> folder = tempfile.mkdtemp()
    >>> np.save(os.path.join(folder, "x.npy"), np.random.default_rng(0).normal(size=9_000))
    >>> version = onecopy.archive(onecopy.convert(os.path.join(folder, "x.npy")), base=folder)
    >>> onecopy.prune(folder)
    0
    >>> os.remove(version)
    >>> onecopy.prune(folder) > 60_000
    True
    """
    return _onecopy.prune(os.fspath(folder))[1]


def _path(path: "str | os.PathLike[str] | None") -> "str | None":
    return None if path is None else os.fspath(path)
