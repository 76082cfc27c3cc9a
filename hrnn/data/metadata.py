"""Metadata: what the datasets say of items, users and events besides who took what when, as codes and numbers.

A column is used without being named: by its type, and by the marks that Personalize's schema gives it.

    Items         categories and words: codes of each item, with weights; numbers: a column of floats
    Users         a code a user; numbers are cut into eighths
    Interactions  categories: a code an event; EVENT_VALUE and other numbers: floats; EVENT_TYPE stands in the sequences
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from hrnn.data.arrays import Doubles, Flags, Floats
from hrnn.data.ragged import Ragged, offsets_of, row_ids
from schemas.schema_fields import SchemaField

Codes = npt.NDArray[np.int32]  # of the values of a column; -1: none

MOST_WORDS = 30  # of an item's text
_EIGHTHS = np.arange(1, 8) / 8
_READY = "metadata.json"


@dataclass(frozen=True, eq=False)
class ItemValues:
    """Categories or words of N items.

    Attributes:
        codes: [N] rows of int64 codes, below `count`.
        weights: float32, of each code; the squares of an item's weights sum to 1. Of words: by inverse document frequency.
        count: How many distinct values there are.
        words: Whether they are words of a text.
    """

    codes: Ragged[np.int64]
    weights: Floats
    count: int
    words: bool


@dataclass(frozen=True, eq=False)
class Metadata:
    """Columns by name.

    Attributes:
        item_values: Of Items: categories, words, truth values.
        item_numbers: float32 [N] each, NaN where there is none.
        user_codes: int32 [U] each.
        event_codes: int32 [E] each, of the stored events of the sequences.
        event_numbers: float32 [E] each, NaN where there is none.
        event_types: Names of the sequences' codes of event types.
    """

    item_values: dict[str, ItemValues] = field(default_factory=dict)
    item_numbers: dict[str, Floats] = field(default_factory=dict)
    user_codes: dict[str, Codes] = field(default_factory=dict)
    event_codes: dict[str, Codes] = field(default_factory=dict)
    event_numbers: dict[str, Floats] = field(default_factory=dict)
    event_types: tuple[str, ...] = ()

    def only(self, chosen: Flags) -> Metadata:
        """Those of a subset of the events: bool [E]."""
        return replace(
            self,
            event_codes={name: codes[chosen] for name, codes in self.event_codes.items()},
            event_numbers={name: numbers[chosen] for name, numbers in self.event_numbers.items()},
        )

    def save(self, folder: Path) -> None:
        """Write a file an array, and what they are; `load` maps them."""
        folder.mkdir(parents=True, exist_ok=True)
        columns: dict[str, list[str]] = {}
        for kind in ("item_numbers", "user_codes", "event_codes", "event_numbers"):
            columns[kind] = list(getattr(self, kind))
            for number, values in enumerate(getattr(self, kind).values()):
                np.save(folder / f"{kind}_{number}.npy", values)
        for number, values in enumerate(self.item_values.values()):
            for part, array in (("offsets", values.codes.offsets), ("codes", values.codes.values), ("weights", values.weights)):
                np.save(folder / f"item_values_{number}_{part}.npy", array)
        document = {
            "columns": columns,
            "item_values": [[name, values.count, values.words] for name, values in self.item_values.items()],
            "event_types": list(self.event_types),
        }
        (folder / _READY).write_text(json.dumps(document))

    @classmethod
    def load(cls, folder: Path) -> Metadata:
        """Map what `save` wrote; a folder without metadata has none."""
        if not (folder / _READY).is_file():
            return cls()
        document = json.loads((folder / _READY).read_text())

        def mapped(name: str) -> npt.NDArray[Any]:
            return np.asarray(np.load(folder / f"{name}.npy", mmap_mode="r"))

        columns = {
            kind: {name: mapped(f"{kind}_{number}") for number, name in enumerate(names)}
            for kind, names in document["columns"].items()
        }
        item_values = {}
        for number, (name, count, words) in enumerate(document["item_values"]):
            offsets, codes, weights = (mapped(f"item_values_{number}_{part}") for part in ("offsets", "codes", "weights"))
            item_values[name] = ItemValues(Ragged(offsets, codes), weights, count, words)
        return cls(item_values, **columns, event_types=tuple(document["event_types"]))


def item_columns(table: pa.Table, fields: Iterable[SchemaField]) -> tuple[dict[str, ItemValues], dict[str, Floats]]:
    """Values and numbers of the Items dataset.

    Args:
        table: The catalogue, N rows.
        fields: Its metadata; a string without a mark is for filters only.
    """
    values, numbers = {}, {}
    for described in fields:
        if described.name not in table.schema.names:
            continue
        column = table[described.name]
        if described.textual or described.item_name:
            values[described.name] = _words(column)
        elif described.categorical or described.kind == "truth":
            values[described.name] = _categories(column.cast(pa.string()))
        elif described.kind == "number":
            numbers[described.name] = _floats(column)
    return values, numbers


def user_codes(table: pa.Table, rows: npt.NDArray[np.int64], fields: Iterable[SchemaField], num_users: int) -> dict[str, Codes]:
    """A code a user of each column of the Users dataset: of several categories the first.

    Args:
        table: The attributes, in any order.
        rows: int64, user row of each; -1: no user of the sequences.
        fields: The dataset's metadata; a string without a mark is for filters only.
        num_users: U.
    """
    known, codes = rows >= 0, {}
    for described in fields:
        if described.kind == "number":
            of_rows = _eighths(_floats(table[described.name]))
        elif described.categorical or described.kind == "truth":
            strings = table[described.name].cast(pa.string())
            first = pc.utf8_trim_whitespace(pc.list_element(pc.split_pattern(strings, "|", max_splits=1), 0))
            of_rows = _encoded(first)
        else:
            continue
        of_users = np.full(num_users, -1, dtype=np.int32)
        of_users[rows[known]] = of_rows[known]
        codes[described.name] = of_users
    return codes


def _categories(strings: pa.ChunkedArray) -> ItemValues:
    """Categories, joined by `|`, as equals: of k of an item each has the weight 1 / √k."""
    return _item_values(pc.split_pattern(pc.fill_null(strings, ""), "|"), words=False)


def _words(strings: pa.ChunkedArray) -> ItemValues:
    """Words of a text, at most MOST_WORDS of each, in lower case, weighted by inverse document frequency."""
    return _item_values(pc.split_pattern_regex(pc.utf8_lower(pc.fill_null(strings, "")), r"[^\p{L}\p{N}]+"), words=True)


def _item_values(lists: pa.ChunkedArray, *, words: bool) -> ItemValues:
    lists = lists.combine_chunks()
    flat = pc.utf8_trim_whitespace(lists.flatten())
    items = row_ids(offsets_of(pc.list_value_length(lists).to_numpy(zero_copy_only=False)))
    filled = pc.not_equal(flat, "").to_numpy(zero_copy_only=False)
    codes = pc.dictionary_encode(flat.filter(pa.array(filled))).indices.to_numpy().astype(np.int64)
    items = items[filled]
    count = int(codes.max(initial=-1)) + 1
    pairs, first = np.unique(items * np.int64(max(1, count)) + codes, return_index=True)
    items, codes = np.divmod(pairs, max(1, count))
    if words:
        order = np.argsort(first, kind="stable")  # the text's own: items rise, and words stand as they are written
        items, codes = items[order], codes[order]
        starts = offsets_of(np.bincount(items, minlength=len(lists)))
        kept = np.arange(len(items)) - starts[items] < MOST_WORDS
        items, codes = items[kept], codes[kept]
    frequency = np.bincount(codes, minlength=count)[codes]
    weights = np.log1p(len(lists) / frequency) if words else np.ones(len(codes))
    norms = np.sqrt(np.bincount(items, weights**2, len(lists)))
    offsets = offsets_of(np.bincount(items, minlength=len(lists)))
    return ItemValues(Ragged(offsets, codes), (weights / norms[items]).astype(np.float32), count, words)


def _encoded(strings: pa.ChunkedArray) -> Codes:
    """Codes by rising value: whatever the order of the rows, the same value has the same code; an empty one has none."""
    strings = pc.if_else(pc.equal(strings, ""), pa.scalar(None, pa.string()), strings)
    encoded = strings.combine_chunks().dictionary_encode()
    rank = np.empty(len(encoded.dictionary) + 1, dtype=np.int32)
    rank[-1] = -1  # a null's
    rank[pc.sort_indices(encoded.dictionary).to_numpy()] = np.arange(len(encoded.dictionary))
    codes: Codes = rank[pc.fill_null(encoded.indices, -1).to_numpy()]
    return codes


def _floats(column: pa.ChunkedArray) -> Floats:
    """NaN where there is no number, or an infinite one."""
    values = np.asarray(column.cast(pa.float64(), safe=False).to_numpy(), dtype=np.float64)
    with np.errstate(over="ignore"):
        floats = values.astype(np.float32)
    floats[~np.isfinite(floats)] = np.nan
    return floats


def _eighths(values: Floats) -> Codes:
    """Which eighth of the column a number is in; equal numbers are in one."""
    known = ~np.isnan(values)
    codes = np.full(len(values), -1, dtype=np.int32)
    if known.any():
        bounds: Doubles = np.unique(np.quantile(values[known], _EIGHTHS))
        codes[known] = np.searchsorted(bounds, values[known], side="left")
    return codes
