"""States of compiled objects, checked before an instance gets them."""

from collections.abc import Callable
from typing import Any

import numpy as np

from onecopy._content import is_array, is_count, need, within


def bit_generator_state(generator: Any, state: Any) -> None:
    if isinstance(state, tuple):
        state = state[0]
    inner = state.get("state") if isinstance(state, dict) else None
    need(isinstance(inner, dict), generator, "a state with numbers")
    kind = state.get("bit_generator")
    if kind == "MT19937":
        need(is_array(inner.get("key"), "u", 624), generator, "a key of 624 words")
        need(is_count(inner.get("pos"), 0, 624), generator, "a position from 0 to 624")
    elif kind == "Philox":
        need(
            is_array(inner.get("counter"), "u", 4) and is_array(inner.get("key"), "u", 2),
            generator,
            "a counter of 4 and a key of 2 words",
        )
        need(
            is_array(state.get("buffer"), "u", 4) and is_count(state.get("buffer_pos"), 0, 4),
            generator,
            "a buffer of 4 words and a position in it",
        )
    elif kind == "SFC64":
        need(is_array(inner.get("state"), "u", 4), generator, "a state of 4 words")
    else:
        need(kind in ("PCG64", "PCG64DXSM"), generator, "a generator of NumPy")
        need(
            all(is_count(inner.get(name), 0, 2**128 - 1) for name in ("state", "inc")),
            generator,
            "two numbers of 128 bits",
        )
    if kind != "MT19937":
        need(
            is_count(state.get("has_uint32"), 0, 1) and is_count(state.get("uinteger"), 0, 2**32 - 1),
            generator,
            "a spare number of 32 bits",
        )


def seed_sequence_state(sequence: Any, state: Any) -> None:
    need(isinstance(state, tuple) and len(state) == 5, sequence, "five parts")
    entropy, spawned, pool, size, key = state
    need(is_count(spawned, 0, 2**63 - 1) and is_count(size, 1, 4096), sequence, "counts")
    need(
        is_array(pool, "u", int(size)) and pool.dtype == np.uint32,
        sequence,
        "a pool of as many words as it says",
    )
    words = entropy if isinstance(entropy, (list, tuple)) else [] if entropy is None else [entropy]
    need(
        all(is_count(word, 0, 2**4096) for word in [*words, *key]),
        sequence,
        "entropy and spawn key of whole numbers",
    )


def record_dtype_state(dtype: Any, state: Any) -> None:
    need(isinstance(state, tuple) and len(state) == 8, dtype, "eight parts")
    _, _, _, names, fields, size, _, flags = state
    need(
        isinstance(names, tuple) and isinstance(fields, dict) and set(names) == set(fields),
        dtype,
        "a field for each name",
    )
    need(is_count(size, 1, 10**6) and is_count(flags, 0, 255) and not flags & 0x0F, dtype, "plain bytes")
    for field in fields.values():
        need(
            isinstance(field, tuple) and len(field) == 2 and isinstance(field[0], np.dtype),
            dtype,
            "a type and an offset for each field",
        )
        inner, offset = field
        need(
            not inner.hasobject and is_count(offset, 0, size - inner.itemsize),
            dtype,
            "fields within the record",
        )


def masked_array_state(array: Any, state: Any) -> None:
    need(isinstance(state, tuple) and len(state) == 7, array, "seven parts")
    _, shape, dtype, _, raw, mask, _ = state
    need(isinstance(dtype, np.dtype), array, "a dtype")
    count = int(np.prod(shape, dtype=object)) if shape else 1
    size = count if dtype.hasobject else count * dtype.itemsize
    need(
        len(raw) == size and isinstance(raw, list) == dtype.hasobject,
        array,
        "as many values as its shape asks for",
    )
    need(
        isinstance(mask, bytes) and len(mask) == count * np.ma.make_mask_descr(dtype).itemsize,
        array,
        "a mask of its shape",
    )


NODE_FIELDS = ("idx_start", "idx_end", "is_leaf", "radius")


def binary_tree_state(tree: Any, state: Any) -> None:
    need(isinstance(state, tuple) and len(state) == 13, tree, "thirteen parts")
    data, index, nodes, bounds, leaf_size, levels, count = state[:7]
    metric, weights = state[11:]
    need(is_array(data, "f", None, None) and data.shape[1] > 0, tree, "points with features")
    points, features = data.shape
    need(is_array(index, "i", points) and within(index, 0, points), tree, "an index of the points")
    need(points == 0 or int(np.bincount(index, minlength=points).max()) == 1, tree, "each point once")
    need(
        is_count(levels, 1, 48) and count == 2**levels - 1 and is_count(leaf_size, 1, 2**62),
        tree,
        "a complete tree",
    )
    need(
        isinstance(nodes, np.ndarray) and nodes.dtype.names == NODE_FIELDS and nodes.shape == (count,),
        tree,
        "as many nodes as levels allow",
    )
    sides = 2 if type(tree).__name__.startswith("KDTree") else 1
    need(is_array(bounds, "f", sides, count, features), tree, "bounds for each node and feature")
    start, end, leaf = (nodes[name] for name in NODE_FIELDS[:3])
    inner = np.flatnonzero(leaf == 0)
    need(start[0] == 0 and end[0] == points and (start <= end).all(), tree, "nodes that span the points")
    need(inner.size == 0 or 2 * int(inner[-1]) + 2 < count, tree, "leaves at the end of every branch")
    left, right = 2 * inner + 1, 2 * inner + 2
    splits = (start[left] == start[inner]) & (end[left] == start[right]) & (end[right] == end[inner])
    need(splits.all(), tree, "children that share the points of their parent")
    need(weights is None or is_array(weights, "f", points), tree, "one weight per point")
    metric_fits(metric, features)


def metric_fits(metric: Any, features: int) -> None:
    kind, (_, vector, matrix) = type(metric).__name__, metric.__getstate__()[:3]
    if kind.startswith("SEuclidean"):
        need(vector.shape == (features,), metric, f"{features} variances")
    elif kind.startswith("Mahalanobis"):
        need(matrix.shape == (features, features), metric, f"a matrix of {features} features")
    elif kind.startswith("Minkowski"):
        need(vector.size == 0 or vector.shape == (features,), metric, f"{features} weights or none")
    elif kind.startswith("Haversine"):
        need(features == 2, metric, "points of latitude and longitude")


def metric_state(metric: Any, state: Any) -> None:
    need(isinstance(state, tuple) and len(state) in (3, 5), metric, "three or five parts")
    need(
        is_array(state[1], "f", None) and is_array(state[2], "f", None, None), metric, "a vector and a matrix"
    )
    need(state[2].shape[0] == state[2].shape[1], metric, "a square matrix")
    need(
        isinstance(state[0], float)
        and (len(state) == 3 or (callable(state[3]) and isinstance(state[4], dict))),
        metric,
        "a power and a function",
    )


METRICS = (
    "BrayCurtis Canberra Chebyshev Dice Euclidean Hamming Haversine Jaccard Mahalanobis Manhattan Minkowski PyFunc "
    "RogersTanimoto RussellRao SEuclidean SokalSneath"
).split()

STATES: dict[tuple[str, str], Callable[[Any, Any], None]] = {
    ("numpy.random._mt19937", "MT19937"): bit_generator_state,
    ("numpy.random._pcg64", "PCG64"): bit_generator_state,
    ("numpy.random._pcg64", "PCG64DXSM"): bit_generator_state,
    ("numpy.random._philox", "Philox"): bit_generator_state,
    ("numpy.random._sfc64", "SFC64"): bit_generator_state,
    ("numpy.random.mtrand", "RandomState"): bit_generator_state,
    ("numpy.random.bit_generator", "SeedSequence"): seed_sequence_state,
    ("numpy.dtypes", "VoidDType"): record_dtype_state,
    ("numpy.ma", "MaskedArray"): masked_array_state,
    ("numpy.ma.core", "MaskedArray"): masked_array_state,
    ("sklearn.neighbors._kd_tree", "KDTree"): binary_tree_state,
    ("sklearn.neighbors._ball_tree", "BallTree"): binary_tree_state,
    **{("sklearn.metrics._dist_metrics", f"{name}Distance64"): metric_state for name in METRICS},
}
