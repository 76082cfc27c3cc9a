"""Re-ranking of given lists of items by score."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hrnn.data.arrays import Doubles, Rows
from hrnn.data.ragged import Ragged, row_ids
from hrnn.data.sparse_scores import SparseScores
from hrnn.inference.allowed import Allowed
from hrnn.inference.pairs import Pairs

_PAIRS_AT_ONCE = 1 << 18  # of which two float64 rows of D numbers each are held


@dataclass(frozen=True)
class Ranked:
    """Re-ranked lists of B users, one after the other, as long as the given ones.

    Attributes:
        places: int64, where each item stood in its list; -1 at the end of a list from which items were removed.
        shares: float64, falling: softmax of the scores over the list; 0 for items without a score.
    """

    places: Rows
    shares: Doubles


def listed_scores(
    queries: npt.NDArray[np.float32],
    sparse: SparseScores,
    item_vectors: npt.NDArray[np.float32],
    item_bias: npt.NDArray[np.float32],
    lists: Ragged[np.int64],
) -> Doubles:
    """Scores of listed items: query · item vector + item bias + sparse score, summed in float64.

    A pair's score does not depend on what else is in the call.

    Args:
        queries: [B, D].
        sparse: Of the same users.
        item_vectors: [N, D].
        item_bias: [N].
        lists: [B] item rows.

    Returns:
        float64, one of every listed item.
    """
    users, item_rows = lists.row_ids(), lists.values
    scores = item_bias[item_rows].astype(np.float64)
    for begin in range(0, len(users), _PAIRS_AT_ONCE):
        chunk = slice(begin, begin + _PAIRS_AT_ONCE)
        left, right = queries[users[chunk]].astype(np.float64), item_vectors[item_rows[chunk]].astype(np.float64)
        # Row by row, in one order of additions; a matrix product's would depend on how many pairs are in the call.
        scores[chunk] += np.einsum("pd,pd->p", left, right)
    places = Pairs(Ragged(sparse.offsets, sparse.item_rows), len(item_bias)).find(users, item_rows)
    known = places >= 0
    scores[known] += sparse.scores[places[known]]
    return scores


def rank(offsets: Rows, scores: Doubles, scored: npt.NDArray[np.bool_], kept: npt.NDArray[np.bool_]) -> Ranked:
    """Order lists by score; items without one come after, in the given order, and items that are not kept are removed.

    Equal scores stay in the order given; an item that is listed twice counts twice.

    Args:
        offsets: int64 [B + 1].
        scores: float64, of every listed item.
        scored: bool, which of them are valid.
        kept: bool, which items stay in their list.
    """
    lists, num_lists = row_ids(offsets), len(offsets) - 1
    counted = scored & kept
    values = np.where(counted, scores, -np.inf)
    # The last key counts most: by list, kept items first, by falling score, then as given.
    order = np.lexsort((np.arange(len(lists)), -values, ~kept, lists))
    greatest = np.full(num_lists, -np.inf)
    np.maximum.at(greatest, lists, values)
    # Only counted items: of a list without any, the greatest is -inf, and -inf less -inf no number.
    weights = np.zeros(len(lists))
    weights[counted] = np.exp(values[counted] - greatest[lists[counted]])
    totals = np.bincount(lists, weights, num_lists)
    shares = np.divide(weights, totals[lists], out=np.zeros_like(weights), where=counted)
    places = np.arange(len(lists)) - offsets[lists]
    return Ranked(np.where(kept[order], places[order], -1), shares[order])


def allowed_in(allowed: Allowed, lists: Ragged[np.int64]) -> npt.NDArray[np.bool_]:
    """Whether each listed item is allowed.

    Args:
        allowed: Of the B users.
        lists: [B] item rows.
    """
    users, item_rows = lists.row_ids(), lists.values
    kept = allowed.masks[allowed.mask_of[users], item_rows]
    num_items = allowed.masks.shape[1]
    # Removed items last: an item may stand in both lists, and is not allowed then.
    for exceptions, value in ((allowed.added, True), (allowed.removed, False)):
        pairs = exceptions.row_ids() * num_items + exceptions.values
        kept[np.isin(users * num_items + item_rows, pairs)] = value
    return kept
