"""`onecopy.load` gives back what was dumped: values, types, sharing, cycles, on memory of the file."""

import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import warnings
from collections import OrderedDict, defaultdict

import numpy as np
import onecopy
import pytest
import scipy.sparse
import sklearn.base
from estimators import answers, cases, difference
from sklearn.cluster import Birch
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.exceptions import InconsistentVersionWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier
from sklearn.tree._tree import Tree

MODES = ["r", "c", None]


@pytest.fixture
def dumped(tmp_path):
    def path(value, name="object.onecopy"):
        onecopy.dump(value, tmp_path / name)
        return tmp_path / name

    return path


@pytest.fixture
def again(dumped):
    def load(value, **how):
        return onecopy.load(dumped(value), **how)

    return load


@pytest.fixture
def from_pickle(tmp_path):
    """An object of hand-written opcodes."""

    def load(opcodes, **how):
        (tmp_path / "hand.pkl").write_bytes(opcodes)
        onecopy.convert(tmp_path / "hand.pkl", tmp_path / "hand.onecopy")
        return onecopy.load(tmp_path / "hand.onecopy", **how)

    return load


@pytest.fixture(scope="module")
def table():
    rng = np.random.RandomState(0)
    X = rng.normal(size=(300, 6))
    return X, (X[:, 0] + X[:, 1] > 0).astype(int) + (X[:, 2] > 0.5)


def run(code, *args, **options):
    """Run a program in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, args)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=300,
        **options,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.filterwarnings("ignore")
def test_every_estimator_answers_the_same_in_every_mode(dumped):
    wrong = {}
    for case in cases():
        path = dumped(case.estimator)
        for mode in MODES:
            before = answers(pickle.loads(pickle.dumps(case.estimator)), case.fresh)
            found = difference(before, answers(onecopy.load(path, mmap_mode=mode), case.fresh))
            if found:
                wrong[case.name, mode] = found
    assert not wrong


def test_plain_values_keep_type_and_bits(again):
    values = [
        None, True, False, 0, -1, 2**62, 2**63, -(2**63), -(2**63) - 1, 10**40, -(10**40), 0.1, -0.0, float("inf"), "",
        "Stra\u00dfe", "\U0001f600", b"", b"\x00\xff", b"x" * 5000, bytearray(b"abc"), (), (1,), [], [[]], {}, set(),
        frozenset(), {1, "1"}, frozenset({(1, 2), None}), 1 + 2j, range(3), slice(1, None, 2), Ellipsis,
    ]  # fmt: skip
    assert difference(values, again(values)) is None
    assert np.isnan(again(float("nan")))


def test_keys_of_dicts_keep_their_type_and_order(again):
    keys = [2, "2", True, None, 1.5, (1, "a"), b"k", frozenset({1}), np.int64(7), np.str_("n"), int, 2**70]
    loaded = again({key: index for index, key in enumerate(keys)})
    assert [type(key) for key in loaded] == [type(key) for key in keys]
    assert list(loaded) == keys
    assert list(loaded.values()) == list(range(len(keys)))


def test_dicts_of_other_classes_come_back(again):
    value = [OrderedDict([("b", 1), ("a", 2)]), defaultdict(list, {"x": [1]})]
    assert difference(value, again(value)) is None


@pytest.mark.parametrize("mode", MODES)
def test_what_was_one_object_is_one_object(again, mode):
    array, items, state = np.arange(1000.0), [1], np.random.RandomState(3)
    loaded = again({"a": array, "b": [array, array], "c": (items, items), "d": [state, state]}, mmap_mode=mode)
    assert loaded["a"] is loaded["b"][0] is loaded["b"][1]
    assert loaded["c"][0] is loaded["c"][1]
    assert loaded["d"][0] is loaded["d"][1]


def test_cycles_survive(again):
    items, pairs = [1], {}
    items.append(items)
    pairs["self"] = pairs
    loop = ([],)
    loop[0].append(loop)
    cells = np.empty(2, dtype=object)
    cells[0] = cells
    items, pairs, loop, cells = again([items, pairs, loop, cells])
    assert items[1] is items
    assert pairs["self"] is pairs
    assert loop[0][0] is loop
    assert cells[0] is cells


def test_a_cycle_through_nested_tuples_survives(again):
    inner = []
    outer = ((inner, {"k": inner}), 1)
    inner.append(outer)
    inner.append(outer[0])
    loaded = again(outer)
    assert loaded[0][0][0] is loaded
    assert loaded[0][0][1] is loaded[0]
    assert loaded[0][1]["k"] is loaded[0][0]


def test_birch_keeps_its_ring_of_leaves(again, table):
    model = Birch(threshold=0.5, n_clusters=None).fit(table[0])
    loaded = again(model)
    leaf, count = loaded.dummy_leaf_.next_leaf_, 0
    while leaf is not None:
        assert leaf.prev_leaf_.next_leaf_ is leaf
        leaf, count = leaf.next_leaf_, count + 1
    assert count > 2
    assert difference(model.__dict__, loaded.__dict__) is None


@pytest.mark.parametrize("mode", MODES)
def test_arrays_keep_dtype_shape_order_and_class(again, mode):
    table = np.arange(24.0).reshape(2, 3, 4)
    values = {
        "fortran": np.asfortranarray(table), "axes": table.transpose(1, 0, 2), "big": np.arange(5, dtype=">i4"),
        "empty": np.zeros((0, 3)), "scalar array": np.array(7.0), "none": np.array(None), "text": np.array(["ab", "c"]),
        "bytes": np.array([b"ab", b"c"]), "half": np.arange(4, dtype="f2"), "complex": np.arange(4) * 1j,
        "dates": np.array(["2020-01-01", "NaT"], dtype="M8[D]"), "spans": np.array([3], dtype="m8[25s]"),
        "records": np.array([(1, 2.5), (3, 4.5)], dtype=[("a", "i1"), ("b", "f8")]),
        "padded": np.array([(1, 2.5)] * 3, dtype=np.dtype([("a", "i1"), ("b", "f8")], align=True)),
        "fields of arrays": np.ones(2, dtype=[("s", "f4", (2, 2))]), "matrix": np.matrix([[1, 2], [3, 4]]),
        "record class": np.rec.array([(1, "a")], dtype=[("n", "i4"), ("t", "U2")]),
        "masked": np.ma.array([1.0, 2.0, 3.0], mask=[0, 1, 0]), "long double": np.arange(3, dtype=np.longdouble),
        "objects": np.array([[1, "a"], [None, (1, 2)]], dtype=object),
        "objects in columns": np.asfortranarray(np.array([[1, "a"], [None, (1, 2)]], dtype=object)),
        "strided": np.arange(20)[::3], "reversed": np.arange(6)[::-1], "booleans": np.array([True, False]),
    }  # fmt: skip
    assert difference(values, again(values, mmap_mode=mode)) is None


def test_numpy_scalars_keep_their_exact_type(again):
    values = [
        np.float64(0.1), np.float32(0.1), np.float16(0.1), np.int8(-3), np.uint64(2**64 - 1), np.bool_(True),
        np.str_("text"), np.str_(""), np.bytes_(b"b"), np.datetime64("2020-01-01", "ns"), np.timedelta64(5, "s"),
        np.complex64(1 + 2j), np.dtype("f8"), np.dtype(">i4"), np.dtype([("a", "i1"), ("b", "f8")]), np.dtype("M8[25s]"),
    ]  # fmt: skip
    loaded = again(values)
    assert difference(values, loaded) is None
    assert [type(value) for value in loaded] == [type(value) for value in values]


@pytest.mark.parametrize("kind", ["csr", "csc", "coo", "bsr", "dia", "lil", "dok"])
@pytest.mark.parametrize("make", [scipy.sparse.random, scipy.sparse.random_array])
def test_sparse_matrices_come_back(again, kind, make):
    matrix = make(*([20, 10] if make is scipy.sparse.random else [(20, 10)]), density=0.2, rng=0).asformat(kind)
    loaded = again(matrix)
    assert type(loaded) is type(matrix)
    assert loaded.dtype == matrix.dtype
    assert (loaded.toarray() == matrix.toarray()).all()


@pytest.mark.parametrize("kind", ["MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64"])
def test_random_states_go_on_as_they_would_have(again, kind):
    generator = np.random.Generator(getattr(np.random, kind)(5))
    generator.normal(size=3)
    state = np.random.RandomState(7)
    state.normal(size=3)
    loaded, loaded_state = again((generator, state))
    assert (generator.normal(size=9) == loaded.normal(size=9)).all()
    assert (state.normal(size=9) == loaded_state.normal(size=9)).all()
    assert (generator.spawn(1)[0].random(3) == loaded.spawn(1)[0].random(3)).all()


def test_data_frames_come_back(again):
    pd = pytest.importorskip("pandas")
    with pd.option_context("future.infer_string", False):
        frame = pd.DataFrame(
            {
                "n": [1, 2, 3], "x": [0.5, np.nan, 1.5], "t": ["a", "b", None], "c": pd.Categorical(["u", "v", "u"]),
                "d": pd.date_range("2020-01-01", periods=3), "i": pd.array([1, None, 3], dtype="Int64"),
            },
            index=pd.Index([5, 6, 7], name="key"),
        )  # fmt: skip
    loaded = again({"frame": frame, "column": frame["x"], "index": frame.index})
    pd.testing.assert_frame_equal(loaded["frame"], frame)
    pd.testing.assert_series_equal(loaded["column"], frame["x"])
    pd.testing.assert_index_equal(loaded["index"], frame.index)


def test_what_pandas_had_computed_of_a_type_is_computed_anew(again):
    pd = pytest.importorskip("pandas")
    column = pd.Series([1, None, 3], dtype="Int64")
    assert column.dtype.numpy_dtype == np.int64 and vars(column.dtype)
    pd.testing.assert_series_equal(again(column), column)
    vars(column.dtype)["_cache"]["numpy_dtype"] = np.dtype("M8[s]")
    assert again(column).dtype.numpy_dtype == np.int64
    vars(column.dtype)["name"] = "other"
    with pytest.raises(onecopy.FormatError, match="nothing but what pandas computes"):
        again(column)


# Modes


def test_mode_r_gives_read_only_views_of_the_file(again):
    loaded = again({"a": np.arange(1000.0), "s": scipy.sparse.eye(50).tocsr()})
    with pytest.raises(ValueError, match="read-only"):
        loaded["a"][0] = 1
    with pytest.raises(ValueError, match="read-only"):
        loaded["s"].data[0] = 1
    with pytest.raises(ValueError, match="WRITEABLE"):
        loaded["a"].flags.writeable = True


def test_mode_c_keeps_changes_private(dumped):
    path = dumped({"a": np.arange(1000.0)})
    before = path.read_bytes()
    one, other = (onecopy.load(path, mmap_mode="c")["a"] for _ in range(2))
    one[0] = 5
    assert (one[0], other[0], onecopy.load(path)["a"][0]) == (5, 0, 0)
    assert path.read_bytes() == before


def test_mode_none_gives_ordinary_arrays(dumped, table):
    loaded = onecopy.load(dumped({"a": np.arange(1000.0)}), mmap_mode=None)["a"]
    assert loaded.flags.owndata and loaded.flags.writeable
    tree = onecopy.load(dumped(DecisionTreeClassifier().fit(*table)), mmap_mode=None)
    assert type(tree.tree_) is Tree
    forest = onecopy.load(dumped(RandomForestClassifier(3).fit(*table)), mmap_mode=None)
    assert type(forest) is RandomForestClassifier
    assert isinstance(vars(forest)["estimators_"], list)


@pytest.mark.parametrize("mode", ["r+", "w+", "w", "", "R"])
def test_other_modes_are_refused(dumped, mode):
    with pytest.raises(ValueError, match="mmap_mode"):
        onecopy.load(dumped([1]), mmap_mode=mode)


# Ensembles are built when someone looks


def test_the_trees_of_a_forest_are_built_at_the_first_look(again, table):
    model = RandomForestClassifier(20, random_state=0).fit(*table)
    loaded = again(model)
    assert type(vars(loaded)["estimators_"]).__name__ == "Part"
    assert (loaded.predict_proba(table[0]) == model.predict_proba(table[0])).all()
    first = loaded.estimators_[0]
    assert len(loaded.estimators_) == 20
    assert loaded.estimators_[0] is first
    assert type(vars(loaded)["estimators_"]) is list
    assert difference(model.__dict__, dict(loaded.__dict__)) is None


def test_a_random_state_shared_with_the_trees_is_shared_after_they_are_built(again, table):
    model = GradientBoostingClassifier(n_estimators=3, random_state=np.random.RandomState(1)).fit(*table)
    shared = model.estimators_[0, 0].random_state
    assert shared is model._rng
    loaded = again(model)
    before = loaded._rng
    assert loaded.estimators_[0, 0].random_state is loaded.estimators_[2, 1].random_state is before


def test_two_ensembles_share_the_trees_that_they_shared(again, table):
    one = RandomForestClassifier(5, random_state=0).fit(*table)
    other = sklearn.base.clone(one).fit(*table)
    other.estimators_ = [*one.estimators_[:2], *other.estimators_[2:]]
    third = sklearn.base.clone(one).fit(*table)
    third.estimators_ = one.estimators_
    one, other, third, tree = again([one, other, third, one.estimators_[1]])
    assert other.estimators_[1] is tree
    assert one.estimators_[0] is other.estimators_[0]
    assert one.estimators_[1] is tree
    assert one.estimators_[2] is not other.estimators_[2]
    assert third.estimators_ is one.estimators_


# The file


def test_arrays_outlive_their_file_its_name_and_its_model(dumped, table):
    model = LogisticRegression().fit(*table)
    path = dumped(model)
    kept = onecopy.load(path).coef_
    loaded = onecopy.load(path)
    replaced = dumped(LogisticRegression(C=1e-6).fit(*table), "other.onecopy")
    os.replace(replaced, path)
    assert (loaded.coef_ == model.coef_).all()
    os.remove(path)
    assert (kept == model.coef_).all()
    assert (loaded.predict_proba(table[0]) == model.predict_proba(table[0])).all()


def test_a_forest_of_1500_trees_takes_one_mapping_and_no_descriptors(dumped, table):
    model = RandomForestClassifier(1500, max_depth=3, random_state=0).fit(*table)
    np.save(dumped(model).with_suffix(".npy"), model.predict_proba(table[0]))
    np.save(dumped(model).with_suffix(".x.npy"), table[0])
    out = run(
        """
        import os, resource, sys
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
        import numpy as np, onecopy
        path = sys.argv[1]
        model = onecopy.load(path)
        trees = [tree.tree_.threshold for tree in model.estimators_]
        x = np.load(path.replace(".onecopy", ".x.npy"))
        assert (model.predict_proba(x) == np.load(path.replace(".onecopy", ".npy"))).all()
        maps = [line for line in open("/proc/self/maps") if line.rstrip().endswith(os.path.basename(path))]
        files = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}")]
        print(len(maps), sum(os.path.basename(path) in file for file in files))
        """,
        dumped(model),
    )
    assert out.split() == ["1", "1"]


def test_a_forked_process_predicts_the_same(again, table):
    model = RandomForestClassifier(10, random_state=0).fit(*table)
    loaded, expected = again(model), model.predict_proba(table[0])
    for look_first in [False, True]:
        if look_first:
            assert (loaded.predict_proba(table[0]) == expected).all()
        child = os.fork()
        if child == 0:
            same = (loaded.predict_proba(table[0]) == expected).all() and len(loaded.estimators_) == 10
            os._exit(0 if same else 1)
        assert os.waitpid(child, 0)[1] == 0


def test_a_child_that_is_forked_while_a_thread_builds_the_trees_builds_its_own(dumped, table):
    path = dumped(RandomForestClassifier(300, random_state=0).fit(*table))
    inherited = 0
    for attempt in range(10):
        loaded = onecopy.load(path)
        thread = threading.Thread(target=lambda forest: forest.estimators_, args=(loaded,))
        thread.start()
        child = os.fork()
        if child == 0:
            signal.alarm(30)
            os._exit(0 if len(loaded.estimators_) == 300 else 1)
        inherited += thread.is_alive()
        assert os.waitpid(child, 0)[1] == 0
        thread.join()
    assert inherited, "no fork met a thread that was building"


@pytest.mark.parametrize("mode", MODES)
def test_an_archive_is_restored_into_memory(dumped, tmp_path, table, mode):
    model = RandomForestClassifier(10, random_state=0).fit(*table)
    onecopy.archive(dumped(model), tmp_path / "cold.onecopy")
    loaded = onecopy.load(tmp_path / "cold.onecopy", mmap_mode=mode)
    assert (loaded.predict_proba(table[0]) == model.predict_proba(table[0])).all()
    assert difference(model.estimators_, loaded.estimators_) is None


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        onecopy.load(tmp_path / "none.onecopy")
    assert caught.value.filename == str(tmp_path / "none.onecopy")


# Safety


def test_deep_lists_and_dicts_load(from_pickle):
    deep = from_pickle(b"\x80\x04" + b"]" * 9000 + b"a" * 8999 + b".")
    for _ in range(8999):
        (deep,) = deep
    assert deep == []
    deep = from_pickle(b"\x80\x04" + b"}K\x01" * 9000 + b"N" + b"s" * 9000 + b".")
    for _ in range(9000):
        deep = deep[1]
    assert deep is None


def test_deep_tuples_are_refused_as_python_hashes_them_by_recursion(from_pickle):
    with pytest.raises(onecopy.FormatError, match="directly in one another"):
        from_pickle(b"\x80\x04)" + b"\x85" * 9000 + b".")


def test_a_set_in_itself_is_refused(from_pickle):
    with pytest.raises(onecopy.OnecopyError):
        from_pickle(b"\x80\x04\x8f\x94(h\x00\x90.")


def test_keys_made_to_collide_are_refused(again):
    with pytest.raises(onecopy.FormatError, match="hash"):
        again({index * (2**61 - 1): index for index in range(2000)})


def test_types_of_ones_own_need_trust(tmp_path):
    (tmp_path / "shop.py").write_text(
        textwrap.dedent(
            """
            from pathlib import Path
            from sklearn.base import BaseEstimator, TransformerMixin

            (Path(__file__).parent / "imported").touch()

            class Slots:
                __slots__ = ("low", "high", "__dict__")

            class Clip(TransformerMixin, BaseEstimator):
                def __init__(self, low=0.0):
                    self.low = low

                def fit(self, X, y=None):
                    self.range_ = Slots()
                    self.range_.low, self.range_.high, self.range_.note = self.low, X.max(0), "fitted"
                    return self

                def transform(self, X):
                    return X.clip(self.range_.low, self.range_.high)
            """
        )
    )
    run(
        """
        import sys
        sys.path.insert(0, sys.argv[1])
        import numpy as np, onecopy, shop
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        X = np.arange(12.0).reshape(6, 2)
        onecopy.dump(make_pipeline(shop.Clip(2.0), StandardScaler()).fit(X), sys.argv[1] + "/pipeline.onecopy")
        """,
        tmp_path,
    )
    (tmp_path / "imported").unlink()
    out = run(
        """
        import os, sys
        sys.path.insert(0, sys.argv[1])
        import numpy as np, onecopy
        path, mark = sys.argv[1] + "/pipeline.onecopy", sys.argv[1] + "/imported"
        try:
            onecopy.load(path)
        except onecopy.UntrustedTypesError as error:
            assert error.types == ["shop.Clip", "shop.Slots"], error.types
            assert "trusted=" in str(error)
        assert "shop" not in sys.modules and "sklearn" not in sys.modules and not os.path.exists(mark)
        for wrong in [["shop.Clip"], ["shop"], ["shop.*"], ["sklearn"]]:
            try:
                onecopy.load(path, trusted=wrong)
                raise SystemExit(f"loaded with trusted={wrong}")
            except onecopy.UntrustedTypesError:
                assert not os.path.exists(mark)
        for wrong in [True, "shop.Clip", [1]]:
            try:
                onecopy.load(path, trusted=wrong)
                raise SystemExit(f"loaded with trusted={wrong}")
            except TypeError:
                assert not os.path.exists(mark)
        model = onecopy.load(path, trusted=["shop.Clip", "shop.Slots"])
        assert model[0].range_.note == "fitted" and model[0].range_.low == 2.0
        print(model.transform(np.arange(12.0).reshape(6, 2)).sum(0).tolist())
        """,
        tmp_path,
    )
    assert len(eval(out)) == 2


def test_another_version_of_scikit_learn_warns(dumped, monkeypatch, table):
    with monkeypatch.context() as patch:
        patch.setattr(sklearn.base, "__version__", "1.0.2")
        path = dumped([StandardScaler().fit(table[0]), RandomForestClassifier(3).fit(*table)])
    for mode in MODES:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            scaler, forest = onecopy.load(path, mmap_mode=mode)
            assert len(forest.estimators_) == 3
        found = {warning.message.estimator_name for warning in caught if warning.category is InconsistentVersionWarning}
        assert found >= {"StandardScaler", "RandomForestClassifier", "DecisionTreeClassifier"}
        assert not hasattr(scaler, "_sklearn_version")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(InconsistentVersionWarning):
            onecopy.load(path)


# What `fit` changes in place

CHANGED_IN_PLACE = {
    "BernoulliNB", "BernoulliRBM", "Birch", "CategoricalNB", "ComplementNB", "ElasticNet", "GaussianNB",
    "HistGradientBoostingClassifier", "HistGradientBoostingRegressor", "Lasso", "LatentDirichletAllocation",
    "MLPClassifier", "MLPRegressor", "MiniBatchDictionaryLearning", "MiniBatchKMeans", "MiniBatchNMF",
    "MultiTaskElasticNet", "MultiTaskLasso", "MultinomialNB",
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")
def test_partial_fit_and_warm_start_go_on_from_a_read_only_model(dumped):
    for case in cases(CHANGED_IN_PLACE):
        path = dumped(case.estimator)
        content = path.read_bytes()
        fresh = pickle.loads(pickle.dumps(case.estimator))
        for estimator in [fresh, loaded := onecopy.load(path)]:
            rows = case.fresh["X"], case.fresh.get("y")
            if hasattr(estimator, "partial_fit"):
                estimator.partial_fit(*rows)
                estimator.partial_fit(*rows)
            else:
                estimator.set_params(warm_start=True, max_iter=estimator.max_iter + 5).fit(*rows)
        assert difference(answers(fresh, case.fresh), answers(loaded, case.fresh)) is None, case.name
        assert path.read_bytes() == content
