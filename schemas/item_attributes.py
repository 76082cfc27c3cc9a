"""`itemAttributes` of aws-item-attribute-affinity: the items whose likely takers make a segment.

    ITEMS.genres = "Comedy" AND ITEMS.year = 1990

A piece of the filter language: conditions on fields of the Items dataset, each `=` and a text in quotes or a number, joined by
AND. A field of several categories meets a condition when one of them is the text. Case matters in texts, not in names.

Source: Amazon Personalize developer guide, "Getting batch user segments": only `=`, only strings, only AND. Numbers are ours: a
numeric column is metadata too, and 1990 is what "1990" says there.
"""

from __future__ import annotations

from schemas.errors import DataError
from schemas.filters import PUBLISHED, Filter, FilterError, parse_filter
from schemas.filters.fault import Span
from schemas.filters.tree import AnyOf, Number, Text, conditions

_WHERE = "itemAttributes"
_ALLOWED = 'conditions as ITEMS.GENRE = "Comedy" or ITEMS.YEAR = 1990, joined by AND'
_VERB = "INCLUDE ItemID WHERE "
_ELSEWHERE = ("extended", "expression", "NOT IN", "IF ", "OR ", "WHERE", "!=")  # remedies that name what is not known here
_POLICY = PUBLISHED.model_copy(update={"characters": PUBLISHED.characters + len(_VERB)})


def parse_item_attributes(text: str) -> Filter:
    """The filter of items that a line's `itemAttributes` state.

    Raises:
        DataError: They say something else; one sentence for an error line, with the character.
    """
    try:
        parsed = parse_filter(_VERB + text, _WHERE, policy=_POLICY)
    except FilterError as error:
        raise attributes_fault(error) from None
    first = parsed.expressions[0]
    for other in (*(expression.span for expression in parsed.expressions[1:]), *(only.span for only in first.only_if)):
        raise _fault("nothing may follow the conditions", other)
    if isinstance(first.where, AnyOf):
        remedy = "Ask for each in a line of its own."
        raise DataError("OR is not known here", where=_WHERE, allowed=_ALLOWED, remedy=remedy)
    for condition in conditions(first.where):
        if condition.field.source != "Items":
            raise _fault(f"{condition.field.source} can't be asked for", condition.field.span)
        if condition.operator.spelling != "=":
            raise _fault(f"{condition.operator} is not known here", condition.span, "Write =.")
        if not isinstance(condition.operands[0], Text | Number):
            raise _fault("the field is not compared with a text in quotes or a number", condition.span)
    return parsed


def attributes_fault(error: FilterError) -> DataError:
    """A filter's error as an error of `itemAttributes`: one sentence, with the position in the line's own text."""
    fits = error.remedy is not None and not any(word in error.remedy for word in _ELSEWHERE)
    return _fault(error.problem, error.span, error.remedy if fits else None)


def _fault(problem: str, span: Span, remedy: str | None = None) -> DataError:
    where = f"{_WHERE}, character {max(0, span.start - len(_VERB)) + 1}"
    return DataError(problem, where=where, allowed=_ALLOWED, remedy=remedy)
