"""Semantic checks of a parsed filter: Personalize's rules, the datasets' schemas, the recipe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches

from schemas import columns
from schemas.dataset_rules import DatasetType, ValueKind
from schemas.datasets import DatasetSchema, SchemaField
from schemas.errors import ConfigError
from schemas.filters.fault import INVALID_SYMBOL, FilterError, Span
from schemas.filters.operators import OPERATORS
from schemas.filters.policy import PUBLISHED, FilterPolicy
from schemas.filters.tokens import number_of
from schemas.filters.tree import (
    Anything,
    Condition,
    Expression,
    FieldRef,
    Filter,
    Moment,
    Number,
    Operand,
    Parameter,
    Source,
    Subject,
    Text,
    Truth,
    all_conditions,
    conditions,
)
from schemas.recipes import Recipe

_SOURCES: dict[Subject, tuple[Source, ...]] = {
    "ItemID": ("Items", "Interactions"),
    "UserID": ("Users", "Interactions"),
    "ActionID": ("Actions", "Action_Interactions"),
}
_EVENTS: tuple[Source, ...] = ("Interactions", "Action_Interactions")
_DATASETS: dict[Source, DatasetType] = {
    "Items": "Items",
    "Users": "Users",
    "Interactions": "Interactions",
    "Actions": "Actions",
    "Action_Interactions": "Action_Interactions",
    "CurrentUser": "Users",
    "CurrentItem": "Items",
}


def check_structure(parsed: Filter, historic: bool, policy: FilterPolicy) -> None:
    """Check the rules that need no schema; `parse_filter` calls it.

    Raises:
        FilterError: One is broken.
    """
    for expression in parsed.expressions:
        if expression.subject != parsed.subject:
            raise _fault(
                parsed, f"one filter is about {parsed.subject} or about {expression.subject}, not both", expression.span
            )
        _check_sources(parsed, expression)
        for condition in all_conditions(expression):
            _check_condition(parsed, condition, historic)
    keys: set[tuple[str, str]] = set()
    for ref in parsed.fields:
        keys.add(ref.key)
        if len(keys) > policy.fields:
            raise _fault(
                parsed,
                f"{ref.source}.{ref.name} is field number {len(keys)} of this filter",
                ref.span,
                allowed=f"at most {policy.fields} distinct fields",
                remedy=f"Use fewer fields, or raise the limit: [filtering.limits] fields = {policy.fields + 1}.",
            )


def check_filter(parsed: Filter, schemas: Mapping[DatasetType, DatasetSchema], complete: bool = False) -> None:
    """Check fields and values against the datasets' schemas.

    Args:
        parsed: A parsed filter.
        schemas: By dataset type; fields of a dataset that is not among them are not checked.
        complete: These are all datasets there are: a field of any other is refused.

    Raises:
        FilterError: A field is not there or can't be filtered by, or a value is of another type.
    """
    for expression in parsed.expressions:
        for condition in all_conditions(expression):
            field = _schema_field(parsed, condition.field, schemas, complete)
            others = {
                operand: _schema_field(parsed, operand, schemas, complete)
                for operand in condition.operands
                if isinstance(operand, FieldRef)
            }
            if field is not None:
                _check_types(parsed, condition, field, others)


def check_group(filters: Mapping[str, Filter], where: str = "filters", policy: FilterPolicy = PUBLISHED) -> None:
    """Check the filters of a dataset group together.

    Args:
        filters: By name.

    Raises:
        ConfigError: There are too many, or they name too many fields.
    """
    if len(filters) > policy.group_filters:
        allowed = f"at most {policy.group_filters}"
        raise ConfigError("the dataset group has too many filters", where=where, value=len(filters), allowed=allowed)
    keys = {ref.key for parsed in filters.values() for ref in parsed.fields}
    if len(keys) > policy.group_fields:
        raise ConfigError(
            "the filters of the dataset group name too many distinct fields",
            where=where,
            value=sorted(f"{dataset}.{name.upper()}" for dataset, name in keys),
            allowed=f"at most {policy.group_fields}",
        )


def check_recipe(parsed: Filter, recipe: Recipe) -> None:
    """Check that a recipe's lines have what a filter asks for.

    Raises:
        FilterError: The filter is about something else, or asks for what the recipe's lines do not name.
    """
    subjects: dict[str, Subject] = {"USER_SEGMENTATION": "UserID", "PERSONALIZED_ACTIONS": "ActionID"}
    subject = subjects.get(recipe.recipe_type, "ItemID")
    if parsed.subject != subject:
        raise _fault(
            parsed, f"a filter of {parsed.subject} does not fit {recipe.name}", parsed.expressions[0].span, allowed=subject
        )
    related = recipe.recipe_type == "RELATED_ITEMS"
    for ref in parsed.fields:
        shown = f"{ref.source}.{ref.name}"
        if ref.source == "CurrentItem" and not related:
            raise _fault(parsed, f"{shown} is for related items; {recipe.name} has no current item", ref.span)
        if ref.source in ("CurrentUser", "Interactions") and related:
            raise _fault(parsed, f"{shown} is about a user, and the lines of {recipe.name} name none", ref.span)
        if ref.source == "Interactions" and not recipe.reads_interactions:
            raise _fault(parsed, f"{recipe.name} does not filter by interactions", ref.span, allowed="Users")


def _check_sources(parsed: Filter, expression: Expression) -> None:
    """Check which datasets the conditions name."""
    first = next(conditions(expression.where)).field
    allowed = _SOURCES[expression.subject]
    for condition in conditions(expression.where):
        ref = condition.field
        if ref.source == "CurrentUser":
            remedy = f"Write IF {ref.source}.{ref.name} … at the end of the expression."
            raise _fault(parsed, "CurrentUser stands behind IF only", ref.span, remedy=remedy)
        if ref.source == "CurrentItem":
            raise _fault(parsed, "CurrentItem stands behind an operator", ref.span, remedy="Begin with the Items field.")
        if ref.source not in allowed:
            instead = f"Write IF CurrentUser.{ref.name} … behind the conditions." if ref.source == "Users" else None
            raise _fault(
                parsed,
                f"{expression.subject} is not filtered by {ref.source}",
                ref.span,
                allowed=" or ".join(allowed),
                remedy=instead,
            )
        if ref.source != first.source:
            raise _fault(
                parsed,
                f"one expression looks at {first.source}, which its first condition names, and not at {ref.source} as well",
                ref.span,
                remedy=f"Begin another expression: … | {expression.verb} {expression.subject} WHERE {ref.source}.{ref.name}.",
            )
        for operand in condition.operands:
            if isinstance(operand, FieldRef) and ref.source != "Items":
                raise _fault(parsed, "CurrentItem is compared with a field of Items", operand.span, allowed="Items")
    for condition in expression.only_if:
        ref = condition.field
        if ref.source != "CurrentUser":
            raise _fault(parsed, "IF asks about CurrentUser only", ref.span, allowed="CurrentUser.NAME")
        if expression.subject == "UserID":
            raise _fault(parsed, "users are filtered for no current user", ref.span, remedy=f"Write WHERE Users.{ref.name} ….")
        for operand in condition.operands:
            if isinstance(operand, FieldRef):
                raise _fault(parsed, "CurrentUser is not compared with CurrentItem", operand.span)


def _check_condition(parsed: Filter, condition: Condition, historic: bool) -> None:
    """Check the operands of a condition."""
    ref, operator = condition.field, condition.operator
    is_event_type = ref.source in _EVENTS and ref.name.upper() == columns.EVENT_TYPE
    if ref.source in _EVENTS and not is_event_type:
        raise _fault(
            parsed, f"of {ref.source} only EVENT_TYPE can be filtered by", ref.span, allowed=f"{ref.source}.EVENT_TYPE"
        )
    for operand in condition.operands:
        if isinstance(operand, Anything) and not is_event_type:
            raise _fault(parsed, '"*" is for Interactions.EVENT_TYPE only', operand.span)
        if isinstance(operand, Truth | Moment) and operator.many:
            *others, last = (each.spelling for each in OPERATORS.values() if not each.many)
            raise _fault(parsed, f"this stands behind {', '.join(others)} or {last}, not in a list", operand.span)
        if isinstance(operand, Truth) and operator.takes == ("number",):
            raise _fault(parsed, "true and false have no order", operand.span, remedy="Use = or !=.")
        if (kinds := _kinds_of(operand)) and not {*kinds} & {*operator.takes}:
            raise _fault(
                parsed,
                f"{operator} compares {operator.compared}",
                operand.span,
                allowed=" or ".join(_ONE[kind] for kind in operator.takes),
                remedy="Texts: use IN, NOT IN." if kinds[0] == "text" else None,
            )
        if isinstance(operand, Parameter) and historic and not operator.historic:
            raise _fault(parsed, "Placeholders can only be used with IN or EQ operator", operand.span, begins=INVALID_SYMBOL)
        if is_event_type and ("text" not in operator.takes or not isinstance(operand, Text | Parameter | Anything)):
            raise _fault(
                parsed,
                "event types are texts without an order",
                operand.span,
                allowed='IN or NOT IN, with ("click") or ($NAME)',
            )


def _schema_field(
    parsed: Filter, ref: FieldRef, schemas: Mapping[DatasetType, DatasetSchema], complete: bool
) -> SchemaField | None:
    """The schema's field, or None where the schema is not known."""
    dataset = _DATASETS[ref.source]
    schema = schemas.get(dataset)
    if schema is None:
        if complete:
            raise _fault(parsed, f"the dataset group has no {dataset} dataset", ref.span, allowed=", ".join(schemas) or None)
        return None
    field = find_field(schema, ref.name)
    if field is None:
        close = get_close_matches(ref.name.upper(), [name.upper() for name in schema.names], 1, 0.6)
        meant = [name for name in schema.names if close and name.upper() == close[0]]
        raise _fault(
            parsed,
            f"{dataset} have no field {ref.name}",
            ref.span,
            allowed=", ".join(schema.names),
            remedy=f"Did you mean {meant[0]}?" if meant else None,
        )
    if field.textual:
        raise _fault(
            parsed, f"{field.name} is textual, which can't be filtered by", ref.span, remedy="Use a categorical field."
        )
    if field.kind == "truth" and not parsed.extended:
        raise _fault(
            parsed,
            f"{field.name} is a {field.type}, which Personalize does not filter by",
            ref.span,
            remedy="Allow extensions (--extended-filters, or [filtering] extended = true), or keep it as a string.",
        )
    return field


def find_field(schema: DatasetSchema, name: str) -> SchemaField | None:
    """The field of a name in any case; its names differ in more than case."""
    return next((field for field in schema.fields if field.name.casefold() == name.casefold()), None)


def _check_types(
    parsed: Filter, condition: Condition, field: SchemaField, others: Mapping[FieldRef, SchemaField | None]
) -> None:
    """Check that operands have the field's type."""
    kind, operator = field.kind, condition.operator
    if kind not in operator.takes:
        raise _fault(
            parsed,
            f"{field.name} is a {field.type}, and {operator} compares {operator.compared}",
            condition.span,
            allowed=", ".join(each.spelling for each in OPERATORS.values() if kind in each.takes),
        )
    for operand in condition.operands:
        other = others.get(operand) if isinstance(operand, FieldRef) else None
        if (kinds := _kinds_of(operand, other)) and kind not in kinds:
            remedy = f'Write "{operand.value}".' if isinstance(operand, Number) and kind == "text" else None
            raise _fault(
                parsed,
                f"{field.name} is a {field.type}, and this is a {kinds[0]}",
                operand.span,
                allowed=_EXAMPLES[kind],
                remedy=remedy,
            )


_EXAMPLES = {"text": 'a text in quotes, as "comedy"', "number": "a number, as 12.5", "truth": "true, false"}
_ONE = {"text": "a text", "number": "a number", "truth": "true or false"}


def _kinds_of(operand: Operand, other: SchemaField | None = None) -> tuple[ValueKind, ...]:
    """What an operand may be taken for, the likeliest first; none where only input lines tell. Numbers may stand in quotes."""
    if isinstance(operand, Text):
        is_number, is_truth = number_of(operand.value) is not None, operand.value.lower() in ("true", "false")
        return ("text", *(("number",) if is_number else ()), *(("truth",) if is_truth else ()))
    if isinstance(operand, Number | Moment):
        return ("number",)
    if isinstance(operand, Truth):
        return ("truth",)
    return () if other is None else (other.kind,)


def _fault(
    parsed: Filter,
    problem: str,
    span: Span,
    allowed: str | None = None,
    remedy: str | None = None,
    begins: str | None = None,
) -> FilterError:
    more = {} if begins is None else {"begins": begins}
    return FilterError(problem, text=parsed.text, span=span, where=parsed.where, allowed=allowed, remedy=remedy, **more)


def unchecked(parsed: Filter, schemas: Iterable[DatasetType]) -> tuple[DatasetType, ...]:
    """The datasets whose fields a filter names and whose schemas are not given; EVENT_TYPE needs none."""
    known = set(schemas)
    named = dict.fromkeys(_DATASETS[ref.source] for ref in parsed.fields if ref.source not in _EVENTS)
    return tuple(dataset for dataset in named if dataset not in known)
