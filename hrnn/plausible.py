"""Which moments can be true: one wrong clock, or a null written as a number, must not decide when "now" is, or "once".

    seconds 0 and 1     nulls written as numbers, where all other events lie a year later or more
    a late few          what lies beyond a gap of whole UTC days that is longer than every gap before it, where these events
                        are fewer than a thousandth of all and fewer than a tenth of an average day's: a wrong clock

So old data are as good as new ones; of a shop that was closed, the first full day afterwards is its newest day; and of data
with fewer than ten events a day, or a thousand in all, whose days are often empty, nothing is a late few. Compared are the
newest KNOWN_DAYS days with events.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Int64s = NDArray[np.int64]

DAY = 86_400  # seconds
KNOWN_DAYS = 400
LATEST_NULL = 1  # second
NULL_DAY = -1  # stands for seconds 0 and 1 among days
LAST_SECOND = 2**63 - 1

_LEAST_DAYS_AFTER_NULLS = 365  # until all other events
_MOST_OF_ALL = 0.001  # of the events
_MOST_OF_A_DAY = 0.1  # of an average day's events


class Bounds(NamedTuple):
    """The earliest and the latest second that can be true, both included."""

    earliest: int
    latest: int


class DayCounts(NamedTuple):
    """Days since 1970, rising, with their events; seconds 0 and 1 count as NULL_DAY.

    Attributes:
        days: int64 [D].
        events: int64 [D].
    """

    days: Int64s
    events: Int64s

    @classmethod
    def of(cls, times: Int64s) -> DayCounts:
        """Those of events at some times, UTC epoch seconds [E]."""
        return cls(*np.unique(days_of(times), return_counts=True))

    def up_to(self, second: int) -> DayCounts:
        """Without the days after that of a second."""
        kept = self.days <= second // DAY
        return DayCounts(self.days[kept], self.events[kept])

    def telling(self) -> DayCounts:
        """Without the days that `bounds` doesn't look at."""
        real = int((self.days < 0).sum())
        middle = slice(real + 1, max(real + 1, len(self.days) - KNOWN_DAYS))
        return DayCounts(np.delete(self.days, middle), np.delete(self.events, middle))

    def with_others(self, others: list[DayCounts]) -> DayCounts:
        """The sum of several."""
        parts = [self, *others]
        days, places = np.unique(np.concatenate([part.days for part in parts]), return_inverse=True)
        events = np.zeros(len(days), np.int64)
        np.add.at(events, places, np.concatenate([part.events for part in parts]))
        return DayCounts(days, events)

    def bounds(self) -> Bounds:
        """Between which seconds events can be true."""
        real = self.days >= 0
        days, events = self.days[real], self.events[real]
        if not len(days):
            return Bounds(0, LAST_SECOND)
        earliest = earliest_beside(int(days[0]) * DAY)
        days, events = days[-KNOWN_DAYS:], events[-KNOWN_DAYS:]
        gaps = np.diff(days) - 1
        longest_before = np.maximum.accumulate(np.concatenate([np.zeros(1, np.int64), gaps]))[:-1]
        before = np.cumsum(events)[:-1]
        after = events.sum() - before
        are_few = (after < _MOST_OF_ALL * events.sum()) & (after < _MOST_OF_A_DAY * before / np.arange(1, len(days)))
        ends = np.flatnonzero(are_few & (gaps > longest_before))
        return Bounds(earliest, int(days[ends[0]] + 1) * DAY - 1 if len(ends) else LAST_SECOND)


def days_of(times: Int64s) -> Int64s:
    """The day since 1970 of each moment; NULL_DAY of seconds 0 and 1."""
    return np.where(times <= LATEST_NULL, NULL_DAY, times // DAY)


def earliest_beside(other: int) -> int:
    """The earliest second that is no null written as a number, in data that hold some other moment."""
    return LATEST_NULL + 1 if other >= _LEAST_DAYS_AFTER_NULLS * DAY else 0


def plausible_span(times: Int64s) -> tuple[int, int]:
    """The first and the last moment of events that can be true, UTC epoch seconds; (0, 0) of no events.

    Args:
        times: UTC epoch seconds of all events, in any order, [E].
    """
    if not len(times):
        return 0, 0
    earliest, latest = DayCounts.of(times).bounds()
    true = times[(times >= earliest) & (times <= latest)]
    return int(true.min()), int(true.max())
