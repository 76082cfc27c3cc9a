"""A filter as a tree of frozen parts, each of which knows where it stands in the expression."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from schemas.filters.fault import Span
from schemas.filters.operators import Operator

Verb = Literal["INCLUDE", "EXCLUDE"]
Subject = Literal["ItemID", "UserID", "ActionID"]
Source = Literal["Items", "Users", "Interactions", "Actions", "Action_Interactions", "CurrentUser", "CurrentItem"]


@dataclass(frozen=True)
class FieldRef:
    """A field of a dataset, of the user that items are for, or of the item that related items are asked for.

    Attributes:
        source: What has the field.
        name: As written; case does not matter.
    """

    source: Source
    name: str
    span: Span

    @property
    def key(self) -> tuple[str, str]:
        """The dataset's field, in one spelling: CurrentUser.AGE is a field of Users."""
        dataset = {"CurrentUser": "Users", "CurrentItem": "Items"}.get(self.source, self.source)
        return dataset, self.name.casefold()


@dataclass(frozen=True)
class Text:
    """A text in quotes."""

    value: str
    span: Span


@dataclass(frozen=True)
class Number:
    """A number, whole where it is written without a point and an exponent."""

    value: int | float
    span: Span


@dataclass(frozen=True)
class Truth:
    """`true` or `false` (an extension)."""

    value: bool
    span: Span


@dataclass(frozen=True)
class Moment:
    """`now() - 30d` (an extension): a moment some seconds before the present."""

    seconds_ago: int
    span: Span


@dataclass(frozen=True)
class Parameter:
    """A placeholder, `$NAME`, whose values come with each input line; case matters."""

    name: str
    span: Span


@dataclass(frozen=True)
class Anything:
    """`"*"`: every event type."""

    span: Span


Operand = Text | Number | Truth | Moment | Parameter | Anything | FieldRef


@dataclass(frozen=True)
class Condition:
    """A field, an operator, and what the field is compared with: at least one operand."""

    field: FieldRef
    operator: Operator
    operands: tuple[Operand, ...]
    span: Span


@dataclass(frozen=True)
class AllOf:
    """Conditions joined by AND."""

    parts: tuple[Node, ...]


@dataclass(frozen=True)
class AnyOf:
    """Conditions joined by OR."""

    parts: tuple[Node, ...]


Node = Condition | AllOf | AnyOf


@dataclass(frozen=True)
class Expression:
    """One INCLUDE or EXCLUDE.

    Attributes:
        where: Which items, users or actions it means.
        only_if: Conditions on the current user that must all hold for the expression to count; none: it always counts.
    """

    verb: Verb
    subject: Subject
    where: Node
    only_if: tuple[Condition, ...]
    span: Span

    @property
    def source(self) -> Source:
        """The dataset of its conditions, of which there is one."""
        return next(conditions(self.where)).field.source

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of its placeholders, each once, in their order."""
        return _parameters(self)


@dataclass(frozen=True)
class Filter:
    """A whole filter, its form checked.

    Attributes:
        text: The expression as it was given.
        where: What holds it, for messages.
        expressions: At least one, all of one subject.
        extended: Whether the platform's own extensions are allowed.
    """

    text: str
    where: str
    expressions: tuple[Expression, ...]
    extended: bool

    @property
    def subject(self) -> Subject:
        """What is filtered."""
        return self.expressions[0].subject

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of all placeholders, each once, in their order."""
        return _parameters(*self.expressions)

    @property
    def fields(self) -> tuple[FieldRef, ...]:
        """Every mention of a field, in order."""
        return tuple(
            ref
            for expression in self.expressions
            for condition in all_conditions(expression)
            for ref in (condition.field, *(operand for operand in condition.operands if isinstance(operand, FieldRef)))
        )

    def uses(self, *sources: Source) -> bool:
        """Whether a field of one of these is mentioned: what a caller must read beside the catalogue."""
        return any(ref.source in sources for ref in self.fields)


def conditions(node: Node) -> Iterator[Condition]:
    """The conditions of a tree, in order."""
    if isinstance(node, Condition):
        yield node
    else:
        for part in node.parts:
            yield from conditions(part)


def all_conditions(expression: Expression) -> Iterator[Condition]:
    """The conditions of an expression, those of IF last."""
    yield from conditions(expression.where)
    yield from expression.only_if


def _parameters(*expressions: Expression) -> tuple[str, ...]:
    names = (
        operand.name
        for expression in expressions
        for condition in all_conditions(expression)
        for operand in condition.operands
        if isinstance(operand, Parameter)
    )
    return tuple(dict.fromkeys(names))
