"""Sessions of histories: where they begin, and each as a history of its own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hrnn.data.arrays import Rows
from hrnn.data.sequences import Sequences


def session_begins(sequences: Sequences) -> Rows:
    """Position of the first event of each event's session: int64 [E]."""
    starts = np.array(sequences.session_starts)
    starts[sequences.user_offsets[:-1][np.diff(sequences.user_offsets) > 0]] = True
    begins: Rows = np.maximum.accumulate(np.where(starts, np.arange(len(starts)), 0))
    return begins


def sessions_alone(sequences: Sequences) -> Sequences:
    """The same events with each session as a user of its own; positions stay, and truncated events stay truncated."""
    # A truncated history cuts its last sessions: those behind the cut are left with no events, so that positions stay.
    begins = np.unique(session_begins(sequences))  # [sessions], of all stored events
    user = np.searchsorted(sequences.user_offsets, begins, side="right") - 1
    end = sequences.user_offsets[:-1] + sequences.history_lengths
    offsets = np.append(begins, len(sequences.item_rows))
    return replace(sequences, user_offsets=offsets, kept=np.clip(end[user] - begins, 0, np.diff(offsets)))


def last_sessions(sequences: Sequences, user_rows: Rows) -> Sequences:
    """The last session of each of B users as their history: user b of the result is `user_rows[b]`; positions stay.

    Args:
        sequences: Histories, possibly truncated.
        user_rows: int64 [B], in any order.
    """
    begin, lengths = sequences.user_offsets[:-1][user_rows], sequences.history_lengths[user_rows]
    events = sequences.event_positions(user_rows)
    starts = np.flatnonzero(sequences.session_starts[events.values])
    before_end = np.searchsorted(starts, events.offsets[1:]) - 1  # the last start before each user's end
    last = starts[np.maximum(before_end, 0)] if len(starts) else np.zeros(len(user_rows), dtype=np.int64)
    skipped = np.where(lengths > 0, np.maximum(last - events.offsets[:-1], 0), 0)
    # Begins need not rise, since users come in any order: `kept` alone tells the lengths, never a difference of offsets.
    return replace(sequences, user_offsets=np.append(begin + skipped, len(sequences.item_rows)), kept=lengths - skipped)
