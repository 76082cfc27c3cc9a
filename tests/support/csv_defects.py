"""CSV files with every kind of defect in known places, drawn by hypothesis, and what `hrnn validate` must make of them.

    case = draw(cases())
    case.write(folder)
    case.rows      # the right rows, typed, with INPUT_ORDER
    case.defects   # (file, line, column, value, reason) of all that is wrong

What is right and wrong stands in RIGHT and WRONG as literal text beside its outcome; nothing here asks the code under test.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

from hypothesis import strategies as st

from jobs.validate import cells, numerals, strings
from schemas.datasets import DatasetSchema, SchemaField, parse_schema_document

T = TypeVar("T")
Draw = Callable[[st.SearchStrategy[T]], T]
Kind = Literal["id", "moment", "whole", "float", "double", "boolean", "list", "text", "plain"]

SHOWN_CHARACTERS = 200
FILE_SHIFT = 40


class Cell(NamedTuple):
    """Bytes of a cell before they are quoted; the value they stand for, or the reason why they are wrong."""

    raw: bytes
    value: Any
    reason: str | None = None


def _same(*texts: str) -> list[Cell]:
    return [Cell(text.encode(), text) for text in texts]


def _cells(*pairs: tuple[str | bytes, Any]) -> list[Cell]:
    return [Cell(raw.encode() if isinstance(raw, str) else raw, value) for raw, value in pairs]


def _wrong(*pairs: tuple[str | bytes, str]) -> list[Cell]:
    return [Cell(raw.encode() if isinstance(raw, str) else raw, None, reason) for raw, reason in pairs]


_ODD_STRINGS = (
    "a,b", ",", 'say "hi"', '"', '""', '5" nails', "two\nlines", "cr\rand\r\nmore", "back\\slash", "\\", 'x\\"y', '\\\\"',
    "é日𝄞", "NA", "null", "NaN", "007", "1e5", "true", "#no comment", "=1+1", "'", "a\x1fb", "\ufeffbom", "<b>&amp;",
)  # fmt: skip
_NOT_TEXT = _wrong(
    (b"caf\xe9", cells.NOT_UTF8),
    (b"\xff", cells.NOT_UTF8),
    (b"\xed\xa0\x80", cells.NOT_UTF8),
    (b"\xc0\x80", cells.NOT_UTF8),
    ("a\0b", strings.HAS_NUL),
)
_LONG_BITS = "outside the range of a long (64 bits)"
_INT_BITS = "outside the range of an int (32 bits)"

RIGHT: dict[Kind, list[Cell]] = {
    "id": _same("u1", "u2", "i 3", " kept ", "x" * 256, "日" * 256, "user_id", "USER_ID_1", *_ODD_STRINGS[:-2], "a|b", "|"),
    "moment": _cells(("0", 0), ("1700000000", 1_700_000_000), ("0012", 12), ("-0", 0), ("100000000000", 10**11)),
    "whole": _cells(("-2147483648", -(1 << 31)), ("2147483647", (1 << 31) - 1), ("007", 7), ("0" * 40 + "5", 5)),
    "float": _cells(("1.5", 1.5), ("-.5", -0.5), ("2e3", 2000.0), ("+4", 4.0), ("5.", 5.0), ("1E-60", 0.0)),
    "double": _cells(("1.5", 1.5), ("-1e300", -1e300), ("0.1", 0.1), ("9007199254740993", 9007199254740992.0)),
    "boolean": _cells(("true", True), ("false", False)),
    "list": _cells(
        ("a|b", "a|b"), (" a | b |", "a|b"), ("||x\t|\u3000y z\u00a0", "x|y z"), ("plain", "plain"), ("x" * 1000, "x" * 1000),
        (" " * 900 + "y" * 900, "y" * 900), ("a,b|'c\"", "a,b|'c\""), ("two\nlines|\nb", "two\nlines|b"), ("\\|\\", "\\|\\"),
        ("<b>|é", "<b>|é"), ("TIMESTAMP", "TIMESTAMP"),
    ),
    "text": _cells(
        ("<p>A\r\n<b>tale</b></p>", "A tale"), ("x \t y", "x y"), ("1 < 2 > 0", "1 < 2 > 0"),
        ('say "hi", you\\me', 'say "hi", you\\me'),
        ("a" * 20_003, "a" * 20_000), ("日本" * 3600, "日本" * 3500), ("<br/>" * 9 + "z", "z"), ("&lt;", "&lt;"), ("<b", "<b"),
    ),
    "plain": _same(" kept\tas it is ", "x" * 1000, "é" * 1000, "USER_ID", "a | b|", " ", "\n", *_ODD_STRINGS),
}  # fmt: skip
NOTHING: dict[Kind, list[Cell]] = {
    "list": _cells((" | ", None), ("|", None), (" ", None)),
    "text": _cells(("<br> \n", None), ("\t", None), ("<!-- , -->", None)),
}
WRONG: dict[Kind, list[Cell]] = {
    "id": _NOT_TEXT
    + _wrong(
        ("x" * 257, "longer than 256 characters"), ("é" * 257, "longer than 256 characters"), ("USER_ID", strings.KEYWORD),
        ("TIMESTAMP", strings.KEYWORD), (" ", strings.BLANK_ID), ("\t\u3000", strings.BLANK_ID), ("\r\n", strings.BLANK_ID),
    ),
    "moment": _wrong(
        ("1700000000000", numerals.MILLISECONDS), ("100000000001", numerals.MILLISECONDS),
        ("1700000000000000", numerals.MICROSECONDS),
        ("1700000000000000000", numerals.NANOSECONDS), ("-1", numerals.NEGATIVE_TIME), ("1600000000.0", numerals.HAS_POINT),
        ("1.6e9", numerals.HAS_EXPONENT), ("2024-05-01", numerals.DATE), ("05/01/2024 10:00", numerals.DATE),
        ("soon", numerals.NOT_WHOLE), ("0x5F", numerals.NOT_WHOLE), (" 5", numerals.SPACED), ("5\t", numerals.SPACED),
        ("9223372036854775808", _LONG_BITS), ("1,5", numerals.NOT_WHOLE), ("5\n", numerals.SPACED), (b"5\xff", cells.NOT_UTF8),
        ("5\0", numerals.NOT_WHOLE), ('"5"', numerals.NOT_WHOLE), ("\\5", numerals.NOT_WHOLE), ("9" * 5000, _LONG_BITS),
    ),
    "whole": _wrong(
        ("2147483648", _INT_BITS), ("-99999999999999999999", _INT_BITS), ("three", numerals.NOT_WHOLE),
        ("1.0", numerals.HAS_POINT),
        ("1e2", numerals.HAS_EXPONENT), ("+1", numerals.NOT_WHOLE), ("- 1", numerals.NOT_WHOLE),
        ("2024-05-01", numerals.NOT_WHOLE),
    ),
    "float": _wrong(
        ("high", numerals.NOT_NUMBER), ("1,5", numerals.NOT_NUMBER), ("NaN", numerals.NOT_FINITE),
        ("-inf", numerals.NOT_FINITE),
        ("1e39", "outside the range of a float"), (" 1", numerals.SPACED), ("0x1", numerals.NOT_NUMBER),
        (b"\xe9", cells.NOT_UTF8),
    ),
    "double": _wrong(
        ("1e999", "outside the range of a double"), ("--1", numerals.NOT_NUMBER), ("infinity", numerals.NOT_FINITE),
        ("1.5 ", numerals.SPACED), ("1 2", numerals.NOT_NUMBER), ("€5", numerals.NOT_NUMBER), (".", numerals.NOT_NUMBER),
    ),
    "boolean": _wrong(*((text, numerals.NOT_BOOLEAN) for text in ("True", "1", "yes", " true", "true\n", "NULL"))),
    "list": _NOT_TEXT,
    "text": _NOT_TEXT,
    "plain": [*_NOT_TEXT, *_wrong(("x" * 1001, "longer than 1000 characters"), ("é\n" * 501, "longer than 1000 characters"))],
}  # fmt: skip
_AS_HEADER: dict[Kind, str | None] = {
    "id": strings.KEYWORD, "moment": numerals.NOT_WHOLE, "whole": numerals.NOT_WHOLE, "float": numerals.NOT_NUMBER,
    "double": numerals.NOT_NUMBER, "boolean": numerals.NOT_BOOLEAN,
}  # fmt: skip

_NULL = "null"
SCHEMAS = [
    parse_schema_document(
        {
            "type": "record",
            "name": "Interactions",
            "fields": [
                {"name": "USER_ID", "type": "string"},
                {"name": "ITEM_ID", "type": ["string"]},
                {"name": "TIMESTAMP", "type": "long"},
                {"name": "EVENT_TYPE", "type": "string"},
                {"name": "EVENT_VALUE", "type": [_NULL, "float"]},
                {"name": "IMPRESSION", "type": ["string", _NULL]},
                {"name": "AGE", "type": "int"},
                {"name": "FRESH", "type": [_NULL, "boolean"]},
            ],
        }
    ),
    parse_schema_document(
        {
            "type": "record",
            "name": "Items",
            "fields": [
                {"name": "GENRES", "type": "string", "categorical": True},
                {"name": "PRICE", "type": [_NULL, "double"]},
                {"name": "ITEM_ID", "type": "string"},
                {"name": "PLOT", "type": [_NULL, "string"], "textual": True},
                {"name": "NOTE", "type": [_NULL, "string"]},
                {"name": "CREATION_TIMESTAMP", "type": "long"},
            ],
        }
    ),
]


def kind_of(described: SchemaField) -> Kind:
    """Which of the tables hold this field's cells."""
    if described.name in {"USER_ID", "ITEM_ID"}:
        return "id"
    if described.textual:
        return "text"
    if described.categorical or described.name == "IMPRESSION":
        return "list"
    of_type: dict[str, Kind] = {"int": "whole", "float": "float", "double": "double", "boolean": "boolean", "string": "plain"}
    return of_type.get(described.type, "moment")


def right_cells(described: SchemaField) -> list[Cell]:
    """Cells that a field takes."""
    kind = kind_of(described)
    return RIGHT[kind] + ([Cell(b"", None), *NOTHING.get(kind, [])] if described.nullable else [])


def wrong_cells(described: SchemaField) -> list[Cell]:
    """Cells that a field does not take."""
    kind = kind_of(described)
    wrong = [*WRONG[kind]]
    if not described.nullable:
        wrong += [Cell(b"", None, cells.EMPTY), *(Cell(raw, None, strings.ONLY_FILLING) for raw, *_ in NOTHING.get(kind, []))]
    if described.categorical:
        wrong.append(Cell(b"a|" * 500 + b"b", None, "longer than 1000 characters: Personalize fails the whole import on it"))
    elif kind == "list":
        wrong.append(Cell(b"1|" * 500 + b"2", None, "longer than 1000 characters, bars included"))
    return wrong


@dataclass
class File:
    """One file and what must be counted of it."""

    name: str
    data: bytes = b""
    rows_read: int = 0
    rows_rejected: int = 0
    blank_lines: int = 0
    lines_within_rows: int = 0


@dataclass
class Case:
    """Files, how they are cut, and what is in them.

    Attributes:
        rows: The right rows: values in the schema's order, then INPUT_ORDER; in the order of files and lines.
        defects: File, line, column (empty for a whole row), the value as shown and the reason, in the same order; of one line
            in the schema's order.
    """

    schema: DatasetSchema = field(repr=False)
    split_bytes: int
    piece_bytes: int
    files: list[File] = field(default_factory=list)
    rows: list[tuple[Any, ...]] = field(default_factory=list)
    defects: list[tuple[str, int, str, str, str]] = field(default_factory=list)

    def write(self, folder: Path) -> None:
        """Put the files into an empty folder."""
        for file in self.files:
            (folder / file.name).parent.mkdir(parents=True, exist_ok=True)
            (folder / file.name).write_bytes(file.data)


@st.composite
def cases(draw: Draw[Any]) -> Case:
    """One to three files of one dataset."""
    case = Case(
        draw(st.sampled_from(SCHEMAS)),
        split_bytes=draw(st.sampled_from([1, 7, 20, 64, 300, 1 << 20])),
        piece_bytes=draw(st.sampled_from([1, 9, 100, 1 << 20])),
    )
    for name in ("a.csv", "b/c.csv", "d")[: draw(st.integers(1, 3))]:
        _FileWriter(draw, case, File(name)).write()
    largest = max(len(file.data) for file in case.files)  # tiny pieces of a large file would take for ever
    case.split_bytes, case.piece_bytes = max(case.split_bytes, largest // 40), max(case.piece_bytes, largest // 100)
    return case


def joined(parts: list[Case]) -> Case:
    """Many cases of one schema as one, each in a folder of its own."""
    whole = Case(parts[0].schema, parts[0].split_bytes, parts[0].piece_bytes)
    for number, part in enumerate(parts):
        assert part.schema == whole.schema
        first = len(whole.files)
        whole.files += [replace(file, name=f"{number:04}/{file.name}") for file in part.files]
        whole.rows += [(*row[:-1], row[-1] + (first << FILE_SHIFT)) for row in part.rows]
        whole.defects += [(f"{number:04}/{name}", *rest) for name, *rest in part.defects]
    return whole


class _FileWriter:
    """Draws one file of a case, and knows at which line it is."""

    def __init__(self, draw: Draw[Any], case: Case, file: File) -> None:
        self.draw, self.case, self.file = draw, case, file
        self.text, self.line = b"", 1
        self.ends = draw(st.sampled_from([[b"\n"], [b"\r\n"], [b"\r"], [b"\n", b"\r\n"]]))
        self.order: list[str | None] = list(draw(st.permutations([*case.schema.names, *[None] * draw(st.integers(0, 2))])))

    def write(self) -> None:
        self._blank_lines()
        self._add(self._row([name.encode() if name else self.draw(st.sampled_from(_EXTRA_NAMES)) for name in self.order]))
        body_starts = len(self.text)
        for kind in self.draw(st.lists(st.sampled_from(_ROW_KINDS), max_size=8)):
            if kind == "blank":
                self.file.blank_lines += self._blank_lines()
                continue
            {"right": self._right, "wrong": self._right, "header": self._right, "misfit": self._misfit}[kind](kind)
        body = self.text[body_starts:]
        if self.draw(st.booleans()) and (body.rstrip(b"\r\n") or not body) and not self.text.endswith(_BLANK_ENDS):
            self.text = self.text.removesuffix(b"\n").removesuffix(b"\r")
        data = self.draw(st.sampled_from([b"", b"\xef\xbb\xbf"])) + self.text
        packing = self.draw(st.sampled_from(["plain", "plain", "gzip", "members"]))
        if packing != "plain":
            members = [data] if packing == "gzip" else [data[:40], b"", data[40:]]
            data = b"".join(gzip.compress(member, 1) for member in members)
        self.file.data = data
        self.case.files.append(self.file)

    def _right(self, kind: str) -> None:
        """A row of right cells, or one with some wrong cells, or one that repeats the header."""
        fields = self.case.schema.fields
        wrong = (
            set(self.draw(st.sets(st.sampled_from(self.case.schema.names), min_size=1, max_size=3))) if kind == "wrong" else ()
        )
        chosen = {
            entry.name: Cell(entry.name.encode(), entry.name, _AS_HEADER.get(kind_of(entry)))
            if kind == "header"
            else self.draw(st.sampled_from(_CHOICES[entry][entry.name in wrong]))
            for entry in fields
        }
        defects = [
            (self.file.name, self.line, name, cell.raw.decode(errors="replace")[:SHOWN_CHARACTERS], cell.reason)
            for name, cell in chosen.items()
            if cell.reason is not None
        ]
        if defects:
            self.case.defects += defects
        else:
            place = len(self.case.files) << FILE_SHIFT | self.line
            self.case.rows.append((*(cell.value for cell in chosen.values()), place))
        self._add_row(
            self._row([chosen[name].raw if name else self.draw(st.sampled_from(_EXTRA_VALUES)) for name in self.order]),
            bool(defects),
        )

    def _misfit(self, kind: str) -> None:
        """A row with too few or too many fields."""
        num_fields = self.draw(st.integers(1, len(self.order) + 3).filter(lambda count: count != len(self.order)))
        row = self._row([self.draw(st.sampled_from(_EXTRA_VALUES)) for _ in range(num_fields)])
        row = row or b" "  # a single empty field would be a blank line
        reason = f"the row has {num_fields} fields, the header {len(self.order)}"
        if b"\n" in row or b"\r" in row:
            reason += "; it spans several lines: is a quote left open?"
        self.case.defects.append((self.file.name, self.line, "", row.decode(errors="replace")[:SHOWN_CHARACTERS], reason))
        self._add_row(row, True)

    def _row(self, values: list[bytes]) -> bytes:
        styles = [self.draw(st.sampled_from(_STYLES)) for _ in values]
        return b",".join(style(value) for style, value in zip(styles, values, strict=True))

    def _blank_lines(self) -> int:
        count = self.draw(st.integers(0, 2))
        for _ in range(count):
            self._add(b"")
        return count

    def _add_row(self, row: bytes, is_rejected: bool) -> None:
        """A row that is rejected counts as many as it has lines."""
        before = self.line
        self._add(row)
        lines = self.line - before
        self.file.rows_read += lines if is_rejected else 1
        self.file.rows_rejected += lines * is_rejected
        self.file.lines_within_rows += 0 if is_rejected else lines - 1

    def _add(self, row: bytes) -> None:
        self.text += row + self.draw(st.sampled_from(self.ends))
        self.line += 1 + row.replace(b"\r\n", b"\n").replace(b"\r", b"\n").count(b"\n")


def _bare(value: bytes) -> bytes:
    return _doubled(value) if value.startswith(b'"') or set(value) & set(b",\r\n") else value


def _doubled(value: bytes) -> bytes:
    return b'"' + value.replace(b"\\", b"\\\\").replace(b'"', b'""') + b'"'


def _escaped(value: bytes) -> bytes:
    return b'"' + value.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def _sparing(value: bytes) -> bytes:
    """Backslashes are escaped only where they would mean something else."""
    return b'"' + re.sub(rb'\\(?=[\\"]|\Z)', rb"\\\\", value).replace(b'"', b'""') + b'"'


_STYLES = [_bare, _bare, _doubled, _escaped, _sparing]
_ROW_KINDS = ["right", "right", "right", "wrong", "wrong", "wrong", "blank", "misfit", "header"]
_EXTRA_NAMES = [b"EXTRA", "größe".encode(), b"user_id", b"", b"two\nlines"]
_EXTRA_VALUES = [b"", b"x", b"\xff\xfe", b'a,"b"\\', b"two\r\nlines", b"\0", b" ", b"1"]
_BLANK_ENDS = (b"\n\n", b"\r\r", b"\n\r\n")
_CHOICES = {entry: (right_cells(entry), wrong_cells(entry)) for schema in SCHEMAS for entry in schema.fields}
