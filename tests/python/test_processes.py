"""Opened models in real processes: before and after a fork, in spawned ones, and while threads predict."""

import multiprocessing
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from sklearn.ensemble import RandomForestRegressor
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.preprocessing import StandardScaler

import onecopy
from child_processes import forked
from model_files import make, same

RNG = np.random.default_rng(1)
X = RNG.normal(size=(400, 5))
MODEL = RandomForestRegressor(40, random_state=0, n_jobs=1).fit(X, X[:, 0] * X[:, 1])
BIG = np.tile(X, (10, 1))
EXPECTED = MODEL.predict(BIG)


@pytest.fixture
def path(tmp_path):
    return make(MODEL, tmp_path)


def in_child(work, seconds=30):
    """Forks, runs `work` in the child, and gives whether it answered True in time."""
    pid = forked(work)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status) == 0
        time.sleep(0.005)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    return False


def right(model):
    return same(EXPECTED, model.predict(BIG))


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_a_child_predicts_whether_its_parent_had_or_not(threads, path):
    opened = onecopy.open(path, threads=threads)
    assert in_child(lambda: right(opened))
    assert right(opened)
    assert in_child(lambda: right(opened))
    assert right(opened)


def test_children_of_children_predict(path):
    opened = onecopy.open(path, threads=2)
    assert right(opened)
    assert in_child(lambda: right(opened) and in_child(lambda: right(opened) and in_child(lambda: right(opened))))


def test_a_child_may_open_what_its_parent_has_open(path):
    opened = onecopy.open(path, threads=2)
    assert right(opened)
    assert in_child(lambda: right(onecopy.open(path, threads=3)) and right(opened))


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning")
def test_forks_while_other_threads_predict_leave_children_that_predict(path):
    opened, stop, wrong = onecopy.open(path, threads=2), threading.Event(), []

    def predict(threads):
        mine = onecopy.open(path, threads=threads)
        while not stop.is_set():
            if not right(mine):
                wrong.append(threads)

    workers = [threading.Thread(target=predict, args=(threads,)) for threads in (2, 3, 1)]
    [worker.start() for worker in workers]
    try:
        answered = [in_child(lambda: right(opened)) for _ in range(25)]
    finally:
        stop.set()
        [worker.join() for worker in workers]
    assert all(answered) and wrong == []


def predict_there(path, threads):
    model = onecopy.open(path, threads=threads)
    return model.predict(BIG)


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_workers_open_for_themselves(method, path):
    assert right(onecopy.open(path, threads=2))
    with multiprocessing.get_context(method).Pool(2) as pool:
        answers = pool.starmap(predict_there, [(path, 1), (path, 2), (path, None)])
    assert all(same(EXPECTED, found) for found in answers)


def test_a_loaded_vocabulary_survives_a_fork(tmp_path):
    documents = [" ".join(f"w{i}" for i in range(start, start + 50)) for start in range(0, 4000, 25)]
    vectorizer = CountVectorizer().fit(documents)
    loaded = onecopy.load(make(vectorizer, tmp_path))
    expected = vectorizer.transform(documents)
    assert in_child(lambda: (loaded.transform(documents) != expected).nnz == 0)
    assert in_child(lambda: loaded.vocabulary_ == vectorizer.vocabulary_)


def test_processes_share_the_pages_of_the_arrays(tmp_path):
    """Four processes that predict hold little more than one: PSS, as the kernel counts it."""
    weights = StandardScaler().fit(np.vstack([RNG.normal(size=(2, 2_000_000))]))
    path = make(weights, tmp_path)
    code = f"""
import sys, numpy, onecopy
model = onecopy.open({path!r}, threads=1)
x = numpy.zeros((1, 2_000_000))
model.transform(x)
print("ready", flush=True)
sys.stdin.readline()
mine = [line.split() for line in open("/proc/self/smaps_rollup")][1:]
total = shared = private = 0
here = False
for line in open("/proc/self/smaps"):
    words = line.split()
    if "-" in words[0] and not words[0].endswith(":"):
        here = line.rstrip().endswith({path!r})
    elif here and words[0] == "Pss:":
        shared += int(words[1])
    elif here and words[0] == "Private_Dirty:":
        private += int(words[1])
print(shared, private, flush=True)
"""
    start = lambda: subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    workers = [start() for _ in range(4)]
    assert all(worker.stdout.readline() == "ready\n" for worker in workers)
    for worker in workers:
        worker.stdin.write("\n")
        worker.stdin.flush()
    found = [tuple(map(int, worker.stdout.readline().split())) for worker in workers]
    [worker.communicate(timeout=30) for worker in workers]
    arrays_kib = 2 * 8 * 2_000_000 / 1024
    assert all(private == 0 for _, private in found)
    assert max(pss for pss, _ in found) < arrays_kib / 2
