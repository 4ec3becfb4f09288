"""Writes docs/estimators.md from what happens: `python tests/python/make_support_table.py [--class NAME ...]`.

With `--class` the lines of those classes are printed instead.
"""

import collections
import json
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
DOCUMENT = HERE.parents[1] / "docs/estimators.md"
HEAD = """# Estimators

Every class of `sklearn.utils.all_estimators()` in scikit-learn {version}, written by `make estimators`: fitted, saved, loaded in another
process with `mmap_mode="r"` and without `trusted=`, and asked for answers to data it has not seen. *Identical* means that
each answer and each attribute has the same type, dtype, shape and bits. What is one object stays one object, but in joblib files,
which hold an array twice if two attributes share it.

{classes} classes in {files} kinds of file: {formats}. {identical} of {classes} are identical in all of them. *Native* means that
`onecopy.open` predicts from this instance without scikit-learn.

| class | loads | identical | native | methods compared |
|---|---|---|---|---|
"""


def results(names):
    """What `round_trip.py` finds, a dict per case and format."""
    program = HERE / "round_trip.py"
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, program, "write", folder, *names], check=True)
        done = subprocess.run(
            [sys.executable, program, "read", folder, "r"], check=True, capture_output=True, text=True
        )
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return [result for result in found if not result["case"].startswith("variant")]


def lines(found):
    """A line of the table for each class."""
    by_class = collections.defaultdict(list)
    for result in found:
        by_class[result["class"]].append(result)
    for name, group in sorted(by_class.items()):
        refused = [result for result in group if (result["wrong"] or "").startswith("UntrustedTypesError")]
        differing = sorted({result["format"] for result in group if result["wrong"]})
        methods = sorted(
            {method for result in group for method in result["methods"]} - {"repr", "get_params"}
        )
        native = (
            "yes"
            if all(result.get("native") for result in group)
            else "some"
            if any(result.get("native") for result in group)
            else ""
        )
        identical = "yes" if not differing else "not in " + ", ".join(differing)
        yield f"| {name} | {'no' if refused else 'yes'} | {identical} | {native} | {', '.join(methods)} |"


def main(names):
    found = results(names)
    table = list(lines(found))
    if names:
        print("\n".join(table))
        return
    import round_trip
    import sklearn

    formats = [name for name, _ in round_trip.formats()]
    identical = sum("| yes | yes |" in line for line in table)
    head = HEAD.format(
        version=sklearn.__version__,
        classes=len(table),
        files=len(formats),
        formats=", ".join(formats),
        identical=identical,
    )
    DOCUMENT.write_text(head + "\n".join(table) + "\n")
    print(f"{DOCUMENT}: {identical} of {len(table)} classes identical in {len(formats)} kinds of file")


if __name__ == "__main__":
    main([name for name in sys.argv[1:] if name != "--class"])
