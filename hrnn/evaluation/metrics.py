"""Personalize's offline metrics, and two of the literature's, over ranked lists.

Worked example of the developer guide ("Evaluating a solution version with metrics"): five items, hits at ranks 2 and 5, give
reciprocal rank 0.5, NDCG@5 0.6241 and precision@5 0.4. The tests repeat it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from hrnn.data.arrays import Flags, Rows
from hrnn.data.ragged import Ragged, distinct

DEPTH = 25  # length of the lists that are measured
HEADLINE = "normalized_discounted_cumulative_gain_at_25"  # the metric that lists and settings are chosen by
_GAIN = 1.0 / np.log2(1.0 + np.arange(1, DEPTH + 1))

PERSONALIZE_METRICS = (
    "coverage",
    "mean_reciprocal_rank_at_25",
    "normalized_discounted_cumulative_gain_at_5",
    "normalized_discounted_cumulative_gain_at_10",
    "normalized_discounted_cumulative_gain_at_25",
    "precision_at_5",
    "precision_at_10",
    "precision_at_25",
)

PerUser = dict[str, npt.NDArray[np.float64]]


def _discounted_gain(hits: Flags, num_true: Rows) -> npt.NDArray[np.float64]:
    # The best list has all true items in front, as many as it has places.
    best = np.cumsum(_GAIN)[np.minimum(np.maximum(num_true, 1), hits.shape[1]) - 1]
    return np.asarray(hits @ _GAIN[: hits.shape[1]] / best)


# Metric without its depth -> of (hits [V, depth], distinct true items [V]) a number a user [V]; and its depths, at most DEPTH.
METRICS: dict[str, tuple[Callable[[Flags, Rows], npt.NDArray[np.float64]], tuple[int, ...]]] = {
    "mean_reciprocal_rank": (lambda hits, num_true: np.where(hits.any(axis=1), 1.0 / (1 + hits.argmax(axis=1)), 0.0), (25,)),
    "normalized_discounted_cumulative_gain": (_discounted_gain, (5, 10, 25)),
    "precision": (lambda hits, num_true: hits.sum(axis=1) / hits.shape[1], (5, 10, 25)),
    "hit_rate": (lambda hits, num_true: np.asarray(hits.any(axis=1), np.float64), (25,)),
    "recall": (lambda hits, num_true: hits.sum(axis=1) / np.maximum(num_true, 1), (25,)),
}


def hits_of(lists: Rows, truth: Ragged[np.int64]) -> tuple[Flags, Rows]:
    """Hits: which listed items are true.

    Args:
        lists: [V, K] item rows, best first; -1 fills lists that are shorter. No item twice in a list.
        truth: [V] item rows of hidden events; an item that occurs twice counts once.

    Returns:
        hits [V, K], and the number of distinct true items of each user [V].
    """
    # One number a pair of user and item, so that one sorted lookup finds the hits of all users.
    stride = np.int64(max(lists.max(initial=0), truth.values.max(initial=0)) + 1)
    true_pairs = distinct(truth.row_ids() * stride + truth.values)
    listed_pairs = np.arange(len(lists), dtype=np.int64)[:, None] * stride + lists
    found = np.append(true_pairs, -1)[np.searchsorted(true_pairs, listed_pairs)]
    hits = (found == listed_pairs) & (lists >= 0)
    return hits, np.bincount(true_pairs // stride, minlength=len(lists)).astype(np.int64)


def per_user_metrics(hits: npt.NDArray[np.bool_], num_true: npt.NDArray[np.int64]) -> PerUser:
    """Metrics of each user, whose mean over users is reported.

    Args:
        hits: [V, K], K at least 25 (shorter lists are filled with False).
        num_true: [V], distinct true items, at least 1 each.

    Returns:
        Metric name -> float64 [V].
    """
    hits = np.pad(hits, ((0, 0), (0, max(0, DEPTH - hits.shape[1]))))[:, :DEPTH]
    return {
        f"{name}_at_{depth}": of_users(hits[:, :depth], num_true)
        for name, (of_users, depths) in METRICS.items()
        for depth in depths
    }


def coverage(lists: npt.NDArray[np.int64], num_items: int) -> float:
    """Share of the catalogue's items that are in at least one list."""
    return len(np.unique(lists[lists >= 0])) / num_items if num_items else 0.0


def means(values: Mapping[str, npt.NDArray[np.float64]]) -> dict[str, float]:
    """Mean over users of each metric; 0.0 where there is no user."""
    return {name: float(per_user.mean()) if len(per_user) else 0.0 for name, per_user in values.items()}


def paired_difference(ours: npt.NDArray[np.float64], theirs: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Mean difference of one metric over the same users, and its standard error (0.0 for fewer than two users)."""
    difference = ours - theirs
    if len(difference) < 2:
        return float(difference.sum()), 0.0
    return float(difference.mean()), float(difference.std(ddof=1) / np.sqrt(len(difference)))
