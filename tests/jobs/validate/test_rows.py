"""Cells and rows: every defect at its line and column with its value and reason, and nothing else."""

from __future__ import annotations

import csv
import io
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.platform.storage import list_input
from jobs.validate import cells, numerals, strings
from jobs.validate.inputs import open_inputs
from jobs.validate.keys import KeyCollector
from jobs.validate.parts import check_part
from jobs.validate.plan import ImportPlan, gather
from jobs.validate.splits import plan_splits, scan
from schemas.datasets import DatasetSchema, SchemaField, parse_schema_document

SCHEMA = parse_schema_document(
    {
        "type": "record",
        "name": "Interactions",
        "fields": [
            {"name": "USER_ID", "type": "string"},
            {"name": "ITEM_ID", "type": "string"},
            {"name": "TIMESTAMP", "type": "long"},
            {"name": "EVENT_VALUE", "type": ["null", "float"]},
            {"name": "DEVICE", "type": ["string", "null"], "categorical": True},
            {"name": "COUNT", "type": "int"},
            {"name": "PRICE", "type": ["null", "double"]},
            {"name": "FRESH", "type": ["null", "boolean"]},
        ],
    }
)
HEADER = "USER_ID,ITEM_ID,TIMESTAMP,EVENT_VALUE,DEVICE,COUNT,PRICE,FRESH"
GOOD = "u,i,1700000000,1.5,phone,3,2e3,true"


def check(
    folder: Path, text: str | bytes, split_bytes: int = 1 << 20, schema: DatasetSchema = SCHEMA
) -> tuple[Any, list[Any], Any]:
    """Accepted rows, rejected rows as tuples, and the counts of one file, by way of the code that a worker runs."""
    (folder / "in").mkdir(exist_ok=True)
    path = folder / "in" / "events.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    files = open_inputs(list_input(str(path)), str(path), schema)
    parts = gather(
        plan_splits(files, split_bytes, lambda byte_ranges: [scan(byte_range) for byte_range in byte_ranges]), split_bytes
    )
    plan = ImportPlan(
        schema=schema,
        output_uri=str(folder / "out"),
        parts=tuple(parts),
        references=(),
        file_names=tuple(file.name for file in files),
        gap_seconds=1800,
    )
    answers = [check_part(part, plan, KeyCollector(schema)) for part in parts]
    tables: dict[str, list[pa.Table]] = {"data": [], "rejected": []}
    for entry in (entry for answer in answers for entry in answer["entries"]):
        tables[entry["path"].split("/")[0]].append(pq.read_table(folder / "out" / entry["path"]))
    names = ("rows_read", "rows_accepted", "rows_rejected", "blank_lines")
    counts = {name: sum(count[name] for answer in answers for count in answer["files"]) for name in names}
    accepted = pa.concat_tables(tables["data"]) if tables["data"] else None
    rejected = pa.concat_tables(tables["rejected"]).to_pylist() if tables["rejected"] else []
    return accepted, [tuple(row.values()) for row in rejected], counts


def test_right_rows_come_typed_in_the_schemas_order(tmp_path: Path) -> None:
    header = "\ufeffFRESH,COUNT,EXTRA,ITEM_ID,USER_ID,TIMESTAMP,EVENT_VALUE,DEVICE,PRICE"
    text = f"{header}\r\nfalse,-7,x,i1,u1,12,,,\r\n,8,,i2,ü,13,.5,a|b,-1e-3"
    accepted, rejected, counts = check(tmp_path, text)
    assert rejected == []
    assert counts == {"rows_read": 2, "rows_accepted": 2, "rows_rejected": 0, "blank_lines": 0}
    assert accepted.schema.types == [
        pa.string(), pa.string(), pa.int64(), pa.float32(), pa.string(), pa.int32(), pa.float64(), pa.bool_(), pa.int64(),
    ]  # fmt: skip
    assert [tuple(row.values()) for row in accepted.to_pylist()] == [
        ("u1", "i1", 12, None, None, -7, None, False, 2),
        ("ü", "i2", 13, 0.5, "a|b", 8, -0.001, None, 3),
    ]


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("USER_ID", "", "empty, but the schema does not allow null"),
        ("USER_ID", "é" * 257, "longer than 256 characters"),
        ("ITEM_ID", "a\0b", "holds a NUL character"),
        ("TIMESTAMP", "", "empty, but the schema does not allow null"),
        ("TIMESTAMP", "1.7e9", numerals.HAS_EXPONENT),
        ("TIMESTAMP", "1700000000.0", numerals.HAS_POINT),
        ("TIMESTAMP", "0x5F", "not a whole number"),
        ("TIMESTAMP", " 1700000000", numerals.SPACED),
        ("TIMESTAMP", "2023-11-14", numerals.DATE),
        ("TIMESTAMP", "-1", "negative, but a timestamp is in seconds since 1970"),
        ("TIMESTAMP", "1700000000000", numerals.MILLISECONDS),
        ("TIMESTAMP", "9223372036854775808", "outside the range of a long (64 bits)"),
        ("EVENT_VALUE", "high", "not a number"),
        ("EVENT_VALUE", "1,5", "not a number"),
        ("EVENT_VALUE", "NaN", "not a finite number"),
        ("EVENT_VALUE", "1e39", "outside the range of a float"),
        ("DEVICE", "x" * 1001, "longer than 1000 characters: Personalize fails the whole import on it"),
        ("COUNT", "2147483648", "outside the range of an int (32 bits)"),
        ("COUNT", "-99999999999999999999", "outside the range of an int (32 bits)"),
        ("COUNT", "three", "not a whole number"),
        ("PRICE", "-inf", "not a finite number"),
        ("PRICE", "1e999", "outside the range of a double"),
        ("PRICE", "--1", "not a number"),
        ("FRESH", "True", "neither true nor false (lower case)"),
        ("FRESH", "1", "neither true nor false (lower case)"),
    ],
)
def test_a_wrong_cell_is_told_with_line_column_value_and_reason(tmp_path: Path, column: str, value: str, reason: str) -> None:
    row = dict(zip(HEADER.split(","), GOOD.split(","), strict=True)) | {column: value}
    wrong = ",".join(f'"{cell}"' for cell in row.values())
    accepted, rejected, counts = check(tmp_path, "\n".join([HEADER, GOOD, wrong, GOOD, ""]))
    assert rejected == [("events.csv", 3, column, value[:200], reason)]
    assert accepted.column("INPUT_ORDER").to_pylist() == [2, 4]
    assert counts == {"rows_read": 3, "rows_accepted": 2, "rows_rejected": 1, "blank_lines": 0}


def test_values_at_the_edge_are_right(tmp_path: Path) -> None:
    rows = [
        f"{'é' * 256},i,0,,,-2147483648,,",
        f"u,i,100000000000,3.4e38,{'日' * 1000},2147483647,1.7e308,",
        "u,i,00000000000000000000012,-.5,,1,5.,false",
    ]
    accepted, rejected, _ = check(tmp_path, "\n".join([HEADER, *rows, "u,i,1,,,x,,"]))
    assert [row[1] for row in rejected] == [5]
    assert accepted.column("TIMESTAMP").to_pylist() == [0, 100_000_000_000, 12]


def test_every_defect_of_a_row_is_told_and_the_row_counts_once(tmp_path: Path) -> None:
    _, rejected, counts = check(tmp_path, f"{HEADER}\n,i,x,1,p,y,1,true\n{GOOD}\n")
    assert [(line, column, value) for _, line, column, value, _ in rejected] == [
        (2, "USER_ID", ""),
        (2, "TIMESTAMP", "x"),
        (2, "COUNT", "y"),
    ]
    assert counts["rows_rejected"] == 1


def test_rows_with_too_few_or_too_many_fields_are_told_whole(tmp_path: Path) -> None:
    text = f'{HEADER}\n{GOOD}\nu,i\n{GOOD},more\n\n"u\n,i",1\n{GOOD}\n'.encode() + b"\xff\xfe\n"
    accepted, rejected, counts = check(tmp_path, text)
    assert rejected == [
        ("events.csv", 3, "", "u,i", "the row has 2 fields, the header 8"),
        ("events.csv", 4, "", f"{GOOD},more", "the row has 9 fields, the header 8"),
        ("events.csv", 6, "", '"u\n,i",1', "the row has 2 fields, the header 8; it spans several lines: is a quote left open?"),
        ("events.csv", 9, "", "��", "the row has 1 fields, the header 8"),
    ]
    assert accepted.column("INPUT_ORDER").to_pylist() == [2, 8]
    assert counts == {"rows_read": 7, "rows_accepted": 2, "rows_rejected": 5, "blank_lines": 1}


def test_bytes_that_are_not_utf8_reject_their_cell_only(tmp_path: Path) -> None:
    text = f"{HEADER}\n{GOOD}\n".encode() + GOOD.replace("phone", "caf\xe9").encode("latin-1") + f"\n{GOOD}".encode()
    accepted, rejected, _ = check(tmp_path, text)
    assert rejected == [("events.csv", 3, "DEVICE", "caf�", "not UTF-8 text")]
    assert accepted.num_rows == 2


def test_blank_lines_are_skipped_and_keep_their_numbers(tmp_path: Path) -> None:
    accepted, rejected, counts = check(tmp_path, f"\n\r\n{HEADER}\n\n{GOOD}\r\n\r\n\n{GOOD}\n,\n\n")
    assert accepted.column("INPUT_ORDER").to_pylist() == [5, 8]
    assert [row[1] for row in rejected] == [9]
    assert counts["blank_lines"] == 4


def test_old_line_ends_are_read(tmp_path: Path) -> None:
    accepted, _, _ = check(tmp_path, f"{HEADER}\r{GOOD}\r{GOOD}\r")
    assert accepted.column("INPUT_ORDER").to_pylist() == [2, 3]


def test_a_file_of_nothing_but_wrong_rows_gives_no_data(tmp_path: Path) -> None:
    accepted, rejected, counts = check(tmp_path, HEADER + "\n" + "x\n" * 3)
    assert accepted is None
    assert len(rejected) == counts["rows_rejected"] == 3


def test_texts_are_put_in_one_line_and_both_kinds_of_escape_are_read(tmp_path: Path) -> None:
    schema = parse_schema_document(
        {
            "type": "record",
            "name": "Items",
            "fields": [{"name": "ITEM_ID", "type": "string"}, {"name": "PLOT", "type": "string", "textual": True}],
        }
    )
    rows = [
        'a,"two\r\nlines, ""one"" text"',
        r'b,"C:\\dir \"x\" \n"',
        "c," + "y" * 30_000 + " <br>",
        r"d,plain \" and \\",
        'e,5" nails',
    ]
    accepted, rejected, _ = check(tmp_path, "ITEM_ID,PLOT\n" + "\n".join(rows), schema=schema)
    assert rejected == []
    assert accepted.column("PLOT").to_pylist() == [
        'two lines, "one" text',
        r'C:\dir "x" \n',
        "y" * 20_000,
        r"plain \" and \\",
        '5" nails',
    ]
    assert accepted.column("INPUT_ORDER").to_pylist() == [2, 4, 5, 6, 7]


noisy = st.text(st.sampled_from('ab," \\\n\r|é\0'), max_size=8)  # of an id: kept as it is


@settings(max_examples=25, deadline=None)
@given(
    rows=st.lists(st.tuples(noisy, noisy, st.sampled_from(["1", "", "x", "-1"])), min_size=1, max_size=12),
    split_bytes=st.integers(5, 200),
    line_end=st.sampled_from(["\n", "\r\n"]),
)
def test_any_quoted_values_come_back_and_every_defect_is_found_where_it_is(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, str]], split_bytes: int, line_end: str
) -> None:
    schema = parse_schema_document(
        {
            "type": "record",
            "name": "Interactions",
            "fields": [
                {"name": name, "type": kind}
                for name, kind in (("USER_ID", "string"), ("ITEM_ID", "string"), ("TIMESTAMP", "long"))
            ],
        }
    )
    buffer, lines, line = io.StringIO(), [], 2
    writer = csv.writer(buffer, quoting=csv.QUOTE_ALL, lineterminator=line_end)
    for row in rows:
        lines.append(line)
        before = buffer.tell()
        writer.writerow([cell.replace("\\", "\\\\") for cell in row])
        written = buffer.getvalue()[before:].replace("\r\n", "\n")
        line += written.count("\n") + written.count("\r")
    last = line
    text = "USER_ID,ITEM_ID,TIMESTAMP" + line_end + buffer.getvalue()
    accepted, rejected, counts = check(tmp_path_factory.mktemp("any"), text, split_bytes, schema)
    wanted = []
    for line, row in zip(lines, rows, strict=True):
        for column, value in zip(("USER_ID", "ITEM_ID"), row[:2], strict=True):
            if not value.strip() or "\0" in value:
                reason = strings.HAS_NUL if value.strip() else strings.BLANK_ID if value else cells.EMPTY
                wanted.append((line, column, value, reason))
        if row[2] != "1":
            reason = {"": cells.EMPTY, "x": numerals.NOT_WHOLE, "-1": numerals.NEGATIVE_TIME}[row[2]]
            wanted.append((line, "TIMESTAMP", row[2], reason))
    assert [row[1:] for row in rejected] == wanted
    bad = {entry[0] for entry in wanted}
    right = [(*row[:2], 1, line) for line, row in zip(lines, rows, strict=True) if line not in bad]
    assert [tuple(row.values()) for row in (accepted.to_pylist() if accepted else [])] == right
    rejected_lines = sum(after - line for line, after in pairwise([*lines, last]) if line in bad)
    assert counts["rows_read"] == len(right) + rejected_lines
    assert counts["rows_rejected"] == rejected_lines


@given(st.from_regex(r"[+-]?([0-9]{1,4}\.?[0-9]{0,4}|\.[0-9]{1,4})([eE][+-]?[0-9]{1,2})?", fullmatch=True))
def test_what_looks_like_a_number_can_be_read_beside_what_does_not(text: str) -> None:
    column = cells.parse_column(pa.array([text.encode(), b"x"], pa.binary()), SchemaField(name="PRICE", type="double"))
    assert column.values[0].as_py() == float(text)
    assert [(reason, mask.tolist()) for reason, mask in column.wrong] == [(numerals.NOT_NUMBER, [False, True])]
