"""A filter resolved against its tables: the kind and the column of each of its fields."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from hrnn.data.arrays import Flags
from hrnn.inference.filters.binding import Bound, bind, bind_lines, groups
from hrnn.inference.filters.columns import Column, column_of
from hrnn.inference.filters.operations import Value
from hrnn.inference.filters.query import FilterQuery
from schemas import columns
from schemas.dataset_rules import DatasetType, FieldType, ValueKind
from schemas.datasets import DatasetSchema, SchemaField
from schemas.errors import DataError
from schemas.filters import Filter, FilterError, FilterValues, check_filter
from schemas.filters.checks import find_field
from schemas.filters.tree import Expression, FieldRef

_OWN = {columns.ITEM_ROW, columns.NUM_EVENTS, columns.NUM_USERS, columns.FIRST_TIME, columns.LAST_TIME}
_EVENT_TYPE = SchemaField(name=columns.EVENT_TYPE, type="string")


class FilterTables:
    """Common part of item filters and user filters: schemas, bindings, IF clauses.

    Args:
        parsed: A parsed filter.
        catalogue: Items by item row; None where users are filtered.
        attributes: Columns of the users' attributes; None where there is no Users dataset.
        schemas: Of the datasets; a string of a dataset that has none here is taken as categorical.
        event_types: The name of each code.
        now: The value of now(), UTC epoch seconds; None: the time of this call.

    Raises:
        FilterError: The filter does not fit the tables.
    """

    def __init__(
        self,
        parsed: Filter,
        catalogue: pa.Table | None,
        attributes: pa.Schema | None,
        schemas: Mapping[DatasetType, DatasetSchema],
        event_types: Sequence[str],
        now: int | None,
    ) -> None:
        self.filter, self.event_types = parsed, tuple(event_types)
        self._schemas = dict(schemas)
        self._schemas.setdefault("Interactions", _schema("Interactions", [_EVENT_TYPE]))
        tables: dict[DatasetType, pa.Schema | None] = {
            "Items": None if catalogue is None else catalogue.schema,
            "Users": attributes,
        }
        for dataset, table in tables.items():
            if table is not None:
                self._schemas.setdefault(dataset, _schema_of(dataset, table))
            else:
                # A schema without its table: a filter that names its fields is refused here, as if there were no schema.
                self._schemas.pop(dataset, None)
        check_filter(parsed, self._schemas, complete=True)
        for ref in parsed.fields:
            table = {str(dataset): table for dataset, table in tables.items()}.get(ref.key[0])
            if table is not None and self.field(ref).name not in table.names:
                raise FilterError(
                    f"the data have no column {ref.name}",
                    text=parsed.text,
                    span=ref.span,
                    where=parsed.where,
                    remedy="Sessionize and train with the dataset that has it.",
                )
        self.now = int(time.time()) if now is None else now  # once, so that all lines are compared with one time

    def field(self, ref: FieldRef) -> SchemaField:
        """The schema's field of a reference."""
        datasets: dict[str, DatasetType] = {"Items": "Items", "Users": "Users"}
        field = find_field(self._schemas[datasets.get(ref.key[0], "Interactions")], ref.name)
        assert field is not None, "check_filter has found it"
        return field

    def kind(self, ref: FieldRef) -> ValueKind:
        """Kind of values that a field is compared with."""
        return self.field(ref).kind

    def column(self, ref: FieldRef, table: pa.Table) -> Column:
        """A field's column, encoded."""
        field = self.field(ref)
        return column_of(table[field.name], field.categorical)

    def fault(self, values: FilterValues) -> str | None:
        """Why a line with these values can't be answered, in a sentence for its error line; None where it can."""
        # A line's faults lie in its values alone: the current item's are no matter, and stand as empty.
        no_current: dict[FieldRef, tuple[Value, ...]] = {ref: () for ref in self.filter.fields if ref.source == "CurrentItem"}
        try:
            for expression in self.filter.expressions:
                bind(expression, self.kind, self.now, values, no_current)
        except DataError as error:
            return str(error)
        return None

    def bound(self, expression: Expression, query: FilterQuery, items: Mapping[FieldRef, Column]) -> Bound:
        """An expression with the bindings of B lines."""
        return bind_lines(expression, self.kind, self.now, query, items)

    def applies(self, expression: Expression, bound: Bound, query: FilterQuery) -> Flags:
        """Lines that an expression applies to, bool [B]: it is not skipped, and its IF is met."""
        applies = bound.of >= 0
        if not expression.only_if:
            return applies
        if query.attributes is None:
            return np.zeros_like(applies)
        # A binding holds the values of IF last (`Binding`).
        first = len(bound.bindings[0]) - len(expression.only_if) if bound.bindings else 0
        for number, condition in enumerate(expression.only_if, first):
            column = self.column(condition.field, query.attributes)
            for binding, lines in zip(bound.bindings, groups(bound.of, len(bound.bindings)), strict=True):
                applies[lines] &= column.match(condition.operator, binding[number], lines)
        return applies


def _schema_of(dataset: DatasetType, table: pa.Schema) -> DatasetSchema:
    """A schema for a table that came without: every string is categorical, but ids."""
    fields = []
    for column in table:
        if column.name in _OWN:
            continue
        kind: FieldType = "string"
        if pa.types.is_boolean(column.type):
            kind = "boolean"
        elif pa.types.is_integer(column.type):
            kind = "long"
        elif pa.types.is_floating(column.type):
            kind = "double"
        is_id = column.name in (columns.ITEM_ID, columns.USER_ID)
        fields.append(SchemaField(name=column.name, type=kind, categorical=kind == "string" and not is_id))
    return _schema(dataset, fields)


def _schema(dataset: DatasetType, fields: list[SchemaField]) -> DatasetSchema:
    return DatasetSchema(dataset_type=dataset, fields=tuple(fields), document={})
