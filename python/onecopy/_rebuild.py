"""What NumPy's pickling functions do, after a look at what they are given: NumPy's own trust it.

Called by the loader in place of `numpy.dtype`, `_frombuffer`, `_reconstruct` and `scalar` where the file holds something
that its own types of elements do not cover: long double, objects in records, variable-width strings, other memory orders.
"""

import math
import re
from typing import Any

import numpy as np

from onecopy._errors import FormatError

try:
    from numpy._core.multiarray import scalar as _numpy_scalar
except ImportError:  # NumPy 1
    from numpy.core.multiarray import scalar as _numpy_scalar

_PLAIN = re.compile(r"[?bhilqpBHILQPefdgFDGSUVOmMiufcat]\d{0,10}")


def dtype(*args: Any) -> Any:
    """`numpy.dtype(text, align, copy)`, before its state is known."""
    if args and args[0] is np.record:
        return _Dtype("V", np.record)
    if not args or not isinstance(args[0], str) or not _PLAIN.fullmatch(args[0]):
        raise FormatError(f"numpy.dtype is called with {args!r:.100}, expected the name of a plain type")
    return _Dtype(args[0])


class _Dtype:
    """A dtype in the making."""

    def __init__(self, text: str, kind: "type | None" = None) -> None:
        self.text = text
        self.kind = kind

    def finish(self, state: Any) -> np.dtype:
        """The dtype of `state`: version, byte order, sub-array, names, fields, item size, alignment, flags, metadata."""
        if state is None:
            return np.dtype(self.text)
        if not isinstance(state, tuple) or len(state) not in (8, 9) or state[0] not in (3, 4):
            raise FormatError(f"the state of a numpy.dtype is {state!r:.100}, expected that of NumPy 1.7 or later")
        _, order, subarray, names, fields, itemsize, _, flags = state[:8]
        metadata, unit = _metadata(state[8] if len(state) == 9 else None)
        if subarray is not None:
            base, shape = subarray
            return np.dtype((_of(base, np.dtype), _of(shape, tuple, int)))
        if names is not None:
            made = _record(_of(names, tuple), _of(fields, dict), _of(itemsize, int), bool(_of(flags, int) & 0x80))
            return made if self.kind is None else np.dtype((self.kind, made))
        text = self.text if unit is None else f"{self.text}[{unit}]"
        made = np.dtype(text)
        if order in ("<", ">"):
            made = made.newbyteorder(order)
        return np.dtype(made, metadata=metadata) if metadata else made


def _record(names: tuple, fields: dict, itemsize: int, aligned: bool) -> np.dtype:
    parts: dict = {"names": [], "formats": [], "offsets": [], "titles": []}
    for name in names:
        kind, offset, *title = _of(fields[name], tuple)
        parts["names"].append(_of(name, str))
        parts["formats"].append(_of(kind, np.dtype))
        parts["offsets"].append(_of(offset, int))
        parts["titles"].append(title[0] if title else None)
    if not any(parts["titles"]):
        del parts["titles"]
    return np.dtype({**parts, "itemsize": itemsize}, align=aligned)


def _metadata(metadata: Any) -> tuple:
    """User metadata and a unit of time, which NumPy keeps in one place."""
    if metadata is None or isinstance(metadata, dict):
        return metadata, None
    own, (base, count, denominator, _) = metadata
    if denominator != 1 or not re.fullmatch(rb"[a-zA-Z]{1,7}", base):
        raise FormatError(f"a unit of time is {metadata!r:.100}")
    base = base.decode()
    return own, None if base == "generic" else f"{_of(count, int)}{base}"


def frombuffer(buffer: Any, dtype: Any, shape: Any, order: Any, axes: Any = None) -> np.ndarray:
    """An array over the memory of `buffer`."""
    dtype, shape = _of(dtype, np.dtype), _shape(shape)
    if dtype.hasobject or dtype.itemsize == 0:
        raise FormatError(f"an array of {dtype} cannot be made of bytes")
    flat = np.frombuffer(buffer, dtype) if len(buffer) else np.empty(0, dtype)
    if math.prod(shape) != flat.size:
        raise FormatError(f"an array of shape {shape} is made of {flat.size} elements")
    if order == "K" and axes is not None:
        return flat.reshape(shape).transpose(_of(axes, tuple, int))
    if order not in ("C", "F"):
        raise FormatError(f"an array has order {order!r:.20}, expected C or F")
    return flat.reshape(shape, order=order)


def reconstruct(kind: Any, shape: Any, letter: Any) -> Any:
    """`_reconstruct(class, (0,), b'b')`, before its state is known."""
    if not isinstance(kind, type) or not issubclass(kind, np.ndarray) or shape != (0,):
        raise FormatError(f"an array of class {kind!r:.100} and shape {shape!r:.100} is asked for")
    return _Array(kind)


class _Array:
    """An array in the making."""

    def __init__(self, kind: type) -> None:
        self.kind = kind

    def finish(self, state: Any) -> np.ndarray:
        """The array of `state`: version, shape, dtype, whether it is in Fortran order, elements."""
        if self.kind is not np.ndarray and not isinstance(state, tuple):
            raise FormatError(f"the state of an array is a {type(state).__name__}, expected a tuple")
        if not isinstance(state, tuple) or len(state) != 5 or state[0] != 1:
            return self.own(state)
        _, shape, dtype, fortran, data = state
        shape, dtype, order = _shape(shape), _of(dtype, np.dtype), "F" if fortran else "C"
        count = math.prod(shape)
        if isinstance(data, list):
            if len(data) != count:
                raise FormatError(f"an array of shape {shape} is given {len(data)} elements")
            array = np.empty(shape, dtype, order)
            for index, item in zip(np.ndindex(shape), data):
                array[index] = item
        else:
            array = frombuffer(_of(data, bytes), dtype, shape, order).copy("K")
        return array if self.kind is np.ndarray else array.view(self.kind)

    def own(self, state: Any) -> np.ndarray:
        """An array whose class has a state of its own."""
        array = np.ndarray.__new__(self.kind, (0,), "b")
        if type(array).__setstate__ is np.ndarray.__setstate__:
            raise FormatError(f"the state of an array is {state!r:.100}")
        array.__setstate__(state)
        return array


def scalar(dtype: Any, data: Any) -> Any:
    """One element of its dtype."""
    dtype = _of(dtype, np.dtype)
    if dtype.hasobject or len(_of(data, bytes)) != dtype.itemsize:
        raise FormatError(f"a scalar of {dtype} is made of {len(data)} bytes, expected {dtype.itemsize}")
    return _numpy_scalar(dtype, data)


def restore_array(data: Any) -> Any:
    """A text array of Arrow, as `pyarrow.lib._restore_array` makes it without looking at its offsets."""
    import pyarrow

    kind, length, _, offset, buffers, children, dictionary = _of(data, tuple)
    kinds = {pyarrow.string(): (4, pyarrow.StringArray), pyarrow.large_string(): (8, pyarrow.LargeStringArray)}
    if kind not in kinds or children or dictionary is not None or len(buffers) != 3:
        raise FormatError("an Arrow array of the file is no text")
    width, array = kinds[kind]
    places, text, validity = buffers[1], buffers[2], buffers[0]
    last = length + offset
    if length < 0 or offset < 0 or len(places) < (last + 1) * width or (validity and len(validity) * 8 < last):
        raise FormatError(f"an Arrow array of {length} texts is shorter than it says")
    made = array.from_buffers(length, places, text, validity, -1, offset)
    made.validate(full=True)
    return made


def _shape(shape: Any) -> tuple:
    shape = (shape,) if type(shape) is int else _of(shape, tuple, int)
    if len(shape) > 64 or any(length < 0 for length in shape):
        raise FormatError(f"an array cannot have shape {shape!r:.100}")
    return shape


def _of(value: Any, kind: type, items: "type | None" = None) -> Any:
    if not isinstance(value, kind) or (items is not None and not all(isinstance(item, items) for item in value)):
        raise FormatError(f"a part of an array is {value!r:.100}, expected a {kind.__name__}")
    return value
