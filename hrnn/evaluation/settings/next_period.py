"""Next-period evaluation setting: lists of 25 as of one cut in time, measured against users' items of the days that follow.

    training          | lag | truth                 |
    … all events ≤ cut | –   | cut + lag < events ≤ cut + horizon

All events up to the cut may be learnt from. Lists are read some time after the data end: events in the lag are neither learnt
from nor true. Test users are those with events up to the cut and in the period of the truth; ground truth is the set of items,
known at the cut, of their events in that period. Seen items stay in the lists.

One night is a small sample of nights: where the horizon is a day, lists are measured at several cuts, a horizon apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hrnn.data.arrays import Doubles, Floats, Rows
from hrnn.data.plausible import plausible_span
from hrnn.data.ragged import Ragged, row_ids
from hrnn.data.sequences import Sequences
from hrnn.evaluation import metrics
from hrnn.evaluation.baselines.prediction_points import PredictionPoints, points_after
from hrnn.evaluation.metrics import DEPTH, PerUser

MOST_USERS = 5_000
_DAY = 86_400
_CELLS_AT_ONCE = 1 << 22
_FEW_COLUMNS = 1 << 12  # up to which one partition of all lines is faster than a look at each
_MANY_NIGHTS = 10  # fewer say little of how nights vary
_NORMAL_975 = 1.959964

METRICS = (
    "hit_rate_at_25",
    "recall_at_25",
    "normalized_discounted_cumulative_gain_at_25",
    "mean_reciprocal_rank_at_25",
)
"""Means over the test users, reported beside the coverage."""


@dataclass(frozen=True)
class NextPeriod:
    """Sequences cut at one time, with the ground truth of the period after it.

    Attributes:
        cut: UTC epoch seconds; an event of that second is before the cut.
        training: Histories up to the cut; users who come later have none.
        user_rows: int64 [V], rising, the test users.
        truth: [V] true item rows, each once.
        weights: [V] float32, how much each of them counts: the largest weight of its events.
        known: bool [N], items with events up to the cut.
        horizon_seconds: From the cut to the end of the truth.
        lag_seconds: From the cut to the begin of the truth.
        event_weights: float32 [E], how much each stored event counts; of weight 0 none is true. None: all alike.
    """

    cut: int
    training: Sequences
    user_rows: Rows
    truth: Ragged[np.int64]
    weights: Ragged[np.float32]
    known: npt.NDArray[np.bool_]
    horizon_seconds: int
    lag_seconds: int
    event_weights: Floats | None = None

    def points(self) -> PredictionPoints:
        """Prediction points of the test users, all as of the cut: [V]."""
        return points_after(self.training, self.user_rows, np.full(len(self.user_rows), self.cut, dtype=np.int64))

    def measure(self, lists: Rows) -> dict[str, float]:
        """METRICS, and the share of known items in any list.

        Args:
            lists: int64 [V, 25], best first, -1 fills.
        """
        return metrics.means(self.per_user(lists)) | {"coverage": metrics.coverage(lists, int(self.known.sum()))}

    def per_user(self, lists: Rows) -> PerUser:
        """METRICS of each test user: float64 [V] each.

        Args:
            lists: int64 [V, 25], best first, -1 fills.
        """
        of_users = metrics.per_user_metrics(*metrics.hits_of(lists, self.truth))
        return {name: of_users[name] for name in METRICS}


@dataclass(frozen=True)
class NightsDifference:
    """By how much one list is better than another over several nights.

    Attributes:
        mean: Mean over nights of the mean difference of a night's users.
        low, high: 95 % interval of it.
        over_nights: Standard deviation of the nights' mean differences; 0.0 of one night.
    """

    mean: float
    low: float
    high: float
    over_nights: float


def cut_at(
    sequences: Sequences,
    cut: int,
    horizon_seconds: int,
    *,
    lag_seconds: int = 0,
    seed: int = 0,
    most_users: int = MOST_USERS,
    event_weights: Floats | None = None,
) -> NextPeriod:
    """Cut sequences at a given time.

    Args:
        sequences: Possibly truncated; what is truncated is not true either.
        cut: UTC epoch seconds, of the last second that may be learnt from.
        horizon_seconds: From the cut to the end of the truth.
        lag_seconds: From the cut to the begin of the truth; 0: the lists are read as soon as the data end.
        seed: Of the sample of users.
        most_users: Upper bound of the sample; those of it who have only new items in the period are no test users.
        event_weights: float32 [E], how much each stored event counts; of weight 0 none is true. None: all alike.

    Raises:
        ValueError: The lag is negative, or nothing of the horizon is left after it.
    """
    if not 0 <= lag_seconds < horizon_seconds:
        raise ValueError(f"a lag of {lag_seconds} s: from 0 to less than the horizon, {horizon_seconds} s")
    times = np.asarray(sequences.timestamps)
    user = row_ids(sequences.user_offsets)
    stored = np.arange(len(times)) < (sequences.user_offsets[:-1] + sequences.history_lengths)[user]
    before = np.bincount(user[times <= cut], minlength=sequences.num_users)
    training = sequences.truncate(np.arange(sequences.num_users), before)
    known = training.item_counts() > 0
    after = stored & (times > cut + lag_seconds) & (times <= cut + horizon_seconds) & (before[user] > 0)
    if event_weights is not None:
        after &= event_weights > 0
    # Users are sampled before new items are left out, so that the sample is of those who came back, whatever they took.
    both_sides = np.unique(user[after])
    sample = np.random.Generator(np.random.Philox(key=seed)).permutation(both_sides)[:most_users]
    targets = after & known[sequences.item_rows] & np.isin(user, sample)
    # Truth is a set: an item that is taken daily counts once.
    keys = user[targets] * np.int64(sequences.num_items) + sequences.item_rows[targets]
    pairs, of_events = np.unique(keys, return_inverse=True)
    users, counts = np.unique(pairs // sequences.num_items, return_counts=True)
    truth = Ragged.from_lengths(counts, pairs % sequences.num_items)
    weights = np.zeros(len(pairs), dtype=np.float32)
    np.maximum.at(weights, of_events, 1.0 if event_weights is None else event_weights[targets])
    return NextPeriod(
        cut, training, users, truth, Ragged(truth.offsets, weights), known, horizon_seconds, lag_seconds, event_weights
    )


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
    # One wrong clock would put the horizon where no events are.
    end = plausible_span(np.asarray(sequences.timestamps))[1] if end is None else end
    horizon_seconds = round(horizon_days * _DAY)
    return cut_at(sequences, end - horizon_seconds, horizon_seconds, seed=seed, most_users=most_users)


def several_cuts(end: int, horizon_seconds: int, count: int) -> list[int]:
    """Cuts whose periods lie one after the other and end at `end`, UTC epoch seconds, the newest first."""
    return [end - number * horizon_seconds for number in range(1, count + 1)]


def difference_over_nights(nights: Sequence[tuple[Rows, Doubles, Doubles]]) -> NightsDifference:
    """Compare two lists by one metric over the same users of one night or several; every night has the same weight.

    A user's differences of several nights are not independent: the variance is clustered by user, the nights held fixed, so
    that the interval is that of other users in these nights. `over_nights` says how far nights differ. With ten nights and
    more, the variance is clustered by night too: V = V(user) + V(night) − V(user and night).

    Args:
        nights: Of each: int64 [V] user rows, one metric of the first list, float64 [V], and of the second.

    Raises:
        ValueError: No night, or one without users.

    Source: Cameron, Gelbach, Miller 2011, "Robust Inference With Multiway Clustering", section 2; no correction for few
    clusters, of which there are thousands or the nights are held fixed.
    """
    if not nights or not all(len(users) for users, _, _ in nights):
        raise ValueError("lists are compared over one night at least, and one user in each")
    differences = [ours - theirs for _, ours, theirs in nights]
    means = np.asarray([of_users.mean() for of_users in differences])
    mean, is_many = means.mean(), len(nights) >= _MANY_NIGHTS
    # Each user's part of the mean's error; of nights held fixed, the night's own mean is no error.
    parts = [
        (of_users - (mean if is_many else of_night)) / (len(nights) * len(of_users))
        for of_users, of_night in zip(differences, means, strict=True)
    ]
    all_parts = np.concatenate(parts)
    _, user = np.unique(np.concatenate([users for users, _, _ in nights]), return_inverse=True)
    variance = float((np.bincount(user, all_parts) ** 2).sum())
    if is_many:
        variance += float(sum(of_night.sum() ** 2 for of_night in parts) - (all_parts**2).sum())
    half = _NORMAL_975 * max(0.0, variance) ** 0.5
    spread = float(means.std(ddof=1)) if len(nights) > 1 else 0.0
    return NightsDifference(float(mean), float(mean) - half, float(mean) + half, spread)


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
    lists = np.full((len(scores), DEPTH), -1, dtype=np.int64)
    if scores.shape[1] <= _FEW_COLUMNS:
        lists[:, :depth] = _best_of_few(scores, depth)
        return lists
    least = -np.partition(-scores, depth - 1, axis=1)[:, depth - 1 : depth]
    # Only what reaches the 25th best score is sorted; rows rise among candidates, so that a stable sort breaks ties by row.
    for line, (values, bound) in enumerate(zip(scores, least[:, 0], strict=True)):
        candidates = np.flatnonzero(values >= bound) if bound > -np.inf else np.flatnonzero(values > -np.inf)
        best = candidates[np.argsort(-values[candidates], kind="stable")[:depth]]
        lists[line, : len(best)] = best
    return lists


def _best_of_few(scores: Floats, depth: int) -> Rows:
    """The same by one partition of all lines: a key has the bits of the negated score above the row."""
    bits = (np.float32(0.0) - scores).astype(np.float32, copy=False).view(np.int32)  # of 0.0 and -0.0 the same
    falling = np.where(bits < 0, bits ^ np.int32(0x7FFFFFFF), bits).astype(np.int64)
    keys = np.partition((falling << 32) | np.arange(scores.shape[1]), depth - 1, axis=1)[:, :depth]
    keys.sort(axis=1)
    rows = keys & 0xFFFFFFFF
    return np.where(np.take_along_axis(scores, rows, axis=1) > -np.inf, rows, -1)
