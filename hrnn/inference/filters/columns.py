"""Columns of a catalogue or of users' attributes, encoded so that conditions are evaluated on all rows at once.

A null meets no condition, not even NOT IN and !=; so does a cell without a category, and NaN.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from hrnn.data.arrays import Flags, Rows
from hrnn.inference.filters.operations import Value, marked
from schemas.dataset_rules import ValueKind
from schemas.filters.operators import Operator

_NO_VALUES: tuple[Value, ...] = ()


class Column(Protocol):
    """One column of n rows."""

    def match(self, operator: Operator, values: tuple[Value, ...], rows: Rows | None = None) -> Flags:
        """Mask of the rows that meet a condition: bool [n], or [len(rows)] where rows are given.

        Args:
            operator: Of the condition.
            values: Of the column's kind. Where there is none, no row meets it.
        """
        ...

    def distinct(self, rows: Rows) -> tuple[Rows, list[tuple[Value, ...]]]:
        """Codes int64 [len(rows)] of the distinct values of the given rows, -1 allowed, and the values of each code."""
        ...


def kind_of(kind: pa.DataType) -> ValueKind:
    """Kind of values that a column of an Arrow type is compared with."""
    if pa.types.is_boolean(kind):
        return "truth"
    return "number" if pa.types.is_integer(kind) or pa.types.is_floating(kind) else "text"


def column_of(values: pa.ChunkedArray, multiple: bool) -> Column:
    """Encodes a column.

    Args:
        values: Strings, plain or as a dictionary, numbers or booleans.
        multiple: Strings hold several categories, joined by `|`.
    """
    return TextColumn(values, multiple) if kind_of(values.type) == "text" else NumberColumn(values)


class TextColumn:
    """Strings: conditions are evaluated on the distinct ones and broadcast to the rows.

    Args:
        values: Strings, plain or as a dictionary.
        multiple: Each holds several categories, joined by `|`; blanks around a category don't count.
    """

    def __init__(self, values: pa.ChunkedArray, multiple: bool) -> None:
        if not pa.types.is_dictionary(values.type):
            values = values.dictionary_encode()
        encoded = values.unify_dictionaries().combine_chunks()  # each chunk may have codes of its own
        if isinstance(encoded, pa.ChunkedArray):
            encoded = pa.concat_arrays(encoded.chunks) if encoded.num_chunks else pa.array([], values.type)
        self._codes = pc.fill_null(encoded.indices.cast(pa.int32()), -1).to_numpy()
        distinct = encoded.dictionary.cast(pa.string())
        self._categories, self._value_of = distinct, np.arange(len(distinct))
        if multiple:
            lists = pc.split_pattern(distinct, "|")
            categories = pc.utf8_trim_whitespace(lists.flatten())
            filled = pc.not_equal(categories, "")
            # A distinct string has as many entries as categories; `_value_of`, which string each is of, keeps rising.
            self._categories = categories.filter(filled)
            self._value_of = pc.list_parent_indices(lists).filter(filled).to_numpy()
        self._has_category = np.zeros(len(distinct) + 1, np.bool_)  # the last one stands for null, whose code is -1
        self._has_category[self._value_of] = True

    def match(self, operator: Operator, values: tuple[Value, ...], rows: Rows | None = None) -> Flags:
        """See Column."""
        distinct_mask = np.zeros(len(self._has_category), np.bool_)
        if values:
            distinct_mask[self._value_of[marked(operator, self._categories, values)]] = True
            if operator.negated:
                distinct_mask = self._has_category & ~distinct_mask
        mask: Flags = distinct_mask[self._codes if rows is None else self._codes[rows]]
        return mask

    def distinct(self, rows: Rows) -> tuple[Rows, list[tuple[Value, ...]]]:
        """See Column."""
        codes = np.where(rows >= 0, self._codes[rows], -1) if len(self._codes) else np.full(len(rows), -1)
        distinct, of = np.unique(codes, return_inverse=True)
        # Code -1, of null and of unknown rows, has an empty range: no values, which no condition is met by.
        starts, ends = np.searchsorted(self._value_of, distinct), np.searchsorted(self._value_of, distinct, side="right")
        return of, [tuple(self._categories[a:b].to_pylist()) for a, b in zip(starts.tolist(), ends.tolist(), strict=True)]


class NumberColumn:
    """Numbers or booleans. A fraction is compared as precisely as the column is stored.

    Args:
        values: Integers, floats or booleans.
    """

    def __init__(self, values: pa.ChunkedArray) -> None:
        array = values.combine_chunks()
        if isinstance(array, pa.ChunkedArray):
            array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], values.type)
        self._valid: Flags | None = None
        if array.null_count:
            self._valid = array.is_valid().to_numpy(zero_copy_only=False)
            # Nulls are filled before NumPy sees them: with nulls, whole numbers would come as float64, exact only up to 2^53.
            array = array.fill_null(False if pa.types.is_boolean(values.type) else 0)
        self._values: npt.NDArray[Any] = array.to_numpy(zero_copy_only=False)
        if self._values.dtype.kind == "f" and (unknown := np.isnan(self._values)).any():
            self._valid = ~unknown if self._valid is None else self._valid & ~unknown

    def match(self, operator: Operator, values: tuple[Value, ...], rows: Rows | None = None) -> Flags:
        """See Column."""
        cells = self._values if rows is None else self._values[rows]
        if not values:
            return np.zeros(len(cells), np.bool_)
        mask = marked(operator, cells, self._as_stored(values))
        if operator.negated:
            mask = ~mask
        if self._valid is not None:
            mask &= self._valid if rows is None else self._valid[rows]
        return mask

    def distinct(self, rows: Rows) -> tuple[Rows, list[tuple[Value, ...]]]:
        """See Column."""
        known = rows >= 0
        if not len(self._values):
            known = np.zeros(len(rows), np.bool_)
        elif self._valid is not None:
            known &= self._valid[rows]
        distinct, codes_of_known = np.unique(self._values[rows[known]], return_inverse=True)
        codes = np.full(len(rows), len(distinct))
        codes[known] = codes_of_known
        return codes, [*((value,) for value in distinct.tolist()), _NO_VALUES]

    def _as_stored(self, values: tuple[Value, ...]) -> list[Value]:
        """Values as the column would hold them: a float column of 32 bits holds no 0.1, but what 0.1 becomes there."""
        if self._values.dtype.kind != "f":
            return [int(value) if isinstance(value, float) and value.is_integer() else value for value in values]
        with np.errstate(over="ignore"):
            stored: list[Value] = np.array([float(value) for value in values]).astype(self._values.dtype).tolist()
        return stored
