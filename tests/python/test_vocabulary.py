"""A loaded text model's vocabulary is looked up in the file and behaves as the dict that it was."""

import copy
import gc
import os
import pickle
from collections.abc import Mapping

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import onecopy
from model_files import make
from onecopy._onecopy import MappedVocabulary

RNG = np.random.default_rng(3)
WORDS = np.array([f"wort{i}" if i % 3 else f"wört{i}" for i in range(6000)])
DOCUMENTS = [" ".join(WORDS[RNG.integers(0, 6000, 30)]) for _ in range(500)]
LABELS = RNG.integers(0, 2, 500)


@pytest.fixture(scope="module", params=["int", "numpy.int64"])
def pair(request, tmp_path_factory):
    """A vectorizer as trained, and as loaded. With `max_features` the columns are `numpy.int64`."""
    limit = 2000 if request.param == "numpy.int64" else None
    vectorizer = CountVectorizer(max_features=limit).fit(DOCUMENTS)
    return vectorizer, onecopy.load(make(vectorizer, tmp_path_factory.mktemp("vocabulary")))


@pytest.fixture
def dicts(pair):
    """The same vocabulary as a dict and as a mapping."""
    return pair[0].vocabulary_, pair[1].vocabulary_


def test_it_looks_up_as_the_dict_does(dicts):
    plain, mapped = dicts
    assert type(mapped) is MappedVocabulary and len(mapped) == len(plain)
    for term, column in plain.items():
        assert mapped[term] == column and type(mapped[term]) is type(column)
        assert term in mapped and mapped.get(term) == column
    for stranger in ("", "wort", "zzz", "\ud800", np.str_("nothing"), 3, None, ("a",), 1.5):
        assert stranger not in mapped and mapped.get(stranger) is None and mapped.get(stranger, 7) == 7
        with pytest.raises(KeyError) as found:
            mapped[stranger]
        assert found.value.args == (stranger,)
    assert mapped[np.str_(next(iter(plain)))] == next(iter(plain.values()))
    for look in (mapped.__getitem__, mapped.__contains__, mapped.get):
        with pytest.raises(TypeError, match="unhashable"):
            look([])


def test_it_iterates_in_the_order_of_the_dict(dicts):
    plain, mapped = dicts
    for view in ("keys", "values", "items"):
        expected, found = getattr(plain, view)(), getattr(mapped, view)()
        assert list(expected) == list(found) and len(expected) == len(found)
        assert list(reversed(expected)) == list(reversed(found))
        assert list(map(type, expected)) == list(map(type, found))
    assert list(plain) == list(mapped) and list(reversed(plain)) == list(reversed(mapped))
    iterator = iter(mapped)
    next(iterator)
    assert list(pickle.loads(pickle.dumps(iterator))) == list(plain)[1:] == list(iterator)


def test_its_views_are_sets_where_those_of_a_dict_are(dicts):
    plain, mapped = dicts
    some = set(list(plain)[:5]) | {"stranger"}
    assert mapped.keys() & some == plain.keys() & some and mapped.keys() - some == plain.keys() - some
    assert some | mapped.keys() == some | plain.keys() and mapped.keys() ^ some == plain.keys() ^ some
    assert mapped.keys() == plain.keys() and mapped.items() == plain.items() and mapped.items() >= set(plain.items())
    assert mapped.items() & {("stranger", 1)} == set() and mapped.keys().isdisjoint({"stranger"})
    first = next(iter(plain.items()))
    assert first in mapped.items() and (first[0], -1) not in mapped.items() and first[1] in mapped.values()
    assert -1 not in mapped.values()


def test_it_compares_copies_and_joins_as_the_dict_does(dicts):
    plain, mapped = dicts
    assert mapped == plain and plain == mapped and not mapped != plain and mapped == mapped
    less = dict(list(plain.items())[:-1])
    other = {**less, "stranger": 1}
    changed = {**plain, next(iter(plain)): -1}
    for unlike in (less, other, changed, {}, None, list(plain)):
        assert mapped != unlike and unlike != mapped and not mapped == unlike
    for made in (mapped.copy(), dict(mapped), copy.copy(mapped), copy.deepcopy(mapped), {**mapped}):
        assert type(made) is dict and made == plain and list(made) == list(plain)
    assert mapped | {"stranger": 1} == plain | {"stranger": 1} and {"stranger": 1} | mapped == {"stranger": 1} | plain
    assert type(mapped | mapped) is dict
    assert repr(mapped) == repr(plain) and bool(mapped)
    assert isinstance(mapped, Mapping)
    with pytest.raises(TypeError, match="unhashable"):
        hash(mapped)


def test_it_refuses_changes_and_says_how_to_make_them(dicts):
    _, mapped = dicts
    attempts = [
        lambda: mapped.__setitem__("a", 1), lambda: mapped.__delitem__("a"), lambda: mapped.pop("a"),
        lambda: mapped.pop("a", 1), lambda: mapped.popitem(), lambda: mapped.clear(), lambda: mapped.update(a=1),
        lambda: mapped.update({"a": 1}), lambda: mapped.setdefault("a", 1), lambda: mapped.__ior__({"a": 1}),
    ]
    for attempt in attempts:
        with pytest.raises(TypeError, match=r"dict\(v\)"):
            attempt()


def test_pickles_hold_an_ordinary_dict(pair, tmp_path):
    vectorizer, loaded = pair
    joblib.dump(loaded, tmp_path / "loaded.joblib")
    copies = [pickle.loads(pickle.dumps(loaded, protocol)) for protocol in range(2, 6)]
    copies += [copy.deepcopy(loaded), joblib.load(tmp_path / "loaded.joblib")]
    for made in copies:
        assert type(made.vocabulary_) is dict and made.vocabulary_ == vectorizer.vocabulary_
        assert set(map(type, made.vocabulary_.values())) == set(map(type, vectorizer.vocabulary_.values()))


def test_every_method_of_the_vectorizer_works_on_it(pair):
    vectorizer, loaded = pair
    fresh = DOCUMENTS[:50] + ["nothing known here", ""]
    expected, found = vectorizer.transform(fresh), loaded.transform(fresh)
    assert (expected != found).nnz == 0 and expected.dtype == found.dtype
    assert np.array_equal(vectorizer.get_feature_names_out(), loaded.get_feature_names_out())
    back = zip(vectorizer.inverse_transform(expected), loaded.inverse_transform(found), strict=True)
    assert all(np.array_equal(a, b) for a, b in back)
    assert repr(clone(loaded)) == repr(clone(vectorizer))


def test_fitting_again_gives_an_ordinary_vectorizer(tmp_path):
    loaded = onecopy.load(make(TfidfVectorizer().fit(DOCUMENTS), tmp_path))
    loaded.fit(DOCUMENTS[:100])
    fresh = TfidfVectorizer().fit(DOCUMENTS[:100])
    assert type(loaded.vocabulary_) is dict and loaded.vocabulary_ == fresh.vocabulary_
    assert (loaded.transform(DOCUMENTS[100:120]) != fresh.transform(DOCUMENTS[100:120])).nnz == 0


@pytest.mark.parametrize("mmap_mode", ["r", "c", None])
def test_a_pipeline_predicts_the_same_in_every_mode(mmap_mode, tmp_path):
    model = make_pipeline(TfidfVectorizer(ngram_range=(1, 2)), LogisticRegression()).fit(DOCUMENTS, LABELS)
    loaded = onecopy.load(make(model, tmp_path), mmap_mode=mmap_mode)
    assert np.array_equal(model.predict_proba(DOCUMENTS[:60]), loaded.predict_proba(DOCUMENTS[:60]))
    assert type(loaded[0].vocabulary_) is (dict if mmap_mode is None else MappedVocabulary)


def test_dicts_elsewhere_are_dicts(tmp_path):
    big = {f"key{i}": i for i in range(5000)}
    vectorizer = CountVectorizer(vocabulary=big).fit([])
    loaded = onecopy.load(make({"here": big, "there": [big, vectorizer]}, tmp_path))
    assert type(loaded["here"]) is dict and loaded["here"] == big and list(loaded["here"]) == list(big)
    assert loaded["there"][0] is loaded["here"]
    assert type(loaded["there"][1].vocabulary) is dict
    loaded["here"]["new"] = 1


def test_it_keeps_the_file_mapped(tmp_path):
    path = make(CountVectorizer().fit(DOCUMENTS), tmp_path)
    vectorizer = CountVectorizer().fit(DOCUMENTS)
    mapped = onecopy.load(path).vocabulary_
    os.unlink(path)
    gc.collect()
    assert mapped == vectorizer.vocabulary_


def test_damaged_terms_are_errors_or_absent(tmp_path):
    path = make(CountVectorizer().fit(DOCUMENTS), tmp_path)
    found = {array["name"]: array for array in onecopy.inspect(path)["arrays"]}
    content = bytearray(open(path, "rb").read())
    at = content.find("wort1".encode())
    assert at > 0 and "vocabulary_.text" in found
    content[at : at + 40_000] = b"\xff" * 40_000
    damaged = tmp_path / "damaged.onecopy"
    damaged.write_bytes(content)
    with pytest.raises(onecopy.ChecksumError, match="vocabulary_.text"):
        onecopy.verify(damaged)
    mapped = onecopy.load(damaged).vocabulary_
    with pytest.raises(onecopy.FormatError, match="term [0-9]+ of a vocabulary"):
        dict(mapped.items())
    assert sum(word in mapped for word in WORDS) < len(mapped)
