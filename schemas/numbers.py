"""Numbers as people and services write them: digits of our own, no underscores, nothing that is not finite."""

from __future__ import annotations

import math
import re
from decimal import Decimal, InvalidOperation
from typing import Any

_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_FRACTIONS_END = 2.0**53  # from here on every float is whole


def float_of(text: str) -> float:
    """The float of a number as text, which is whole only where the number is, and on the same side of whole ones.

    So `"1.0000000000000000000001"`, which Python takes for 1, is neither a whole number nor in a range that ends at 1.

    Raises:
        ValueError: It is no number.
    """
    number = float(text)
    if abs(number) < _FRACTIONS_END and number.is_integer():
        try:
            exact = Decimal(text)
        except InvalidOperation:  # an exponent of twenty digits
            return number
        if exact != number:
            return math.nextafter(number, math.inf if exact > number else -math.inf)
    return number


def number_of(value: Any) -> float | None:
    """A finite number, given as one or as text; None: it is none, as `"1_0"`, `"nan"` and `true`, which Python would take."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    if isinstance(value, str):
        value = value.strip()
        if not _NUMBER.fullmatch(value):
            return None
    try:
        number = float_of(value) if isinstance(value, str) else float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
