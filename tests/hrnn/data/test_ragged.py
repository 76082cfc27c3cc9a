from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrnn.data.ragged import Ragged, offsets_of, positions_of, row_ids
from schemas.errors import IntegrityError

NUMBERS = st.integers(-(2**31), 2**31 - 1)
ROWS = st.lists(st.lists(NUMBERS, max_size=5), max_size=8)
DTYPES = st.sampled_from([np.int32, np.int64, np.float64])


def listed(ragged: Ragged[Any]) -> list[list[Any]]:
    return [ragged.row(number).tolist() for number in range(len(ragged))]


@given(ROWS, DTYPES)
def test_rows_come_back(rows: list[list[int]], dtype: type[np.generic]) -> None:
    ragged = Ragged.from_rows(rows, dtype)
    assert (len(ragged), listed(ragged)) == (len(rows), rows)
    assert (ragged.offsets.dtype, ragged.values.dtype) == (np.int64, dtype)
    again = Ragged.from_lengths(ragged.lengths, ragged.values)
    assert listed(again) == rows
    assert again.lengths.tolist() == [len(row) for row in rows]


@given(ROWS, DTYPES, st.booleans())
def test_arrow_brings_rows_back(rows: list[list[int]], dtype: type[np.generic], large: bool) -> None:
    column = Ragged.from_rows(rows, dtype).to_arrow(large=large)
    assert column.type == (pa.large_list if large else pa.list_)(pa.from_numpy_dtype(dtype))
    assert column.to_pylist() == rows
    back = Ragged.from_arrow(column)
    assert listed(back) == rows
    assert back.values.dtype == dtype


def test_a_list_column_is_read_in_pieces_and_null_is_an_empty_row() -> None:
    pieces = [pa.array([[9], [1, 2], None, [3]], pa.list_(pa.int32())).slice(1), pa.array([[], [4]], pa.list_(pa.int32()))]
    assert listed(Ragged.from_arrow(pa.chunked_array(pieces))) == [[1, 2], [], [3], [], [4]]
    assert listed(Ragged.from_arrow(pieces[0])) == [[1, 2], [], [3]]
    assert listed(Ragged.from_arrow(pa.chunked_array([], pa.list_(pa.int32())))) == []


@given(ROWS.filter(len), st.data())
def test_rows_are_taken_in_any_order(rows: list[list[int]], data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=12))
    ragged = Ragged.from_rows(rows, np.int64)
    assert listed(ragged.take(np.asarray(chosen, dtype=np.int64))) == [rows[number] for number in chosen]
    assert listed(ragged.take(np.asarray(chosen, dtype=np.int32))) == [rows[number] for number in chosen]
    at = positions_of(ragged.offsets, np.asarray(chosen, dtype=np.int64))
    assert ragged.values[at.values].tolist() == [value for number in chosen for value in rows[number]]


@given(ROWS, st.data())
def test_a_part_is_a_view_of_neighbouring_rows(rows: list[list[int]], data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(rows)))
    end = data.draw(st.integers(start, len(rows)))
    ragged = Ragged.from_rows(rows, np.int64)
    part = ragged.part(start, end)
    assert listed(part) == rows[start:end]
    assert part.offsets[0] == 0
    assert not len(part.values) or np.shares_memory(part.values, ragged.values)


@given(ROWS)
def test_every_value_has_its_row(rows: list[list[int]]) -> None:
    ragged = Ragged.from_rows(rows, np.int64)
    expected = [number for number, row in enumerate(rows) for _ in row]
    assert ragged.row_ids().tolist() == row_ids(ragged.offsets).tolist() == expected


@given(st.lists(st.tuples(st.integers(-99, 99), st.integers(0, 5)), max_size=8))
def test_runs_are_expanded(runs: list[tuple[int, int]]) -> None:
    starts, lengths = [start for start, _ in runs], [length for _, length in runs]
    expected = [list(range(start, start + length)) for start, length in runs]
    expanded = Ragged.expand(np.asarray(starts, dtype=np.int64), np.asarray(lengths, dtype=np.int64))
    assert listed(expanded) == listed(Ragged.expand(starts, lengths)) == expected
    assert expanded.values.dtype == np.int64


@pytest.mark.parametrize("num_rows", [0, 3])
def test_rows_may_have_no_values(num_rows: int) -> None:
    none = Ragged.none(num_rows, np.int32)
    assert listed(none) == [[]] * num_rows
    assert none.values.dtype == np.int32
    assert none.checked() is none
    assert none.row_ids().tolist() == []
    assert listed(none.part(0, num_rows)) == listed(none.take(np.arange(num_rows))) == listed(none)


@pytest.mark.parametrize("dtype", [np.bool_, np.int32, np.int64])
@pytest.mark.parametrize("lengths", [[], [0], [1, 0, 1]])
def test_offsets_are_running_totals(lengths: list[int], dtype: type[np.generic]) -> None:
    offsets = offsets_of(np.asarray(lengths, dtype=dtype))
    assert offsets.dtype == np.int64
    assert offsets.tolist() == [sum(lengths[:number]) for number in range(len(lengths) + 1)]


def test_totals_of_small_numbers_do_not_overflow() -> None:
    assert offsets_of(np.asarray([2**31 - 1] * 3, dtype=np.int32)).tolist() == [0, 2**31 - 1, 2**32 - 2, 3 * (2**31 - 1)]


@pytest.mark.parametrize("offsets", [[], [0], [0, 2], [1, 3], [0, 4], [0, 2, 1, 3], [-1, 3]])
def test_offsets_from_outside_that_do_not_fit_are_refused(offsets: list[int]) -> None:
    with pytest.raises(IntegrityError, match="offsets"):
        Ragged(np.asarray(offsets, dtype=np.int64), np.arange(3)).checked()


@pytest.mark.parametrize("lengths", [[], [2], [4], [-1, 4], [4, -1]])
def test_lengths_that_do_not_fit_are_refused(lengths: Sequence[int]) -> None:
    with pytest.raises(IntegrityError, match="offsets"):
        Ragged.from_lengths(lengths, np.arange(3))


THREE = Ragged.from_rows([[1, 2], [3], [4, 5, 6]], np.int64)


@pytest.mark.parametrize("number", [-1, -2, 3])
def test_there_is_no_row_before_the_first_or_behind_the_last(number: int) -> None:
    with pytest.raises(IndexError, match=rf"there is no row {number}: 3 rows"):
        THREE.row(number)


@pytest.mark.parametrize(("start", "end"), [(1, 4), (4, 4), (-1, 2), (0, -1), (2, 1)])
def test_a_part_lies_within_the_rows(start: int, end: int) -> None:
    with pytest.raises(IndexError, match=rf"there are no rows {start} to {end}: 3 rows"):
        THREE.part(start, end)


@pytest.mark.parametrize("lengths", [[1.5, 1.5], [1.0, 2.0], [float("nan"), 2.0], ["1", "2"]])
def test_lengths_are_whole_numbers(lengths: Sequence[Any]) -> None:
    for make in (lambda: Ragged.from_lengths(lengths, np.arange(3)), lambda: Ragged.expand([0, 1], lengths)):
        with pytest.raises(ValueError, match="whole numbers are needed"):
            make()


def test_runs_begin_at_whole_numbers_and_each_has_a_length() -> None:
    with pytest.raises(ValueError, match="whole numbers are needed"):
        Ragged.expand([0.5, 1], [1, 1])
    for starts, lengths in (([1], [1, 2]), ([1, 2], [1])):
        with pytest.raises(ValueError, match=f"{len(starts)} starts, but {len(lengths)} lengths"):
            Ragged.expand(starts, lengths)
    with pytest.raises(ValueError, match="negative"):
        Ragged.expand([1, 5], [-1, 2])
