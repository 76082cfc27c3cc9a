"""Sparse scores: a few items a user, whose score is not that of query and item vector alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hrnn.data.arrays import Floats, Rows
from hrnn.data.ragged import positions_of


@dataclass(frozen=True)
class SparseScores:
    """Sparse scores of B users, such as for items that they have had, or that co-occur with their latest ones.

    Attributes:
        offsets: int64 [B + 1]; user b's items are [offsets[b], offsets[b + 1]) of the other two.
        item_rows: int64; no item twice within a user.
        scores: float32, added to query · item vector + bias.
    """

    offsets: Rows
    item_rows: Rows
    scores: Floats

    @classmethod
    def none(cls, num_users: int) -> SparseScores:
        """No scores, for `num_users` users."""
        return cls(np.zeros(num_users + 1, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32))

    def part(self, start: int, end: int) -> SparseScores:
        """Scores of users [start, end)."""
        first, last = self.offsets[start], self.offsets[end]
        return SparseScores(self.offsets[start : end + 1] - first, self.item_rows[first:last], self.scores[first:last])

    def take(self, users: Rows) -> SparseScores:
        """Scores of the given users, in any order."""
        at = positions_of(self.offsets, users)
        return SparseScores(at.offsets, self.item_rows[at.values], self.scores[at.values])

    def dense(self, user: int, num_items: int) -> Floats:
        """One user's scores as a dense row, 0 where there is none: float32 [num_items]."""
        scores = np.zeros(num_items, dtype=np.float32)
        row = slice(self.offsets[user], self.offsets[user + 1])
        scores[self.item_rows[row]] = self.scores[row]
        return scores
