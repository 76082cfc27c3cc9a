"""Given lists of items, put in the order in which their users are likely to take them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hrnn.allowed import Allowed
from hrnn.best_items import OwnItems
from hrnn.data.arrays import Doubles, Rows
from hrnn.splits import ranges

_PAIRS_AT_ONCE = 1 << 18


@dataclass(frozen=True)
class Ranked:
    """Lists of B users in their new order; list b is [offsets[b], offsets[b + 1]) of the arrays, as in what was given.

    Attributes:
        places: int64, where each item stood in its list; -1 at the end of a list from which items were removed.
        shares: float64, falling: softmax of the scores over the list; 0 for items without a score.
    """

    places: Rows
    shares: Doubles


def listed_scores(
    queries: npt.NDArray[np.float32],
    own: OwnItems,
    item_vectors: npt.NDArray[np.float32],
    item_bias: npt.NDArray[np.float32],
    offsets: Rows,
    item_rows: Rows,
) -> Doubles:
    """Scores of listed items: query · item vector + item bias + own item's score, summed in float64.

    A pair's score does not depend on what else is asked.

    Args:
        queries: [B, D].
        own: Of the same users.
        item_vectors: [N, D].
        item_bias: [N].
        offsets: int64 [B + 1].
        item_rows: int64, listed items.

    Returns:
        float64 [offsets[B]].
    """
    users = np.repeat(np.arange(len(queries)), np.diff(offsets))
    scores = item_bias[item_rows].astype(np.float64)
    for begin in range(0, len(users), _PAIRS_AT_ONCE):
        some = slice(begin, begin + _PAIRS_AT_ONCE)
        left, right = queries[users[some]].astype(np.float64), item_vectors[item_rows[some]].astype(np.float64)
        scores[some] += np.einsum("pd,pd->p", left, right)
    num_items = np.int64(len(item_bias))
    owned = np.repeat(np.arange(len(queries)), np.diff(own.offsets)) * num_items + own.item_rows
    if len(owned):
        order = np.argsort(owned, kind="stable")
        asked = users * num_items + item_rows
        found = order[np.minimum(np.searchsorted(owned, asked, sorter=order), len(owned) - 1)]
        scores += np.where(owned[found] == asked, own.scores[found], np.float32(0))
    return scores


def rank(offsets: Rows, scores: Doubles, scored: npt.NDArray[np.bool_], kept: npt.NDArray[np.bool_]) -> Ranked:
    """Order lists by score; what has none comes after, in the order given, and what is not kept goes.

    Equal scores stay in the order given; an item that is listed twice counts twice.

    Args:
        offsets: int64 [B + 1].
        scores: float64, of every listed item.
        scored: bool, which of them mean something.
        kept: bool, which items stay in their list.
    """
    lists = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    counted = scored & kept
    values = np.where(counted, scores, -np.inf)
    order = np.lexsort((np.arange(len(lists)), -values, ~kept, lists))
    greatest = np.full(len(offsets) - 1, -np.inf)
    np.maximum.at(greatest, lists, values)
    weights = np.zeros(len(lists))
    weights[counted] = np.exp(values[counted] - greatest[lists[counted]])
    totals = np.bincount(lists, weights, len(offsets) - 1)
    shares = np.divide(weights, totals[lists], out=np.zeros_like(weights), where=counted)
    places = ranges(np.zeros(len(offsets) - 1, np.int64), np.diff(offsets))[order]
    return Ranked(np.where(kept[order], places, -1), shares[order])


def allowed_in(allowed: Allowed, offsets: Rows, item_rows: Rows) -> npt.NDArray[np.bool_]:
    """Whether each listed item may be had.

    Args:
        allowed: What the B users may get.
        offsets: int64 [B + 1].
        item_rows: int64, listed items.
    """
    users = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    kept = allowed.masks[allowed.mask_of[users], item_rows]
    num_items = allowed.masks.shape[1]
    for lists, value in ((allowed.added, True), (allowed.removed, False)):
        pairs = np.repeat(np.arange(len(lists.offsets) - 1), np.diff(lists.offsets)) * num_items + lists.item_rows
        kept[np.isin(users * num_items + item_rows, pairs)] = value
    return kept
