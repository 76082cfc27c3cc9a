"""TIFU-kNN: how often and how lately the user, and users alike, took an item.

A user's n baskets, the sessions, are split into m = min(groups, n) groups of about the same size, the newest ones the larger:

    group(g)  = sum over its s baskets j, the oldest first, of within^(s − j) · basket(j) / s
    vector(u) = sum over groups g, the oldest first, of between^(m − g) · group(g) / m
    score(i)  = alpha · vector(u)[i] + (1 − alpha) · mean of vector(v)[i] over the nearest users v, by Euclidean distance

Source: Hu, He, Gao, Zhang 2020, "Modeling Personalized Item Frequency Information for Next-basket Recommendation", section 4.
Deviation: the nearest users may be the user too, of a weight of 1 / neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hrnn.data.arrays import Doubles, Floats, Rows
from hrnn.data.ragged import Ragged, offsets_of, positions_of
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
        num_users, self._num_items = sequences.num_users, sequences.num_items
        keys, weights = frequencies(sequences, sequences.event_positions(np.arange(num_users)), self._decay)
        user, item = keys // self._num_items, keys % self._num_items
        lengths = np.bincount(user, minlength=num_users)
        self._items, self._weights = Ragged.from_lengths(lengths, item), weights
        by_item = np.argsort(item, kind="stable")
        self._users = Ragged.from_lengths(np.bincount(item, minlength=self._num_items), user[by_item])
        self._user_weights = weights[by_item]
        # Users without events would be the nearest ones of many.
        self._squares = np.where(lengths > 0, np.bincount(user, weights**2, minlength=num_users), np.inf)

    def scores(self, points: PredictionPoints) -> Floats:
        """One point after the other: users in common items' posting lists, then the vectors of the nearest."""
        scores = np.empty((len(points), self._num_items), dtype=np.float32)
        for point in range(len(points)):
            own, means = self.parts(points[point : point + 1], (self._neighbours,))
            scores[point] = self._alpha * own + (1.0 - self._alpha) * means[0]
        return scores

    def parts(self, point: PredictionPoints, numbers: tuple[int, ...]) -> tuple[Doubles, Doubles]:
        """The user's own vector, [N], and the mean vector of each of several numbers of neighbours, [numbers, N].

        Args:
            point: One.
            numbers: Of neighbours, rising.
        """
        items, weights = frequencies(point.sequences, point.histories(), self._decay)
        postings = positions_of(self._users.offsets, items)
        shared = np.repeat(weights, postings.lengths) * self._user_weights[postings.values]
        products = np.bincount(self._users.values[postings.values], shared, minlength=len(self._squares))
        distances = self._squares - 2.0 * products  # squared, less the same for all
        nearest = _least(distances, numbers[-1])
        events = positions_of(self._items.offsets, nearest)
        items_of_nearest, weights_of_nearest = self._items.values[events.values], self._weights[events.values]
        means = np.empty((len(numbers), self._num_items))
        for line, number in enumerate(np.minimum(numbers, len(nearest))):
            upto = slice(events.offsets[number])
            means[line] = np.bincount(items_of_nearest[upto], weights_of_nearest[upto], self._num_items) / max(1, number)
        return np.bincount(items, weights, self._num_items).astype(np.float64), means


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
    distinct = np.unique((np.cumsum(starts) - 1) * sequences.num_items + items)  # an item counts once a basket
    basket, item = distinct // sequences.num_items, distinct % sequences.num_items
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
    """Rows of the least distances, the least first, ties by row, infinite ones left out."""
    bound = np.partition(distances, number - 1)[number - 1] if number < len(distances) else np.inf
    rows = np.flatnonzero((distances <= bound) & (distances < np.inf))
    return rows[np.argsort(distances[rows], kind="stable")[:number]]
