"""Prediction points: a user, their events so far, and the session that they are in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hrnn.data.arrays import Rows
from hrnn.data.ragged import Ragged
from hrnn.data.sequences import Sequences
from hrnn.data.sessions import session_begins


@dataclass(frozen=True)
class PredictionPoints:
    """B prediction points. Positions are those of the sequences' arrays; every point's user has had one event at least.

    Attributes:
        sequences: Of all users; events later than a point's are not looked at.
        user_begin: int64 [B], each user's first event.
        session_begin: int64 [B], the current session's first event.
        end: int64 [B], one past the latest event that is known.
        as_of: int64 [B], the time of the prediction, UTC epoch seconds.
    """

    sequences: Sequences
    user_begin: Rows
    session_begin: Rows
    end: Rows
    as_of: Rows

    def __len__(self) -> int:
        return len(self.end)

    def __getitem__(self, chosen: slice | Rows) -> PredictionPoints:
        return PredictionPoints(
            self.sequences, self.user_begin[chosen], self.session_begin[chosen], self.end[chosen], self.as_of[chosen]
        )

    @property
    def item_rows(self) -> npt.NDArray[np.int32]:
        """int32 [E], of all events of all users."""
        return self.sequences.item_rows

    @property
    def last_items(self) -> Rows:
        """Item of each point's latest event: int64 [B]."""
        return self.item_rows[self.end - 1].astype(np.int64)

    def session(self, point: int) -> Rows:
        """Items of one point's current session, oldest first."""
        return self.item_rows[self.session_begin[point] : self.end[point]].astype(np.int64)

    def histories(self) -> Ragged[np.int64]:
        """Positions of all events so far of every point's user, oldest first: [B] rows."""
        return Ragged.expand(self.user_begin, self.end - self.user_begin)

    def history_pairs(self) -> tuple[Rows, Rows]:
        """All events so far of every point's user: (number of the point, item row)."""
        events = self.histories()
        return events.row_ids(), self.item_rows[events.values].astype(np.int64)


def points_after(sequences: Sequences, user_rows: Rows, as_of: Rows) -> PredictionPoints:
    """Prediction points right after the given events of B users; the current session is each one's last.

    Args:
        sequences: Histories, possibly truncated.
        user_rows: int64 [B], users with one event at least.
        as_of: int64 [B], UTC epoch seconds.
    """
    begin = sequences.user_offsets[:-1][user_rows]
    end = begin + sequences.history_lengths[user_rows]
    return PredictionPoints(sequences, begin, session_begins(sequences)[end - 1], end, as_of)
