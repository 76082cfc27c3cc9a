"""The best items of users, and the one order in which items stand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hrnn.data.arrays import Doubles, Floats, Rows

_LOW_BITS = 0xFFFFFFFF


@dataclass(frozen=True)
class TopItems:
    """The K best items of B users, best first; K is smaller than asked where the catalogue is.

    Behind the last item that a user may get, and that scores more than -inf, stand -1, -inf and 0.

    Attributes:
        item_rows: int64 [B, K].
        scores: float32 [B, K], falling; equal scores in order of item row.
        shares: float64 [B, K], softmax of the scores over the whole catalogue, whatever a user may get.
    """

    item_rows: Rows
    scores: Floats
    shares: Doubles

    @classmethod
    def none(cls, num_users: int, num_results: int) -> TopItems:
        """No item for anybody."""
        shape = num_users, num_results
        return cls(np.full(shape, -1, dtype=np.int64), np.full(shape, -np.inf, dtype=np.float32), np.zeros(shape))

    def part(self, start: int, end: int) -> TopItems:
        """The best items of users [start, end), to be changed in place."""
        return TopItems(self.item_rows[start:end], self.scores[start:end], self.shares[start:end])


def put_best(found: TopItems, users: Rows, item_rows: Rows, scores: Floats) -> None:
    """Write item rows and scores of each user's best pairs; pairs stand user by user. What scores -inf is never listed."""
    num_users, wanted = found.item_rows.shape
    counts = np.bincount(users, minlength=num_users)
    keys = np.full((num_users, max(wanted, int(counts.max(initial=0)))), np.iinfo(np.int64).min)
    keys[users, np.arange(len(users)) - np.repeat(np.cumsum(counts) - counts, counts)] = _sortable(scores, item_rows)
    keys.sort(axis=1)
    best = keys[:, : -wanted - 1 : -1]
    of_best = _score_of(best)
    there = (np.arange(wanted) < counts[:, None]) & (of_best > -np.inf)
    found.item_rows[there] = (_LOW_BITS - (best & _LOW_BITS))[there]
    found.scores[there] = of_best[there]


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
