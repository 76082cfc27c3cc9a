"""Where records end: the vectorised scanner against a loop over the bytes, and against Arrow's parser."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.validation.quotes import first_line_stop, last_line_stop, line_stops, structure, to_doubled_quotes

csv_like = st.lists(
    st.sampled_from([b"a", b"b", b",", b'"', b'""', b"\\", b"\n", b"\r\n", b"\r", b',"', b'"\n']), max_size=60
).map(b"".join)


def plain_structure(block: bytes, inside: bool) -> tuple[list[int], list[bool], bool]:
    """The rules of the module, one byte after the other."""
    state = "inside" if inside else "start"
    stops, ends_record = [], []
    position = 0
    while position < len(block):
        byte, following = block[position : position + 1], block[position + 1 : position + 2]
        position += 1
        if state == "inside":
            if byte + following in (b'\\"', b"\\\\", b'""'):
                position += 1
            elif byte == b'"':
                state = "field"
        elif byte == b'"' and state == "start":
            state = "inside"
        else:
            state = "start" if byte in b",\r\n" else "field"
        if byte == b"\n" or (byte == b"\r" and following != b"\n"):
            stops.append(position)
            ends_record.append(state != "inside")
    if block and (not stops or stops[-1] != len(block)):
        stops.append(len(block))
        ends_record.append(state != "inside")
    return stops, ends_record, state == "inside"


@settings(max_examples=300, deadline=None)
@given(csv_like, st.booleans())
def test_structure_equals_a_loop_over_the_bytes(block: bytes, inside: bool) -> None:
    found = structure(block, inside)
    stops, ends_record, inside_after = plain_structure(block, inside)
    assert found.line_stops.tolist() == stops
    assert found.ends_record.tolist() == ends_record
    assert found.inside_after == inside_after


@settings(max_examples=200, deadline=None)
@given(csv_like)
def test_arrow_sees_the_same_records(block: bytes) -> None:
    found = structure(block)
    if found.inside_after or not found.num_lines:
        return
    starts, stops = found.record_starts(), found.line_stops[found.ends_record]
    filled = sum(bool(block[start:stop].strip(b"\r\n")) for start, stop in zip(starts, stops, strict=True))
    wrong: list[int] = []

    def skip(row: pa.csv.InvalidRow) -> str:
        wrong.append(row.number)
        return "skip"

    options = pa.csv.ParseOptions(newlines_in_values=True, invalid_row_handler=skip)
    reading = pa.csv.ReadOptions(column_names=["first", "second"], use_threads=False)
    rows = pa.csv.read_csv(io.BytesIO(to_doubled_quotes(block) + b"\nx,y\n"), reading, options).num_rows - 1
    assert rows + len(wrong) == filled
    assert wrong == sorted(set(wrong))


def test_records_know_their_first_byte_and_line() -> None:
    found = structure(b'a,"1\n2\n3",b\nc,d\n"\n",e')
    assert found.num_lines == 6
    assert found.record_starts().tolist() == [0, 12, 16]
    assert found.record_lines().tolist() == [0, 3, 4]


@pytest.mark.parametrize(
    ("given_text", "wanted"),
    [
        (rb'"5\" nail",x', rb'"5"" nail",x'),
        (rb'"C:\\dir",x', rb'"C:\dir",x'),
        (rb'"C:\dir",x', rb'"C:\dir",x'),
        (rb'"\\\"",x', rb'"\""",x'),
        (rb'C:\\dir,"x"', rb'C:\\dir,"x"'),
        (rb'a\",b"', rb'a\",b"'),
        (rb'"a""b\"c",\"', rb'"a""b""c",\"'),
    ],
)
def test_backslashes_escape_inside_quotes_only(given_text: bytes, wanted: bytes) -> None:
    assert to_doubled_quotes(given_text) == wanted


@pytest.mark.parametrize(
    ("buffer", "first", "first_at_end", "last"),
    [
        (b"", 0, 0, 0),
        (b"ab", 0, 2, 0),
        (b"ab\ncd", 3, 3, 3),
        (b"ab\r\ncd", 4, 4, 4),
        (b"ab\rcd", 3, 3, 3),
        (b"ab\r", 0, 3, 0),
        (b"ab\r\n", 4, 4, 4),
        (b"a\nb\rc\r", 2, 2, 4),
    ],
)
def test_a_carriage_return_at_the_edge_is_not_yet_a_line_end(buffer: bytes, first: int, first_at_end: int, last: int) -> None:
    assert first_line_stop(buffer, at_end=False) == first
    assert first_line_stop(buffer, at_end=True) == first_at_end
    assert last_line_stop(buffer) == last


def test_a_million_quotes_take_far_less_than_a_loop_would() -> None:
    block = b'"a","b ""c"" d\n e"\n' * 100_000
    found = structure(block)
    assert np.count_nonzero(found.ends_record) == 100_000
    assert found.num_lines == len(line_stops(block)) == 200_000
