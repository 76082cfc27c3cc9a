"""A filter in plain English."""

from __future__ import annotations

from collections.abc import Sequence

from schemas.filters.tree import (
    AllOf,
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
    Text,
    Truth,
)

_THINGS = {"ItemID": "items", "UserID": "users", "ActionID": "actions"}
_UNITS = ((604_800, "week"), (86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


def in_words(parsed: Filter) -> str:
    """The effect of a filter, in a few sentences."""
    included = [expression for expression in parsed.expressions if expression.verb == "INCLUDE"]
    excluded = [expression for expression in parsed.expressions if expression.verb == "EXCLUDE"]
    things = _THINGS[parsed.subject]
    sentences = []
    if included:
        sentences.append(_sentence("Keeps only" if things == "users" else "Recommends only", included, things))
    if excluded:
        sentences.append(_sentence("Leaves out" if things == "users" else "Never recommends", excluded, things))
    if included and all(expression.only_if for expression in included):
        sentences.append(f"Where no such IF holds for the user, all {'other ' if excluded else ''}{things} are allowed.")
    needed = list(dict.fromkeys(name for expression in included for name in expression.parameters))
    if needed:
        sentences.append(f"A line without {_joined([f'${name}' for name in needed], 'and')} is refused.")
    for expression in excluded:
        if absent := [f"${name}" for name in expression.parameters if name not in needed]:
            sentences.append(f"For a line without {_joined(absent, 'or')} nothing is left out by it.")
    return " ".join(sentences)


def _sentence(begin: str, expressions: Sequence[Expression], things: str) -> str:
    parts = [_expression(expression, things) for expression in expressions]
    return f"{begin} {parts[0]}." if len(parts) == 1 else f"{begin}: {'; '.join(parts)}."


def _expression(expression: Expression, things: str) -> str:
    only_if = _joined([f"the user's {_field(condition)}" for condition in expression.only_if], "and")
    return f"{things} {_node(expression.where, expression.subject)}{f', if {only_if}' if only_if else ''}"


def _node(node: Node, subject: str, inner: bool = False) -> str:
    if isinstance(node, Condition):
        return _event(node, subject) if node.field.source.endswith("nteractions") else f"whose {_field(node)}"
    word = "and" if isinstance(node, AllOf) else "or"
    text = f" {word} ".join(_node(part, subject, inner=True) for part in node.parts)
    return f"({text})" if inner else text


def _event(condition: Condition, subject: str) -> str:
    """A condition on event types."""
    kinds = f"{condition.operator.event_phrase} {_operands(condition)}"
    had = f"an event {kinds}"
    if condition.operator.negated:
        had = f"events, but none {kinds}"
    if any(isinstance(operand, Anything) for operand in condition.operands):
        had = "no event at all" if condition.operator.negated else "any event"
    return f"that had {had}" if subject == "UserID" else f"with which the user had {had}"


def _field(condition: Condition) -> str:
    """`GENRE is "a" or "b"`."""
    return f"{condition.field.name} {condition.operator.phrase} {_operands(condition)}"


def _operands(condition: Condition) -> str:
    return _joined([_operand(operand, condition.operator.many) for operand in condition.operands], "or")


def _operand(operand: Operand, many: bool) -> str:
    match operand:
        case Text():
            return f'"{operand.value}"'
        case Number():
            return str(operand.value)
        case Truth():
            return "true" if operand.value else "false"
        case Moment():
            return _moment(operand.seconds_ago)
        case Parameter():
            return f"{'any of ' if many else ''}${operand.name}"
        case FieldRef():
            return f"the current item's {operand.name}"
        case _:
            return "any"


def _moment(seconds: int) -> str:
    if not seconds:
        return "the present moment"
    size, unit = next((size, unit) for size, unit in _UNITS if seconds % size == 0)
    count = seconds // size
    return f"the moment {count} {unit}{'s' if count != 1 else ''} ago"


def _joined(parts: Sequence[str], word: str) -> str:
    return f" {word} ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))
