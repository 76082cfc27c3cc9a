"""Item filters: the items that each of B lines may contain, as `Allowed`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from hrnn.data.arrays import Flags, Rows
from hrnn.data.ragged import Ragged
from hrnn.inference.allowed import Allowed
from hrnn.inference.filters.binding import Binding, Bound, evaluate
from hrnn.inference.filters.cache import MaskCache
from hrnn.inference.filters.columns import Column
from hrnn.inference.filters.operations import Value
from hrnn.inference.filters.past import Past
from hrnn.inference.filters.query import FilterQuery
from hrnn.inference.filters.tables import FilterTables
from schemas.dataset_rules import DatasetType
from schemas.datasets import DatasetSchema
from schemas.filters import PUBLISHED, Filter, FilterValues
from schemas.filters.tree import Condition, Expression, FieldRef


@dataclass(frozen=True)
class _Grouped:
    """Lines that share a mask.

    Attributes:
        bound: Each expression with the lines' bindings.
        applies: bool [B] of each expression, whether it applies to a line.
        keys: int64 [M, E + 1], what the mask of a group depends on: the binding of each expression on Items, -1 where it does
            not apply; last, whether an INCLUDE applies.
        of: int64 [B], the group of each line.
    """

    bound: list[Bound]
    applies: list[Flags]
    keys: Rows
    of: Rows


class ItemFilter:
    """A filter of items over a catalogue.

    Args:
        parsed: A parsed filter of ItemID.
        catalogue: The N items that may be recommended, by item row.
        schemas: Of the datasets; a string of a dataset that has none here is taken as categorical.
        attributes: Columns of the users' attributes; None where there is no Users dataset.
        event_types: The name of each event type's code.
        past_events: A user's newest events of each type that the filter looks at, at most 1,000.
        now: The value of now(), UTC epoch seconds; None: the time of this call.
        cache_bytes: Of masks that are kept for later lines; a mask takes a byte an item.

    Raises:
        FilterError: The filter is not of items, or does not fit the tables.
    """

    def __init__(
        self,
        parsed: Filter,
        catalogue: pa.Table,
        *,
        schemas: Mapping[DatasetType, DatasetSchema] | None = None,
        attributes: pa.Schema | None = None,
        event_types: Sequence[str] = (),
        past_events: int = PUBLISHED.past_events,
        now: int | None = None,
        cache_bytes: int = 256 << 20,
    ) -> None:
        assert parsed.subject == "ItemID", "check_recipe has seen to it"
        self._tables = FilterTables(parsed, catalogue, attributes, schemas or {}, event_types, now)
        self._expressions = parsed.expressions
        self._num_items, self._newest = catalogue.num_rows, past_events
        by_name: dict[str, Column] = {}
        self._columns: dict[FieldRef, Column] = {}
        for ref in parsed.fields:
            if ref.key[0] == "Items":
                name = self._tables.field(ref).name
                by_name[name] = by_name.get(name) or self._tables.column(ref, catalogue)
                self._columns[ref] = by_name[name]
        self._masks = MaskCache(cache_bytes)

    def fault(self, values: FilterValues) -> str | None:
        """Why a line with these values can't be answered, in a sentence for its error line; None where it can."""
        return self._tables.fault(values)

    def allowed(self, query: FilterQuery) -> Allowed:
        """The items that each of B lines may contain; none of their values may have a fault.

        A line's items are the union of all INCLUDEs less the union of all EXCLUDEs; where no INCLUDE applies to the line, all
        items less those.

        Args:
            query: The lines.

        Returns:
            Masks that lines share; of added and removed items none twice, and none that the mask has already.
        """
        return self._allowed(query, self._grouped(query))

    def parts(self, query: FilterQuery, most_bytes: int = 256 << 20) -> Iterator[tuple[Rows, Allowed]]:
        """`allowed` for a part of the lines at a time, such that masks stay within a bound of bytes, or one mask at a time.

        Yields:
            Which lines, int64 rising, and the items that they may contain.
        """
        grouped = self._grouped(query)
        at_once = max(1, most_bytes // max(1, self._num_items))
        for first in range(0, len(grouped.keys), at_once):
            lines = np.flatnonzero((grouped.of >= first) & (grouped.of < first + at_once))
            part = query.take(lines)
            # Grouped anew, so that masks are numbered from 0 in each part; conditions come from the cache.
            yield lines, self._allowed(part, self._grouped(part))

    def _grouped(self, query: FilterQuery) -> _Grouped:
        bound = [self._tables.bound(expression, query, self._columns) for expression in self._expressions]
        applies = [self._tables.applies(expression, of, query) for expression, of in zip(self._expressions, bound, strict=True)]
        included = np.zeros(query.num_lines, np.bool_)
        # Past events have no part in the keys: they differ from user to user, and change a few items of a mask each.
        keys: list[Rows] = []
        for expression, bindings, counts in zip(self._expressions, bound, applies, strict=True):
            if expression.source == "Items":
                keys.append(np.where(counts, bindings.of, -1))
            if expression.verb == "INCLUDE":
                included |= counts
        keys.append(included.astype(np.int64))
        if not query.num_lines:
            return _Grouped(bound, applies, np.empty((0, len(keys)), np.int64), np.empty(0, np.int64))
        distinct, group_of = np.unique(np.stack(keys, axis=1), axis=0, return_inverse=True)
        return _Grouped(bound, applies, distinct, group_of.reshape(-1))

    def _allowed(self, query: FilterQuery, grouped: _Grouped) -> Allowed:
        masks = np.empty((len(grouped.keys), self._num_items), np.bool_)
        # What EXCLUDEs on Items remove stays out even where past events would add it: kept apart from what no INCLUDE names.
        barred = np.zeros((len(grouped.keys), self._num_items if self._adds else 0), np.bool_)
        for group, key in enumerate(grouped.keys.tolist()):
            masks[group] = not key[-1]  # without an INCLUDE, all items are the start
            places = iter(key)
            excluded = []
            for expression, bound in zip(self._expressions, grouped.bound, strict=True):
                if expression.source != "Items" or (binding := next(places)) < 0:
                    continue
                mask = self._mask(expression, bound.bindings[binding])
                if expression.verb == "INCLUDE":
                    masks[group] |= mask
                else:
                    excluded.append(mask)
            # After all INCLUDEs, in whatever order they are written: what one EXCLUDE names, no INCLUDE brings back.
            for mask in excluded:
                masks[group] &= ~mask
                if self._adds:
                    barred[group] |= mask
        added, removed = self._lists(query, grouped, masks, barred)
        return Allowed(masks, grouped.of, added, removed)

    @property
    def _adds(self) -> bool:
        """Whether lines may get items outside of their mask."""
        return any(expression.verb == "INCLUDE" and expression.source != "Items" for expression in self._expressions)

    def _mask(self, expression: Expression, binding: Binding) -> Flags:
        """Items that meet the conditions of an expression: bool [N]."""

        def leaf(condition: Condition, values: tuple[Value, ...]) -> Flags:
            return self._columns[condition.field].match(condition.operator, values)

        return self._masks.get((expression, binding), lambda: evaluate(expression.where, iter(binding), leaf))

    def _lists(
        self, query: FilterQuery, grouped: _Grouped, masks: Flags, barred: Flags
    ) -> tuple[Ragged[np.int64], Ragged[np.int64]]:
        """Items that past events add to lines outside of their masks, and remove from within."""
        if all(expression.source == "Items" for expression in self._expressions):
            return Ragged.none(query.num_lines, np.int64), Ragged.none(query.num_lines, np.int64)
        past = Past.of(query.past, self._newest, self._num_items)
        included, excluded = np.zeros(len(past.owners), np.bool_), np.zeros(len(past.owners), np.bool_)
        for expression, bound, counts in zip(self._expressions, grouped.bound, grouped.applies, strict=True):
            if expression.source == "Items":
                continue
            matches = past_matches(past, expression, bound, self._tables.event_types) & counts[past.owners]
            if expression.verb == "INCLUDE":
                included |= matches
            else:
                excluded |= matches
        group_of = grouped.of[past.owners]
        in_mask = masks[group_of, past.item_rows]
        added = included & ~excluded & ~in_mask
        if self._adds:
            added &= ~barred[group_of, past.item_rows]
        return past.lists(added, query.num_lines), past.lists(excluded & in_mask, query.num_lines)


def past_matches(past: Past, expression: Expression, bound: Bound, event_types: Sequence[str]) -> Flags:
    """Groups of events that meet the conditions of an expression: bool [G]."""
    # Transposed: all bindings of a condition are looked at in one pass over the events, each event by its line's binding.
    by_condition = [tuple(values) for values in zip(*bound.bindings, strict=True)]

    def leaf(condition: Condition, values: tuple[tuple[Value, ...], ...]) -> Flags:
        return past.match(condition, values, bound.of, event_types)

    if not bound.bindings:
        return np.zeros(len(past.owners), np.bool_)
    return evaluate(expression.where, iter(by_condition), leaf)
