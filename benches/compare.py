"""Prediction time of tree ensembles: onecopy beside every library that predicts from them, through Python, in one run.

    python benches/compare.py FOLDER [--only MODEL,...] [--features 32,100] [--batches 1,16,1000,50000] [--threads 1,2]

Trains each model once (kept in FOLDER), checks that onecopy's answers are those of the library that trained it, bit for bit, and
then times every contender on float32 rows. Contenders take turns within a round, so that a busy moment of the machine
hits all of them, rounds are repeated while other processes run, and every call gets other rows. Writes
`compare-<date>.csv` and, with matplotlib, `compare-<date>.svg`. What a contender cannot do, or is not installed, is left out and named. Needs what benches/compare-requirements.txt pins: `make compare`.
"""

import argparse
import csv
import datetime
import importlib
import os
import platform
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np

import onecopy

warnings.filterwarnings("ignore")

ROUND_SECONDS = 0.03
ROUNDS = 15
# Share of a processor that others may have in a round that counts as quiet.
QUIET = 0.1
# best peer's time / ours that is promised, by batch: one thread, and two for the largest.
PROMISED = {
    "forest-deep": {1: 6, 16: 10, 1000: 8, 50_000: 5},
    "forest-500x10": {1: 8, 16: 20, 1000: 6, 50_000: 4},
    "histogram-500x31": {1: 15, 16: 25, 1000: 12, 50_000: 8},
    "lightgbm-500x31": {1: 3, 16: 4, 1000: 3, 50_000: 2.5},
    "xgboost-1000x6": {1: 10, 16: 12, 1000: 3.5, 50_000: 3},
    "gradient-300x3": {1: 4, 16: 6, 1000: 4, 50_000: 2.3},
}

Predict = Callable[[np.ndarray], Any]
# threads -> predict
Contender = Callable[[int], Predict]


# Models.


def table(rows: int, columns: int) -> "tuple[np.ndarray, np.ndarray]":
    from sklearn.datasets import make_classification

    x, y = make_classification(
        rows, columns, n_informative=columns // 2, n_redundant=columns // 8, flip_y=0.1, random_state=0
    )
    return x.astype(np.float32), y


def forest_deep(columns: int) -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(100, n_jobs=-1, random_state=0).fit(*table(100_000, columns))


def forest_shallow(columns: int) -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(500, max_depth=10, n_jobs=-1, random_state=0).fit(*table(20_000, columns))


def histogram(columns: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    model = HistGradientBoostingClassifier(max_iter=500, max_leaf_nodes=31, early_stopping=False, random_state=0)
    return model.fit(*table(50_000, columns))


def lightgbm(columns: int) -> Any:
    from lightgbm import LGBMClassifier

    return LGBMClassifier(n_estimators=500, num_leaves=31, verbose=-1, random_state=0).fit(*table(50_000, columns))


def xgboost(columns: int) -> Any:
    from xgboost import XGBClassifier

    return XGBClassifier(n_estimators=1000, max_depth=6, random_state=0).fit(*table(50_000, columns))


def gradient(columns: int) -> Any:
    from sklearn.ensemble import GradientBoostingRegressor

    x, y = table(20_000, columns)
    return GradientBoostingRegressor(n_estimators=300, max_depth=3, random_state=0).fit(x, x[:, 0] * x[:, 1] + y)


MODELS = {
    "forest-deep": forest_deep,
    "forest-500x10": forest_shallow,
    "histogram-500x31": histogram,
    "lightgbm-500x31": lightgbm,
    "xgboost-1000x6": xgboost,
    "gradient-300x3": gradient,
}


# Contenders. Each is given the fitted model and gives `threads -> predict`.


def ours(model: Any, folder: Path) -> Contender:
    path = folder / "compare.onecopy"
    onecopy.dump(model, path)

    def contender(threads: int) -> Predict:
        opened = onecopy.open(path, threads=threads)
        return opened.predict_proba if "predict_proba" in opened.methods else opened.predict

    return contender


def library(model: Any, folder: Path) -> Contender:
    """The library that trained the model, by its own fastest call."""
    name = type(model).__module__.partition(".")[0]
    if name == "xgboost":
        booster = model.get_booster()

        def contender(threads: int) -> Predict:
            booster.set_param({"nthread": threads})
            return booster.inplace_predict

        return contender
    if name == "lightgbm":
        return lambda threads: lambda x: model.booster_.predict(x, num_threads=threads)
    if "n_jobs" in model.get_params():
        # More threads than one make scikit-learn slower below thousands of rows; it is given the better of both.
        return lambda threads: lambda x: _with_jobs(model, threads if len(x) > 1000 else 1)(x)
    return lambda threads: getattr(model, "predict_proba", model.predict)


def _with_jobs(model: Any, jobs: int) -> Predict:
    model.n_jobs = jobs
    return getattr(model, "predict_proba", model.predict)


def onnx_bytes(model: Any, folder: Path) -> bytes:
    """The model as ONNX, kept in `folder`: a large forest takes minutes to convert."""
    params = model.get_params()
    size = "-".join(str(params.get(name)) for name in ("n_estimators", "max_iter", "max_depth"))
    kept = folder / f"{type(model).__name__}-{size}-{model.n_features_in_}.onnx"
    if not kept.exists():
        kept.write_bytes(to_onnx(model).SerializeToString())
    return kept.read_bytes()


def to_onnx(model: Any) -> Any:
    columns = [None, model.n_features_in_]
    library = type(model).__module__.partition(".")[0]
    if library == "sklearn":
        import skl2onnx
        from skl2onnx.common.data_types import FloatTensorType

        options = {id(model): {"zipmap": False}} if hasattr(model, "predict_proba") else None
        return skl2onnx.to_onnx(model, initial_types=[("x", FloatTensorType(columns))], options=options)
    import onnxmltools
    from onnxmltools.convert.common.data_types import FloatTensorType as Floats

    if library == "xgboost":
        return onnxmltools.convert_xgboost(model, initial_types=[("x", Floats(columns))])
    return onnxmltools.convert_lightgbm(model, initial_types=[("x", Floats(columns))], zipmap=False)


def onnxruntime(model: Any, folder: Path) -> Contender:
    import onnxruntime as ort

    made = onnx_bytes(model, folder)

    def contender(threads: int) -> Predict:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        session = ort.InferenceSession(made, options, providers=["CPUExecutionProvider"])
        output = session.get_outputs()[-1].name
        return lambda x: session.run([output], {"x": x})[0]

    return contender


def treelite(model: Any, folder: Path) -> Contender:
    """GTIL, treelite's own predictor."""
    import treelite as tl

    name = type(model).__module__.partition(".")[0]
    if name == "sklearn":
        made = tl.sklearn.import_model(model)
    elif name == "xgboost":
        made = tl.frontend.from_xgboost(model.get_booster())
    else:
        made = tl.frontend.from_lightgbm(model.booster_)
    return lambda threads: lambda x: tl.gtil.predict(made, x, nthread=threads)


def tl2cgen(model: Any, folder: Path) -> Contender:
    """Trees as C code, compiled."""
    import tl2cgen as t2
    import treelite as tl

    library = folder / "compare.tl2cgen.so"
    t2.export_lib(tl.sklearn.import_model(model), toolchain="gcc", libpath=str(library), verbose=False)

    def contender(threads: int) -> Predict:
        compiled = t2.Predictor(str(library), nthread=threads)
        return lambda x: compiled.predict(t2.DMatrix(x, dtype="float32"))

    return contender


def lleaves(model: Any, folder: Path) -> Contender:
    """LightGBM models compiled to machine code."""
    import lleaves as ll

    text = folder / f"lleaves-{model.n_estimators}-{model.n_features_in_}.txt"
    if not text.exists():
        model.booster_.save_model(text)
    compiled = ll.Model(model_file=str(text))
    compiled.compile(cache=text.with_suffix(".o"))
    return lambda threads: lambda x: compiled.predict(x, n_jobs=threads)


def daal4py(model: Any, folder: Path) -> Contender:
    import daal4py as d4p

    made = d4p.mb.convert_model(model.get_booster() if hasattr(model, "get_booster") else model.booster_)

    def contender(threads: int) -> Predict:
        d4p.daalinit(threads)
        return made.predict_proba if hasattr(made, "predict_proba") else made.predict

    return contender


def sklearnex(model: Any, folder: Path) -> Contender:
    """scikit-learn-intelex, whose forests are trained by itself, with the same parameters."""
    import daal4py as d4p
    from sklearnex.ensemble import RandomForestClassifier

    kept = folder / f"sklearnex-{model.n_estimators}-{model.n_features_in_}.joblib"
    if not kept.exists():
        rows = 100_000 if model.max_depth is None else 20_000
        twin = RandomForestClassifier(model.n_estimators, max_depth=model.max_depth, random_state=0, n_jobs=-1)
        joblib.dump(twin.fit(*table(rows, model.n_features_in_)), kept)
    twin = joblib.load(kept)

    def contender(threads: int) -> Predict:
        d4p.daalinit(threads)
        twin.n_jobs = threads
        return twin.predict_proba

    return contender


def ydf(model: Any, folder: Path) -> Contender:
    import ydf as y

    made = y.from_sklearn(model)
    feature = made.input_feature_names()[0].partition(".")[0]
    return lambda threads: lambda x: made.predict({feature: x}, num_threads=threads)


FOREST = {"library": library, "onnxruntime": onnxruntime, "treelite": treelite, "sklearnex": sklearnex, "ydf": ydf}
CONTENDERS: "dict[str, dict[str, Callable[[Any, Path], Contender]]]" = {
    "forest-deep": FOREST,
    "forest-500x10": FOREST,
    "histogram-500x31": {"library": library, "onnxruntime": onnxruntime, "treelite": treelite},
    "lightgbm-500x31": {
        "library": library, "onnxruntime": onnxruntime, "treelite": treelite, "lleaves": lleaves, "daal4py": daal4py,
    },
    "xgboost-1000x6": {"library": library, "onnxruntime": onnxruntime, "treelite": treelite, "daal4py": daal4py},
    "gradient-300x3": {
        "library": library, "onnxruntime": onnxruntime, "treelite": treelite, "tl2cgen": tl2cgen, "ydf": ydf,
    },
}  # fmt: skip


# Measuring.


def same_bits(model: Any, contender: Contender, x: np.ndarray) -> bool:
    """Whether our answers are those of the library that trained the model, with one thread."""
    if hasattr(model, "n_jobs"):
        model.n_jobs = 1
    expected = getattr(model, "predict_proba", model.predict)(x)
    return all(np.array_equal(contender(threads)(x), expected) for threads in (1, 2))


def batches_of(x: np.ndarray, batch: int) -> "list[np.ndarray]":
    """Batches to take turns with; copies, so that all contenders see ordinary arrays."""
    count = max(1, min(64, len(x) // batch))
    return [np.ascontiguousarray(x[start * batch : (start + 1) * batch]) for start in range(count)]


def calls_per_round(predict: Predict, rows: "list[np.ndarray]") -> int:
    predict(rows[0])
    begin = time.perf_counter()
    predict(rows[-1])
    return max(1, min(2000, int(ROUND_SECONDS / max(time.perf_counter() - begin, 1e-7))))


def busy_elsewhere() -> float:
    """Seconds that the processors have spent on other processes."""
    with open("/proc/stat", encoding="ascii") as file:
        all_processors = file.readline().split()
    ticks = sum(int(all_processors[field]) for field in (1, 2, 3, 8))  # user, nice, system, stolen
    return ticks / os.sysconf("SC_CLK_TCK") - sum(os.times()[:2])


def measure(predicts: "dict[str, Predict]", x: np.ndarray, batch: int) -> "tuple[dict[str, list[float]], float]":
    """Seconds per call, a median for each round; and how much of a processor others had meanwhile.

    Two processors may share a core, and then what runs beside slows vector code far more than code that waits for
    memory. So rounds are repeated while others run, and of all rounds the quietest count.
    """
    rows = batches_of(x, batch)
    counts = {name: calls_per_round(predict, rows) for name, predict in predicts.items()}
    wanted, most = (ROUNDS, 4 * ROUNDS) if batch < 50_000 else (5, 7)
    rounds: list[tuple[float, dict[str, float]]] = []
    while len(rounds) < most and sum(busy < QUIET for busy, _ in rounds) < wanted:
        found = {}
        start, elsewhere = time.perf_counter(), busy_elsewhere()
        for name, predict in predicts.items():
            taken = []
            for call in range(counts[name]):
                part = rows[call % len(rows)]
                begin = time.perf_counter()
                predict(part)
                taken.append(time.perf_counter() - begin)
            found[name] = statistics.median(taken)
        rounds.append(((busy_elsewhere() - elsewhere) / (time.perf_counter() - start), found))
    rounds.sort(key=lambda each: each[0])
    del rounds[wanted:]
    return {name: [found[name] for _, found in rounds] for name in predicts}, rounds[-1][0]


def contenders(name: str, model: Any, folder: Path) -> "dict[str, Contender]":
    made = {"onecopy": ours(model, folder)}
    for peer, make in CONTENDERS[name].items():
        try:
            made[peer] = make(model, folder)
        except Exception as error:
            print(f"  {peer} left out: {type(error).__name__}: {str(error).splitlines()[0][:100] if str(error) else ''}")
    return made


def trained(name: str, columns: int, folder: Path) -> Any:
    kept = folder / f"{name}-{columns}.joblib"
    if not kept.exists():
        begin = time.perf_counter()
        joblib.dump(MODELS[name](columns), kept)
        print(f"  trained in {time.perf_counter() - begin:.0f} s", flush=True)
    return joblib.load(kept)


def compare(name: str, columns: int, args: argparse.Namespace, write: Any) -> "list[tuple[Any, ...]]":
    print(f"{name}, {columns} features", flush=True)
    model = trained(name, columns, args.folder)
    x = table(100_000, columns)[0][::-1].copy()
    made = contenders(name, model, args.folder)
    same = same_bits(model, made["onecopy"], x[:5000])
    print(f"  onecopy's answers are {'' if same else 'NOT '}those of the library, bit for bit", flush=True)
    summary = []
    for batch in args.batches:
        for threads in args.threads:
            if threads > 1 and batch < 1000:
                continue
            predicts = {}
            for contender, make in made.items():
                try:
                    predicts[contender] = make(threads)
                    predicts[contender](x[:batch])
                except Exception as error:
                    predicts.pop(contender, None)
                    print(f"  {contender} left out: {type(error).__name__}: {str(error).splitlines()[0][:100]}")
            found, busy = measure(predicts, x, batch)
            medians = {contender: statistics.median(times) for contender, times in found.items()}
            best = min((contender for contender in medians if contender != "onecopy"), key=medians.__getitem__)
            for contender, times in found.items():
                spread = statistics.quantiles(times, n=10) if len(times) > 1 else [times[0]] * 9
                row = [medians[contender], spread[0], spread[-1], medians[contender] / medians["onecopy"]]
                write([name, columns, batch, threads, contender, *(f"{v:.4g}" for v in (*(t * 1e6 for t in row[:3]), row[3]))])
            ratio = medians[best] / medians["onecopy"]
            wanted = PROMISED[name][batch] if batch in PROMISED[name] and threads == (2 if batch == 50_000 else 1) else None
            holds = "" if wanted is None else f"  promised {wanted}: {'holds' if ratio >= wanted else 'MISSED'}"
            ours_us, best_us = medians["onecopy"] * 1e6, medians[best] * 1e6
            print(
                f"  batch {batch:>6}, {threads} threads: onecopy {ours_us:>10.1f} us, {best} {best_us:>10.1f} us, "
                f"ratio {ratio:5.1f}{holds}{f'  (others had {busy:.1f} processors)' if busy >= QUIET else ''}",
                flush=True,
            )
            summary.append((name, columns, batch, threads, best, ratio))
    return summary


def chart(summary: "list[tuple[Any, ...]]", path: Path) -> None:
    try:
        import matplotlib
    except ImportError:
        print("no chart: matplotlib is not installed")
        return
    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "onecopy"
    import matplotlib.pyplot as plt

    labels = sorted({row[:2] for row in summary}, key=lambda label: (list(MODELS).index(label[0]), label[1]))
    cells = sorted({row[2:4] for row in summary})
    figure, axis = plt.subplots(figsize=(10, 0.9 * len(labels) + 1.5), layout="constrained")
    height = 0.8 / len(cells)
    for index, cell in enumerate(cells):
        points = [(labels.index(row[:2]) + index * height, row[5], row[4]) for row in summary if row[2:4] == cell]
        bars = axis.barh([p[0] for p in points], [p[1] for p in points], height, label=f"batch {cell[0]}, {cell[1]} threads")
        axis.bar_label(bars, [f"{ratio:.1f} x {peer}" for _, ratio, peer in points], fontsize=7, padding=2)
    axis.axvline(1, color="black", linewidth=0.8)
    axis.set_xscale("log")
    axis.set_yticks([i + 0.4 for i in range(len(labels))], [f"{name}, {columns} features" for name, columns in labels])
    axis.invert_yaxis()
    axis.set_xlabel("time of the fastest peer / onecopy's (log scale; above 1: onecopy is faster)")
    axis.legend(fontsize=7)
    figure.savefig(path, metadata={"Date": None})


def facts() -> "list[str]":
    versions = []
    for module in ("onecopy", "sklearn", "onnxruntime", "treelite", "lightgbm", "xgboost", "lleaves", "sklearnex", "ydf", "numpy"):
        try:
            versions.append(f"{module} {importlib.import_module(module).__version__}")
        except Exception:
            versions.append(f"{module} -")
    cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    flags = next((line.split() for line in open("/proc/cpuinfo") if line.startswith("flags")), [])
    simd = [flag for flag in ("avx2", "bmi2", "avx512f", "avx512_vbmi") if flag in flags]
    return [
        datetime.date.today().isoformat(),
        f"{cpu}, {os.cpu_count()} cpus, {' '.join(simd)}, load {os.getloadavg()[0]:.1f}, Linux {platform.release()}",
        ", ".join(versions),
        f"python benches/compare.py {' '.join(sys.argv[2:])}".strip(),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where models are kept and results go")
    parser.add_argument("--only", default=",".join(MODELS), help="models, by name")
    numbers = {"type": lambda text: [int(number) for number in text.split(",")]}
    parser.add_argument("--features", default=[32, 100], **numbers)
    parser.add_argument("--batches", default=[1, 16, 1000, 50_000], **numbers)
    parser.add_argument("--threads", default=[1, 2], **numbers)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    described = facts()
    rows: list[list[Any]] = []
    summary: list[tuple[Any, ...]] = []
    for columns in args.features:
        for name in args.only.split(","):
            summary += compare(name, columns, args, rows.append)
    stem = args.folder / f"compare-{datetime.date.today().isoformat()}"
    with open(f"{stem}.csv", "w", newline="", encoding="utf-8") as file:
        file.writelines(f"# {fact}\n" for fact in described)
        writer = csv.writer(file, lineterminator="\n")
        header = ["model", "features", "batch", "threads", "contender", "median_us", "p10_us", "p90_us", "to_onecopy"]
        writer.writerow(header)
        writer.writerows(rows)
    chart(summary, Path(f"{stem}.svg"))
    print(f"wrote {stem}.csv")


if __name__ == "__main__":
    main()
