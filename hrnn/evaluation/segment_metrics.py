"""Personalize's metrics of user segments: hits and recall among the one percent of users with the highest affinity.

For each set of items, the users are ranked by affinity after their input events; K is one in a hundred of them. A hit is one of
the first K whose hidden events hold an item of the set; recall is the hits as a share of all such users. Both are means over
the sets that occur in anybody's hidden events.

Source: Amazon Personalize developer guide, "Evaluating a solution version with metrics". The guide doesn't say which sets are
measured; at most MOST_SETS are, a random sample of items and the most frequent attributes.
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
    """Segment metrics of a model on the test users; NaN where no set occurs in the hidden events.

    Args:
        held_out: The test users.
        item_vectors: float32 [N, D], of the items with events.
        item_bias: float32 [N].
        sets: From `sets_of`, one a segment.
    """
    model, affinities = Affinity(item_vectors, item_bias, sets), np.empty((len(held_out), len(sets)), dtype=np.float32)
    for start in range(0, len(held_out), _USERS_AT_ONCE):
        end = min(start + _USERS_AT_ONCE, len(held_out))
        affinities[start:end] = model.of(held_out.queries[start:end], held_out.sparse.part(start, end))
    segment_size = max(1, len(held_out) // 100)  # K
    true_users = held_out.truth.row_ids()
    hits, recalls = list[float](), list[float]()
    for number in range(len(sets)):
        in_set = np.zeros(len(item_bias), dtype=np.bool_)
        in_set[sets.row(number)] = True
        relevant = np.zeros(len(held_out), dtype=np.bool_)
        relevant[true_users[in_set[held_out.truth.values]]] = True
        if relevant.any():  # else recall is 0 of 0
            best = np.argsort(-affinities[:, number], kind="stable")[:segment_size]
            hits.append(float(relevant[best].sum()))
            recalls.append(hits[-1] / float(relevant.sum()))
    return {
        name: float(np.mean(values)) if values else math.nan
        for name, values in zip(SEGMENT_METRICS, (hits, recalls), strict=True)
    }


def item_sets(held_out: HeldOut, seed: int = 0) -> Ragged[np.int64]:
    """Sets of one item each, of items that occur in the hidden events."""
    items = np.unique(held_out.truth.values)
    # A stream of its own, apart from other draws with this seed (1 << 40: hrnn/data/splits.py; epochs are small numbers).
    random = np.random.Generator(np.random.Philox(key=[seed, 3 << 40]))
    return sets_of([[item] for item in np.sort(random.permutation(items)[:MOST_SETS])])


def attribute_sets(catalogue: pa.Table, names: Iterable[str]) -> Ragged[np.int64]:
    """Sets of the items of each category of the given columns; a cell may hold several categories with | between."""
    sets = [items for name in names for items in _categories(catalogue[name])]
    sets.sort(key=len, reverse=True)
    return sets_of(sets[:MOST_SETS])


def attributes_without_use(catalogue: pa.Table, names: Iterable[str]) -> list[str]:
    """Warnings about columns whose segments are no use: empty, equal for all items, or another for each.

    Args:
        catalogue: Items that have events.
        names: Columns that segments may be defined by.
    """
    warnings = []
    for name in names:
        sizes = [len(items) for items in _categories(catalogue[name])]
        if not sizes:
            warnings.append(
                f"ITEMS.{name} is empty for all {len(catalogue):,} items that have interactions: nobody can ask by it"
            )
        elif sizes == [len(catalogue)]:
            warnings.append(
                f"ITEMS.{name} is the same for all {len(catalogue):,} items: its segment is of everybody, busy users first"
            )
        elif len(sizes) > 1 and max(sizes) == 1:
            warnings.append(
                f"ITEMS.{name} is another one for each item: its segments are those of single items (aws-item-affinity)"
            )
    return warnings


def _categories(column: pa.ChunkedArray) -> list[npt.NDArray[np.int64]]:
    """Item rows of each category of a column of strings or numbers, rising."""
    lists = pc.split_pattern(column.cast(pa.string()).combine_chunks(), "|")
    items, categories = pc.list_parent_indices(lists), pc.utf8_trim_whitespace(pc.list_flatten(lists))
    coded = categories.dictionary_encode()
    codes, rows = coded.indices.to_numpy(zero_copy_only=False), items.to_numpy(zero_copy_only=False)
    order = np.argsort(codes, kind="stable")
    ends = np.searchsorted(codes[order], np.arange(1, len(coded.dictionary) + 1))
    by_category = zip(coded.dictionary.to_pylist(), np.split(rows[order], ends)[:-1], strict=True)
    return [of_category.astype(np.int64) for category, of_category in by_category if category]
