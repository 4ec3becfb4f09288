"""Pickles real objects in every protocol and container, and writes Python's own view of each beside them.

    python pickles.py OUTPUT_DIRECTORY [--all]

OUTPUT_DIRECTORY/index.json lists {"name", "file", "view"}; the tests of the reader compare its graph with the view.
`--all` fits every estimator of scikit-learn instead of a few.
"""

import _compat_pickle
import bz2
import collections
import copyreg
import datetime
import decimal
import fractions
import functools
import gzip
import io
import json
import lzma
import pathlib
import pickle
import struct
import sys
import types
import unittest
import uuid
import warnings
import zlib

import joblib
import numpy as np
import scipy.sparse

PROTOCOLS = range(6)
COMPRESSORS = ["zlib", "gzip", "bz2", "lzma", "xz", "lz4"]
FEW = """RandomForestClassifier RandomForestRegressor ExtraTreesClassifier DecisionTreeClassifier GradientBoostingClassifier
HistGradientBoostingRegressor IsolationForest LinearRegression Ridge LogisticRegression LogisticRegressionCV Lasso SGDClassifier SVC KNeighborsClassifier
KMeans GaussianMixture GaussianProcessRegressor MLPClassifier PCA StandardScaler OneHotEncoder OrdinalEncoder ColumnTransformer Pipeline
CountVectorizer TfidfVectorizer KBinsDiscretizer SplineTransformer VotingClassifier StackingRegressor CalibratedClassifierCV
GridSearchCV LabelBinarizer MultinomialNB LinearDiscriminantAnalysis NearestNeighbors KernelDensity BayesianRidge""".split()


class Node:
    """A plain object that may refer to itself."""

    def __init__(self, **attributes):
        self.__dict__.update(attributes)


class Slots:
    __slots__ = ("a", "b")


class ListOf(list):
    pass


class DictOf(dict):
    pass


class WithKeywords:
    def __new__(cls, a, *, b):
        self = object.__new__(cls)
        self.ab = (a, b)
        return self

    def __getnewargs_ex__(self):
        return (self.ab[0],), {"b": self.ab[1]}


class View:
    """What the graph of a pickle should be, as JSON."""

    def __init__(self, protocol):
        self.protocol = protocol
        self.path = []
        self.kept = []

    def of(self, value):
        if value is None or isinstance(value, bool):
            return value
        kind = type(value)
        if kind is int:
            if -(2**63) <= value < 2**63:
                return value
            size = (value + (value < 0)).bit_length() // 8 + 1
            return {"big": value.to_bytes(size, "little", signed=True).hex()}
        if kind is float:
            return {"float": struct.pack("<d", value).hex()}
        if kind is str:
            return {"str": value} if len(value) < 1000 else {"str": zlib.crc32(value.encode()), "len": len(value.encode())}
        if kind in (bytes, bytearray):
            return {kind.__name__: zlib.crc32(value), "len": len(value)}
        if isinstance(value, np.dtype):
            return {"dtype": dtype(value)}
        if isinstance(value, np.generic) and value.dtype.kind != "O":
            return {"scalar": dtype(value.dtype), "hex": value.__reduce__()[1][1].hex()}
        if any(value is seen for seen in self.path):
            return {"cycle": True}
        self.path.append(value)
        self.kept.append(value)
        try:
            return self.compound(value, kind)
        finally:
            self.path.pop()

    def compound(self, value, kind):
        if kind in (tuple, list, set, frozenset):
            return {kind.__name__: [self.of(item) for item in value]}
        if kind is dict:
            return {"dict": [[self.of(key), self.of(item)] for key, item in value.items()]}
        if kind in (np.ndarray, np.memmap):
            return self.array(value)
        if kind is np.matrix:
            return {"class": self.name(kind, kind.__name__), "array": self.array(value)}
        if isinstance(value, type) and value not in (type(None), type(NotImplemented), type(...)):
            return self.name(value, value.__qualname__)
        if isinstance(value, types.FunctionType):
            return self.name(value, value.__qualname__)
        if isinstance(value, type):
            made = {type(None): None, type(...): ..., type(NotImplemented): NotImplemented}
            return self.call(("call", type, (made[value],), None))
        reducer = copyreg.dispatch_table.get(kind)
        made = reducer(value) if reducer else value.__reduce_ex__(self.protocol)
        if isinstance(made, str):
            return self.name(value, made)
        callable, args, state, items, pairs = (tuple(made) + (None,) * 5)[:5]
        self.kept.append(made)
        return self.call(self.make(callable, args), state, items, pairs)

    def make(self, callable, args):
        if callable is copyreg.__newobj__:
            return "new", args[0], args[1:], None
        if callable is copyreg.__newobj_ex__ and self.protocol >= 4:
            return "new", args[0], args[1], args[2]
        if callable is copyreg._reconstructor and args[1] is object:
            return "new", args[0], (), None
        return "call", callable, args, None

    def call(self, made, state=None, items=None, pairs=None):
        make, callable, args, kwargs = made
        return {
            "make": make,
            "callable": self.of(callable),
            "args": self.of(tuple(args)),
            "kwargs": None if kwargs is None else self.of(kwargs),
            "items": [self.of(item) for item in items or ()],
            "pairs": [[self.of(key), self.of(item)] for key, item in pairs or ()],
            "state": None if state is None else {"is": self.of(state)},
        }

    def name(self, value, qualname):
        module = pickle.whichmodule(value, qualname)
        if self.protocol < 3:
            if (module, qualname) in _compat_pickle.REVERSE_NAME_MAPPING:
                module, qualname = _compat_pickle.REVERSE_NAME_MAPPING[module, qualname]
            else:
                module = _compat_pickle.REVERSE_IMPORT_MAPPING.get(module, module)
        return {"name": f"{module}:{qualname}"}

    def array(self, value):
        order = "F" if value.flags.fnc else "C"
        if self.protocol == 5 and type(value) is np.ndarray and not value.dtype.hasobject:
            callable, (buffer, *rest) = value.__reduce_ex__(5)[:2]
            if rest[2:3] == ["K"]:
                memory = np.frombuffer(buffer, rest[0]).reshape(rest[1])
                return self.call(("call", np.transpose, (memory, rest[3]), None))
        if value.dtype.hasobject:
            items = [self.of(item) for item in np.asarray(value).flat]
            return {"objects": items, "shape": list(value.shape), "order": order}
        crc = zlib.crc32(value.tobytes("F" if order == "F" else "C"))
        return {"array": dtype(value.dtype), "shape": list(value.shape), "order": order, "crc": crc}


def dtype(value):
    if value.names is None:
        return value.str
    fields = []
    for name in value.names:
        field, offset = value.fields[name][:2]
        fields.append([name, field.base.str, list(field.shape), offset])
    return {"fields": fields, "itemsize": value.itemsize, "aligned": value.isalignedstruct}


def plain_values():
    rng = np.random.default_rng(0)
    yield "scalars", [None, True, False, 0, -1, 255, 256, 65536, -(2**31), 2**31, 2**63 - 1, -(2**63), 2**63, -(2**63) - 1, 2**2000, 1.5, -0.0, float("inf"), float("nan"), 1e300, 0.1]
    yield "text", ["", "a", "\n\\u0041\\\\", "\u00e9\u20ac\U0001f600", "x" * 300, "\u00e9" * 5000, "z" * 70000, "\r\n\x1a\0"]
    yield "bytes", [b"", b"a", bytes(range(256)), bytes(range(256)) * 20, bytearray(b""), bytearray(range(256)), bytearray(9000)]
    yield "containers", [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), [], {}, set(), frozenset(), {1, 2}, frozenset({3}), {1: 2, "1": 3, (1, "a"): 4, None: 5, b"x": 6, 2.5: 7}]
    yield "long list", list(range(3000))
    yield "long dict", {f"key {i}": i for i in range(3000)}
    shared = ["shared"]
    yield "sharing", [shared, shared, {"a": shared}]
    me = []
    me.append(me)
    yield "recursive list", me
    me = {}
    me["me"] = me
    yield "recursive dict", me
    me = ([],)
    me[0].append(me)
    yield "recursive tuple", me
    me = Node(a=1)
    me.me = me
    me.list = [me]
    yield "recursive object", me
    slots = Slots()
    slots.a, slots.b = 1, [2]
    lists, dicts = ListOf([1, 2]), DictOf(a=1)
    lists.x = dicts.x = 3
    ordered, default = collections.OrderedDict(b=1, a=2), collections.defaultdict(list, a=[1])
    yield "objects", [lists, dicts, ordered, default, collections.deque([1, 2], 5), collections.Counter("aab")]
    yield "library", [1 + 2j, datetime.datetime(2020, 1, 2, 3), datetime.timedelta(1), decimal.Decimal("1.5"), fractions.Fraction(1, 3), range(3), slice(1, None), uuid.UUID(int=5), ..., NotImplemented, type(None), int, len]
    yield "functions", [functools.partial(np.clip, a_min=0), np.exp, np.add, json.dumps, str.upper]
    yield "slots", slots, range(2, 6)
    yield "keywords", WithKeywords(1, b=2), range(4, 6)
    yield "dtypes", [np.dtype(text) for text in ["f8", ">f8", "U5", "S3", "M8[ns]", "m8[25s]", "M8", "?", "V7", "c16", ">i2"]]
    yield "record dtypes", [np.dtype([("a", "f8"), ("b", "<i4", (2, 3))]), np.dtype([("a", "i1"), ("b", ">f8")], align=True)]
    yield "scalars of numpy", [np.float64(1.5), np.int8(-3), np.bool_(True), np.str_("ab"), np.str_(""), np.bytes_(b"x"), np.datetime64("2020-01-01"), np.complex64(1j)]
    kinds = ["i1", "u2", "<i4", ">i8", "f2", "f4", "f8", ">f8", "c8", "c16", "?", "U3", "S4", "M8[D]", "m8[ms]"]
    yield "arrays", [np.arange(6).reshape(2, 3).astype(kind) for kind in kinds]
    yield "big arrays", [rng.normal(size=(30, 40)), np.asfortranarray(rng.normal(size=(30, 40))), np.zeros(100_000, "u1")]
    yield "shapes", [np.array(5.0), np.zeros((0, 3)), np.zeros(0, "i4"), np.zeros((1, 1, 1)), np.asfortranarray(np.zeros((2, 3, 4))), np.arange(10)[::2], np.arange(12).reshape(3, 4)[:, 1:3]]
    records = np.zeros(5, [("a", "f8"), ("b", "<i4", (2,)), ("c", "u1")])
    records["a"] = range(5)
    yield "records", [records, np.zeros(2, np.dtype([("a", "i1"), ("b", "f8")], align=True)), records[0]]
    objects = np.empty((2, 2), object)
    objects[:] = [["a", 1], [None, [2.5]]]
    yield "object arrays", [objects, np.asfortranarray(objects), np.array([], object), np.array({}, object)]
    nested = np.empty(2, object)
    nested[:] = [objects, np.arange(3)]
    yield "nested object arrays", nested
    yield "matrix", np.matrix([[1.0, 2.0]])
    yield "masked", np.ma.masked_array([1.0, 2.0], [True, False])
    yield "sparse", [scipy.sparse.random(20, 20, 0.1, kind, random_state=0) for kind in ("csr", "csc", "coo")]
    yield "random", [np.random.RandomState(0), np.random.default_rng(0)]
    yield "strange dtypes", [np.array(["a", "bc"], np.dtypes.StringDType()), np.ones(3, np.longdouble), np.zeros(2, [("a", [("b", "f8")])]), np.rec.array([(1, 2.0)])], PROTOCOLS, "unseen"
    yield "transposed", np.arange(24).reshape(2, 3, 4).transpose(1, 0, 2), PROTOCOLS, "unseen"


def fitted(names):
    from sklearn.utils import all_estimators
    from sklearn.utils._test_common.instance_generator import _construct_instances

    def instances(kind):
        try:
            return list(_construct_instances(kind))
        except unittest.SkipTest:
            print("not made:", kind.__name__, file=sys.stderr)
            return []

    rng = np.random.RandomState(0)
    x = np.abs(rng.normal(size=(60, 4))).round(3)
    classes = np.arange(60) % 3
    inputs = [(x, classes), (x, x[:, 0]), (x, x[:, :2]), (x, (x[:, :2] > 0.7).astype(int)), (x[:, 0], x[:, 1]), (classes,), (["old mill", "old tree", "red mill on hill"] * 20, classes), (["a", "b"] * 20,), ([{"a": 1}, {"b": 2}],), ([["a"], ["b", "c"]],)]
    for name, kind in all_estimators():
        if names and name not in names:
            continue
        for number, instance in enumerate(instances(kind)):
            for data in inputs:
                try:
                    instance.fit(*data)
                    break
                except Exception:
                    pass
            else:
                print("not fitted:", name, file=sys.stderr)
                continue
            yield f"{name} {number}", instance
            if names:
                break


def main(directory, everything):
    directory = pathlib.Path(directory)
    index = []

    def write(name, data, view):
        file = f"{len(index)}.bin"
        (directory / file).write_bytes(data)
        index.append({"name": name, "file": file, "view": view})

    def dump_all(name, value, protocols=PROTOCOLS, mode="seen"):
        for protocol in protocols:
            try:
                data = pickle.dumps(value, protocol)
            except Exception as error:
                print("not pickled:", name, protocol, error, file=sys.stderr)
                continue
            write(f"{name}, pickle {protocol}", data, {"unseen": True} if mode == "unseen" else View(protocol).of(value))
        if not set(protocols) >= {4}:
            return
        view = {"unseen": True} if mode == "unseen" else View(4).of(value)
        for compressor in [None, *COMPRESSORS]:
            stream = io.BytesIO()
            joblib.dump(value, stream, compress=(compressor, 3) if compressor else 0, protocol=4)
            write(f"{name}, joblib {compressor}", stream.getvalue(), view)

    for case in plain_values():
        dump_all(*case)
    values = {"of": [1, np.arange(2000.0)]}
    for name, compress in [("gzip", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress), ("zlib", zlib.compress)]:
        write(f"pickle in {name}", compress(pickle.dumps(values, 4)), View(4).of(values))
    for kind in ["<f8", ">i4", "<U3", "|b1", "<M8[us]"]:
        stream = io.BytesIO()
        array = np.arange(12).reshape(3, 4).astype(kind)
        np.save(stream, np.asfortranarray(array))
        write(f"npy {kind}", stream.getvalue(), View(4).of(np.asfortranarray(array)))
    for name, instance in fitted(None if everything else FEW):
        dump_all(name, instance)
    (directory / "index.json").write_text(json.dumps(index))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    sys.modules.setdefault("pickles", sys.modules["__main__"])
    sys.setrecursionlimit(5000)
    main(sys.argv[1], "--all" in sys.argv)
