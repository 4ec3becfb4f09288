"""Checks the golden files without generate.py: loads each model anew and asks it again.

    python tests/golden/check.py

Trees are asked twice: scikit-learn, and a walk in plain Python over the nodes that `apply` must agree with. Needs
the versions pinned in `requirements.txt`.
"""

import math
import pickle
import sys
import tomllib
import warnings
from pathlib import Path

import joblib
import numpy as np

HERE = Path(__file__).parent
FILES = HERE / "files"


def read_arrays(path):
    arrays = []
    with open(path, "rb") as file:
        while file.peek(1):
            arrays.append(np.load(file, allow_pickle=False))
    return arrays


def walk(tree, row):
    """The leaf of one row: scikit-learn's rule, one comparison after the other."""
    at = 0
    while tree.children_left[at] != -1:
        value = float(row[tree.feature[at]])
        left = tree.missing_go_to_left[at] if math.isnan(value) else value <= float(tree.threshold[at])
        at = int(tree.children_left[at] if left else tree.children_right[at])
    return at


def leaves(model, x):
    estimators = getattr(model, "estimators_", None)
    trees = [tree.tree_ for tree in (estimators or [model])]
    found = np.array([[walk(tree, row) for tree in trees] for row in x.astype(np.float32)])
    return found if estimators else found[:, 0]


def ask(model, check, x):
    if not check.get("check_finite", True):
        return [leaves(model, x)]
    with warnings.catch_warnings(), np.errstate(divide="ignore"):
        warnings.simplefilter("ignore")
        given = getattr(model, check["method"])(x)
    given = given if isinstance(given, list) else [given]
    return [np.asarray(g, dtype=str) if g.dtype == object else g for g in given]


def same(expected, found, rtol):
    if expected.shape != found.shape:
        return False
    if expected.dtype.kind == "U":
        return np.array_equal(expected, found)
    if rtol:
        return np.allclose(expected, found, rtol=0, atol=rtol * np.abs(expected[np.isfinite(expected)]).max())
    return expected.dtype == found.dtype and expected.tobytes() == np.ascontiguousarray(found).tobytes()


def main():
    cases = tomllib.loads((HERE / "cases.toml").read_text())["case"]
    checked, wrong = 0, []
    for case in cases:
        arrays = read_arrays(FILES / case["arrays"])
        for file in case["files"]:
            path = FILES / file
            model = joblib.load(path) if path.suffix == ".joblib" else pickle.loads(path.read_bytes())
            for check in case["checks"]:
                x = arrays[check["input"]]
                found = ask(model, check, x)
                expected = [arrays[i] for i in check["expected"]]
                good = len(found) == len(expected) and all(
                    same(e, f, check.get("rtol", 0)) for e, f in zip(expected, found)
                )
                if check["method"] == "apply":
                    good &= np.array_equal(leaves(model, x), expected[0])
                checked += 1
                if not good:
                    wrong.append(f"{file}: {check['method']} of array {check['input']}")
    print(f"{checked} answers checked, {len(wrong)} wrong")
    print("\n".join(wrong), end="")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
