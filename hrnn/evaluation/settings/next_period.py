"""Next-period evaluation setting: lists of 25 as of one cut in time, measured against users' items of the days that follow.

The cut lies a horizon before the end. All events up to it may be learnt from. Test users are those with events on both sides;
ground truth is the set of items, known at the cut, of their events in the horizon. Seen items stay in the lists.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hrnn.data.arrays import Floats, Rows
from hrnn.data.plausible import plausible_span
from hrnn.data.ragged import Ragged, row_ids
from hrnn.data.sequences import Sequences
from hrnn.evaluation import metrics
from hrnn.evaluation.baselines.prediction_points import PredictionPoints, points_after
from hrnn.evaluation.metrics import DEPTH

MOST_USERS = 5_000
_DAY = 86_400
_CELLS_AT_ONCE = 1 << 22


@dataclass(frozen=True)
class NextPeriod:
    """Sequences cut at one time, with the ground truth of the period after it.

    Attributes:
        cut: UTC epoch seconds; an event of that second is before the cut.
        training: Histories up to the cut; users who come later have none.
        user_rows: int64 [V], rising, the test users.
        truth: [V] true item rows, each once.
        known: bool [N], items with events up to the cut.
    """

    cut: int
    training: Sequences
    user_rows: Rows
    truth: Ragged[np.int64]
    known: npt.NDArray[np.bool_]

    def points(self) -> PredictionPoints:
        """Prediction points of the test users, all as of the cut: [V]."""
        return points_after(self.training, self.user_rows, np.full(len(self.user_rows), self.cut, dtype=np.int64))

    def measure(self, lists: Rows) -> dict[str, float]:
        """Hit rate, recall, NDCG and reciprocal rank at 25, and the share of known items in any list.

        Args:
            lists: int64 [V, 25], best first, -1 fills.
        """
        hits, num_true = metrics.hits_of(lists, self.truth)
        means = metrics.means(metrics.per_user_metrics(hits, num_true))
        names = (
            "hit_rate_at_25",
            "recall_at_25",
            "normalized_discounted_cumulative_gain_at_25",
            "mean_reciprocal_rank_at_25",
        )
        return {name: means[name] for name in names} | {"coverage": metrics.coverage(lists, int(self.known.sum()))}


def cut_at_horizon(
    sequences: Sequences, horizon_days: float, *, end: int | None = None, seed: int = 0, most_users: int = MOST_USERS
) -> NextPeriod:
    """Cut sequences a horizon before their last event, or before a given end.

    Args:
        sequences: Not truncated.
        horizon_days: Length of the horizon.
        end: UTC epoch seconds; events after it are ignored. None: the last event whose time can be true.
        seed: Of the sample of users.
        most_users: Upper bound of the sample; those of it who have only new items in the horizon are no test users.
    """
    times = np.asarray(sequences.timestamps)
    end = plausible_span(times)[1] if end is None else end  # one wrong clock would put the horizon where no events are
    cut = end - round(horizon_days * _DAY)
    user = row_ids(sequences.user_offsets)
    before = np.bincount(user[times <= cut], minlength=sequences.num_users)
    training = sequences.truncate(np.arange(sequences.num_users), before)
    known = training.item_counts() > 0
    after = (times > cut) & (times <= end) & (before[user] > 0)
    # Users are sampled before new items are left out, so that the sample is of those who came back, whatever they took.
    both_sides = np.unique(user[after])
    sample = np.random.Generator(np.random.Philox(key=seed)).permutation(both_sides)[:most_users]
    targets = after & known[sequences.item_rows] & np.isin(user, sample)
    # Truth is a set: an item that is taken daily counts once.
    pairs = np.unique(user[targets] * np.int64(sequences.num_items) + sequences.item_rows[targets])
    users, counts = np.unique(pairs // sequences.num_items, return_counts=True)
    return NextPeriod(cut, training, users, Ragged.from_lengths(counts, pairs % sequences.num_items), known)


def lists_of(score: Callable[[PredictionPoints], Floats], points: PredictionPoints, known: npt.NDArray[np.bool_]) -> Rows:
    """The 25 best known items at each prediction point, ties by item row: int64 [B, 25], -1 where fewer may be recommended.

    Args:
        score: A baseline's `scores`.
        points: [B].
        known: bool [N].
    """
    lists = np.full((len(points), DEPTH), -1, dtype=np.int64)
    step = max(1, _CELLS_AT_ONCE // max(1, len(known)))  # bounds memory: scores are [step, N]
    for begin in range(0, len(points), step):
        scores = score(points[begin : begin + step])
        scores[:, ~known] = -np.inf
        lists[begin : begin + step] = best_of(scores)
    return lists


def best_of(scores: Floats) -> Rows:
    """Rows of each line's 25 best scores, ties by row: int64 [B, 25], -1 in place of -inf and beyond the last column."""
    depth = min(DEPTH, scores.shape[1])
    least = -np.partition(-scores, depth - 1, axis=1)[:, depth - 1 : depth]
    lists = np.full((len(scores), DEPTH), -1, dtype=np.int64)
    # Only what reaches the 25th best score is sorted; rows rise among candidates, so that a stable sort breaks ties by row.
    for line, (values, bound) in enumerate(zip(scores, least[:, 0], strict=True)):
        candidates = np.flatnonzero(values >= bound) if bound > -np.inf else np.flatnonzero(values > -np.inf)
        best = candidates[np.argsort(-values[candidates], kind="stable")[:depth]]
        lists[line, : len(best)] = best
    return lists
