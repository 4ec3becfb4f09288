"""The evidence behind crates/python/src/trusted.tsv: `python tests/python/make_trusted.py [FOLDER]`.

Saves every estimator and what people put into them as pickles of protocols 2 to 5 and as joblib files, converts each, and prints
what is in the list without evidence or reason, and what the files use that is not in the list.
"""

import pathlib
import pickle
import sys
import tempfile
import warnings

import joblib

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
LIST = HERE.parents[1] / "crates/python/src/trusted.tsv"


def evidence(folder: pathlib.Path) -> tuple[set, dict]:
    """Uses of the list that files make, as (module, name, use); refused names, with how and by which case."""
    import onecopy
    from onecopy import _onecopy
    from round_trip import all_cases

    used, refused = set(), {}
    source, target = folder / "model", folder / "model.onecopy"
    for case in all_cases(set()):
        for kind in [2, 3, 4, 5, "joblib", "dump"]:
            if kind == "dump":
                onecopy.dump(case.estimator, target, sync=False)
            else:
                joblib.dump(case.estimator, source) if kind == "joblib" else source.write_bytes(
                    pickle.dumps(case.estimator, kind)
                )
                onecopy.convert(source, target)
            uses, unknown = _onecopy._evidence(target)
            used.update(uses)
            refused.update({name: f"{how} ({case.name}, {kind})" for name, how in unknown})
    return used, refused


def listed() -> dict:
    """Each use of the list, as (module, name, use), with the reason beside it."""
    from onecopy import _onecopy

    reasons = {}
    for line in LIST.read_text().splitlines():
        if line and not line.startswith("#"):
            module, name, _, *reason = line.split("\t")
            reasons[module, name] = reason[0] if reason else ""
    return {
        (module, name, use): reasons[module, name]
        for module, name, uses in _onecopy._trusted_names()
        for use in uses
    }


def main(folder):
    used, refused = evidence(folder)
    for entry, reason in sorted(listed().items()):
        if entry not in used and not reason:
            print("without evidence or reason:", *entry, sep="\t")
    for name, how in sorted(refused.items()):
        print("not in the list:", name, how, sep="\t")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as scratch:
        main(pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else scratch))
