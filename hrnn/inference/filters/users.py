"""User filters: which of B users a segment may hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from hrnn.data.arrays import Flags, Rows
from hrnn.inference.filters.binding import Bound, evaluate, groups
from hrnn.inference.filters.columns import Column
from hrnn.inference.filters.items import past_matches
from hrnn.inference.filters.operations import Value
from hrnn.inference.filters.past import Past
from hrnn.inference.filters.query import FilterQuery
from hrnn.inference.filters.tables import FilterTables
from schemas.dataset_rules import DatasetType
from schemas.datasets import DatasetSchema
from schemas.filters import PUBLISHED, Filter, FilterValues
from schemas.filters.tree import Condition, Expression


class UserFilter:
    """A filter of users.

    Args:
        parsed: A parsed filter of UserID.
        schemas: Of the datasets; a string of a dataset that has none here is taken as categorical.
        attributes: Columns of the users' attributes; None where there is no Users dataset.
        event_types: The name of each event type's code.
        past_events: A user's newest events of each type that the filter looks at, at most 1,000.
        now: The value of now(), UTC epoch seconds; None: the time of this call.

    Raises:
        FilterError: The filter does not fit the tables.
    """

    def __init__(
        self,
        parsed: Filter,
        *,
        schemas: Mapping[DatasetType, DatasetSchema] | None = None,
        attributes: pa.Schema | None = None,
        event_types: Sequence[str] = (),
        past_events: int = PUBLISHED.past_events,
        now: int | None = None,
    ) -> None:
        assert parsed.subject == "UserID", "check_recipe has seen to it"
        self._tables = FilterTables(parsed, None, attributes, schemas or {}, event_types, now)
        self._expressions, self._newest = parsed.expressions, past_events

    def fault(self, values: FilterValues) -> str | None:
        """Why a line with these values can't be answered, in a sentence for its error line; None where it can."""
        return self._tables.fault(values)

    def allowed(self, query: FilterQuery) -> Flags:
        """Users that a segment may hold: bool [B].

        Args:
            query: The users, each as if it were a line; the values of a segment's line are `values`, one set for all users.
        """
        included, excluded = np.zeros(query.num_lines, np.bool_), np.zeros(query.num_lines, np.bool_)
        any_included = np.zeros(query.num_lines, np.bool_)
        for expression in self._expressions:
            bound = self._tables.bound(expression, query, {})
            matches = self._matches(expression, bound, query)
            if expression.verb == "INCLUDE":
                included |= matches
                any_included |= bound.of >= 0
            else:
                excluded |= matches
        return (included | ~any_included) & ~excluded  # where no INCLUDE applies to a user, everybody is the start

    def _matches(self, expression: Expression, bound: Bound, query: FilterQuery) -> Flags:
        """Users who meet the conditions of an expression: bool [B]."""
        matches = np.zeros(query.num_lines, np.bool_)
        if expression.source == "Interactions":
            past = Past.of(query.past, self._newest, None)
            matches[past.owners] = past_matches(past, expression, bound, self._tables.event_types)
        elif query.attributes is not None:
            columns: dict[str, Column] = {}  # encoded once for all bindings
            for binding, lines in zip(bound.bindings, groups(bound.of, len(bound.bindings)), strict=True):

                def leaf(condition: Condition, values: tuple[Value, ...], lines: Rows = lines) -> Flags:
                    name = self._tables.field(condition.field).name
                    if name not in columns:
                        columns[name] = self._tables.column(condition.field, query.attributes)
                    return columns[name].match(condition.operator, values, lines)

                matches[lines] = evaluate(expression.where, iter(binding), leaf)
        return matches
