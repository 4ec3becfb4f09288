"""Sparse matrices: indices that scipy's compiled code follows."""

from typing import Any

import numpy as np

from onecopy._content import is_array, is_count, need, never_falls, within


def compressed(matrix: Any) -> None:
    v = vars(matrix)
    shape, data, indices, indptr = v.get("_shape"), v.get("data"), v.get("indices"), v.get("indptr")
    need(
        isinstance(shape, tuple) and len(shape) in (1, 2) and all(is_count(n, 0, 2**62) for n in shape),
        matrix,
        "a shape",
    )
    need(is_array(indices, "i", None) and is_array(indptr, "i", None), matrix, "indices and row pointers")
    blocks = (
        data.shape[1:] if matrix.format == "bsr" and is_array(data, "biufc", None, None, None) else (1, 1)
    )
    need(
        is_array(data, "biufc", None) or blocks != (1, 1) or matrix.format == "bsr" and data.ndim == 3,
        matrix,
        "numbers",
    )
    rows, columns = (1, shape[0]) if len(shape) == 1 else shape
    if matrix.format == "bsr":
        need(
            all(blocks) and rows % blocks[0] == 0 and columns % blocks[1] == 0,
            matrix,
            "blocks that divide the shape",
        )
    along, across = (columns, rows) if matrix.format == "csc" else (rows // blocks[0], columns // blocks[1])
    need(
        indptr.shape == (along + 1,) and indptr[0] == 0 and never_falls(indptr),
        matrix,
        "row pointers that never fall",
    )
    stored = int(indptr[-1])
    need(stored <= len(indices) and stored <= len(data), matrix, "as many values as the row pointers say")
    need(indices.dtype == indptr.dtype and within(indices, 0, across), matrix, "indices within the shape")


def coordinates(matrix: Any) -> None:
    v = vars(matrix)
    shape, data = v.get("_shape"), v.get("data")
    coords = v["coords"] if "coords" in v else (v.get("row"), v.get("col"))
    need(
        isinstance(shape, tuple) and isinstance(coords, tuple) and len(coords) == len(shape),
        matrix,
        "coordinates for its shape",
    )
    need(is_array(data, "biufc", None), matrix, "numbers")
    for axis, length in zip(coords, shape):
        need(
            is_array(axis, "i", len(data)) and is_count(length, 0, 2**62) and within(axis, 0, length),
            matrix,
            "coordinates within the shape",
        )


def diagonals(matrix: Any) -> None:
    v = vars(matrix)
    offsets, data, shape = v.get("offsets"), v.get("data"), v.get("_shape")
    need(
        isinstance(shape, tuple) and len(shape) == 2 and all(is_count(n, 0, 2**31 - 1) for n in shape),
        matrix,
        "a shape",
    )
    need(
        is_array(offsets, "i", None) and is_array(data, "biufc", len(offsets), None),
        matrix,
        "a row of values for each diagonal",
    )
    need(within(offsets, -(2**31) + 1, 2**31 - 1), matrix, "offsets within the shape")


def lists(matrix: Any) -> None:
    v = vars(matrix)
    rows, data, shape = v.get("rows"), v.get("data"), v.get("_shape")
    need(isinstance(shape, tuple) and len(shape) == 2, matrix, "a shape")
    need(is_array(rows, "O", shape[0]) and is_array(data, "O", shape[0]), matrix, "a list for each row")
    need(isinstance(v.get("dtype", np.dtype(float)), np.dtype), matrix, "a dtype")
    for columns, values in zip(rows, data):
        need(
            type(columns) is list and type(values) is list and len(columns) == len(values),
            matrix,
            "a value for each column",
        )
        need(all(is_count(column, 0, shape[1] - 1) for column in columns), matrix, "columns within the shape")


def keyed(matrix: Any) -> None:
    v = vars(matrix)
    shape, entries = v.get("_shape"), v.get("_dict")
    need(isinstance(shape, tuple) and isinstance(entries, dict), matrix, "a shape and entries")
    for key in entries:
        key = key if isinstance(key, tuple) else (key,)
        need(
            len(key) == len(shape) and all(is_count(at, 0, length - 1) for at, length in zip(key, shape)),
            matrix,
            "entries within the shape",
        )
