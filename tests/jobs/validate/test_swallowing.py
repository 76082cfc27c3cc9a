"""Quoted values that end early or late: the damaged lines are rejected and counted, the rows around them arrive."""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from typing import Any

import pytest
from check_files import checked_blocks

from jobs.validate import reading
from schemas.datasets import parse_schema_document

ITEMS = parse_schema_document(
    {
        "type": "record",
        "name": "Items",
        "fields": [
            {"name": "ITEM_ID", "type": "string"},
            {"name": "DESCRIPTION", "type": "string"},
            {"name": "CAT", "type": "string", "categorical": True},
        ],
    }
)
HEADER = "ITEM_ID,DESCRIPTION,CAT"
TEXT_AFTER = "after the closing quote of a value only a comma or a line end may follow"
NOT_CLOSED = 'a quote opens in this line that is not closed as it should be; within a value, write a quote as ""'


def read(folder: Path, lines: list[str], split_bytes: int = 1 << 20, packed: bool = False) -> tuple[Any, Any, Any]:
    """Accepted rows by line, rejected lines with their reasons, and the counts, of a file of these lines."""
    text = "\n".join([HEADER, *lines, ""]).encode()
    path = folder / "items.csv"
    path.write_bytes(gzip.compress(text) if packed else text)
    rows, wrong, counts = {}, {}, dict.fromkeys(("rows_read", "rows_rejected", "blank_lines", "lines_within_rows"), 0)
    for _, checked in checked_blocks(str(path), ITEMS, split_bytes):
        for row in checked.accepted.to_pylist():
            *values, line = row.values()
            rows[line] = tuple(values)
        wrong |= {row["line"]: row["reason"] for row in checked.rejected.to_pylist()}
        counts = {name: count + getattr(checked, name) for name, count in counts.items()}
        assert checked.rows_read == checked.accepted.num_rows + checked.rows_rejected
    assert (
        counts["rows_read"] + counts["blank_lines"] + counts["lines_within_rows"]
        == len(re.findall("\r\n|\r|\n", text.decode())) - 1
    )
    return rows, wrong, counts


def test_a_bare_inch_mark_costs_its_own_line_and_no_other(tmp_path: Path) -> None:
    lines = ['p1,"TV 42"",music', 'p2,"plain",music', 'p3,"x",music', *(f"p{n},no quotes,music" for n in range(4, 2000))]
    rows, wrong, counts = read(tmp_path, lines)
    assert wrong == {2: NOT_CLOSED}
    assert sorted(rows) == list(range(3, 2001))
    assert rows[3] == ("p2", "plain", "music")
    assert counts == {"rows_read": 1999, "rows_rejected": 1, "blank_lines": 0, "lines_within_rows": 0}


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("split_bytes", [1, 40, 333, 1 << 20])
def test_a_lone_backslash_before_the_closing_quote_is_a_character_where_only_so_the_rows_are_right(
    tmp_path: Path, split_bytes: int, packed: bool
) -> None:
    lines = ['p10,"Old, worn\\",music', *(f"p{n},plain text {n},music" for n in range(11, 60)), 'p60,"Say ""ok""",music']
    rows, wrong, counts = read(tmp_path, lines, split_bytes, packed)
    assert (wrong, len(rows), counts["rows_read"]) == ({}, 51, 51)
    assert (rows[2], rows[52]) == (("p10", "Old, worn\\", "music"), ("p60", 'Say "ok"', "music"))


def test_the_reading_that_gives_rows_of_the_right_width_is_taken_also_where_both_close_all_quotes(tmp_path: Path) -> None:
    rows, wrong, _ = read(tmp_path, ['p1,"a\\",",b,c"', 'p2,"C:\\\\x\\y",z'])
    assert (wrong, rows) == ({}, {2: ("p1", "a\\", ",b,c"), 3: ("p2", "C:\\\\x\\y", "z")})
    rows, wrong, _ = read(tmp_path, ['p1,"a\\",b",c', 'p2,"C:\\\\x\\y",z'])
    assert (wrong, rows) == ({}, {2: ("p1", 'a",b', "c"), 3: ("p2", "C:\\x\\y", "z")})


def test_where_no_reading_is_right_throughout_the_one_with_fewer_wrong_lines_is_taken(tmp_path: Path) -> None:
    escaped = [f'p{n},"Say \\"{n}\\"",music' for n in range(5)]
    rows, wrong, _ = read(tmp_path, [*escaped, 'p9,"Old\\",music', "p10,x,music", 'p11,"y",music'])
    assert wrong == {7: NOT_CLOSED}
    assert (len(rows), rows[2][1]) == (7, 'Say "0"')
    rows, wrong, _ = read(tmp_path, [escaped[0], *(f'p{n},"Old\\",music' for n in range(3)), 'p11,"y",music'])
    assert wrong == {2: TEXT_AFTER}
    assert (len(rows), rows[3][1]) == (4, "Old\\")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('p1,"a"b,music', TEXT_AFTER),
        ('p1,"a" ,music', TEXT_AFTER),
        ('"p1"x,a,music', TEXT_AFTER),
        ('p1,"a" "b",music', TEXT_AFTER),
        ('p1,a,"music', NOT_CLOSED),
        ('p1,"""a"",music', NOT_CLOSED),
    ],
)
def test_a_record_whose_quotes_are_wrong_is_rejected_alone(tmp_path: Path, line: str, reason: str) -> None:
    around = ['p0,"two\nlines",music', "", 'p8,"x",music', 'p9,"two\nmore",music']
    for split_bytes in (1, 9, 1 << 20):
        rows, wrong, counts = read(tmp_path, [*around[:2], line, *around[2:]], split_bytes)
        assert (wrong, sorted(rows)) == ({5: reason}, [2, 6, 7])
        assert counts == {"rows_read": 4, "rows_rejected": 1, "blank_lines": 1, "lines_within_rows": 2}


@pytest.mark.parametrize("line", ['p1,a"b,c"d', 'p1,5" nails,x', 'p1, "a","b"', "p1,''',\"\""])
def test_quotes_in_the_midst_of_an_unquoted_value_are_characters(tmp_path: Path, line: str) -> None:
    rows, wrong, _ = read(tmp_path, [line.replace('""', '"q"'), "p2,x,y"])
    assert (wrong, sorted(rows)) == ({}, [2, 3])


def test_old_line_ends_within_quotes_and_around_damage_are_lines_too(tmp_path: Path) -> None:
    rows, wrong, _ = read(tmp_path, ['p1,"a\rb",c\r', 'p2,"x"y,c\rp3,"z",c\r'])
    assert (sorted(rows), wrong) == ([2, 5], {4: TEXT_AFTER})


def test_a_row_that_swallowed_lines_and_is_rejected_counts_all_of_them(tmp_path: Path) -> None:
    rows, wrong, counts = read(tmp_path, ['p1,"TV 42"",music', "p2,plain,music", 'p3,",odd",music', "p4,x,music"])
    assert wrong == {2: "the row has 4 fields, the header 3; it spans several lines: is a quote left open?"}
    assert (sorted(rows), counts["rows_read"], counts["rows_rejected"]) == ([5], 4, 3)


def test_a_row_that_spans_too_many_lines_is_a_quote_left_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MOST_ROW_LINES", 5)
    for split_bytes in (1, 7, 1 << 20):
        rows, wrong, _ = read(tmp_path, ['p1,"1\n2\n3\n4\n5",x', 'p2,"1,x', *["p3,a,b"] * 4, 'p4,c",x'], split_bytes)
        assert (sorted(rows), wrong) == ([2, *range(8, 13)], {7: NOT_CLOSED})
