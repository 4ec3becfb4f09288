"""Writes the golden files of format 1 that are ready to be mapped, and what is in them.

    python tests/golden/hot/make.py NAME ...

A file that was committed is kept for ever: what later versions add gets a file of its own, so give only new names. Next to
`NAME.onecopy` lies `NAME.npz`: its arrays by name and, for a model, the input `X` and the answers of scikit-learn by method.
"""

import sys
from pathlib import Path

import numpy as np
import onecopy
from sklearn.datasets import make_classification, make_regression
from sklearn.ensemble import GradientBoostingRegressor, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

HERE = Path(__file__).parent


def arrays():
    """Arrays of every element type, order and kind of shape."""
    base = np.arange(24).reshape(2, 3, 4)
    found = {f"{order}{dtype}": base.astype(order + dtype) for dtype in "i1 i2 i4 i8 u1 u2 u4 u8 f2 f4 f8 c8 c16 M8[3h] m8[ns]".split() for order in "<>"}
    found |= {"bool": base % 2 == 0, "text": np.array(["a", "b\u00e4r", ""]), "bytes": np.array([b"ab", b"c"])}
    found |= {"fortran": np.asfortranarray(base[0]), "none": np.zeros((3, 0)), "single": np.array(1.5)}
    found["record"] = np.zeros(5, [("a", "<i2"), ("b", ">f8", (2,)), ("c", "S3")])
    found["record"]["a"] = np.arange(5)
    found["aligned"] = np.zeros(3, np.dtype([("a", "u1"), ("b", "<f8")], align=True))
    found["large"] = np.arange(150_000, dtype="<i8") % 1009
    return found, None, ()


def values():
    """Python values of every kind."""
    cycle = []
    cycle.append(cycle)
    return {
        "numbers": [None, True, False, -3, 2**80, -(2**200), 1.5, float("inf")],
        "texts": ["", "d\u00f6rnchen", b"bytes", bytearray(b"more")],
        "containers": ((1, 2), [3], {4}, frozenset({5}), {"six": 6, 7: "seven"}),
        "cycle": cycle,
        "objects": np.array([["a", None], [1, 2.5]], object),
        "scalars": [np.float32(0.1), np.int64(-4), np.datetime64("2026-11-21")],
        "dtype": np.dtype([("a", "<i4")]),
        "type": np.float64,
    }, None, ()


def model(estimator, x, y):
    """A fitted model, what to ask it and how."""
    methods = [name for name in ("predict", "predict_proba", "decision_function") if hasattr(estimator, name)]
    return estimator.fit(x, y), x[:50], methods


def forest():
    """Trees deep enough for crowns, in the compact layout."""
    x, y = make_classification(2000, 12, n_informative=8, n_classes=3, flip_y=0.3, random_state=0)
    return model(RandomForestClassifier(5, random_state=0), x.astype(np.float32), y)


def shared():
    """Trees whose splits share pairs of leaves, and the numbers of leaves."""
    x, y = make_classification(600, 6, flip_y=0.2, random_state=0)
    saved, x, methods = model(RandomForestClassifier(4, random_state=0), x.astype(np.float32), y)
    return saved, x, [*methods, "apply"]


def subtrees():
    """Trees of few levels, which are there as nodes and as subtrees."""
    x, y = make_classification(1500, 8, n_informative=6, flip_y=0.3, random_state=0)
    saved, x, methods = model(RandomForestClassifier(4, max_depth=7, random_state=0), x.astype(np.float32), y)
    return saved, x, [*methods, "apply"]


def histogram():
    """Small trees of any form side by side, with missing values."""
    x, y = make_classification(500, 6, random_state=0)
    x[::7, 2] = np.nan
    return model(HistGradientBoostingClassifier(max_iter=10, max_leaf_nodes=15, random_state=0), x, y)


def boosted():
    """Small trees as heaps."""
    x, y = make_regression(300, 5, random_state=0)
    return model(GradientBoostingRegressor(n_estimators=20, random_state=0), x, y)


def pipeline():
    """A scaler before a linear model."""
    x, y = make_classification(200, 5, random_state=0)
    return model(make_pipeline(StandardScaler(), LogisticRegression()), x, y)


def text():
    """A vocabulary that is looked up in the file."""
    terms = [f"term{i:05}" for i in range(3000)]
    return TfidfVectorizer().fit([" ".join(terms[i : i + 30]) for i in range(0, 3000, 20)]), None, ()


def main(names):
    """Write the named files; none of them may be there."""
    for name in names:
        saved, x, methods = globals()[name]()
        path = HERE / f"{name}.onecopy"
        if path.exists():
            raise SystemExit(f"{path} is kept for ever; give what is new another name")
        onecopy.dump(saved, path, metadata={"golden": name})
        opened = onecopy.open(path)
        content = {f"array:{key}": np.asarray(value) for key, value in opened.arrays.items()}
        if methods:
            content |= {"X": x} | {f"answer:{method}": getattr(saved, method)(x) for method in methods}
        np.savez_compressed(HERE / f"{name}.npz", **content)


if __name__ == "__main__":
    main(sys.argv[1:])
