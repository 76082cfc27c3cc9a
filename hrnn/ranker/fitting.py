"""Fits a ranker on earlier moments, and asks of the newest one whether it beats the convex blend.

Trees that have seen only moments whose period had passed by the newest moment are measured there: how many of each objective
are best, and whether their average is better than the blend, is learnt so. The trees that serve learn from all moments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
from scipy.optimize import minimize_scalar

from hrnn.data.arrays import Doubles, Floats, Rows
from hrnn.data.ragged import Ragged, find_keys
from hrnn.evaluation.baselines.tuned import tuned
from hrnn.evaluation.metrics import DEPTH, HEADLINE, PerUser, means, paired_difference
from hrnn.evaluation.settings.next_period import NextPeriod
from hrnn.ranker.candidates import CandidateSources
from hrnn.ranker.features import FEATURES, features_of, names_of
from hrnn.ranker.knowledge import Knowledge
from hrnn.ranker.moments import horizon_passed
from hrnn.ranker.trees import OBJECTIVES, Examples, Growing, Ranker, averaged

T = TypeVar("T")
USERS = 600  # of a moment that are learnt from
MOST_MEASURED = 2_000  # of the newest one, that lists are measured with
_FEWEST = 100  # users with something true among their candidates, in all moments before the newest
_NEGATIVES = 70  # a user
_AT_ONCE = 500  # users
_PATIENCE = 50  # trees without better lists, after which no more are tried
_BLEND = FEATURES.index("blend")


@dataclass(frozen=True)
class Rival:
    """A plain list, tuned on the period before the newest moment (hrnn/evaluation/baselines/tuned.py).

    Attributes:
        settings: Chosen, in words.
        metrics: Of its lists.
        gain: Mean difference in NDCG@25, the list that serves less this one, and its standard error.
    """

    settings: str
    metrics: dict[str, float]
    gain: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class FittedRanker:
    """A ranker, and how its lists compare with the convex blend's and with plain ones at the newest moment.

    Attributes:
        ranker: Of all moments; None: there was too little to learn from, and the blend serves.
        num_trees: Of each objective, that did best at the newest moment.
        users: That lists were measured with.
        ranked, blended: Metrics of the lists of either.
        gain: Mean difference in NDCG@25, ranker less blend, and its standard error.
        rivals: By name, of the same users.
        candidate_recall: Mean share of a user's true items that are among the candidates.
        recall_of_sources: The same, of each source alone.
    """

    ranker: Ranker | None
    num_trees: dict[str, int] = field(default_factory=dict)
    users: int = 0
    ranked: dict[str, float]
    blended: dict[str, float]
    gain: tuple[float, float] = (0.0, 0.0)
    rivals: dict[str, Rival] = field(default_factory=dict)
    candidate_recall: float = 0.0
    recall_of_sources: dict[str, float]

    @property
    def serves(self) -> bool:
        """Whether the ranker's lists are better than the blend's."""
        return self.ranker is not None and self.gain[0] > 0


@dataclass(frozen=True)
class Newest:
    """Everything that lists at the newest moment are made from and measured by.

    Attributes:
        night: What came true.
        user_rows: int64 [V], a sample of its users.
        items: [V] candidates.
        features: Of these.
        names: Of the features.
        recall, recall_of_sources: As FittedRanker's.
    """

    night: NextPeriod
    user_rows: Rows
    items: Ragged[np.int64]
    features: Floats
    names: tuple[str, ...]
    recall: float
    recall_of_sources: dict[str, float]

    def lists(self, scores: Doubles | Floats) -> Rows:
        """The 25 best candidates: int64 [V, 25], -1 fills; users who were not drawn have none."""
        users = self.items.row_ids()
        order = np.lexsort((-scores, users))
        place = np.arange(len(order)) - self.items.offsets[users[order]]
        listed = order[place < DEPTH]
        lists = np.full((len(self.user_rows), DEPTH), -1, dtype=np.int64)
        lists[users[listed], place[place < DEPTH]] = self.items.values[listed]
        return lists


def fit_ranker(
    moments: Iterable[tuple[Knowledge, NextPeriod]], horizon_seconds: int, seed: int, without: tuple[str, ...] = ()
) -> FittedRanker:
    """Fit trees on several moments, one after the other.

    Args:
        moments: What was known at each, and what came then, the oldest first; consumed one at a time.
        horizon_seconds: The period that lists are made for.
        seed: Of the draws of users and negatives, and of the trees.
        without: Sources of candidates that are left out.
    """
    times, examples = [], []
    for knowledge, night in moments:
        sources = CandidateSources(knowledge, without)
        times.append(knowledge.as_of)
        examples.append(examples_of(sources, night, seed))
    return fit_from_examples(times, examples, newest_of(sources, night, seed), horizon_seconds, seed)


def fit_from_examples(
    times: Sequence[int], examples: Sequence[Examples], newest: Newest, horizon_seconds: int, seed: int
) -> FittedRanker:
    """Fit trees on the examples of several moments.

    Args:
        times: Of the moments, UTC epoch seconds, rising.
        examples: Of each.
        newest: Lists of the last one.
        horizon_seconds: The period that lists are made for.
        seed: Of the trees.
    """
    earlier = [each for time, each in zip(times, examples, strict=True) if horizon_passed(time, times[-1], horizon_seconds)]
    if sum(np.count_nonzero(each.lengths) for each in earlier) < _FEWEST or not len(newest.user_rows):
        return FittedRanker(ranker=None, ranked={}, blended={}, recall_of_sources={})
    grown = Growing(earlier)
    tried = _for_each_objective(lambda objective: _best_number(grown, objective, newest, seed))
    scores = averaged([each.logits for each in tried], newest.features)
    lists, of_blend = newest.lists(scores), newest.lists(newest.features[:, _BLEND])
    ranked, blended = newest.night.per_user(lists), newest.night.per_user(of_blend)
    grown, scale, numbers = Growing(examples), _scale(newest, scores), {each.objective: each.num_trees for each in tried}
    fitted = _for_each_objective(lambda objective: grown.trees(objective, numbers[objective], seed))
    trees = (replace(of_all, scale=each.scale * scale) for of_all, each in zip(fitted, tried, strict=True))
    gain = paired_difference(ranked[HEADLINE], blended[HEADLINE])
    return FittedRanker(
        ranker=Ranker(newest.names, tuple(trees)),
        num_trees=numbers,
        users=len(newest.user_rows),
        ranked=means(ranked),
        blended=means(blended),
        gain=gain,
        rivals=_rivals(newest.night, ranked if gain[0] > 0 else blended, seed),
        candidate_recall=newest.recall,
        recall_of_sources=newest.recall_of_sources,
    )


def _for_each_objective(work: Callable[[str], T]) -> list[T]:
    """Done for all objectives at once: LightGBM works outside of Python's lock, one thread each."""
    with ThreadPoolExecutor(len(OBJECTIVES)) as threads:
        return list(threads.map(work, OBJECTIVES))


def _rivals(night: NextPeriod, served: PerUser, seed: int) -> dict[str, Rival]:
    """Plain lists for the same users."""
    rivals = {}
    for name, rival in tuned(night, seed=seed).items():
        theirs = night.per_user(rival.lists)
        rivals[name] = Rival(rival.settings, means(theirs), paired_difference(served[HEADLINE], theirs[HEADLINE]))
    return rivals


@dataclass(frozen=True)
class _Tried:
    """Trees of one objective at the newest moment.

    Attributes:
        objective: Its name.
        num_trees: That did best.
        logits: Their scores, times the scale.
        scale: That makes logits of them: who separates better has more to say in the average.
    """

    objective: str
    num_trees: int
    logits: Doubles
    scale: float


def _best_number(grown: Growing, objective: str, newest: Newest, seed: int) -> _Tried:
    """The number of trees whose lists at the newest moment have the highest NDCG@25; of equal ones the fewest."""
    best, best_scores, num_trees = -1.0, np.empty(0), 0
    for number, scores in grown.scores(objective, seed, newest.features):
        found = float(newest.night.per_user(newest.lists(averaged([scores], newest.features)))[HEADLINE].mean())
        if found > best:
            best, best_scores, num_trees = found, scores, number
        elif number >= num_trees + _PATIENCE:
            break
    scale = _scale(newest, best_scores)
    return _Tried(objective, num_trees, scale * best_scores, scale)


def examples_of(sources: CandidateSources, night: NextPeriod, seed: int) -> Examples:
    """Candidates of a sample of the night's users: all that are true, and a sample of the others."""
    random = np.random.Generator(np.random.Philox(key=[seed, sources.knowledge.as_of]))
    drawn = np.sort(random.permutation(len(night.user_rows))[:USERS])
    users, truth, histories = night.user_rows[drawn], night.truth.take(drawn), sources.knowledge.sequences
    weights = night.weights.take(drawn)
    none = np.empty((0, len(names_of(sources.knowledge.metadata))), np.float32)
    features, gains, lengths = [none], [np.empty(0, np.float32)], []
    for begin in range(0, len(users), _AT_ONCE):
        end = min(begin + _AT_ONCE, len(users))
        rows, candidates = users[begin:end], sources.of(histories, users[begin:end])
        found = _gains(candidates.items, truth.part(begin, end), weights.part(begin, end), histories.num_items)
        of_users, hits = candidates.items.row_ids(), found > 0
        share = _NEGATIVES / np.maximum(candidates.items.lengths, 1)
        # A user of whom nothing is true teaches no order.
        has_hit = np.bincount(of_users[hits], minlength=len(rows)) > 0
        kept = (hits | (random.random(len(hits)) < share[of_users])) & has_hit[of_users]
        features.append(features_of(sources.knowledge, histories, rows, candidates)[kept])
        gains.append(found[kept])
        lengths.append(np.bincount(of_users[kept], minlength=len(rows)))
    return Examples(np.concatenate(features), np.concatenate(gains), np.concatenate([np.empty(0, np.int64), *lengths]))


def newest_of(sources: CandidateSources, night: NextPeriod, seed: int) -> Newest:
    """All candidates of a larger sample of the night's users."""
    random = np.random.Generator(np.random.Philox(key=[seed, 1]))
    drawn = np.sort(random.permutation(len(night.user_rows))[:MOST_MEASURED])
    users, truth, histories = night.user_rows[drawn], night.truth.take(drawn), sources.knowledge.sequences
    items, features = [], [np.empty((0, len(names_of(sources.knowledge.metadata))), np.float32)]
    recall, of_sources = np.empty(0), dict[str, float]()
    for begin in range(0, len(users), _AT_ONCE):
        rows, true_items = users[begin : begin + _AT_ONCE], truth.part(begin, min(begin + _AT_ONCE, len(users)))
        candidates, num_items = sources.of(histories, rows), histories.num_items
        true_keys = true_items.row_ids() * np.int64(num_items) + true_items.values
        keys = candidates.items.row_ids() * np.int64(num_items) + candidates.items.values
        recall = np.append(recall, _recall(true_keys, keys, true_items))
        for name, of_source in candidates.sources.items():
            of_sources[name] = of_sources.get(name, 0.0) + float(_recall(true_keys, of_source, true_items).sum())
        items.append(candidates.items)
        features.append(features_of(sources.knowledge, histories, rows, candidates))
    lengths = np.concatenate([np.empty(0, np.int64), *(each.lengths for each in items)])
    values = np.concatenate([np.empty(0, np.int64), *(each.values for each in items)])
    return Newest(
        replace(night, user_rows=users, truth=truth, weights=night.weights.take(drawn)),
        users,
        Ragged.from_lengths(lengths, values),
        np.concatenate(features),
        names_of(sources.knowledge.metadata),
        float(recall.mean()) if len(recall) else 0.0,
        {name: total / max(1, len(users)) for name, total in of_sources.items()},
    )


def _gains(items: Ragged[np.int64], truth: Ragged[np.int64], weights: Ragged[np.float32], num_items: int) -> Floats:
    """How much each item counts of what is true of the same users, 0 of others: float32 [pairs]."""
    keys, true_keys = (each.row_ids() * np.int64(num_items) + each.values for each in (items, truth))
    gains = np.zeros(len(keys), dtype=np.float32)
    found, places = find_keys(true_keys, keys)
    gains[found] = weights.values[places]
    return gains


def _recall(true_keys: Rows, keys: Rows, truth: Ragged[np.int64]) -> Doubles:
    """Share of each user's true items that are among the keys: float64 [B]."""
    found = np.bincount(truth.row_ids(), np.isin(true_keys, keys), len(truth))
    return np.asarray(found / np.maximum(truth.lengths, 1))


def _scale(newest: Newest, scores: Doubles) -> float:
    """The factor at which shares of the candidates, softmax(scale · score), make the true ones likeliest."""
    users, offsets = newest.items.row_ids(), newest.items.offsets
    night = newest.night
    hits = _gains(newest.items, night.truth, night.weights, night.training.num_items) > 0
    if not hits.any():
        return 1.0
    filled = np.diff(offsets) > 0
    starts = offsets[:-1][filled]
    highest = np.maximum.reduceat(scores, starts)[np.repeat(np.arange(len(starts)), np.diff(offsets)[filled])]
    distance, per_user = scores - highest, np.bincount(users[hits], minlength=len(offsets) - 1)[filled]

    def cost(scale: float) -> float:
        logs = np.log(np.add.reduceat(np.exp(scale * distance), starts))
        return float((per_user * logs).sum() - scale * distance[hits].sum())

    return float(minimize_scalar(cost, bounds=(0.05, 20.0), method="bounded").x)
