"""Starts several independent workers at once, and reads their memory while all are alive."""

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
ONECOPY = ROOT / "target" / "release" / "onecopy"
WORKER = Path(__file__).resolve().parent / "worker.py"


@dataclass
class Result:
    """What `count` workers took together. Times are those of the slowest."""

    open_s: float
    first_prediction_s: float
    all_predictions_s: float
    pss: int  # bytes, all workers
    private_dirty: int  # bytes, the worst worker
    identical: bool


def rollup(pid, field):
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"no {field} in smaps_rollup of {pid}")


def command(contender, model, rows, method, out):
    if contender == "onecopy":
        return [ONECOPY, "predict", model, rows, "--method", method, "--threads", "1", "--report", "-o", out]
    if contender == "onecopy-idle":
        return [ONECOPY, "idle"]
    return [sys.executable, WORKER, contender, model, rows, method, out]


def run(contender, model, rows, method, expected, count=4):
    """Runs `count` fresh workers; `expected` is the .npy file that scikit-learn's answers are in."""
    python = not contender.startswith("onecopy")
    with tempfile.TemporaryDirectory() as folder:
        outs = [Path(folder) / f"{index}.npy" for index in range(count)]
        workers = [
            subprocess.Popen(
                list(map(str, command(contender, model, rows, method, out))),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for out in outs
        ]
        try:
            if python:
                for worker in workers:
                    assert worker.stdout.readline() == "ready\n", f"a {contender} worker failed to start"
                for worker in workers:
                    worker.stdin.write("go\n")
                    worker.stdin.flush()
            reports = [json.loads(worker.stdout.readline()) for worker in workers]
            pss = sum(rollup(worker.pid, "Pss") for worker in workers)
            dirty = max(rollup(worker.pid, "Private_Dirty") for worker in workers)
        finally:
            for worker in workers:
                worker.stdin.close()
            codes = [worker.wait() for worker in workers]
        assert codes == [0] * count, f"{contender} workers left with {codes}"
        return Result(
            open_s=max(report.get("open_s", 0.0) for report in reports),
            first_prediction_s=max(report.get("first_prediction_s", 0.0) for report in reports),
            all_predictions_s=max(report.get("all_predictions_s", 0.0) for report in reports),
            pss=pss,
            private_dirty=dirty,
            identical=all(out.exists() and same_bits(out, expected) for out in outs),
        )


def same_bits(path, expected):
    found, expected = np.load(path), np.load(expected)
    return found.dtype == expected.dtype and found.shape == expected.shape and found.tobytes() == expected.tobytes()


def empty(contender, rows, count=4):
    """`count` workers that hold no model: what `run` is compared with."""
    kind = "onecopy-idle" if contender == "onecopy" else "empty"
    return run(kind, "", rows, "", "", count)
