"""Ablated histories: each without all events of one item, many of them side by side, so that a model runs them in one batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from hrnn.data.arrays import Rows
from hrnn.data.ragged import offsets_of
from hrnn.data.sequences import Sequences

LATEST_EVENTS = 50  # of a user, whose items are taken away


@dataclass(frozen=True)
class Ablations:
    """Versions of B users' histories, as users of their own.

    Attributes:
        sequences: A user's whole history, then the same without each of some items; then the next user's.
        owners: int64 [versions], which of the B users it is.
        removed: int64 [versions], the item row that is taken away; -1 from a whole history.
    """

    sequences: Sequences
    owners: Rows
    removed: Rows

    def of(self, user: int) -> slice:
        """The versions of one of the B users, the whole history first."""
        return slice(*np.searchsorted(self.owners, [user, user + 1]).tolist())


def ablations(
    sequences: Sequences,
    user_rows: Rows,
    *,
    also: Sequence[Rows] | None = None,
    most_items: int | None = None,
    newest: int | None = None,
) -> Ablations:
    """Take away, one after the other, each item that is among the LATEST_EVENTS of a user, that of the latest event first.

    A session goes on without the event that began it. Sessions that lose all events leave no trace.

    Args:
        sequences: Histories, possibly truncated.
        user_rows: int64 [B], of users with an event at least.
        also: Items of each of the B users that are taken away too, however long ago they were had.
        most_items: Only so many items, those with the latest events; None: all.
        newest: Only so many events of a history, the latest; None: all.
    """
    positions = sequences.event_positions(user_rows)
    kept: list[Rows] = []
    session_starts: list[npt.NDArray[np.bool_]] = []
    lengths: list[Rows] = []
    removed: list[Rows] = []
    for user in range(len(user_rows)):
        events = positions.row(user)[0 if newest is None else -newest :]
        items, session = sequences.item_rows[events], np.cumsum(sequences.session_starts[events])
        tried = _tried(items, np.empty(0, dtype=np.int64) if also is None else also[user])[:most_items]
        removed.append(np.append(-1, tried))
        left = items != removed[-1][:, None]  # [versions, events]; the first version, less item -1, is whole
        version, event = np.nonzero(left)
        kept.append(events[event])
        # One number a version and session: where it changes, a session begins, be it with a later event than before.
        session_starts.append(np.diff(version * (len(events) + 1) + session[event], prepend=-1) != 0)
        lengths.append(left.sum(axis=1))
    at = np.concatenate([*kept, np.empty(0, dtype=np.int64)])
    versions = replace(
        sequences,
        user_offsets=offsets_of(np.concatenate([*lengths, np.empty(0, dtype=np.int64)])),
        item_rows=sequences.item_rows[at],
        timestamps=sequences.timestamps[at],
        session_starts=np.concatenate([*session_starts, np.empty(0, dtype=np.bool_)]),
        event_types=sequences.event_types[at],
        kept=None,
    )
    owners = np.repeat(np.arange(len(user_rows)), [len(each) for each in removed])
    return Ablations(versions, owners, np.concatenate([*removed, np.empty(0, dtype=np.int64)]))


def _tried(items: npt.NDArray[np.int32], also: Rows) -> Rows:
    """Different items of the latest events, and of a history's others those wanted too; in the order of their latest events."""
    rows, events_since = np.unique(items[::-1], return_index=True)
    taken = (events_since < LATEST_EVENTS) | np.isin(rows, also)
    order = np.argsort(events_since[taken])
    return np.asarray(rows[taken][order], dtype=np.int64)
