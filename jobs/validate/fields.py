"""Constraints of a field's values: longest string, latest timestamp, kind of string."""

from __future__ import annotations

from typing import Literal

import pyarrow as pa

from jobs.platform.stored_types import ARROW_TYPES
from schemas import columns
from schemas.dataset_rules import DATASET_RULES
from schemas.datasets import SchemaField

LONGEST_ID = 256  # characters
LONGEST_VALUE = 1000  # characters of a string that is neither an id nor a text; of several categories or items, bars included
LATEST_SECONDS = 100_000_000_000  # the year 5138; anything later counts something finer than seconds
KEYWORDS = frozenset(name for rules in DATASET_RULES.values() for name in rules.reserved)

StringKind = Literal["id", "list", "text", "plain"]

_IDS = {columns.USER_ID, columns.ITEM_ID, "ACTION_ID"}
_TIMES = {columns.TIMESTAMP, columns.CREATION_TIMESTAMP, "EXPIRATION_TIMESTAMP"}


def is_real(field: SchemaField) -> bool:
    """Whether a field holds numbers that need not be whole, nor finite."""
    return bool(pa.types.is_floating(ARROW_TYPES[field.type]))


def is_time(field: SchemaField) -> bool:
    """Whether a field holds timestamps, in seconds since 1970."""
    return field.name in _TIMES and field.type == "long"


def string_kind(field: SchemaField) -> StringKind:
    """Which rules a string follows: `id`, `list` (values joined by |), `text`, or `plain` (taken as it is)."""
    if field.name in _IDS:
        return "id"
    if field.textual:
        return "text"
    return "list" if field.categorical or field.name == columns.IMPRESSION else "plain"


def longest_string(field: SchemaField) -> int | None:
    """Characters that a value of this field may have; None where there is no limit, or a longer one is cut."""
    if field.kind != "text" or field.textual:
        return None
    return LONGEST_ID if field.name in _IDS else LONGEST_VALUE
