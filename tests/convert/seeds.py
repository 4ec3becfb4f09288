"""Writes the small real models in `seeds/` and `lightgbm/`: starting points for mutation tests and the fuzzer.

    python seeds.py    (scikit-learn 1.9.1, joblib 1.6.0, numpy 2.4.6, lightgbm 4.7.0)
"""

import pathlib
import pickle

import joblib
import lightgbm
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

# Splits by number, by category and with zero as missing; without the parameters at its end.
rng = np.random.default_rng(0)
table = np.c_[rng.normal(size=60), rng.integers(0, 6, 60) * 9, np.where(rng.random(60) < 0.4, 0, rng.normal(size=60))]
label = (table[:, 0] / 2 + 2 * np.isin(table[:, 1], [9, 36, 45]) + (table[:, 2] == 0) > 1).astype(int)
options = {"num_leaves": 4, "min_child_samples": 5, "min_data_per_group": 2, "cat_smooth": 1, "cat_l2": 0, "max_cat_to_onehot": 1, "zero_as_missing": True}
model = lightgbm.LGBMClassifier(n_estimators=3, n_jobs=1, random_state=0, verbose=-1, **options)
text = model.fit(table, label, categorical_feature=[1]).booster_.model_to_string()
(HERE.parent / "lightgbm" / "booster.txt").write_text(text.partition("\nparameters:")[0] + "\npandas_categorical:null\n")
