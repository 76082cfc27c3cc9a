"""Scores of a few items a user, beside those that a query gives to all items."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hrnn.data.arrays import Floats, Rows
from hrnn.data.ragged import positions_of


@dataclass(frozen=True)
class SparseScores:
    """Scores that B users have for items, such as those that they have had, or that follow their latest events.

    Attributes:
        offsets: int64 [B + 1]; user b's items are [offsets[b], offsets[b + 1]) of the other two.
        item_rows: int64; no item twice within a user.
        scores: float32, added to what query and item vector say.
    """

    offsets: Rows
    item_rows: Rows
    scores: Floats

    @classmethod
    def none(cls, num_users: int) -> SparseScores:
        """Of users that have none."""
        return cls(np.zeros(num_users + 1, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32))

    def part(self, start: int, end: int) -> SparseScores:
        """Those of users [start, end)."""
        first, last = self.offsets[start], self.offsets[end]
        return SparseScores(self.offsets[start : end + 1] - first, self.item_rows[first:last], self.scores[first:last])

    def take(self, users: Rows) -> SparseScores:
        """Those of some users, in any order."""
        at = positions_of(self.offsets, users)
        return SparseScores(at.offsets, self.item_rows[at.values], self.scores[at.values])

    def dense(self, user: int, num_items: int) -> Floats:
        """float32 [num_items], a user's scores; 0 where there is none."""
        scores = np.zeros(num_items, dtype=np.float32)
        mine = slice(self.offsets[user], self.offsets[user + 1])
        scores[self.item_rows[mine]] = self.scores[mine]
        return scores
