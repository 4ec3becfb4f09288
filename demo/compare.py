"""Compares ways of giving one forest to four fresh processes.

    python demo/compare.py demo-output

Converts and verifies the forests that `train.py` left in the folder, then starts 4 workers for each way: they load
the model, predict one row, then 2,000 rows, and stay while their memory is read. Prints a table per forest, and draws the large one
as `comparison.svg`.
"""

import subprocess
import sys
import time
from pathlib import Path

from chart import Bar, Panel, draw
from workers import ONECOPY, empty, run

CONTENDERS = [
    # name, kind, ending of the file
    ("pickle 5", "pickle", "pkl"),
    ("joblib", "joblib", "joblib"),
    ('joblib mmap_mode="r"', "mmap", "joblib"),
    ("onecopy.load", "load", "onecopy"),
    ("onecopy.open", "open", "onecopy"),
    ("onecopy command", "onecopy", "onecopy"),
]
OURS = {label for label, _, ending in CONTENDERS if ending == "onecopy"}


def convert(folder, name):
    source, target = folder / f"{name}.joblib", folder / f"{name}.onecopy"
    start = time.perf_counter()
    subprocess.run([ONECOPY, "convert", source, "-o", target], check=True, stdout=subprocess.DEVNULL)
    converted = time.perf_counter()
    subprocess.run([ONECOPY, "verify", target], check=True, stdout=subprocess.DEVNULL)
    verified = time.perf_counter()
    print(f"{name}: converted in {converted - start:.2f} s, every byte verified in {verified - converted:.2f} s")


def labels_identical(folder, name):
    out = folder / f"{name}.labels.npy"
    subprocess.run([ONECOPY, "predict", folder / f"{name}.onecopy", folder / f"{name}.x.npy", "-o", out], check=True)
    return out.read_bytes() == (folder / f"{name}.predict.npy").read_bytes()


def measure(folder, name):
    rows, expected = folder / f"{name}.x.npy", folder / f"{name}.predict_proba.npy"
    floors = {"python": empty("joblib", rows).pss, "onecopy": empty("onecopy", rows).pss}
    for label, kind, ending in CONTENDERS:
        model = folder / f"{name}.{ending}"
        result = run(kind, model, rows, "predict_proba", expected)
        result.identical = result.identical and (kind != "onecopy" or labels_identical(folder, name))
        memory = max(0, result.pss - floors.get(kind, floors["python"]))
        yield label, model.stat().st_size, result, memory


def seconds(value):
    return f"{value * 1e6:.0f} us" if value < 1e-3 else f"{value * 1e3:.1f} ms" if value < 1 else f"{value:.2f} s"


def megabytes(value):
    return f"{value / 1e6:,.1f} MB"


def print_table(name, results):
    head = ("", "file", "load", "first prediction", "memory of 4 workers", "same bits")
    lines = [head] + [
        (
            label,
            megabytes(size),
            seconds(result.open_s),
            seconds(result.first_prediction_s),
            megabytes(memory),
            "yes" if result.identical else "NO",
        )
        for label, size, result, memory in results
    ]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    print(f"\n{name}: 4 fresh workers, slowest of them; memory above that of 4 empty workers")
    for line in lines:
        cells = [cell.ljust(width) if at == 0 else cell.rjust(width) for at, (cell, width) in enumerate(zip(line, widths))]
        print("  " + "  ".join(cells).rstrip())


def draw_chart(path, results):
    panels = [
        Panel("Memory of 4 workers", [Bar(label, memory, megabytes(memory)) for label, _, _, memory in results]),
        Panel(
            "Time to first prediction",
            [Bar(label, r.first_prediction_s, seconds(r.first_prediction_s)) for label, _, r, _ in results],
        ),
        Panel("File on disk", [Bar(label, size, megabytes(size)) for label, size, _, _ in results]),
    ]
    trees = megabytes(dict((label, size) for label, size, _, _ in results)["joblib"])
    draw(path, f"One random forest ({trees} as joblib), four fresh processes", panels, highlight=OURS)


def main():
    folder = Path(sys.argv[1])
    start = time.perf_counter()
    for name in ("digits", "large"):
        convert(folder, name)
        results = list(measure(folder, name))
        print_table(name, results)
        print()
    draw_chart(folder / "comparison.svg", results)
    print(f"drawn: {folder / 'comparison.svg'} (compared in {time.perf_counter() - start:.0f} s)")
    if not all(result.identical for _, _, result, _ in results):
        sys.exit("error: some predictions differ from scikit-learn's")


if __name__ == "__main__":
    main()
