"""Builds the wheel and uses it in a virtual environment that holds nothing but numpy."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier

import onecopy

ROOT = Path(__file__).resolve().parents[2]


def run(*command, **options):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=1500, **options)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    run(Path(sys.executable).parent / "maturin", "build", "--release", "--locked", "--out", folder, cwd=ROOT)
    (wheel,) = folder.glob("onecopy-*.whl")
    run(sys.executable, "-m", "venv", folder / "venv")
    bin = folder / "venv" / "bin"
    run(bin / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", f"numpy=={np.__version__}", wheel)
    return wheel, bin


def test_the_wheel_suits_every_python_from_3_10_on(installed):
    wheel, _ = installed
    assert "-cp310-abi3-" in wheel.name


def test_the_wheel_predicts_with_numpy_alone(installed, tmp_path):
    _, bin = installed
    x, y = load_digits(return_X_y=True)
    model = RandomForestClassifier(10, random_state=0).fit(x, y)
    onecopy.dump(model, tmp_path / "forest.onecopy")
    np.save(tmp_path / "x.npy", x)
    program = """
import sys, numpy as np, onecopy
np.save("proba.npy", onecopy.open("forest.onecopy").predict_proba(np.load("x.npy")))
assert "sklearn" not in sys.modules
"""
    run(bin / "python", "-c", program, cwd=tmp_path)
    assert np.load(tmp_path / "proba.npy").tobytes() == model.predict_proba(x).tobytes()


def test_the_command_comes_with_the_wheel(installed, tmp_path):
    _, bin = installed
    for command in ([bin / "onecopy"], [bin / "python", "-m", "onecopy"]):
        assert run(*command, "--version").startswith("onecopy ")
    np.save(tmp_path / "weights.npy", np.arange(6.0))
    run(bin / "onecopy", "convert", "weights.npy", cwd=tmp_path)
    assert "weights" in run(bin / "onecopy", "inspect", "weights.onecopy", cwd=tmp_path)
