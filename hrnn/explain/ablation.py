"""Histories with some events taken away, many versions of each side by side, so that a model runs them in one batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from hrnn.data.arrays import Rows
from hrnn.data.ragged import offsets_of
from hrnn.data.sequences import Sequences

By = Literal["item", "session", "event"]
MOST_GROUPING_EVENTS = 50  # the latest of a user, from which groups are made


@dataclass(frozen=True)
class Group:
    """Events that are taken away together.

    Attributes:
        item_row: Of the latest of them.
        num_events: How many.
        last_time: Of the latest of them, UTC epoch seconds.
    """

    item_row: int
    num_events: int
    last_time: int


@dataclass(frozen=True)
class Ablations:
    """Versions of B users' histories, as users of their own.

    Attributes:
        sequences: A user's whole history, then the same without each of the user's groups; then the next user's.
        owners: int64 [versions], which of the B users it is.
        groups: Of each of the B users, those with the latest events first.
    """

    sequences: Sequences
    owners: Rows
    groups: list[list[Group]]


def ablations(
    sequences: Sequences,
    user_rows: Rows,
    by: By,
    also: Sequence[Rows] | None = None,
    most_groups: int | None = None,
    newest: int | None = None,
) -> Ablations:
    """Take away, one after the other, each group of events that has one among the user's MOST_GROUPING_EVENTS latest.

    A session goes on without the event that began it. Sessions that lose all events leave no trace.

    Args:
        sequences: Histories, possibly truncated.
        user_rows: int64 [B], of users with an event at least.
        by: What makes events a group: the same item, the same session, or nothing but being the same event.
        also: Items of each of the B users whose latest event makes a group too, however long ago it is.
        most_groups: Only so many groups, those with the latest events; None: all.
        newest: Only so many events of a history, the latest; None: all.
    """
    positions = sequences.event_positions(user_rows)
    kept: list[Rows] = []
    sessions: list[Rows] = []
    owners: list[int] = []
    groups: list[list[Group]] = []
    for user in range(len(user_rows)):
        mine = positions.row(user)[0 if newest is None else -newest :]
        items = np.asarray(sequences.item_rows[mine])
        session = 1 + np.cumsum(sequences.session_starts[mine]) - sequences.session_starts[mine][:1]  # the first begins one
        key = np.asarray(items if by == "item" else session if by == "session" else np.arange(len(mine)), dtype=np.int64)
        chosen = _chosen(key[::-1], items[::-1], np.empty(0, dtype=np.int64) if also is None else also[user])[:most_groups]
        groups.append([])
        for alive in [np.ones(len(mine), dtype=np.bool_), *(key != each for each in chosen)]:
            kept.append(mine[alive])
            sessions.append(session[alive])
            owners.append(user)
        for each in chosen:
            gone = np.flatnonzero(key == each)
            groups[-1].append(Group(int(items[gone[-1]]), len(gone), int(sequences.timestamps[mine[gone[-1]]])))
    return Ablations(_assembled(sequences, kept, sessions), np.asarray(owners, dtype=np.int64), groups)


def _chosen(keys: Rows, items: npt.NDArray[np.int32], also: Rows) -> list[int]:
    """Different keys of the latest events and of the latest event of each of some items; all are told from the latest back."""
    looked_at = np.arange(len(keys)) < MOST_GROUPING_EVENTS
    first_of_item = np.unique(items, return_index=True)[1]
    looked_at[first_of_item[np.isin(items[first_of_item], also)]] = True
    told = keys[looked_at]
    return [int(told[at]) for at in np.sort(np.unique(told, return_index=True)[1])]


def _assembled(sequences: Sequences, kept: list[Rows], sessions: list[Rows]) -> Sequences:
    """One user for each of `kept`, positions of events that lie in sessions so numbered."""
    positions = np.concatenate([*kept, np.empty(0, dtype=np.int64)])
    by_event: dict[str, Any] = {}
    for field in fields(sequences):
        values = getattr(sequences, field.name)
        if isinstance(values, np.ndarray) and field.name not in ("user_offsets", "kept"):
            by_event[field.name] = np.asarray(values[positions])
    marks = [np.diff(each, prepend=0) > 0 for each in sessions]  # sessions are numbered from 1
    by_event["session_starts"] = np.concatenate([*marks, np.empty(0, dtype=np.bool_)])
    return replace(sequences, **by_event, user_offsets=offsets_of([len(each) for each in kept]), kept=None)
