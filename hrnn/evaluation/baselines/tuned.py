"""Rivals whose settings are chosen on the period before: what an evening's work makes of plain lists.

Half-lives, weights and neighbours are those with the highest NDCG@25 at a cut one horizon earlier, with the same lag; nothing
after the cut is looked at. A half-life that was chosen for a month of purchases says nothing of a day of news.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product

import numpy as np

from hrnn.data.arrays import Floats, Rows
from hrnn.data.sequences import Sequences
from hrnn.evaluation import metrics
from hrnn.evaluation.baselines import Fit
from hrnn.evaluation.baselines.blend3 import Blend3, Weights
from hrnn.evaluation.baselines.decayed import POPULAR, DecayedOwnItems, DecayedPopularity, decayed_counts, own_items, to_unit
from hrnn.evaluation.baselines.frequency_neighbours import FrequencyNeighbours
from hrnn.evaluation.baselines.prediction_points import PredictionPoints
from hrnn.evaluation.metrics import DEPTH
from hrnn.evaluation.settings.next_period import NextPeriod, best_of, cut_at

MOST_USERS = 2_000

_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400
_METRIC = "normalized_discounted_cumulative_gain_at_25"
_CELLS_AT_ONCE = 1 << 22
_POPULAR_IN_BLEND = np.float32(0.3)  # about what popularity weighs beside own items, where these count

# Of equally good settings the first is chosen: no decay, and what that needs least.
HALF_LIVES: tuple[float, ...] = (np.inf, *np.geomspace(16 * 7 * _DAY, 5 * _MINUTE, 31).tolist())
NEIGHBOURS = (100, 300, 900)
# Neighbours and popularity are never without weight: they order what the user has not had.
ALPHAS = (0.99, 0.9, 0.7, 0.5, 0.3, 0.1)
WEIGHTS = tuple(
    Weights(*each)
    for each in product((0.0, 0.03, 0.1, 0.3, 1.0), (0.001, 0.03, 0.1, 0.3, 1.0), (0.0, 0.03, 0.1, 0.3, 1.0))
    if max(each) == 1.0
)


@dataclass(frozen=True)
class Tuned:
    """A baseline with its chosen settings.

    Attributes:
        fit: Makes it.
        settings: In words.
    """

    fit: Fit
    settings: str


def tuned(
    sequences: Sequences,
    cut: int,
    horizon_seconds: int,
    *,
    lag_seconds: int = 0,
    seed: int = 0,
    most_users: int = MOST_USERS,
) -> dict[str, Tuned]:
    """Rivals for lists as of a cut, by name.

    Args:
        sequences: Events after the cut are not looked at.
        cut: UTC epoch seconds.
        horizon_seconds: Of the truth that the lists are measured by.
        lag_seconds: From the cut to the begin of that truth.
        seed: Of the sample of users that settings are chosen by.
        most_users: Its upper bound.

    Raises:
        ValueError: See `cut_at`.
    """
    earlier = cut_at(
        sequences, cut - horizon_seconds, horizon_seconds, lag_seconds=lag_seconds, seed=seed, most_users=most_users
    )
    popularity = _popularity_half_life(earlier)
    own = _own_half_life(earlier, popularity, POPULAR)
    neighbours, alpha = _neighbours(earlier)
    own_in_blend = _own_half_life(earlier, popularity, _POPULAR_IN_BLEND)
    weights = _weights(earlier, popularity, own_in_blend)
    return {
        "decayed popularity": Tuned(
            partial(DecayedPopularity, half_life_seconds=popularity),
            _half_life(popularity),
        ),
        "decayed own items": Tuned(
            partial(DecayedOwnItems, half_life_seconds=own, popularity_half_life_seconds=popularity),
            _half_life(own),
        ),
        "TIFU-kNN": Tuned(
            partial(FrequencyNeighbours, neighbours=neighbours, alpha=alpha),
            f"{neighbours} neighbours, alpha {alpha:g}",
        ),
        "blend3": Tuned(
            partial(
                Blend3,
                weights=weights,
                popularity_half_life_seconds=popularity,
                own_half_life_seconds=own_in_blend,
            ),
            f"rules {weights.rules:g}, popularity {weights.popularity:g} ({_half_life(popularity)}), "
            f"own items {weights.own_items:g} ({_half_life(own_in_blend)})",
        ),
    }


def _popularity_half_life(earlier: NextPeriod) -> float:
    lists = best_of(_popular(earlier, HALF_LIVES))
    return HALF_LIVES[_best(earlier, np.broadcast_to(lists[:, None], (len(lists), len(earlier.user_rows), DEPTH)))]


def _popular(earlier: NextPeriod, half_lives: tuple[float, ...]) -> Floats:
    """Decayed popularity at the cut, -inf of unknown items: float32 [half-lives, N]."""
    training, num_items = earlier.training, earlier.training.num_items
    positions = training.event_positions(np.arange(training.num_users)).values
    items, ages = training.item_rows[positions], earlier.cut - training.timestamps[positions]
    counts = np.stack([decayed_counts(items, ages, half_life, num_items).astype(np.float32) for half_life in half_lives])
    counts[:, ~earlier.known] = -np.inf
    return counts


def _own_half_life(earlier: NextPeriod, popularity_half_life: float, popular_weight: np.float32) -> float:
    popularity = to_unit(_popular(earlier, (popularity_half_life,)))
    popular = best_of(popularity)[0]
    popular = popular[popular >= 0]

    def candidates() -> Iterator[tuple[Rows, Floats]]:
        for point in _one_by_one(earlier):
            _, events, ages = own_items(point)
            items = np.union1d(events, popular)
            place = np.searchsorted(items, events)
            counts = [decayed_counts(place, ages, half_life, len(items)).astype(np.float32) for half_life in HALF_LIVES]
            yield items, to_unit(np.stack(counts)) + popular_weight * popularity[0, items]

    return HALF_LIVES[_best(earlier, _lists(earlier, len(HALF_LIVES), candidates()))]


def _neighbours(earlier: NextPeriod) -> tuple[int, float]:
    fitted, alphas = FrequencyNeighbours(earlier.training), np.asarray(ALPHAS)[:, None]

    def candidates() -> Iterator[tuple[Rows, Floats]]:
        for point in _one_by_one(earlier):
            own, means = fitted.parts(point, NEIGHBOURS)
            # Of items that the user never had, only those with the highest means can be in a list.
            others = best_of(np.where(own > 0, -np.inf, means).astype(np.float32))
            items = np.union1d(np.flatnonzero(own), others[others >= 0])
            scores = np.concatenate([alphas * own[items] + (1.0 - alphas) * mean[items] for mean in means])
            yield items, scores.astype(np.float32)

    settings = list(product(NEIGHBOURS, ALPHAS))
    return settings[_best(earlier, _lists(earlier, len(settings), candidates()))]


def _weights(earlier: NextPeriod, popularity_half_life: float, own_half_life: float) -> Weights:
    blend, points = Blend3(earlier.training, WEIGHTS[0], popularity_half_life, own_half_life), earlier.points()
    step = max(1, _CELLS_AT_ONCE // max(1, len(earlier.known)))
    weights = np.asarray(WEIGHTS, dtype=np.float32)
    popular = np.argsort(-_popular(earlier, (popularity_half_life,))[0], kind="stable")[: earlier.known.sum()]

    def candidates() -> Iterator[tuple[Rows, Floats]]:
        for begin in range(0, len(points), step):
            parts = np.stack(blend.parts(points[begin : begin + step]), axis=1)
            for rules, popularity, own in parts:
                # Of items that neither rules nor the user know, only the most popular can be in a list.
                with_evidence = (rules > 0) | (own > 0)
                others = popular[~with_evidence[popular]][:DEPTH]
                items = np.sort(np.append(np.flatnonzero(with_evidence), others))
                yield items, weights @ np.stack([rules[items], popularity[items], own[items]])

    return WEIGHTS[_best(earlier, _lists(earlier, len(WEIGHTS), candidates()))]


def _one_by_one(earlier: NextPeriod) -> Iterator[PredictionPoints]:
    points = earlier.points()
    return (points[number : number + 1] for number in range(len(points)))


def _lists(earlier: NextPeriod, num_settings: int, candidates: Iterable[tuple[Rows, Floats]]) -> Rows:
    """Lists of all settings, user after user: only scores that may be in one are compared.

    Args:
        earlier: With V test users.
        num_settings: S.
        candidates: Of each user: item rows, [C], and their scores by each setting, [S, C].

    Returns:
        int64 [S, V, 25], -1 fills.
    """
    lists = np.full((num_settings, len(earlier.user_rows), DEPTH), -1, dtype=np.int64)
    for user, (items, scores) in enumerate(candidates):
        best = best_of(scores)
        lists[:, user] = np.where(best >= 0, items[best], -1)
    return lists


def _best(earlier: NextPeriod, lists: Rows) -> int:
    """Which of the settings has the highest NDCG@25, the first of equal ones."""
    return int(np.argmax([metrics.means(earlier.per_user(of_setting))[_METRIC] for of_setting in lists]))


def _half_life(seconds: float) -> str:
    if seconds == np.inf:
        return "no decay"
    for unit, length in (("d", _DAY), ("h", _HOUR)):
        if seconds >= 2 * length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds / _MINUTE:.3g} min"
