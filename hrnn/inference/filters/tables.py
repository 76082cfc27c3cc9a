"""A filter beside the tables it looks at: what its fields hold, and where they are found."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from hrnn.data.arrays import Flags
from hrnn.inference.filters.binding import Bound, bind, bind_lines, groups
from hrnn.inference.filters.columns import Column, Value, column_of
from hrnn.inference.filters.query import Asked
from schemas import columns
from schemas.dataset_rules import VALUE_KINDS, DatasetType, FieldType, ValueKind
from schemas.datasets import DatasetSchema, SchemaField
from schemas.errors import DataError
from schemas.filters import Filter, FilterError, FilterValues, check_filter
from schemas.filters.checks import find_field
from schemas.filters.tree import Expression, FieldRef

_OWN = {columns.ITEM_ROW, columns.NUM_EVENTS, columns.NUM_USERS, columns.FIRST_TIME, columns.LAST_TIME}
_EVENT_TYPE = SchemaField(name=columns.EVENT_TYPE, type="string")


class FilterTables:
    """What item filters and user filters have in common.

    Args:
        wanted: A parsed filter.
        catalogue: Items by item row; None where users are filtered.
        attributes: Columns of the users' attributes; None where there is no Users dataset.
        schemas: Of the datasets; a string of a dataset that has none here is taken as categorical.
        event_types: The name of each code.
        now: What now() means, UTC epoch seconds; None: this moment.

    Raises:
        FilterError: The filter does not fit the tables.
    """

    def __init__(
        self,
        wanted: Filter,
        catalogue: pa.Table | None,
        attributes: pa.Schema | None,
        schemas: Mapping[DatasetType, DatasetSchema],
        event_types: Sequence[str],
        now: int | None,
    ) -> None:
        self.wanted, self.event_types = wanted, tuple(event_types)
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
                self._schemas.pop(dataset, None)
        check_filter(wanted, self._schemas, complete=True)
        for ref in wanted.fields:
            table = {str(dataset): table for dataset, table in tables.items()}.get(ref.key[0])
            if table is not None and self.field(ref).name not in table.names:
                raise FilterError(
                    f"the data have no column {ref.name}",
                    text=wanted.text,
                    span=ref.span,
                    where=wanted.where,
                    remedy="Sessionize and train with the dataset that has it.",
                )
        self.now = int(time.time()) if now is None else now

    def field(self, ref: FieldRef) -> SchemaField:
        """The schema's field that is meant."""
        datasets: dict[str, DatasetType] = {"Items": "Items", "Users": "Users"}
        field = find_field(self._schemas[datasets.get(ref.key[0], "Interactions")], ref.name)
        assert field is not None, "check_filter has found it"
        return field

    def kind(self, ref: FieldRef) -> ValueKind:
        """What a field is compared with."""
        return VALUE_KINDS[self.field(ref).type]

    def column(self, ref: FieldRef, table: pa.Table) -> Column:
        """A field's column, made ready."""
        field = self.field(ref)
        return column_of(table[field.name], field.categorical)

    def fault(self, values: FilterValues) -> str | None:
        """Why a line with these values can't be answered, in a sentence for its error line; None where it can."""
        currents: dict[FieldRef, tuple[Value, ...]] = {ref: () for ref in self.wanted.fields if ref.source == "CurrentItem"}
        try:
            for expression in self.wanted.expressions:
                bind(expression, self.kind, self.now, values, currents)
        except DataError as error:
            return str(error)
        return None

    def bound(self, expression: Expression, asked: Asked, items: Mapping[FieldRef, Column]) -> Bound:
        """An expression as some lines mean it."""
        return bind_lines(expression, self.kind, self.now, asked, items)

    def applies(self, expression: Expression, bound: Bound, asked: Asked) -> Flags:
        """bool [B]: for which lines an expression counts: it is not skipped, and its IF is met."""
        counts = bound.of >= 0
        if not expression.only_if:
            return counts
        if asked.attributes is None:
            return np.zeros_like(counts)
        first = len(bound.bindings[0]) - len(expression.only_if) if bound.bindings else 0
        for number, condition in enumerate(expression.only_if, first):
            column = self.column(condition.field, asked.attributes)
            for binding, lines in zip(bound.bindings, groups(bound.of, len(bound.bindings)), strict=True):
                counts[lines] &= column.match(condition.operator, binding[number], lines)
        return counts


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
