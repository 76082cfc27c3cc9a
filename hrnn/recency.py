"""The path of recent popularity: how an item's share of the last days' events compares with its share of all.

trend_w(item) = log( (events in the window + PRIOR · share) / (all events in the window + PRIOR) / share )

where share is the item's part of all events.

It is 0 where the window says nothing new, and grows with the evidence. Only events before the asked moment count; moments are
rounded down to a grid, so that a table of a few hundred rows serves every user.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hrnn.batching import Rows
from hrnn.sequences import Sequences

WINDOWS_DAYS = (1.0, 3.0, 7.0)
PRIOR = 100.0  # events
_DAY = 86_400
_MOST_MOMENTS = 128
_MOST_CELLS = 1 << 25  # items times moments
_FINEST_SECONDS = 3_600


class Trends:
    """Trends of every item at any moment.

    Args:
        sequences: Events to count, possibly truncated.
    """

    def __init__(self, sequences: Sequences) -> None:
        _, positions = sequences.event_positions(np.arange(sequences.num_users))
        times = sequences.timestamps[positions]
        order = np.argsort(times, kind="stable")
        self._times = times[order]
        self._items = sequences.item_rows[positions[order]]
        self._num_items = sequences.num_items
        counts = np.bincount(self._items, minlength=sequences.num_items)
        self._share = (counts + 0.5) / (counts.sum() + 0.5 * sequences.num_items)
        self.first, self.last = (int(self._times[0]), int(self._times[-1])) if len(times) else (0, 0)
        moments = max(8, min(_MOST_MOMENTS, _MOST_CELLS // max(1, sequences.num_items)))
        self.grid_seconds = max(_FINEST_SECONDS, -(-(self.last + 1 - self.first) // moments))
        self.num_moments = (self.last - self.first) // self.grid_seconds + 1

    def moment(self, as_of: Rows) -> Rows:
        """The grid's moment at or before each asked time, int64: 0 is the first event's time."""
        return np.clip(as_of - self.first, 0, self.last - self.first) // self.grid_seconds

    def at(self, time: int) -> npt.NDArray[np.float32]:
        """float32 [N, windows], from the events before `time` (UTC epoch seconds)."""
        end = int(np.searchsorted(self._times, time, side="left"))
        columns = []
        for days in WINDOWS_DAYS:
            begin = int(np.searchsorted(self._times, time - int(days * _DAY), side="left"))
            counts = np.bincount(self._items[begin:end], minlength=self._num_items)
            columns.append(np.log((counts + PRIOR * self._share) / ((end - begin) + PRIOR) / self._share))
        return np.stack(columns, axis=1).astype(np.float32)

    def at_moment(self, moment: int) -> npt.NDArray[np.float32]:
        """`at` the grid's moment of that number."""
        return self.at(self.first + moment * self.grid_seconds)
