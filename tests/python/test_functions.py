"""`convert`, `verify`, `inspect`, `archive`, `restore`: results, progress, Ctrl-C, and errors of the right kind."""

import errno
import json
import os
import pickle
import signal
import subprocess
import sys
import time

import joblib
import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

import onecopy
from model_files import make

BIG = {"weights": np.random.default_rng(0).normal(size=3_000_000)}


@pytest.fixture
def path(tmp_path):
    return make(BIG, tmp_path)


def test_convert_names_the_model_file_after_its_source(tmp_path):
    for name in ("model.joblib", "model.pkl", "other.joblib.gz"):
        joblib.dump(LinearRegression().fit([[0.0], [1.0]], [0.0, 1.0]), tmp_path / name)
        expected = os.fspath(tmp_path / f"{name.split('.')[0]}.onecopy")
        assert onecopy.convert(tmp_path / name) == expected
        assert onecopy.open(expected).predict([[2.0]]).tolist() == pytest.approx([2.0])
        with pytest.raises(FileExistsError) as caught:
            onecopy.convert(tmp_path / name)
        assert caught.value.filename == expected
        assert onecopy.convert(tmp_path / name, expected) == expected
        os.unlink(expected)


def test_metadata_is_kept(tmp_path):
    joblib.dump([1], tmp_path / "a.joblib")
    metadata = {"auc": 0.91, "data": {"rows": 3, "name": "früh"}, "tags": ["x", None, True]}
    path = onecopy.convert(tmp_path / "a.joblib", metadata=metadata)
    assert onecopy.inspect(path)["metadata"]["user"] == metadata
    for wrong in ({"a": object()}, {"a": float("nan")}):
        with pytest.raises((TypeError, ValueError)):
            onecopy.convert(tmp_path / "a.joblib", tmp_path / "b.onecopy", metadata=wrong)
    assert not (tmp_path / "b.onecopy").exists()


def test_inspect_gives_what_the_command_prints(path):
    run = [sys.executable, "-m", "onecopy", "inspect", path, "--json"]
    printed = subprocess.run(run, capture_output=True, check=True, timeout=60)
    assert onecopy.inspect(path) == json.loads(printed.stdout)


def test_an_archive_comes_back_byte_for_byte(path, tmp_path):
    cold = onecopy.archive(path, level="fast")
    assert cold == path.replace(".onecopy", ".cold.onecopy") and os.path.getsize(cold) < os.path.getsize(path)
    onecopy.verify(cold)
    again = onecopy.restore(cold, tmp_path / "again.onecopy")
    assert open(path, "rb").read() == open(again, "rb").read()
    with pytest.raises(FileExistsError):
        onecopy.restore(cold)
    for level in (0, 22, "slow", True):
        with pytest.raises(ValueError, match='"fast", "default" or "best", found'):
            onecopy.archive(path, tmp_path / "x.onecopy", level=level)


@pytest.mark.parametrize("what", ["convert", "verify", "archive", "restore"])
def test_progress_is_told_in_the_thread_of_the_caller(what, path, tmp_path):
    import threading

    calls = []

    def progress(*call):
        calls.append((threading.get_ident(), *call))

    jobs = {
        "convert": lambda: onecopy.convert(tmp_path / "model.joblib", tmp_path / "x", progress=progress),
        "verify": lambda: onecopy.verify(path, progress=progress),
        "archive": lambda: onecopy.archive(path, tmp_path / "x", level="default", progress=progress),
        "restore": lambda: onecopy.restore(onecopy.archive(path), tmp_path / "x", progress=progress),
    }
    jobs[what]()
    assert calls and {call[0] for call in calls} == {threading.get_ident()}
    for _, word, done, total in calls:
        assert isinstance(word, str) and done > 0 and (total == 0 or done <= total)


def test_what_progress_raises_ends_the_work_and_leaves_nothing(path, tmp_path, capfd):
    class Enough(Exception):
        pass

    def progress(*call):
        raise Enough

    small = tmp_path / "small"
    small.mkdir()
    folder = tmp_path / "out"
    folder.mkdir()
    # The small files are written before anything is told, so that the first call is the last one as well.
    for source in (path, make({"a": np.arange(9.0)}, small)):
        other = onecopy.archive(source, tmp_path / "cold", level="fast")
        jobs = [
            lambda: onecopy.archive(source, folder / "x", level="best", progress=progress),
            lambda: onecopy.convert(source.replace(".onecopy", ".joblib"), folder / "x", progress=progress),
            lambda: onecopy.restore(other, folder / "x", progress=progress),
            lambda: onecopy.verify(source, progress=progress),
        ]
        for job in jobs:
            with pytest.raises(Enough):
                job()
            assert os.listdir(folder) == []
            (folder / "x").write_bytes(b"old")
            with pytest.raises(Enough):
                job()
            assert (folder / "x").read_bytes() == b"old"
            os.unlink(folder / "x")
        onecopy.verify(source)
    assert "panicked" not in capfd.readouterr().err


def test_ctrl_c_ends_long_work_at_once(path, tmp_path):
    code = f"""
import onecopy, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where a shell started us in the background
print("ready", flush=True)
try:
    onecopy.archive({path!r}, {str(tmp_path / "slow.onecopy")!r}, level="best")
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""
    run = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert run.stdout.readline() == "ready\n"
    time.sleep(0.3)
    run.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=20)
    assert out == "interrupted\n" and err == "" and not (tmp_path / "slow.onecopy").exists()


def test_damage_is_found_and_located(path, tmp_path):
    content = bytearray(open(path, "rb").read())
    content[len(content) // 2] ^= 1
    damaged = tmp_path / "damaged.onecopy"
    damaged.write_bytes(content)
    with pytest.raises(onecopy.ChecksumError, match="weights.*damaged|damaged.*weights"):
        onecopy.verify(damaged)
    with pytest.raises(onecopy.ChecksumError):
        onecopy.archive(damaged, tmp_path / "x.onecopy")
    content[200] = content[200]
    content[20] ^= 1
    damaged.write_bytes(content)
    for function in (onecopy.verify, onecopy.inspect, onecopy.open, onecopy.load):
        with pytest.raises(onecopy.FormatError):
            function(damaged)
    damaged.write_bytes(content[: len(content) // 2])
    for function in (onecopy.verify, onecopy.inspect, onecopy.open, onecopy.load):
        with pytest.raises(onecopy.FormatError) as caught:
            function(damaged)
        assert str(damaged) in str(caught.value)


def test_errors_of_the_system_are_those_of_the_system(tmp_path):
    reading = (onecopy.open, onecopy.load, onecopy.verify, onecopy.inspect, onecopy.convert, onecopy.archive)
    for function in reading:
        with pytest.raises(FileNotFoundError) as caught:
            function(tmp_path / "nothing")
        assert caught.value.errno == errno.ENOENT and caught.value.filename == str(tmp_path / "nothing")
        with pytest.raises(IsADirectoryError):
            function(tmp_path)
    joblib.dump([1], tmp_path / "a.joblib")
    with pytest.raises(FileNotFoundError) as caught:
        onecopy.convert(tmp_path / "a.joblib", tmp_path / "no folder" / "a.onecopy")
    assert "no folder" in str(caught.value.filename)
    with pytest.raises(IsADirectoryError):
        onecopy.convert(tmp_path / "a.joblib", tmp_path)


def test_what_is_no_model_is_said_to_be_none(tmp_path):
    (tmp_path / "text").write_text("hello, this is no model at all")
    for function in (onecopy.open, onecopy.load, onecopy.verify, onecopy.inspect, onecopy.archive):
        with pytest.raises(onecopy.FormatError, match="not a onecopy file"):
            function(tmp_path / "text")
    with pytest.raises(onecopy.FormatError):
        onecopy.convert(tmp_path / "text")
    path = onecopy.convert(make([1], tmp_path).replace(".onecopy", ".joblib"), tmp_path / "x.onecopy")
    with pytest.raises(onecopy.FormatError, match="already"):
        onecopy.convert(path, tmp_path / "y.onecopy")


def test_exceptions_form_one_small_tree_and_travel():
    tree = {
        onecopy.FormatError: onecopy.OnecopyError, onecopy.ChecksumError: onecopy.FormatError,
        onecopy.UntrustedTypesError: onecopy.OnecopyError, onecopy.UnsupportedModelError: onecopy.OnecopyError,
        onecopy.StaleReferenceError: onecopy.OnecopyError,
    }
    for error, base in tree.items():
        assert error.__bases__ == (base,)
        copied = pickle.loads(pickle.dumps(error("what happened")))
        assert type(copied) is error and copied.args == ("what happened",)
    untrusted = pickle.loads(pickle.dumps(onecopy.UntrustedTypesError("no", ["a.B"])))
    assert untrusted.types == ["a.B"]
