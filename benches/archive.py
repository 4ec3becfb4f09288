"""Sizes and times of archives beside joblib's compressed files, over models of many kinds and over their kinds of arrays.

    python benches/archive.py [FOLDER] [--rounds N] [--only NAME,...]

Trains the models once into FOLDER (bench-output/archive), then writes and reads every one of them in one run: `joblib.dump`
with zlib 3 and with xz 3, `onecopy.dump` at each level, `joblib.load` and `onecopy.restore`. CSV rows to stdout, what holds
of the promises to stderr. Seconds are of the processor, the least of the rounds; the process keeps to one of them, so that
nobody has more threads than another, and files lie in memory (/dev/shm), so that neither the disk nor what else the machine does is
measured. What is compared is not quite the same work. `joblib.load` ends with objects in memory; `restore` ends with a file that
any number of processes map, written out and checked against CRC32 and BLAKE3, which joblib does not have. What it takes to
make objects of that file is in a column of its own, `load_cpu_s`, and in the last lines. `onecopy.dump` makes the plan for native
prediction as well. Kinds of arrays are saved by themselves, as joblib holds them.
"""

import argparse
import csv
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import joblib
import numpy as np

import onecopy

LEVELS = ("fast", "default", "best")

def table(rows: int, columns: int, classes: "int | None" = None, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Columns as tables have them: measured to a few digits, counts, flags, skewed amounts, and the answer."""
    rng = np.random.default_rng(seed)
    kinds = [
        lambda: rng.normal(size=rows),
        lambda: np.round(rng.normal(50, 15, size=rows), 1),
        lambda: rng.poisson(3, size=rows).astype(float),
        lambda: rng.integers(0, 2, size=rows).astype(float),
        lambda: np.round(rng.lognormal(3, 1, size=rows), 2),
    ]
    x = np.stack([kinds[i % len(kinds)]() for i in range(columns)], axis=1)
    z = (x - x.mean(0)) / x.std(0)
    score = z[:, 0] + z[:, 1] * z[:, 2] + np.sin(z[:, 4 % columns]) + 0.5 * rng.normal(size=rows)
    if classes is None:
        return x, score
    edges = np.quantile(score, np.linspace(0, 1, classes + 1)[1:-1])
    return x, np.digitize(score, edges)


def documents(count: int, words: int = 60, size: int = 60_000, seed: int = 0) -> list[str]:
    """Texts whose words are as frequent as in a language."""
    rng = np.random.default_rng(seed)
    starts, ends = "b c d f g h k l m n p r s t v st tr ch".split(), "a e i o u an en ing er ou".split()
    syllables = [start + end for start in starts for end in ends]
    vocabulary = ["".join(rng.choice(syllables, rng.integers(1, 5))) + str(i % 7 or "") for i in range(size)]
    ranks = np.minimum(rng.zipf(1.15, size=(count, words)) - 1, size - 1)
    return [" ".join(vocabulary[i] for i in row) for row in ranks]


def forest_classifier() -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(60, n_jobs=2, random_state=0).fit(*table(20_000, 20, classes=5))


def forest_regressor() -> Any:
    from sklearn.ensemble import RandomForestRegressor

    return RandomForestRegressor(40, n_jobs=2, random_state=0, max_features=6).fit(*table(15_000, 20))


def boosted_trees() -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    model = HistGradientBoostingClassifier(max_iter=150, max_leaf_nodes=63, random_state=0, early_stopping=False)
    return model.fit(*table(20_000, 20, classes=4))


def linear_dense() -> Any:
    from sklearn.linear_model import LogisticRegression

    x, y = table(1500, 3000, classes=20)
    rng = np.random.default_rng(1)
    x = rng.normal(size=(1500, 3000))
    return LogisticRegression(max_iter=20).fit(x, y)


def linear_l1() -> Any:
    from sklearn.linear_model import SGDClassifier
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts = documents(6000)
    y = np.random.default_rng(0).integers(0, 12, 6000)
    x = TfidfVectorizer().fit_transform(texts)
    return SGDClassifier(penalty="l1", alpha=2e-5, max_iter=10, random_state=0, tol=None).fit(x, y)


def knn_gaussian() -> Any:
    from sklearn.neighbors import KNeighborsClassifier

    x = np.random.default_rng(0).normal(size=(40_000, 64)).astype(np.float32)
    return KNeighborsClassifier(algorithm="brute").fit(x, (x[:, 0] > 0).astype(int))


def knn_tabular() -> Any:
    from sklearn.neighbors import KNeighborsRegressor

    return KNeighborsRegressor(algorithm="brute").fit(*table(60_000, 20))


def kd_tree() -> Any:
    from sklearn.neighbors import KNeighborsClassifier

    return KNeighborsClassifier(algorithm="kd_tree").fit(*table(150_000, 6, classes=3))


def tfidf() -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer().fit(documents(40_000, size=200_000))


def sparse() -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.neighbors import NearestNeighbors

    x = TfidfVectorizer().fit_transform(documents(20_000))
    return NearestNeighbors(algorithm="brute", metric="cosine").fit(x)


def mlp() -> Any:
    from sklearn.neural_network import MLPClassifier

    return MLPClassifier((512, 256), max_iter=3, random_state=0).fit(*table(4000, 100, classes=10))


def pca() -> Any:
    from sklearn.decomposition import PCA

    x = np.random.default_rng(0).normal(size=(2000, 1500))
    return PCA(300, svd_solver="randomized", random_state=0).fit(x @ np.random.default_rng(1).normal(size=(1500, 1500)))


MODELS = (
    forest_classifier,
    forest_regressor,
    boosted_trees,
    linear_dense,
    linear_l1,
    knn_gaussian,
    knn_tabular,
    kd_tree,
    tfidf,
    sparse,
    mlp,
    pca,
)


def nodes(forest: Any) -> np.ndarray:
    return np.concatenate([tree.tree_.__getstate__()["nodes"] for tree in forest.estimators_])


def values(forest: Any) -> np.ndarray:
    return np.concatenate([tree.tree_.__getstate__()["values"] for tree in forest.estimators_])


def terms(vectorizer: Any) -> list[bytes]:
    return [term.encode() for term in vectorizer.vocabulary_]


KINDS: dict[str, tuple[str, Callable[[Any], np.ndarray]]] = {
    "forest classifier nodes": ("forest-classifier", nodes),
    "forest regressor nodes": ("forest-regressor", nodes),
    "boosted tree nodes": ("boosted-trees", lambda m: np.concatenate([t.nodes for s in m._predictors for t in s])),
    "forest classifier values": ("forest-classifier", values),
    "forest regressor values": ("forest-regressor", values),
    "idf": ("tfidf", lambda m: m.idf_),
    "dense coefficients": ("linear-dense", lambda m: m.coef_),
    "L1 coefficients": ("linear-l1", lambda m: m.coef_),
    "CSR indices": ("sparse", lambda m: m._fit_X.indices),
    "CSR data": ("sparse", lambda m: m._fit_X.data),
    "k-NN f32": ("knn-gaussian", lambda m: m._fit_X),
    "k-NN f64": ("knn-tabular", lambda m: m._fit_X),
    "vocabulary": ("tfidf", lambda m: np.frombuffer(b"".join(terms(m)), np.uint8)),
    "offsets": ("tfidf", lambda m: np.cumsum([len(term) for term in terms(m)])),
    "KD-tree indices": ("kd-tree", lambda m: np.asarray(m._tree.__getstate__()[1])),
    "KD-tree bounds": ("kd-tree", lambda m: np.asarray(m._tree.__getstate__()[3])),
    "MLP weights": ("mlp", lambda m: m.coefs_[1]),
    "PCA components": ("pca", lambda m: m.components_),
}


def trained(folder: Path, names: "set[str] | None") -> Iterator[tuple[str, Any]]:
    folder.mkdir(parents=True, exist_ok=True)
    for make in MODELS:
        name = make.__name__.replace("_", "-")
        if names is not None and name not in names:
            continue
        path = folder / f"{name}.joblib"
        if not path.exists():
            joblib.dump(make(), path)
        yield name, joblib.load(path)


def seconds(work: Callable[[], object]) -> float:
    """Without the time to give back what `work` has made."""
    start = time.process_time()
    made = work()
    end = time.process_time()
    del made
    return end - start


Found = dict[str, tuple[int, float, float, float]]


def measure(obj: Any, folder: Path, rounds: int, levels: tuple[str, ...]) -> Found:
    """Bytes, seconds of writing, of reading, and of making objects of what was read, by way."""
    writers: dict[str, Callable[[Path], object]] = {
        "zlib 3": lambda path: joblib.dump(obj, path, compress=("zlib", 3)),
        "xz 3": lambda path: joblib.dump(obj, path, compress=("xz", 3)),
    }
    for level in levels:
        writers[level] = lambda path, level=level: onecopy.dump(obj, path, compress=level)
    found = {}
    paths = {way: folder / way.replace(" ", "") for way in writers}
    writing = {way: seconds(lambda: write(paths[way])) for way, write in writers.items()}
    reading: dict[str, float] = {}
    loading = dict.fromkeys(paths, 0.0)
    for _ in range(rounds):
        for way, path in paths.items():
            read = (lambda: onecopy.restore(path, folder / "hot")) if way in levels else (lambda: joblib.load(path))
            (folder / "hot").unlink(missing_ok=True)
            reading[way] = min(seconds(read), reading.get(way, np.inf))
            if way in levels:
                loading[way] = min(seconds(lambda: onecopy.load(folder / "hot")), loading[way] or np.inf)
        for way in {"zlib 3", "fast"} & writers.keys():
            writing[way] = min(seconds(lambda: writers[way](paths[way])), writing[way])
    for way, path in paths.items():
        found[way] = (path.stat().st_size, writing[way], reading[way], loading[way])
        path.unlink()
    return found


def add(sums: dict[str, list[float]], found: Found) -> None:
    for way, numbers in found.items():
        sums[way] = [a + b for a, b in zip(sums.get(way, [0, 0, 0, 0]), numbers)]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", nargs="?", default="bench-output/archive", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--levels", type=lambda text: tuple(text.split(",")), default=LEVELS)
    parser.add_argument("--only", type=lambda text: set(text.split(",")), default=None)
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    memory = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    rows = csv.writer(sys.stdout)
    rows.writerow(["what", "name", "bytes_in_memory", "way", "bytes", "write_cpu_s", "read_cpu_s", "load_cpu_s"])
    sums: dict[str, dict[str, list[float]]] = {"model": {}, "array": {}}
    smaller = {level: 0 for level in options.levels}
    try:
        for name, model in trained(options.folder, options.only):
            things: list[tuple[str, str, Any]] = [("model", name, model)]
            own = [(kind, get) for kind, (model_name, get) in KINDS.items() if model_name == name]
            things += [("array", kind, np.ascontiguousarray(get(model))) for kind, get in own]
            for what, label, obj in things:
                found = measure(obj if what == "model" else {"array": obj}, memory, options.rounds, options.levels)
                add(sums[what], found)
                size = obj.nbytes if what == "array" else ""
                for way, (stored, write, read, load) in found.items():
                    rows.writerow([what, label, size, way, stored, f"{write:.4f}", f"{read:.5f}", f"{load:.5f}"])
                sys.stdout.flush()
                if what == "array":
                    xz = found["xz 3"][0]
                    for level in options.levels:
                        smaller[level] += found[level][0] < xz
                    peers = {level: found["zlib 3"][0] if level == "fast" else xz for level in options.levels}
                    lost = [level for level, peer in peers.items() if found[level][0] >= peer]
                    if lost:
                        print(f"      {label}: not smaller at {', '.join(lost)}", file=sys.stderr)
    finally:
        shutil.rmtree(memory)
    judge(sums["model"], smaller)


def judge(sums: dict[str, list[float]], smaller: dict[str, int]) -> None:
    def line(promise: str, value: float, bound: float, at_least: bool) -> None:
        holds = value >= bound if at_least else value < bound
        sign = ">=" if at_least else "<"
        print(f"{'ok' if holds else 'NO':3} {promise}: {value:.3f}, promised {sign} {bound}", file=sys.stderr)

    for level, peer in (("default", "xz 3"), ("best", "xz 3"), ("fast", "zlib 3")):
        if level in sums:
            times = sums[peer][2] / (sums[level][2] + sums[level][3])
            print(f"    {level}: restoring and loading, times as fast as {peer}: {times:.3f}", file=sys.stderr)
    for level in (level for level in ("default", "best") if level in sums):
        line(f"{level}: bytes of all models, as part of xz 3", sums[level][0] / sums["xz 3"][0], 1, False)
        line(f"{level}: kinds of arrays smaller than xz 3, of 18", smaller[level], 16, True)
        line(f"{level}: restoring, times as fast as xz 3", sums["xz 3"][2] / sums[level][2], 8, True)
    if "fast" in sums:
        line("fast: bytes of all models, as part of zlib 3", sums["fast"][0] / sums["zlib 3"][0], 1, False)
        line("fast: restoring, times as fast as zlib 3", sums["zlib 3"][2] / sums["fast"][2], 4, True)
        line("fast: writing, times as fast as zlib 3", sums["zlib 3"][1] / sums["fast"][1], 5, True)


if __name__ == "__main__":
    main()
