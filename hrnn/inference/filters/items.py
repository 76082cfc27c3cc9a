"""Filters of items: which items each of B lines may hold, as `Allowed`."""

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
from hrnn.inference.filters.columns import Column, Value
from hrnn.inference.filters.past import Past
from hrnn.inference.filters.query import Asked
from hrnn.inference.filters.tables import FilterTables
from schemas.dataset_rules import DatasetType
from schemas.datasets import DatasetSchema
from schemas.filters import PUBLISHED, Filter, FilterValues
from schemas.filters.tree import Condition, Expression, FieldRef


@dataclass(frozen=True)
class _Grouped:
    """Lines that share a mask.

    Attributes:
        bound: Each expression as the lines mean it.
        applies: bool [B] of each expression.
        kept: int64 [M, E + 1]: the binding of each expression on Items, -1 where it does not count; last, whether an INCLUDE
            counts.
        of: int64 [B], the group of each line.
    """

    bound: list[Bound]
    applies: list[Flags]
    kept: Rows
    of: Rows


class ItemFilter:
    """A filter of items beside a catalogue.

    Args:
        wanted: A parsed filter of ItemID.
        catalogue: The N items that may be recommended, by item row.
        schemas: Of the datasets; a string of a dataset that has none here is taken as categorical.
        attributes: Columns of the users' attributes; None where there is no Users dataset.
        event_types: The name of each event type's code.
        past_events: A user's newest events of each type that the filter looks at, at most 1,000.
        now: What now() means, UTC epoch seconds; None: this moment.
        cache_bytes: Of masks that are kept for later lines; a mask takes a byte an item.

    Raises:
        FilterError: The filter is not of items, or does not fit the tables.
    """

    def __init__(
        self,
        wanted: Filter,
        catalogue: pa.Table,
        *,
        schemas: Mapping[DatasetType, DatasetSchema] | None = None,
        attributes: pa.Schema | None = None,
        event_types: Sequence[str] = (),
        past_events: int = PUBLISHED.past_events,
        now: int | None = None,
        cache_bytes: int = 256 << 20,
    ) -> None:
        assert wanted.subject == "ItemID", "check_recipe has seen to it"
        self._tables = FilterTables(wanted, catalogue, attributes, schemas or {}, event_types, now)
        self._expressions = wanted.expressions
        self._num_items, self._newest = catalogue.num_rows, past_events
        by_name: dict[str, Column] = {}
        self._columns: dict[FieldRef, Column] = {}
        for ref in wanted.fields:
            if ref.key[0] == "Items":
                name = self._tables.field(ref).name
                by_name[name] = by_name.get(name) or self._tables.column(ref, catalogue)
                self._columns[ref] = by_name[name]
        self._masks = MaskCache(cache_bytes)

    def fault(self, values: FilterValues) -> str | None:
        """Why a line with these values can't be answered, in a sentence for its error line; None where it can."""
        return self._tables.fault(values)

    def allowed(self, asked: Asked) -> Allowed:
        """What each of B lines may hold; none of their values may have a fault.

        A line's items are those of (all INCLUDEs together) less those of (all EXCLUDEs together); where no INCLUDE counts for
        the line, all items less those.

        Args:
            asked: The lines.

        Returns:
            Masks that lines share; of added and removed items none twice, and none that the mask has already.
        """
        return self._allowed(asked, self._grouped(asked))

    def parts(self, asked: Asked, most_bytes: int = 256 << 20) -> Iterator[tuple[Rows, Allowed]]:
        """`allowed` for some of the lines at a time, such that masks stay within a bound of bytes, or one mask at a time.

        Yields:
            Which lines, int64 rising, and what they may hold.
        """
        grouped = self._grouped(asked)
        at_once = max(1, most_bytes // max(1, self._num_items))
        for first in range(0, len(grouped.kept), at_once):
            lines = np.flatnonzero((grouped.of >= first) & (grouped.of < first + at_once))
            part = asked.take(lines)
            yield lines, self._allowed(part, self._grouped(part))

    def _grouped(self, asked: Asked) -> _Grouped:
        bound = [self._tables.bound(expression, asked, self._columns) for expression in self._expressions]
        applies = [self._tables.applies(expression, of, asked) for expression, of in zip(self._expressions, bound, strict=True)]
        included = np.zeros(asked.num_lines, np.bool_)
        keys: list[Rows] = []
        for expression, of, counts in zip(self._expressions, bound, applies, strict=True):
            if expression.source == "Items":
                keys.append(np.where(counts, of.of, -1))
            if expression.verb == "INCLUDE":
                included |= counts
        keys.append(included.astype(np.int64))
        if not asked.num_lines:
            return _Grouped(bound, applies, np.empty((0, len(keys)), np.int64), np.empty(0, np.int64))
        kept, group_of = np.unique(np.stack(keys, axis=1), axis=0, return_inverse=True)
        return _Grouped(bound, applies, kept, group_of.reshape(-1))

    def _allowed(self, asked: Asked, grouped: _Grouped) -> Allowed:
        masks = np.empty((len(grouped.kept), self._num_items), np.bool_)
        barred = np.zeros((len(grouped.kept), self._num_items if self._adds else 0), np.bool_)
        for group, key in enumerate(grouped.kept.tolist()):
            masks[group] = not key[-1]
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
            for mask in excluded:
                masks[group] &= ~mask
                if self._adds:
                    barred[group] |= mask
        added, removed = self._lists(asked, grouped, masks, barred)
        return Allowed(masks, grouped.of, added, removed)

    @property
    def _adds(self) -> bool:
        """Whether lines may have items beside their mask's."""
        return any(expression.verb == "INCLUDE" and expression.source != "Items" for expression in self._expressions)

    def _mask(self, expression: Expression, binding: Binding) -> Flags:
        """bool [N]: the items that the conditions of an expression mean."""

        def leaf(condition: Condition, values: tuple[Value, ...]) -> Flags:
            return self._columns[condition.field].match(condition.operator, values)

        return self._masks.get((expression, binding), lambda: evaluate(expression.where, iter(binding), leaf))

    def _lists(self, asked: Asked, grouped: _Grouped, masks: Flags, barred: Flags) -> tuple[Ragged[np.int64], Ragged[np.int64]]:
        """Items that lines may have beside their masks', and less."""
        if all(expression.source == "Items" for expression in self._expressions):
            return Ragged.none(asked.num_lines, np.int64), Ragged.none(asked.num_lines, np.int64)
        past = Past.of(asked.past, self._newest, self._num_items)
        included, excluded = np.zeros(len(past.owners), np.bool_), np.zeros(len(past.owners), np.bool_)
        for expression, bound, counts in zip(self._expressions, grouped.bound, grouped.applies, strict=True):
            if expression.source == "Items":
                continue
            met = past_matches(past, expression, bound, self._tables.event_types) & counts[past.owners]
            if expression.verb == "INCLUDE":
                included |= met
            else:
                excluded |= met
        at = grouped.of[past.owners]
        in_mask = masks[at, past.item_rows]
        added = included & ~excluded & ~in_mask
        if self._adds:
            added &= ~barred[at, past.item_rows]
        return past.lists(added, asked.num_lines), past.lists(excluded & in_mask, asked.num_lines)


def past_matches(past: Past, expression: Expression, bound: Bound, event_types: Sequence[str]) -> Flags:
    """bool [G]: which groups of events the conditions of an expression mean."""
    by_condition = [tuple(values) for values in zip(*bound.bindings, strict=True)]

    def leaf(condition: Condition, values: tuple[tuple[Value, ...], ...]) -> Flags:
        return past.match(condition, values, bound.of, event_types)

    if not bound.bindings:
        return np.zeros(len(past.owners), np.bool_)
    return evaluate(expression.where, iter(by_condition), leaf)
