"""Hostile files, converted, loaded and used, each in a process of its own: see attacks.py and the makers in tests/hostile."""

import collections
import json
import pathlib
import subprocess
import sys

import pytest

HOSTILE = pathlib.Path(__file__).resolve().parents[1] / "hostile"
EXPECTED = dict(line.split("\t") for line in (HOSTILE / "load/expected.tsv").read_text().splitlines())
MIB, SECONDS = 1024, 10


@pytest.fixture(scope="module", params=["load", "pickle", "format"])
def answers(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    program = [
        sys.executable,
        pathlib.Path(__file__).with_name("attacks.py"),
        HOSTILE / request.param,
        folder / "answers",
    ]
    subprocess.run(program, cwd=folder, check=True, timeout=1800)
    return [json.loads(line) for line in (folder / "answers").read_text().splitlines()]


def test_no_file_crashes_the_process(answers):
    assert [answer for answer in answers if answer["answer"].startswith("died")] == []


def test_no_file_runs_code(answers):
    assert [answer for answer in answers if answer["canaries"]] == []


def test_no_file_takes_a_gigabyte_or_ten_seconds(answers):
    assert [answer for answer in answers if answer["mib"] >= MIB or answer["seconds"] >= SECONDS] == []


def test_each_file_is_answered_as_expected(answers):
    unexpected = collections.defaultdict(list)
    for answer in answers:
        expected = EXPECTED.get(answer["file"])
        allowed = {"FormatError", "accepted"} if expected and expected.endswith("later") else {expected}
        if expected and answer["step"] != "convert" and answer["answer"] not in allowed:
            unexpected[answer["file"]].append(answer)
    assert unexpected == {}


def test_each_refusal_is_an_error_of_the_package(answers):
    known = {
        "kept",
        "accepted",
        "UntrustedTypesError",
        "FormatError",
        "ChecksumError",
        "UnsupportedModelError",
        "OSError",
    }
    assert [answer for answer in answers if answer["answer"].removeprefix("convert: ") not in known] == []
