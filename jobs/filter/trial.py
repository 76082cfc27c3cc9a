"""A dry run of a filter: how many items survive it, for a sample of the users of a solution version."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hrnn.data.arrays import Rows
from hrnn.data.past_events import PastEvents
from hrnn.data.ragged import Ragged
from hrnn.inference.allowed import Allowed
from hrnn.inference.filters import FilterQuery, ItemFilter, UserFilter
from jobs.platform.process.scratch import scratch_folder
from jobs.platform.storage.folders import StepFolder
from schemas import columns
from schemas.dataset_rules import DatasetType
from schemas.datasets import DatasetSchema, parse_schemas
from schemas.errors import DataError
from schemas.filters import Filter, FilterValues, check_recipe
from schemas.filters.tree import Text, all_conditions
from schemas.manifest import Manifest
from schemas.recipes import recipe_for

MOST_USERS = 10_000
MOST_ITEMS = 1_000  # as current items, each of which may have a mask of its own
FEW_ITEMS = 25  # what a line gets by default

_PAST = [columns.PAST_ITEM_ROWS, columns.PAST_EVENT_TYPES, columns.PAST_RANKS]


def try_filter(
    parsed: Filter, solution_uri: str, values: FilterValues, *, past_events: int, most_users: int = MOST_USERS
) -> dict[str, Any]:
    """Apply a filter to a sample of lines.

    Args:
        parsed: A parsed filter.
        solution_uri: Folder that `train` wrote.
        values: Of its placeholders, the same for all lines.
        past_events: A user's newest events of each type that count.
        most_users: Size of the sample; users lie in no order, so the first ones are as good as any.

    Returns:
        Of items: `items` with events, `surviving_items` that one line of the sample at least may hold, and for each line's
        count of items `least`, `median`, `most` and how many lines have `fewer_than_25`. Of users: `users` asked, `kept`.
        Always: `unknown_event_types`, those of the filter that no event has.

    Raises:
        FilterError: The filter does not fit the recipe or the data.
        DataError: A value is missing or does not fit, or the solution version tells nothing of its users' past.
        StorageError: No solution version is there.
    """
    folder = StepFolder(solution_uri)
    manifest = folder.require("solution_version")
    recipe = recipe_for(manifest.metadata["recipe"], f"{folder.uri}: recipe")
    check_recipe(parsed, recipe)
    with scratch_folder("filter") as name:
        solution = _Solution(folder, manifest, parsed, Path(name))
        catalogue = solution.catalogue()
        if recipe.recipe_type == "RELATED_ITEMS":
            current = np.unique(np.linspace(0, catalogue.num_rows - 1, min(MOST_ITEMS, catalogue.num_rows)).astype(np.int64))
            batch, attributes = FilterQuery(len(current), [values], current_items=current), None
        else:
            batch, attributes = solution.users(values, most_users)
    event_types: list[str] = manifest.metadata.get("event_types") or []
    result = {"solution": folder.uri, "recipe": recipe.name, "unknown_event_types": _unknown_types(parsed, event_types)}
    common: dict[str, Any] = {
        "schemas": solution.schemas,
        "attributes": attributes,
        "event_types": event_types,
        "past_events": past_events,
    }
    if parsed.subject == "UserID":
        user_filter = UserFilter(parsed, **common)
        _require_no_fault(user_filter.fault(values))
        return result | {"users": batch.num_lines, "kept": int(user_filter.allowed(batch).sum())}
    item_filter = ItemFilter(parsed, catalogue, **common)
    _require_no_fault(item_filter.fault(values))
    lines, items = np.zeros(batch.num_lines, np.int64), np.zeros(catalogue.num_rows, np.int64)
    for places, allowed in item_filter.parts(batch):
        lines[places], of_each_item = _counts(allowed)
        items += of_each_item
    return result | {"items": len(items), "surviving_items": int((items > 0).sum()), **_spread(lines, recipe.recipe_type)}


@dataclass(frozen=True)
class _Solution:
    """A solution version, read as far as a filter asks for it."""

    folder: StepFolder
    manifest: Manifest
    parsed: Filter
    scratch: Path

    @property
    def schemas(self) -> dict[DatasetType, DatasetSchema]:
        return parse_schemas(self.manifest.metadata.get("schemas") or {}, self.folder.uri)

    def catalogue(self) -> pa.Table:
        """The items with events, which are those that are recommended; of their columns those that the filter names."""
        path = self._fetch(self.manifest.metadata["catalogue"])
        named = {ref.name.casefold() for ref in self.parsed.fields if ref.key[0] == "Items"} | {columns.NUM_EVENTS}
        kept = [name for name in pq.read_schema(path).names if name.casefold() in named]
        table = pq.read_table(path, columns=kept)
        return table.slice(0, int(np.count_nonzero(table[columns.NUM_EVENTS].to_numpy())))

    def users(self, values: FilterValues, most: int) -> tuple[FilterQuery, pa.Schema | None]:
        """The first users, and the columns of their attributes."""
        needs_past, needs_attributes = self.parsed.uses("Interactions"), self.parsed.uses("CurrentUser", "Users")
        paths = self.manifest.metadata.get("attributes") or []
        states, attributes, left = [], [], most
        for number, shard in enumerate(self.manifest.metadata["shards"]):
            if left <= 0:
                break
            states.append(self._first(shard["states"], left, needs_past))
            left -= states[-1].num_rows
            if needs_attributes and paths:
                attribute_rows = pq.read_table(self._fetch(paths[number]))
                # One row of attributes a state, null for users whom the Users dataset does not hold.
                ids = states[-1][columns.USER_ID].combine_chunks().cast(pa.string())
                known = attribute_rows[columns.USER_ID].combine_chunks().cast(pa.string())
                attributes.append(attribute_rows.take(pc.index_in(ids, known)))
        table = pa.concat_tables(states) if states else pa.table({columns.USER_ID: pa.array([], pa.string())})
        of_users = pa.concat_tables(attributes) if attributes else None
        past = _past(table) if needs_past and states else None
        return FilterQuery(table.num_rows, [values], None, of_users, past), None if of_users is None else of_users.schema

    def _first(self, path: str, count: int, needs_past: bool) -> pa.Table:
        """The first users of a shard."""
        with pq.ParquetFile(self._fetch(path)) as file:
            if needs_past and not set(_PAST).issubset(file.schema_arrow.names):
                raise DataError(
                    "the solution version tells nothing of what its users did",
                    where=self.folder.uri,
                    remedy="It is older than filters: train it again.",
                )
            names = [columns.USER_ID, *(_PAST if needs_past else [])]
            batch = next(file.iter_batches(batch_size=count, columns=names), None)
            return file.schema_arrow.empty_table().select(names) if batch is None else pa.Table.from_batches([batch])

    def _fetch(self, path: str) -> Path:
        return self.folder.fetch(self.manifest.file(path), self.scratch)


def _unknown_types(parsed: Filter, event_types: list[str]) -> list[str]:
    """The event types that a filter names and no event has."""
    known = {name.casefold() for name in event_types}
    named = (
        operand.value
        for expression in parsed.expressions
        for condition in all_conditions(expression)
        if condition.field.source == "Interactions"
        for operand in condition.operands
        if isinstance(operand, Text)
    )
    return [name for name in dict.fromkeys(named) if name.casefold() not in known]


def _past(table: pa.Table) -> PastEvents:
    """Past events of users, from their states."""
    lists = [Ragged.from_arrow(table[name]) for name in _PAST]
    item_rows, event_types, ranks = (of.values.astype(np.int32) for of in lists)
    return PastEvents(lists[0].offsets, item_rows, event_types, ranks)


def _counts(allowed: Allowed) -> tuple[Rows, Rows]:
    """How many items each line may hold, and how many lines may hold each item."""
    # A line's items are its mask's, which many lines share, and what was added to it and removed from it alone.
    of_lines = allowed.masks.sum(1)[allowed.mask_of]
    of_lines = of_lines + allowed.added.lengths - allowed.removed.lengths
    # By mask, not by line: there are few masks, and lines × items cells would not fit.
    num_items = allowed.masks.shape[1]
    of_items = np.zeros(num_items, np.int64)
    for mask, lines in zip(allowed.masks, np.bincount(allowed.mask_of, minlength=len(allowed.masks)).tolist(), strict=True):
        of_items[mask] += lines
    of_items += np.bincount(allowed.added.values, minlength=num_items)
    of_items -= np.bincount(allowed.removed.values, minlength=num_items)
    return of_lines, of_items


def _spread(counts: Rows, recipe_type: str) -> dict[str, Any]:
    """Summary statistics of a sample's counts."""
    unit = "current_items" if recipe_type == "RELATED_ITEMS" else "users"
    if not len(counts):
        return {unit: 0}
    return {
        unit: len(counts),
        "least": int(counts.min()),
        "median": float(np.median(counts)),
        "most": int(counts.max()),
        f"fewer_than_{FEW_ITEMS}": int((counts < FEW_ITEMS).sum()),
    }


def _require_no_fault(fault: str | None) -> None:
    if fault is not None:
        raise DataError(fault.removesuffix("."), remedy="Give values with --values.")
