"""One column's cells: text to type, and which cells are wrong and why.

Adding a field type is one function in PARSERS. A cell has at most one reason; a row is rejected when any of its cells has one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from schemas import columns
from schemas.dataset_rules import FieldType
from schemas.datasets import SchemaField

LONGEST_ID = 256  # characters
LONGEST_VALUE = 1000  # characters of a string that is neither an id nor a text
LATEST_SECONDS = 100_000_000_000  # the year 5138; anything later counts something finer than seconds

EMPTY = "empty, but the schema does not allow null"
NOT_UTF8 = "not UTF-8 text"
HAS_NUL = "holds a NUL character"
NOT_WHOLE = "not a whole number"
NOT_NUMBER = "not a number"
NOT_FINITE = "not a finite number"
NOT_BOOLEAN = "neither true nor false (lower case)"
NEGATIVE_TIME = "negative, but a timestamp is in seconds since 1970"
NOT_SECONDS = "milliseconds or finer, but a timestamp is in seconds since 1970"

ARROW_TYPES: dict[FieldType, Any] = {
    "string": pa.string(),
    "int": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "boolean": pa.bool_(),
}

_IDS = {columns.USER_ID, columns.ITEM_ID}
_TIMES = {columns.TIMESTAMP, columns.CREATION_TIMESTAMP}
_WHOLE = r"^-?[0-9]+$"
_REAL = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
_INFINITE = r"(?i)^[+-]?(nan|inf|infinity)$"

Mask = NDArray[np.bool_]


@dataclass
class Column:
    """Cells on their way from text to type.

    Attributes:
        values: The typed values; where a cell is wrong or null, nothing that may be used.
        wrong: Reasons with the mask of cells each one is for; masks do not overlap.
    """

    values: Any
    wrong: list[tuple[str, Mask]]

    def reject(self, reason: str, mask: Mask) -> None:
        """Give a reason to the cells of a mask that have none yet."""
        for _, earlier in self.wrong:
            mask = mask & ~earlier
        if mask.any():
            self.wrong.append((reason, mask))


def is_time(field: SchemaField) -> bool:
    """Whether a field holds moments, in seconds since 1970."""
    return field.name in _TIMES and field.type == "long"


def longest_string(field: SchemaField) -> int | None:
    """Characters that a value of this field may have; None where there is no limit."""
    if field.type != "string" or field.textual:
        return None
    return LONGEST_ID if field.name in _IDS else LONGEST_VALUE


def parse_column(cells: Any, field: SchemaField) -> Column:
    """The typed values of one column.

    Args:
        cells: Binary array without nulls, one cell a row; an empty cell is null.
        field: What the schema says of it.

    Returns:
        Values of ARROW_TYPES[field.type], null where the cell is empty or wrong, and every wrong cell.
    """
    empty = _mask(pc.equal(pc.binary_length(cells), 0))
    column = Column(_decoded(cells), [])
    if column.values is None:
        valid = _valid_text(cells)
        column.reject(NOT_UTF8, ~valid)
        column.values = pc.if_else(pa.array(valid), cells, pa.scalar(b"", pa.binary())).cast(pa.string())
    if empty.any():
        column.values = pc.if_else(pa.array(empty), pa.scalar(None, pa.string()), column.values)
        if not field.nullable:
            column.reject(EMPTY, empty)
    PARSERS[field.type](column, field)
    return column


def _strings(column: Column, field: SchemaField) -> None:
    if (longest := longest_string(field)) is not None and (pc.max(pc.binary_length(column.values)).as_py() or 0) > longest:
        column.reject(f"longer than {longest} characters", _mask(pc.greater(pc.utf8_length(column.values), longest)))
    with_nul = pc.match_substring(column.values, "\0")
    if pc.any(with_nul).as_py():
        column.reject(HAS_NUL, _mask(with_nul))


def _whole_numbers(column: Column, field: SchemaField) -> None:
    texts = column.values
    # Arrow also takes 0x1F, Personalize does not.
    if pc.any(pc.match_substring(texts, "x", ignore_case=True)).as_py() or (values := _cast(texts, field.type)) is None:
        is_whole = pc.match_substring_regex(texts, _WHOLE)
        column.reject(NOT_WHOLE, ~_mask(is_whole, of_null=True))
        bits = 32 if field.type == "int" else 64
        values, fits = _fitting(pc.if_else(is_whole, texts, pa.scalar(None, pa.string())), bits)
        column.reject(f"outside the range of {'an' if bits == 32 else 'a'} {field.type} ({bits} bits)", ~fits)
        values = values.cast(ARROW_TYPES[field.type])
    column.values = values
    if is_time(field):
        column.reject(NEGATIVE_TIME, _mask(pc.less(values, 0)))
        column.reject(NOT_SECONDS, _mask(pc.greater(values, LATEST_SECONDS)))


def _fitting(digits: Any, bits: int) -> tuple[Any, Mask]:
    """Digits as int64, null where they do not fit into so many bits; and the mask of those that do, or are null."""
    is_long = _mask(pc.greater(pc.binary_length(digits), 18))
    long_numbers = [int(text) for text in digits.filter(pa.array(is_long)).to_pylist()]
    in_range = [-(1 << 63) <= number < 1 << 63 for number in long_numbers]
    values = pc.if_else(pa.array(is_long), pa.scalar(None, pa.string()), digits).cast(pa.int64())
    replacements = [number if fits else None for number, fits in zip(long_numbers, in_range, strict=True)]
    values = pc.replace_with_mask(values, pa.array(is_long), pa.array(replacements, pa.int64()))
    fits_all = np.ones(len(digits), np.bool_)
    fits_all[is_long] = in_range
    if bits < 64:
        limit = 1 << (bits - 1)
        fits_all &= _mask(pc.and_(pc.greater_equal(values, -limit), pc.less(values, limit)), of_null=True)
    return pc.if_else(pa.array(fits_all), values, pa.scalar(None, pa.int64())), fits_all


def _real_numbers(column: Column, field: SchemaField) -> None:
    texts = column.values
    values = _cast(texts, field.type)
    if values is None:
        is_real = pc.match_substring_regex(texts, _REAL)
        is_infinite = pc.match_substring_regex(texts, _INFINITE)
        column.reject(NOT_FINITE, _mask(is_infinite))
        column.reject(NOT_NUMBER, ~_mask(is_real, of_null=True))
        values = pc.if_else(is_real, texts, pa.scalar(None, pa.string())).cast(ARROW_TYPES[field.type])
    is_finite = pc.is_finite(values)
    if not pc.all(is_finite).as_py():
        spelled_out = pc.match_substring_regex(texts, _INFINITE)
        column.reject(NOT_FINITE, _mask(spelled_out))
        column.reject(f"outside the range of a {field.type}", ~_mask(is_finite, of_null=True))
    column.values = values


def _booleans(column: Column, field: SchemaField) -> None:
    is_true = pc.equal(column.values, "true")
    column.reject(NOT_BOOLEAN, ~_mask(pc.or_(is_true, pc.equal(column.values, "false")), of_null=True))
    column.values = is_true


PARSERS: dict[FieldType, Callable[[Column, SchemaField], None]] = {
    "string": _strings,
    "int": _whole_numbers,
    "long": _whole_numbers,
    "float": _real_numbers,
    "double": _real_numbers,
    "boolean": _booleans,
}


def _cast(texts: Any, kind: FieldType) -> Any:
    """The whole column as numbers, or None where a cell is none."""
    try:
        return texts.cast(ARROW_TYPES[kind])
    except pa.ArrowInvalid:
        return None


def _decoded(cells: Any) -> Any:
    """The whole column as text, or None where a cell is not UTF-8."""
    try:
        return cells.cast(pa.string())
    except pa.ArrowInvalid:
        return None


def _valid_text(cells: Any) -> Mask:
    """Which cells are UTF-8."""

    def is_text(cell: bytes) -> bool:
        try:
            cell.decode()
        except UnicodeDecodeError:
            return False
        return True

    return np.array([is_text(cell) for cell in cells.to_pylist()], np.bool_)


def _mask(flags: Any, of_null: bool = False) -> Mask:
    """A boolean Arrow array as numpy."""
    mask: Mask = pc.fill_null(flags, of_null).to_numpy(zero_copy_only=False)
    return mask
