"""What prediction adds to the memory of one process, when the arrays of the model are those of the file."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from lightgbm import LGBMClassifier
from sklearn.ensemble import GradientBoostingRegressor, HistGradientBoostingClassifier, RandomForestClassifier
from xgboost import XGBClassifier

from model_files import make

RNG = np.random.default_rng(4)
X = RNG.normal(size=(3000, 32)).astype(np.float32)
Y = (X[:, 0] * X[:, 1] + X[:, 2] + RNG.normal(size=len(X)) > 0).astype(int)
BOUND = 5 << 20

MODELS = {
    "deep forest": RandomForestClassifier(100, random_state=0, n_jobs=1),
    "forest of depth 10": RandomForestClassifier(200, max_depth=10, random_state=0, n_jobs=1),
    "histogram trees": HistGradientBoostingClassifier(max_iter=100, random_state=0),
    "LightGBM": LGBMClassifier(n_estimators=100, verbose=-1, n_jobs=1, random_state=0),
    "XGBoost": XGBClassifier(n_estimators=200, max_depth=6, n_jobs=1, random_state=0),
    "gradient boosting": GradientBoostingRegressor(n_estimators=100, max_depth=3, random_state=0),
}

WORKER = """
import os
import sys

import numpy
import onecopy

path, threads, folder = sys.argv[1:]
sys.path.insert(0, folder)
from child_processes import forked

rows = numpy.random.default_rng(0).normal(size=(20_000, 32)).astype(numpy.float32)

def private():
    with open("/proc/self/smaps_rollup") as lines:
        return sum(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty:")) * 1024

def added(model):
    before = private()
    model = model or onecopy.open(path, threads=int(threads))
    for batch in (1, 16, 1000, 20_000):
        model.predict(rows[:batch])
    print(private() - before, flush=True)
    return model

model = added(None)
_, status = os.waitpid(forked(lambda: added(model)), 0)
sys.exit(status != 0)
"""


def added_by_workers(path, threads):
    """Bytes that predicting makes private to a process that opens the model, and to a child that it forks."""
    words = [sys.executable, "-c", WORKER, path, str(threads), str(Path(__file__).parent)]
    ended = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True, timeout=120)
    return [int(line) for line in ended.stdout.split()]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", MODELS)
def test_a_process_that_predicts_adds_less_than_5_mb_of_its_own(name, threads, tmp_path):
    model = MODELS[name]
    path = make(model.fit(X, X[:, 0] if name == "gradient boosting" else Y), tmp_path)
    added = added_by_workers(path, threads)
    assert len(added) == 2
    assert max(added) < BOUND, added
