"""A model that predicts without the library that trained it."""

import io
import json
import os
import types
from collections.abc import Iterator, Mapping
from typing import Any, Callable

import numpy as np
from numpy import ndarray

from onecopy import _input, _reference
from onecopy._errors import UnsupportedModelError
from onecopy._onecopy import NativeModel
from onecopy._place import Place

METHODS = (
    "predict", "predict_proba", "predict_log_proba", "decision_function", "score_samples", "apply", "transform"
)


def open(
    path: "str | os.PathLike[str] | int",
    *,
    threads: "int | None" = None,
    cache: "str | os.PathLike[str] | None" = None,
    share: str = "cache",
    guard: "str | None" = None,
    verify_key: "str | os.PathLike[str] | None" = None,
) -> "Model":
    """Open a model file to predict from it, with NumPy alone.

    The file is mapped, not read: opening takes as long for ten gigabytes as for ten megabytes, and all processes that
    open it share one copy. An archive is restored first, by whoever opens it first, and what was restored is mapped.

    Parameters
    ----------
    path : str, path-like or int
        A file made by `dump`, `convert` or `archive`. A number is the descriptor of a model in memory, see
        `Model.fileno`; it stays open.
    threads : int, default=None
        Threads for one call; as many as the machine has if None. Answers do not depend on it, and little work is done by
        the calling thread alone. Where a worker process runs for each core, 1 is right.
    cache : str or path-like, default=None
        The folder in which archives are restored. If None, ``$ONECOPY_CACHE``, ``$XDG_CACHE_HOME/onecopy`` or
        ``~/.cache/onecopy``. What was used longest ago is removed when it would hold more than
        ``$ONECOPY_CACHE_BYTES``, or 16 GiB; processes that have it open keep it.
    share : {"cache", "memfd"}, default="cache"
        Where the bytes lie that processes share. "cache": in the file, for an archive in the restored one. "memfd": in
        memory that nobody can change (Linux), which forked processes have too, and others by `Model.fileno`; each call
        makes its own.
    guard : {None, "memfd"}, default=None
        "memfd": the file is copied into such memory, and every byte of the copy is compared with checksums and digests. Whoever
        changes, shortens or replaces the file afterwards does not change the model. For files that others can write to.
    verify_key : str or path-like, default=None
        A file with an ed25519 public key in PEM. The file must have been signed with its private half, see `sign`, and all of it
        is read and compared before it is used.

    Returns
    -------
    Model
        It has the methods of the estimator that can be computed natively, its arrays and its metadata.

    Raises
    ------
    SignatureError
        If `verify_key` is given and its owner has not signed the file.
    FormatError
        If the file is damaged, or no model file.
    OSError
        If it cannot be read, or there is no place for what is restored.

    See Also
    --------
    load : The estimator itself, with scikit-learn.

    Examples
    --------
    >>> import onecopy, os, tempfile
    >>> from sklearn.linear_model import LinearRegression
    >>> path = os.path.join(tempfile.mkdtemp(), "line.onecopy")
    >>> onecopy.dump(LinearRegression().fit([[0.0], [1.0]], [0.0, 2.0]), path)
    >>> model = onecopy.open(path)
    >>> model.predict([[2.0], [3.0]])
    array([4., 6.])
    >>> model.methods
    ('predict',)

    An archive is used like any other file.

    >>> cold = onecopy.archive(path)
    >>> onecopy.open(cold, cache=os.path.dirname(path)).predict([[2.0]])
    array([4.])
    """
    if threads is not None and (not isinstance(threads, int) or threads < 1):
        raise ValueError(f"threads must be None or at least 1, found {threads!r}")
    place = Place.of(path, cache, share, guard, verify_key)
    return Model(NativeModel(place.path, *place.how), place, threads)


class _Method:
    """A method that a model has if its estimator has it."""

    def __init__(self, name: str, doc: str) -> None:
        self.name = name
        self.__doc__ = doc
        self.function = _function(name, doc)

    def __get__(self, model: "Model | None", owner: Any = None) -> Any:
        if model is None:
            return self
        if self.name not in model.methods and model.native:
            have = ", ".join(f"`{name}`" for name in model.methods)
            raise AttributeError(f"{model.estimator} has no `{self.name}`; it has {have}", name=self.name, obj=model)
        return types.MethodType(self.function, model)


def _function(name: str, doc: str) -> Callable[["Model", Any], Any]:
    # A committee's `transform` gives a matrix for each member.
    stacked = name == "transform"

    def method(self: "Model", X: Any) -> Any:
        answer = None
        if type(X) is ndarray and (self._nameless or self._is_nameless()):
            answer = self._native.run_if_rows(name, X, self._threads)
        if answer is None:
            answer = self._run(name, X)
        return np.stack(answer) if stacked and isinstance(answer, list) else answer

    method.__name__ = name
    method.__qualname__ = f"Model.{name}"
    method.__doc__ = doc
    return method


class Model:
    """A model file, opened to predict.

    Made by `open`. Safe to use from many threads, before and after a fork; pickling it sends path and digest, not the
    content. The file stays mapped as long as the model or one of its arrays lives.

    Attributes
    ----------
    path : str or int
        The file, or the descriptor.
    digest : str
        The identity of its content, in hexadecimal.
    native : bool
        Whether the engine computes this model.
    methods : tuple of str
        The methods that it has.
    estimator : str
        The class of the estimator.
    metadata : dict
        What the file says about the model.
    arrays : mapping of str to ndarray
        All arrays of the file, read-only.
    n_features_in_ : int
        Columns of `X`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, if the estimator was trained with names.
    classes_ : ndarray of shape (n_classes,), or a list of them
        The classes of a classifier; one array per output if there are several.
    """

    predict = _Method(
        "predict",
        """Labels of a classifier, values of a regressor.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
        """,
    )
    predict_proba = _Method(
        "predict_proba",
        """The probability of each class.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes), or a list of them
            One array per output if there are several.
        """,
    )
    predict_log_proba = _Method(
        "predict_log_proba",
        """The logarithm of the probability of each class.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes), or a list of them
        """,
    )
    decision_function = _Method(
        "decision_function",
        """Signed distances to the decision boundary; raw scores of boosted trees.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
        """,
    )
    score_samples = _Method(
        "score_samples",
        """How ordinary each row is: the lower, the more abnormal.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
        """,
    )
    apply = _Method(
        "apply",
        """The leaf that each tree ends in, by the library's own numbers.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,), (n_samples, n_trees) or (n_samples, n_stages, n_classes)
            Of int64; of LightGBM int32, as its ``pred_leaf``; of gradient boosting float64, as there.
        """,
    )
    transform = _Method(
        "transform",
        """The columns for a next step.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_columns)
            Of a committee the answers of its members; (n_members, n_samples, n_classes) if it does not flatten them.
        """,
    )

    def __init__(self, native: NativeModel, place: Place, threads: "int | None") -> None:
        self._native = native
        self._threads = threads
        self.path, self._how = place
        self.digest: str = native.digest
        self.methods: tuple[str, ...] = tuple(native.methods)
        self.native: bool = native.uncovered is None
        self.estimator: str = native.estimator or native.uncovered[0].rpartition(".")[2]
        self._takes: str = native.takes
        inputs = native.input_estimators or [self.estimator]
        self._first: str = next((name for name in inputs if name not in _input.RECODING), inputs[0])
        self._recoding: str | None = next((name for name in inputs if _input.recodes(name)), None)
        self._names: Any = _UNREAD
        self._nameless = False

    def _run(self, method: str, x: Any) -> Any:
        if not self.native:
            what, why = self._native.uncovered
            raise UnsupportedModelError(
                f"{what} cannot be predicted from natively: {why}; onecopy.load({self.path!r}) gives the estimator itself"
            )
        if self._recoding is not None and self._takes != "float":
            _input.refuse_categories(x, self._recoding)
        if self._native.rounds_integers:
            _input.refuse_big_integers(x, self._recoding or self._first)
        if self._takes != "float" and (type(x) is not np.ndarray or not self._is_nameless()):
            _input.check_names(x, self._feature_names(), self._first)
        if _input.is_sparse(x):
            if method == "transform":
                raise TypeError("a native transform takes dense data; use X.toarray()")
            return _together([self._native.run(method, rows, self._threads) for rows in self._blocks(x)])
        return self._native.run(method, _input.as_rows(x, self._takes, self._first), self._threads)

    def _is_nameless(self) -> bool:
        """Whether nothing needs to be said about an array, whose columns have no names."""
        unchecked = self._takes == "float" or self._first in _input.RECODING
        self._nameless = self.native and (unchecked or self._feature_names() is None)
        return self._nameless

    def _blocks(self, x: Any) -> Iterator[np.ndarray]:
        if x.shape[1] != self.n_features_in_:
            # Said before anything is made dense.
            raise ValueError(
                f"X has {x.shape[1]} features, but {self._first} is expecting {self.n_features_in_} features as input."
            )
        return _input.dense_blocks(x, self._takes)

    def _feature_names(self) -> "list[str] | None":
        if self._names is _UNREAD:
            self._names = self._native.feature_names()
        return self._names

    @property
    def metadata(self) -> Any:
        return json.loads(self._native.metadata)

    @property
    def arrays(self) -> "Arrays":
        return Arrays(self._native)

    @property
    def n_features_in_(self) -> int:
        return self._have("n_features_in_", self._native.n_features)

    @property
    def feature_names_in_(self) -> np.ndarray:
        names = self._have("feature_names_in_", self._feature_names())
        return np.array(names, dtype=object)

    @property
    def classes_(self) -> Any:
        classes = self._have("classes_", self._native.classes() or None)
        return classes[0] if len(classes) == 1 else classes

    def _have(self, name: str, value: Any) -> Any:
        if value is None:
            raise AttributeError(f"{self.estimator} has no `{name}`", name=name, obj=self)
        return value

    def types(self) -> "list[str]":
        """The types and functions that the file names.

        Returns
        -------
        list of str
            Sorted; nothing is imported.
        """
        return self._native.types()

    def untrusted_types(self) -> "list[str]":
        """The types and functions that `load` refuses until they are named in `trusted=`.

        Returns
        -------
        list of str
            Empty if the model can be loaded as it is.
        """
        return self._native.untrusted_types()

    def __dir__(self) -> "list[str]":
        missing = set(METHODS) - set(self.methods) if self.native else set()
        return sorted(set(super().__dir__()) - missing)

    def fileno(self) -> int:
        """The descriptor of the memory that the model lies in, for other processes.

        Send it with `socket.send_fds` or `multiprocessing.reduction.send_handle`; there, `open` or `load` take what was
        received, and map the same memory after they have seen that nobody can change it.

        Returns
        -------
        int
            The model's own: it is closed when the model and its arrays are gone.

        Raises
        ------
        io.UnsupportedOperation
            If the model lies in a file, which other processes open by its path.

        Examples
        --------
        >>> import onecopy, os, tempfile
        >>> from sklearn.linear_model import LinearRegression
        >>> path = os.path.join(tempfile.mkdtemp(), "line.onecopy")
        >>> onecopy.dump(LinearRegression().fit([[0.0], [1.0]], [0.0, 2.0]), path)
        >>> model = onecopy.open(path, share="memfd")
        >>> onecopy.load(model.fileno()).predict([[2.0]])
        array([4.])
        """
        descriptor = self._native.descriptor()
        if descriptor is None:
            raise io.UnsupportedOperation(
                f"{self.path} is mapped as a file, which other processes open by its path; share='memfd' or guard='memfd' hold "
                "a model in memory"
            )
        return descriptor

    def __reduce__(self) -> tuple:
        return _reference.reopen, _reference.origin_of(self)

    def __copy__(self) -> "Model":
        return self

    def __deepcopy__(self, memo: Any) -> "Model":
        return self

    def __repr__(self) -> str:
        what = ", ".join(self.methods) if self.native else "not computed natively"
        return f"<onecopy.Model {self.estimator}: {what}; {self.path}>"

    def _repr_html_(self) -> str:
        import html

        predict, rebuild = self._native.sizes()
        rows = [
            ("file", self.path),
            ("methods", ", ".join(self.methods) or "none natively"),
            ("features", self._native.n_features),
            ("arrays for prediction", _megabytes(predict)),
            ("other arrays", _megabytes(rebuild)),
            ("digest", self.digest),
        ]
        cells = "".join(
            f"<tr><th style='text-align:left'>{html.escape(name)}</th>"
            f"<td style='text-align:left'>{html.escape(str(value))}</td></tr>"
            for name, value in rows
            if value is not None
        )
        return f"<table><caption>{html.escape(self.estimator)}</caption>{cells}</table>"


class Arrays(Mapping):
    """The arrays of a model file by name: read-only views, made when they are asked for."""

    def __init__(self, native: NativeModel) -> None:
        self._native = native
        self._known = native.array_names()

    def __getitem__(self, name: str) -> np.ndarray:
        if not isinstance(name, str):
            raise KeyError(name)
        return self._native.array(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)

    def __contains__(self, name: object) -> bool:
        return name in self._known

    def __repr__(self) -> str:
        return f"<{len(self)} arrays: {', '.join(self._known[:8])}{', ...' if len(self) > 8 else ''}>"


def _together(parts: "list[Any]") -> Any:
    if len(parts) == 1:
        return parts[0]
    if isinstance(parts[0], list):
        return [np.concatenate(columns) for columns in zip(*parts)]
    return np.concatenate(parts)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"


_UNREAD = object()
