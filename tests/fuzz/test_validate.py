"""A small share of `make fuzz`, and the plain reader it compares with."""

from __future__ import annotations

from pathlib import Path

import fuzz_inputs
import fuzz_validate
import pytest
from plain_csv import count_lines, read_records

from jobs.validate import inputs, reading


@pytest.fixture
def as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in (
        (reading, "PIECE_BYTES"), (reading, "EDGE_BYTES"), (reading, "LONGEST_RECORD"), (inputs, "HEAD_BYTES"),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, getattr(module, name))


def test_damaged_files_and_schemas_lose_no_row_and_raise_nothing_odd(tmp_path: Path, as_they_were: None) -> None:
    figures = fuzz_validate.fuzz(1500, 1, tmp_path)
    assert figures["inputs"] == figures["csv"] + figures["schemas"] == 1500
    assert figures["lines"] == sum(figures[name] for name in ("accepted", "rejected", "header", "blank")) > 3000
    assert 100 < figures["csv_refused"] < figures["csv"]
    assert min(figures[name] for name in ("accepted", "faulty", "schemas")) > 100
    assert min(figures[name] for name in ("doubled", "imported")) > 5
    assert 0 < figures["schemas_refused"] < figures["schemas"]


def test_an_input_that_goes_wrong_is_told_with_seed_number_and_bytes(
    tmp_path: Path, as_they_were: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fuzz_inputs, "_NARROW", [])
    monkeypatch.setattr(fuzz_validate, "parse_schema", lambda text: 1 / 0)
    with pytest.raises(fuzz_validate.Failed, match=r"ZeroDivisionError(.|\n)*seed 3, input \d+: (.|\n)*base64: "):
        fuzz_validate.fuzz(100, 3, tmp_path)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (b"", []),
        (b"a,b\nc", [(1, [b"a", b"b"]), (2, [b"c"])]),
        (b"a\r\n\rb\n", [(1, [b"a"]), (2, []), (3, [b"b"])]),
        (b'"a,\n\r\nb",\n,', [(1, [b"a,\n\r\nb", b""]), (4, [b"", b""])]),
        (b'"say ""hi""","say \\"hi\\"",5" nails', [(1, [b'say "hi"', b'say "hi"', b'5" nails'])]),
        (b'"a\\\\",\\"b,"c\\d"', [(1, [b"a\\", b'\\"b', b"c\\d"])]),
        (b'""\n"\n', [(1, [b""]), (2, "faulty")]),
        (b'a\n"b\\"\nc', [(1, [b"a"]), (2, "faulty"), (3, [b"c"])]),
        (b'"TV 42"",a\nx\n"y",b', [(1, "faulty"), (2, [b"x"]), (3, [b"y", b"b"])]),
    ],
)
def test_the_plain_reader_reads_by_the_rules(text: bytes, wanted: list[tuple[int, object]]) -> None:
    records = read_records(text)
    assert [(record.line, "faulty" if record.is_faulty else record.fields) for record in records] == wanted
    assert b"".join(text[record.start : record.stop] for record in records) == text
    assert sum(record.lines for record in records) == count_lines(text)


def test_without_escapes_the_plain_reader_takes_a_backslash_for_a_character() -> None:
    assert [record.fields for record in read_records(b'"a\\","b\\\\"', escapes=False)] == [[b"a\\", b"b\\\\"]]
