"""The operators of filters: what may stand between a field and what it is compared with.

An operator is an entry of OPERATORS, which parser, checks, words and messages go by, and a function of OPERATIONS in
hrnn/inference/filters/operations.py, which finds the cells that meet it.
"""

from __future__ import annotations

from dataclasses import dataclass

from schemas.dataset_rules import ValueKind

NOUNS: dict[ValueKind, str] = {"text": "texts", "number": "numbers", "truth": "truth values"}


@dataclass(frozen=True, kw_only=True)
class Operator:
    """One operator.

    Attributes:
        spelling: A sign, or capital words with a blank between.
        phrase: What stands between field and values in plain English: PRICE `is at most` 10.
        event_phrase: The same of events: an event `of type` "click"; of a negated one, events but none `of type` "click".
        takes: The kinds of values that it compares. Event types are texts.
        many: Several values stand behind it, in parentheses; else one.
        negated: Met where its operation finds nothing and the cell is known.
        historic: Placeholders stood behind it before Personalize allowed them behind ranges.
        extension: Personalize does not know it; refused without `--extended-filters`.
    """

    spelling: str
    phrase: str
    event_phrase: str = "of type"
    takes: tuple[ValueKind, ...] = ("text", "number", "truth")
    many: bool = False
    negated: bool = False
    historic: bool = False
    extension: bool = False

    def __str__(self) -> str:
        """As it is written."""
        return self.spelling

    @property
    def words(self) -> tuple[str, ...]:
        """Its tokens, case folded."""
        return tuple(self.spelling.casefold().split())

    @property
    def compared(self) -> str:
        """What it compares, in the plural."""
        return " and ".join(NOUNS[kind] for kind in self.takes)


_ALL = (
    Operator(spelling="IN", phrase="is", many=True, historic=True),
    Operator(spelling="NOT IN", phrase="is known and not", many=True, negated=True, historic=True),
    Operator(spelling="=", phrase="is", historic=True),
    Operator(spelling="!=", phrase="is known and not", negated=True),
    Operator(spelling="<", phrase="is less than", takes=("number",)),
    Operator(spelling="<=", phrase="is at most", takes=("number",)),
    Operator(spelling=">", phrase="is more than", takes=("number",)),
    Operator(spelling=">=", phrase="is at least", takes=("number",)),
)
OPERATORS: dict[str, Operator] = {operator.spelling: operator for operator in _ALL}
