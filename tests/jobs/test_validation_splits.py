"""Splits and blocks: however a file is cut, the same records at the same lines."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobs.storage import list_input
from jobs.validation import gzipped, reading
from jobs.validation.inputs import InputFile, Split, open_inputs
from jobs.validation.plan import gather
from jobs.validation.reading import record_blocks
from jobs.validation.splits import plan_splits, scan
from schemas.datasets import DatasetSchema, parse_schema_document
from schemas.errors import DataError, StorageError

SCHEMA = parse_schema_document(
    {"type": "record", "name": "Users", "fields": [{"name": "USER_ID", "type": "string"}, {"name": "AGE", "type": "int"}]}
)
HEADER = b"USER_ID,AGE\n"

bodies = st.lists(
    st.sampled_from([b"a", b"bc", b",", b'"', b'""', b"\\", b"\n", b"\n", b"\r\n", b"\r", b',"', b'"\n', b'"x\ny"']),
    max_size=80,
).map(b"".join)


def opened(path: Path, schema: DatasetSchema = SCHEMA) -> InputFile:
    [file] = open_inputs(list_input(str(path)), str(path), schema)
    return file


def cut(file: InputFile, split_bytes: int) -> list[Split]:
    # Through JSON, as between a worker and the driver.
    return plan_splits([file], split_bytes, lambda stretches: [json.loads(json.dumps(scan(s))) for s in stretches])


def records(splits: list[Split]) -> list[tuple[int, bytes]]:
    """Line and bytes of every record."""
    found = []
    for split in splits:
        for block in record_blocks(split):
            stops = block.structure.line_stops[block.structure.ends_record]
            for start, stop, line in zip(block.structure.record_starts(), stops, block.structure.record_lines(), strict=True):
                found.append((block.first_line + int(line), block.data[start:stop]))
    return found


@pytest.fixture
def small_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "PIECE_BYTES", 7)
    monkeypatch.setattr(reading, "_EDGE_BYTES", 3)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bodies, st.integers(1, 40))
def test_any_cut_gives_the_same_records_at_the_same_lines(
    tmp_path: Path, small_reads: None, body: bytes, split_bytes: int
) -> None:
    path = tmp_path / "users.csv"
    path.write_bytes(HEADER + body)
    file = opened(path)
    whole = [Split(file=file, start=file.body_start, end=file.size, first_line=2)] if body else []
    try:
        wanted = records(whole)
    except DataError:
        with pytest.raises(DataError, match="is never closed"):
            records(cut(file, split_bytes))
        return
    splits = cut(file, split_bytes)
    assert records(splits) == wanted
    assert b"".join(data for _, data in wanted) == body
    assert [split.start for split in splits] == sorted({split.start for split in splits})


def test_splits_meet_between_records_and_know_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "users.csv"
    path.write_bytes(HEADER + b'"a\n\n\n1",1\nb,2\n"c\n""x,\n",3\nd,4\n')
    splits = cut(opened(path), 8)
    assert [(split.start, split.end, split.first_line) for split in splits] == [(12, 22, 2), (22, 38, 6), (38, 42, 10)]
    assert records(splits) == [(2, b'"a\n\n\n1",1\n'), (6, b"b,2\n"), (7, b'"c\n""x,\n",3\n'), (10, b"d,4\n")]


def test_small_files_are_cut_nowhere_and_share_a_part(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"{number}.csv").write_bytes(HEADER + b"a,1\n" * (10 if number == 3 else 1))
    files = open_inputs(list_input(str(tmp_path)), str(tmp_path), SCHEMA)
    splits = plan_splits(files, 64, lambda stretches: pytest.fail(f"no need to scan {stretches}"))
    assert [[split.file.name for split in part.splits] for part in gather(splits, 12)] == [
        ["0.csv", "1.csv", "2.csv"],
        ["3.csv"],
        ["4.csv"],
    ]


@pytest.mark.parametrize("level", [0, 9])
def test_gzip_of_several_members_is_one_split(tmp_path: Path, small_reads: None, level: int) -> None:
    path = tmp_path / "users.csv"
    path.write_bytes(b"".join(gzip.compress(text, level) for text in (HEADER + b"a,1\nb", b",2\n", b"", b"c,3\n")) + b"\0\0")
    file = opened(path)
    assert file.gzipped
    splits = cut(file, 4)
    assert len(splits) == 1
    assert records(splits) == [(2, b"a,1\n"), (3, b"b,2\n"), (4, b"c,3\n")]


def test_a_gzip_bomb_is_read_in_small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    packed = gzip.compress(b"\0" * (16 << 20))
    sizes = [len(piece) for piece in gzipped.unpack([packed], "bomb.gz", piece_bytes=1 << 20)]
    assert sum(sizes) == 16 << 20
    assert max(sizes) <= 1 << 20


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[:-9], "the gzip data ends too early"),
        (lambda data: data[:20] + b"\xff" * 9 + data[29:], "is damaged"),
    ],
)
def test_a_damaged_gzip_file_is_one_message(tmp_path: Path, damage: object, message: str) -> None:
    path = tmp_path / "users.csv.gz"
    assert callable(damage)
    path.write_bytes(damage(gzip.compress(HEADER + bytes(range(65, 91)) * 40 + b",1\n")))
    with pytest.raises(DataError, match=message):
        records(cut(opened(path), 1000))


def test_a_quote_that_is_never_closed_is_named_by_its_line(tmp_path: Path, small_reads: None) -> None:
    path = tmp_path / "users.csv"
    path.write_bytes(HEADER + b'a,1\n"b,2\nc,3\n')
    with pytest.raises(DataError, match=r"users\.csv: the quote that opens in the row of line 3 is never closed"):
        records(cut(opened(path), 5))


def test_a_row_that_is_too_long_is_named_by_its_line(
    tmp_path: Path, small_reads: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "LONGEST_RECORD", 50)
    path = tmp_path / "users.csv"
    path.write_bytes(HEADER + b'a,1\n"b,2\n' + b"c,3\n" * 20)
    with pytest.raises(DataError, match="the row that begins in line 3 is longer than"):
        records(cut(opened(path), 1000))
    path.write_bytes(HEADER + b"a" * 100)
    with pytest.raises(DataError, match="a line is longer than"):
        cut(opened(path), 8)


def test_a_file_that_changes_while_it_is_read_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "users.csv"
    path.write_bytes(HEADER + b"a,1\n")
    splits = cut(opened(path), 100)
    path.write_bytes(HEADER + b"a,1\nb,2\n")
    with pytest.raises(StorageError, match="changed"):
        records(splits)
