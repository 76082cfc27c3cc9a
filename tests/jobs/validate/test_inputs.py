"""Headers: what is taken, and one clear message for everything that is no CSV."""

from __future__ import annotations

import gzip
import random
from pathlib import Path

import pytest

from jobs.platform.storage import list_input
from jobs.validate import inputs
from jobs.validate.inputs import InputFile, extra_columns, open_inputs
from schemas.datasets import parse_schema_document
from schemas.errors import DataError

SCHEMA = parse_schema_document(
    {"type": "record", "name": "Users", "fields": [{"name": "USER_ID", "type": "string"}, {"name": "AGE", "type": "int"}]}
)


def opened(path: Path) -> list[InputFile]:
    return open_inputs(list_input(str(path)), str(path), SCHEMA)


@pytest.mark.parametrize(
    ("text", "start", "line"),
    [
        (b"USER_ID,AGE\n", 12, 2),
        (b"USER_ID,AGE", 11, 2),
        (b"\xef\xbb\xbfUSER_ID,AGE\r\n", 16, 2),
        (b'"USER_ID","AGE"\na,1', 16, 2),
        (b"USER_ID , AGE\ra,1", 14, 2),
        (b"\n\r\nUSER_ID,AGE\n", 15, 4),
        (b'"USER_ID","AGE","two\nlines"\na,1,', 28, 3),
    ],
)
def test_a_header_is_read_with_its_length_and_lines(tmp_path: Path, text: bytes, start: int, line: int) -> None:
    path = tmp_path / "users.csv"
    for data in (text, gzip.compress(text)):
        path.write_bytes(data)
        [file] = opened(path)
        assert file.header[:2] == ("USER_ID", "AGE")
        assert (file.body_start, file.body_line) == (start, line)


def test_files_of_a_folder_are_named_by_their_path_below_it(tmp_path: Path) -> None:
    for name in ("b.csv", "a/2.csv", "_SUCCESS", ".hidden"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("AGE,EXTRA,USER_ID\n")
    files = opened(tmp_path)
    assert [(file.number, file.name) for file in files] == [(0, "a/2.csv"), (1, "b.csv")]
    assert extra_columns(files[0], SCHEMA) == ["EXTRA"]


@pytest.mark.parametrize("text", [b"", b"\n\r\n\n", b"\xef\xbb\xbf"])
def test_an_empty_file_has_no_header(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "users.csv").write_bytes(text)
    assert opened(tmp_path)[0].header == ()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"id,X\na,1\n", "Input CSV is missing the following columns:[USER_ID, AGE]. The header has: id, X."),
        (b"user_id,Age\na,1\n", "The header has: user_id, Age. Rename user_id to USER_ID, Age to AGE: case counts."),
        (b"[USER_ID],age\na,1\n", "Rename [USER_ID] to USER_ID, age to AGE: case counts."),
        (b"USER_ID;AGE\na;1\n", "The header has: USER_ID;AGE. Columns are separated by semicolons here: export with commas."),
        (b'"USER_ID";"AGE"\na;1\n', "Columns are separated by semicolons here: export with commas."),
        (b"user_id\tage\tX\na\t1\t2\n", "Columns are separated by tabs here: export with commas."),
        (b"USER_ID|AGE\na|1\n", "Columns are separated by | here: export with commas."),
        (b"sep=,\nUSER_ID,AGE\na,1\n", "The first line tells a spreadsheet its separator: export without it."),
        (b"u1,33\nu2,44\n", "The first row must name the columns; this looks like data: export with a header."),
        (b'{"USER_ID": "a", "AGE": 1}\n', "This is JSON: export CSV."),
        (b'[\n {"USER_ID": "a", "AGE": 1}]\n', "This is JSON: export CSV."),
        (
            b'{"entries": [{"url": "s3://bucket/unload/0000_part_00"}]}',
            "This is a manifest of Redshift's UNLOAD, not data: move it out of the folder, or leave MANIFEST out of UNLOAD.",
        ),
        (b'"USER_ID\nAGE",\x1b,x\n', r"The header has: 'USER_ID\nAGE', '\x1b', x."),
        (b"USER_ID,AGE,AGE\na,1,2\n", "the header names a column twice: AGE"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + random.Random(1).randbytes(3000), "this is a binary file, not CSV text"),
        (b"\0\1\2" * 900_000, "this is a binary file, not CSV text"),
        (b"PAR1\x15\0\x15\xf2", "this is a Parquet file, not CSV text in UTF-8"),
        (b"PK\x03\x04rest", "this is a ZIP archive"),
        ("USER_ID,AGE\n".encode("utf-16"), "this is UTF-16 text"),
        ("USER_ID,AGE,GRÖSSE\n".encode("latin-1"), "the header is not CSV text in UTF-8"),
        (b"USER_ID," + b"A" * 200_000 + b"\n", "the header is not CSV text in UTF-8"),
        (b"A" * 2_000_000, "no header row was found"),
        (b'"USER_ID,AGE\na,1\n', "the quotes of the header are not closed as they should be"),
        (b'USER_ID,"AGE"x\na,1\n', "Input CSV is missing the following columns:[AGE]. The header has: USER_ID, AGEx."),
        (b"\x1f\x8b\x08\0rubbish that is no gzip", "the gzip data is damaged"),
    ],
)  # fmt: skip
def test_what_is_no_right_csv_is_one_message_that_names_the_file(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "users.csv"
    path.write_bytes(data)
    with pytest.raises(DataError) as raised:
        opened(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert message in str(raised.value)
    assert str(raised.value).isprintable()


def test_the_first_wrong_file_is_named_and_the_others_are_counted(tmp_path: Path) -> None:
    for name, text in {"1.csv": "USER_ID,AGE\n", "2.csv": "USER_ID\n", "3.csv": "AGE\n"}.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=r"2\.csv: Input CSV is missing the following columns:\[AGE\].*1 more of 3 files"):
        opened(tmp_path)


def test_a_long_header_is_read_when_it_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "users.csv"
    path.write_text("USER_ID,AGE,MORE\na,1,2\n")
    monkeypatch.setattr(inputs, "HEAD_BYTES", 18)
    assert opened(path)[0].body_start == 17
    monkeypatch.setattr(inputs, "HEAD_BYTES", 17)
    with pytest.raises(DataError, match="no header row was found"):
        opened(path)
