"""Bootstrap confidence intervals of metrics, metrics of slices of users and items, and beyond-accuracy metrics of lists."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from hrnn.data.arrays import Rows
from hrnn.data.ragged import Ragged
from hrnn.evaluation import metrics
from hrnn.evaluation.agreement import gini
from hrnn.evaluation.metrics import PerUser

Intervals = dict[str, tuple[float, float]]

RESAMPLES = 1_000
SLICE_METRICS = ("normalized_discounted_cumulative_gain_at_25", "mean_reciprocal_rank_at_25", "recall_at_25")
_AT_ONCE = 1 << 22  # draws, 32 MiB a table of them


def bootstrap_intervals(rows: Mapping[str, PerUser], *, seed: int = 0, resamples: int = RESAMPLES) -> dict[str, Intervals]:
    """95 % percentile-bootstrap intervals of each metric's mean; users are resampled alike for all rows, with replacement.

    Args:
        rows: Row's name -> metric -> float64 [V], of the same users.
        seed: Of the draws.
        resamples: Number of bootstrap samples.

    Returns:
        Row's name -> metric -> (2.5th, 97.5th percentile of the means); (0, 0) where there is no user.
    """
    if not rows:
        return {}
    values = np.stack([values for of_users in rows.values() for values in of_users.values()], axis=1)
    users = len(values)
    bounds = np.zeros((2, values.shape[1]))
    if users:
        random = np.random.Generator(np.random.Philox(key=seed))
        means = []
        for begin in range(0, resamples, step := max(1, _AT_ONCE // users)):
            samples = min(step, resamples - begin)
            # A sample is how often each user is in it: the means of all metrics are then one matrix product.
            drawn = random.integers(0, users, (samples, users)) + np.arange(samples)[:, None] * users
            times = np.bincount(drawn.reshape(-1), minlength=samples * users).reshape(samples, users)
            means.append(times.astype(np.float64) @ values / users)
        bounds = np.percentile(np.concatenate(means), [2.5, 97.5], axis=0)
    in_order = iter(zip(*bounds.tolist(), strict=True))
    return {name: {metric: next(in_order) for metric in of_users} for name, of_users in rows.items()}


def length_terciles(lengths: Rows) -> dict[str, npt.NDArray[np.bool_]]:
    """Users by tercile of history length, bool [V] each; equal lengths stay together."""
    if len(lengths) == 0:
        return {}
    low, high = np.quantile(lengths, [1 / 3, 2 / 3], method="lower")  # lengths that occur, so that names are whole numbers
    return {
        f"history of at most {low} events": lengths <= low,
        f"history of {low + 1} to {high} events": (lengths > low) & (lengths <= high),
        f"history of more than {high} events": lengths > high,
    }


def popularity_classes(num_events: Rows) -> dict[str, npt.NDArray[np.bool_]]:
    """Head, middle and tail items, bool [N] each: the most popular ones that have a third of all events, the next, the rest."""
    order = np.argsort(-num_events, kind="stable")
    before = np.cumsum(num_events[order]) - num_events[order]
    third = np.empty(len(order), dtype=np.int64)
    third[order] = np.minimum(3 * before // max(1, int(num_events.sum())), 2)  # 3 for items without events, at the end
    return {f"{name} items": third == at for at, name in enumerate(("head", "middle", "tail"))}


def slice_metrics(
    lists: Mapping[str, Rows], users: Rows, truth: Ragged[np.int64], kept: npt.NDArray[np.bool_]
) -> dict[str, dict[str, float]]:
    """Metrics of every row over a slice of the users and of their true items.

    Args:
        lists: Row's name -> [V, 25].
        users: int64, which of the V users are in the slice.
        truth: [V] item rows.
        kept: bool, which true items are; users without any are left out.

    Returns:
        Row's name -> SLICE_METRICS, and `users`.
    """
    true_users = truth.row_ids()
    counts = np.bincount(true_users[kept], minlength=len(truth))
    with_truth = users[counts[users] > 0]
    truth = Ragged.from_lengths(counts[with_truth], truth.values[kept & np.isin(true_users, with_truth)])
    rows = {}
    for name, listed in lists.items():
        means = metrics.means(metrics.per_user_metrics(*metrics.hits_of(listed[with_truth], truth)))
        rows[name] = {metric: means[metric] for metric in SLICE_METRICS} | {"users": float(len(with_truth))}
    return rows


def catalogue_metrics(lists: Rows, num_events: Rows) -> dict[str, float]:
    """Coverage, inequality and novelty of lists.

    Args:
        lists: [V, 25], -1 fills.
        num_events: int64 [N], events of each item.

    Returns:
        `coverage`: share of items that are in any list. `gini`: inequality of how often items are listed, 0 where all are
        alike. `novelty`: mean of -log2 of a listed item's share of the events.
    """
    listed = lists[lists >= 0]
    size = len(num_events)
    if not len(listed):
        return {"coverage": 0.0, "gini": 0.0, "novelty": 0.0}
    share = (num_events + 0.5) / (num_events.sum() + 0.5 * size)  # half an event more each: no share is 0, no log infinite
    return {
        "coverage": metrics.coverage(lists, size),
        "gini": gini(np.unique(listed, return_counts=True)[1], size),
        "novelty": float(-np.log2(share[listed]).mean()),
    }
