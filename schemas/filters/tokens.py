"""Tokeniser of filter expressions: words, texts, numbers, placeholders and symbols."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

from schemas.filters.fault import INVALID_SYMBOL, FilterError, Span
from schemas.filters.operators import OPERATORS

Kind = Literal["word", "text", "number", "duration", "parameter", "symbol", "end"]

LARGEST_NUMBER = "up to 1.7e308"
MOST_NAME_CHARACTERS = 50  # of a placeholder

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_WORD = re.compile(r"[^\W\d]\w*")
_DURATION = re.compile(r"([0-9]+)([smhdw])(?!\w)", re.IGNORECASE | re.ASCII)
_NUMBER = re.compile(r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_PARAMETER = re.compile(r"\$(\w*)")
_NAME = re.compile(rf"[A-Za-z0-9_]{{1,{MOST_NAME_CHARACTERS}}}")
_PUNCTUATION = ("==", "<>", "&&", "||", "(", ")", ",", ".", "|", "-", "*")  # of four the parser says what to write instead
_SIGNS = tuple(spelling for spelling in OPERATORS if not _WORD.match(spelling))
_SYMBOLS = sorted((*_SIGNS, *_PUNCTUATION), key=len, reverse=True)  # of two that begin alike the longer is read
_CURLY = "“”„‟«»‘’‚‛"


@dataclass(frozen=True)
class Token:
    """One token of an expression.

    Attributes:
        kind: What it is.
        text: As written.
        value: Of a text what stands between its quotes, of a number and of a duration the number (of seconds), of a
            placeholder its name, of others the text.
        span: Where it stands.
    """

    kind: Kind
    text: str
    value: str | int | float
    span: Span


def tokens_of(text: str, where: str) -> list[Token]:
    """The tokens of an expression, and one of kind `end` behind them.

    Raises:
        FilterError: A character has no meaning, a text does not end, or a number or a placeholder is none.
    """
    tokens: list[Token] = []
    at = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        token = _token(text, at, where)
        tokens.append(token)
        at = token.span.end
    end = len(text.rstrip())
    return [*tokens, Token("end", "", "", Span(end, end))]


def _token(text: str, at: int, where: str) -> Token:
    """The token that begins at a character."""
    if text[at] in "\"'":
        value, end = quoted(text, at)
        if value is None:
            raise FilterError(
                f"the text that begins here has no closing {text[at]}",
                text=text,
                span=Span(at, at + 1),
                where=where,
                remedy=rf"Close it; a {text[at]} within it is written \{text[at]}.",
            )
        return Token("text", text[at:end], value, Span(at, end))
    if match := _PARAMETER.match(text, at):
        if not _NAME.fullmatch(match[1]):
            raise FilterError(
                "this is no name of a placeholder",
                text=text,
                span=Span(at, match.end()),
                where=where,
                allowed=f"$ and 1 to {MOST_NAME_CHARACTERS} of A-Z, a-z, 0-9 and _",
                begins=INVALID_SYMBOL,
            )
        return Token("parameter", match[0], match[1], Span(at, match.end()))
    if match := _DURATION.match(text, at):
        return Token("duration", match[0], int(match[1]) * _SECONDS[match[2].lower()], Span(at, match.end()))
    if match := _NUMBER.match(text, at):
        span = Span(at, match.end())
        number = number_of(match[0])
        if number is None:
            raise FilterError("this number is too large", text=text, span=span, where=where, allowed=LARGEST_NUMBER)
        return Token("number", match[0], number, span)
    if match := _WORD.match(text, at):
        return Token("word", match[0], match[0], Span(at, match.end()))
    for symbol in _SYMBOLS:
        if text.startswith(symbol, at):
            return Token("symbol", symbol, symbol, Span(at, at + len(symbol)))
    raise _meaningless(text, at, where)


def quoted(text: str, at: int) -> tuple[str | None, int]:
    r"""The text between the quotes that begin at a character, and where it ends; None where it doesn't.

    Within it, \" (or \', by its quotes) is a quote and \\ a backslash; any other backslash stands for itself.
    """
    quote, position = text[at], at + 1
    value: list[str] = []
    while position < len(text):
        character = text[position]
        if character == quote:
            return "".join(value), position + 1
        if character == "\\" and text[position + 1 : position + 2] in (quote, "\\"):
            position += 1
            character = text[position]
        value.append(character)
        position += 1
    return None, len(text)


def is_number(text: str) -> bool:
    """Whether a text is written as a number, of any size, a sign before it allowed."""
    return _NUMBER.fullmatch(text.strip().removeprefix("-")) is not None


def number_of(text: str) -> int | float | None:
    """The number that a text states, a sign before it allowed; None where it states none that is finite."""
    text = text.strip()
    if not is_number(text) or not math.isfinite(float(text)):
        return None
    return int(text) if text.removeprefix("-").isdigit() else float(text)


def _meaningless(text: str, at: int, where: str) -> FilterError:
    """Error for a character that begins no token."""
    character = text[at]
    if character in _CURLY:
        problem, remedy = "this quote is not a straight one", "Write \" or '."
    elif character == "\\" and text[at + 1 : at + 2] in ('"', "'"):
        problem, remedy = "this quote is escaped", f"Write {text[at + 1]} without the backslash."
    elif character == "!":
        problem, remedy = "! has no meaning by itself", "Write != or NOT IN."
    elif character == "{" and text.startswith("{{", at):
        problem, remedy = "this is a template", "Fill it in before; with extensions, now() - 30d says what it is often for."
    else:
        problem, remedy = f"{character!r} has no meaning here", None
    return FilterError(problem, text=text, span=Span(at, at + 1), where=where, remedy=remedy, begins=INVALID_SYMBOL)
