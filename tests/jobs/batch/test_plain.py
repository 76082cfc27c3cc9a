"""Batch input that is gzipped is read; what only looks like JSON lines is refused before anything is answered."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from jobs.batch.plain import plain_lines
from jobs.platform.storage import StoredFile, join, store_for
from schemas.errors import DataError

LINES = b'{"userId": "1"}\n{"userId": "2"}\n'
ARRAY = json.dumps([{"userId": "1"}, {"userId": "2"}])
PRETTY = json.dumps({"userId": "1", "itemList": ["a", "b"]}, indent=2)


@pytest.fixture(params=["local", "moto"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return join(request.getfixturevalue("s3") if request.param == "moto" else str(tmp_path), "in")


def _stored(place: str, name: str, data: bytes) -> StoredFile:
    store_for(place).write(join(place, name), data)
    stored = store_for(place).stat(join(place, name))
    assert stored is not None
    return stored


def test_gzipped_lines_are_unpacked_whatever_the_name(place: str) -> None:
    packed = gzip.compress(LINES[:16]) + gzip.compress(LINES[16:])  # of two members
    files = [_stored(place, "a.json.gz", packed), _stored(place, "b.json", packed), _stored(place, "c.json", LINES)]
    plain = plain_lines(files, "user", join(place, "parts"), "0123456789ab")
    assert [store_for(place).read(file.uri) for file in plain] == [LINES] * 3
    assert plain[2] == files[2]
    assert all("-0123456789ab." in file.name for file in plain[:2])  # goes with the run's parts


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (LINES.decode().encode("utf-16"), "this is UTF-16 text"),
        (LINES.decode().encode("utf-16-le"), "this is UTF-16 text"),
        (LINES.decode().encode("utf-16-be"), "this is UTF-16 text"),
        (ARRAY.encode(), r"this is a JSON array.*`jq -c '\.\[\]'`"),
        (json.dumps(json.loads(ARRAY), indent=2).encode(), "this is a JSON array"),
        (PRETTY.encode(), "this is JSON over several lines"),
        ((PRETTY + "\n" + PRETTY).encode(), "this is JSON over several lines"),
        (b"\xef\xbb\xbf" + PRETTY.encode(), "this is JSON over several lines"),
        (b"PAR1....", "this is a Parquet file"),
        (gzip.compress(ARRAY.encode(), mtime=0), "this is a JSON array"),
        (gzip.compress(LINES, mtime=0)[:-9], "the gzip data ends too early"),
    ],
)
def test_what_is_no_json_lines_is_refused_with_what_helps(tmp_path: Path, data: bytes, message: str) -> None:
    file = _stored(str(tmp_path), "users.json", data)
    with pytest.raises(DataError, match=message) as refused:
        plain_lines([file], "user", str(tmp_path / "parts"), "0123456789ab")
    assert file.uri in str(refused.value)


@pytest.mark.parametrize("data", [b"", b"\n\n", LINES, b"[]\n" + LINES, b"{\n" + LINES, b"[1, 2]\n" + LINES, b"?\n" + LINES])
def test_lines_that_are_wrong_alone_stay_error_lines(tmp_path: Path, data: bytes) -> None:
    file = _stored(str(tmp_path), "users.json", data)
    assert plain_lines([file], "user", str(tmp_path / "parts"), "0123456789ab") == [file]
