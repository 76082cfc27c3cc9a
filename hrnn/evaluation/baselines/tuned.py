"""Rivals whose settings are chosen on the period before: what an evening's work makes of plain lists.

Half-lives, weights and neighbours are those with the highest NDCG@25 at a cut one horizon earlier, with the same lag; nothing
after the cut is looked at. A half-life that was chosen for a month of purchases says nothing of a day of news.

Only items that may be in a list are scored, the same for choosing as for the lists: they are those of the whole catalogue.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np

from hrnn.data.arrays import Floats, Rows
from hrnn.data.ragged import Ragged, distinct
from hrnn.evaluation.baselines.blend3 import LATEST_EVENTS, Weights
from hrnn.evaluation.baselines.decayed import POPULAR, decayed_counts, own_items, to_unit
from hrnn.evaluation.baselines.frequency_neighbours import FrequencyNeighbours
from hrnn.evaluation.baselines.lists import sampled_users
from hrnn.evaluation.baselines.prediction_points import PredictionPoints
from hrnn.evaluation.baselines.rules import SequentialRules
from hrnn.evaluation.metrics import DEPTH, HEADLINE, means
from hrnn.evaluation.settings.next_period import NextPeriod, best_of, cut_at

_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400
_USERS_AT_ONCE, _CELLS_AT_ONCE = 100, 1 << 22
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
class Sample:
    """What choosing and fitting are bounded by, so that they cost little beside a training; popularity is that of all events.

    Attributes:
        users: That settings are chosen by.
        events: Of whole histories, that rules and neighbours are learnt from.
        neighbours: Users among whom neighbours are looked for.
    """

    users: int = 400
    events: int = 300_000
    neighbours: int = 20_000


SAMPLE = Sample()


@dataclass(frozen=True)
class Tuned:
    """A rival with its chosen settings.

    Attributes:
        settings: In words.
        lists: int64 [V, 25], of the night's test users, best first, -1 fills.
    """

    settings: str
    lists: Rows


def tuned(night: NextPeriod, *, seed: int = 0, sample: Sample = SAMPLE) -> dict[str, Tuned]:
    """Rivals for a night's lists, by their names in hrnn.evaluation.baselines.NIGHTLY.

    Args:
        night: Its training histories are all that is looked at.
        seed: Of the samples.
        sample: How much is looked at.
    """
    horizon = night.horizon_seconds
    cut = cut_at(
        night.training,
        night.cut - horizon,
        horizon,
        lag_seconds=night.lag_seconds,
        seed=seed,
        most_users=sample.users,
        event_weights=night.event_weights,
    )
    earlier = _Scores(cut, seed, sample)
    popularity = HALF_LIVES[_best(cut, _same_for_all(best_of(earlier.popularity(HALF_LIVES)), cut))]
    of_own = _lists(cut, 2 * len(HALF_LIVES), earlier.own_items(HALF_LIVES, popularity, (POPULAR, _POPULAR_IN_BLEND)))
    own, own_in_blend = (HALF_LIVES[_best(cut, lists)] for lists in (of_own[: len(HALF_LIVES)], of_own[len(HALF_LIVES) :]))
    pairs = list(product(NEIGHBOURS, ALPHAS))
    neighbours, alpha = pairs[_best(cut, _lists(cut, len(pairs), earlier.neighbours(NEIGHBOURS, ALPHAS)))]
    weights = WEIGHTS[_best(cut, _lists(cut, len(WEIGHTS), earlier.blend(WEIGHTS, popularity, own_in_blend)))]
    del earlier, of_own  # two are not held at once
    now = _Scores(night, seed, sample)
    return {
        "decayed popularity": Tuned(_half_life(popularity), _same_for_all(best_of(now.popularity((popularity,))), night)[0]),
        "decayed own items": Tuned(_half_life(own), _lists(night, 1, now.own_items((own,), popularity, (POPULAR,)))[0]),
        "TIFU-kNN": Tuned(
            f"{neighbours} neighbours, alpha {alpha:g}", _lists(night, 1, now.neighbours((neighbours,), (alpha,)))[0]
        ),
        "blend3": Tuned(
            f"rules {weights.rules:g}, popularity {weights.popularity:g} ({_half_life(popularity)}), "
            f"own items {weights.own_items:g} ({_half_life(own_in_blend)})",
            _lists(night, 1, now.blend((weights,), popularity, own_in_blend))[0],
        ),
    }


Scored = Iterator[tuple[Rows, Floats]]
"""Of each user: rising item rows, int64 [C], all that may be in a list, and their scores by each of S settings, [S, C]."""


class _Scores:
    """Scores of the rivals at a night's cut, by several settings at once."""

    def __init__(self, night: NextPeriod, seed: int, sample: Sample) -> None:
        self._night, self._num_items = night, night.training.num_items
        positions = night.training.event_positions(np.arange(night.training.num_users)).values
        self._items, self._ages = night.training.item_rows[positions], night.cut - night.training.timestamps[positions]
        random = np.random.Generator(np.random.Philox(key=seed))
        self._of_rules = sampled_users(night.training, random, sample.events)
        self._of_neighbours = sampled_users(night.training, random, sample.events, sample.neighbours)

    def popularity(self, half_lives: tuple[float, ...]) -> Floats:
        """Of all items, -inf of unknown ones: float32 [half-lives, N]."""
        counts = np.empty((len(half_lives), self._num_items), dtype=np.float32)
        for line, half_life in enumerate(half_lives):
            counts[line] = decayed_counts(self._items, self._ages, half_life, self._num_items)
        counts[:, ~self._night.known] = -np.inf
        return counts

    def own_items(self, half_lives: tuple[float, ...], popularity: float, popular_weights: tuple[np.float32, ...]) -> Scored:
        """By each half-life with the first weight of popularity, then with the next one."""
        of_all = to_unit(self.popularity((popularity,)))
        popular = best_of(of_all)[0]
        popular = popular[popular >= 0]
        for points in self._points():
            for own, counts in _own_counts(points, half_lives):
                items = distinct(np.append(own, popular))
                scores = np.zeros((len(half_lives), len(items)), dtype=np.float32)
                scores[:, np.searchsorted(items, own)] = counts
                yield items, np.concatenate([scores + weight * of_all[0, items] for weight in popular_weights])

    def neighbours(self, numbers: tuple[int, ...], alphas: tuple[float, ...]) -> Scored:
        """By the first number of neighbours with each weight of own items, then by the next one."""
        fitted, own_weights = FrequencyNeighbours(self._of_neighbours), np.asarray(alphas)[:, None]
        for points in self._points():
            for own, values, of_others in fitted.parts(points, numbers):
                # Of items that the user never had, only those with the highest means can be in a list.
                others = of_others.copy()
                others[:, own] = -np.inf
                best = best_of(others)
                items = distinct(np.append(own, best[best >= 0]))
                scores = (1.0 - own_weights) * of_others[:, None, items]
                scores[:, :, np.searchsorted(items, own)] += own_weights * values
                yield items, scores.reshape(-1, len(items)).astype(np.float32)

    def blend(self, all_weights: tuple[Weights, ...], popularity: float, own_half_life: float) -> Scored:
        """By each of the weights."""
        # Without weight they need not be counted.
        needed = any(each.rules for each in all_weights)
        fitted = SequentialRules(self._of_rules, events=LATEST_EVENTS, across_sessions=True) if needed else None
        of_all = to_unit(self.popularity((popularity,)))[0]
        by_popularity = np.argsort(-of_all, kind="stable")[: self._night.known.sum()]
        weights = np.asarray(all_weights, dtype=np.float32)
        for points in self._points():
            shape = len(points), self._num_items
            of_rules = np.zeros(shape, dtype=np.float32) if fitted is None else to_unit(fitted.scores(points))
            for rules, (own, counts) in zip(of_rules, _own_counts(points, (own_half_life,)), strict=True):
                with_evidence = rules > 0
                with_evidence[own] = True
                evident = np.flatnonzero(with_evidence)
                # Of items that neither rules nor the user know, only the most popular can be in a list.
                popular = by_popularity[: len(evident) + DEPTH]
                items = np.sort(np.append(evident, popular[~with_evidence[popular]][:DEPTH]))
                of_own = np.zeros(len(items), dtype=np.float32)
                of_own[np.searchsorted(items, own)] = counts[0]
                yield items, weights @ np.stack([rules[items], of_all[items], of_own])

    def _points(self) -> Iterator[PredictionPoints]:
        points = self._night.points()
        step = max(1, min(_USERS_AT_ONCE, _CELLS_AT_ONCE // max(1, self._num_items)))
        return (points[begin : begin + step] for begin in range(0, len(points), step))


def _own_counts(points: PredictionPoints, half_lives: tuple[float, ...]) -> Scored:
    """Each user's own items and their decayed counts over the greatest of them."""
    num_items = points.sequences.num_items
    point, item, ages = own_items(points)
    keys, pair = np.unique(point * num_items + item, return_inverse=True)
    counts = np.stack([decayed_counts(pair, ages, half_life, len(keys)).astype(np.float32) for half_life in half_lives])
    own = Ragged.from_lengths(np.bincount(keys // num_items, minlength=len(points)), keys % num_items)
    return ((own.values[begin:end], to_unit(counts[:, begin:end])) for begin, end in pairwise(own.offsets))


def _lists(night: NextPeriod, num_settings: int, scored: Iterable[tuple[Rows, Floats]]) -> Rows:
    """The best 25 of each user by each setting: int64 [S, V, 25], -1 fills."""
    lists = np.full((num_settings, len(night.user_rows), DEPTH), -1, dtype=np.int64)
    for user, (items, scores) in enumerate(scored):
        best = best_of(scores)
        lists[:, user] = np.where(best >= 0, items[best], -1)
    return lists


def _same_for_all(lists: Rows, night: NextPeriod) -> Rows:
    """One list by each setting, for each user: int64 [S, V, 25]."""
    return np.broadcast_to(lists[:, None], (len(lists), len(night.user_rows), DEPTH))


def _best(night: NextPeriod, lists: Rows) -> int:
    """Which of the settings has the highest NDCG@25, the first of equal ones."""
    return int(np.argmax([means(night.per_user(of_setting))[HEADLINE] for of_setting in lists]))


def _half_life(seconds: float) -> str:
    if seconds == np.inf:
        return "no decay"
    for unit, length in (("d", _DAY), ("h", _HOUR)):
        if seconds >= 2 * length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds / _MINUTE:.3g} min"
