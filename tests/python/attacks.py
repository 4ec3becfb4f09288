"""Converts, loads and uses hostile files, each in a process of its own with limits. Usage: attacks.py FOLDER OUTPUT

Writes a line of JSON per file and step, converting and loading in each mmap_mode: what was answered, how long it took, and memory above that of a process that did
nothing. Everything is imported first, in one process that computes nothing, and each file gets a fork of it.
"""

import json
import os
import pathlib
import resource
import sys
import tempfile
import time
import traceback
import warnings

SECONDS = 10
METHODS = [
    "predict",
    "predict_proba",
    "decision_function",
    "transform",
    "score_samples",
    "kneighbors",
    "apply",
    "staged_predict",
]


def main(folder, output):
    import_all()
    files = sorted(
        p for p in pathlib.Path(folder).iterdir() if p.suffix in (".pkl", ".joblib", ".bin", ".onecopy")
    )
    with open(output, "w") as results, tempfile.TemporaryDirectory() as scratch:
        baseline = in_child(lambda: {"answer": "nothing"}, scratch)["kib"]
        for at, file in enumerate(files):
            target = pathlib.Path(scratch) / f"{at}.onecopy"
            found = in_child(lambda: convert(file, target), scratch)
            note(results, file, "convert", found, baseline, scratch)
            if found["answer"] == "kept":
                for mode in ["r", "c", None]:
                    note(
                        results,
                        file,
                        mode,
                        in_child(lambda: attack(found["path"], mode), scratch),
                        baseline,
                        scratch,
                    )


def note(results, file, step, found, baseline, scratch):
    canaries = [
        path.name for folder in (scratch, pathlib.Path.cwd()) for path in pathlib.Path(folder).glob("canary*")
    ]
    line = {
        "file": file.name,
        "step": step,
        **found,
        "mib": (found["kib"] - baseline) // 1024,
        "canaries": canaries,
    }
    results.write(json.dumps(line) + "\n")
    results.flush()


def import_all():
    import joblib  # noqa: F401
    import numpy  # noqa: F401
    import onecopy  # noqa: F401
    import pandas  # noqa: F401
    import scipy.sparse  # noqa: F401
    import sklearn
    from sklearn.utils import all_estimators

    all_estimators()
    warnings.simplefilter("ignore")
    return sklearn


def convert(file, path):
    import onecopy

    if file.suffix == ".onecopy":
        return {"answer": "kept", "path": str(file)}
    try:
        return {"answer": "kept", "path": onecopy.convert(file, path)}
    except Exception as error:
        return {"answer": f"convert: {type(error).__name__}", "message": str(error)[:300]}


def in_child(work, folder):
    reader, writer = os.pipe()
    start = time.monotonic()
    child = os.fork()
    if child == 0:
        os.close(reader)
        try:
            os.chdir(folder)
            resource.setrlimit(resource.RLIMIT_CPU, (SECONDS * 2, SECONDS * 2))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            with os.fdopen(writer, "w") as stream:
                stream.write(json.dumps(work()))
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as stream:
        text = stream.read()
    _, status, usage = os.wait4(child, 0)
    seconds = round(time.monotonic() - start, 2)
    found = (
        json.loads(text)
        if text
        else {
            "answer": f"died of signal {os.WTERMSIG(status)}"
            if os.WIFSIGNALED(status)
            else f"died with {status}"
        }
    )
    return {**found, "seconds": seconds, "kib": usage.ru_maxrss}


def attack(path, mode):
    import onecopy

    try:
        model = onecopy.load(path, mmap_mode=mode)
    except MemoryError:
        return {"answer": "MemoryError"}
    except Exception as error:
        return {
            "answer": type(error).__name__,
            "message": str(error)[:300],
            "where": traceback.format_exc()[-600:] if type(error).__module__ == "builtins" else "",
        }
    return {"answer": "accepted", "uses": use(model)}


def use(model):
    import numpy as np

    rng = np.random.RandomState(1)
    inputs = [np.abs(rng.normal(size=(20, features))) for features in (4, 1, 2, 40)]
    inputs += [["old mill by the river"] * 3, [{"a": 1, "b": 2}], [["a"], ["b", "a"]]]
    uses = {}
    for name in METHODS:
        for data in inputs:
            try:
                result = getattr(model, name)(data)
                result = list(result) if name.startswith("staged") else result
                if hasattr(result, "toarray"):
                    result.toarray()
                uses[name] = "answered"
            except AttributeError:
                continue
            except Exception as error:
                uses.setdefault(name, type(error).__name__)
    return uses


if __name__ == "__main__":
    main(*sys.argv[1:])
