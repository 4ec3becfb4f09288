"""Trains two random forests and saves each with pickle 5 and with joblib.

    python demo/train.py demo-output

`digits` is small: scikit-learn's handwritten digits. `large` is a forest of well over 100 MB on synthetic data. For each, the
folder gets `NAME.pkl`, `NAME.joblib`, the input `NAME.x.npy` and scikit-learn's answers, `NAME.predict.npy` and
`NAME.predict_proba.npy`. The answers come from `n_jobs=1`: with threads, scikit-learn's sums depend on the scheduling.
"""

import pickle
import sys
import time
from pathlib import Path

import joblib
import numpy as np
from sklearn.datasets import load_digits, make_classification
from sklearn.ensemble import RandomForestClassifier

ROWS = 2000


def digits():
    x, y = load_digits(return_X_y=True)
    return x, y, {"n_estimators": 100}


def large():
    x, y = make_classification(
        n_samples=60_000, n_features=24, n_informative=12, n_classes=8, flip_y=0.3, random_state=0
    )
    return x, y, {"n_estimators": 60, "max_features": 3}


def train(name, data, folder):
    start = time.perf_counter()
    x, y, parameters = data()
    model = RandomForestClassifier(random_state=0, n_jobs=-1, **parameters).fit(x, y)
    model.n_jobs = 1
    trained = time.perf_counter() - start
    x = x[:ROWS].astype(np.float32)
    np.save(folder / f"{name}.x.npy", x)
    for method in ("predict", "predict_proba"):
        np.save(folder / f"{name}.{method}.npy", getattr(model, method)(x))
    with open(folder / f"{name}.pkl", "wb") as file:
        pickle.dump(model, file, protocol=5)
    joblib.dump(model, folder / f"{name}.joblib.part")
    done = (folder / f"{name}.joblib.part").rename(folder / f"{name}.joblib")
    megabytes = done.stat().st_size / 1e6
    print(f"{name}: {len(model.estimators_)} trees trained in {trained:.1f} s, {megabytes:.1f} MB as joblib", flush=True)


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in (("digits", digits), ("large", large)):
        if (folder / f"{name}.joblib").exists():
            print(f"{name}: kept from an earlier run (delete {folder}/ to train again)")
        else:
            train(name, data, folder)


if __name__ == "__main__":
    main()
