"""What the checks of loaded content are written with."""

from typing import Any

import numpy as np

from onecopy._errors import FormatError

# Most threads that saved settings may ask for.
MOST_THREADS = 1024


def need(fits: Any, what: Any, rule: str) -> None:
    """Raise `FormatError` unless `fits`."""
    if not fits:
        kind = type(what)
        raise FormatError(
            f"a `{kind.__module__}.{kind.__qualname__}` of the file is not usable: expected {rule}"
        )


def is_array(value: Any, kinds: str, *shape: "int | None") -> bool:
    """Whether `value` is an ndarray of these dtype kinds and this shape; `None` stands for any length."""
    return (
        isinstance(value, np.ndarray)
        and value.dtype.kind in kinds
        and value.ndim == len(shape)
        and all(length is None or length == found for length, found in zip(shape, value.shape))
    )


def is_count(value: Any, low: int, high: int) -> bool:
    """Whether `value` is an integer from `low` to `high`."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and low <= value <= high


def within(values: np.ndarray, low: int, high: int) -> bool:
    """Whether all integers are at least `low` and below `high`."""
    return values.size == 0 or (int(values.min()) >= low and int(values.max()) < high)


def never_falls(values: np.ndarray) -> bool:
    """Whether no value is below the one before it."""
    return bool((values[1:] >= values[:-1]).all())
