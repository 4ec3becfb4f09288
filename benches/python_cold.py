"""First use of an archive by many processes at once, beside a single one: time, work, and memory afterwards.

    python benches/python_cold.py [FOLDER] [--rounds N] [--processes N] [--megabytes N]

CSV rows to stdout, one for each round and way. `alone` is one process that restores the archive and maps it, `together` are all of
them asking at the same moment; the ways take turns, so that a busy moment of the machine hits both. `cpu` is user and system
time of all processes from the moment they ask; `pss` is what all of them hold of the model afterwards, when each has read all
of it. Rows named `ratio` compare the medians.

A virtual machine may give its free pages back to the host and get them again at the first write, which can take longer than all
of a restore and falls on whoever happens to be given such a page. So a second restored file is kept until the moment before the
workers are asked, for either way, and its pages are the ones that the system gives out next.
"""

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import onecopy

# Seconds after which pages that became free have been given back: Linux waits for two.
SETTLED = 3.0

WORKER = """
import json, resource, sys, time
import numpy, onecopy

def pss(folder):
    total, here = 0, False
    for line in open("/proc/self/smaps"):
        words = line.split()
        if "-" in words[0] and not words[0].endswith(":"):
            here = folder in line or "memfd:onecopy" in line
        elif here and words[0] == "Pss:":
            total += int(words[1]) * 1024
    return total

def cpu():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime

path, folder = sys.argv[1:]
print("ready", flush=True)
sys.stdin.readline()
used, begin = cpu(), time.monotonic()
model = onecopy.open(path, cache=folder)
opened, used = time.monotonic(), cpu() - used
print(json.dumps([begin, opened, used]), flush=True)
sys.stdin.readline()
for array in model.arrays.values():
    numpy.frombuffer(array, numpy.uint8)[::4096].sum()
print("read", flush=True)
sys.stdin.readline()
print(pss(folder), flush=True)
sys.stdin.readline()
"""


def model_file(folder: Path, megabytes: int) -> str:
    """A model of rounded coefficients, which archives to about a quarter."""
    from sklearn.linear_model import Ridge

    rng = np.random.default_rng(0)
    model = Ridge().fit(rng.normal(size=(20, 10)), rng.normal(size=20))
    model.coef_ = rng.normal(size=(megabytes, 125_000)).round(2)
    hot = str(folder / "model.onecopy")
    onecopy.dump(model, hot)
    cold = onecopy.archive(hot)
    os.unlink(hot)
    return cold


def ask(path: str, processes: int, cache: Path) -> tuple[float, float, int]:
    """Seconds until the last one has the model, CPU seconds of all, and bytes that all hold of it."""
    arguments = [sys.executable, "-c", WORKER, path, str(cache)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    spare = onecopy.restore(path, f"{cache}.onecopy")
    workers = [subprocess.Popen(arguments, **pipes) for _ in range(processes)]

    def step() -> list[str]:
        for worker in workers:
            worker.stdin.write("\n")
            worker.stdin.flush()
        return [worker.stdout.readline() for worker in workers]

    for worker in workers:
        worker.stdout.readline()
    os.sync()
    time.sleep(SETTLED)
    os.unlink(spare)
    told = [json.loads(line) for line in step()]
    step()
    held = sum(int(line) for line in step())
    for worker in workers:
        worker.communicate("\n")
    wall = max(opened for _, opened, _ in told) - min(begin for begin, _, _ in told)
    return wall, sum(used for _, _, used in told), held


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", help="where to write; its disk is what is measured")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--megabytes", type=int, default=500)
    args = parser.parse_args()
    rows = csv.writer(sys.stdout, lineterminator="\n")
    rows.writerow(["section", "way", "processes", "model_mb", "archive_mb", "wall_ms", "cpu_ms", "pss_mb"])
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        path = model_file(Path(folder), args.megabytes)
        sizes = [args.megabytes, f"{os.path.getsize(path) / 1e6:.1f}"]
        found: dict[str, list[tuple[float, float, int]]] = {"alone": [], "together": []}
        for number in range(args.rounds):
            for way, processes in (("alone", 1), ("together", args.processes)):
                cache = Path(folder) / f"cache-{number}-{way}"
                wall, used, held = ask(path, processes, cache)
                for entry in cache.iterdir():
                    entry.unlink()
                found[way].append((wall, used, held))
                numbers = [f"{wall * 1e3:.1f}", f"{used * 1e3:.1f}", f"{held / 1e6:.1f}"]
                rows.writerow(["first-use", way, processes, *sizes, *numbers])
                sys.stdout.flush()
                time.sleep(0.2)
        medians = {way: [statistics.median(column) for column in zip(*rounds)] for way, rounds in found.items()}
        ratios = [f"{together / alone:.3f}" for alone, together in zip(medians["alone"], medians["together"])]
        rows.writerow(["first-use", "ratio", args.processes, *sizes, *ratios])


if __name__ == "__main__":
    main()
