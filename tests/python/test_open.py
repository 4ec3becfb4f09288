"""`onecopy.open`: predictions without scikit-learn, from whatever scikit-learn accepts."""

import html.parser
import gc
import os
import subprocess
import sys
import threading
import warnings

import numpy as np
import pandas as pd
import pyarrow
import pytest
import scipy.sparse
from sklearn.ensemble import ExtraTreesRegressor, RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

import onecopy
from model_files import make, outcome, same

RNG = np.random.default_rng(5)
X = RNG.normal(size=(300, 6)) * [1, 10, 1e-3, 1, 5, 2]
TEXT = np.array(["no", "yes", "perhaps"])[RNG.integers(0, 3, 300)]
REAL = X @ RNG.normal(size=6)
FRESH = RNG.normal(size=(200, 6)) * [1, 10, 1e-3, 1, 5, 2]
NAMES = [f"column {i}" for i in range(6)]


def forest(**options):
    return RandomForestClassifier(15, random_state=0, n_jobs=1, **options)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A forest and its model file, opened."""
    model = forest().fit(X, TEXT)
    return model, onecopy.open(make(model, tmp_path_factory.mktemp("pair")))


MODELS = {
    "forest of words": (forest(), TEXT),
    "forest of ints": (forest(), RNG.integers(0, 4, 300)),
    "forest of bools": (forest(), RNG.integers(0, 2, 300).astype(bool)),
    "forest of two outputs": (forest(), RNG.integers(0, 3, (300, 2))),
    "regression forest": (RandomForestRegressor(15, random_state=0, n_jobs=1), REAL),
    "extra trees of two outputs": (ExtraTreesRegressor(9, random_state=0), np.c_[REAL, -REAL]),
    "tree": (DecisionTreeClassifier(random_state=0), TEXT),
    "scaled tree": (make_pipeline(StandardScaler(), DecisionTreeClassifier(random_state=0)), TEXT),
    "standard scaler": (StandardScaler(), REAL),
    "min-max scaler": (MinMaxScaler(clip=True), REAL),
}
INPUTS = {
    "float64": FRESH,
    "float32": FRESH.astype(np.float32),
    "Fortran order": np.asfortranarray(FRESH),
    "every other row backwards": FRESH[::-2],
    "every other column of twice as many": np.repeat(FRESH, 2, axis=1)[:, ::2],
    "ints": (FRESH * 10).astype(np.int64),
    "large ints": np.full((3, 6), 2**60 + 2**36 + 1),
    "small unsigned ints": np.abs(FRESH).astype(np.uint8),
    "bools": FRESH > 0,
    "objects": FRESH.astype(object),
    "big-endian": FRESH.astype(">f8"),
    "long double": FRESH.astype(np.longdouble),
    "list": FRESH.tolist(),
    "list of ints": (FRESH * 10).astype(int).tolist(),
    "tuple of arrays": tuple(FRESH),
    "broadcast row": np.broadcast_to(FRESH[0], (5, 6)),
    "read-only": np.frombuffer(FRESH.tobytes()).reshape(FRESH.shape),
    "unaligned": np.frombuffer(b"x" + FRESH.tobytes(), dtype=np.uint8)[1:].view("f8").reshape(FRESH.shape),
    "one row": FRESH[:1],
}


@pytest.mark.parametrize("name", MODELS)
def test_every_kind_of_input_gives_the_bits_of_scikit_learn(name, tmp_path):
    model, y = MODELS[name]
    model.fit(X, y)
    opened = onecopy.open(make(model, tmp_path))
    assert opened.methods
    for method in opened.methods:
        for kind, x in INPUTS.items():
            expected, found = getattr(model, method)(x), getattr(opened, method)(x)
            assert same(expected, found), (method, kind)


@pytest.mark.parametrize("model", [LinearRegression(), Ridge(), LogisticRegression(max_iter=300)], ids=str)
def test_linear_models_give_the_same_labels_and_close_values(model, tmp_path):
    y = TEXT if isinstance(model, LogisticRegression) else REAL
    model.fit(X, y)
    opened = onecopy.open(make(model, tmp_path))
    for kind in ("float64", "float32", "list", "ints", "Fortran order"):
        for method in opened.methods:
            expected, found = getattr(model, method)(INPUTS[kind]), getattr(opened, method)(INPUTS[kind])
            assert expected.shape == found.shape
            if expected.dtype.kind == "f":
                np.testing.assert_allclose(found, expected, rtol=1e-5 if kind == "float32" else 1e-10, atol=1e-7)
            else:
                assert same(expected, found)


def test_half_precision_is_taken_by_trees_and_refused_by_scalers(pair, tmp_path):
    model, opened = pair
    half = FRESH.astype(np.float16)
    assert same(model.predict_proba(half), opened.predict_proba(half))
    scaler = onecopy.open(make(StandardScaler().fit(X), tmp_path))
    with pytest.raises(ValueError, match="float16"):
        scaler.transform(half)


@pytest.mark.parametrize(
    "x",
    [FRESH[0], 3.0, FRESH[None], FRESH[:, :4], FRESH[:0], np.full((2, 6), np.inf), np.full((2, 6), 1e300),
     [["a"] * 6], FRESH * 1j, [[1.0] * 6, [2.0] * 5]],
    ids=["1-D", "scalar", "3-D", "narrow", "empty", "infinity", "too large", "text", "complex", "ragged"],
)
def test_what_scikit_learn_refuses_is_refused_with_the_same_type(pair, x):
    model, opened = pair
    with pytest.raises(ValueError) as expected:
        model.predict(x)
    with pytest.raises(type(expected.value)) as found:
        opened.predict(x)
    first = str(expected.value).split("\n")[0].split("(")[0][:30]
    assert str(found.value).startswith(first) or "could not convert" in first or "Input X" in first


def test_missing_values_are_taken_where_the_estimator_takes_them(pair, tmp_path):
    x = FRESH.copy()
    x[::3, 2] = np.nan
    model, opened = pair
    assert same(model.predict_proba(x), opened.predict_proba(x))
    linear = LogisticRegression(max_iter=300).fit(X, TEXT)
    opened = onecopy.open(make(linear, tmp_path))
    for predict in (linear.predict, opened.predict):
        with pytest.raises(ValueError, match="Input X contains NaN"):
            predict(x)


def test_frames_of_pandas_are_read_by_name(tmp_path):
    frame = pd.DataFrame(X, columns=NAMES)
    model = forest().fit(frame, TEXT)
    opened = onecopy.open(make(model, tmp_path))
    assert opened.feature_names_in_.tolist() == NAMES and opened.feature_names_in_.dtype == object
    fresh = pd.DataFrame(FRESH, columns=NAMES)
    mixed = fresh.astype({NAMES[0]: "float32", NAMES[1]: "int64", NAMES[2]: "bool"})
    missing = fresh.astype({NAMES[3]: "Float64"})
    missing.iloc[::4, 3] = pd.NA
    cases = [
        fresh, mixed, missing, fresh[NAMES[::-1]], fresh[NAMES[:4]], fresh.rename(columns={NAMES[1]: "other"}),
        FRESH, pd.DataFrame(FRESH), fresh.iloc[:1], fresh.rename(columns={NAMES[1]: 3}),
    ]
    for case in cases:
        (expected, said), (found, also_said) = outcome(model.predict_proba, case), outcome(opened.predict_proba, case)
        assert said == also_said
        assert expected == found if isinstance(expected, type) else same(expected, found)
    with pytest.raises(ValueError, match="unseen at fit time:\n- other\n.*yet now missing:\n- column 1\n"):
        opened.predict(cases[5])


def test_names_that_the_model_was_not_trained_with_are_remarked_on(pair):
    model, opened = pair
    frame = pd.DataFrame(FRESH, columns=NAMES)
    assert outcome(model.predict, frame)[1] == outcome(opened.predict, frame)[1] != []
    with pytest.raises(ValueError, match="Expected a 2-dimensional container"):
        opened.predict(frame.iloc[:, 0])


def test_the_remark_points_at_the_line_of_the_caller(pair):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pair[1].predict(pd.DataFrame(FRESH, columns=NAMES))
    assert [warning.filename for warning in caught] == [__file__]


def test_tables_of_pyarrow_are_read_without_pandas(tmp_path):
    model = forest().fit(pd.DataFrame(X, columns=NAMES), TEXT)
    opened = onecopy.open(make(model, tmp_path))
    table = pyarrow.table(dict(zip(NAMES, FRESH.T)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert same(model.predict_proba(pd.DataFrame(FRESH, columns=NAMES)), opened.predict_proba(table))
    with pytest.raises(ValueError, match="same order"):
        opened.predict(table.select(NAMES[::-1]))


@pytest.mark.parametrize("form", ["csr", "csc", "coo", "lil"])
def test_sparse_rows_become_dense_a_bounded_number_at_a_time(form, pair, monkeypatch):
    model, opened = pair
    x = scipy.sparse.csr_matrix(np.where(FRESH > 0, FRESH, 0)).asformat(form)
    monkeypatch.setattr("onecopy._input._DENSE_BYTES", 8 * 6 * 64)
    for method in opened.methods:
        assert same(getattr(model, method)(x), getattr(opened, method)(x)), method
    for wrong in (x[:, :3] if form == "csr" else x.tocsr()[:, :3], x.tocsr()[:0]):
        with pytest.raises(ValueError):
            opened.predict(wrong)


def test_sparse_rows_are_refused_where_means_are_subtracted(tmp_path):
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, TEXT)
    opened = onecopy.open(make(model, tmp_path))
    with pytest.raises(TypeError, match="dense data is required"):
        opened.predict(scipy.sparse.csr_matrix(FRESH))


def test_a_model_has_the_methods_of_its_estimator_and_no_other(pair, tmp_path):
    model, opened = pair
    assert opened.methods == ("predict", "predict_proba", "predict_log_proba", "apply")
    assert opened.native and opened.estimator == "RandomForestClassifier"
    assert not hasattr(opened, "transform") and "transform" not in dir(opened)
    with pytest.raises(AttributeError, match="`predict`, `predict_proba`"):
        opened.decision_function(FRESH)
    assert opened.predict.__doc__.startswith("Labels")
    assert same(model.classes_, opened.classes_) and opened.n_features_in_ == 6
    with pytest.raises(AttributeError):
        opened.feature_names_in_
    regressor = onecopy.open(make(Ridge().fit(X, REAL), tmp_path))
    assert not hasattr(regressor, "classes_")


def test_classes_of_several_outputs_are_a_list(tmp_path):
    model = forest().fit(X, RNG.integers(0, 3, (300, 2)))
    opened = onecopy.open(make(model, tmp_path))
    assert same(model.classes_, opened.classes_)


def test_an_estimator_that_is_not_covered_is_named_with_the_way_out(tmp_path):
    path = make(SVC().fit(X, TEXT), tmp_path)
    opened = onecopy.open(path)
    assert not opened.native and opened.methods == ()
    with pytest.raises(onecopy.UnsupportedModelError, match=r"SVC.*onecopy\.load") as caught:
        opened.predict(FRESH)
    assert path in str(caught.value)
    assert "support_vectors_" in opened.arrays


def test_metadata_types_and_digest_say_what_the_file_is(pair, tmp_path):
    model, _ = pair
    make(model, tmp_path)
    path = onecopy.convert(tmp_path / "model.joblib", tmp_path / "x.onecopy", metadata={"auc": 0.5})
    opened = onecopy.open(path)
    assert opened.metadata["user"] == {"auc": 0.5}
    assert opened.digest == onecopy.inspect(path)["digest"]
    assert "sklearn.ensemble._forest.RandomForestClassifier" in opened.types()
    assert opened.untrusted_types() == []


def test_a_file_that_names_what_nobody_trusts_opens_and_says_so(tmp_path):
    (tmp_path / "evil.pkl").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    opened = onecopy.open(onecopy.convert(tmp_path / "evil.pkl"))
    assert opened.types() == opened.untrusted_types() == ["os.system"]
    with pytest.raises(onecopy.UntrustedTypesError):
        onecopy.load(opened.path)


def test_arrays_are_views_that_keep_the_file_mapped(pair, tmp_path):
    path = make(pair[0], tmp_path)
    opened = onecopy.open(path)
    arrays = opened.arrays
    assert len(arrays) == len(list(arrays)) and "nothing" not in arrays and 3 not in arrays
    with pytest.raises(KeyError):
        arrays["nothing"]
    array = arrays["classes_"]
    assert not array.flags.writeable and not array.flags.owndata
    with pytest.raises(ValueError):
        array[0] = "x"
    with pytest.raises(ValueError):
        array.setflags(write=True)
    del opened, arrays
    gc.collect()
    os.unlink(path)
    assert same(np.asarray(pair[0].classes_), np.array(array))


def test_a_file_replaced_under_an_open_model_changes_nothing(pair, tmp_path):
    model, _ = pair
    path = make(model, tmp_path)
    opened = onecopy.open(path)
    make(forest(max_depth=1).fit(X, TEXT), tmp_path)
    assert same(model.predict_proba(FRESH), opened.predict_proba(FRESH))


def test_threads_share_a_model(pair):
    model, opened = pair
    expected = model.predict_proba(FRESH)
    wrong = []

    def work(threads):
        mine = opened if threads is None else onecopy.open(opened.path, threads=threads)
        for _ in range(30):
            if not same(expected, mine.predict_proba(FRESH)):
                wrong.append(threads)

    workers = [threading.Thread(target=work, args=(threads,)) for threads in (None, None, 1, 2, 3)]
    [worker.start() for worker in workers]
    [worker.join() for worker in workers]
    assert wrong == []


def test_the_interpreter_goes_on_while_the_engine_works(tmp_path):
    model = RandomForestRegressor(60, random_state=0).fit(X, REAL)
    opened = onecopy.open(make(model, tmp_path), threads=1)
    big, ticks, done = np.tile(FRESH, (2000, 1)), [], threading.Event()

    def tick():
        while not done.wait(0.001):
            ticks.append(None)

    thread = threading.Thread(target=tick)
    thread.start()
    opened.predict(big)
    done.set()
    thread.join()
    assert len(ticks) > 10


def test_threads_must_be_a_number_above_zero(pair):
    for wrong in (0, -1, "2"):
        with pytest.raises(ValueError, match="threads"):
            onecopy.open(pair[1].path, threads=wrong)


def test_representations_name_the_model_and_escape_what_the_file_says(pair, tmp_path):
    folder = tmp_path / "<b>&"
    folder.mkdir()
    opened = onecopy.open(make(pair[0], folder))
    assert "RandomForestClassifier" in repr(opened)
    text = opened._repr_html_()
    assert "<b>" not in text and "&lt;b&gt;&amp;" in text
    html.parser.HTMLParser().feed(text)


def test_opening_needs_neither_scikit_learn_nor_scipy_nor_pandas(pair):
    code = f"""
import sys, numpy, onecopy
model = onecopy.open({pair[1].path!r})
model.predict(numpy.zeros((3, 6))), model.predict([[0] * 6]), model.metadata, model.types(), model.untrusted_types()
found = {{"sklearn", "scipy", "pandas", "joblib"}} & set(sys.modules)
assert not found, found
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
