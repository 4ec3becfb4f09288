"""Writes model files that break one rule each, after docs/format.md and without the crate's writer.

Every case is a small valid file with one change; checksums are made to fit again where the case is not about
them, so that it reaches the check it is meant for. `cases.tsv` lists for each file a part of the message that
must be given for it. Run it in this directory after a change of the format:

    python3 make.py
"""

import pathlib
import struct
import zlib

HERE = pathlib.Path(__file__).parent
MAGIC = b"\x89ONC\r\n\x1a\n"
ENTRY = struct.Struct("<QQQ32sIIIIIIIII8B28s")
ENTRY_FIELDS = (
    "offset stored_len raw_len digest name_start name_len shape_start block_start block_count field_start "
    "field_count itemsize unit_count ndim order role codec filter kind flags unit_base zero"
).split()
FIELD = struct.Struct("<IIIIII4BI")
FIELD_FIELDS = "name_start name_len offset itemsize shape_start unit_count ndim kind flags unit_base zero".split()


def align(offset, to):
    return (offset + to - 1) // to * to


class File:
    """A file of three arrays: `a` (4 f8), `rows` (2 records of 16 bytes), `b` (3 u1)."""

    def __init__(self):
        self.prologue = {
            "magic": MAGIC, "major": 1, "minor": 0, "prologue_len": 128, "entry_len": 128, "incompat": 0,
            "compat": 0, "rewrite": 0, "zero": 0,
        }
        self.parts = {"graph": b"", "plan": b"", "metadata": b"{}"}
        self.data = {"a": struct.pack("<4d", 1, 2, 3, 4), "rows": bytes(range(32)), "b": b"xyz"}
        self.shapes = [4, 2, 3]
        self.fields = [
            self.field(1 + 4, 1, 0, 8, b"i"[0], 0, 0),
            self.field(1 + 4 + 1, 2, 8, 4, b"f"[0], 0, 1),
        ]
        self.field_shapes = [2]
        self.sorted = [0, 2, 1]
        self.text = b"a" + b"rows" + b"x" + b"yz" + b"b"
        self.counts = {}
        self.blocks = []
        self.entries = []
        offset = 128
        for i, (name, kind, itemsize, text_at) in enumerate(
            [("a", b"f", 8, 0), ("rows", b"r", 16, 1), ("b", b"u", 1, 8)]
        ):
            raw = self.data[name]
            offset = align(offset, 64)
            self.entries.append({
                "offset": offset, "stored_len": len(raw), "raw_len": len(raw), "digest": bytes(32),
                "name_start": text_at, "name_len": len(name), "shape_start": i, "block_start": i, "block_count": 1,
                "field_start": 0 if i < 2 else 2, "field_count": 2 if i == 1 else 0, "itemsize": itemsize,
                "unit_count": 0, "ndim": 1, "order": 0, "role": 0, "codec": 0, "filter": 0, "kind": kind[0],
                "flags": 0, "unit_base": 0, "zero": bytes(28),
            })
            self.blocks.append([zlib.crc32(raw), zlib.crc32(raw), len(raw)])
            offset += len(raw)
        self.index_start = align(offset, 8)
        self.after = {}

    @staticmethod
    def field(name_start, name_len, offset, itemsize, kind, shape_start, ndim):
        return {
            "name_start": name_start, "name_len": name_len, "offset": offset, "itemsize": itemsize,
            "shape_start": shape_start, "unit_count": 0, "ndim": ndim, "kind": kind, "flags": 0, "unit_base": 0,
            "zero": 0,
        }

    def index(self):
        counts = {
            "shapes": len(self.shapes), "fields": len(self.fields), "field_shapes": len(self.field_shapes),
            "blocks": len(self.blocks), "text": len(self.text), "zero": 0,
        } | self.counts
        head = struct.pack("<4I2Q", *(counts[k] for k in "shapes fields field_shapes blocks text zero".split()))
        return b"".join(
            [head]
            + [ENTRY.pack(*(entry[k] for k in ENTRY_FIELDS)) for entry in self.entries]
            + [struct.pack("<Q", n) for n in self.shapes]
            + [struct.pack("<3I", *block) for block in self.blocks]
            + [FIELD.pack(*(field[k] for k in FIELD_FIELDS)) for field in self.fields]
            + [struct.pack("<I", n) for n in self.field_shapes]
            + [struct.pack("<I", n) for n in self.sorted]
            + [self.text]
        )

    def build(self):
        body = bytearray(self.index_start)
        for entry, raw in zip(self.entries, self.data.values()):
            at = entry["offset"] if entry["offset"] + len(raw) <= self.index_start else 128
            body[at : at + len(raw)] = raw
        lens, crcs = [], []
        for part in [self.index()] + list(self.parts.values()):
            body += bytes(align(len(body), 8) - len(body)) + part
            lens.append(len(part))
            crcs.append(zlib.crc32(part))
        values = self.prologue | {
            "n_arrays": len(self.entries), "file_len": len(body), "index_start": self.index_start,
            "lens": lens, "crcs": crcs, "digest": bytes(32),
        } | self.after
        head = struct.pack(
            "<8s4H4I4Q2I4I32sI", values["magic"], values["major"], values["minor"], values["prologue_len"],
            values["entry_len"], values["incompat"], values["compat"], values["rewrite"], values["n_arrays"],
            values["file_len"], values["index_start"], values["lens"][0], values["lens"][1], values["lens"][2],
            values["lens"][3], *values["crcs"], values["digest"], values["zero"],
        )
        body[:128] = head + struct.pack("<I", values.get("own_crc", zlib.crc32(head)))
        return bytes(body)


CASES = []


def case(expected):
    def register(function):
        CASES.append((function.__name__.replace("_", "-"), expected, function))
        return function

    return register


def lens(file, **changes):
    parts = {"index": file.index(), **file.parts}
    return [changes.get(name, len(part)) for name, part in parts.items()]


# The prologue.


@case("not a onecopy file: it starts with 89 4f 4e 44")
def wrong_magic(f): f.prologue["magic"] = b"\x89OND\r\n\x1a\n"


@case("line ends were changed by a text-mode copy")
def magic_after_text_mode_copy(f): f.prologue["magic"] = b"\x89ONC\n\x1a\nx"


@case("file has format version 2.0, this build reads version 1; upgrade onecopy")
def major_version_2(f): f.prologue["major"] = 2


@case("file has format version 0.0")
def major_version_0(f): f.prologue["major"] = 0


@case("prologue: prologue length at byte 12 is 64")
def prologue_length_64(f): f.prologue["prologue_len"] = 64


@case("prologue: entry length at byte 14 is 120")
def entries_shorter_than_known(f): f.prologue["entry_len"] = 120


@case("prologue: entry length at byte 14 is 0")
def entries_without_length(f): f.prologue["entry_len"] = 0


@case("format version 1.7 with incompatible features 0x80 that this build does not know; upgrade onecopy")
def unknown_incompatible_feature(f): f.prologue.update(minor=7, incompat=0x80)


@case("prologue: reserved word at byte 120 is 1")
def reserved_word_in_use(f): f.prologue["zero"] = 1


@case("the prologue (bytes 0..124) is damaged")
def prologue_checksum_wrong(f): f.after["own_crc"] = 0x12345678


@case("but was written with 9999")
def file_length_wrong(f): f.after["file_len"] = 9999


@case("prologue: index offset at byte 40 is 120")
def index_inside_prologue(f): f.after["index_start"] = 120


@case("prologue: index offset at byte 40 is 321")
def index_misaligned(f): f.after["index_start"] = 321


@case("the index covers bytes")
def index_offset_past_end(f): f.after["index_start"] = 1 << 40


@case("the index covers bytes 18446744073709551608..")
def index_offset_near_2_to_the_64(f): f.after["index_start"] = (1 << 64) - 8


@case("the index covers bytes")
def index_length_overflows(f): f.after["lens"] = lens(f, index=(1 << 64) - 1)


@case("the graph covers bytes")
def graph_length_overflows(f): f.after["lens"] = lens(f, graph=(1 << 64) - 1)


@case("the graph covers bytes")
def graph_past_end(f): f.after["lens"] = lens(f, graph=1000)


@case("prologue: plan length at byte 64 is 4294967295, expected at most 64 MiB")
def plan_too_long(f): f.after["lens"] = lens(f, plan=0xFFFFFFFF)


@case("prologue: metadata length at byte 68 is 16777217, expected at most 16 MiB")
def metadata_too_long(f): f.after["lens"] = lens(f, metadata=(16 << 20) + 1)


@case("the metadata end at byte")
def metadata_shorter_than_file(f): f.after["lens"] = lens(f, metadata=1)


@case("the index (bytes 264..")
def index_checksum_wrong(f): f.after["crcs"] = [1, 0, 0, zlib.crc32(b"{}")]


@case("the metadata (bytes")
def metadata_checksum_wrong(f): f.after["crcs"] = [zlib.crc32(f.index()), 0, 0, 1]


@case("the metadata at byte")
def metadata_not_json(f): f.parts["metadata"] = b"{]"


@case("the metadata at byte")
def metadata_nested_too_deep(f): f.parts["metadata"] = b"[" * 100_000


@case("the plan at byte")
def plan_not_json(f): f.parts["plan"] = b"\xff\xfe"


@case("the plan at byte")
def plan_of_unknown_operation(f): f.parts["plan"] = b'{"plan":"native","ops":[{"op":"run_code"}]}'


@case("belongs to no part and must be 0")
def padding_before_graph_in_use(f): f.patch = lambda body: body.__setitem__(align_of_graph(f) - 1, 7)


def align_of_graph(f):
    end = f.index_start + len(f.index())
    assert end % 8, "the index must end between multiples of 8 for this case"
    return align(end, 8)


# Counts and pools of the index.


@case("bytes but its counts call for")
def more_arrays_than_entries(f): f.after["n_arrays"] = 1000


@case("prologue: array count at byte 28 is 4294967295")
def array_count_2_to_the_32(f): f.after["n_arrays"] = 0xFFFFFFFF


@case("bytes but its counts call for")
def fewer_arrays_than_entries(f): f.after["n_arrays"] = 2


@case("the index has 0 bytes but its counts call for 32")
def index_without_bytes(f): f.index = lambda: b""


@case("bytes but its counts call for more than 2^63")
def text_length_overflows(f): f.counts["text"] = (1 << 64) - 1


@case("bytes but its counts call for")
def four_billion_shapes(f): f.counts["shapes"] = 0xFFFFFFFF


@case("the index has a reserved byte that is not 0")
def reserved_count_in_use(f): f.counts["zero"] = 1


@case("the entries use 3 shape lengths, the index has 4")
def shape_that_nobody_uses(f): f.shapes.append(1)


@case("the entries use 3 blocks, the index has 4")
def block_that_nobody_uses(f): f.blocks.append([0, 0, 1])


@case("the entries use 2 fields, the index has 3")
def field_that_nobody_uses(f): f.fields.append(f.fields[0])


@case("the entries use 9 bytes of text, the index has 10")
def text_that_nobody_uses(f): f.text += b"!"


@case("the entries use 1 field shape lengths, the index has 2")
def field_shape_that_nobody_uses(f): f.field_shapes.append(1)


@case("array 1: its names start at 0 of the pool, expected 1")
def two_entries_share_a_name(f): f.entries[1].update(name_start=0, name_len=1)


@case("array 2: its shape lengths start at 1 of the pool, expected 2")
def two_entries_share_a_shape(f): f.entries[2]["shape_start"] = 1


@case("array 2: its blocks start at 1 of the pool, expected 2")
def two_entries_share_a_block(f): f.entries[2]["block_start"] = 1


@case("array 2: its fields start at 0 of the pool, expected 2")
def two_entries_share_fields(f): f.entries[2]["field_start"] = 0


@case("array 2: its shape lengths start at 4294967295 of the pool")
def shape_start_far_out(f): f.entries[2]["shape_start"] = 0xFFFFFFFF


@case("the entries use 4 shape lengths, the index has 3")
def shape_reaches_past_its_pool(f): f.entries[2]["ndim"] = 2


@case("the entry of array 0 has a reserved byte that is not 0")
def reserved_byte_of_entry_in_use(f): f.entries[0]["zero"] = bytes(27) + b"\x01"


@case("a field of array 1 has a reserved byte that is not 0")
def reserved_byte_of_field_in_use(f): f.fields[0]["zero"] = 1


# Names.


@case("the text of the index at byte")
def names_not_utf_8(f): f.text = b"\xff" + f.text[1:]


@case("array 0: its name is not UTF-8 of 1 to 4096 bytes")
def empty_name(f):
    f.entries[0]["name_len"] = 0
    f.entries[1]["name_start"] = 0
    f.entries[1]["name_len"] = 5


@case("array 0: its name is not UTF-8 of 1 to 4096 bytes")
def name_of_5000_bytes(f): f.entries[0]["name_len"] = 5000


@case("array 2: its name is not UTF-8 of 1 to 4096 bytes")
def name_reaches_past_the_text(f): f.entries[2]["name_len"] = 2


@case("array 0: its name is not UTF-8 of 1 to 4096 bytes")
def name_cuts_a_character(f): f.text = "é".encode() + f.text[2:]


@case("`a`, does not follow `a`: names must be unique")
def duplicate_names(f): f.text = f.text[:-1] + b"a"


@case("name 1 in sorted order, `a`, does not follow `b`")
def sorted_names_out_of_order(f): f.sorted = [2, 0, 1]


@case("name 1 in sorted order, `a`, does not follow `a`")
def sorted_names_repeat_one(f): f.sorted = [0, 0, 1]


@case("position 2 of the sorted names refers to array 3 of 3")
def sorted_names_refer_past_the_table(f): f.sorted = [0, 2, 3]


# Types.


@case("array `a`: order is 2, expected 0 or 1")
def unknown_order(f): f.entries[0]["order"] = 2


@case("array `a`: role is 9, expected 0 or 1")
def unknown_role(f): f.entries[0]["role"] = 9


@case("array `a`: codec is 5, expected 0 to 4")
def unknown_codec(f): f.entries[0]["codec"] = 5


@case("array `a`: block 0 is stored in 32 bytes, expected 36 for each of 1 to 32 units")
def list_of_units_cut_short(f):
    f.prologue.update(minor=2, incompat=16)
    f.entries[0]["codec"] = 4


def last_is_a_copy(f, of):
    f.prologue.update(minor=1, incompat=4)
    f.entries[2].update(codec=3, stored_len=0, block_count=0, zero=bytes(20) + struct.pack("<II", of, 0))
    f.blocks.pop()


@case("array `b`: array that it copies is 2, expected the number of an array before it that is no copy")
def copy_of_itself(f): last_is_a_copy(f, 2)


@case("array `b`: array that it copies is 4294967295, expected the number of an array before it that is no copy")
def copy_of_an_array_that_is_not_there(f): last_is_a_copy(f, 0xFFFFFFFF)


@case("array `b`: array that it copies is 0, expected the number of an array of the same length and BLAKE3")
def copy_of_other_bytes(f): last_is_a_copy(f, 0)


@case("array `b`: array that it copies is 1, expected 0 for an array that has bytes of its own")
def array_that_names_another_without_copying(f):
    f.prologue["minor"] = 1
    f.entries[2]["zero"] = bytes(20) + struct.pack("<II", 1, 0)


@case("the entry of array 0 has a reserved byte that is not 0")
def reason_in_the_first_minor_version(f): f.entries[0]["zero"] = b"\x01" + bytes(27)


@case("array `a`: block 0 is stored in 33 bytes, expected 1 to 32")
def filtered_block_longer_than_its_bytes(f):
    f.entries[0]["codec"] = 2
    f.blocks[0][2] = 33


@case("8 bytes say that they are 1099511627776, expected at most 1048576")
def packed_graph_of_a_terabyte(f):
    f.prologue.update(minor=1, incompat=8)
    f.parts.update(graph=struct.pack("<Q", 1 << 40) + bytes(8), metadata=b"")


@case("zstd")
def packed_graph_that_is_no_frame(f):
    f.prologue.update(minor=1, incompat=8)
    f.parts.update(graph=struct.pack("<Q", 100) + bytes(8), metadata=b"")


@case("no length")
def packed_graph_without_length(f):
    f.prologue.update(minor=1, incompat=8)
    f.parts.update(graph=bytes(7), metadata=b"")


@case("array `a`: filter is 1, expected 0")
def unknown_filter(f): f.entries[0]["filter"] = 1


@case("array `a`: invalid dtype: there is no dtype of kind `O`")
def dtype_of_python_objects(f): f.entries[0]["kind"] = ord("O")


@case("array `a`: invalid dtype: a `f` item cannot have 5 bytes")
def float_of_5_bytes(f): f.entries[0]["itemsize"] = 5


@case("array `a`: flags is 4, expected 0 or 1")
def unknown_dtype_flag(f): f.entries[0]["flags"] = 4


@case("array `b`: invalid dtype: a `u` item of 1 bytes has no byte order")
def big_endian_byte(f): f.entries[2]["flags"] = 1


@case("array `a`: invalid dtype: there is no time unit 3 times 1")
def time_unit_on_a_float(f): f.entries[0].update(unit_base=3, unit_count=1)


@case("array `a`: invalid dtype: there is no time unit 14 times 1")
def unknown_time_unit(f): f.entries[0].update(kind=ord("M"), unit_base=14, unit_count=1)


@case("array `a`: invalid dtype: there is no time unit 9 times 0")
def zero_times_a_time_unit(f): f.entries[0].update(kind=ord("M"), unit_base=9, unit_count=0)


@case("array `a`: number of fields is 2, expected 0 for a dtype that is not a record")
def fields_of_a_float(f): f.entries[0]["field_count"] = 2


@case("the entries use 4294967295 fields, the index has 2")
def four_billion_fields(f): f.entries[1]["field_count"] = 0xFFFFFFFF


@case("field `x` covers bytes 0..8 of a record of 16, free are 0..4")
def record_fields_overlap(f):
    f.fields[1]["offset"] = 4
    EXPECTED["record-fields-overlap"] = "field `yz` covers bytes 4..12 of a record of 16, free are 8..16"


EXPECTED = {}


@case("field `yz` covers bytes 8..24 of a record of 16")
def record_field_past_the_record(f): f.field_shapes = [4]


@case("array `rows`: invalid dtype: field name `x` is empty, longer than 4096 bytes or not unique")
def record_fields_of_one_name(f):
    f.text = b"arowsxxb"
    f.fields[1]["name_len"] = 1
    f.entries[2]["name_start"] = 7


@case("array 1: the name of a field is not UTF-8 of 1 to 4096 bytes")
def record_field_without_name(f):
    f.text = b"arowsyzb"
    f.fields[0]["name_len"] = 0
    f.fields[1]["name_start"] = 5
    f.entries[2]["name_start"] = 7


@case("array `rows`: invalid dtype: there is no dtype of kind `r`")
def record_in_a_record(f): f.fields[0]["kind"] = ord("r")


@case("array `rows`: number of dimensions of a field is 65, expected at most 64")
def record_field_of_65_dimensions(f): f.fields[1]["ndim"] = 65


@case("array `rows`: invalid dtype: the shape of field `yz` is too large")
def record_field_shape_overflows(f): f.field_shapes = [0xFFFFFFFF]


# Shapes and places.


@case("array `a`: number of dimensions is 65, expected at most 64")
def array_of_65_dimensions(f): f.entries[0]["ndim"] = 65


@case("array `a`: shape [5] of items of 8 bytes takes 40 bytes, the table says 32")
def shape_larger_than_its_bytes(f): f.shapes[0] = 5


@case("array `a`: shape [3] of items of 8 bytes takes 24 bytes, the table says 32")
def shape_smaller_than_its_bytes(f): f.shapes[0] = 3


@case("of items of 8 bytes takes more than 2^63 bytes, the table says 32")
def shape_product_wraps_around(f): f.shapes[0] = (1 << 61) + 4


@case("of items of 8 bytes takes more than 2^63 bytes")
def shape_with_zero_hides_an_overflow(f):
    f.shapes = [1 << 62, 0, 2, 3]
    f.entries[0].update(ndim=2, raw_len=0, stored_len=0, block_count=0)
    f.entries[1]["shape_start"], f.entries[2]["shape_start"] = 2, 3


@case("segment `rows` starts at byte 160, which is not a multiple of 64")
def segment_misaligned(f): f.entries[1]["offset"] = 160


@case("segment `rows` starts at byte 128 but bytes up to 160 are taken")
def segments_share_bytes(f): f.entries[1]["offset"] = 128


@case("segment `a` starts at byte 0 but bytes up to 128 are taken")
def segment_over_the_prologue(f): f.entries[0]["offset"] = 0


@case("segment `b` covers bytes 264..267 but arrays end at byte 264")
def segment_in_the_index(f):
    f.entries[2]["offset"] = 320
    EXPECTED["segment-in-the-index"] = "segment `b` covers bytes 320..323 but arrays end at byte 264"


@case("segment `b` covers bytes 18446744073709551552..")
def segment_near_2_to_the_64(f): f.entries[2]["offset"] = (1 << 64) - 64


@case("segment `b` covers bytes 256..more than 2^63")
def segment_length_wraps_around(f): f.entries[2]["stored_len"] = (1 << 64) - 1


@case("segment `a` starts at byte 256 but bytes up to 128 are taken")
def segments_out_of_order(f):
    f.entries[0]["offset"], f.entries[1]["offset"] = 192, 128
    EXPECTED["segments-out-of-order"] = "segment `rows` starts at byte 128 but bytes up to 224 are taken"


# Blocks.


@case("array `a` of 32 bytes has 2 blocks, expected 1")
def more_blocks_than_bytes(f): f.entries[0]["block_count"] = 2


@case("array `b` of 3 bytes has 0 blocks, expected 1")
def array_without_blocks(f): f.entries[2]["block_count"] = 0


@case("array `a`: block 0 is stored in 31 bytes, expected 32")
def raw_block_shorter_than_its_bytes(f): f.blocks[0][2] = 31


@case("array `a`: block 0 is stored in 33 bytes, expected 1 to 32")
def zstd_block_longer_than_its_bytes(f):
    f.entries[0]["codec"] = 1
    f.blocks[0][2] = 33


@case("array `a`: block 0 is stored in 0 bytes, expected 1 to 32")
def zstd_block_of_no_bytes(f):
    f.entries[0]["codec"] = 1
    f.blocks[0][2] = 0


@case("array `a`: its blocks are stored in 31 bytes, the table says 32")
def blocks_do_not_add_up(f):
    f.entries[0]["codec"] = 1
    f.blocks[0][2] = 31


@case("array `a`: block 0 is stored as it is, but has two different checksums")
def raw_block_with_two_checksums(f): f.blocks[0][1] ^= 1


@case("array `bomb` of 1099511627776 bytes has 1 blocks, expected 1048576")
def terabyte_in_one_block(f):
    f.shapes[0] = 1 << 37
    f.entries[0].update(raw_len=1 << 40, codec=1)
    EXPECTED["terabyte-in-one-block"] = "array `a` of 1099511627776 bytes has 1 blocks, expected 1048576"


def main():
    for old in HERE.glob("*.onecopy"):
        old.unlink()
    (HERE / "valid.onecopy").write_bytes(File().build())
    lines = []
    for name, expected, change in CASES:
        file = File()
        change(file)
        body = bytearray(file.build())
        if hasattr(file, "patch"):
            file.patch(body)
        (HERE / f"{name}.onecopy").write_bytes(body)
        lines.append(f"{name}\t{EXPECTED.get(name, expected)}\n")
    (HERE / "cases.tsv").write_text("".join(sorted(lines)))


main()
