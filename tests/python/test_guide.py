"""Runs every program of docs/guide.md, the servers with real gunicorn and uvicorn workers."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

import onecopy

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guide.md"
PROGRAMS = dict(re.findall(r"<!-- (\w+\.py) -->\n```python\n(.*?)```", GUIDE.read_text(), re.DOTALL))

SHOP = """
import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

class Clip(TransformerMixin, BaseEstimator):
    def fit(self, X, y=None):
        return self
    def transform(self, X):
        return np.clip(X, 0, 12)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("guide")
    for name, program in PROGRAMS.items():
        (folder / name).write_text(program)
    (folder / "shop.py").write_text(SHOP)
    python(folder, "save.py")
    return folder


def python(folder, program):
    done = subprocess.run([sys.executable, program], cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def test_the_guide_has_its_programs():
    assert set(PROGRAMS) == {
        "save.py", "wsgi.py", "api.py", "pool.py", "parallel.py", "moving.py", "trust.py",
        "cold.py", "memory.py", "versions.py", "guard.py",
    }  # fmt: skip
    served = [PROGRAMS[name] for name in ("wsgi.py", "api.py")]
    assert all(len([line for line in program.splitlines() if line.strip()]) <= 12 for program in served)


@pytest.mark.parametrize("program", ["pool.py", "parallel.py", "moving.py", "trust.py", "cold.py", "memory.py", "versions.py", "guard.py"])
def test_programs_of_the_guide_run(folder, program):
    python(folder, program)


@pytest.mark.parametrize(
    "command",
    [
        ["gunicorn", "--workers", "4", "--bind", "127.0.0.1:{port}", "wsgi:app"],
        ["gunicorn", "--preload", "--workers", "4", "--bind", "127.0.0.1:{port}", "wsgi:app"],
        ["uvicorn", "--workers", "4", "--port", "{port}", "--log-level", "warning", "api:app"],
    ],
    ids=["gunicorn", "gunicorn preload", "uvicorn"],
)
def test_four_real_workers_answer_from_one_file(folder, command):
    x, _ = load_digits(return_X_y=True)
    expected = onecopy.load(folder / "forest.onecopy").predict(x).tolist()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    arguments = [part.format(port=port) for part in command]
    with subprocess.Popen([sys.executable, "-m", *arguments], cwd=folder, start_new_session=True) as server:
        try:
            wait_for_workers(server.pid, folder / "forest.onecopy", 4)
            for _ in range(20):
                assert post(f"http://127.0.0.1:{port}/predict", x) == expected
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(timeout=30)


def wait_for_workers(pid, model, count):
    """Waits until `count` children have the model mapped."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if sum(str(model) in maps(child) for child in children(pid)) >= count:
            return
        time.sleep(0.1)
    raise AssertionError(f"fewer than {count} workers mapped the model")


def children(pid):
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [inner for child in found for inner in [int(child), *children(int(child))]]


def maps(pid):
    try:
        return Path(f"/proc/{pid}/maps").read_text()
    except OSError:
        return ""


def post(url, x):
    body = json.dumps(np.asarray(x).tolist()).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    deadline = time.monotonic() + 30
    while True:
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.URLError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
