"""JSON and TOML that somebody else wrote, parsed strictly: what two parsers could read differently is refused."""

from __future__ import annotations

import json
import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from typing import Any

from schemas.numbers import float_of

DEEPEST = 100  # levels of a document; what is deeper serves nothing, and could not be written down again
MOST_DIGITS = 1000  # of a whole number, which no value of ours comes near
_SHOWN = 80  # characters of a key or a number that is wrong
_PART = r"""(?:[A-Za-z0-9_-]++|"[^"\n]*+"|'[^'\n]*+')"""
_LONG_KEY = re.compile(rf"(?:^|[\[{{,])[ \t]*+{_PART}(?:[ \t]*+\.[ \t]*+{_PART}){{{DEEPEST}}}", re.MULTILINE)


class NoDocument(ValueError):
    """A text that the parser accepts and this platform refuses; the message is the reason, without a full stop."""


def is_json(text: str) -> bool:
    """Whether a text that may also be a path is meant as a JSON document: it begins as an object or a list does."""
    return text.lstrip().startswith(("{", "["))


def read_json(text: str) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: It is not JSON, an object has a key twice, or a number is none that JSON can hold.
    """
    try:
        return _DECODER.decode(text)
    except RecursionError:
        raise NoDocument("it is nested too deeply") from None


def read_toml(text: str) -> dict[str, Any]:
    """The tables of a TOML text.

    Raises:
        ValueError: It is not TOML, as where a key stands twice, or a number is too long.
    """
    if _LONG_KEY.search(text):  # the parser's time grows with the square of a key's parts
        raise NoDocument(f"a key has more than {DEEPEST} parts")
    try:
        return tomllib.loads(text, parse_float=float_of)
    except RecursionError:
        raise NoDocument("it is nested too deeply") from None
    except tomllib.TOMLDecodeError:
        raise
    except ValueError:  # Python's own limit
        raise NoDocument(f"a number has more than {MOST_DIGITS:,} digits") from None


def values_of(document: Any, deepest: int = DEEPEST) -> Iterator[Any]:
    """Every key and every scalar of a document.

    Args:
        document: Tables, lists and values.
        deepest: Levels of tables and lists that it may have.

    Raises:
        NoDocument: It is deeper, a text holds half of a character, or a number is too long to be written down.
    """
    waiting = [(document, 0)]
    while waiting:
        value, depth = waiting.pop()
        if depth > deepest:
            raise NoDocument("it is nested too deeply")
        if isinstance(value, dict):
            waiting += [(part, depth + 1) for pair in value.items() for part in pair]
        elif isinstance(value, list):
            waiting += [(part, depth + 1) for part in value]
        else:
            if isinstance(value, str) and not value.isascii() and any("\ud800" <= each <= "\udfff" for each in value):
                raise NoDocument(f"the text {value[:_SHOWN]!a} holds half of a surrogate pair, which is no character")
            if isinstance(value, int) and value.bit_length() > 3 * MOST_DIGITS:
                raise NoDocument(f"a number has more than {MOST_DIGITS:,} digits")
            yield value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) < len(pairs):
        twice = next(key for key, times in Counter(key for key, _ in pairs).items() if times > 1)
        raise NoDocument(f"the key {json.dumps(twice)[:_SHOWN]} stands twice in one object")
    return document


def _whole(text: str) -> int:
    if len(text) > MOST_DIGITS:
        raise NoDocument(f"the number {text[:20]}… has more than {MOST_DIGITS:,} digits")
    return int(text)


def _finite(text: str) -> float:
    number = float_of(text)
    if number in (float("inf"), float("-inf")):
        raise NoDocument(f"the number {text[:20]} is too large")
    return number


def _refuse(constant: str) -> float:
    raise NoDocument(f"{constant} is no number of JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_int=_whole, parse_float=_finite, parse_constant=_refuse)
