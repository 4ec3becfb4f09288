"""Time to write a model: `onecopy.dump` beside `pickle.dump(protocol=5)`, with and without waiting for the disk.

    python benches/python_dump.py [FOLDER] [--rounds N] [--only NAME,...]

CSV rows to stdout. The ways take turns, so that a busy moment of the machine hits all of them; each row has the median and
the minimum of the rounds. `cpu` is user and system time of all threads.
"""

import argparse
import csv
import os
import pickle
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import onecopy


def models(names: "set[str] | None") -> Iterator[tuple[str, Any]]:
    """Fitted models from a kilobyte to half a gigabyte."""
    made: dict[str, Callable[[], Any]] = {
        "scaler": scaler,
        "pipeline": pipeline,
        "forest-small": lambda: forest(1_000, 100),
        "tfidf": tfidf,
        "pca": pca,
        "ridge": ridge,
        "forest": lambda: forest(100_000, 120),
    }
    for name, make in made.items():
        if names is None or name in names:
            yield name, make()


def table(rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, columns))
    return x, (x[:, 0] + x[:, 1] * x[:, 2] + rng.normal(size=rows) > 0).astype(int)


def scaler() -> Any:
    from sklearn.preprocessing import StandardScaler

    return StandardScaler().fit(table(500, 10)[0])


def pipeline() -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression()).fit(*table(500, 10))


def forest(rows: int, trees: int) -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(trees, n_jobs=2, random_state=0).fit(*table(rows, 20))


def tfidf() -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    words = [f"word{number}" for number in range(520_000)]
    return TfidfVectorizer().fit(" ".join(words[start : start + 500]) for start in range(0, len(words), 500))


def pca() -> Any:
    from sklearn.decomposition import PCA

    rng = np.random.default_rng(0)
    model = PCA(4).fit(rng.normal(size=(20, 10)))
    model.components_ = rng.normal(size=(300, 100_000))
    return model


def ridge() -> Any:
    from sklearn.linear_model import Ridge

    rng = np.random.default_rng(0)
    model = Ridge().fit(rng.normal(size=(20, 10)), rng.normal(size=20))
    model.coef_ = rng.normal(size=(1_000, 60_000))
    return model


def pickled(model: Any, path: Path, sync: bool) -> None:
    with open(path, "wb") as file:
        pickle.dump(model, file, protocol=5)
        if sync:
            file.flush()
            os.fsync(file.fileno())


WAYS: dict[str, Callable[[Any, Path], None]] = {
    "pickle": lambda model, path: pickled(model, path, False),
    "pickle+fsync": lambda model, path: pickled(model, path, True),
    "onecopy sync=False": lambda model, path: onecopy.dump(model, path, sync=False),
    "onecopy": lambda model, path: onecopy.dump(model, path),
}


def cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def measure(model: Any, folder: Path, rounds: int) -> dict[str, tuple[list[float], list[float], int]]:
    found: dict[str, tuple[list[float], list[float], int]] = {way: ([], [], 0) for way in WAYS}
    for _ in range(rounds):
        for way, write in WAYS.items():
            path = folder / "model"
            path.unlink(missing_ok=True)
            os.sync()
            used, begin = cpu(), time.perf_counter()
            write(model, path)
            wall, used = time.perf_counter() - begin, cpu() - used
            found[way] = (found[way][0] + [wall], found[way][1] + [used], path.stat().st_size)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", help="where to write; its disk is what is measured")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only")
    args = parser.parse_args()
    rows = csv.writer(sys.stdout, lineterminator="\n")
    rows.writerow(["section", "model", "way", "file_mb", "median_ms", "min_ms", "cpu_ms", "to_pickle"])
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        for name, model in models(set(args.only.split(",")) if args.only else None):
            found = measure(model, Path(folder), args.rounds)
            base = statistics.median(found["pickle"][0])
            for way, (walls, used, size) in found.items():
                median = statistics.median(walls)
                numbers = [size / 1e6, median * 1e3, min(walls) * 1e3, statistics.median(used) * 1e3, median / base]
                rows.writerow(["dump", name, way, *(f"{number:.3f}" for number in numbers)])
            sys.stdout.flush()


if __name__ == "__main__":
    main()
