"""The text of a dataset schema as JSON, and what JSON must be like before its meaning is looked at."""

from __future__ import annotations

import math
from typing import Any

from schemas.documents import NoDocument, is_json, read_json, values_of
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
        return read_json(text.removeprefix("\ufeff"))
    except ValueError as error:
        raise SchemaError(f"the schema is not JSON ({error})", where=where, value=text, remedy=_REMEDY) from None


def unwrapped(document: Any, where: str) -> Any:
    """The Avro schema itself, where it is what DescribeSchema answers, or a piece of that, or is written as JSON text.

    Raises:
        SchemaError: A text is longer than CreateSchema takes, or is not JSON.
    """
    while True:
        if isinstance(document, str) and is_json(document):
            document = read_document(document, where)
        elif isinstance(document, dict) and "schema" in document and "fields" not in document:
            document = document["schema"]
        else:
            return document


def check_values(document: Any, where: str) -> None:
    """Refuse what could not be kept with the data: the schema is stored as JSON beside them.

    Raises:
        SchemaError: A value is none of JSON's, a text holds half of a character, or values lie too deep.
    """
    try:
        for value in values_of(document, DEEPEST_SCHEMA):
            if not isinstance(value, str | int | float | None) or (isinstance(value, float) and not math.isfinite(value)):
                raise SchemaError("this is no value that JSON can hold", where=where, value=value, remedy=_REMEDY)
    except NoDocument as error:
        raise SchemaError(f"the schema cannot be used: {error}", where=where, remedy=_REMEDY) from None
