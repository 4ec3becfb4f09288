"""Measures every promise against joblib and scikit-learn in one run.

    python benches/peers.py bench-output

Trains one forest of more than 1 GB as joblib, and takes forests of half and a twentieth of its trees from it. Prints one line per
promise with what was measured, the bound and whether it holds, and writes the same to `peers-<date>.csv`. Takes some minutes.
Everything is read from the page cache; times are medians of fresh processes unless a line says otherwise.
"""

import csv
import datetime
import json
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

import joblib
import numpy as np
import sklearn
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "demo"))

from workers import ONECOPY, empty, run, same_bits  # noqa: E402

WORKERS = 4
TREES = 240
# Trees of the forests that are measured: about 1.1 GB, 560 MB and 56 MB as joblib.
FORESTS = {"huge": TREES, "large": TREES // 2, "small": TREES // 20}


def train(folder):
    if all((folder / f"{name}.joblib").exists() for name in FORESTS):
        print(f"forests kept from an earlier run (delete {folder}/ to train again)", flush=True)
        return
    x, y = make_classification(
        n_samples=60_000, n_features=24, n_informative=12, n_classes=8, flip_y=0.3, random_state=0
    )
    start = time.perf_counter()
    model = RandomForestClassifier(TREES, max_features=3, random_state=0, n_jobs=-1).fit(x, y)
    model.n_jobs = 1
    print(f"trained {TREES} trees in {time.perf_counter() - start:.0f} s", flush=True)
    x = x[:2000].astype(np.float32)
    np.save(folder / "x.npy", x)
    trees = model.estimators_
    for name, count in FORESTS.items():
        model.estimators_, model.n_estimators = trees[:count], count
        for method in ("predict", "predict_proba"):
            np.save(folder / f"{name}.{method}.npy", getattr(model, method)(x))
        held = sum(tree.tree_.__getstate__()[part].nbytes for tree in model.estimators_ for part in ("nodes", "values"))
        (folder / f"{name}.json").write_text(json.dumps({"sklearn_bytes": held}))
        joblib.dump(model, folder / f"{name}.joblib")


def measured(command):
    """Seconds and peak resident bytes of a command."""
    start = time.perf_counter()
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, f"{command} failed"
    return time.perf_counter() - start, usage.ru_maxrss * 1024


def open_seconds(model, rows, count=15):
    """Median time of opening in fresh processes."""
    times = []
    for _ in range(count):
        command = [ONECOPY, "predict", model, rows, "--threads", "1", "--report"]
        done = subprocess.run(command, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        times.append(json.loads(done.stdout)["open_s"])
    return statistics.median(times)


def python_seconds(code, count=3):
    """Median of what a fresh Python prints."""
    runs = [subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True) for _ in range(count)]
    return statistics.median(float(done.stdout) for done in runs)


class Table:
    def __init__(self):
        self.rows = []

    def add(self, promise, value, bound, unit="", at_least=False, note=""):
        holds = value >= bound if at_least else value <= bound
        self.rows.append((promise, value, ">=" if at_least else "<=", bound, unit, "yes" if holds else "NO", note))
        print(f"  {'ok' if holds else 'NO':3} {promise}: {value:,.4g} {unit}, bound {bound:,.4g}  {note}", flush=True)

    def write(self, path, facts):
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            for fact in facts:
                file.write(f"# {fact}\n")
            writer.writerow(["promise", "measured", "is", "bound", "unit", "holds", "note"])
            writer.writerows(self.rows)


def measure_conversion(folder, table):
    source, target, again = folder / "huge.joblib", folder / "huge.onecopy", folder / "again.joblib"
    timed = (
        "import joblib, time, sklearn.ensemble; start = time.perf_counter(); "
        f"joblib.dump(joblib.load({str(source)!r}), {str(again)!r}); print(time.perf_counter() - start)"
    )
    ours, peers, peak = [], [], 0
    # In turns, so that what else the machine does falls on both.
    for _ in range(5):
        for path in (target, again):
            path.unlink(missing_ok=True)
        taken, resident = measured([ONECOPY, "convert", source, "-o", target])
        ours.append(taken)
        peak = max(peak, resident)
        peers.append(python_seconds(timed, 1))
    seconds, peer = statistics.median(ours), statistics.median(peers)
    again.unlink()
    size = source.stat().st_size / 1e9
    note = f"{size:.2f} GB; {seconds:.2f} s against {peer:.2f} s, which does not wait for the disk"
    table.add("converting, as part of load and dump by joblib", seconds / peer, 1.0, "", note=note)
    table.add("peak memory of converting", peak / 1e6, 300, "MB", note=f"of {size:.2f} GB")
    for name in ("large", "small"):
        measured([ONECOPY, "convert", folder / f"{name}.joblib", "-o", folder / f"{name}.onecopy"])


def measure_opening(folder, table):
    rows, source = folder / "x.npy", folder / "large.joblib"
    ours = {name: open_seconds(folder / f"{name}.onecopy", rows) for name in FORESTS}
    load = "import joblib, time, sklearn.ensemble; start = time.perf_counter(); m = joblib.load({!r}, mmap_mode={!r}); print(time.perf_counter() - start)"
    plain = python_seconds(load.format(str(source), None))
    mapped = python_seconds(load.format(str(source), "r"))
    size = f"{source.stat().st_size / 1e6:,.0f} MB"
    note = f"{size}; {ours['large'] * 1e6:.0f} us against"
    table.add("joblib.load, in times of opening", plain / ours["large"], 200, "", True, f"{note} {plain:.2f} s")
    table.add('joblib.load mmap_mode="r", in times of opening', mapped / ours["large"], 50, "", True, f"{note} {mapped:.2f} s")
    note = ", ".join(f"{name} {seconds * 1e6:.0f} us" for name, seconds in ours.items())
    table.add("opening a 10 times larger forest, in times of the smaller", ours["large"] / ours["small"], 2.0, "", note=note)


def measure_memory(folder, table):
    rows, expected = folder / "x.npy", folder / "large.predict_proba.npy"
    model = folder / "large.onecopy"
    shown = json.loads(subprocess.run([ONECOPY, "inspect", model, "--json"], check=True, capture_output=True).stdout)
    hot = shown["predict"]["len_bytes"]
    ours = run("onecopy", model, rows, "predict_proba", expected, WORKERS)
    peer = run("mmap", folder / "large.joblib", rows, "predict_proba", expected, WORKERS)
    floor, peer_floor = empty("onecopy", rows, WORKERS).pss, empty("mmap", rows, WORKERS).pss
    note = f"{(ours.pss - floor) / 1e6:.1f} MB above empty workers; prediction reads {hot / 1e6:.1f} MB"
    table.add(f"memory of {WORKERS} workers", ours.pss / 1e6, (1.1 * hot + WORKERS * 4e6) / 1e6, "MB", note=note)
    table.add("private dirty memory of the worst worker", ours.private_dirty / 1e6, 5, "MB")
    ratio = (peer.pss - peer_floor) / (folder / "large.joblib").stat().st_size
    print(f"      joblib mmap_mode=\"r\": {(peer.pss - peer_floor) / 1e6:,.0f} MB, {ratio:.1f} times its file")
    held = json.loads((folder / "large.json").read_text())["sklearn_bytes"]
    note = f"{hot / 1e6:.1f} MB of {held / 1e6:.1f} MB"
    table.add("what prediction reads, as part of scikit-learn's trees", hot / held, 0.2, "", note=note)
    size, peer_size = model.stat().st_size, (folder / "large.joblib").stat().st_size
    note = f"{size / 1e6:.1f} MB of {peer_size / 1e6:.1f} MB"
    table.add("file, as part of the joblib file", size / peer_size, 1.0, "", note=note)
    table.add("workers with other bits than scikit-learn", float(not ours.identical), 0)


def measure_verify(folder, table):
    command = [ONECOPY, "verify", folder / "huge.onecopy", "--json"]
    reports = [json.loads(subprocess.run(command, check=True, capture_output=True).stdout) for _ in range(6)][1:]
    speed = statistics.median(report["bytes"] / report["seconds"] for report in reports)
    table.add("verify", speed / 1e9, 5.0, "GB/s", True, f"{reports[0]['bytes'] / 1e6:,.0f} MB")


def measure_rows(folder, table):
    command = [ONECOPY, "bench", folder / "large.joblib", "--input", folder / "x.npy", "--python", sys.executable]
    report = json.loads(subprocess.run([*map(str, command), "--repeats", "5", "--json"], check=True, capture_output=True).stdout)
    ours, peer = report["one_row_s"], report["peer"]["one_row_s"]
    note = f"{ours * 1e6:.1f} us against {peer * 1e3:.2f} ms"
    table.add("scikit-learn for one row, in times of onecopy", peer / ours, 100, "", True, note)
    print(f"      2,000 rows, one thread: {report['all_rows_s'] * 1e3:.1f} ms against {report['peer']['all_rows_s'] * 1e3:.1f} ms")
    wrong = 0
    for name in FORESTS:
        for method in ("predict", "predict_proba"):
            out = folder / "answers.npy"
            model, rows = folder / f"{name}.onecopy", folder / "x.npy"
            subprocess.run([ONECOPY, "predict", model, rows, "--method", method, "-o", out], check=True)
            wrong += not same_bits(out, folder / f"{name}.{method}.npy")
    table.add("answers with other bits than scikit-learn's", wrong, 0, note="3 forests, predict and predict_proba, 2,000 rows")


def facts(command="make bench"):
    cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    version = subprocess.run([ONECOPY, "--version"], capture_output=True, text=True).stdout.strip()
    return [
        datetime.date.today().isoformat(),
        f"{cpu}, {os.cpu_count()} cpus, load {os.getloadavg()[0]:.1f}, Linux {platform.release()}",
        f"{version}, joblib {joblib.__version__}, scikit-learn {sklearn.__version__}, numpy {np.__version__}",
        command,
    ]


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    described = facts()
    print("\n".join(described), flush=True)
    # In a process of its own: the peak memory of a child counts what its parent held when it was started.
    trainer = multiprocessing.get_context("spawn").Process(target=train, args=(folder,))
    trainer.start()
    trainer.join()
    if trainer.exitcode:
        sys.exit("training failed")
    table = Table()
    for measure in (measure_conversion, measure_opening, measure_memory, measure_verify, measure_rows):
        measure(folder, table)
    path = folder / f"peers-{datetime.date.today().isoformat()}.csv"
    table.write(path, described)
    failed = [row[0] for row in table.rows if row[5] == "NO"]
    print(f"written: {path}")
    if failed:
        print("not kept: " + "; ".join(failed))


if __name__ == "__main__":
    main()
