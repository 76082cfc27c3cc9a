"""The text of a dataset schema as JSON, and what JSON must be like before its meaning is looked at."""

from __future__ import annotations

import json
import math
from typing import Any

from schemas.errors import SchemaError

LONGEST_SCHEMA = 20_000  # characters; CreateSchema's limit
DEEPEST_SCHEMA = 16  # a flat record needs four levels; what is deeper could not be written down again

_REMEDY = "Give the Avro JSON that CreateSchema takes."


def read_document(text: str, where: str) -> Any:
    """The JSON value that a schema's text holds.

    Raises:
        SchemaError: It is longer than CreateSchema takes, or is not JSON.
    """
    if len(text) > LONGEST_SCHEMA:
        raise SchemaError(
            "the schema is too long", where=where, value=len(text), allowed=f"at most {LONGEST_SCHEMA:,} characters"
        )
    try:
        return json.loads(text.removeprefix("\ufeff"), parse_constant=_refuse_constant)
    except RecursionError:
        reason = "nested too deeply"
    except ValueError as error:
        reason = str(error)
    raise SchemaError(f"the schema is not JSON ({reason})", where=where, remedy=_REMEDY)


def check_values(document: Any, where: str) -> None:
    """Refuse what could not be kept with the data: the schema is stored as JSON beside them.

    Raises:
        SchemaError: A value is none of JSON's, a text holds half of a character, or values lie too deep.
    """
    waiting = [(document, 0)]
    while waiting:
        value, depth = waiting.pop()
        if depth > DEEPEST_SCHEMA:
            raise SchemaError(
                "the schema is nested too deeply", where=where, allowed=f"{DEEPEST_SCHEMA} levels", remedy=_REMEDY
            )
        if isinstance(value, dict):
            waiting += [(part, depth + 1) for pair in value.items() for part in pair]
        elif isinstance(value, list):
            waiting += [(part, depth + 1) for part in value]
        elif isinstance(value, str):
            if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
                raise SchemaError("a text holds half of a surrogate pair, which is no character", where=where, value=value)
        elif not isinstance(value, int | float | None) or (isinstance(value, float) and not math.isfinite(value)):
            raise SchemaError("this is no value that JSON can hold", where=where, value=value, remedy=_REMEDY)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON value")
