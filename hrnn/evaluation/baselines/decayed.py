"""Counts that decay: an event counts 2^(−age / half-life).

Ages are taken from the prediction, or from the user's latest event, never from a fixed date: weights are 1 at most.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from hrnn.data.arrays import Doubles, Floats, Rows
from hrnn.data.sequences import Sequences
from hrnn.evaluation.baselines.prediction_points import PredictionPoints

POPULAR = np.float32(1e-3)  # of popularity beside own items: it orders those of one basket, and the rest


def decayed_counts(rows: npt.NDArray[np.integer[Any]], ages: Rows, half_life_seconds: float, length: int) -> Doubles:
    """Sum of 2^(−age / half-life) of the events of each row.

    Args:
        rows: Integers [E], of events.
        ages: int64 [E], seconds, from 0.
        half_life_seconds: Above 0; infinite: all events count 1.
        length: Number of rows.

    Returns:
        float64 [length].

    Raises:
        ValueError: The half-life is not above 0.
    """
    if not half_life_seconds > 0:
        raise ValueError(f"a half-life of {half_life_seconds} s: above 0")
    return np.bincount(rows, np.exp2(-ages / half_life_seconds), minlength=length).astype(np.float64)


class DecayedPopularity:
    """An item's score is its decayed number of events up to the prediction.

    Args:
        sequences: Training events, possibly truncated.
        half_life_seconds: Above 0.
    """

    def __init__(self, sequences: Sequences, half_life_seconds: float) -> None:
        positions = sequences.event_positions(np.arange(sequences.num_users)).values
        order = np.argsort(sequences.timestamps[positions], kind="stable")
        self._times = np.asarray(sequences.timestamps[positions[order]])
        self._items = np.asarray(sequences.item_rows[positions[order]])
        self._half_life_seconds, self._num_items = half_life_seconds, sequences.num_items

    def scores(self, points: PredictionPoints) -> Floats:
        """The same for everybody at one time."""
        scores = np.empty((len(points), self._num_items), dtype=np.float32)
        counts, counted, latest = np.zeros(self._num_items), 0, 0
        # In order of time, so that every event is counted once, and only decays afterwards.
        for point in np.argsort(points.as_of, kind="stable"):
            time = int(points.as_of[point])
            until = int(np.searchsorted(self._times, time, side="right"))
            if counted and time > latest:
                counts *= np.exp2((latest - time) / self._half_life_seconds)
            if until > counted:
                ages = time - self._times[counted:until]
                counts += decayed_counts(self._items[counted:until], ages, self._half_life_seconds, self._num_items)
            scores[point] = counts
            counted, latest = until, time
        return scores


class DecayedOwnItems:
    """An item's score is the user's own decayed number of sessions with it, scaled, and a little of decayed popularity, if any.

    Args:
        sequences: Training events, possibly truncated.
        half_life_seconds: Above 0, of own items.
        popularity_half_life_seconds: Above 0; None: what the user never had scores 0.
    """

    def __init__(
        self, sequences: Sequences, half_life_seconds: float, popularity_half_life_seconds: float | None = None
    ) -> None:
        self._half_life_seconds, self._num_items = half_life_seconds, sequences.num_items
        others = popularity_half_life_seconds
        self._popularity = None if others is None else DecayedPopularity(sequences, others)

    def scores(self, points: PredictionPoints) -> Floats:
        """From 0 to 1 without popularity, which adds POPULAR to the most popular item."""
        point, items, ages = own_items(points)
        rows, cells = point * self._num_items + items, len(points) * self._num_items
        counts = decayed_counts(rows, ages, self._half_life_seconds, cells).astype(np.float32)
        scores = to_unit(counts.reshape(len(points), self._num_items))
        return scores if self._popularity is None else scores + POPULAR * to_unit(self._popularity.scores(points))


def to_unit(scores: Floats) -> Floats:
    """Each line over its greatest score, in place; scores are 0 at least."""
    scores /= np.maximum(scores.max(axis=1, keepdims=True), np.finfo(np.float32).tiny)
    return scores


def own_items(points: PredictionPoints) -> tuple[Rows, Rows, Rows]:
    """What each point's user has had: number of the point, item row and age in seconds, int64 each; once a session.

    Ages are taken from the user's latest event: from the prediction, own counts would be the same but for a factor.
    """
    events, sequences = points.histories(), points.sequences
    point, items, times = events.row_ids(), points.item_rows[events.values].astype(np.int64), sequences.timestamps
    begins = np.array(sequences.session_starts[events.values])
    begins[events.offsets[:-1]] = True
    _, first = np.unique(np.cumsum(begins) * sequences.num_items + items, return_index=True)
    return point[first], items[first], times[points.end[point[first]] - 1] - times[events.values[first]]
