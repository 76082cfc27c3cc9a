"""One column's cells: text to type, and which cells are wrong and why.

A type is added as docs/adding-a-field-type.md says. A cell has at most one reason; a row is rejected when any cell has one.
Numbers are read a column at a time (numerals); strings by their distinct values (strings), since a column of millions of rows
often has thousands of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from hrnn.data.arrays import Flags
from jobs.platform.stored_types import ARROW_TYPES
from jobs.validate.fields import LATEST_SECONDS, is_time, longest_string
from jobs.validate.numerals import Parsed, parse_booleans, parse_real_numbers, parse_whole_numbers
from jobs.validate.strings import Distinct, check_strings
from schemas.dataset_rules import FieldType
from schemas.datasets import SchemaField

__all__ = ["ARROW_TYPES", "LATEST_SECONDS", "Column", "is_time", "longest_string", "parse_column"]

EMPTY = "empty, but the schema does not allow null"
NOT_UTF8 = "not UTF-8 text"


@dataclass
class Column:
    """A column being parsed: typed values, and masks of wrong cells by reason.

    Attributes:
        values: The typed values; where a cell is wrong or null, nothing that may be used.
        wrong: Reasons with the mask of cells each one is for; masks do not overlap.
        cleaned: Right cells whose text lost white space, tags or bars.
        truncated: Right cells whose text was cut at the longest that is allowed.
    """

    values: Any
    wrong: list[tuple[str, Flags]]
    cleaned: int = 0
    truncated: int = 0

    def reject(self, reason: str, mask: Flags) -> None:
        """Give a reason to the cells of a mask that have none yet."""
        for _, earlier in self.wrong:
            mask = mask & ~earlier
        if mask.any():
            self.wrong.append((reason, mask))

    def count_right(self, mask: Flags) -> int:
        """How many cells of a mask are not wrong."""
        for _, earlier in self.wrong:
            mask = mask & ~earlier
        return int(mask.sum())


PARSERS: dict[FieldType, Callable[[Any, SchemaField], Parsed]] = {
    "int": parse_whole_numbers,
    "long": parse_whole_numbers,
    "float": parse_real_numbers,
    "double": parse_real_numbers,
    "boolean": parse_booleans,
}


def parse_column(cells: Any, field: SchemaField) -> Column:
    """The typed values of one column.

    Args:
        cells: One cell a row; an empty or null cell is null. Binary array, or, for strings, better a
            DictionaryArray<int32, binary>; entries that no row uses are of no account.
        field: What the schema says of it.

    Returns:
        Values of ARROW_TYPES[field.type] (for strings a DictionaryArray<int32, string> of distinct values), null where the
        cell is empty; where it is wrong, nothing that may be used; and every wrong cell.
    """
    if field.kind == "text":
        return _parse_strings(cells, field)
    cells = pc.fill_null(cells, b"")
    texts, invalid = _decoded(cells)
    column = Column(texts, [])
    if invalid is not None:
        column.reject(NOT_UTF8, invalid)
    # Empty cells become null before parsing, so that no parser has to know of them.
    empty = _mask(pc.equal(pc.binary_length(texts), 0))
    if empty.any():
        column.values = pc.if_else(pa.array(empty), pa.scalar(None, pa.string()), column.values)
        if not field.nullable:
            column.reject(EMPTY, empty)
    column.values, wrong = PARSERS[field.type](column.values, field)
    for reason, mask in wrong:
        column.reject(reason, mask)
    return column


def _parse_strings(cells: Any, field: SchemaField) -> Column:
    """Strings: look at the distinct ones, then take the findings to the rows."""
    # A slice may come with the dictionary of a larger array: then checking it would cost more than encoding anew.
    if not pa.types.is_dictionary(cells.type):
        cells = cells.dictionary_encode()
    elif len(cells.dictionary) > len(cells):
        cells = cells.dictionary_decode().dictionary_encode()
    if not len(cells.dictionary):  # nothing but nulls
        cells = pa.DictionaryArray.from_arrays(cells.indices.fill_null(0), pa.array([b""], pa.binary()))
    # Each distinct value is checked once; `[codes]` spreads what came of it to the rows.
    texts, invalid = _decoded(cells.dictionary)
    distinct = check_strings(texts, field)
    codes, missing = _codes(cells)
    column = Column(None, [])
    if invalid is not None:
        column.reject(NOT_UTF8, invalid[codes])
    for reason, mask in distinct.wrong:
        if mask.any():
            column.reject(reason, mask[codes])
    # Null is what was null, what was empty, and what cleaning left empty.
    is_empty = _mask(pc.equal(pc.binary_length(distinct.values), 0))
    if is_empty.any():
        empty = is_empty[codes]
        missing = empty if missing is None else missing | empty
    if missing is not None and not field.nullable:
        column.reject(EMPTY, missing)
    # Counted last: a cell that is rejected for any reason was not changed.
    column.values = _encoded(distinct, codes, missing)
    if distinct.cleaned is not None:
        column.cleaned = column.count_right(distinct.cleaned[codes])
    if distinct.truncated is not None:
        column.truncated = column.count_right(distinct.truncated[codes])
    return column


def _codes(cells: Any) -> tuple[NDArray[np.int32], Flags | None]:
    """Each row's place in the dictionary, and which rows are null, if any is."""
    if not cells.indices.null_count:
        return cells.indices.to_numpy(), None
    return cells.indices.fill_null(0).to_numpy(), _mask(cells.indices.is_null())


def _encoded(distinct: Distinct, codes: NDArray[np.int32], missing: Flags | None) -> Any:
    """The rows' values; what became equal by cleaning is one entry again."""
    values = distinct.values
    if distinct.cleaned is not None or distinct.truncated is not None:
        merged = values.dictionary_encode()
        values, codes = merged.dictionary, merged.indices.to_numpy()[codes]
    return pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32(), mask=missing), values)


def _decoded(cells: Any) -> tuple[Any, Flags | None]:
    """Cells as text; where some are not UTF-8, these as empty text, and which they are."""
    try:
        return cells.cast(pa.string()), None
    except pa.ArrowInvalid:
        valid = _valid_text(cells)
        return pc.if_else(pa.array(valid), cells, pa.scalar(b"", pa.binary())).cast(pa.string()), ~valid


def _valid_text(cells: Any) -> Flags:
    """Which cells are UTF-8."""

    def is_text(cell: bytes) -> bool:
        try:
            cell.decode()
        except UnicodeDecodeError:
            return False
        return True

    return np.array([is_text(cell) for cell in cells.to_pylist()], np.bool_)


def _mask(flags: Any) -> Flags:
    """A boolean Arrow array without nulls as numpy."""
    mask: Flags = flags.to_numpy(zero_copy_only=False)
    return mask
