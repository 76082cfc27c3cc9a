"""Binding of filter expressions: the values that conditions are compared with, placeholders and current items resolved."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np

from hrnn.data.arrays import Flags, Rows
from hrnn.inference.filters.columns import Column
from hrnn.inference.filters.operations import Value
from hrnn.inference.filters.query import FilterQuery
from schemas.dataset_rules import ValueKind
from schemas.errors import DataError
from schemas.filters import FilterValues
from schemas.filters.tokens import number_of
from schemas.filters.tree import (
    AllOf,
    Anything,
    Condition,
    Expression,
    FieldRef,
    Moment,
    Node,
    Parameter,
    all_conditions,
)

ANY_EVENT: Final = "*"

Binding = tuple[tuple[Value, ...], ...]  # of each condition of an expression, those of IF last
Kinds = Callable[[FieldRef], ValueKind]
_Values = TypeVar("_Values")


@dataclass(frozen=True)
class Bound:
    """An expression with the bindings of B lines.

    Attributes:
        of: int64 [B], the binding of each line; -1 where the expression is skipped, because a placeholder has no value.
        bindings: The distinct ones.
    """

    of: Rows
    bindings: list[Binding]


def bind(
    expression: Expression, kinds: Kinds, now: int, values: FilterValues, current: Mapping[FieldRef, tuple[Value, ...]]
) -> Binding | None:
    """The values of each condition of an expression; None where an EXCLUDE is skipped, because a placeholder has no value.

    Args:
        expression: To be bound.
        kinds: Value kind of each field.
        now: The present time, UTC epoch seconds.
        values: Of the placeholders.
        current: The current item's values of the fields that the expression refers to.

    Raises:
        DataError: An INCLUDE has a placeholder without a value, or a value doesn't fit; a sentence for an error line.
    """
    missing = [name for name in expression.parameters if name not in values]
    if missing and expression.verb == "EXCLUDE":
        return None
    if missing:
        near = [name for name in values if name.lower() == missing[0].lower()]
        raise DataError(
            f"the filter's placeholder ${missing[0]} has no value",
            where="filterValues",
            allowed=f'{{"{missing[0]}": "\\"…\\""}}',
            remedy=f"Case matters: {near[0]} is another name." if near else "INCLUDE needs every value.",
        )
    return tuple(
        tuple(
            value
            for operand in condition.operands
            for value in (
                _parameter(condition, operand, kinds(condition.field), values[operand.name])
                if isinstance(operand, Parameter)
                else current[operand]
                if isinstance(operand, FieldRef)
                else (now - operand.seconds_ago,)
                if isinstance(operand, Moment)
                else (ANY_EVENT,)
                if isinstance(operand, Anything)
                else (_fixed(operand.value, kinds(condition.field)),)
            )
        )
        for condition in all_conditions(expression)
    )


def bind_lines(expression: Expression, kinds: Kinds, now: int, query: FilterQuery, items: Mapping[FieldRef, Column]) -> Bound:
    """Bind an expression for B lines, whose values must have no fault; each distinct binding is made once.

    Args:
        items: The catalogue's column of each field of CurrentItem.
    """
    if not query.num_lines:
        return Bound(np.empty(0, np.int64), [])
    sets: dict[tuple[tuple[str, ...] | None, ...], int] = {}
    values: list[FilterValues] = []
    codes = np.empty(len(query.values), np.int64)
    # Sets of values that differ only in placeholders of other expressions are one here.
    for number, line_values in enumerate(query.values):
        key = tuple(line_values.get(name) for name in expression.parameters)
        codes[number] = sets.setdefault(key, len(sets))
        if len(values) < len(sets):
            values.append(line_values)
    columns = [np.broadcast_to(codes[0], query.num_lines) if query.values_of is None else codes[query.values_of]]
    refs = [o for c in all_conditions(expression) for o in c.operands if isinstance(o, FieldRef)]
    rows = np.full(query.num_lines, -1) if query.current_items is None else query.current_items
    current_values = [items[ref].distinct(rows) for ref in refs]
    columns += [line_codes for line_codes, _ in current_values]
    # A binding depends on a line's values and its current item's alone: one is made for each distinct combination.
    combinations, of = _distinct_rows(columns)
    bindings: list[Binding] = []
    numbers = np.full(len(combinations), -1)
    for number, (code, *places) in enumerate(combinations.tolist()):
        current = {ref: by_code[place] for ref, (_, by_code), place in zip(refs, current_values, places, strict=True)}
        binding = bind(expression, kinds, now, values[code], current)
        if binding is not None:
            numbers[number] = len(bindings)
            bindings.append(binding)
    return Bound(numbers[of], bindings)


def evaluate(node: Node, values: Iterator[_Values], leaf: Callable[[Condition, _Values], Flags]) -> Flags:
    """Mask of an expression tree from the masks of its conditions, whose values come in their order."""
    # No short cut, even where the mask can't change any more: every condition must take its turn in `values`.
    if isinstance(node, Condition):
        return leaf(node, next(values))
    mask = evaluate(node.parts[0], values, leaf)
    for part in node.parts[1:]:
        other = evaluate(part, values, leaf)
        mask = mask & other if isinstance(node, AllOf) else mask | other
    return mask


def groups(of: Rows, count: int) -> Iterator[Rows]:
    """Places of each number below `count` in `of`."""
    order = np.argsort(of, kind="stable")
    ends = np.searchsorted(of[order], np.arange(count + 1))
    for begin, end in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True):
        yield order[begin:end]


def _distinct_rows(columns: Sequence[Rows]) -> tuple[Rows, Rows]:
    """Distinct rows of parallel columns, and which of them each row is, int64 [B]."""
    if len(columns) == 1:  # the usual case: whole rows are sorted as records, which is slow
        distinct, of = np.unique(columns[0], return_inverse=True)
        return distinct[:, None], of
    distinct, of = np.unique(np.stack(columns, axis=1), axis=0, return_inverse=True)
    return distinct, of.reshape(-1)


def _parameter(condition: Condition, operand: Parameter, kind: ValueKind, texts: tuple[str, ...]) -> tuple[Value, ...]:
    """The values of a placeholder, of the kind that its field holds."""
    where = f"filterValues.{operand.name}"
    if len(texts) != 1 and not condition.operator.many:
        raise DataError(f"{condition.operator} compares with one value", where=where, value=list(texts), allowed="one value")
    return tuple(_typed(text, kind, where, condition.field.name) for text in texts)


def _typed(text: str, kind: ValueKind, where: str, field: str) -> Value:
    if kind == "number":
        number = number_of(text)
        if number is None:
            raise DataError(f"{field} holds numbers", where=where, value=text, allowed=r'a number, as "100" or "\"100\""')
        return number
    if kind == "truth":
        if text.lower() not in ("true", "false"):
            raise DataError(f"{field} holds truth values", where=where, value=text, allowed="true, false")
        return text.lower() == "true"
    return text


def _fixed(value: Value, kind: ValueKind) -> Value:
    """A value of the expression itself, as its field holds it; `check_filter` has seen to it that it fits."""
    return _typed(value, kind, "filter", "the field") if isinstance(value, str) else value
