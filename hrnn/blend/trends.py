"""Trends, recent popularity: how an item's share of the last hours' or days' events compares with its share of all.

trend_w(item) = log( (events in the window + PRIOR · share) / (all events in the window + PRIOR) / share )

where share is the item's part of all events: a smoothed log ratio, 0 where the window says nothing new, which grows with the
evidence. Only events before the time of the prediction count.
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
_MOST_TIMES = 128
_MOST_CELLS = 1 << 25  # items times grid times
_FINEST_SECONDS = 3_600


class Trends:
    """Trends of every item at any time; called in rising order of time, each event is counted in and out once.

    For many users at once, times are rounded down to a grid, so that a table of a few hundred columns serves them all. It
    spans the times that can be true (hrnn/data/plausible.py): earlier or later ones are clipped to its ends.

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
        # As many columns as fit the bound, but none finer than an hour: trends hardly change within one.
        most_times = max(8, min(_MOST_TIMES, _MOST_CELLS // max(1, sequences.num_items)))
        self.grid_seconds = max(_FINEST_SECONDS, -(-(self.last + 1 - self.first) // most_times))
        self.num_grid_times = (self.last - self.first) // self.grid_seconds + 1
        self._windows = [_Window(self._times, self._items, int(days * _DAY), sequences.num_items) for days in WINDOWS_DAYS]

    def grid_index(self, as_of: Rows) -> Rows:
        """Index of the latest grid time at or before each time: int64, of epoch seconds."""
        return np.clip(as_of - self.first, 0, self.last - self.first) // self.grid_seconds

    def grid_time(self, as_of: Rows) -> Rows:
        """The latest grid time at or before each time: int64 UTC epoch seconds."""
        return self.first + self.grid_index(as_of) * self.grid_seconds

    def time_of(self, index: int) -> int:
        """A grid time by its index, UTC epoch seconds."""
        return self.first + index * self.grid_seconds

    def at(self, time: int, item_rows: Rows | None = None) -> npt.NDArray[np.float32]:
        """Trends from the events before `time` (epoch seconds), of all items or of the given ones: float32 [items, windows]."""
        rows = slice(None) if item_rows is None else item_rows
        share = self._share[rows]
        columns = []
        for window in self._windows:
            total = window.move_to(time)
            columns.append(np.log((window.counts[rows] + PRIOR * share) / ((total + PRIOR) * share)))
        return np.stack(columns, axis=1).astype(np.float32)


class TrendsOfOneTime(Trends):
    """Trends at one time, from a table: all that a model which serves needs. Its grid has this time alone.

    Args:
        time: UTC epoch seconds.
        table: float32 [N, windows], what `Trends.at` says of all items then.
    """

    def __init__(self, time: int, table: npt.NDArray[np.float32]) -> None:
        self.first = self.last = time
        self.grid_seconds = self.num_grid_times = 1
        self._table = table

    def at(self, time: int, item_rows: Rows | None = None) -> npt.NDArray[np.float32]:
        """As `Trends.at`, for the one time that is known."""
        assert time == self.first, "of another time nothing is known"
        return self._table if item_rows is None else self._table[item_rows]


class _Window:
    """Sliding window: each item's events in the `seconds` before a time that moves."""

    def __init__(self, times: Rows, items: npt.NDArray[np.int32], seconds: int, num_items: int) -> None:
        self._times, self._items, self._seconds = times, items, seconds
        self._begin = self._end = 0
        self.counts = np.zeros(num_items, dtype=np.int64)

    def move_to(self, time: int) -> int:
        """Move the window's end to `time`; returns its number of events."""
        begin, end = np.searchsorted(self._times, [time - self._seconds, time], side="left").tolist()
        # Back in time, or past the whole window, a fresh count; else only the events that enter and leave.
        if begin < self._begin or end < self._end or begin > self._end:
            self.counts[:] = np.bincount(self._items[begin:end], minlength=len(self.counts))
        else:
            np.add.at(self.counts, self._items[self._end : end], 1)
            np.subtract.at(self.counts, self._items[self._begin : begin], 1)
        self._begin, self._end = begin, end
        return int(end - begin)
