"""`onecopy.dump`: real estimators written, read back, and written again."""

import copyreg
import errno
import io
import json
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier, RandomForestRegressor
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

import onecopy
from onecopy import UnsupportedModelError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 6))
Y = (X[:, 0] + X[:, 1] > 0).astype(int)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.onecopy"


def metadata(path):
    """The metadata part, found by the prologue's own words: the last JSON object of the file."""
    data = Path(path).read_bytes()
    start = max(data.rfind(b'{"environment"'), data.rfind(b'{"model"'))
    return json.JSONDecoder().raw_decode(data[start:].decode("utf-8", "ignore"))[0]


def back(obj, path, **options):
    onecopy.dump(obj, path)
    return onecopy.load(path, **options)


def fitted():
    frame = pd.DataFrame({"age": [20.0, 30, 40, 50] * 10, "city": ["a", "b", "c", "a"] * 10})
    columns = make_column_transformer((StandardScaler(), ["age"]), (OneHotEncoder(), ["city"]))
    texts = ["old mill by the river", "new mill", "red tree on a hill"] * 4
    yield RandomForestClassifier(20, random_state=0).fit(X, Y), X
    yield RandomForestRegressor(20, random_state=0).fit(X, X[:, 0]), X
    yield HistGradientBoostingClassifier(max_iter=12, random_state=None).fit(X, Y), X
    yield make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y), X
    yield LogisticRegressionCV(Cs=3, cv=3, max_iter=50).fit(X, Y + (X[:, 2] > 0)), X
    yield Ridge().fit(X, X @ RNG.normal(size=(6, 40))), X
    yield make_pipeline(columns, LogisticRegression()).fit(frame, [0, 1, 0, 1] * 10), frame
    yield make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, [0, 1, 1] * 4), texts


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("model", "fresh"), list(fitted()), ids=lambda value: type(value).__name__)
def test_a_dumped_estimator_predicts_as_before_and_dumps_again_to_the_same_bytes(model, fresh, path, tmp_path):
    loaded = back(model, path)
    assert np.array_equal(model.predict(fresh), loaded.predict(fresh))
    onecopy.dump(loaded, tmp_path / "again.onecopy")
    assert path.read_bytes() == (tmp_path / "again.onecopy").read_bytes()


def arrays():
    block = np.arange(24.0).reshape(2, 3, 4)
    aligned = np.zeros(3, np.dtype([("a", "i1"), ("b", "f8")], align=True))
    aligned["b"] = [1, 2, 3]
    frozen = block.copy()
    frozen.flags.writeable = False
    yield "C", block
    yield "F", np.asfortranarray(block)
    yield "axes 1 0 2", block.transpose(1, 0, 2)
    yield "axes 2 0 1", block.transpose(2, 0, 1)
    yield "strided", block[:, ::2]
    yield "negative strides", np.arange(5)[::-1]
    yield "big-endian", block.astype(">f8")
    yield "read-only", frozen
    yield "0-d", np.array(3.0)
    yield "no elements", np.zeros((0, 3))
    yield "no elements, F", np.zeros((3, 0), order="F")
    yield "complex", block.astype("c16") * 1j
    yield "long double", np.arange(3, dtype="g")
    yield "half", block.astype("f2")
    yield "datetime", np.array(["2026-01-02", "NaT"], "M8[25s]")
    yield "timedelta", np.arange(3, dtype="m8[ns]")
    yield "aligned record", aligned
    yield "packed record", np.ones(3, [("a", "i1"), ("b", ">f8", (2,))])
    yield "text", np.array(["a", "longer"])
    yield "bytes", np.array([b"a", b"b\0c"])
    yield "objects", np.array([[1, "a"], [None, 2.5]], object)
    yield "objects, F", np.array([[1, "a"], [None, 2.5]], object, order="F")
    yield "matrix", np.matrix([[1, 2], [3, 4]])
    yield "broadcast", np.broadcast_to(np.float64(2), (3, 4))


@pytest.mark.parametrize("array", [array for _, array in arrays()], ids=[name for name, _ in arrays()])
def test_an_array_keeps_dtype_values_and_the_order_of_its_axes(array, path):
    loaded = back({"a": array}, path)["a"]
    expected = pickle.loads(pickle.dumps(array, 5))
    assert type(loaded) is type(array)
    assert (loaded.dtype, loaded.shape) == (expected.dtype, array.shape)
    assert loaded.dtype.isalignedstruct == array.dtype.isalignedstruct
    if array.dtype.hasobject:
        assert loaded.tolist() == array.tolist()
    else:
        assert loaded.tobytes() == expected.tobytes()
    assert loaded.strides == expected.strides or array.size == 0


def test_a_memory_map_is_kept_as_the_array_that_it_is(path, tmp_path):
    mapped = np.memmap(tmp_path / "raw", "f8", "w+", shape=(3,))
    mapped[:] = [1, 2, 3]
    loaded = back([mapped], path)[0]
    assert type(loaded) is np.ndarray
    assert loaded.tolist() == [1, 2, 3]


def test_shared_arrays_stay_shared_and_cycles_stay_cycles(path):
    array = np.arange(1000.0)
    items = [array, {"same": array}]
    items.append(items)
    loaded = back(items, path)
    assert loaded[0] is loaded[1]["same"]
    assert loaded[2] is loaded


def test_keys_keep_their_types(path):
    value = {1: "a", "1": "b", True: "c", 2.5: "d", None: "e", (1, "x"): "f", b"y": "g"}
    loaded = back(value, path)
    assert loaded == value
    assert [type(key) for key in loaded] == [type(key) for key in value]


def test_the_padding_of_records_is_never_written(path):
    dtype = np.dtype({"names": ["a"], "formats": ["i1"], "offsets": [0], "itemsize": 300})
    for order in "CF":
        memory = np.frombuffer(b"secret" * 100, np.uint8).copy()
        records = memory.view(dtype).reshape(2, 1, order=order)
        onecopy.dump(records, path)
        assert b"secret"[1:] not in path.read_bytes()


# The same bytes.

SCRIPT = """
import sys, numpy as np, onecopy
from sklearn.ensemble import RandomForestClassifier
rng = np.random.default_rng(0)
x = rng.normal(size=(200, 5))
model = RandomForestClassifier(10, random_state=0).fit(x, x[:, 0] > 0)
model.words = frozenset(["mill", "river", "tree", "hill", ("a", "b"), None])
model.more = {"x", "y", "z", b"bytes"}
onecopy.dump(model, sys.argv[1], metadata={"b": 1, "a": [2.5, None]})
"""


def test_the_same_model_gives_the_same_bytes_whatever_the_hash_seed(tmp_path):
    files = []
    for seed in ("0", "1", "2"):
        files.append(tmp_path / seed)
        env = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-c", SCRIPT, files[-1]], env=env, check=True)
    assert len({file.read_bytes() for file in files}) == 1


def test_equal_strings_need_not_be_the_same_objects(path, tmp_path):
    text = "a text that is no identifier"
    onecopy.dump([text, text, 1000, 1000], path)
    onecopy.dump([text, "".join(list(text)), 1000, int("1000")], tmp_path / "other")
    assert path.read_bytes() == (tmp_path / "other").read_bytes()


def test_a_smaller_file_is_the_same_model(path, tmp_path):
    model = RandomForestClassifier(20, random_state=0).fit(X, Y)
    onecopy.dump(model, path)
    for compress in (True, "fast", "default", "best"):
        onecopy.dump(model, tmp_path / "cold", compress=compress)
        assert (tmp_path / "cold").stat().st_size < path.stat().st_size
        assert onecopy.inspect(tmp_path / "cold")["metadata"] == metadata(path)
        if compress is not True:
            onecopy.archive(path, tmp_path / "archived", level=compress)
            assert (tmp_path / "cold").read_bytes() == (tmp_path / "archived").read_bytes()
    for compress in (0, 3, "zstd", 1.5):
        with pytest.raises(ValueError, match='"fast", "default" or "best"'):
            onecopy.dump(model, path, compress=compress)


GROWN = """
import sys, resource
import numpy, onecopy
from sklearn.ensemble import ExtraTreesRegressor
x = numpy.random.default_rng(0).normal(size=(100_000, 4))
model = ExtraTreesRegressor(11, random_state=0, n_jobs=-1).fit(x, x[:, 0] + x[:, 1])
print("ready", flush=True)
for limit in map(int, sys.argv[2:]):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        onecopy.dump(model, sys.argv[1], compress="fast")
    except OSError as error:
        print(type(error).__name__, error.errno, flush=True)
"""


def test_packing_what_memory_shall_not_hold_leaves_the_old_file_when_it_fails(path):
    path.write_bytes(b"old")
    # The archive is smaller than the last one; what is gathered for it is not.
    limits = ["0", "4096", str(3 << 20), str(64 << 20)]
    command = [sys.executable, "-c", GROWN, path]
    failed = subprocess.run([*command, *limits], capture_output=True, text=True, check=True)
    assert failed.stdout == "ready\n" + len(limits) * f"OSError {errno.EFBIG}\n"
    assert path.read_bytes() == b"old" and os.listdir(path.parent) == [path.name]
    for delay in (0.1, 0.5):
        with subprocess.Popen([*command, "-1"], stdout=subprocess.PIPE, text=True) as dumping:
            assert dumping.stdout.readline() == "ready\n"
            time.sleep(delay)
            dumping.kill()
        # A fast machine has written the new file by then: it is whole, which `verify` would deny.
        if path.read_bytes() != b"old":
            onecopy.verify(path)
        assert os.listdir(path.parent) == [path.name]


# What is said about the model.


def test_the_file_says_what_made_it(path):
    onecopy.dump(make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y), path)
    environment = metadata(path)["environment"]
    assert environment["python"] == sys.version.split()[0]
    assert {"numpy", "scikit-learn", "scipy", "joblib", "threadpoolctl"} == set(environment["libraries"])
    assert environment["libraries"]["numpy"] == np.__version__
    onecopy.dump([1], path)
    assert set(metadata(path)["environment"]["libraries"]) == {"numpy"}


def test_the_schema_comes_from_the_estimator_or_from_an_example(path):
    frame = pd.DataFrame({"age": [1.0, 2.0], "city": pd.Categorical(["a", "b"])})
    model = StandardScaler().fit(frame[["age"]])
    onecopy.dump(model, path)
    assert metadata(path)["schema"] == {"from": "estimator", "columns": [{"name": "age"}], "n_features": 1}
    onecopy.dump(model, path, example_input=frame)
    columns = [{"name": "age", "dtype": "float64"}, {"name": "city", "dtype": "category"}]
    assert metadata(path)["schema"] == {"from": "example_input", "columns": columns, "n_features": 2}
    onecopy.dump(model, path, example_input=X.astype("f4"))
    assert metadata(path)["schema"] == {"from": "example_input", "dtype": "float32", "n_features": 6}
    onecopy.dump(model, path, example_input=scipy.sparse.csr_matrix(X))
    assert metadata(path)["schema"]["sparse"] is True


def test_what_the_user_says_is_kept(path):
    user = {"auc": 0.91, "rows": 10**15, "tags": ["a", None, True], "source": {"table": "sales"}, "ü": "é"}
    onecopy.dump([1], path, metadata=user)
    assert metadata(path)["user"] == user


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (np.float32(1), TypeError, r"metadata\['x'\]\[0\] is a numpy.float32, .* use .item"),
        (np.arange(3), TypeError, r"metadata\['x'\]\[0\] is a numpy.ndarray"),
        ({1, 2}, TypeError, r"metadata\['x'\]\[0\] is a set"),
        (float("nan"), ValueError, r"metadata\['x'\]\[0\] is nan"),
        (2**64, ValueError, "does not fit in 64 bits"),
        ({1: 2}, TypeError, r"a key of metadata\['x'\]\[0\] is 1, a int; keys are str"),
    ],
)
def test_metadata_that_json_does_not_have_is_refused_by_name(value, error, message, path):
    with pytest.raises(error, match=message):
        onecopy.dump([1], path, metadata={"x": [value]})
    assert not path.exists()


# What is refused.


class Holder:
    def __init__(self, value):
        self.value = value


class Slotted:
    __slots__ = ("value",)

    def __init__(self, value):
        self.value = value


def local_function():
    def inner(x):
        return x

    return inner


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (lambda x: x, r"`0?.*value`, a function, cannot be stored: a lambda has no name"),
        (local_function(), r"`.*value`, a function, .*`local_function.<locals>.inner` is defined inside a function"),
        (io.StringIO, None),
        ("\ud800", r"`.*value`, a str, cannot be stored: its text holds a lone surrogate"),
        ((item for item in "ab"), r"`.*value`, a generator, cannot be stored"),
    ],
)
@pytest.mark.parametrize("holder", [Holder, Slotted])
def test_what_cannot_be_stored_is_named_with_the_way_to_it(value, message, holder, path):
    path.write_bytes(b"old")
    if message is None:
        onecopy.dump({"a": [holder(value)]}, path)
        return
    with pytest.raises(UnsupportedModelError, match=message) as caught:
        onecopy.dump({"a": [holder(value)]}, path)
    assert str(caught.value).startswith("`['a'][0].value`")
    assert path.read_bytes() == b"old"


def test_an_open_file_is_refused(path):
    with open(__file__) as file, pytest.raises(UnsupportedModelError, match=r"`\[0\]`, a _io.TextIOWrapper.*keep its path"):
        onecopy.dump([file], path)


def test_a_lambda_in_a_pipeline_is_found(path):
    model = make_pipeline(FunctionTransformer(lambda x: x), LogisticRegression()).fit(X, Y)
    with pytest.raises(UnsupportedModelError, match=r"`steps\[0\]\[1\].func`, a function"):
        onecopy.dump(model, path)


def test_objects_of_a_script_are_warned_of(path):
    script = "import onecopy, sys\nclass Clip: pass\nonecopy.dump(Clip(), sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True)
    assert "the model uses `__main__.Clip`, defined in a script" in done.stderr
    assert done.returncode == 0


def test_a_directory_that_is_not_there_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        onecopy.dump([1], tmp_path / "none" / "model.onecopy")
    assert caught.value.filename == str(tmp_path / "none" / "model.onecopy")


# Processes and files.


def test_a_killed_dump_leaves_the_old_file_and_nothing_else(path):
    onecopy.dump({"old": np.arange(3)}, path)
    before = path.read_bytes()
    script = """
        import sys, numpy as np, onecopy
        big = {"new": np.zeros(100_000_000)}
        print("ready", flush=True)
        onecopy.dump(big, sys.argv[1])
    """
    for wait in (0.0, 0.05, 0.2):
        args = [sys.executable, "-c", textwrap.dedent(script), path]
        with subprocess.Popen(args, stdout=subprocess.PIPE) as child:
            child.stdout.readline()
            time.sleep(wait)
            child.send_signal(signal.SIGKILL)
        assert path.read_bytes() == before
        assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_nodes_like_no_others_keep_every_bit(path):
    """Types are chosen by the first and the last nodes of each tree."""
    x = np.random.default_rng(0).normal(size=(3000, 4))
    forest = RandomForestClassifier(9, random_state=0).fit(x, x[:, 0] * x[:, 1] > np.random.default_rng(1).normal(size=3000))
    tree = forest.estimators_[5].tree_
    assert tree.node_count > 600
    state = tree.__getstate__()
    for field, value in {"n_node_samples": 2**40, "weighted_n_node_samples": 0.3, "impurity": -0.0}.items():
        state["nodes"][field][300] = value
    state["values"][301] = [[0.1, np.nan]]
    tree.__setstate__(state)
    for compress in (None, "fast"):
        onecopy.dump(forest, path, compress=compress)
        onecopy.verify(path)
        loaded = onecopy.load(path)
        for ours, theirs in zip(loaded.estimators_, forest.estimators_, strict=True):
            ours, theirs = ours.tree_.__getstate__(), theirs.tree_.__getstate__()
            assert ours["values"].tobytes() == theirs["values"].tobytes()
            for field in theirs["nodes"].dtype.names:
                assert ours["nodes"][field].tobytes() == theirs["nodes"][field].tobytes(), field


@pytest.mark.parametrize("when", ["reading", "writing", "publishing"])
@pytest.mark.parametrize("compress", [None, "fast"])
@pytest.mark.parametrize("numbers", [10, 50_000_000])
def test_an_exception_in_progress_ends_the_dump(path, numbers, compress, when):
    told = []

    def stop(step, done, total):
        told.append(step)
        if step in (when, "publishing"):
            raise KeyboardInterrupt(step)

    for before in (None, b"old"):
        if before is not None:
            path.write_bytes(before)
        with pytest.raises(KeyboardInterrupt):
            onecopy.dump(np.zeros(numbers), path, compress=compress, progress=stop)
        assert told[-1] in (when, "publishing")
        assert (path.read_bytes() if path.exists() else None) == before
        assert [entry.name for entry in path.parent.iterdir()] == ([] if before is None else [path.name])


def test_progress_is_told(path):
    told = []
    onecopy.dump(np.zeros(50_000_000), path, progress=lambda *args: told.append(args))
    assert told[-1] == ("publishing", path.stat().st_size, path.stat().st_size)
    assert all(step in ("reading", "writing") for step, _, _ in told[:-1])


def test_a_mapped_model_can_be_written_over_its_own_file(path):
    loaded = back({"a": np.arange(100_000.0)}, path)
    onecopy.dump({"a": loaded["a"], "b": 1}, path)
    assert loaded["a"].sum() == onecopy.load(path)["a"].sum()


def test_without_sync_the_file_is_the_same(path, tmp_path):
    onecopy.dump([X], path)
    onecopy.dump([X], tmp_path / "other", sync=False)
    assert path.read_bytes() == (tmp_path / "other").read_bytes()


def test_other_threads_run_while_a_file_is_written(path):
    import threading

    ticks = []
    stop = threading.Event()

    def tick():
        while not stop.wait(0.005):
            ticks.append(time.monotonic())

    thread = threading.Thread(target=tick)
    thread.start()
    begin = time.monotonic()
    onecopy.dump(np.zeros(40_000_000), path)
    end = time.monotonic()
    stop.set()
    thread.join()
    assert sum(begin < at < end for at in ticks) >= (end - begin) / 0.1


# Vocabularies, which are read at once.


def vectorizer(vocabulary, kind=CountVectorizer):
    model = kind().fit(["a text", "another text"])
    model.vocabulary_ = vocabulary
    return model


def ordinary(obj, path, monkeypatch):
    """The bytes of the file if every term is pickled."""
    with monkeypatch.context() as patch:
        patch.setattr("onecopy._dump._VECTORIZERS", {})
        onecopy.dump(obj, path)
    return path.read_bytes()


def vocabularies():
    words = [f"wört {number}" if number % 3 else f"word {number}" for number in range(2000)]
    yield "int", {word: number for number, word in enumerate(words)}, 1
    yield "numpy.int64", {word: np.int64(number) for number, word in enumerate(reversed(words))}, 1
    yield "any int that fits", {word: 2**63 - 1 - number for number, word in enumerate(words)}, 1
    yield "small", {word: 1 for word in words[:1023]}, 0
    yield "just big enough", {word: 1 for word in words[:1024]}, 1
    yield "mixed", {word: np.int64(1) if number == 7 else 1 for number, word in enumerate(words)}, 0
    yield "bool", {word: number == 7 or number for number, word in enumerate(words)}, 0
    yield "big int", {word: 2**63 if number == 7 else 1 for number, word in enumerate(words)}, 0
    yield "float", {word: 1.0 for word in words}, 0
    yield "int32", {word: np.int32(1) for word in words}, 0
    yield "surrogate", {**dict.fromkeys(words, 1), "\ud800": 2}, 0
    yield "keys of a subclass", {np.str_(word): 1 for word in words}, 0
    yield "keys of other types", {**dict.fromkeys(words, 1), 7: 1}, 0
    yield "dict of a subclass", Counter(words), 0


@pytest.mark.parametrize(
    ("vocabulary", "count"),
    [(vocabulary, count) for _, vocabulary, count in vocabularies()],
    ids=[name for name, *_ in vocabularies()],
)
def test_a_vocabulary_read_at_once_gives_the_file_that_its_terms_would(vocabulary, count, path, monkeypatch):
    for kind in (CountVectorizer, TfidfVectorizer):
        model = vectorizer(vocabulary, kind)
        assert len(onecopy._dump._pickled(model)[2]) == count
        try:
            expected = ordinary(model, path, monkeypatch)
        except UnsupportedModelError:
            with pytest.raises(UnsupportedModelError):
                onecopy.dump(model, path)
            continue
        onecopy.dump(model, path)
        assert path.read_bytes() == expected
        assert model.vocabulary_ is vocabulary


def test_a_vocabulary_read_at_once_comes_back_in_its_order(path):
    for count, vocabulary in enumerate([big(), {word: np.int64(column) for word, column in reversed(big().items())}]):
        loaded = back(vectorizer(vocabulary), path).vocabulary_
        assert list(loaded.items()) == list(vocabulary.items())
        assert {type(column) for column in loaded.values()} == {(int, np.int64)[count]}


def big():
    return {f"word {number}": number for number in range(1500)}


class Stemming(CountVectorizer):
    """A vectorizer of the user's own."""


def test_a_vocabulary_that_something_else_holds_too_stays_one_dict(path, monkeypatch):
    shared = big()
    one = vectorizer(shared)
    objects = {
        "two vectorizers": ([one, vectorizer(shared)], 1),
        "a dict before": ([shared, one], 0),
        "a dict behind": ([one, {"same": shared}], 0),
        "its own attributes": ([one, vars(one)], 0),
        "a pipeline": (make_pipeline(one, LogisticRegression()), 1),
        "two dicts": ([one, vectorizer(big())], 2),
        "a class of the user's own": ([vectorizer(big(), Stemming)], 0),
    }
    for name, (obj, count) in objects.items():
        assert len(onecopy._dump._pickled(obj)[2]) == count, name
        expected = ordinary(obj, path, monkeypatch)
        onecopy.dump(obj, path)
        assert path.read_bytes() == expected, name
    onecopy.dump([one, vectorizer(shared)], path)
    first, second = onecopy.load(path)
    assert first.vocabulary_ is second.vocabulary_


def test_a_loaded_vocabulary_is_dumped_to_the_same_bytes(path, tmp_path):
    onecopy.dump(vectorizer(big(), TfidfVectorizer), path)
    again = tmp_path / "again.onecopy"
    onecopy.dump(onecopy.load(path), again)
    assert path.read_bytes() == again.read_bytes()


def test_what_the_user_told_copyreg_about_vectorizers_holds(path, monkeypatch):
    monkeypatch.setitem(copyreg.dispatch_table, CountVectorizer, lambda model: (CountVectorizer, ()))
    model = back(vectorizer(big()), path, trusted=["sklearn.feature_extraction.text.CountVectorizer"])
    assert not hasattr(model, "vocabulary_")


def test_a_vocabulary_has_no_other_pickle():
    terms = onecopy._onecopy.Terms.of(big(), 3)
    with pytest.raises(TypeError):
        pickle.loads(pickle.dumps(terms))
    with pytest.raises(TypeError):
        onecopy._onecopy.Terms(3)
    for other in ([], {}, {"a": 1}, None, "word"):
        assert onecopy._onecopy.Terms.of(other, 0) is None
