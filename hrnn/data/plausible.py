"""Plausible timestamps: one wrong clock, or a null written as a number, must not decide when the data begin or end.

    seconds 0 and 1     nulls written as numbers, where all other events lie a year later or more
    a late few          events more than a day after the rest: on the UTC days after the last busy one and the next, where

                        * all events after the last busy day are fewer than a thousandth of all, and than a tenth of an
                          average day's,
                        * and these quiet days are more than were ever quiet in a row before. Quiet is a day with less than a
                          tenth of an average one's events; the last day doesn't count, since it may be a part of one.

So old data are as good as new ones; week-ends are usual; of a shop that was closed, the first day afterwards with a tenth of a
day's events is its newest day; and of data with fewer than ten events a day, or a thousand in all, nothing is a late few.
Compared are the newest KNOWN_DAYS days with events.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hrnn.data.arrays import Rows

DAY = 86_400  # seconds
KNOWN_DAYS = 400
LATEST_NULL = 1  # second
NULL_DAY = -1  # stands for seconds 0 and 1 among days
LAST_SECOND = 2**63 - 1

_LEAST_DAYS_AFTER_NULLS = 365  # until all other events
_MOST_OF_ALL = 0.001  # of the events
_MOST_OF_A_DAY = 0.1  # of an average day's events


class Bounds(NamedTuple):
    """Earliest and latest plausible second, both included."""

    earliest: int
    latest: int


class DayCounts(NamedTuple):
    """Events a day, of days since 1970, rising; seconds 0 and 1 count as NULL_DAY.

    Attributes:
        days: int64 [D].
        events: int64 [D].
    """

    days: Rows
    events: Rows

    @classmethod
    def of(cls, times: Rows) -> DayCounts:
        """Count events at given times, UTC epoch seconds [E]."""
        return cls(*np.unique(days_of(times), return_counts=True))

    def telling(self) -> DayCounts:
        """The days that `bounds` depends on: nulls, the first day, and the newest KNOWN_DAYS."""
        nulls = int((self.days < 0).sum())
        middle = slice(nulls + 1, max(nulls + 1, len(self.days) - KNOWN_DAYS))
        return DayCounts(np.delete(self.days, middle), np.delete(self.events, middle))

    def with_others(self, others: list[DayCounts]) -> DayCounts:
        """Sum with others, day by day."""
        parts = [self, *others]
        days, places = np.unique(np.concatenate([part.days for part in parts]), return_inverse=True)
        events = np.zeros(len(days), np.int64)
        np.add.at(events, places, np.concatenate([part.events for part in parts]))
        return DayCounts(days, events)

    def bounds(self) -> Bounds:
        """Plausible seconds of events."""
        real = self.days >= 0
        days, events = self.days[real], self.events[real]
        if not len(days):
            return Bounds(0, LAST_SECOND)
        earliest = earliest_beside(int(days[0]) * DAY)
        days, events = days[-KNOWN_DAYS:], events[-KNOWN_DAYS:]
        calendar = np.zeros(days[-1] - days[0] + 1, np.int64)  # days without events included: they are quiet too
        calendar[days - days[0]] = events
        so_far = np.cumsum(calendar)
        begin = int(np.argmax(so_far >= _few(events)))
        end = int(np.argmax(so_far[-1] - so_far < _few(events)))  # the first day after which there are but a few
        quiet_at_the_end = len(calendar) - 1 - end - 1  # the last day may be a part of one
        if quiet_at_the_end <= _longest_run(calendar[begin : end + 1] < _MOST_OF_A_DAY * events.mean()):
            return Bounds(earliest, LAST_SECOND)
        return Bounds(earliest, int(days[0] + end + 2) * DAY - 1)


def days_of(times: Rows) -> Rows:
    """Day since 1970 of each epoch second; NULL_DAY of seconds 0 and 1."""
    return np.where(times <= LATEST_NULL, NULL_DAY, times // DAY)


def earliest_beside(other: int) -> int:
    """Earliest second that is no null written as a number, in data whose earliest other event is at `other`."""
    return LATEST_NULL + 1 if other >= _LEAST_DAYS_AFTER_NULLS * DAY else 0


def plausible_span(times: Rows) -> tuple[int, int]:
    """Times of the first and the last event whose timestamp is plausible, UTC epoch seconds; (0, 0) of no events.

    Of the first days, those that hold but a few events together are passed over: clocks that were set back.

    Args:
        times: UTC epoch seconds of all events, in any order, [E].
    """
    if not len(times):
        return 0, 0
    counts = DayCounts.of(times)
    bounds = counts.bounds()
    real = counts.days >= (0 if bounds.earliest > LATEST_NULL else NULL_DAY)
    days, events = counts.days[real], counts.events[real]
    begin = int(days[np.argmax(np.cumsum(events) >= _few(events[-KNOWN_DAYS:]))])
    return int(times[times >= begin * DAY].min()), int(times[times <= bounds.latest].max())


def _few(events: Rows) -> float:
    """The number of events below which there are but a few, of days that have so many."""
    return float(min(_MOST_OF_ALL * events.sum(), _MOST_OF_A_DAY * events.mean()))


def _longest_run(flags: NDArray[np.bool_]) -> int:
    """Length of the longest run of true values."""
    false = np.flatnonzero(np.concatenate([[True], ~flags, [True]]))
    return int(np.diff(false).max()) - 1
