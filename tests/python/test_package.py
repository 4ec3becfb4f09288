"""The package as a whole: what it offers, what importing it costs, its command, its stubs, its examples."""

import doctest
import importlib
import inspect
import json
import os
import signal
import subprocess
import sys
import time

import joblib
import numpy as np
import pytest

import onecopy
from model_files import make

PACKAGE = os.path.dirname(onecopy.__file__)
ENV = {**os.environ, "PYTHONPATH": os.path.dirname(PACKAGE)}


def python(code, **options):
    """Runs a program in a fresh process and gives what it prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, env=ENV, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def command(*args, **options):
    return subprocess.run(
        [sys.executable, "-m", "onecopy", *map(str, args)], capture_output=True, text=True, timeout=120, env=ENV, **options
    )


def test_every_public_name_can_be_had_and_is_documented():
    assert set(onecopy.__all__) <= set(dir(onecopy))
    for name in onecopy.__all__:
        value = getattr(onecopy, name)
        assert name == "__version__" or inspect.getdoc(value), name
    with pytest.raises(AttributeError, match="nothing_such"):
        onecopy.nothing_such


def test_public_functions_say_what_they_take_and_give():
    for name in ("archive", "by_reference", "convert", "dump", "inspect", "load", "open", "prune", "restore", "verify"):
        function = getattr(onecopy, name)
        text = inspect.getdoc(function)
        assert "Parameters\n----------" in text and "Examples\n--------" in text, name
        for parameter in inspect.signature(function).parameters.values():
            assert f"\n{parameter.name} : " in text, (name, parameter.name)
            assert parameter.annotation is not inspect.Parameter.empty, (name, parameter.name)


@pytest.mark.parametrize("module", ["_dump", "_load", "_model", "_reference", "_functions"])
def test_examples_of_the_documentation_run(module, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(f"onecopy.{module}")
    failed, tried = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert failed == 0 and tried > 0


def test_importing_is_quick_and_starts_no_thread_and_imports_no_numpy():
    code = """
import sys, time, os
start = time.process_time()
import onecopy
took = time.process_time() - start
print(took, "numpy" in sys.modules, len(os.listdir("/proc/self/task")))
"""
    runs = [python(code).split() for _ in range(3)]
    assert {(numpy, threads) for _, numpy, threads in runs} == {("False", "1")}
    assert min(float(took) for took, *_ in runs) < 0.05


def test_the_first_use_is_quick_beyond_numpy():
    code = """
import sys, time, os, numpy
before = len(os.listdir("/proc/self/task"))
start = time.process_time()
import onecopy
onecopy.open, onecopy.load, onecopy.dump, onecopy.convert, onecopy.by_reference
took = time.process_time() - start
others = {"sklearn", "scipy", "pandas", "joblib"} & set(sys.modules)
print(took, len(os.listdir("/proc/self/task")) - before, others or "none")
"""
    runs = [python(code).split() for _ in range(3)]
    assert {(threads, others) for _, threads, others in runs} == {("0", "none")}
    assert min(float(took) for took, *_ in runs) < 0.05


def test_the_command_converts_inspects_and_predicts(tmp_path):
    from sklearn.ensemble import RandomForestRegressor

    x = np.random.default_rng(0).normal(size=(50, 3))
    model = RandomForestRegressor(5, random_state=0).fit(x, x[:, 0])
    joblib.dump(model, tmp_path / "m.joblib")
    np.save(tmp_path / "x.npy", x)
    for args in (["convert", "m.joblib"], ["verify", "m.onecopy"], ["predict", "m.onecopy", "x.npy", "-o", "y.npy"]):
        done = command(*args, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    assert np.array_equal(np.load(tmp_path / "y.npy"), model.predict(x))
    assert json.loads(command("inspect", "m.onecopy", "--json", cwd=tmp_path).stdout)["native"]["covered"]


def test_the_command_has_the_exit_codes_of_the_binary(tmp_path):
    assert command("--version").stdout.split() == ["onecopy", onecopy.__version__]
    for args, code in ((["--help"], 0), (["inspect", "nothing"], 1), (["nonsense"], 2), ([], 2)):
        done = command(*args, cwd=tmp_path)
        assert done.returncode == code, args
    assert command("inspect", "nothing", cwd=tmp_path).stderr.startswith("error: ")


def test_the_command_imports_neither_numpy_nor_scikit_learn():
    code = """
import sys, runpy
sys.argv = ["onecopy", "--version"]
try:
    runpy.run_module("onecopy", run_name="__main__")
except SystemExit as end:
    assert end.code == 0
print({"numpy", "sklearn"} & set(sys.modules) or "none")
"""
    assert python(code).split()[-1] == "none"


def test_the_pool_of_the_command_forks_from_one_thread_and_predicts(tmp_path):
    from sklearn.ensemble import RandomForestRegressor

    x = np.random.default_rng(0).normal(size=(5000, 3))
    model = RandomForestRegressor(20, random_state=0).fit(x, x[:, 0])
    path = make(model, tmp_path)
    np.save(tmp_path / "x.npy", x)
    done = command("pool", path, "x.npy", "--workers", 2, "-o", "y.npy", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert np.array_equal(np.load(tmp_path / "y.npy"), model.predict(x))


def test_ctrl_c_ends_the_command_as_any_other(tmp_path):
    path = make({"x": np.random.default_rng(0).normal(size=2_000_000)}, tmp_path)
    run = subprocess.Popen(
        [sys.executable, "-m", "onecopy", "archive", path, "--level", "best"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENV,
    )
    time.sleep(0.7)
    run.send_signal(signal.SIGINT)
    _, err = run.communicate(timeout=20)
    assert run.returncode == -signal.SIGINT and "Traceback" not in err
    assert not os.path.exists(path.replace(".onecopy", ".cold.onecopy"))


def test_a_reader_that_leaves_early_is_no_error(tmp_path):
    path = make([{f"array {i}": np.zeros(3) for i in range(2000)}], tmp_path)
    done = subprocess.run(
        f"set -o pipefail; {sys.executable} -m onecopy inspect {path} --json | head -1",
        shell=True, executable="/bin/bash", capture_output=True, text=True, timeout=60, env=ENV,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "{\n", "")


def test_the_stubs_say_what_the_module_has():
    pytest.importorskip("mypy")
    done = subprocess.run(
        [sys.executable, "-m", "mypy.stubtest", "onecopy._onecopy"],
        capture_output=True, text=True, timeout=300, env={**os.environ, "MYPYPATH": os.path.dirname(PACKAGE)},
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_package_is_typed():
    assert os.path.exists(os.path.join(PACKAGE, "py.typed"))
