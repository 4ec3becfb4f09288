"""Writes the hostile pickles of this folder: `python make.py`. Each is named after what is wrong with it.

The test beside them, src/convert/tests/hostile.rs, says what the reader answers to each.
"""

import bz2
import gzip
import lzma
import pathlib
import struct
import zlib

HERE = pathlib.Path(__file__).parent
P4 = b"\x80\x04"


def text(value):
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def name(module, qualname):
    return text(module) + text(qualname) + b"\x93"


WRAPPER = P4 + name("joblib.numpy_pickle", "NumpyArrayWrapper") + b")\x81}(" + text("subclass") + name("numpy", "ndarray")


def wrapper(shape, dtype, order=b"C", extra=b""):
    made = name("numpy", "dtype") + text(dtype) + b"\x89\x88\x87R(K\x03" + text("<") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    return WRAPPER + text("shape") + shape + text("order") + text(order.decode()) + text("dtype") + made + text("allow_mmap") + b"\x88" + extra + b"ub"


RECONSTRUCT = name("numpy._core.multiarray", "_reconstruct") + name("numpy", "ndarray") + b"K\x00\x85C\x01b\x87R"
F8 = name("numpy", "dtype") + text("f8") + b"\x89\x88\x87R(K\x03" + text("<") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"

DOORS = {
    "door-reduce-os-system": P4 + name("os", "system") + text("false") + b"\x85R.",
    "door-global-protocol-0": b"cos\nsystem\n(S'false'\ntR.",
    "door-dotted-name-in-trusted-module": P4 + name("sklearn.datasets._base", "os.system") + text("false") + b"\x85R.",
    "door-inst": b"(S'false'\nios\nsystem\n.",
    "door-obj": b"(cos\nsystem\nS'false'\no.",
    "door-newobj": P4 + name("os", "system") + text("false") + b"\x85\x81.",
    "door-newobj-ex": P4 + name("subprocess", "Popen") + b")}" + text("args") + text("false") + b"s\x92.",
    "door-memoised-stack-global": P4 + text("os") + b"\x940" + text("system") + b"\x940h\x00h\x01\x93\x940h\x02" + text("false") + b"\x85R.",
    "door-getattr-chain": P4 + name("builtins", "getattr") + name("os", "path") + text("os") + b"\x86R.",
    "door-copyreg-reconstructor": P4 + name("copyreg", "_reconstructor") + name("os", "system") + name("builtins", "object") + b"N\x87R.",
    "door-numpy-load-gadget": P4 + name("numpy", "load") + text("/etc/passwd") + b"\x85R.",
    "door-build-on-a-name": P4 + name("os", "system") + b"}b.",
    "door-payload-then-pop": P4 + name("os", "system") + text("false") + b"\x85R0N.",
    "door-payload-then-pop-mark": P4 + b"(" + name("os", "system") + text("false") + b"\x85R1N.",
    "door-payload-before-broken-tail": P4 + name("os", "system") + text("false") + b"\x85R\xff",
    "door-second-pickle": P4 + b"N." + P4 + name("os", "system") + text("false") + b"\x85R.",
    "door-persid": b"Pfile:///etc/passwd\n.",
    "door-binpersid": P4 + b"NQ.",
    "door-ext1": P4 + b"\x82\x01.",
    "door-ext2": P4 + b"\x83\x01\x00.",
    "door-ext4": P4 + b"\x84\x01\x00\x00\x00.",
    "door-next-buffer": b"\x80\x05\x97.",
    "door-readonly-buffer": b"\x80\x05N\x98.",
    "door-call-of-text": P4 + text("os.system") + b")R.",
    "door-stack-global-of-bytes": P4 + b"C\x02osC\x06system\x93.",
}

EXHAUSTION = {
    "exhaust-put-index-2-31": P4 + b"Nr" + struct.pack("<I", 2**31) + b".",
    "exhaust-put-index-2-64": b"Np18446744073709551615\n.",
    "exhaust-put-index-2-65": b"Np36893488147419103232\n.",
    "exhaust-many-far-puts": P4 + b"N" + b"".join(b"r" + struct.pack("<I", 2**31 + 7919 * i) for i in range(2000)) + b".",
    "exhaust-frame-length": P4 + b"\x95" + b"\xff" * 8 + b"N.",
    "exhaust-bytearray8-length": b"\x80\x05\x96" + b"\xff" * 7 + b"\x7f.",
    "exhaust-binbytes8-length": P4 + b"\x8e" + b"\xff" * 8 + b".",
    "exhaust-binunicode8-length": P4 + b"\x8d" + b"\xff" * 8 + b".",
    "exhaust-binbytes-length": P4 + b"B\xff\xff\xff\xff.",
    "exhaust-long4-length": P4 + b"\x8b\xff\xff\xff\x7f.",
    "exhaust-mark-flood": P4 + b"(" * 20_000 + b"N.",
    "exhaust-dup-bomb": P4 + b"N" + b"2\x86" * 30_000 + b".",
    "exhaust-deep-tuples": gzip.compress(P4 + b")" + b"\x85" * 1_000_000 + b".", mtime=0),
    "exhaust-deep-lists": gzip.compress(P4 + b"]" * 1_000_000 + b"a" * 999_999 + b".", mtime=0),
    "exhaust-long-decimal-int": b"I" + b"9" * 100_000 + b"\n.",
    "exhaust-long-decimal-long": b"L-" + b"9" * 4301 + b"L\n.",
    "exhaust-colliding-ints": P4 + b"}(" + b"".join(b"\x8a\x0a" + (i * (2**61 - 1)).to_bytes(10, "little") + b"N" for i in range(1, 8_000)) + b"u.",
    "exhaust-shared-lists": P4 + b"]\x94" + b"".join(b"0]h" + bytes([i]) + b"ah" + bytes([i]) + b"a\x94" for i in range(200)) + b".",
    "exhaust-array-from-one-blob": P4 + b"B" + struct.pack("<I", 8000) + b"\0" * 8000 + b"\x94(" + (RECONSTRUCT + b"(K\x01M\xe8\x03\x85" + F8 + b"\x89h\x00tb") * 300 + b"l.",
    "exhaust-numpy-void": P4 + name("numpy._core.multiarray", "scalar") + name("numpy", "dtype") + text("V2147483647") + b"\x89\x88\x87R(K\x03" + text("|") + b"NNNJ\xff\xff\xff\x7fK\x01K\x00tbC\x00\x86R.",
    "exhaust-bomb-zlib": zlib.compress(P4 + b"N" * (3 << 20), 9),
    "exhaust-bomb-gzip": gzip.compress(P4 + b"N" * (3 << 20), 9, mtime=0),
    "exhaust-bomb-bz2": bz2.compress(P4 + b"N" * (3 << 20), 9),
    "exhaust-bomb-xz": lzma.compress(P4 + b"N" * (3 << 20)),
    "exhaust-bomb-lzma": lzma.compress(P4 + b"N" * (3 << 20), lzma.FORMAT_ALONE),
    "exhaust-lzma-dictionary-4-gib": b"]\0\0\0\xff" + lzma.compress(b"N.", lzma.FORMAT_ALONE)[5:],
    "exhaust-bomb-in-a-bomb": gzip.compress(gzip.compress(P4 + b"N" * (3 << 20), 9, mtime=0), 9, mtime=0),
}

STRUCTURE = {
    "structure-empty": b"",
    "structure-stack-underflow": P4 + b"0.",
    "structure-mark-underflow": P4 + b"t.",
    "structure-pop-through-mark": P4 + b"N(\x85.",
    "structure-stop-on-empty-stack": P4 + b".",
    "structure-values-left-over": P4 + b"NN.",
    "structure-missing-get": P4 + b"h\x05.",
    "structure-missing-get-text": b"g77\n.",
    "structure-negative-get": b"Np-1\n.",
    "structure-self-reference": P4 + b"]\x94h\x00a.",
    "structure-unhashable-key": P4 + b"}]Ns.",
    "structure-unhashable-key-in-tuple": P4 + b"}]\x85Ns.",
    "structure-unhashable-element": P4 + b"\x8f(]\x90.",
    "structure-odd-setitems": P4 + b"}(Nu.",
    "structure-setitem-on-list": P4 + b"]NNs.",
    "structure-append-on-dict": P4 + b"}Na.",
    "structure-build-on-list": P4 + b"]}b.",
    "structure-state-twice": P4 + name("a", "B") + b")\x81}b}b.",
    "structure-item-after-state": P4 + name("a", "B") + b")\x81}bNa.",
    "structure-item-after-pair": P4 + name("a", "B") + b")\x81NNsNa.",
    "structure-kwargs-with-int-key": P4 + name("a", "B") + b")}K\x01Ns\x92.",
    "structure-negative-length": P4 + b"\x8b\xff\xff\xff\xff.",
    "structure-negative-string-length": b"T\xff\xff\xff\xff.",
    "structure-proto-6": b"\x80\x06N.",
    "structure-proto-twice": P4 + P4 + b"N.",
    "structure-frame-in-frame": P4 + b"\x95\x0b" + b"\0" * 7 + b"\x95\x02" + b"\0" * 7 + b"N.",
    "structure-frame-splits-opcode": P4 + b"\x95\x02" + b"\0" * 7 + b"M\x01\x02.",
    "structure-no-stop": P4 + b"N",
    "structure-line-without-end": b"I12",
    "structure-unknown-opcode": P4 + b"N\xff.",
    "structure-bad-utf8": P4 + b"X\x01\0\0\0\xff.",
    "structure-lone-surrogate": P4 + b"X\x03\0\0\0\xed\xa0\x80.",
    "structure-lone-surrogate-escape": b"V\\ud800\n.",
    "structure-bad-long-text": P4 + b"X" + struct.pack("<I", 5000) + b"\xff" * 5000 + b".",
    "structure-trailing-bytes": P4 + b"N.\0\0\0",
    "structure-trailing-bytes-after-gzip": gzip.compress(P4 + b"N.", mtime=0) + b"tail",
    "structure-truncated-gzip": gzip.compress(P4 + b"N.", mtime=0)[:-5],
    "structure-damaged-zlib": zlib.compress(P4 + b"N.")[:-1] + b"\0",
    "structure-zip": b"PK\x03\x04" + b"\0" * 26,
    "structure-json": b'{"a": 1}',
    "structure-python-script": b"import os\n",
}

JOBLIB = {
    "joblib-shape-overflow": wrapper(b"(" + b"\x8a\x08\0\0\0\0\0\0\0\x40" * 3 + b"t", "f8") + b".",
    "joblib-negative-shape": wrapper(b"J\xff\xff\xff\xff\x85", "f8") + b".",
    "joblib-shape-of-text": wrapper(text("3") + b"\x85", "f8") + b".",
    "joblib-data-past-end": wrapper(b"K\x64\x85", "f8") + b"\0" * 80 + b".",
    "joblib-zero-hides-overflow": wrapper(b"(K\x00" + b"\x8a\x08\0\0\0\0\0\0\0\x40" * 2 + b"t", "f8") + b".",
    "joblib-order-k": wrapper(b"K\x01\x85", "f8", b"K") + b"\0" * 8 + b".",
    "joblib-unknown-key": wrapper(b"K\x01\x85", "f8", extra=text("filename") + text("/etc/passwd")) + b"\0" * 8 + b".",
    "joblib-alignment-of-text": wrapper(b"K\x01\x85", "f8", extra=text("numpy_array_alignment_bytes") + text("16")) + b"\0" * 8 + b".",
    "joblib-padding-past-end": wrapper(b"K\x00\x85", "f8", extra=text("numpy_array_alignment_bytes") + b"K\x10") + b"\xff.",
    "joblib-no-dtype": WRAPPER + b"ub.",
    "joblib-companion-file": P4 + name("joblib.numpy_pickle", "NDArrayWrapper") + b")\x81}" + text("filename") + text("../../etc/passwd") + b"sb.",
    "joblib-object-payload": wrapper(b"K\x01\x85", "O8").replace(b"NNNJ", b"NNNJ", 1).replace(b"J\xff\xff\xff\xffK\x00tb", b"J\xff\xff\xff\xffK\x3ftb") + P4 + name("os", "system") + text("false") + b"\x85R..",
    "joblib-old-zlib-wrong-length": b"ZF0x5                " + zlib.compress(P4 + b"N."),
}


def npy(header, data=b"", version=b"\x01\x00"):
    return b"\x93NUMPY" + version + struct.pack("<H", len(header)) + header + data


GOOD = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1,), }\n"
NPY = {
    "npy-header-that-is-a-call": npy(b"__import__('os').system('false')\n"),
    "npy-call-as-descr": npy(GOOD.replace(b"'<f8'", b"os.system('false')"), b"\0" * 8),
    "npy-deep-header": npy(b"{'descr': " + b"[" * 60_000),
    "npy-oversized-header": b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + GOOD,
    "npy-duplicate-key": npy(GOOD.replace(b"'fortran_order': False", b"'descr': '<f8'"), b"\0" * 8),
    "npy-missing-key": npy(b"{'descr': '<f8', 'shape': (1,), }\n", b"\0" * 8),
    "npy-unknown-key": npy(GOOD.replace(b"'shape'", b"'shapes'"), b"\0" * 8),
    "npy-object-dtype": npy(GOOD.replace(b"<f8", b"|O")) + P4 + b"N.",
    "npy-negative-shape": npy(GOOD.replace(b"(1,)", b"(-1,)")),
    "npy-overflowing-shape": npy(GOOD.replace(b"(1,)", b"(4294967296, 4294967296)")),
    "npy-zero-hides-overflow": npy(GOOD.replace(b"(1,)", b"(0, 4294967296, 4294967296)")),
    "npy-void-0": npy(GOOD.replace(b"<f8", b"|V0")),
    "npy-too-many-dimensions": npy(GOOD.replace(b"(1,)", b"(" + b"1, " * 65 + b")"), b"\0" * 8),
    "npy-data-cut-short": npy(GOOD, b"\0" * 7),
    "npy-trailing-bytes": npy(GOOD, b"\0" * 9),
    "npy-version-9": npy(GOOD, b"\0" * 8, b"\x09\x00"),
    "npy-only-magic": b"\x93NUMPY",
    "npy-duplicate-field": npy(GOOD.replace(b"'<f8'", b"[('a', '<f4'), ('a', '<f4')]"), b"\0" * 8),
    "npy-text-after-header": npy(GOOD.rstrip() + b" + os\n", b"\0" * 8),
}

if __name__ == "__main__":
    for cases in (DOORS, EXHAUSTION, STRUCTURE, JOBLIB, NPY):
        for case, data in cases.items():
            (HERE / f"{case}.bin").write_bytes(data)
