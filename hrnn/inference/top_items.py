"""Top-K items of users, and the total order of items: by score, then by item row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hrnn.data.arrays import Doubles, Floats, Rows

_LOW_BITS = 0xFFFFFFFF


@dataclass(frozen=True)
class TopItems:
    """The K best items of B users, best first; K is at most the size of the catalogue.

    Lists with fewer allowed items that score more than -inf are filled up with -1, -inf and 0.

    Attributes:
        item_rows: int64 [B, K].
        scores: float32 [B, K], falling; equal scores in order of item row.
        shares: float64 [B, K], softmax of the scores over the whole catalogue, whatever the filter.
    """

    item_rows: Rows
    scores: Floats
    shares: Doubles

    @classmethod
    def none(cls, num_users: int, num_results: int) -> TopItems:
        """Empty lists."""
        shape = num_users, num_results
        return cls(np.full(shape, -1, dtype=np.int64), np.full(shape, -np.inf, dtype=np.float32), np.zeros(shape))

    def part(self, start: int, end: int) -> TopItems:
        """Items of users [start, end), as views to be changed in place."""
        return TopItems(self.item_rows[start:end], self.scores[start:end], self.shares[start:end])


def put_best(top: TopItems, users: Rows, item_rows: Rows, scores: Floats) -> None:
    """Write item rows and scores of each user's K best pairs; pairs stand user by user. A score of -inf is never listed."""
    num_users, num_results = top.item_rows.shape
    # One sort of a rectangle of keys that hold score and item row: users with fewer pairs are filled up below.
    counts = np.bincount(users, minlength=num_users)
    keys = np.full((num_users, max(num_results, int(counts.max(initial=0)))), np.iinfo(np.int64).min)
    keys[users, np.arange(len(users)) - np.repeat(np.cumsum(counts) - counts, counts)] = _sortable(scores, item_rows)
    keys.sort(axis=1)
    best = keys[:, : -num_results - 1 : -1]  # [B, K], the last ones first
    best_scores = _score_of(best)
    listed = (np.arange(num_results) < counts[:, None]) & (best_scores > -np.inf)
    top.item_rows[listed] = (_LOW_BITS - (best & _LOW_BITS))[listed]
    top.scores[listed] = best_scores[listed]


def _sortable(scores: Floats, item_rows: Rows) -> Rows:
    """int64 keys whose rising order is that of rising scores, then of falling item rows.

    A float's bits, read as an integer, are in its own order where it is positive, and in reverse where it is negative.
    """
    bits = (scores + np.float32(0.0)).view(np.int32)  # adding zero makes -0.0 equal to 0.0
    ordered = np.where(bits < 0, bits ^ 0x7FFFFFFF, bits).astype(np.int64)
    return np.asarray((ordered << 32) | (_LOW_BITS - item_rows))


def _score_of(keys: Rows) -> Floats:
    """The float32 scores in keys of `_sortable`."""
    ordered = (keys >> 32).astype(np.int32)
    return np.where(ordered < 0, ordered ^ 0x7FFFFFFF, ordered).astype(np.int32).view(np.float32)
