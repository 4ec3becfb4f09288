"""Writes the small real models in `seeds/`: starting points for mutation tests and the fuzzer.

    python seeds.py    (scikit-learn 1.9.1, joblib 1.6.0, numpy 2.4.6)
"""

import pathlib
import pickle

import joblib
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

HERE = pathlib.Path(__file__).parent / "seeds"
x = np.arange(12.0).reshape(6, 2)
tree = DecisionTreeClassifier(max_depth=1).fit(x, [0, 0, 0, 1, 1, 1])
line = make_pipeline(StandardScaler(), LogisticRegression()).fit(x, ["a", "b", "a", "b", "a", "b"])
values = {1: [None, True, 1.5, "\u00e9", b"\0\xff", 2**70], (1, 2): {3, 4}, "o": np.array([1, "a"], object), "u": np.str_("x")}
values["me"] = values

for protocol in (0, 2, 5):
    (HERE / f"tree-{protocol}.pkl").write_bytes(pickle.dumps(tree, protocol))
    (HERE / f"values-{protocol}.pkl").write_bytes(pickle.dumps(values, protocol))
joblib.dump(tree, HERE / "tree.joblib")
joblib.dump(line, HERE / "line.joblib")
joblib.dump(values, HERE / "values.joblib")
for compressor in ("zlib", "gzip", "bz2", "lzma", "xz", "lz4"):
    joblib.dump([1, np.arange(3)], HERE / f"list.{compressor}", compress=(compressor, 3))
np.save(HERE / "array.npy", np.zeros((2, 3), [("a", "<f8"), ("b", ">i2", (2,))]))
