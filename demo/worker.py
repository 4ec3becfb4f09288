"""One Python worker: loads a model its way, predicts, reports, and stays until standard input ends.

    python demo/worker.py (empty | pickle | joblib | mmap | load | open) MODEL (X.npy | DOCUMENTS.json) METHOD OUT.npy

`load` and `open` are onecopy's; the others are what they are called. Imports come first and are not timed. The worker then
waits for a line, so that all workers start together.
"""

import json
import pickle
import sys
import time

import joblib
import numpy as np
import sklearn.ensemble  # noqa: F401  (unpickling a forest would import it)
import sklearn.feature_extraction.text  # noqa: F401
import sklearn.linear_model  # noqa: F401
import sklearn.pipeline  # noqa: F401

import onecopy


def load(how, path):
    if how == "load":
        return onecopy.load(path)
    if how == "open":
        return onecopy.open(path)
    if how == "pickle":
        with open(path, "rb") as file:
            return pickle.load(file)
    return joblib.load(path, mmap_mode="r" if how == "mmap" else None)


def main():
    how, path, rows, method, out = sys.argv[1:6]
    if rows.endswith(".json"):
        with open(rows, encoding="utf-8") as file:
            x = json.load(file)
    else:
        x = np.load(rows)
    print("ready", flush=True)
    sys.stdin.readline()
    report = {}
    if how != "empty":
        start = time.perf_counter()
        model = load(how, path)
        report["open_s"] = time.perf_counter() - start
        getattr(model, method)(x[:1])
        report["first_prediction_s"] = time.perf_counter() - start
        answers = getattr(model, method)(x)
        report["all_predictions_s"] = time.perf_counter() - start
        if out:
            np.save(out, answers)
    print(json.dumps(report), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
