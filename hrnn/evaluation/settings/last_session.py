"""Last-session evaluation setting: each user's last session is held out, and its events are predicted one after the other.

Events of the session before the target are input, the whole catalogue is ranked, and seen items stay in. An item that scores
as high as the target is ranked before it: ties never help. Items without events in the training are no targets.

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
    """Sequences with held-out last sessions.

    Attributes:
        sequences: With the held-out sessions, less their items that training has never seen.
        training: The same, truncated before them.
        targets: int64 [P], positions of the events to be predicted, rising.
        points: [P], the prediction point before each of them, as of the latest known event.
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
        """Numbers of the targets of a random sample of held-out sessions, for slow baselines."""
        users = self.target_users
        sample = np.random.Generator(np.random.Philox(key=seed)).permutation(np.unique(users))[:number]
        return np.flatnonzero(np.isin(users, sample))


def hide_last_session(sequences: Sequences, *, back: int = 0) -> LastSession:
    """Hold out each user's last session.

    Args:
        sequences: From `condensed`, not truncated.
        back: 0 for the test; 1 drops the last session and holds out the last but one, to tune hyperparameters on.
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
    # Items that no model can know would only measure how many of them there are.
    chosen = in_training | ((position < end[user]) & known[sequences.item_rows])
    sequences = _only(sequences, chosen)
    lengths = hidden_begin - first
    training = sequences.truncate(np.arange(sequences.num_users), lengths)
    # Positions are anew those of the events that are left. A session's first event has no input: all others are targets.
    first, user = sequences.user_offsets[:-1], row_ids(sequences.user_offsets)
    position = np.arange(len(sequences.item_rows))
    targets = np.flatnonzero(position > (first + lengths)[user])
    users, session_begin = user[targets], (first + lengths)[user[targets]]
    points = PredictionPoints(sequences, first[users], session_begin, targets, sequences.timestamps[targets - 1])
    return LastSession(sequences, training, targets, points)


def condensed(
    sequences: Sequences, *, session_events: int = 2, item_events: int = 5, user_sessions: int = 3
) -> tuple[Sequences, Rows]:
    """Drops an item's immediate repetitions within a session, then short sessions, rare items and users with few sessions.

    The three bounds are applied in turn until nothing changes. Items are numbered anew, by falling number of events.

    Args:
        sequences: Not truncated.
        session_events: Fewest events of a session.
        item_events: Fewest events of an item.
        user_sessions: Fewest sessions of a user.

    Returns:
        The sequences that are left, and the old row of each item, int64 [N].
    """
    items, begins = sequences.item_rows.astype(np.int64), session_begins(sequences)
    user = row_ids(sequences.user_offsets)
    starts = begins == np.arange(len(begins))
    kept = np.flatnonzero(starts | np.append(True, items[1:] != items[:-1]))
    session = np.cumsum(starts) - 1
    # Each bound may undo another: dropping a rare item may leave a session too short.
    while True:
        before = len(kept)
        kept = kept[np.bincount(session[kept], minlength=1)[session[kept]] >= session_events]
        kept = kept[np.bincount(items[kept], minlength=1)[items[kept]] >= item_events]
        users_of_sessions = user[kept[np.unique(session[kept], return_index=True)[1]]]
        kept = kept[np.bincount(users_of_sessions, minlength=sequences.num_users)[user[kept]] >= user_sessions]
        if len(kept) == before:
            break
    chosen = np.zeros(len(items), dtype=np.bool_)
    chosen[kept] = True
    return _renumbered(_only(sequences, chosen, drop_users=True))


def ranks_of(score: Callable[[Rows], Floats], target_items: Rows, num_items: int, known: npt.NDArray[np.bool_]) -> Rows:
    """Rank of each target among the known items, from 1; ties count against it. int64 [P].

    Args:
        score: Numbers of targets -> float32 [them, N].
        target_items: int64 [P].
        num_items: N.
        known: bool [N], items with events in training; the others are not ranked.
    """
    ranks = np.empty(len(target_items), dtype=np.int64)
    step = max(1, _CELLS_AT_ONCE // max(1, num_items))  # bounds memory: scores are [step, N]
    unknown = np.flatnonzero(~known)
    for begin in range(0, len(ranks), step):
        numbers = np.arange(begin, min(begin + step, len(ranks)))
        scores = score(numbers)
        of_targets = scores[np.arange(len(numbers)), target_items[numbers]][:, None]
        at_least = np.count_nonzero(scores >= of_targets, axis=1)  # the target itself included, so that the best rank is 1
        if len(unknown):
            at_least -= np.count_nonzero(scores[:, unknown] >= of_targets, axis=1)
        ranks[numbers] = at_least
    return ranks


def metrics_of(ranks: Rows) -> dict[str, float]:
    """Recall and mean reciprocal rank at 5, 10 and 20, and NDCG at 25."""
    values = {f"recall_at_{depth}": float((ranks <= depth).mean()) for depth in DEPTHS}
    values |= {f"mean_reciprocal_rank_at_{depth}": float(np.where(ranks <= depth, 1.0 / ranks, 0.0).mean()) for depth in DEPTHS}
    # Of one true item the best gain is 1, so that nothing is divided.
    values["normalized_discounted_cumulative_gain_at_25"] = float(np.where(ranks <= 25, 1.0 / np.log2(1.0 + ranks), 0.0).mean())
    return values


def _before_last_session(begins: Rows, first: Rows, end: Rows) -> Rows:
    """Where each user's last session before `end` begins."""
    return np.where(end > first, begins[np.maximum(end, 1) - 1], first)


def _only(sequences: Sequences, chosen: npt.NDArray[np.bool_], drop_users: bool = False) -> Sequences:
    """A subset of the events; a session whose first one is gone starts with its next."""
    begins = session_begins(sequences)[chosen]
    user = row_ids(sequences.user_offsets)[chosen]
    lengths = np.bincount(user, minlength=sequences.num_users)
    lengths = lengths[lengths > 0] if drop_users else lengths
    return Sequences(
        offsets_of(lengths),
        sequences.item_rows[chosen],
        sequences.timestamps[chosen],
        np.append(True, begins[1:] != begins[:-1])[: len(begins)],
        sequences.event_types[chosen],
        sequences.num_items,
    )


def _renumbered(sequences: Sequences) -> tuple[Sequences, Rows]:
    """Items numbered anew by falling number of events, without those that have none; and the old row of each."""
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
