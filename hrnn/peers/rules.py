"""Sequential rules: which item follows which within a session, near ones counting more.

Source: Kamehkhosh, Jannach, Ludewig 2017, "A Comparison of Frequent Pattern Techniques and a Deep Learning Method for
Session-Based Recommendation".
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hrnn.peers.moments import Moments
from hrnn.peers.sparse import ItemTable, summed
from hrnn.sequences import Sequences


class SequentialRules:
    """score(item) = sum over sessions and pairs (last item, item) at distance d of 1 / d.

    Args:
        sequences: What to learn from, possibly truncated.
        steps: Greatest distance; 1 is a Markov chain.
        across_sessions: Whether a session's first event follows the last one of the session before.
    """

    def __init__(self, sequences: Sequences, steps: int = 10, *, across_sessions: bool = False) -> None:
        num_items = sequences.num_items
        items, sessions = events_and_sessions(sequences)
        if across_sessions:
            sessions = np.repeat(np.arange(sequences.num_users), sequences.history_lengths)
        keys, weights = np.zeros(0, dtype=np.int64), np.zeros(0)
        for distance in range(1, steps + 1):
            together = np.flatnonzero(sessions[distance:] == sessions[:-distance])
            if len(together) == 0:
                break
            pairs = items[together] * num_items + items[together + distance]
            found, counts = np.unique(pairs, return_counts=True)
            keys, weights = summed(np.concatenate([keys, found]), np.concatenate([weights, counts / distance]))
        self._rules = ItemTable.of(keys, weights, num_items)

    def scores(self, moments: Moments) -> npt.NDArray[np.float32]:
        """What follows from the latest event's item."""
        return self._rules.rows(moments.last_items)


def markov_chain(sequences: Sequences, *, across_sessions: bool = False) -> SequentialRules:
    """score(item) = how often it came right after the last item."""
    return SequentialRules(sequences, steps=1, across_sessions=across_sessions)


def events_and_sessions(sequences: Sequences) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Items of all events that count, user by user, oldest first, and the number of each one's session from 0."""
    offsets, positions = sequences.event_positions(np.arange(sequences.num_users))
    starts = np.array(sequences.session_starts[positions])
    starts[offsets[:-1][np.diff(offsets) > 0]] = True
    return sequences.item_rows[positions].astype(np.int64), np.cumsum(starts) - 1
