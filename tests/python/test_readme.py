"""Runs the programs of the README, in order, on a real forest."""

import re
import shlex
from pathlib import Path

import joblib
import numpy as np
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier

README = Path(__file__).resolve().parents[2] / "README.md"
# The example of RFC 8410.
KEY = """-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC
-----END PRIVATE KEY-----
"""


def test_the_commands_of_the_readme_work(onecopy):
    x, y = load_digits(return_X_y=True)
    model = RandomForestClassifier(20, random_state=0).fit(x, y)
    joblib.dump(model, onecopy.folder / "forest.joblib")
    np.save(onecopy.folder / "X.npy", x)
    (onecopy.folder / "private.pem").write_text(KEY)

    block = re.search(r"run by tests/python/test_readme.py -->\s*```sh\n(.*?)```", README.read_text(), re.DOTALL)
    commands = [shlex.split(line, comments=True) for line in block[1].splitlines()]
    assert len(commands) >= 8 and all(command[0] == "onecopy" for command in commands)
    for command in commands:
        onecopy(*command[1:])

    result = lambda name: (onecopy.folder / name).read_bytes()
    assert np.array_equal(np.load(onecopy.folder / "labels.npy"), model.predict(x))
    assert np.load(onecopy.folder / "proba.npy").tobytes() == model.predict_proba(x).tobytes()
    assert result("pooled.npy") == result("labels.npy")
    assert result("again.onecopy") == result("forest.onecopy")


def test_the_python_of_the_readme_works(tmp_path, monkeypatch):
    x, y = load_digits(return_X_y=True)
    model = RandomForestClassifier(20, random_state=0).fit(x, y)
    block = re.search(r"run by tests/python/test_readme.py -->\s*```python\n(.*?)```", README.read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names = {"model": model, "X": x}
    exec(block[1], names)
    assert names["model"] is not model and isinstance(names["model"], RandomForestClassifier)
    assert np.array_equal(names["native"].predict(x), model.predict(x))
