"""Opened and loaded models travel to other processes as path and digest."""

import concurrent.futures
import copy
import gc
import multiprocessing
import os
import pickle

import joblib
import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression

import onecopy
from model_files import make, same

RNG = np.random.default_rng(8)
X = RNG.normal(size=(300, 4))
Y = RNG.integers(0, 3, 300)


@pytest.fixture(scope="module")
def model():
    return RandomForestClassifier(20, random_state=0, n_jobs=1).fit(X, Y)


@pytest.fixture
def path(model, tmp_path):
    return make(model, tmp_path)


def maps_of(path):
    """Mappings of a file in this process."""
    with open("/proc/self/maps") as maps:
        return sum(path in line for line in maps)


def answer(model, x, path):
    """What a worker gives back: probabilities, its pid, and how often it maps the file."""
    return model.predict_proba(x), os.getpid(), maps_of(path)


def test_a_handle_is_small_and_gives_the_model_itself(model, path):
    for made in (onecopy.open(path), onecopy.by_reference(onecopy.load(path)), onecopy.by_reference(onecopy.open(path))):
        for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
            travelling = pickle.dumps(made, protocol)
            assert len(travelling) < 500
            arrived = pickle.loads(travelling)
            assert same(model.predict_proba(X), arrived.predict_proba(X))
    assert isinstance(pickle.loads(pickle.dumps(onecopy.by_reference(onecopy.load(path)))), RandomForestClassifier)
    assert isinstance(pickle.loads(pickle.dumps(onecopy.open(path))), onecopy.Model)


def test_a_process_maps_the_file_once_as_long_as_someone_uses_it(path):
    opened, loaded = onecopy.open(path), onecopy.load(path)
    handles = pickle.dumps(opened), pickle.dumps(onecopy.by_reference(loaded))
    first = [pickle.loads(handle) for handle in handles]
    assert all(pickle.loads(handle) is known for handle, known in zip(handles, first))
    del opened, loaded, first
    gc.collect()
    assert maps_of(path) == 0


def test_options_travel_along(path):
    loaded = pickle.loads(pickle.dumps(onecopy.by_reference(onecopy.load(path, mmap_mode="c"))))
    assert loaded.classes_.flags.writeable
    opened = pickle.loads(pickle.dumps(onecopy.open(path, threads=1)))
    assert opened._threads == 1


def test_copies_of_an_opened_model_are_the_model(path):
    opened = onecopy.open(path)
    assert copy.copy(opened) is opened and copy.deepcopy([opened])[0] is opened


def test_another_file_behind_the_path_is_an_error(path, tmp_path):
    handles = [pickle.dumps(onecopy.open(path)), pickle.dumps(onecopy.by_reference(onecopy.load(path)))]
    gc.collect()
    make(RandomForestClassifier(2, random_state=1).fit(X, Y), tmp_path)
    for handle in handles:
        with pytest.raises(onecopy.StaleReferenceError, match="the file was replaced"):
            pickle.loads(handle)
    os.unlink(path)
    for handle in handles:
        with pytest.raises(FileNotFoundError):
            pickle.loads(handle)


def test_the_same_content_written_again_is_not_stale(model, path, tmp_path):
    handle = pickle.dumps(onecopy.open(path))
    gc.collect()
    make(model, tmp_path)
    assert same(model.predict_proba(X), pickle.loads(handle).predict_proba(X))


def test_what_was_not_loaded_from_a_file_cannot_be_referred_to(model, path):
    for stranger in (model, LinearRegression(), {"a": 1}, None, copy.deepcopy(onecopy.load(path))):
        with pytest.raises(TypeError, match="onecopy.load"):
            onecopy.by_reference(stranger)


def test_a_relative_path_is_found_from_another_directory(model, tmp_path, monkeypatch):
    make(model, tmp_path)
    monkeypatch.chdir(tmp_path)
    handles = [pickle.dumps(onecopy.open("model.onecopy")), pickle.dumps(onecopy.by_reference(onecopy.load("model.onecopy")))]
    monkeypatch.chdir("/")
    gc.collect()
    for handle in handles:
        assert same(model.predict_proba(X), pickle.loads(handle).predict_proba(X))


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("how", ["open", "load"])
def test_workers_of_multiprocessing_map_one_file(method, how, model, path):
    made = onecopy.open(path) if how == "open" else onecopy.by_reference(onecopy.load(path))
    expected = model.predict_proba(X)
    with multiprocessing.get_context(method).Pool(2) as pool:
        answers = pool.starmap(answer, [(made, X, path)] * 6, chunksize=1)
    for found, pid, maps in answers:
        assert same(expected, found) and pid != os.getpid()
        assert maps <= (2 if method == "fork" else 1)


def test_workers_of_concurrent_futures_map_one_file(model, path):
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
        done = [pool.submit(answer, onecopy.by_reference(onecopy.load(path)), X, path) for _ in range(4)]
        assert all(same(model.predict_proba(X), future.result(60)[0]) for future in done)


def test_workers_of_joblib_map_one_file(model, path):
    opened = onecopy.open(path)
    answers = joblib.Parallel(n_jobs=2, backend="loky")(joblib.delayed(answer)(opened, X, path) for _ in range(4))
    for found, pid, maps in answers:
        assert same(model.predict_proba(X), found) and pid != os.getpid() and maps == 1
    joblib.externals.loky.get_reusable_executor().shutdown(wait=True)


def test_workers_of_dask_map_one_file(model, path):
    distributed = pytest.importorskip("dask.distributed")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        for made in (onecopy.open(path), onecopy.by_reference(onecopy.load(path))):
            done = [client.submit(answer, made, X, path, pure=False) for _ in range(4)]
            for found, pid, maps in client.gather(done):
                assert same(model.predict_proba(X), found) and pid != os.getpid() and maps <= 2


def fails(handle):
    try:
        pickle.loads(handle)
    except Exception as error:
        return error


def test_a_stale_handle_in_a_worker_names_the_file(path, tmp_path):
    handle = pickle.dumps(onecopy.open(path))
    make(RandomForestClassifier(2, random_state=1).fit(X, Y), tmp_path)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        error = pool.apply(fails, (handle,))
    assert type(error) is onecopy.StaleReferenceError and path in str(error)
