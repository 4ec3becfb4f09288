"""The format, read by a reader that was made from its specification alone."""

from pathlib import Path

import numpy as np
import onecopy
import plain_reader
import pyarrow
import pytest

TESTS = Path(__file__).parents[1]
HOT = sorted((TESTS / "golden" / "hot").glob("*.onecopy"))
ARCHIVES = sorted((TESTS / "golden" / "archives").glob("*.onecopy"))
VERSIONS = sorted((TESTS / "golden" / "versions").glob("*.onecopy"))
HOSTILE = sorted((TESTS / "hostile" / "format").glob("*.onecopy"))
# Files that break a rule of what plans say, which the plain reader does not read.
BEYOND = {"plan-of-unknown-operation", "valid"}


def unzstd(data, size):
    """What a zstd frame decodes to."""
    return pyarrow.Codec("zstd").decompress(data, size)


def read(path):
    """The file with all of its arrays."""
    unit = lambda name: (path.parent / "onecopy-units" / name).read_bytes()  # noqa: E731
    found = plain_reader.PlainFile(path.read_bytes(), unzstd, unit)
    return found, {entry["name"]: found.array(i) for i, entry in enumerate(found.entries)}


def same(a, b):
    """Whether two arrays are the same to the last bit."""
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def test_there_are_golden_files_of_all_kinds():
    assert {path.stem for path in HOT} >= {"arrays", "boosted", "forest", "histogram", "pipeline", "text", "values"}


@pytest.mark.parametrize("path", HOT, ids=lambda path: path.stem)
def test_a_golden_file_says_what_it_always_said(path):
    kept = np.load(path.with_suffix(".npz"))
    opened = onecopy.open(path)
    found, arrays = read(path)
    assert {name.removeprefix("array:") for name in kept if name.startswith("array:")} == set(arrays)
    for name, array in arrays.items():
        assert same(array, kept[f"array:{name}"]), name
        assert same(array, opened.arrays[name]), name
    assert found.metadata["user"] == {"golden": path.stem}
    root, nodes = found.graph()
    assert 0 <= root < len(nodes)
    onecopy.verify(path)


@pytest.mark.parametrize("path", HOT, ids=lambda path: path.stem)
def test_a_golden_model_answers_as_it_always_did(path):
    kept = np.load(path.with_suffix(".npz"))
    model = onecopy.open(path)
    for name in kept:
        if name.startswith("answer:"):
            answer = getattr(model, name.removeprefix("answer:"))(kept["X"])
            if path.stem == "pipeline":
                np.testing.assert_allclose(answer, kept[name], rtol=1e-11)
            else:
                assert same(answer, kept[name]), name


def test_golden_values_are_rebuilt():
    value = onecopy.load(TESTS / "golden" / "hot" / "values.onecopy")
    assert value["numbers"] == [None, True, False, -3, 2**80, -(2**200), 1.5, float("inf")]
    assert value["texts"] == ["", "d\u00f6rnchen", b"bytes", bytearray(b"more")]
    assert value["containers"] == ((1, 2), [3], {4}, frozenset({5}), {"six": 6, 7: "seven"})
    assert value["cycle"][0] is value["cycle"]
    assert value["objects"].tolist() == [["a", None], [1, 2.5]]
    assert value["scalars"] == [np.float32(0.1), np.int64(-4), np.datetime64("2026-11-21")]
    assert (value["dtype"], value["type"]) == (np.dtype([("a", "<i4")]), np.float64)


@pytest.mark.parametrize("path", ARCHIVES + VERSIONS, ids=lambda path: path.stem)
def test_an_archive_has_the_arrays_of_what_it_is_restored_to(path):
    opened = onecopy.open(path)
    for name, array in read(path)[1].items():
        assert same(array, opened.arrays[name]), name


@pytest.mark.parametrize("name", ["boosted", "pipeline", "values"])
def test_every_changed_byte_is_found(name):
    data = (TESTS / "golden" / "hot" / f"{name}.onecopy").read_bytes()
    for at in range(0, len(data), 1 + len(data) // 400):
        damaged = bytearray(data)
        damaged[at] ^= 1 << at % 8
        with pytest.raises((ValueError, KeyError)):
            found = plain_reader.PlainFile(bytes(damaged))
            [found.array(i) for i in range(found.n_arrays)]


@pytest.mark.parametrize("path", HOSTILE, ids=lambda path: path.stem)
def test_what_the_library_refuses_the_specification_refuses(path):
    if path.stem in BEYOND:
        read(path)
        return
    with pytest.raises((ValueError, TypeError, IndexError, OSError, RecursionError, plain_reader.struct.error)):
        read(path)[0].graph()
