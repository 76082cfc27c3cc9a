"""Sorting events into histories, and splitting these into sessions by idle gaps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hrnn.data.arrays import Rows

_LARGEST_KEY = 2**63 - 1


def event_order(users: Rows, times: Rows, tie_keys: Rows | NDArray[np.uint64]) -> Rows:
    """Argsort of events by user, time and tie key.

    Args:
        users: Rows of users, 0 or above, [events].
        times: Epoch seconds, [events].
        tie_keys: Order of a user's events at one time, [events].

    Returns:
        int64 positions [events].
    """
    if not len(users):
        return np.empty(0, np.int64)
    # Stable sorts from the least significant key on, as in a radix sort; the first one is spared where it would change nothing.
    by_tie_key = None if (tie_keys[1:] > tie_keys[:-1]).all() else np.argsort(tie_keys, kind="stable")
    if by_tie_key is not None:
        users, times = users[by_tie_key], times[by_tie_key]
    earliest = int(times.min())
    span = int(times.max()) - earliest + 1
    if (int(users.max()) + 1) * span <= _LARGEST_KEY:  # one stable sort of one key takes a third of lexsort's time
        order = np.argsort(users * np.int64(span) + (times - np.int64(earliest)), kind="stable")
    else:
        order = np.lexsort((times, users))
    return order if by_tie_key is None else by_tie_key[order]


def session_starts(users: Rows, times: Rows, gap_seconds: int | None) -> NDArray[np.bool_]:
    """Whether each of the sorted events begins a session: a user's first, and each after an idle gap above `gap_seconds`.

    Args:
        users: Rows of users, equal ones side by side, [events].
        times: Epoch seconds, rising within a user, [events].
        gap_seconds: None: a user's whole history is one session.
    """
    starts = np.ones(len(users), np.bool_)
    starts[1:] = users[1:] != users[:-1]
    if gap_seconds is not None:
        starts[1:] |= times[1:] - times[:-1] > gap_seconds
    return starts
