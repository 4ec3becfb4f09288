"""Every estimator of scikit-learn, in every kind of file, loaded in another process, gives the same answers to the last bit."""

import collections
import json
import pathlib
import subprocess
import sys

import pytest
from round_trip import formats

PROGRAM = pathlib.Path(__file__).with_name("round_trip.py")
FORMATS = {name for name, _ in formats()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("estimators")
    subprocess.run([sys.executable, PROGRAM, "write", folder], check=True, timeout=3000)
    return folder


def loaded(folder, mode):
    done = subprocess.run(
        [sys.executable, PROGRAM, "read", folder, mode],
        check=True,
        capture_output=True,
        text=True,
        timeout=3000,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("mode", ["r", "c", "none"])
def test_answers_are_the_same_to_the_last_bit(folder, mode):
    results = loaded(folder, mode)
    wrong = {
        f"{result['case']}, {result['format']}": result["wrong"] for result in results if result["wrong"]
    }
    assert wrong == {}
    seen = collections.defaultdict(set)
    for result in results:
        seen[result["case"]].add(result["format"])
    assert len(FORMATS) == 12
    assert {case for case, found in seen.items() if found != FORMATS} == set()


def test_the_documentation_says_what_happens():
    import make_support_table

    names = ["KMeans", "RandomForestClassifier", "Ridge", "SVC"]
    written = make_support_table.DOCUMENT.read_text().splitlines()
    found = list(make_support_table.lines(make_support_table.results(names)))
    assert len(found) == len(names)
    assert [line for line in found if line not in written] == []


def test_every_class_of_all_estimators_is_among_them(folder):
    from sklearn.utils import all_estimators

    names = {json.loads(path.read_text())["class"] for path in folder.glob("*/case.json")}
    assert {name for name, _ in all_estimators()} <= names
