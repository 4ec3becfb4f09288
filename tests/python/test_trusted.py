"""The list of trusted names is what files of real models use, and no more."""

import functools
import operator
import sys
import warnings

import joblib
import numpy as np
import onecopy
import pytest
import scipy.stats
from make_trusted import LIST, evidence, listed
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return evidence(tmp_path_factory.mktemp("evidence"))


def test_every_listed_use_is_made_by_a_real_model_or_says_why_it_is_there(found):
    used, _ = found
    assert [entry for entry, reason in sorted(listed().items()) if entry not in used and not reason] == []


def test_real_models_use_nothing_that_is_not_listed(found):
    _, refused = found
    assert refused == {}


def test_the_list_is_sorted_and_says_each_name_once():
    lines = [
        line.split("\t")[:2] for line in LIST.read_text().splitlines() if line and not line.startswith("#")
    ]
    assert len({tuple(line) for line in lines}) == len(lines)


UNTRUSTED = {
    "joblib.Memory reads and writes a directory that the file names": (
        Pipeline([("scale", StandardScaler())], memory=joblib.Memory("nowhere", verbose=0)),
        {"joblib.memory.Memory", "joblib._store_backends.FileSystemStoreBackend"},
    ),
    "numpy.vectorize calls any function it is given": (
        FunctionTransformer(np.vectorize(np.exp)),
        {"numpy.vectorize"},
    ),
    "operator.attrgetter reads any attribute of what users give": (
        FunctionTransformer(operator.attrgetter("T")),
        {"operator.attrgetter"},
    ),
    "operator.methodcaller calls any method of what users give": (
        FunctionTransformer(operator.methodcaller("sum")),
        {"operator.methodcaller"},
    ),
    "scipy.stats makes methods by executing text of its state": (
        Ridge(alpha=scipy.stats.randint(1, 3)),
        {"scipy.stats._discrete_distns.randint_gen", "scipy.stats._distn_infrastructure.rv_discrete_frozen"},
    ),
}


@pytest.mark.parametrize("reason", UNTRUSTED)
def test_what_could_do_harm_is_loaded_only_if_it_is_named(reason, tmp_path):
    value, names = UNTRUSTED[reason]
    onecopy.dump(value, tmp_path / "m.onecopy")
    with pytest.raises(onecopy.UntrustedTypesError) as refused:
        onecopy.load(tmp_path / "m.onecopy")
    assert names <= set(refused.value.types)
    assert type(onecopy.load(tmp_path / "m.onecopy", trusted=refused.value.types)) is type(value)


def test_nothing_is_imported_before_all_names_are_found_trusted(tmp_path):
    import subprocess

    onecopy.dump([LogisticRegression(), functools.partial(print)], tmp_path / "m.onecopy")
    program = "import onecopy, sys\ntry: onecopy.load(sys.argv[1])\nexcept onecopy.UntrustedTypesError as e: print(e.types, 'sklearn' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "m.onecopy"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "['builtins.print'] False"


def test_a_prefix_is_no_trust(tmp_path):
    onecopy.dump(FunctionTransformer(np.save), tmp_path / "m.onecopy")
    for trusted in [["numpy"], ["numpy.*"], ["numpy."], ["save"]]:
        with pytest.raises(onecopy.UntrustedTypesError):
            onecopy.load(tmp_path / "m.onecopy", trusted=trusted)
