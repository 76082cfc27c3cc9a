"""Where records end: the vectorised scanner against a loop over the bytes, and against Arrow's parser."""

from __future__ import annotations

import io

import numpy as np
import plain_csv
import pyarrow as pa
import pyarrow.csv
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_csv import read_records

from jobs.validate.quotes import (
    Quoting,
    RecordIndex,
    count_lines,
    field_counts,
    first_line_stop,
    index,
    last_line_stop,
    line_stops,
    to_doubled_quotes,
)

csv_like = st.lists(
    st.sampled_from([b"a", b"b", b",", b'"', b'""', b"\\", b"\n", b"\r\n", b"\r", b',"', b'"\n']), max_size=60
).map(b"".join)


def seen(found: RecordIndex) -> list[tuple[int, int, int, int, bool]]:
    """First line, lines, first byte and end of each record, and whether it is faulty."""
    each = (found.record_lines, found.record_spans, found.record_starts, found.record_stops, found.record_faults > 0)
    return list(zip(*(values.tolist() for values in each), strict=True))


def plainly_seen(block: bytes, quoting: Quoting, longest: int = 1 << 60) -> list[tuple[int, int, int, int, bool]]:
    records = read_records(block, quoting is Quoting.BACKSLASH, longest)
    return [(record.line - 1, record.lines, record.start, record.stop, record.is_faulty) for record in records]


@settings(max_examples=400)
@given(csv_like, st.sampled_from(Quoting), st.sampled_from([3, 9, 1 << 60]))
def test_structure_equals_a_loop_over_the_bytes(block: bytes, quoting: Quoting, longest: int) -> None:
    found = index(block, quoting, longest=longest)
    assert found.settled is None
    assert seen(found) == plainly_seen(block, quoting, longest)
    assert found.num_lines == len(line_stops(block)) == count_lines(block) == plain_csv.count_lines(block)


@settings(max_examples=400)
@given(csv_like, csv_like, st.sampled_from(Quoting), st.sampled_from([3, 9, 1 << 60]))
def test_what_is_settled_in_a_block_stays_so_whatever_comes_after_it(
    block: bytes, after: bytes, quoting: Quoting, longest: int
) -> None:
    block += b"\n"
    found = index(block, quoting, at_end=False, longest=longest)
    settled = found if found.settled is None else found.first(found.settled)
    wanted = plainly_seen(block + after, quoting, longest)[: len(settled.record_stops)]
    assert seen(settled) == wanted


@settings(max_examples=200)
@given(csv_like, st.sampled_from(Quoting))
def test_arrow_and_the_count_of_fields_see_the_same_records(block: bytes, quoting: Quoting) -> None:
    found = index(block, quoting)
    records = [block[start:stop] for _, _, start, stop, is_faulty in seen(found) if not is_faulty]
    records = [record for record in records if record.strip(b"\r\n")]
    fields = [record.fields for record in read_records(block, quoting is Quoting.BACKSLASH) if record.fields]
    text = b"".join(records)
    stops = np.cumsum([len(record) for record in records], dtype=np.int64)
    assert field_counts(text, stops, quoting).tolist() == [len(values) for values in fields]
    wrong: list[int] = []

    def skip(row: pa.csv.InvalidRow) -> str:
        wrong.append(row.number)
        return "skip"

    options = pa.csv.ParseOptions(newlines_in_values=True, invalid_row_handler=skip)
    reading = pa.csv.ReadOptions(column_names=["first", "second"], use_threads=False)
    strings = pa.csv.ConvertOptions(column_types={"first": pa.binary(), "second": pa.binary()})
    readable = to_doubled_quotes(text) if quoting is Quoting.BACKSLASH else text
    table = pa.csv.read_csv(io.BytesIO(readable + b"\nx,y\n"), reading, options, strings).slice(0)
    assert [number - 1 for number in wrong] == [place for place, values in enumerate(fields) if len(values) != 2]
    got = list(zip(*(column.to_pylist() for column in table.columns), strict=True))
    assert got == [*(tuple(values) for values in fields if len(values) == 2), (b"x", b"y")]


def test_records_know_their_first_byte_and_line() -> None:
    found = index(b'a,"1\n2\n3",b\nc,d\n"\n",e')
    assert found.num_lines == 6
    assert found.record_starts.tolist() == [0, 12, 16]
    assert found.record_lines.tolist() == [0, 3, 4]


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
    found = index(block)
    assert len(found.record_stops) == 100_000
    assert found.num_lines == len(line_stops(block)) == 200_000
    assert not found.record_faults.any()
