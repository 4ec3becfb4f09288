"""Runs the built command, `target/release/onecopy`, as a user would."""

import os
import subprocess
from pathlib import Path

import joblib
import numpy as np
import pytest

ONECOPY = Path(__file__).resolve().parents[2] / "target" / "release" / "onecopy"


class Command:
    def __init__(self, folder):
        self.folder = folder

    def __call__(self, *args, expect=0):
        done = subprocess.run([ONECOPY, *map(str, args)], cwd=self.folder, capture_output=True, text=True, timeout=300)
        assert done.returncode == expect, f"onecopy {' '.join(map(str, args))}: exit {done.returncode}\n{done.stderr}"
        return done

    def convert(self, model, name="model", **dump):
        joblib.dump(model, self.folder / f"{name}.joblib", **dump)
        self("convert", f"{name}.joblib", "-o", f"{name}.onecopy")
        return f"{name}.onecopy"

    def ask(self, model, x, method="predict", out="y.npy"):
        np.save(self.folder / "x.npy", x)
        self("predict", model, "x.npy", "--method", method, "-o", out)
        loaded = np.load(self.folder / out)
        return [loaded[key] for key in loaded.files] if out.endswith(".npz") else loaded


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory):
    """Archives are restored here, not in the home of whoever runs the tests."""
    os.environ["ONECOPY_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def onecopy(tmp_path):
    assert ONECOPY.exists(), "build the command first: make setup"
    return Command(tmp_path)
