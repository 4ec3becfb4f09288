"""Every estimator through every kind of file, and back in another process.

    python round_trip.py write FOLDER [NAME ...]    fits, saves, converts, and notes what each method answers
    python round_trip.py read FOLDER [MODE]         loads each file and compares; prints a line of JSON per file

`MODE` is an `mmap_mode`: r, c or none. Files that were converted to the same bytes are loaded once.
"""

import json
import pathlib
import pickle
import sys
import warnings

import joblib

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

PROTOCOLS = [2, 3, 4, 5]
COMPRESSORS = [None, "zlib", "gzip", "bz2", "xz", "lzma", "lz4"]


def formats():
    """Name and function that saves an object, for each kind of file."""
    import onecopy

    yield "dump", lambda value, path: onecopy.dump(value, path, sync=False)
    for protocol in PROTOCOLS:
        yield (
            f"pickle {protocol}",
            lambda value, path, protocol=protocol: foreign(
                path, lambda file: file.write_bytes(pickle.dumps(value, protocol))
            ),
        )
    for compressor in COMPRESSORS:
        options = {"compress": (compressor, 3)} if compressor else {}
        yield (
            f"joblib {compressor or 'raw'}",
            lambda value, path, options=options: foreign(
                path, lambda file: joblib.dump(value, file, **options)
            ),
        )


def foreign(path, save):
    import onecopy

    file = path.with_suffix(".foreign")
    save(file)
    onecopy.convert(file, path)
    file.unlink()


def all_cases(names):
    import estimators
    import variants

    if names != {"variants"}:
        yield from estimators.cases(names or None)
    if not names or "variants" in names:
        for name, value, fresh in variants.variants():
            yield estimators.Case(f"variant: {name}", value, fresh or {})


def write(folder, names):
    import estimators

    folder.mkdir(parents=True, exist_ok=True)
    for number, case in enumerate(all_cases(names)):
        saved = pickle.dumps(case.estimator, 5)
        again = pickle.loads(saved)
        given = estimators.answers(again, case.fresh) if case.fresh else {}
        case_folder = folder / f"{number:04d}"
        case_folder.mkdir(exist_ok=True)
        (case_folder / "case.pkl").write_bytes(
            pickle.dumps((case.name, type(case.estimator).__name__, saved, case.fresh, given))
        )
        (case_folder / "case.json").write_text(
            json.dumps({"case": case.name, "class": type(case.estimator).__name__})
        )
        problems = {}
        for format, save in formats():
            try:
                save(pickle.loads(saved), case_folder / f"{format}.onecopy")
            except Exception as error:
                problems[format] = f"{type(error).__name__}: {error}"
        (case_folder / "problems.json").write_text(json.dumps(problems))


def read(folder, mode):
    import estimators
    import onecopy

    for case_folder in sorted(path for path in folder.iterdir() if path.is_dir()):
        name, kind, saved, fresh, given = pickle.loads((case_folder / "case.pkl").read_bytes())
        original = pickle.loads(saved)
        seen = {}
        for format, problem in json.loads((case_folder / "problems.json").read_text()).items():
            print(
                json.dumps({"case": name, "class": kind, "format": format, "wrong": problem, "methods": []})
            )
        for path in sorted(case_folder.glob("*.onecopy")):
            found = onecopy.inspect(path)
            digest = found["digest"]
            if digest not in seen:
                seen[digest] = one(path, mode, original, fresh, given, estimators, onecopy)
            wrong = seen[digest]
            methods = [
                method for method, answer in given.items() if not isinstance(answer, estimators.Raised)
            ]
            print(
                json.dumps(
                    {
                        "case": name,
                        "class": kind,
                        "format": path.stem,
                        "wrong": wrong,
                        "methods": methods,
                        "native": "methods" in json.dumps(found["native"]),
                    }
                ),
                flush=True,
            )


def one(path, mode, original, fresh, given, estimators, onecopy):
    """What is wrong with a loaded file, or None."""
    try:
        loaded = onecopy.load(path, mmap_mode=mode)
        if given:
            wrong = estimators.difference(given, estimators.answers(loaded, fresh))
            if wrong:
                return wrong
        # Answering may fill caches, so attributes are compared on a copy that has not answered.
        sharing = not path.stem.startswith("joblib")
        return estimators.difference(original, onecopy.load(path, mmap_mode=mode), sharing)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    action, folder, *more = sys.argv[1:]
    if action == "write":
        write(pathlib.Path(folder), set(more))
    else:
        read(pathlib.Path(folder), {"none": None}.get(*(more or ["r"]) * 2))
