"""A small share of `make fuzz`, and the plain reader it compares with."""

from __future__ import annotations

from pathlib import Path

import fuzz_inputs
import fuzz_validate
import pytest
from plain_csv import read_records

from jobs.validation import inputs, reading


@pytest.fixture
def as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in (
        (reading, "PIECE_BYTES"), (reading, "_EDGE_BYTES"), (reading, "LONGEST_RECORD"), (inputs, "HEAD_BYTES"),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, getattr(module, name))


def test_damaged_files_and_schemas_lose_no_row_and_raise_nothing_odd(tmp_path: Path, as_they_were: None) -> None:
    figures = fuzz_validate.fuzz(2000, 1, tmp_path)
    assert figures["inputs"] == figures["csv"] + figures["schemas"] == 2000
    assert figures["rows"] == figures["accepted"] + figures["rejected"] > 1000
    assert 100 < figures["csv_refused"] < figures["csv"]
    assert 100 < figures["schemas_refused"] < figures["schemas"]


def test_an_input_that_goes_wrong_is_told_with_seed_number_and_bytes(
    tmp_path: Path, as_they_were: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fuzz_inputs, "_NARROW", [])
    monkeypatch.setattr(fuzz_validate, "parse_schema", lambda text: 1 / 0)
    with pytest.raises(fuzz_validate.Failed, match=r"ZeroDivisionError(.|\n)*seed 3, input \d+: (.|\n)*base64: "):
        fuzz_validate.fuzz(100, 3, tmp_path)


@pytest.mark.parametrize(
    ("text", "wanted", "is_open"),
    [
        (b"", [], False),
        (b"a,b\nc", [(1, [b"a", b"b"]), (2, [b"c"])], False),
        (b"a\r\n\rb\n", [(1, [b"a"]), (2, []), (3, [b"b"])], False),
        (b'"a,\n\r\nb",\n,', [(1, [b"a,\n\r\nb", b""]), (4, [b"", b""])], False),
        (b'"say ""hi""","say \\"hi\\"",5" nails', [(1, [b'say "hi"', b'say "hi"', b'5" nails'])], False),
        (b'"a\\\\",\\"b,"c\\d"e"', [(1, [b"a\\", b'\\"b', b'c\\de"'])], False),
        (b'""\n"', [(1, [b""])], True),
        (b'a\n"b\\"\n', [(1, [b"a"])], True),
    ],
)
def test_the_plain_reader_reads_by_the_rules(text: bytes, wanted: list[tuple[int, list[bytes]]], is_open: bool) -> None:
    records, found_open = read_records(text)
    assert [(record.line, record.fields) for record in records] == wanted
    assert found_open is is_open
    assert b"".join(text[record.start : record.stop] for record in records) == (
        text if not is_open else text[: records[-1].stop]
    )
