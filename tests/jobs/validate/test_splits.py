"""Splits and blocks: however a file is cut, the same records at the same lines."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from check_files import splits_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobs.platform.storage import gzipped, list_input
from jobs.validate import reading
from jobs.validate.inputs import InputFile, Split, open_inputs
from jobs.validate.plan import gather
from jobs.validate.quotes import NOT_CLOSED
from jobs.validate.reading import record_blocks
from jobs.validate.splits import plan_splits
from schemas.datasets import DatasetSchema, parse_schema_document
from schemas.errors import DataError, StorageError

SCHEMA = parse_schema_document(
    {"type": "record", "name": "Users", "fields": [{"name": "USER_ID", "type": "string"}, {"name": "AGE", "type": "int"}]}
)
HEADER = b"USER_ID,AGE\n"

bodies = st.lists(
    st.sampled_from([b"a", b"bc", b",", b'"', b'""', b"\\", b'\\"', b"\n", b"\n", b"\r\n", b"\r", b',"', b'"\n', b'"x\ny"']),
    max_size=80,
).map(b"".join)


def opened(path: Path, schema: DatasetSchema = SCHEMA) -> InputFile:
    [file] = open_inputs(list_input(str(path)), str(path), schema)
    return file


def records(splits: list[Split]) -> list[tuple[int, bytes, int, str | None]]:
    """Line, bytes and fault of every record, and how its quotes are read."""
    found = []
    for split in splits:
        for block in record_blocks(split):
            known = block.index
            each = (known.record_starts, known.record_stops, known.record_lines, known.record_faults)
            for start, stop, line, fault in zip(*each, strict=True):
                found.append((block.first_line + int(line), known.block[start:stop], int(fault), split.quoting))
    return found


def texts(splits: list[Split]) -> list[tuple[int, bytes]]:
    """Line and bytes of every record, all of them right."""
    found = records(splits)
    assert not any(fault for _, _, fault, _ in found)
    return [(line, text) for line, text, _, _ in found]


def cut(file: InputFile, split_bytes: int) -> list[Split]:
    return splits_of([file], split_bytes)


@pytest.fixture
def small_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "PIECE_BYTES", 7)
    monkeypatch.setattr(reading, "EDGE_BYTES", 3)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bodies, st.integers(1, 40))
def test_any_cut_gives_the_same_records_at_the_same_lines(
    tmp_path: Path, small_reads: None, body: bytes, split_bytes: int
) -> None:
    path = tmp_path / "users.csv"
    path.write_bytes(HEADER + body)
    file = opened(path)
    wanted = records(cut(file, 1 << 20))
    splits = cut(file, split_bytes)
    assert records(splits) == wanted
    assert b"".join(data for _, data, _, _ in wanted) == body
    assert [split.start for split in splits] == sorted({split.start for split in splits})


def test_splits_meet_between_records_and_know_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "users.csv"
    path.write_bytes(HEADER + b'"a\n\n\n1",1\nb,2\n"c\n""x,\n",3\nd,4\n')
    splits = cut(opened(path), 8)
    assert [(split.start, split.end, split.first_line) for split in splits] == [(12, 22, 2), (22, 38, 6), (38, 42, 10)]
    assert texts(splits) == [(2, b'"a\n\n\n1",1\n'), (6, b"b,2\n"), (7, b'"c\n""x,\n",3\n'), (10, b"d,4\n")]


def test_small_files_are_cut_nowhere_and_share_a_part(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"{number}.csv").write_bytes(HEADER + b"a,1\n" * (10 if number == 3 else 1))
    files = open_inputs(list_input(str(tmp_path)), str(tmp_path), SCHEMA)
    splits = plan_splits(files, 64, lambda byte_ranges: pytest.fail(f"no need to scan {byte_ranges}"))
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
    assert texts(splits) == [(2, b"a,1\n"), (3, b"b,2\n"), (4, b"c,3\n")]


def test_a_gzip_bomb_is_read_in_small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    packed = gzip.compress(b"\0" * (16 << 20))
    sizes = [len(piece) for piece in gzipped.unpack([packed], "bomb.gz", piece_bytes=1 << 20)]
    assert sum(sizes) == 16 << 20
    assert max(sizes) <= 1 << 20


def test_gzip_data_that_unpacks_to_far_more_than_rows_would_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gzipped, "BOMB_BYTES", 100_000)
    path = tmp_path / "users.csv"
    path.write_bytes(gzip.compress(HEADER + b"a,1\n" * 20_000))
    assert len(texts(cut(opened(path), 1000))) == 20_000
    path.write_bytes(gzip.compress(HEADER + b"a,1\n" * 500_000))
    with pytest.raises(DataError, match=r"users\.csv: the gzip data unpacks to far more than rows would"):
        records(cut(opened(path), 1000))


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


@pytest.mark.parametrize("split_bytes", [1, 5, 1 << 20])
def test_a_quote_that_is_never_closed_costs_its_line(tmp_path: Path, small_reads: None, split_bytes: int) -> None:
    path = tmp_path / "users.csv"
    path.write_bytes(HEADER + b'a,1\n"b,2\nc,3\n')
    found = [(line, text, fault) for line, text, fault, _ in records(cut(opened(path), split_bytes))]
    assert found == [(2, b"a,1\n", 0), (3, b'"b,2\n', NOT_CLOSED), (4, b"c,3\n", 0)]


@pytest.mark.parametrize("split_bytes", [1, 8, 30, 1 << 20])
def test_a_row_that_is_too_long_is_a_quote_left_open_and_a_line_that_is_too_long_is_an_error(
    tmp_path: Path, small_reads: None, monkeypatch: pytest.MonkeyPatch, split_bytes: int
) -> None:
    monkeypatch.setattr(reading, "LONGEST_RECORD", 50)
    path = tmp_path / "users.csv"
    path.write_bytes(HEADER + b'a,1\n"b,2\n' + b"c,3\n" * 12 + b'd",4\n"' + b"\n" * 47 + b'",5\n')
    found = {line: fault for line, _, fault, _ in records(cut(opened(path), split_bytes))}
    assert {line: fault for line, fault in found.items() if fault} == {3: NOT_CLOSED, 17: NOT_CLOSED, 64: NOT_CLOSED}
    assert len(found) == 63
    path.write_bytes(HEADER + b"a" * 100)
    with pytest.raises(DataError, match="a line is longer than"):
        records(cut(opened(path), split_bytes))


def test_blocks_are_limited_by_lines_as_well_as_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MOST_LINES", 100)
    path = tmp_path / "users.csv"
    body = b"\n" * 5_000 + b"a,1\r\n" * 300 + b"x" * 3_000 + b",1\n" + b"\r\n\r\n" * 700 + b'"\n",1\n' * 90
    for data in (HEADER + body, gzip.compress(HEADER + body)):
        path.write_bytes(data)
        for split_bytes in (1 << 10, 1 << 20):
            blocks = [block for split in cut(opened(path), split_bytes) for block in record_blocks(split)]
            assert b"".join(block.index.block for block in blocks) == body
            assert max(block.index.num_lines for block in blocks) <= 101
            assert [block.first_line for block in blocks[1:]] == [
                block.first_line + block.index.num_lines for block in blocks[:-1]
            ]


def test_blocks_are_limited_by_bytes_however_few_their_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "PIECE_BYTES", 2_000)
    path = tmp_path / "users.csv"
    body = (b"x" * 998 + b",1\n") * 20
    path.write_bytes(HEADER + body)
    blocks = [block.index.block for split in cut(opened(path), 1 << 20) for block in record_blocks(split)]
    assert b"".join(blocks) == body
    assert max(map(len, blocks)) < 2_000 + 1_001  # a piece, and the line that began before it


def test_a_file_that_changes_while_it_is_read_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "users.csv"
    path.write_bytes(HEADER + b"a,1\n")
    splits = cut(opened(path), 100)
    path.write_bytes(HEADER + b"a,1\nb,2\n")
    with pytest.raises(StorageError, match="changed"):
        records(splits)
