"""Text to numbers and booleans: a whole column at once where all cells are valid, else a reason for each wrong cell."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hrnn.data.arrays import Flags
from jobs.platform.stored_types import ARROW_TYPES
from jobs.validate.fields import LATEST_SECONDS, is_time
from jobs.validate.strings import SPACE
from schemas.dataset_rules import FieldType
from schemas.datasets import SchemaField

SPACED = "white space around a number: remove it"
NOT_WHOLE = "not a whole number"
HAS_POINT = "a number with a decimal point, but only whole numbers are allowed: remove the point and what follows"
HAS_EXPONENT = "in scientific notation, but only whole numbers are allowed: write all digits"
NOT_NUMBER = "not a number"
NOT_FINITE = "not a finite number"
NOT_BOOLEAN = "neither true nor false (lower case)"
NEGATIVE_TIME = "negative, but a timestamp is in seconds since 1970"
DATE = "a date, but a timestamp is in seconds since 1970"
MILLISECONDS = "in milliseconds, but a timestamp is in seconds since 1970: divide by 1,000"
MICROSECONDS = "in microseconds, but a timestamp is in seconds since 1970: divide by 1,000,000"
NANOSECONDS = "in nanoseconds, but a timestamp is in seconds since 1970: divide by 1,000,000,000"

_INTEGER = "-?[0-9]+"
_DECIMAL = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)"
_EXPONENT = "[eE][+-]?[0-9]+"
_REAL = f"{_DECIMAL}(?:{_EXPONENT})?"
_INFINITE = r"(?i)^[+-]?(?:nan|inf|infinity)$"
_DATE = r"^[0-9]{1,4}[-/.][0-9]{1,2}[-/.][0-9]{1,4}(?:[^0-9]|$)"

Parsed = tuple[Any, list[tuple[str, Flags]]]  # typed values; reasons with the cells they are for, the first reason counts


def parse_whole_numbers(texts: Any, field: SchemaField) -> Parsed:
    """Parse an `int` or `long` column, timestamps included.

    Args:
        texts: String array, null where the cell is empty.
        field: What the schema says of the column.
    """
    wrong: list[tuple[str, Flags]] = []
    values = None
    # Arrow also takes 0x1F, Personalize does not.
    if not pc.any(pc.match_substring(texts, "x", ignore_case=True)).as_py():
        values = _cast(texts, field.type)
    # Arrow casts all or nothing: only where it refuses is each cell looked at, several times slower.
    if values is None:
        is_whole = _matches(texts, _INTEGER)
        bits = ARROW_TYPES[field.type].bit_width
        values, fits = _fitting(pc.if_else(is_whole, texts, pa.scalar(None, pa.string())), bits)
        values = values.cast(ARROW_TYPES[field.type])
        wrong += _not_whole(texts, is_whole, is_time(field))
        wrong.append((f"outside the range of {'an' if field.type == 'int' else 'a'} {field.type} ({bits} bits)", ~fits))
    if is_time(field):
        wrong += _not_seconds(values)
    return values, wrong


def _not_whole(texts: Any, is_whole: Any, is_moment: bool) -> list[tuple[str, Flags]]:
    if pc.all(is_whole).as_py():
        return []
    wrong = [
        (SPACED, _mask(pc.and_not(_matches(texts, f"{SPACE}*{_INTEGER}{SPACE}*"), is_whole))),
        (HAS_POINT, _mask(pc.and_not(_matches(texts, _DECIMAL), _matches(texts, "[+-]?[0-9]+")))),
        (HAS_EXPONENT, _mask(_matches(texts, f"{_DECIMAL}{_EXPONENT}"))),
    ]
    if is_moment:
        wrong.append((DATE, _mask(pc.match_substring_regex(texts, _DATE))))
    return [*wrong, (NOT_WHOLE, ~_mask(is_whole, of_null=True))]


def _not_seconds(values: Any) -> list[tuple[str, Flags]]:
    wrong = []
    # The limits of the column settle nearly every one; masks are made only where something is wrong.
    lowest, highest = pc.min_max(values).as_py().values()
    if lowest is not None and lowest < 0:
        wrong.append((NEGATIVE_TIME, _mask(pc.less(values, 0))))
    if highest is not None and highest > LATEST_SECONDS:
        for reason, factor in ((NANOSECONDS, 1_000_000), (MICROSECONDS, 1000), (MILLISECONDS, 1)):
            wrong.append((reason, _mask(pc.greater(values, factor * LATEST_SECONDS))))
    return wrong


def _fitting(digits: Any, bits: int) -> tuple[Any, Flags]:
    """Digits as int64, null where they do not fit into so many bits; and the mask of those that do, or are null."""
    # Up to 18 characters fit into 64 bits for certain, and Arrow casts them; the few longer ones go through Python.
    is_long = _mask(pc.greater(pc.binary_length(digits), 18))
    long_numbers = [_integer(text) for text in digits.filter(pa.array(is_long)).to_pylist()]
    values = pc.if_else(pa.array(is_long), pa.scalar(None, pa.string()), digits).cast(pa.int64())
    values = pc.replace_with_mask(values, pa.array(is_long), pa.array(long_numbers, pa.int64()))
    # What does not fit becomes null, so that the cast to the column's own type cannot fail.
    fits_all = np.ones(len(digits), np.bool_)
    fits_all[is_long] = [number is not None for number in long_numbers]
    if bits < 64:
        limit = 1 << (bits - 1)
        fits_all &= _mask(pc.and_(pc.greater_equal(values, -limit), pc.less(values, limit)), of_null=True)
    return pc.if_else(pa.array(fits_all), values, pa.scalar(None, pa.int64())), fits_all


def _integer(digits: str) -> int | None:
    """The number, or None where 64 bits do not hold it. Python refuses to read thousands of digits."""
    significant = digits.lstrip("-").lstrip("0") or "0"
    if len(significant) > 19:
        return None
    number = -int(significant) if digits.startswith("-") else int(significant)
    return number if -(1 << 63) <= number < 1 << 63 else None


def parse_real_numbers(texts: Any, field: SchemaField) -> Parsed:
    """Parse a `float` or `double` column; as `parse_whole_numbers`."""
    wrong: list[tuple[str, Flags]] = []
    # Arrow also takes "nan" and "inf", and makes too large numbers infinite; each then needs its own reason.
    values = _cast(texts, field.type)
    if values is None or not pc.all(pc.is_finite(values)).as_py():
        is_real = _matches(texts, _REAL)
        values = pc.if_else(is_real, texts, pa.scalar(None, pa.string())).cast(ARROW_TYPES[field.type])
        wrong = [
            (NOT_FINITE, _mask(pc.match_substring_regex(texts, _INFINITE))),
            (SPACED, _mask(pc.and_not(_matches(texts, f"{SPACE}*{_REAL}{SPACE}*"), is_real))),
            (NOT_NUMBER, ~_mask(is_real, of_null=True)),
            (f"outside the range of a {field.type}", ~_mask(pc.is_finite(values), of_null=True)),
        ]
    return values, wrong


def parse_booleans(texts: Any, field: SchemaField) -> Parsed:
    """Parse a `boolean` column; as `parse_whole_numbers`."""
    is_true = pc.equal(texts, "true")
    return is_true, [(NOT_BOOLEAN, ~_mask(pc.or_(is_true, pc.equal(texts, "false")), of_null=True))]


def _matches(texts: Any, pattern: str) -> Any:
    """Which texts are of a form, as a whole."""
    return pc.match_substring_regex(texts, f"^(?:{pattern})$")


def _cast(texts: Any, kind: FieldType) -> Any:
    """The whole column as numbers, or None where a cell is none."""
    try:
        return texts.cast(ARROW_TYPES[kind])
    except pa.ArrowInvalid:
        return None


def _mask(flags: Any, of_null: bool = False) -> Flags:
    """A boolean Arrow array as numpy."""
    mask: Flags = pc.fill_null(flags, of_null).to_numpy(zero_copy_only=False)
    return mask
