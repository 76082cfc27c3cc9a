"""From the text of a filter expression to its tree, by recursive descent.

    filter     := expression ("|" expression)*
    expression := ("INCLUDE" | "EXCLUDE") ("ItemID" | "UserID" | "ActionID") "WHERE" any ["IF" condition ("AND" condition)*]
    any        := all ("OR" all)*
    all        := condition ("AND" condition)*                   with extensions also "(" any ")" for a condition
    condition  := field operator ("(" operand ("," operand)* ")" | current)      where the operator takes many values
                | field operator (operand | "(" operand ")")                     where it takes one
    field      := dataset "." name
    operand    := text | number | "$" name | "*" | current       with extensions also "true", "false", "now()", "now() - 30d"
    current    := "CurrentItem" "." name

Keywords, datasets and fields in any case. Conditions joined by AND belong together before those joined by OR.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import TypeVar, get_args

from schemas.filters.checks import check_structure
from schemas.filters.fault import FilterError, Span
from schemas.filters.operators import OPERATORS, Operator
from schemas.filters.policy import PUBLISHED, FilterPolicy
from schemas.filters.tokens import Kind, Token, tokens_of
from schemas.filters.tree import (
    AllOf,
    AnyOf,
    Anything,
    Condition,
    Expression,
    FieldRef,
    Filter,
    Moment,
    Node,
    Number,
    Operand,
    Parameter,
    Source,
    Subject,
    Text,
    Truth,
    Verb,
)

_Known = TypeVar("_Known", bound=str)

_MOST_NESTED = 32
_KEYWORDS = ("INCLUDE", "EXCLUDE", "ItemID", "UserID", "ActionID", "WHERE", "AND", "OR", "IF")
_SOURCES: dict[str, Source] = {name.casefold(): name for name in get_args(Source)} | {
    "actioninteractions": "Action_Interactions"
}
_VERBS: dict[str, Verb] = {name.casefold(): name for name in get_args(Verb)}
_SUBJECTS: dict[str, Subject] = {name.casefold(): name for name in get_args(Subject)}
_INSTEAD = {
    "==": "Write =.",
    "<>": "Write !=.",
    "&&": "Write AND.",
    "||": "Write OR between conditions, | between expressions.",
    "like": "Texts are compared as a whole, with IN and NOT IN.",
    "contains": "Texts are compared as a whole, with IN and NOT IN.",
    "between": "Write two comparisons joined by AND.",
    "is": "An empty cell meets no condition; there is no IS NULL.",
}


def parse_filter(
    text: str, where: str = "filter", *, extended: bool = False, historic: bool = False, policy: FilterPolicy = PUBLISHED
) -> Filter:
    """The filter that an expression states, its form checked.

    Args:
        text: The expression.
        where: What holds it, for messages.
        extended: Allow what Personalize has not: now() - 30d, true and false, parentheses.
        historic: Refuse placeholders but with IN and =, as Personalize did before it allowed ranges.
        policy: How long it may be, and how many fields it may name.

    Raises:
        FilterError: It breaks a rule; the message points at the character.
    """
    if not text.strip():
        raise FilterError(
            "the expression is empty",
            text=text.strip(),
            span=Span(0, 0),
            where=where,
            remedy='For example: EXCLUDE ItemID WHERE Interactions.EVENT_TYPE IN ("purchase").',
        )
    if len(text) > policy.characters:
        raise FilterError(
            f"the expression has {len(text):,} characters",
            text=text,
            span=Span(policy.characters, len(text)),
            where=where,
            allowed=f"at most {policy.characters:,}",
        )
    parsed = Filter(text, where, _Parser(text, where, extended).expressions(), extended)
    check_structure(parsed, historic, policy)
    return parsed


class _Parser:
    """Reads tokens from left to right."""

    def __init__(self, text: str, where: str, extended: bool) -> None:
        self._text, self._where, self._extended = text, where, extended
        self._tokens = tokens_of(text, where)
        self._next = 0
        self._nested = 0

    def expressions(self) -> tuple[Expression, ...]:
        """The whole text."""
        parsed = [self._expression()]
        while self._take_symbol("|"):
            parsed.append(self._expression())
        if self._token.kind != "end":
            raise self._unexpected_end_of_expression()
        return tuple(parsed)

    @property
    def _token(self) -> Token:
        return self._tokens[self._next]

    def _expression(self) -> Expression:
        start = self._token
        verb = self._name_of(_VERBS, "an expression begins with INCLUDE or EXCLUDE", "INCLUDE, EXCLUDE")
        subject = self._name_of(_SUBJECTS, f"{verb} names what is filtered", "ItemID, UserID, ActionID")
        if not self._take_word("WHERE"):
            raise self._fault("WHERE is missing", allowed="WHERE", remedy=f"Write {verb} {subject} WHERE ….")
        condition = self._any()
        only_if: list[Condition] = []
        if self._take_word("IF"):
            only_if.append(self._condition())
            while self._take_word("AND"):
                only_if.append(self._condition())
            if self._is_word("OR"):
                raise self._fault("the conditions of IF are joined by AND only", allowed="AND")
        return Expression(verb, subject, condition, tuple(only_if), self._since(start))

    def _any(self) -> Node:
        parts = [self._all()]
        while self._take_word("OR"):
            parts.append(self._all())
        return parts[0] if len(parts) == 1 else AnyOf(tuple(parts))

    def _all(self) -> Node:
        parts = [self._part()]
        while self._take_word("AND"):
            parts.append(self._part())
        return parts[0] if len(parts) == 1 else AllOf(tuple(parts))

    def _part(self) -> Node:
        """A condition, or with extensions conditions in parentheses."""
        opening = self._token
        if not self._is_symbol("("):
            return self._condition()
        if not self._extended:
            raise self._extension("parentheses around conditions are an extension")
        if self._nested >= _MOST_NESTED:
            raise self._fault("parentheses stand too deep in one another", allowed=f"{_MOST_NESTED} levels")
        self._nested += 1
        self._next += 1
        inner = self._any()
        self._close(opening)
        self._nested -= 1
        return inner

    def _condition(self) -> Condition:
        start = self._token
        field = self._field("a condition begins with a field", "a dataset's name, a point and a field, as Items.GENRE")
        operator = self._operator(field)
        operands = self._list(operator) if operator.many else (self._compared(),)
        return Condition(field, operator, operands, self._since(start))

    def _field(self, problem: str, allowed: str) -> FieldRef:
        start = self._token
        if start.kind != "word" or start.text.upper() in ("WHERE", "AND", "OR", "IF", *_operator_words()):
            raise self._fault(problem, allowed=allowed)
        self._next += 1
        if not self._take_symbol("."):
            remedy = f"Write Items.{start.text}, say." if start.text.casefold() not in _SOURCES else None
            raise self._fault(f"after {start.text} a point and a field are missing", allowed=allowed, remedy=remedy)
        if (source := _SOURCES.get(start.text.casefold())) is None:
            self._next -= 2
            raise self._fault(
                f"there is no dataset {start.text}",
                allowed=", ".join(get_args(Source)),
                remedy=_meant(start.text, _SOURCES.values()),
            )
        name = self._token
        if name.kind != "word":
            raise self._fault(f"after {source}. the name of a field is missing", allowed="a field of the schema")
        self._next += 1
        return FieldRef(source, name.text, self._since(start))

    def _operator(self, field: FieldRef) -> Operator:
        """The operator that begins here: the longest, where one begins as another."""
        first, taken, fitting = self._next, 0, list(OPERATORS.values())
        while longer := [each for each in fitting if each.words[taken : taken + 1] == (self._token.text.casefold(),)]:
            self._next, taken, fitting = self._next + 1, taken + 1, longer
        if not taken:
            raise self._fault(
                f"after {field.source}.{field.name} an operator is missing",
                allowed=", ".join(OPERATORS),
                remedy=_INSTEAD.get(self._token.text.casefold()),
            )
        operator = next((each for each in fitting if len(each.words) == taken), None)
        if operator is None:
            said, missing = " ".join(fitting[0].spelling.split()[:taken]), (each.spelling.split()[taken] for each in fitting)
            allowed = ", ".join(each.spelling for each in fitting)
            raise self._fault(f"after {said} the word {' or '.join(missing)} is missing", allowed=allowed)
        if operator.extension and not self._extended:
            self._next = first
            raise self._extension(f"{operator} is an extension")
        return operator

    def _list(self, operator: Operator) -> tuple[Operand, ...]:
        """What stands behind an operator that takes many values."""
        opening = self._token
        if self._is_word("CurrentItem"):
            return (self._operand(),)
        if not self._take_symbol("("):
            raise self._fault(f"after {operator} a list in parentheses is missing", allowed='("a", "b") or ($NAME)')
        if self._is_symbol(")"):
            raise self._fault("the list is empty", allowed="at least one value")
        operands = [self._operand()]
        while self._take_symbol(","):
            operands.append(self._operand())
        self._close(opening)
        return tuple(operands)

    def _compared(self) -> Operand:
        """What stands behind a comparison; Personalize's pages also show it in parentheses."""
        opening = self._token
        if not self._take_symbol("("):
            return self._operand()
        operand = self._operand()
        self._close(opening)
        return operand

    def _operand(self) -> Operand:
        start = self._token
        if self._take("text"):
            return Anything(start.span) if start.value == "*" else Text(str(start.value), start.span)
        if self._take("parameter"):
            return Parameter(str(start.value), start.span)
        if self._take_symbol("*"):
            return Anything(start.span)
        if self._take_symbol("-"):
            return Number(-self._number().value, self._since(start))
        if start.kind == "number":
            return self._number()
        if self._is_word("CurrentItem"):
            return self._field("", "CurrentItem.NAME")
        if self._is_word("now"):
            return self._moment()
        if self._is_word("true") or self._is_word("false"):
            if not self._extended:
                raise self._extension("true and false are an extension")
            self._next += 1
            return Truth(start.text.casefold() == "true", start.span)
        if start.kind == "word":
            raise self._fault(
                "a value is missing",
                allowed=self._values(),
                remedy=f'Texts stand in quotes: "{start.text}". Fields stand first.',
            )
        raise self._fault("a value is missing", allowed=self._values(), remedy=_INSTEAD.get(start.text))

    def _number(self) -> Number:
        token = self._token
        if not self._take("number") or isinstance(token.value, str):
            raise self._fault("a number is missing", allowed="a number, as -5 or 1.5")
        return Number(token.value, token.span)

    def _moment(self) -> Moment:
        """`now()` or `now() - 30d`."""
        start = self._token
        if not self._extended:
            raise self._extension("now() is an extension")
        self._next += 1
        if not (self._take_symbol("(") and self._take_symbol(")")):
            raise self._fault("this is no moment", allowed="now() or now() - 30d")
        seconds: int | float | str = 0
        if self._take_symbol("-"):
            seconds = self._token.value
            if not self._take("duration"):
                raise self._fault("a length of time is missing", allowed="a whole number and s, m, h, d or w, as 30d")
        return Moment(int(seconds), self._since(start))

    def _values(self) -> str:
        extras = ", true, false, now() - 30d" if self._extended else ""
        return f'a text in quotes, a number, $NAME, "*", CurrentItem.NAME{extras}'

    def _name_of(self, known: Mapping[str, _Known], problem: str, allowed: str) -> _Known:
        token = self._token
        name = known.get(token.text.casefold()) if token.kind == "word" else None
        if name is None:
            raise self._fault(problem, allowed=allowed, remedy=_meant(token.text, known.values()))
        self._next += 1
        return name

    def _take(self, kind: Kind) -> bool:
        return self._step(self._token.kind == kind)

    def _take_word(self, word: str) -> bool:
        return self._step(self._is_word(word))

    def _take_symbol(self, symbol: str) -> bool:
        return self._step(self._is_symbol(symbol))

    def _step(self, here: bool) -> bool:
        self._next += here
        return here

    def _is_word(self, word: str) -> bool:
        return self._token.kind == "word" and self._token.text.casefold() == word.casefold()

    def _is_symbol(self, symbol: str) -> bool:
        return self._token.kind == "symbol" and self._token.text == symbol

    def _close(self, opening: Token) -> None:
        if not self._take_symbol(")"):
            raise self._fault(
                f"the parenthesis of character {opening.span.start + 1} is not closed here", allowed='")" or another part'
            )

    def _since(self, start: Token) -> Span:
        return Span(start.span.start, self._tokens[self._next - 1].span.end)

    def _unexpected_end_of_expression(self) -> FilterError:
        if self._is_word("IF"):
            return self._fault("IF stands once, at the end of its expression", remedy="Join its conditions by AND.")
        if self._token.text == ")":
            return self._fault("no parenthesis is open here", remedy="Leave it out.")
        remedy = _INSTEAD.get(self._token.text.casefold()) or _meant(self._token.text, (*_KEYWORDS, *_operator_words()))
        return self._fault(
            "the expression goes on in a way that has no meaning", allowed="AND, OR, IF, | or its end", remedy=remedy
        )

    def _extension(self, problem: str) -> FilterError:
        return self._fault(
            f"{problem}, which Personalize does not know",
            remedy="Allow extensions: --extended-filters, or [filtering] extended = true.",
        )

    def _fault(self, problem: str, allowed: str | None = None, remedy: str | None = None) -> FilterError:
        """A mistake at the next token."""
        token = self._token
        met = "the expression ends here" if token.kind == "end" else f"met {_short(token.text)}"
        return FilterError(
            f"{problem} ({met})", text=self._text, span=token.span, where=self._where, allowed=allowed, remedy=remedy
        )


def _operator_words() -> list[str]:
    return [word for spelling in OPERATORS for word in spelling.split() if word.isalpha()]


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:39]}…"


def _meant(text: str, names: Iterable[str]) -> str | None:
    by_key = {name.casefold(): name for name in names}
    close = get_close_matches(text.casefold(), by_key, 1, 0.6)
    return f"Did you mean {by_key[close[0]]}?" if close else None
