"""Filters of users: which of B users a segment may hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from hrnn.data.arrays import Flags, Rows
from hrnn.inference.filters.binding import Bound, evaluate, groups
from hrnn.inference.filters.columns import Column, Value
from hrnn.inference.filters.items import past_matches
from hrnn.inference.filters.past import Past
from hrnn.inference.filters.query import Asked
from hrnn.inference.filters.tables import FilterTables
from schemas.dataset_rules import DatasetType
from schemas.datasets import DatasetSchema
from schemas.filters import PUBLISHED, Filter, FilterValues
from schemas.filters.tree import Condition, Expression


class UserFilter:
    """A filter of users.

    Args:
        wanted: A parsed filter of UserID.
        schemas: Of the datasets; a string of a dataset that has none here is taken as categorical.
        attributes: Columns of the users' attributes; None where there is no Users dataset.
        event_types: The name of each event type's code.
        past_events: A user's newest events of each type that the filter looks at, at most 1,000.
        now: What now() means, UTC epoch seconds; None: this moment.

    Raises:
        FilterError: The filter does not fit the tables.
    """

    def __init__(
        self,
        wanted: Filter,
        *,
        schemas: Mapping[DatasetType, DatasetSchema] | None = None,
        attributes: pa.Schema | None = None,
        event_types: Sequence[str] = (),
        past_events: int = PUBLISHED.past_events,
        now: int | None = None,
    ) -> None:
        assert wanted.subject == "UserID", "check_recipe has seen to it"
        self._tables = FilterTables(wanted, None, attributes, schemas or {}, event_types, now)
        self._expressions, self._newest = wanted.expressions, past_events

    def fault(self, values: FilterValues) -> str | None:
        """Why a line with these values can't be answered, in a sentence for its error line; None where it can."""
        return self._tables.fault(values)

    def allowed(self, asked: Asked) -> Flags:
        """bool [B]: which of B users a segment may hold.

        Args:
            asked: The users, each as if it were a line; the values of a segment's line are `values`, one set for all users.
        """
        included, excluded = np.zeros(asked.num_lines, np.bool_), np.zeros(asked.num_lines, np.bool_)
        any_included = np.zeros(asked.num_lines, np.bool_)
        for expression in self._expressions:
            bound = self._tables.bound(expression, asked, {})
            met = self._met(expression, bound, asked)
            if expression.verb == "INCLUDE":
                included |= met
                any_included |= bound.of >= 0
            else:
                excluded |= met
        return (included | ~any_included) & ~excluded

    def _met(self, expression: Expression, bound: Bound, asked: Asked) -> Flags:
        """bool [B]: the users that the conditions of an expression mean."""
        met = np.zeros(asked.num_lines, np.bool_)
        if expression.source == "Interactions":
            past = Past.of(asked.past, self._newest, None)
            met[past.owners] = past_matches(past, expression, bound, self._tables.event_types)
        elif asked.attributes is not None:
            columns: dict[str, Column] = {}
            for binding, lines in zip(bound.bindings, groups(bound.of, len(bound.bindings)), strict=True):

                def leaf(condition: Condition, values: tuple[Value, ...], lines: Rows = lines) -> Flags:
                    name = self._tables.field(condition.field).name
                    if name not in columns:
                        columns[name] = self._tables.column(condition.field, asked.attributes)
                    return columns[name].match(condition.operator, values, lines)

                met[lines] = evaluate(expression.where, iter(binding), leaf)
        return met
