"""Sequential rules: which item follows which within a session, weighted by nearness.

Source: Kamehkhosh, Jannach, Ludewig 2017, "A Comparison of Frequent Pattern Techniques and a Deep Learning Method for
Session-Based Recommendation".
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hrnn.data.arrays import Doubles, Rows
from hrnn.data.sequences import Sequences
from hrnn.evaluation.baselines.prediction_points import PredictionPoints
from hrnn.evaluation.baselines.sparse import ItemTable

_TIE = 1e-5  # below any difference of two scores that are not equal


class SequentialRules:
    """rule(a, item) = sum over sessions and pairs (a, item) at distance d of 1 / d; score(item) = rule(last item, item).

    With several events, each one's rules are normalised to shares, and weighted 1, 1/2, … from the latest event on.

    Args:
        sequences: Training events, possibly truncated.
        steps: Greatest distance; 1 is a Markov chain.
        events: How many of the current session's latest events are looked up; of all the user's, `across_sessions`.
        across_sessions: Whether a session's first event follows the last one of the session before.
        then_popular: Whether popularity breaks ties.
    """

    def __init__(
        self,
        sequences: Sequences,
        steps: int = 10,
        *,
        events: int = 1,
        across_sessions: bool = False,
        then_popular: bool = False,
    ) -> None:
        num_items = sequences.num_items
        items, sessions = events_and_sessions(sequences)
        if across_sessions:
            sessions = np.repeat(np.arange(sequences.num_users), sequences.history_lengths)  # a user is one session
        keys, weights = _near_pairs(items, sessions, steps, num_items)
        # Shares, or the rules of a frequent item would drown those of a rarer one that was taken later.
        if events > 1:
            weights /= np.bincount(keys // num_items, weights, minlength=num_items)[keys // num_items]
        self._rules, self._events, self._across_sessions = ItemTable.of(keys, weights, num_items), events, across_sessions
        counts = sequences.item_counts()
        self._tie_break = (_TIE * counts / max(1, counts.max(initial=0))).astype(np.float32) if then_popular else None

    def scores(self, points: PredictionPoints) -> npt.NDArray[np.float32]:
        """Summed rules of the latest events' items."""
        scores = self._rules.rows(points.last_items)
        begin = points.user_begin if self._across_sessions else points.session_begin
        for back in range(2, self._events + 1):
            inside = np.flatnonzero(points.end - back >= begin)
            self._rules.add_to(scores, inside, points.item_rows[points.end[inside] - back].astype(np.int64), 1 / back)
        return scores if self._tie_break is None else scores + self._tie_break


def _near_pairs(items: Rows, sessions: Rows, steps: int, num_items: int) -> tuple[Rows, Doubles]:
    """Distinct pairs a * N + b of a session's items, rising, and the sum of their 1 / distance."""
    bits = steps.bit_length()
    pairs = [np.zeros(0, dtype=np.int64)]
    for distance in range(1, steps + 1):
        together = np.flatnonzero(sessions[distance:] == sessions[:-distance])
        if len(together) == 0:  # of a greater distance there is none either: sessions are contiguous
            break
        pairs.append((items[together] * num_items + items[together + distance] << bits) + distance)
    # The distance stands in the lowest bits, so that one sort of numbers orders all.
    ordered = np.sort(np.concatenate(pairs))
    keys = ordered >> bits
    first = np.flatnonzero(np.append(True, keys[1:] != keys[:-1])[: len(keys)])
    near = 1.0 / np.maximum(np.arange(1 << bits), 1)
    return keys[first], np.add.reduceat(near[ordered & (1 << bits) - 1], first) if len(first) else np.zeros(0)


def markov_chain(sequences: Sequences, *, across_sessions: bool = False, then_popular: bool = False) -> SequentialRules:
    """First-order Markov chain: score(item) = how often it came right after the last item."""
    return SequentialRules(sequences, steps=1, across_sessions=across_sessions, then_popular=then_popular)


def events_and_sessions(sequences: Sequences) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Items of all events, user by user, oldest first, without truncated ones, and the number of each one's session from 0."""
    events = sequences.event_positions(np.arange(sequences.num_users))
    starts = np.array(sequences.session_starts[events.values])
    starts[events.offsets[:-1][events.lengths > 0]] = True
    return sequences.item_rows[events.values].astype(np.int64), np.cumsum(starts) - 1
