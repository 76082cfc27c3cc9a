"""TIFU-kNN: how often and how lately the user, and users alike, took an item.

A user's n baskets, the sessions, are split into m = min(groups, n) groups of about the same size, the newest ones the larger:

    group(g)  = sum over its s baskets j, the oldest first, of within^(s − j) · basket(j) / s
    vector(u) = sum over groups g, the oldest first, of between^(m − g) · group(g) / m
    score(i)  = alpha · vector(u)[i] + (1 − alpha) · mean of vector(v)[i] over the nearest users v, by Euclidean distance

Source: Hu, He, Gao, Zhang 2020, "Modeling Personalized Item Frequency Information for Next-basket Recommendation", section 4.
Deviation: the nearest users may be the user too, of a weight of 1 / neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.sparse import csr_array

from hrnn.data.arrays import Doubles, Floats, Rows
from hrnn.data.ragged import Ragged, distinct, offsets_of, positions_of
from hrnn.data.sequences import Sequences
from hrnn.evaluation.baselines.prediction_points import PredictionPoints
from hrnn.evaluation.baselines.sparse import summed


@dataclass(frozen=True)
class Decay:
    """How baskets are weighed.

    Attributes:
        groups: Most groups of baskets, at least 1.
        within: Ratio of the weights of successive baskets of a group, above 0 and at most 1.
        between: That of successive groups.
    """

    groups: int = 7
    within: float = 0.9
    between: float = 0.7


DECAY = Decay()


class FrequencyNeighbours:
    """TIFU-kNN.

    Args:
        sequences: Training events, possibly truncated.
        neighbours: Number of nearest users.
        alpha: Weight of the user's own items, from 0 to 1.
        decay: Of the baskets.

    Raises:
        ValueError: There are no neighbours or groups, or a weight or ratio is out of bounds.
    """

    def __init__(self, sequences: Sequences, neighbours: int = 300, alpha: float = 0.7, decay: Decay = DECAY) -> None:
        if neighbours < 1 or decay.groups < 1:
            raise ValueError(f"{neighbours} neighbours and {decay.groups} groups: at least 1 each")
        if not (0 <= alpha <= 1 and 0 < decay.within <= 1 and 0 < decay.between <= 1):
            raise ValueError(f"alpha {alpha}, ratios {decay.within} and {decay.between}: from 0 to 1, ratios above 0")
        self._neighbours, self._alpha, self._decay = neighbours, alpha, decay
        self._num_items = sequences.num_items
        # Users without events would be the nearest ones of many.
        users = np.flatnonzero(sequences.history_lengths)
        keys, weights = frequencies(sequences, sequences.event_positions(users), self._decay)
        user, item = keys // self._num_items, keys % self._num_items
        offsets = offsets_of(np.bincount(user, minlength=len(users)))
        # Of half the width, where they can be: the products wait for memory.
        width = np.int32 if len(item) < 1 << 31 else np.int64
        vectors = weights.astype(np.float32), item.astype(width), offsets.astype(width)
        self._vectors = csr_array(vectors, (len(users), self._num_items))
        by_item = np.argsort(item, kind="stable")
        self._users = Ragged.from_lengths(np.bincount(item, minlength=self._num_items), user[by_item])
        self._user_weights = weights[by_item]
        self._squares = np.bincount(user, weights**2, minlength=len(users))

    def scores(self, points: PredictionPoints) -> Floats:
        """One point after the other: users in common items' posting lists, then the vectors of the nearest."""
        scores = np.empty((len(points), self._num_items), dtype=np.float32)
        for point, (items, own, means) in enumerate(self.parts(points, (self._neighbours,))):
            of_point = (1.0 - self._alpha) * means[0]
            of_point[items] += self._alpha * own
            scores[point] = of_point
        return scores

    def parts(self, points: PredictionPoints, numbers: tuple[int, ...]) -> Iterator[tuple[Rows, Doubles, Floats]]:
        """Of each point: the user's items, rising, their values, and the mean vectors of the nearest users.

        Args:
            points: [B].
            numbers: Of nearest users, rising.

        Returns:
            int64 [C], float64 [C], and float32 [numbers, N], of each point.
        """
        keys, weights = frequencies(points.sequences, points.histories(), self._decay)
        bounds = np.searchsorted(keys, np.arange(len(points) + 1) * self._num_items)
        own = [(keys[begin:end] % self._num_items, weights[begin:end]) for begin, end in pairwise(bounds)]
        means = self._means([self._nearest(*of_point, numbers[-1]) for of_point in own], numbers)
        return ((*of_point, of_others) for of_point, of_others in zip(own, means, strict=True))

    def _nearest(self, items: Rows, weights: Doubles, number: int) -> Rows:
        """Rows of the users nearest to a vector, the nearest first."""
        postings = positions_of(self._users.offsets, items)
        shared = np.repeat(weights, postings.lengths) * self._user_weights[postings.values]
        products = np.bincount(self._users.values[postings.values], shared, minlength=len(self._squares))
        return _least(self._squares - 2.0 * products, number)  # distances, squared, less the same for all

    def _means(self, nearest: list[Rows], numbers: tuple[int, ...]) -> Floats:
        """Mean vectors of the first of each point's nearest users: float32 [B, numbers, N]."""
        # Sums of the first ones, then of those that come to them with the next number.
        parts = [users[begin:end] for users in nearest for begin, end in pairwise((0, *numbers))]
        offsets = offsets_of([len(users) for users in parts])
        ones, width = np.ones(offsets[-1], dtype=np.float32), self._vectors.indices.dtype
        chosen = csr_array((ones, np.concatenate(parts).astype(width), offsets.astype(width)), (len(parts), len(self._squares)))
        sums = (chosen @ self._vectors).toarray().reshape(len(nearest), len(numbers), self._num_items)
        means: Floats = sums if len(numbers) == 1 else np.cumsum(sums, axis=1)
        means /= np.maximum(np.minimum(numbers, len(self._squares)), 1).astype(np.float32)[:, None]
        return means


def frequencies(sequences: Sequences, histories: Ragged[np.int64], decay: Decay) -> tuple[Rows, Doubles]:
    """Vectors of B histories.

    Args:
        sequences: Whose events.
        histories: [B] positions of events, oldest first.
        decay: Of the baskets.

    Returns:
        Keys b * N + item row, distinct and rising, and their values, above 0.
    """
    items, starts = sequences.item_rows[histories.values], np.array(sequences.session_starts[histories.values])
    starts[histories.offsets[:-1][histories.lengths > 0]] = True
    history = histories.row_ids()[starts]  # of each basket
    in_baskets = distinct((np.cumsum(starts) - 1) * sequences.num_items + items)  # an item counts once a basket
    basket, item = in_baskets // sequences.num_items, in_baskets % sequences.num_items
    num_baskets = np.bincount(history, minlength=len(histories))
    place = np.arange(len(history)) - offsets_of(num_baskets)[history]
    groups = np.minimum(decay.groups, num_baskets)[history]
    size, larger_groups = np.divmod(num_baskets[history], groups)
    before_larger = (groups - larger_groups) * size
    # Of groups of the smaller size; what lies behind them is in groups of one basket more.
    is_larger = place >= before_larger
    size += is_larger
    group, place_in_group = np.divmod(place - before_larger * is_larger, size)
    group += (groups - larger_groups) * is_larger
    weights = decay.within ** (size - 1 - place_in_group) / size * decay.between ** (groups - 1 - group) / groups
    return summed(history[basket] * sequences.num_items + item, weights[basket])


def _least(distances: Doubles, number: int) -> Rows:
    """Rows of the least distances, the least first, ties by row."""
    bound = np.partition(distances, number - 1)[number - 1] if number < len(distances) else np.inf
    rows = np.flatnonzero(distances <= bound)
    return rows[np.argsort(distances[rows], kind="stable")[:number]]
