"""Measures what `onecopy.load` and `onecopy.open` promise against joblib and pickle in one run.

    python benches/python_peers.py bench-output

Trains a forest of 500 trees (about 500 MB as joblib), a TF-IDF pipeline of 520,000 terms and a HistGradientBoosting model of
1,500 trees. Every time is that of fresh processes that have imported scikit-learn; memory is PSS of 4 of them, above 4 that hold no
model. Everything is read from the page cache. Writes `python-<date>.csv`.
"""

import datetime
import json
import multiprocessing
import pickle
import sys
from pathlib import Path

import joblib
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "demo"), str(ROOT / "benches")]

from peers import Table, facts  # noqa: E402
from workers import empty, run  # noqa: E402

import onecopy  # noqa: E402

WORKERS = 4
TERMS, DOCUMENTS, ASKED = 520_000, 30_000, 26_000


def keep(model, folder, name, expected):
    """Saves a model in every way, and what scikit-learn answers."""
    for method, answers in expected.items():
        np.save(folder / f"{name}.{method}.npy", answers)
    joblib.dump(model, folder / f"{name}.joblib")
    with open(folder / f"{name}.pkl", "wb") as file:
        pickle.dump(model, file, protocol=5)
    onecopy.dump(model, folder / f"{name}.onecopy")


def train_forest(folder):
    from sklearn.datasets import make_classification
    from sklearn.ensemble import RandomForestClassifier

    x, y = make_classification(13_000, 24, n_informative=12, n_classes=8, flip_y=0.3, random_state=0)
    model = RandomForestClassifier(500, max_features=3, random_state=0, n_jobs=-1).fit(x, y).set_params(n_jobs=1)
    x = x[:2000].astype(np.float32)
    np.save(folder / "forest.x.npy", x)
    keep(model, folder, "forest", {"predict_proba": model.predict_proba(x)})


def train_text(folder):
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    random = np.random.default_rng(0)
    # Every term occurs; the rest of each document is drawn from the frequent ones.
    rare = np.array_split(random.permutation(TERMS), DOCUMENTS)
    documents = [" ".join(f"term{term}" for term in [*own, *(random.zipf(1.3, 30) % TERMS)]) for own in rare]
    labels = random.integers(0, 2, DOCUMENTS)
    model = make_pipeline(TfidfVectorizer(), LogisticRegression(max_iter=20, solver="liblinear")).fit(documents, labels)
    asked = documents[:ASKED]
    (folder / "text.json").write_text(json.dumps(asked))
    keep(model, folder, "text", {"predict_proba": model.predict_proba(asked)})


def train_boosting(folder):
    from sklearn.datasets import make_regression
    from sklearn.ensemble import HistGradientBoostingRegressor

    x, y = make_regression(20_000, 30, noise=10, random_state=0)
    model = HistGradientBoostingRegressor(max_iter=1500, early_stopping=False, random_state=0).fit(x, y)
    np.save(folder / "boosting.x.npy", x[:2000])
    keep(model, folder, "boosting", {"predict": model.predict(x[:2000])})


TRAINERS = {"forest": train_forest, "text": train_text, "boosting": train_boosting}


def contenders(folder, name, rows, method, kinds, count=1, repeats=1):
    """The median `Result` of each kind, the kinds in turns so that what else the machine does falls on all."""
    endings = {"pickle": "pkl", "joblib": "joblib", "mmap": "joblib", "load": "onecopy", "open": "onecopy"}
    expected = folder / f"{name}.{method}.npy"
    results = {kind: [] for kind in kinds}
    for _ in range(repeats):
        for kind in kinds:
            results[kind].append(run(kind, folder / f"{name}.{endings[kind]}", rows, method, expected, count))
    for kind, found in results.items():
        assert all(result.identical for result in found), f"{kind} answers with other bits"
    return {kind: sorted(found, key=lambda result: result.open_s)[len(found) // 2] for kind, found in results.items()}


def ms(seconds):
    return f"{seconds * 1e3:,.1f} ms"


def measure_forest(folder, table):
    rows, method = folder / "forest.x.npy", "predict_proba"
    single = contenders(folder, "forest", rows, method, ["joblib", "mmap", "pickle", "load", "open"], repeats=5)
    for kind, result in single.items():
        print(f"      {kind}: load {ms(result.open_s)}, first prediction {ms(result.first_prediction_s)}")
    size = f"{(folder / 'forest.joblib').stat().st_size / 1e6:,.0f} MB as joblib"
    for kind in ("load", "open"):
        table.add(f"{kind}: time to load 500 trees", single[kind].open_s * 1e3, 50, "ms", note=size)
        ratio = single["joblib"].first_prediction_s / single[kind].first_prediction_s
        table.add(f"{kind}: joblib's time to first prediction, in times of ours", ratio, 10, "", True)
    floor = empty("load", rows, WORKERS)
    hot = onecopy.inspect(folder / "forest.onecopy")["predict"]["len_bytes"]
    shared = contenders(folder, "forest", rows, method, ["mmap", "load", "open"], count=WORKERS)
    for kind in ("load", "open"):
        above = (shared[kind].pss - floor.pss) / 1e6
        note = f"prediction reads {hot / 1e6:.1f} MB; joblib mmap_mode='r' {(shared['mmap'].pss - floor.pss) / 1e6:,.0f} MB"
        table.add(f"{kind}: memory of {WORKERS} workers above empty ones", above, 1.15 * hot / 1e6 + 8 * WORKERS, "MB", note=note)
        dirty = (shared[kind].private_dirty - floor.private_dirty) / 1e6
        table.add(f"{kind}: private dirty memory of the worst worker above an empty one", dirty, 8, "MB")


def measure_text(folder, table):
    rows, method = folder / "text.json", "predict_proba"
    single = contenders(folder, "text", rows, method, ["pickle", "joblib", "load"], repeats=3)
    for kind, result in single.items():
        print(f"      {kind}: load {ms(result.open_s)}, {ASKED:,} documents {ms(result.all_predictions_s - result.first_prediction_s)}")
    ratio = single["load"].open_s / single["pickle"].open_s
    table.add("520,000 terms: load, as part of pickle's", ratio, 0.2, note=f"{ms(single['load'].open_s)} against {ms(single['pickle'].open_s)}")
    floor = empty("load", rows, WORKERS).pss
    shared = contenders(folder, "text", rows, method, ["joblib", "load"], count=WORKERS)
    above = {kind: result.pss - floor for kind, result in shared.items()}
    note = f"{above['load'] / 1e6:,.0f} MB against {above['joblib'] / 1e6:,.0f} MB, after {ASKED:,} documents"
    table.add(f"520,000 terms: memory of {WORKERS} workers, as part of joblib's", above["load"] / above["joblib"], 1 / 3, note=note)


def measure_boosting(folder, table):
    rows = folder / "boosting.x.npy"
    single = contenders(folder, "boosting", rows, "predict", ["pickle", "joblib", "mmap", "load"], repeats=7)
    for kind, result in single.items():
        print(f"      {kind}: load {ms(result.open_s)}, first prediction {ms(result.first_prediction_s)}")
    for what in ("open_s", "first_prediction_s"):
        ratio = getattr(single["load"], what) / getattr(single["pickle"], what)
        name = "load" if what == "open_s" else "load and first prediction"
        table.add(f"1,500 boosted trees: {name}, as part of pickle 5's", ratio, 1.0)


MEASURES = {"forest": measure_forest, "text": measure_text, "boosting": measure_boosting}


def main():
    folder = Path(sys.argv[1])
    names = sys.argv[2:] or list(MEASURES)
    folder.mkdir(parents=True, exist_ok=True)
    described = facts("python benches/python_peers.py")
    print("\n".join(described), flush=True)
    table = Table()
    for name in names:
        if not (folder / f"{name}.onecopy").exists():
            # In a process of its own, so that what training leaves in memory is gone.
            trainer = multiprocessing.get_context("spawn").Process(target=TRAINERS[name], args=(folder,))
            trainer.start()
            trainer.join()
            if trainer.exitcode:
                sys.exit(f"training {name} failed")
        MEASURES[name](folder, table)
    path = folder / f"python-{datetime.date.today().isoformat()}.csv"
    table.write(path, described)
    failed = [row[0] for row in table.rows if row[5] == "NO"]
    print(f"written: {path}")
    if failed:
        print("not kept: " + "; ".join(failed))


if __name__ == "__main__":
    main()
