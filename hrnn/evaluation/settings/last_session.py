"""The session-aware protocol: each user's last session is hidden, and its events are predicted one after the other.

Events of the session up to the asked one are given, the whole catalogue is ranked, no seen item is left out. An item that
scores as high as the right one stands before it: ties never help. Items without events in the training are not asked for.

Source: Quadrana et al. 2017, section 5.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hrnn.data.arrays import Floats, Rows
from hrnn.data.ragged import Ragged, offsets_of, row_ids
from hrnn.data.sequences import Sequences
from hrnn.data.sessions import session_begins
from hrnn.evaluation.baselines.prediction_points import PredictionPoints

DEPTHS = (5, 10, 20)
_CELLS_AT_ONCE = 1 << 22


@dataclass(frozen=True)
class LastSession:
    """Sequences with hidden last sessions.

    Attributes:
        sequences: With the hidden sessions, and without items that training has never seen in them.
        training: The same, truncated before them.
        targets: int64 [P], positions of the events that are asked for, rising.
        points: [P], the moment before each of them, as of the latest known event.
    """

    sequences: Sequences
    training: Sequences
    targets: Rows
    points: PredictionPoints

    @property
    def target_items(self) -> Rows:
        """int64 [P]."""
        return self.sequences.item_rows[self.targets].astype(np.int64)

    @property
    def target_users(self) -> Rows:
        """int64 [P], user rows."""
        return np.searchsorted(self.sequences.user_offsets, self.targets, side="right") - 1

    def some_sessions(self, number: int, seed: int = 0) -> Rows:
        """Numbers of the targets of some hidden sessions, drawn; for baselines that take long."""
        users = self.target_users
        chosen = np.random.Generator(np.random.Philox(key=seed)).permutation(np.unique(users))[:number]
        return np.flatnonzero(np.isin(users, chosen))


def hide_last_session(sequences: Sequences, *, back: int = 0) -> LastSession:
    """Hide each user's last session.

    Args:
        sequences: From `condensed`, not truncated.
        back: 0 for the test; 1 drops the last session and hides the last but one, to choose settings by.
    """
    begins = session_begins(sequences)
    first, end = sequences.user_offsets[:-1], sequences.user_offsets[1:]
    for _ in range(back):
        end = _before_last_session(begins, first, end)
    hidden_begin = _before_last_session(begins, first, end)
    kept = sequences.item_rows[Ragged.expand(first, hidden_begin - first).values]
    known = np.bincount(kept, minlength=sequences.num_items) > 0
    position = np.arange(len(sequences.item_rows))
    user = row_ids(sequences.user_offsets)
    in_training = position < hidden_begin[user]
    left = in_training | ((position < end[user]) & known[sequences.item_rows])
    whole = _only(sequences, left)
    lengths = hidden_begin - first
    training = whole.truncate(np.arange(whole.num_users), lengths)
    begins, first = session_begins(whole), whole.user_offsets[:-1]
    user = row_ids(whole.user_offsets)
    position = np.arange(len(whole.item_rows))
    targets = np.flatnonzero(position > (first + lengths)[user])
    asked = user[targets]
    points = PredictionPoints(whole.item_rows, first[asked], (first + lengths)[asked], targets, whole.timestamps[targets - 1])
    return LastSession(whole, training, targets, points)


def condensed(
    sequences: Sequences, *, session_events: int = 2, item_events: int = 5, user_sessions: int = 3
) -> tuple[Sequences, Rows]:
    """Drop an item's immediate repetitions within a session, then short sessions, rare items and users with few sessions.

    The three bounds are applied in turn until nothing changes. Items are numbered anew, by falling number of events.

    Args:
        sequences: Not truncated.
        session_events: Least of a session.
        item_events: Least of an item.
        user_sessions: Least of a user.

    Returns:
        The sequences that are left, and the old row of each item, int64 [N].
    """
    items, begins = sequences.item_rows.astype(np.int64), session_begins(sequences)
    user = row_ids(sequences.user_offsets)
    starts = begins == np.arange(len(begins))
    at = np.flatnonzero(starts | np.append(True, items[1:] != items[:-1]))
    session = np.cumsum(starts) - 1
    while True:
        before = len(at)
        at = at[np.bincount(session[at], minlength=1)[session[at]] >= session_events]
        at = at[np.bincount(items[at], minlength=1)[items[at]] >= item_events]
        users_of_sessions = user[at[np.unique(session[at], return_index=True)[1]]]
        at = at[np.bincount(users_of_sessions, minlength=sequences.num_users)[user[at]] >= user_sessions]
        if len(at) == before:
            break
    left = np.zeros(len(items), dtype=np.bool_)
    left[at] = True
    return _renumbered(_only(sequences, left, drop_users=True))


def ranks_of(score: Callable[[Rows], Floats], target_items: Rows, num_items: int, known: npt.NDArray[np.bool_]) -> Rows:
    """Each target's place among the known items, 1 for the best; items that score the same stand before it.

    Args:
        score: Numbers of targets -> float32 [them, N].
        target_items: int64 [P].
        num_items: N.
        known: bool [N], items with events in training; the others are not ranked.
    """
    ranks = np.empty(len(target_items), dtype=np.int64)
    step = max(1, _CELLS_AT_ONCE // max(1, num_items))
    unknown = np.flatnonzero(~known)
    for begin in range(0, len(ranks), step):
        numbers = np.arange(begin, min(begin + step, len(ranks)))
        scores = score(numbers)
        right = scores[np.arange(len(numbers)), target_items[numbers]][:, None]
        beaten_by = np.count_nonzero(scores >= right, axis=1)
        if len(unknown):
            beaten_by -= np.count_nonzero(scores[:, unknown] >= right, axis=1)
        ranks[numbers] = beaten_by
    return ranks


def metrics_of(ranks: Rows) -> dict[str, float]:
    """Recall and mean reciprocal rank at 5, 10 and 20, and NDCG at 25."""
    values = {f"recall_at_{depth}": float((ranks <= depth).mean()) for depth in DEPTHS}
    values |= {f"mean_reciprocal_rank_at_{depth}": float(np.where(ranks <= depth, 1.0 / ranks, 0.0).mean()) for depth in DEPTHS}
    values["normalized_discounted_cumulative_gain_at_25"] = float(np.where(ranks <= 25, 1.0 / np.log2(1.0 + ranks), 0.0).mean())
    return values


def _before_last_session(begins: Rows, first: Rows, end: Rows) -> Rows:
    """Where each user's last session begins, of those that end at `end`."""
    return np.where(end > first, begins[np.maximum(end, 1) - 1], first)


def _only(sequences: Sequences, left: npt.NDArray[np.bool_], drop_users: bool = False) -> Sequences:
    """Some events; a session whose first one is gone starts with its next."""
    begins = session_begins(sequences)[left]
    user = row_ids(sequences.user_offsets)[left]
    lengths = np.bincount(user, minlength=sequences.num_users)
    lengths = lengths[lengths > 0] if drop_users else lengths
    return Sequences(
        offsets_of(lengths),
        sequences.item_rows[left],
        sequences.timestamps[left],
        np.append(True, begins[1:] != begins[:-1])[: len(begins)],
        sequences.event_types[left],
        sequences.num_items,
    )


def _renumbered(sequences: Sequences) -> tuple[Sequences, Rows]:
    counts = sequences.item_counts()
    old_rows = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)].astype(np.int64)
    new_rows = np.zeros(len(counts), dtype=np.int32)
    new_rows[old_rows] = np.arange(len(old_rows), dtype=np.int32)
    renumbered = Sequences(
        sequences.user_offsets,
        new_rows[sequences.item_rows],
        sequences.timestamps,
        sequences.session_starts,
        sequences.event_types,
        len(old_rows),
    )
    return renumbered, old_rows
