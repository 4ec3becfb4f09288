"""A reader of onecopy files made from `docs/format.md` alone, in Python with NumPy.

It shares nothing with the code that it is a check of. It reads arrays, graph, plan and metadata, and refuses what the
specification refuses, but does not compute digests: neither Python nor NumPy has BLAKE3. Python 3.11 has no zstd either,
so archives need the caller's `unzstd(data, size)`, and those of versions `unit(name)`, the bytes of a file in `onecopy-units`.
"""

import json
import math
import struct
import zlib

import numpy as np

MAGIC = b"\x89ONC\r\n\x1a\n"
BLOCK = 1 << 20
FEATURES = 1 | 2 | 4 | 8 | 16
# What follows the byte of each kind of node, `-` for nothing; 23, 25 and 26 have more than that.
NODES = "- - - s b 8 t b n b n R R p R R tt a dNA dNnn NR NR rr d d - - a aa nnnnn nnnnn".replace("-", "").split(" ")
SIZES = {"b": (1,), "i": (1, 2, 4, 8), "u": (1, 2, 4, 8), "f": (2, 4, 8), "c": (8, 16)}
UNITS = "Y M W D h m s ms us ns ps fs as generic".split()


def need(true, what):
    if not true:
        raise ValueError(what)


class PlainFile:
    """One file: `entries`, `array(i)`, `graph()`, `plan`, `metadata`."""

    def __init__(self, data, unzstd=None, unit=None):
        self.data, self.unzstd, self.unit = data, unzstd, unit
        need(len(data) >= 128 and data[:8] == MAGIC, "magic")
        major, self.minor, prologue, self.entry_length = struct.unpack_from("<4H", data, 8)
        self.features, _, _, self.n_arrays = struct.unpack_from("<4I", data, 16)
        length, at, index, graph = struct.unpack_from("<4Q", data, 32)
        (plan, metadata, *sums), (reserved, own) = struct.unpack_from("<6I", data, 64), struct.unpack_from("<2I", data, 120)
        need(major == 1 and zlib.crc32(data[:124]) == own, "major version, or checksum of the prologue")
        need(prologue == 128 and self.entry_length >= 128 and self.entry_length % 8 == 0, "lengths")
        need(self.features & ~FEATURES == 0 and (reserved == 0 or self.minor > 2), "features of a newer version")
        need(length == len(data) and at % 8 == 0 and at >= 128, "length of the file")
        self.index_at, parts = at, []
        for n_bytes, crc in zip((index, graph, plan, metadata), sums):
            need(at + n_bytes <= length and zlib.crc32(data[at : at + n_bytes]) == crc, "place or checksum of a part")
            parts.append(data[at : at + n_bytes])
            end = at + n_bytes
            at = end + -end % 8
            need(not any(data[end : min(at, length)]), "padding")
        need(end == length, "bytes after the metadata")
        self._index(parts[0])
        self.graph_bytes, plan, metadata = (self._unpacked(part) for part in parts[1:])
        self.plan, self.metadata = (json.loads(part) if part else None for part in (plan, metadata))

    def _unpacked(self, part):
        if not self.features & 8 or not part:
            return part
        (size,) = struct.unpack_from("<Q", part)
        need(size <= max(BLOCK, 256 * (len(part) - 8)), "size of a packed part")
        return part[8:] if size == len(part) - 8 else self._zstd(part[8:], size)

    def _zstd(self, data, size):
        decoded = bytes(self.unzstd(bytes(data), size))
        need(len(decoded) == size, "length of a zstd frame")
        return decoded

    def _index(self, part):
        n_shapes, n_fields, n_field_shapes, n_blocks, n_text, zero = struct.unpack_from("<4I2Q", part)
        sizes = (32, self.entry_length * self.n_arrays, 8 * n_shapes, 12 * n_blocks, 32 * n_fields)
        sizes += (4 * n_field_shapes, 4 * self.n_arrays, n_text)
        need(sum(sizes) == len(part) and zero == 0, "counts of the index")
        _, entries, shapes, blocks, fields, field_shapes, order, text = (sum(sizes[:i]) for i in range(8))
        self.shapes = np.frombuffer(part, "<u8", n_shapes, shapes).tolist()
        self.blocks = np.frombuffer(part, "<u4", n_blocks * 3, blocks).reshape(-1, 3).tolist()
        self.fields = [part[fields + 32 * i : fields + 32 * (i + 1)] for i in range(n_fields)]
        self.field_shapes = np.frombuffer(part, "<u4", n_field_shapes, field_shapes).tolist()
        self.text = part[text:]
        # How far each pool has been used: nothing is shared, skipped or left over.
        self.used = dict.fromkeys(("text", "shapes", "blocks", "fields", "field shapes"), 0)
        step, end = self.entry_length, 128
        self.entries = []
        for i in range(self.n_arrays):
            self.entries.append(self._entry(part[entries + step * i : entries + step * (i + 1)]))
            need(self.entries[-1]["offset"] >= end, "arrays share bytes")
            need(not any(self.data[end : self.entries[-1]["offset"]]), "padding before an array")
            end = self.entries[-1]["offset"] + self.entries[-1]["stored"]
        need(end <= self.index_at and not any(self.data[end : self.index_at]), "an array in the index")
        pools = (n_text, n_shapes, n_blocks, n_fields, n_field_shapes)
        need(tuple(self.used.values()) == pools, "pools that are not used up")
        by_name = [self.entries[i]["name"].encode() for i in struct.unpack_from(f"<{self.n_arrays}I", part, order)]
        need(all(a < b for a, b in zip(by_name, by_name[1:])), "sorted names")

    def _take(self, pool, start, count):
        need(self.used[pool] == start, f"{pool} that are shared or skipped")
        self.used[pool] += count
        return slice(start, start + count)

    def _entry(self, e):
        (offset, stored, decoded), (source,) = struct.unpack_from("<3Q", e), struct.unpack_from("<I", e, 120)
        name, name_len, shape, block, n_blocks, field, n_fields, size, count = struct.unpack_from("<9I", e, 56)
        n_dims, order, role, codec, reserved, kind, flags, base = e[92:100]
        need(1 <= name_len <= 4096 and n_dims <= 64, "name or dimensions")
        need((codec == 3 or source == 0) and codec < 5 and not (0, 1, 2, 4, 16)[codec] & ~self.features, "codec")
        need(order < 2 and role < 2 and flags < 4 and not any((reserved, *e[124 if self.minor else 100 :])), "bytes of an entry")
        entry = dict(offset=offset, stored=stored, decoded=decoded, codec=codec, source=source, order="CF"[order], role=role)
        entry["name"] = self.text[self._take("text", name, name_len)].decode()
        entry["shape"] = tuple(self.shapes[self._take("shapes", shape, n_dims)])
        entry["blocks"] = self.blocks[self._take("blocks", block, n_blocks)]
        fields = self.fields[self._take("fields", field, n_fields)]
        if kind == ord("r"):
            entry["dtype"] = self._record(fields, size, flags & 2)
        else:
            need(n_fields == 0, "fields of what is no record")
            entry["dtype"] = plain(kind, flags & 1, size, base, count)
        need(math.prod(entry["shape"]) * size == decoded, "bytes of the shape")
        lengths = [block[2] for block in entry["blocks"]]
        need(len(lengths) == (0 if codec == 3 else -(-decoded // BLOCK)) and sum(lengths) == stored, "blocks")
        need(offset % (65536 if codec == 0 and decoded >= 65536 else 64) == 0, "place of an array")
        return entry

    def _record(self, fields, size, aligned):
        names, formats, offsets = [], [], []
        for field in fields:
            name, name_len, offset, item, shape, count = struct.unpack_from("<6I", field)
            n_dims, kind, flags, base, zero = struct.unpack_from("<4BI", field, 24)
            need(zero == 0 and kind != ord("r") and flags < 2 and 1 <= name_len <= 4096, "bytes of a field")
            names.append(self.text[self._take("text", name, name_len)].decode())
            dims = tuple(self.field_shapes[self._take("field shapes", shape, n_dims)])
            formats.append((plain(kind, flags & 1, item, base, count), dims))
            offsets.append(offset)
        spans = sorted((at, at + np.dtype(form).itemsize) for at, form in zip(offsets, formats))
        need(all(a[1] <= b[0] for a, b in zip(spans, spans[1:])), "fields that share bytes")
        return np.dtype(dict(names=names, formats=formats, offsets=offsets, itemsize=size), align=bool(aligned))

    def array(self, i):
        entry = self.entries[i]
        return np.ndarray(entry["shape"], entry["dtype"], self.content(i), order=entry["order"])

    def content(self, i):
        entry = self.entries[i]
        if entry["codec"] == 3:
            source = self.entries[entry["source"]]
            need(entry["source"] < i and source["codec"] != 3 and source["decoded"] == entry["decoded"], "a copy")
            return self.content(entry["source"])
        at, left, out = entry["offset"], entry["decoded"], []
        for crc, stored_crc, length in entry["blocks"]:
            block, size = self.data[at : at + length], min(left, BLOCK)
            need(length >= 1 and zlib.crc32(block) == stored_crc, "checksum of stored bytes")
            need(length == size or entry["codec"] == 4 or entry["codec"] and length < size, "length of a block")
            if entry["codec"] == 4:
                block = b"".join(self._unit(block[i : i + 36]) for i in range(0, length, 36))
                need(len(block) == size, "bytes of units")
            elif length < size:
                block = self._zstd(block, size) if entry["codec"] == 1 else self._stream(block, size, 256)
            need(zlib.crc32(block) == crc, "checksum of decoded bytes")
            out.append(bytes(block))
            at, left = at + length, left - size
        return b"".join(out)

    def _unit(self, item):
        size, file = struct.unpack("<I", item[32:])[0], self.unit(item[:32].hex())
        need(file[:16] == b"\x89ONU\r\n\x1a\n" + struct.pack("<2I", size, zlib.crc32(file[16:])), "head of a unit")
        need(1 <= size <= BLOCK and len(file) <= size + 17, "length of a unit")
        return self._stream(file[16:], size, 256)

    def _stream(self, data, size, below):
        need(len(data) > 0 and data[0] < min(below, 6), "method of a stream")
        method, rest = data[0], data[1:]
        if method in (0, 1):
            need(method or len(rest) == size, "stored bytes")
            return self._zstd(rest, size) if method else rest
        if method == 5:
            return self._columns(rest, size)
        width = rest[0]
        if method == 4:
            index, count, n_bytes = struct.unpack_from("<BII", rest, 1)
            need(width in (2, 4, 8) and index in (1, 2, 4) and index < width and size % width == 0, "widths")
            need(1 <= count <= size // width and 10 + n_bytes <= len(rest), "values of a dictionary")
            values = self._stream(rest[10 : 10 + n_bytes], count * width, method)
            at = self._stream(rest[10 + n_bytes :], size // width * index, method)
            at = np.frombuffer(at, f"<u{index}")
            need(at.max() < count, "an index of a dictionary")
            return np.frombuffer(values, f"<u{width}")[at].tobytes()
        inner, whole = self._stream(rest[1:], size, method), size - size % width if width else 0
        if method == 2:
            need(width >= 2, "width of a shuffle")
            return np.frombuffer(inner, "u1", whole).reshape(width, -1).T.tobytes() + inner[whole:]
        need(width in (1, 2, 4, 8), "width of a delta")
        return np.cumsum(np.frombuffer(inner[:whole], f"<u{width}"), dtype=f"<u{width}").tobytes() + inner[whole:]

    def _columns(self, rest, size):
        record, lead, n_groups = struct.unpack_from("<HHB", rest)
        groups = [struct.unpack_from("<HHI", rest, 5 + 8 * i) for i in range(n_groups)]
        need(record > 0 and lead < record and lead <= size, "length of a record")
        n = (size - lead) // record
        need(n >= 1 and sum(width * count for width, count, _ in groups) == record, "groups of columns")
        need(all(width * count for width, count, _ in groups), "a group of nothing")
        at = 5 + 8 * n_groups + size - n * record
        edges, out, column = rest[5 + 8 * n_groups : at], np.empty((n, record), "u1"), 0
        for width, count, length in groups:
            inner = self._stream(rest[at : at + length], n * width * count, 5)
            shaped = np.frombuffer(inner, "u1").reshape(count, n, width).transpose(1, 0, 2)
            out[:, column : column + width * count] = shaped.reshape(n, -1)
            at, column = at + length, column + width * count
        need(at == len(rest), "bytes after the columns")
        return bytes(edges[:lead]) + out.tobytes() + bytes(edges[lead:])

    def graph(self):
        return Graph(self.graph_bytes).read() if self.graph_bytes else None


def plain(kind, big, size, base, count):
    kind = chr(kind)
    need(kind in "biufcSVUMm", "kind of a dtype")
    if kind in "Mm":
        need(base < len(UNITS) and 1 <= count < 1 << 31, "time unit")
        unit = "" if base == 13 else f"[{count}{UNITS[base]}]"
        return np.dtype(f"{'<>'[big]}{kind}8{unit}")
    need(base == 0 and count == 0 and (not big or kind in "iufcU" and size > 1), "flags of a dtype")
    need(size in SIZES.get(kind, (size,)) and (kind != "U" or size % 4 == 0), "item size")
    return np.dtype(f"{'<>'[big]}{kind}{size // 4 if kind == 'U' else size}")


class Graph:
    def __init__(self, data):
        self.data, self.at = data, 0

    def read(self):
        dtypes = self.list(self.dtype)
        n, root = self.number(), self.number()
        need(n <= len(self.data) and root < n, "number of nodes")
        nodes = [self.node(i, n, dtypes) for i in range(n)]
        need(self.at == len(self.data), "bytes after the last node")
        return root, nodes

    def bytes(self, n):
        need(self.at + n <= len(self.data), "the end of the graph")
        self.at += n
        return self.data[self.at - n : self.at]

    def number(self):
        value = shift = 0
        while True:
            byte = self.bytes(1)[0]
            value |= (byte & 127) << shift
            if byte < 128:
                need(value < 1 << 64 and (byte or not shift), "a number that is not the shortest")
                return value
            shift += 7

    def signed(self):
        value = self.number()
        return -(value >> 1) - 1 if value & 1 else value >> 1

    def list(self, item):
        n = self.number()
        need(n <= len(self.data), "length of a list")
        return [item() for _ in range(n)]

    def text(self):
        return bytes(self.bytes(self.number())).decode()

    def dtype(self):
        tag = self.bytes(1)[0]
        if tag == 0:
            return self.plain()
        size = self.number()
        fields = self.list(lambda: (self.text(), self.plain(), tuple(self.list(self.number)), self.number()))
        names, formats, shapes, offsets = zip(*fields) if fields else ((), (), (), ())
        spec = dict(names=names, formats=list(zip(formats, shapes)), offsets=offsets, itemsize=size)
        return np.dtype(spec, align=tag == 2)

    def plain(self):
        kind, big, size = self.bytes(1)[0], self.bytes(1)[0], self.number()
        base, count = (self.bytes(1)[0], self.number()) if chr(kind) in "Mm" else (0, 0)
        return plain(kind, big, size, base, count)

    def node(self, own, n, dtypes):
        def ref():
            to = own - self.signed()
            need(0 <= to < n, "a reference to no node")
            return to

        def part():
            return self.number(), self.number(), self.list(self.number)

        read = {
            "s": self.signed, "8": lambda: self.bytes(8), "b": lambda: self.bytes(self.number()), "t": self.text,
            "n": self.number, "N": lambda: self.list(self.number), "a": part, "A": lambda: self.list(part),
            "r": ref, "R": lambda: self.list(ref), "p": lambda: self.list(lambda: (ref(), ref())),
            "d": lambda: dtypes[self.number()],
        }  # fmt: skip
        kind = self.bytes(1)[0]
        need(kind < len(NODES), "kind of a node")
        if kind in (25, 26):
            bits, call = self.bytes(1)[0], (ref(), ref())
            return (kind, *call, *(read[what]() if bits >> i & 1 else None for i, what in enumerate("rRpr")))
        node = (kind, *(read[what]() for what in NODES[kind]))
        return (*node, self.bytes(node[1].itemsize)) if kind == 23 else node
