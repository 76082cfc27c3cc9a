"""Ragged arrays, such as the histories of users: offsets of the rows, and the values of all, one after the other.

    Ragged.from_lengths([2, 0, 1], np.array([7, 8, 9]))     # [7, 8], [], [9]
    Ragged.expand([3, 9], [2, 1])                           # [3, 4], [9]: values that rise by one

A class with several arrays beside the same offsets (hrnn/data/past_events.py) uses the functions at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from hrnn.data.arrays import Rows
from schemas.errors import IntegrityError

T = TypeVar("T", bound=np.generic)


@dataclass(frozen=True, eq=False)
class Ragged(Generic[T]):
    """B rows of different lengths.

    Attributes:
        offsets: int64 [B + 1], from 0, never falling; row b is values[offsets[b]:offsets[b + 1]].
        values: [offsets[B]], of any dtype.
    """

    offsets: Rows
    values: npt.NDArray[T]

    @classmethod
    def none(cls, num_rows: int, dtype: type[T]) -> Ragged[T]:
        """Empty rows."""
        return cls(np.zeros(num_rows + 1, dtype=np.int64), np.empty(0, dtype=dtype))

    @classmethod
    def from_rows(cls, rows: Sequence[npt.ArrayLike], dtype: type[T]) -> Ragged[T]:
        """Concatenate rows."""
        arrays = [np.asarray(row, dtype=dtype) for row in rows]
        return cls(offsets_of([len(array) for array in arrays]), np.concatenate([np.empty(0, dtype=dtype), *arrays]))

    @classmethod
    def from_lengths(cls, lengths: npt.ArrayLike, values: npt.NDArray[T]) -> Ragged[T]:
        """Rows of [B] lengths.

        Raises:
            IntegrityError: A length is below 0, or their sum is not the number of values.
            ValueError: A length is no whole number.
        """
        return cls(offsets_of(lengths), values).checked()

    @classmethod
    def from_arrow(cls, column: pa.Array | pa.ChunkedArray) -> Ragged[Any]:
        """Rows of a list column; null is an empty row."""
        lists = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        lengths = pc.fill_null(lists.value_lengths(), 0).to_numpy(zero_copy_only=False)
        # `flatten`, not `values`: it heeds the bounds of a slice, and leaves out what lies under nulls.
        return cls(offsets_of(lengths), lists.flatten().to_numpy(zero_copy_only=False))

    @staticmethod
    def expand(starts: npt.ArrayLike, lengths: npt.ArrayLike) -> Ragged[np.int64]:
        """Positions of runs: row b is starts[b], starts[b] + 1, …, as many as lengths[b].

        Raises:
            ValueError: A number is not whole, a length is below 0, or there are not as many of both.
        """
        starts, lengths = (_whole(numbers).astype(np.int64, copy=False) for numbers in (starts, lengths))
        if len(starts) != len(lengths):
            raise ValueError(f"{len(starts)} starts, but {len(lengths)} lengths")
        offsets = offsets_of(lengths)
        positions = np.repeat(starts - offsets[:-1], lengths)
        positions += np.arange(len(positions))
        return Ragged(offsets, positions)

    def checked(self) -> Ragged[T]:
        """These rows, where their offsets come from outside.

        Raises:
            IntegrityError: The offsets do not start at 0, fall, or do not end at the number of values.
        """
        offsets = self.offsets
        if not len(offsets) or offsets[0] != 0 or offsets[-1] != len(self.values) or (offsets[1:] < offsets[:-1]).any():
            raise IntegrityError("the offsets of some rows do not fit their values")
        return self

    def to_arrow(self, *, large: bool = False) -> pa.Array:
        """A list array; `large` has room for 2³¹ values and more."""
        kind, offset = (pa.LargeListArray, pa.int64()) if large else (pa.ListArray, pa.int32())
        return kind.from_arrays(pa.array(self.offsets).cast(offset), pa.array(self.values))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> Rows:
        """int64 [B]."""
        return np.diff(self.offsets)

    def row(self, number: int) -> npt.NDArray[T]:
        """Values of one row; a view.

        Raises:
            IndexError: There is no such row.
        """
        if not 0 <= number < len(self):
            raise IndexError(f"there is no row {number}: {len(self)} rows")
        return self.values[self.offsets[number] : self.offsets[number + 1]]

    def row_ids(self) -> Rows:
        """int64, the row of each value."""
        return row_ids(self.offsets)

    def take(self, rows: npt.NDArray[np.integer[Any]]) -> Ragged[T]:
        """The given rows, in any order."""
        taken = positions_of(self.offsets, rows)
        return Ragged(taken.offsets, self.values[taken.values])

    def part(self, start: int, end: int) -> Ragged[T]:
        """Rows [start, end); a view of their values.

        Raises:
            IndexError: There are no such rows.
        """
        if not 0 <= start <= end <= len(self):
            raise IndexError(f"there are no rows {start} to {end}: {len(self)} rows")
        offsets = self.offsets[start : end + 1]
        return Ragged(offsets - offsets[0], self.values[offsets[0] : offsets[-1]])  # offsets begin at 0 always


def offsets_of(lengths: npt.ArrayLike) -> Rows:
    """Offsets of [B] lengths, running totals from 0: int64 [B + 1]; of flags, how many are set before each place.

    Raises:
        ValueError: A length is no whole number.
    """
    lengths = _whole(lengths)
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def _whole(numbers: npt.ArrayLike) -> npt.NDArray[Any]:
    """Whole numbers, or flags, of any width.

    Raises:
        ValueError: They are of another kind.
    """
    array = np.asarray(numbers)
    if array.dtype.kind not in "biu" and array.size:  # of no numbers NumPy makes floats
        raise ValueError(f"whole numbers are needed, and these are {array.dtype}")
    return array if array.size else array.astype(np.int64)


def row_ids(offsets: Rows) -> Rows:
    """int64, the row of each value."""
    return np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))


def positions_of(offsets: Rows, rows: npt.NDArray[np.integer[Any]]) -> Ragged[np.int64]:
    """Positions of the values of the given rows; the offsets are those of the rows taken."""
    starts = offsets[:-1][rows]
    return Ragged.expand(starts, offsets[1:][rows] - starts)


def union(runs: Sequence[Rows]) -> Rows:
    """All numbers that stand in any of several rising runs, each once, rising; as fast as runs can be merged."""
    return _each_once(np.sort(np.concatenate(runs), kind="stable"))


def distinct(keys: Rows) -> Rows:
    """Each key once, rising: by sorting, which is faster than NumPy's hash table where most are distinct."""
    return _each_once(np.sort(keys))


def _each_once(rising: Rows) -> Rows:
    kept: Rows = rising[np.append(True, rising[1:] != rising[:-1])[: len(rising)]]
    return kept


def find_keys(sorted_keys: Rows, keys: Rows) -> tuple[Rows, Rows]:
    """Which of `keys` are among rising ones, and where each of those is."""
    if not len(sorted_keys):
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    places = np.minimum(np.searchsorted(sorted_keys, keys), len(sorted_keys) - 1)
    found = np.flatnonzero(sorted_keys[places] == keys)
    return found, places[found]
