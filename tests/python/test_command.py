"""What a person meets: tables with names, pools, archives, models that are not covered."""

import json

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.svm import SVC


@pytest.fixture(scope="module")
def forest():
    x, y = load_iris(return_X_y=True)
    return RandomForestClassifier(20, random_state=0).fit(x, y), x


@pytest.fixture
def named(forest):
    """A forest that was trained with column names."""
    model, x = forest
    model = RandomForestClassifier(20, random_state=0).fit(x, model.predict(x))
    model.feature_names_in_ = np.array(["length", "width", "petal length", "petal width"], dtype=object)
    return model, x


def write_csv(path, header, x):
    lines = [",".join(header)] if header else []
    path.write_text("\n".join(lines + [",".join(repr(float(value)) for value in row) for row in x]) + "\n")


def test_csv_and_npy_give_the_same_answers(onecopy, forest):
    model, x = forest
    path = onecopy.convert(model)
    write_csv(onecopy.folder / "x.csv", None, x)
    onecopy("predict", path, "x.csv", "--method", "predict_proba", "-o", "y.npy")
    assert np.load(onecopy.folder / "y.npy").tobytes() == model.predict_proba(x).tobytes()
    lines = onecopy("predict", path, "x.csv", "--method", "predict_proba").stdout.splitlines()
    found = np.array([[float(cell) for cell in line.split(",")] for line in lines])
    assert found.tobytes() == model.predict_proba(x).tobytes()


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_columns_are_matched_by_name(onecopy, named):
    model, x = named
    path = onecopy.convert(model)
    order = [2, 0, 3, 1]
    names = [str(model.feature_names_in_[at]) for at in order]
    write_csv(onecopy.folder / "x.csv", names + ["colour"], np.column_stack([x[:, order], np.ones(len(x))]))
    done = onecopy("predict", path, "x.csv", "-o", "y.npy")
    assert "another order" in done.stderr and "`colour`" in done.stderr
    assert np.array_equal(np.load(onecopy.folder / "y.npy"), model.predict(x))
    write_csv(onecopy.folder / "x.csv", names[:3], x[:, order[:3]])
    assert "column `width` of the model is missing" in onecopy("predict", path, "x.csv", expect=1).stderr


def test_a_pool_gives_what_scikit_learn_gives(onecopy, forest):
    model, x = forest
    path = onecopy.convert(model)
    np.save(onecopy.folder / "x.npy", x)
    args = ("pool", path, "x.npy", "--workers", 4, "--method", "predict_proba", "-o", "y.npy", "--json")
    report = json.loads(onecopy(*args).stdout)
    assert np.load(onecopy.folder / "y.npy").tobytes() == model.predict_proba(x).tobytes()
    assert len(report["workers"]) == 4 and report["restarts"] == 0
    assert all(worker["private_dirty"] < 5_000_000 and worker["pss"] > 0 for worker in report["workers"])


def test_an_archive_comes_back_whole(onecopy, forest):
    model, x = forest
    path = onecopy.folder / onecopy.convert(model)
    onecopy("archive", path)
    before = path.read_bytes()
    assert (onecopy.ask("model.cold.onecopy", x) == model.predict(x)).all()
    onecopy("restore", "model.cold.onecopy", "-o", "back.onecopy")
    assert (onecopy.folder / "back.onecopy").read_bytes() == before
    onecopy("verify", "model.cold.onecopy", "--digest")


@pytest.mark.parametrize("how", [[], ["--share", "memfd"], ["--guard", "memfd"]], ids=" ".join)
@pytest.mark.parametrize("name", ["model.onecopy", "model.cold.onecopy"])
def test_pools_share_archives_and_guarded_files(how, name, onecopy, forest):
    model, x = forest
    onecopy("archive", onecopy.convert(model))
    np.save(onecopy.folder / "x.npy", x)
    report = json.loads(onecopy("pool", name, "x.npy", "--workers", 3, "-o", "y.npy", "--json", *how).stdout)
    assert (np.load(onecopy.folder / "y.npy") == model.predict(x)).all() and len(report["workers"]) == 3


def test_the_cache_of_archives_can_be_listed_and_cleared(onecopy, forest):
    model, x = forest
    onecopy("archive", onecopy.convert(model))
    digest = json.loads(onecopy("inspect", "model.cold.onecopy", "--json").stdout)["digest"]
    np.save(onecopy.folder / "x.npy", x)
    onecopy("predict", "model.cold.onecopy", "x.npy", "--cache", "restored")
    listed = json.loads(onecopy("cache", "list", "--cache", "restored", "--json").stdout)
    [entry] = listed["entries"]
    assert entry["digest"] == digest and entry["bytes"] == listed["bytes"] == (onecopy.folder / "model.onecopy").stat().st_size
    assert entry["digest"] in onecopy("cache", "list", "--cache", "restored").stdout
    cleared = json.loads(onecopy("cache", "clear", "--cache", "restored", "--json").stdout)
    assert (cleared["entries"], cleared["bytes"]) == (1, entry["bytes"])
    assert json.loads(onecopy("cache", "list", "--cache", "restored", "--json").stdout)["entries"] == []


def test_a_cache_that_cannot_be_is_named_with_what_to_do(onecopy, forest):
    model, x = forest
    onecopy("archive", onecopy.convert(model))
    np.save(onecopy.folder / "x.npy", x)
    told = onecopy("predict", "model.cold.onecopy", "x.npy", "--cache", "x.npy/below", expect=1).stderr
    assert "x.npy/below" in told and "--cache" in told and "--share memfd" in told and "onecopy restore" in told


def test_a_model_that_is_not_covered_says_so_and_is_kept(onecopy, forest):
    _, x = forest
    model = SVC().fit(x, np.arange(len(x)) % 2)
    path = onecopy.convert(model)
    np.save(onecopy.folder / "x.npy", x)
    report = json.loads(onecopy("inspect", path, "--json").stdout)
    assert report["native"]["covered"] == "no" and "SVC" in report["native"]["what"]
    error = onecopy("predict", path, "x.npy", expect=1).stderr
    assert "SVC" in error and error.count("\n") == 1


def test_inspect_shows_types_versions_and_metadata(onecopy, named):
    model, _ = named
    onecopy.convert(model)
    (onecopy.folder / "card.json").write_text('{"auc": 0.91}')
    onecopy("convert", "model.joblib", "-o", "card.onecopy", "--metadata", "card.json")
    text = onecopy("inspect", "card.onecopy", "--arrays").stdout
    for expected in ("RandomForestClassifier", "1.9.1", "petal width", "auc", "predict.nodes"):
        assert expected in text, expected


def test_bench_compares_with_joblib(onecopy, forest):
    import sys

    model, _ = forest
    onecopy.convert(model)
    report = json.loads(onecopy("bench", "model.joblib", "--repeats", 2, "--python", sys.executable, "--json").stdout)
    assert report["identical"] is True and report["peer"]["load_s"] > 0 and report["open_s"] > 0
