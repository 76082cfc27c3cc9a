"""The path of recent popularity: how an item's share of the last hours' or days' events compares with its share of all.

trend_w(item) = log( (events in the window + PRIOR · share) / (all events in the window + PRIOR) / share )

where share is the item's part of all events. It is 0 where the window says nothing new, and grows with the evidence. Only
events before the asked moment count.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hrnn.data.arrays import Rows
from hrnn.data.plausible import plausible_span
from hrnn.data.sequences import Sequences

WINDOWS_DAYS = (0.125, 1.0, 3.0, 7.0, 28.0)
PRIOR = 100.0  # events
_DAY = 86_400
_MOST_MOMENTS = 128
_MOST_CELLS = 1 << 25  # items times moments
_FINEST_SECONDS = 3_600


class Trends:
    """Trends of every item at any moment; asked in rising order of time, each event is counted in and out once.

    For many users at once, moments are rounded down to a grid, so that a table of a few hundred columns serves them all. It
    spans the moments that can be true (hrnn/data/plausible.py): what comes earlier or later is taken as its first or last one.

    Args:
        sequences: Events to count, possibly truncated.
    """

    def __init__(self, sequences: Sequences) -> None:
        positions = sequences.event_positions(np.arange(sequences.num_users)).values
        times = sequences.timestamps[positions]
        order = np.argsort(times, kind="stable")
        self._times = np.asarray(times[order])
        self._items = np.asarray(sequences.item_rows[positions[order]])
        counts = np.bincount(self._items, minlength=sequences.num_items)
        self._share = (counts + 0.5) / (counts.sum() + 0.5 * sequences.num_items)
        self.first, self.last = plausible_span(self._times)
        moments = max(8, min(_MOST_MOMENTS, _MOST_CELLS // max(1, sequences.num_items)))
        self.grid_seconds = max(_FINEST_SECONDS, -(-(self.last + 1 - self.first) // moments))
        self.num_moments = (self.last - self.first) // self.grid_seconds + 1
        self._windows = [_Window(self._times, self._items, int(days * _DAY), sequences.num_items) for days in WINDOWS_DAYS]

    def moment(self, as_of: Rows) -> Rows:
        """The number of the grid's moment at or before each asked time, int64."""
        return np.clip(as_of - self.first, 0, self.last - self.first) // self.grid_seconds

    def grid_time(self, as_of: Rows) -> Rows:
        """When the grid's moment at or before each asked time is, int64 UTC epoch seconds."""
        return self.first + self.moment(as_of) * self.grid_seconds

    def time_of(self, moment: int) -> int:
        """When a moment of the grid is, UTC epoch seconds."""
        return self.first + moment * self.grid_seconds

    def at(self, time: int, item_rows: Rows | None = None) -> npt.NDArray[np.float32]:
        """float32 [items, windows], from the events before `time` (UTC epoch seconds); of all items, or of some."""
        chosen = slice(None) if item_rows is None else item_rows
        share = self._share[chosen]
        columns = []
        for window in self._windows:
            total = window.move_to(time)
            columns.append(np.log((window.counts[chosen] + PRIOR * share) / ((total + PRIOR) * share)))
        return np.stack(columns, axis=1).astype(np.float32)


class _Window:
    """How often each item occurs in the `seconds` before a moment that moves."""

    def __init__(self, times: Rows, items: npt.NDArray[np.int32], seconds: int, num_items: int) -> None:
        self._times, self._items, self._seconds = times, items, seconds
        self._begin = self._end = 0
        self.counts = np.zeros(num_items, dtype=np.int64)

    def move_to(self, time: int) -> int:
        """Count what lies before `time`; returns how many events these are."""
        begin, end = np.searchsorted(self._times, [time - self._seconds, time], side="left").tolist()
        if begin < self._begin or end < self._end or begin > self._end:
            self.counts[:] = np.bincount(self._items[begin:end], minlength=len(self.counts))
        else:
            np.add.at(self.counts, self._items[self._end : end], 1)
            np.subtract.at(self.counts, self._items[self._begin : begin], 1)
        self._begin, self._end = begin, end
        return int(end - begin)
