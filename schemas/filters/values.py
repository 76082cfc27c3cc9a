r"""Values of placeholders, as a batch line's `filterValues` states them: {"GENRES": "\"horror\",\"comedy\""}."""

from __future__ import annotations

from collections.abc import Mapping

from schemas.errors import DataError
from schemas.filters.tokens import LARGEST_NUMBER, is_number, number_of, quoted

FilterValues = Mapping[str, tuple[str, ...]]

_ALLOWED = r'each value in quotes, with commas between, as "\"horror\",\"comedy\""; a number also without quotes'


def parse_filter_values(texts: Mapping[str, str], where: str = "filterValues") -> dict[str, tuple[str, ...]]:
    r"""The values of each placeholder.

    Args:
        texts: Name without `$` -> its text: values in quotes, commas between them; "100" as well as "\"100\"".
        where: What holds them, for messages.

    Raises:
        DataError: A text has another form. The message is one sentence for an error line.
    """
    return {name: _values(text, f"{where}.{name}") for name, text in texts.items()}


def _values(text: str, where: str) -> tuple[str, ...]:
    values: list[str] = []
    at = _blank(text, 0)
    while True:
        value, at = _value(text, at, where)
        values.append(value)
        at = _blank(text, at)
        if at == len(text):
            return tuple(values)
        if text[at] != ",":
            raise DataError(
                f"after value {len(values)} a comma is missing (character {at + 1})", where=where, value=text, allowed=_ALLOWED
            )
        at = _blank(text, at + 1)


def _value(text: str, at: int, where: str) -> tuple[str, int]:
    """The value that begins at a character, and where it ends."""
    if text[at : at + 1] in ('"', "'"):
        value, end = quoted(text, at)
        if value is None:
            raise DataError(f"the quote of character {at + 1} is not closed", where=where, value=text, allowed=_ALLOWED)
        return value, end
    end = text.find(",", at)
    bare = text[at : end if end >= 0 else len(text)]
    if number_of(bare) is None:
        if is_number(bare):
            raise DataError(f"the number of character {at + 1} is too large", where=where, value=text, allowed=LARGEST_NUMBER)
        problem = (
            f"the value of character {at + 1} has no quotes" if bare.strip() else f"a value is missing at character {at + 1}"
        )
        raise DataError(problem, where=where, value=text, allowed=_ALLOWED)
    return bare.strip(), at + len(bare)


def _blank(text: str, at: int) -> int:
    """The next character that is not blank."""
    while at < len(text) and text[at].isspace():
        at += 1
    return at
