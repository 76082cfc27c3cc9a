"""Personalize's metrics of user segments: who of the likeliest users really took an item of the set.

For each set of items, the users are ranked by affinity after their kept events; K is one in a hundred of them. A hit is one of
the first K whose hidden events hold an item of the set; recall is the hits as a share of all such users. Both are means over
the sets that anybody took.

Source: Amazon Personalize developer guide, "Evaluating a solution version with metrics". The guide doesn't say which sets are
measured; at most MOST_SETS are, items by lot and attributes by how many items have them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import torch

from hrnn.data.ragged import Ragged
from hrnn.evaluation.holdout import HeldOut
from hrnn.inference.segments import Affinity, sets_of

SEGMENT_METRICS = ("hits_at_1_percent", "recall_at_1_percent")
MOST_SETS = 500
_USERS_AT_ONCE = 8192


def segment_metrics(
    held_out: HeldOut, item_vectors: torch.Tensor, item_bias: torch.Tensor, sets: Ragged[np.int64]
) -> dict[str, float]:
    """Measure a model on the test users; not a number where none of the sets was taken by anybody.

    Args:
        held_out: The test users.
        item_vectors: float32 [N, D], of the items with events.
        item_bias: float32 [N].
        sets: From `sets_of`, whose users are looked for.
    """
    model, affinities = Affinity(item_vectors, item_bias, sets), np.empty((len(held_out), len(sets)), dtype=np.float32)
    for start in range(0, len(held_out), _USERS_AT_ONCE):
        end = min(start + _USERS_AT_ONCE, len(held_out))
        affinities[start:end] = model.of(held_out.queries[start:end], held_out.sparse.part(start, end))
    listed = max(1, len(held_out) // 100)
    owners = held_out.truth.row_ids()
    hits, recalls = list[float](), list[float]()
    for number in range(len(sets)):
        wanted = np.zeros(len(item_bias), dtype=np.bool_)
        wanted[sets.row(number)] = True
        took = np.zeros(len(held_out), dtype=np.bool_)
        took[owners[wanted[held_out.truth.values]]] = True
        if took.any():
            best = np.argsort(-affinities[:, number], kind="stable")[:listed]
            hits.append(float(took[best].sum()))
            recalls.append(hits[-1] / float(took.sum()))
    return {
        name: float(np.mean(values)) if values else math.nan
        for name, values in zip(SEGMENT_METRICS, (hits, recalls), strict=True)
    }


def item_sets(held_out: HeldOut, seed: int = 0) -> Ragged[np.int64]:
    """Items that were taken among the hidden events, each a set of its own."""
    items = np.unique(held_out.truth.values)
    random = np.random.Generator(np.random.Philox(key=[seed, 3 << 40]))
    return sets_of([[item] for item in np.sort(random.permutation(items)[:MOST_SETS])])


def attribute_sets(catalogue: pa.Table, names: Iterable[str]) -> Ragged[np.int64]:
    """The items of each category of some columns, by item row; several categories stand with | between, a number is one."""
    found = [items for name in names for items in _categories(catalogue[name])]
    found.sort(key=len, reverse=True)
    return sets_of(found[:MOST_SETS])


def attributes_without_use(catalogue: pa.Table, names: Iterable[str]) -> list[str]:
    """A sentence for each column by which no users can be told from others: it is equal everywhere, or nowhere.

    Args:
        catalogue: Items that have events.
        names: Columns by which users can be asked for.
    """
    told = []
    for name in names:
        sizes = [len(items) for items in _categories(catalogue[name])]
        if not sizes:
            told.append(f"ITEMS.{name} is empty for all {len(catalogue):,} items that have interactions: nobody can ask by it")
        elif sizes == [len(catalogue)]:
            told.append(
                f"ITEMS.{name} is the same for all {len(catalogue):,} items: its segment is of everybody, busy users first"
            )
        elif len(sizes) > 1 and max(sizes) == 1:
            told.append(
                f"ITEMS.{name} is another one for each item: its segments are those of single items (aws-item-affinity)"
            )
    return told


def _categories(column: pa.ChunkedArray) -> list[npt.NDArray[np.int64]]:
    """The item rows of each category of a column of strings or numbers, rising."""
    lists = pc.split_pattern(column.cast(pa.string()).combine_chunks(), "|")
    owners, categories = pc.list_parent_indices(lists), pc.utf8_trim_whitespace(pc.list_flatten(lists))
    coded = categories.dictionary_encode()
    codes, rows = coded.indices.to_numpy(zero_copy_only=False), owners.to_numpy(zero_copy_only=False)
    order = np.argsort(codes, kind="stable")
    ends = np.searchsorted(codes[order], np.arange(1, len(coded.dictionary) + 1))
    of_category = zip(coded.dictionary.to_pylist(), np.split(rows[order], ends)[:-1], strict=True)
    return [items.astype(np.int64) for category, items in of_category if category]
