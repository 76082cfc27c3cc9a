"""The error of a filter expression: a message with the expression and carets below the mistake."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

from schemas.errors import ConfigError

# Personalize's own beginnings (developer guide, "Error messages").
INVALID_EXPRESSION = "Could not create filter. Invalid Expression"
INVALID_SYMBOL = "Could not create filter. Invalid input symbol"

_SHOWN = 100  # columns of an expression that are shown
_BEFORE = 60  # of them, before the mistake
_INDENT = "    "


@dataclass(frozen=True)
class Span:
    """Where something stands in an expression: characters [start, end)."""

    start: int
    end: int


class FilterError(ConfigError):
    """A filter expression breaks a rule.

    Args:
        problem: What is wrong, as a sentence without a full stop.
        text: The expression.
        span: Where in it.
        where: What holds the expression: a key path, an option.
        allowed: What would have been accepted.
        remedy: What to do about it, as a sentence.
        begins: Personalize's beginning of such a message.
    """

    def __init__(
        self,
        problem: str,
        *,
        text: str,
        span: Span,
        where: str = "filter",
        allowed: str | None = None,
        remedy: str | None = None,
        begins: str = INVALID_EXPRESSION,
    ) -> None:
        super().__init__(problem, where=f"{where}, character {span.start + 1}", allowed=allowed, remedy=remedy)
        self.span, self.remedy = span, remedy
        self.sentence = f"{begins}: {self}"
        self.args = (f"{self.sentence}\n{pointed(text, span)}",)


def pointed(text: str, span: Span) -> str:
    """The line of an expression that holds a span, and carets below it; long lines are cut."""
    first = text.rfind("\n", 0, span.start) + 1
    end = text.find("\n", span.start)
    line = text[first : end if end >= 0 else len(text)]
    start, stop = span.start - first, max(min(span.end - first, len(line)), span.start - first + 1)
    # A long line is shown from shortly before the mistake; widths count, since carets stand below wide characters too.
    cut = max(0, start - _BEFORE) if len(line) > _SHOWN else 0
    shown = line[cut : cut + _SHOWN]
    head = "… " if cut else ""
    tail = " …" if cut + _SHOWN < len(line) else ""
    blanks = _columns(head + shown[: start - cut])
    carets = max(1, _columns(shown[start - cut : stop - cut]))
    return f"{_INDENT}{head}{_plain(shown)}{tail}\n{_INDENT}{' ' * blanks}{'^' * carets}"


def _plain(text: str) -> str:
    """Text with one blank for whatever would move or hide what follows."""
    return "".join(c if c.isprintable() else " " for c in text)


def _columns(text: str) -> int:
    """How many columns of a terminal a text takes."""
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    none = sum(unicodedata.category(c) in ("Mn", "Me") for c in text)
    return len(text) + wide - none
