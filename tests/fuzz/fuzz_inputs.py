"""Inputs for the fuzzer: valid CSV files and schemas, damaged; noise; and how a file is cut."""

from __future__ import annotations

import gzip
import json
from copy import deepcopy
from dataclasses import dataclass
from random import Random
from typing import Any

from csv_defects import SCHEMAS as WIDE_SCHEMAS

from schemas.datasets import DatasetSchema, parse_schema_document

UNLIMITED = 1 << 24

_NARROW = [
    {
        "type": "record",
        "name": "Interactions",
        "namespace": "com.amazonaws.personalize.schema",
        "fields": [
            {"name": "USER_ID", "type": "string"},
            {"name": "ITEM_ID", "type": "string"},
            {"name": "TIMESTAMP", "type": "long"},
            {"name": "EVENT_VALUE", "type": ["null", "float"]},
        ],
        "version": "1.0",
    },
    {
        "type": "record",
        "name": "Items",
        "fields": [
            {"name": "ITEM_ID", "type": "string"},
            {"name": "GENRES", "type": ["null", "string"], "categorical": True},
            {"name": "PLOT", "type": ["string", "null"], "textual": True},
            {"name": "CREATION_TIMESTAMP", "type": "long"},
        ],
        "version": 1,
    },
]
_SCHEMAS = [parse_schema_document(document) for document in _NARROW]
_DOCUMENTS = _NARROW + [schema.document for schema in WIDE_SCHEMAS]

_CELLS = [
    b"u1", b"i1", b"1700000000", b"5", b"", b"1.5", b"-1", b"a|b", b'"a,b"', b'"say ""hi"""', b'"say \\"hi\\""',
    b'"two\nlines"',
    b'"\r\n"', b'5" nails', "\u00e9\u65e5".encode(), b"<p>x</p>", b"  ", b'""', b'"\\\\"', b"\\", b"true", b"ITEM_ID",
    b"1700000000000",
]  # fmt: skip
_QUOTING = [  # a value that ends early or late, and what looks like one
    b'"TV 42""', b'"Old, worn\\"', b'"Old\\"', b'"a\\",b"', b'"a"b', b'"a" ', b'"open', b'a"b', b' "x"', b'"""', b'",odd"',
    b'5"', b'"\\', b'"say ""ok"""', b'"say \\"ok\\""', b'"x\\\\"', b'"two\nlines"x', b'"u1,i1,5\nu2,i2,6"', b'"a"""b"', b'""x',
]  # fmt: skip
_RIGHT = {
    b"USER_ID": [b"u1", b'"a,b"'],
    b"ITEM_ID": [b"i1", b'"say ""hi"""', b'"say \\"hi\\""', b'"two\nlines"', b'5" nails', b'"\\\\"', b"\\"],
    b"TIMESTAMP": [b"1700000000", b'"5"'],
    b"CREATION_TIMESTAMP": [b"5"],
    b"EVENT_VALUE": [b"2.5", b""],
    b"GENRES": [b"a|b", b""],
}
_PIECES = [
    b'"', b'"', b'"', b"\n", b"\r", b"\r\n", b",", b"\\", b'\\"', b'""', b'","', b'"\n', b'\n"', b"\0", b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"\xfe\xff", b"\x1f\x8b\x08", b"\xff", b"\xc3", b"\xed\xa0\x80", b"9" * 400, b"1e999", b"-", b"nan", b"\n\n", b"\x1a",
    b"\x85",
    b"\xe2\x80\xa8", b"x" * 300, b"0x1F", b"PAR1", b"PK\x03\x04",
]  # fmt: skip
_NOISE = [b'"', b'"', b",", b",", b"\n", b"\r", b"\\", b"a", b"1", b" ", b"\xe9", b"\xef\xbb\xbf", b"\0"]
_VALUES: list[Any] = [
    None, True, False, 0, -1, 1.5, 10**400, "", "null", "string", "long", "int", "USER_ID", "ITEM_ID", "x" * 200, "\u0000",
    "\ud800",
    "Users", "Actions", "Action_Interactions", "EVENT_TYPE", "INPUT_ORDER", [], {}, ["null", "string"], ["string"], ["null",
    "null"],
    [["string"]], {"type": "string"}, {"name": "A", "type": "int"}, {"type": "array", "items": "string"}, float("nan"),
    float("inf"),
]  # fmt: skip


@dataclass(frozen=True)
class CsvInput:
    """One file and how it is read."""

    data: bytes
    schema: DatasetSchema
    split_bytes: int
    piece_bytes: int
    longest_record: int
    head_bytes: int
    is_imported: bool

    def __repr__(self) -> str:
        return (
            f"{self.schema.dataset_type}, splits of {self.split_bytes}, pieces of {self.piece_bytes}, records of at most "
            f"{self.longest_record}, a head of {self.head_bytes} bytes, {self.data!r}"
        )


def csv_input(random: Random) -> CsvInput:
    """A file: valid, damaged or noise; cut into many pieces, or read as one."""
    schema = random.choice(_SCHEMAS)
    kind = random.random()
    if kind < 0.02:
        data = random.randbytes(random.randrange(200))
    elif kind < 0.25:
        data = _header(random, schema) + b"".join(random.choices(_NOISE, k=random.randrange(60)))
    else:
        head, data = _valid(random, schema)
        if random.random() < 0.2:  # a damaged header is soon refused
            head, data = b"", head + data
        for _ in range(random.randrange(7)):
            data = _damage(random, data)
        data = head + data
    if random.random() < 0.02:
        data = data.decode("latin-1").encode(random.choice(["utf-16", "utf-16-le", "utf-8-sig"]))
    if random.random() < 0.1:
        place = random.randrange(len(data) + 1)
        members = [data] if random.random() < 0.5 else [data[:place], data[place:]]
        data = b"".join(gzip.compress(member, 1, mtime=0) for member in members) + b"\0" * random.choice([0, 0, 5])
        for _ in range(random.randrange(2)):
            data = _damage(random, data)
    is_cut = random.random() < 0.2
    return CsvInput(
        data,
        schema,
        split_bytes=random.choice([9, 30, 90]) if is_cut else UNLIMITED,
        piece_bytes=random.choice([5, 17, 64]) if is_cut else 1 << 23,
        longest_record=random.choice([40, 120]) if random.random() < 0.03 else UNLIMITED,
        head_bytes=random.choice([20, 60]) if random.random() < 0.03 else 1 << 20,
        is_imported=random.random() < 1 / 32,
    )


def schema_text(random: Random) -> str:
    """A schema: valid, its tree changed, its text damaged; or noise."""
    kind = random.random()
    if kind < 0.05:
        return random.choice(
            ['{"type":' * 5000, "[" * 200_000, random.randbytes(99).decode("latin-1"), "9" * 5000, '"' * 50, ""]
        )
    document = deepcopy(random.choice(_DOCUMENTS))
    for _ in range(random.randrange(3)):
        _change(random, document)
    text = json.dumps(document, ensure_ascii=random.random() < 0.5)
    if kind < 0.35:
        data = text.encode("utf-8", "surrogatepass")
        for _ in range(random.randrange(1, 4)):
            data = _damage(random, data)
        text = data.decode("utf-8", "replace")
    return text


def _header(random: Random, schema: DatasetSchema) -> bytes:
    names = [*schema.names, *["EXTRA"] * random.randrange(2)]
    random.shuffle(names)
    return ",".join(names).encode() + random.choice([b"\n", b"\r\n", b"\r"])


def _valid(random: Random, schema: DatasetSchema) -> tuple[bytes, bytes]:
    """Header and body of a file without damage; many cells are wrong, though."""
    header = _header(random, schema)
    end = header[-2:] if header.endswith(b"\r\n") else header[-1:]
    names = header.strip().split(b",")
    faults = random.choice([0.0, 0.0, 0.05, 0.3])  # of the cells have odd quotes
    rows = []
    for _ in range(random.randrange(9)):
        is_right = random.random() < 0.5
        rows.append(
            b",".join(
                random.choice(_QUOTING if random.random() < faults else _RIGHT[name] if is_right and name in _RIGHT else _CELLS)
                for name in names
            )
        )
        rows += [b""] * (random.random() < 0.1)
    body = end.join(rows) + (end if random.random() < 0.7 else b"")
    return random.choice([b"", b"", b"", b"\xef\xbb\xbf", end]) + header, body


def _damage(random: Random, data: bytes) -> bytes:
    """One change of some bytes."""
    place = random.randrange(len(data) + 1)
    stop = min(len(data), place + random.choice([1, 1, 2, 5, 40]))
    kind = random.randrange(7)
    if kind == 0 and data:
        place = random.randrange(len(data))
        return data[:place] + bytes([data[place] ^ 1 << random.randrange(8)]) + data[place + 1 :]
    if kind == 1:
        return data[:place] + data[stop:]
    if kind == 2:
        return data[:place]
    if kind == 3:
        return data[:stop] + data[place:]
    if kind == 4:
        return data[:place] + random.randbytes(stop - place) + data[stop:]
    return data[:place] + random.choice(_PIECES) + data[place:]


def nodes_of(document: Any) -> list[tuple[Any, Any]]:
    """Every place of a JSON tree: the object or list that holds it, and its key there."""
    nodes: list[tuple[Any, Any]] = []
    waiting = [document]
    while waiting:
        node = waiting.pop()
        keys = node.keys() if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
        nodes += [(node, key) for key in keys]
        waiting += [node[key] for key in keys]
    return nodes


def _change(random: Random, document: Any) -> None:
    """Put a value, a key or nothing in the place of some node of a JSON tree."""
    nodes = nodes_of(document)
    if not nodes:
        return
    node, key = random.choice(nodes)
    kind = random.random()
    if kind < 0.2:
        del node[key]
    elif kind < 0.4:
        value = random.choice(["categorical", "textual", "itemName", "name", "type", "version", "namespace", "doc"])
        if isinstance(node, dict):
            node[value] = deepcopy(random.choice(_VALUES))
        else:
            node.append(deepcopy(node[key]))
    else:
        node[key] = deepcopy(random.choice(_VALUES))
