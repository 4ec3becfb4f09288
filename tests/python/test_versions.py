"""Versions of real models in one folder: what they share, that each comes back, and what removing one leaves."""

import copy
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onecopy
import pytest
from sklearn.datasets import make_classification
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

X, Y = make_classification(6000, 20, n_informative=12, n_classes=3, random_state=0)
# Bytes that any version of a forest takes: index, graph, plan, and arrays of less than 16 KiB.
OF_ITS_OWN = 16_000
FOREST = RandomForestClassifier(20, random_state=1).fit(X, Y)


class Shelf:
    """A folder of versions, and the files that were archived beside it."""

    def __init__(self, folder):
        self.hot, self.folder = folder / "hot", folder / "shelf"
        self.hot.mkdir(), self.folder.mkdir()

    def keep(self, name, model, **options):
        """Archives a version; gives what is in its way of units."""
        hot = self.hot / f"{name}.onecopy"
        onecopy.dump(model, hot, **options)
        onecopy.archive(hot, self.folder / hot.name, base=self.folder)
        return onecopy.inspect(self.folder / hot.name)["units"]

    def size(self):
        """Bytes of all versions together."""
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())

    def ordinary(self, name):
        """Bytes of an archive that shares nothing."""
        hot = self.hot / f"{name}.onecopy"
        size = os.path.getsize(onecopy.archive(hot, self.hot / "ordinary"))
        os.remove(self.hot / "ordinary")
        return size

    def comes_back(self, name):
        """Whether a version is whole, and restored to every byte of what was archived."""
        path = self.folder / f"{name}.onecopy"
        onecopy.verify(path)
        back = Path(onecopy.restore(path, self.hot / "back"))
        return back.read_bytes() == (self.hot / path.name).read_bytes()


@pytest.fixture
def shelf(tmp_path):
    return Shelf(tmp_path)


def grown(model, key, first, second, y):
    """A model, and the same trained further."""
    model.set_params(warm_start=True, random_state=1, **{key: first}).fit(X, y)
    before = copy.deepcopy(model)
    return before, model.set_params(**{key: second}).fit(X, y)


@pytest.mark.parametrize(
    ("model", "key", "limit"),
    [
        (RandomForestClassifier(), "n_estimators", 0.4),
        (RandomForestRegressor(max_leaf_nodes=800), "n_estimators", 0.4),
        (HistGradientBoostingClassifier(max_iter=1), "max_iter", 0.5),
        (GradientBoostingClassifier(max_depth=6, subsample=0.3), "n_estimators", 0.6),
    ],
    ids=lambda value: type(value).__name__ if hasattr(value, "fit") else None,
)
def test_a_model_trained_further_costs_what_is_new_of_it(shelf, model, key, limit):
    """From 40 to 60 trees per class: a third of them is new."""
    y = X[:, 0] + X[:, 1] ** 2 if isinstance(model, RandomForestRegressor) else Y
    before, after = grown(model, key, 40, 60, y)
    shelf.keep("v1", before)
    first = shelf.size()
    units = shelf.keep("v2", after)
    added, alone = shelf.size() - first, shelf.ordinary("v2")
    print(f"{type(model).__name__}: {added} of {alone}, {added / alone:.2f}; the first {first / shelf.ordinary('v1'):.3f}")
    assert added < limit * alone and units["shared_with"] == 1
    assert first < 1.03 * shelf.ordinary("v1")
    assert shelf.comes_back("v1") and shelf.comes_back("v2")


def test_a_pipeline_of_which_one_step_changed_costs_that_step(shelf):
    shelf.keep("forest", FOREST)
    first = shelf.size()
    shelf.keep("standard", make_pipeline(StandardScaler().fit(X), FOREST))
    shelf.keep("min-max", make_pipeline(MinMaxScaler().fit(X), FOREST))
    added = shelf.size() - first
    print(f"two pipelines around a forest: {added} of {first}")
    assert added < 2 * OF_ITS_OWN
    assert all(map(shelf.comes_back, ("forest", "standard", "min-max")))


def test_neighbours_with_more_rows_cost_those_rows(shelf):
    """20 batches of 100 rows, after 4000: each shares all rows that were there."""
    model = KNeighborsClassifier(algorithm="brute")
    for batch in range(21):
        n = 4000 + 100 * batch
        shelf.keep(f"v{batch}", model.fit(X[:n], Y[:n]))
    print(f"21 versions: {shelf.size()}, the last alone {shelf.ordinary('v20')}")
    assert shelf.size() < 1.25 * shelf.ordinary("v20")
    assert all(shelf.comes_back(f"v{batch}") for batch in range(21))


def test_a_model_saved_again_with_other_metadata_costs_nothing(shelf):
    shelf.keep("v1", FOREST)
    first = shelf.size()
    units = shelf.keep("v2", FOREST, metadata={"auc": 0.93})
    assert units["own_bytes"] == 0
    assert shelf.size() - first < OF_ITS_OWN
    assert onecopy.open(shelf.folder / "v2.onecopy").metadata["user"] == {"auc": 0.93}
    assert shelf.comes_back("v2")


def test_a_refitted_forest_costs_what_an_ordinary_archive_does_and_says_so(shelf):
    shelf.keep("v1", FOREST)
    first = shelf.size()
    onecopy.dump(RandomForestClassifier(20, random_state=2).fit(X, Y), shelf.hot / "v2.onecopy")
    words = ["archive", shelf.hot / "v2.onecopy", "--base", shelf.folder, "-o", shelf.folder / "v2.onecopy"]
    told = subprocess.run([sys.executable, "-m", "onecopy", *words], check=True, capture_output=True, text=True)
    assert told.stdout.endswith("nothing is shared with older versions\n")
    added = shelf.size() - first
    print(f"refitted: {added} of {shelf.ordinary('v2')}")
    assert added < 1.01 * shelf.ordinary("v2")
    assert onecopy.inspect(shelf.folder / "v2.onecopy")["units"]["shared_bytes"] == 0


def test_versions_are_used_like_other_archives(shelf):
    before, after = grown(RandomForestClassifier(), "n_estimators", 10, 15, Y)
    shelf.keep("v1", before), shelf.keep("v2", after)
    for name, model in (("v1", before), ("v2", after)):
        path = shelf.folder / f"{name}.onecopy"
        for share in ({}, {"share": "memfd"}, {"guard": "memfd"}):
            assert np.array_equal(onecopy.open(path, **share).predict_proba(X), model.predict_proba(X))
        assert np.array_equal(onecopy.load(path).predict_proba(X), model.predict_proba(X))


def test_removing_an_old_version_keeps_what_the_new_one_needs(shelf):
    before, after = grown(RandomForestClassifier(), "n_estimators", 20, 30, Y)
    shelf.keep("v1", before), shelf.keep("v2", after)
    shelf.keep("other", RandomForestClassifier(20, random_state=9).fit(X, Y))
    os.remove(shelf.folder / "v1.onecopy")
    assert onecopy.prune(shelf.folder) < 0.05 * shelf.size()
    own = onecopy.inspect(shelf.folder / "other.onecopy")["units"]["own_bytes"]
    os.remove(shelf.folder / "other.onecopy")
    assert onecopy.prune(shelf.folder) == own
    assert shelf.comes_back("v2")


def test_an_archive_without_its_units_says_where_they_were_expected(shelf, tmp_path):
    shelf.keep("v1", FOREST)
    alone = shutil.copy(shelf.folder / "v1.onecopy", tmp_path / "alone.onecopy")
    told = r"alone\.onecopy.* needs unit [0-9a-f]{64} of .*/onecopy-units, which is not there"
    for use in (onecopy.open, onecopy.load, onecopy.verify, lambda path: onecopy.restore(path, tmp_path / "back")):
        with pytest.raises(onecopy.ChecksumError, match=told):
            use(alone)
    assert onecopy.inspect(alone)["units"]["missing"] > 0


def test_what_versions_cannot_share_with_is_refused(shelf, tmp_path):
    hot = onecopy.dump(FOREST, shelf.hot / "v1.onecopy") or shelf.hot / "v1.onecopy"
    with pytest.raises(onecopy.FormatError, match="is not an archive of versions: give the folder"):
        onecopy.archive(hot, shelf.hot / "cold", base=hot)
    with pytest.raises(onecopy.FormatError, match="lie in that folder"):
        onecopy.archive(hot, tmp_path / "cold", base=shelf.folder)
    with pytest.raises(FileNotFoundError):
        onecopy.archive(hot, base=tmp_path / "none")
    with pytest.raises(onecopy.FormatError, match="no `onecopy-units` in it"):
        onecopy.prune(tmp_path)
