"""How much each path counts: the sequence, the user's own past items, recent popularity.

score = w · features, with features

    same_session, next_session     the last session's state and a new session's state, each times the item's vector
    bias                  the item's bias
    trend_1d, …           hrnn/blend/trends.py
    own, log_count, …     hrnn/blend/repeats.py; all 0 where the user has not had the item
    beside, after, …      hrnn/blend/cooccurrence.py; all 0 where the item succeeds none of the user's latest events
    own_same_session, …     the first eight again, 0 where the user has not had the item: what says that somebody takes
                          a new item says less, or other things, of an item they have had

There are two sets of weights: `now`, for users asked right after their last event, who may go on with the session; `later`, for
users asked after a break, as most are in a nightly list. Both are fitted on users whose newest events the sequence model was
not trained on, by the likelihood of those events among the whole catalogue (or a weighted sample of it): a convex problem.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hrnn.blend import item_statistics as counted
from hrnn.blend import repeats as own_items
from hrnn.blend import trends as recency
from hrnn.blend.item_statistics import Counted
from hrnn.data.arrays import Rows
from hrnn.data.ragged import Ragged
from hrnn.data.sequences import Sequences
from hrnn.models.contract import QueryModel
from hrnn.training.negatives import NegativeSampler

TREND_NAMES = tuple(f"trend_{days:g}d" for days in recency.WINDOWS_DAYS)
_OF_ALL = ("same_session", "next_session", "bias", *TREND_NAMES)
FEATURES = (*_OF_ALL, *counted.FEATURES, *(f"own_{name}" for name in _OF_ALL))
ALL_WEIGHTS = slice(0, len(_OF_ALL))  # of features that every item has
TREND_WEIGHTS = slice(3, 3 + len(TREND_NAMES))
BESIDE_WEIGHTS = slice(2, TREND_WEIGHTS.stop)  # the bias and the trends
OWN_WEIGHTS = slice(ALL_WEIGHTS.stop, ALL_WEIGHTS.stop + len(own_items.FEATURES))
COUNTED_WEIGHTS = slice(ALL_WEIGHTS.stop, ALL_WEIGHTS.stop + len(counted.FEATURES))  # of own items and successors
SUCCESSOR_WEIGHTS = slice(OWN_WEIGHTS.stop, COUNTED_WEIGHTS.stop)
EVERY_TREND = [place for place, name in enumerate(FEATURES) if "trend" in name]
OWN_AGAIN_WEIGHTS = slice(COUNTED_WEIGHTS.stop, len(FEATURES))  # of the features that every item has, for own items
_CANDIDATES = 1024  # sampled for every example alike, beside its own items and the truth
_MOST_TRUTH = 50  # events of an example
_NEWEST_SHARE = 0.05  # of the events, which `later` examples are asked for
_ENOUGH = 600  # examples; fewer where they would be more than a third of the users
_RIDGE = 1.0  # pull towards the plain sequence model, in examples
_RIDGE_OF_REFINED = 30.0  # of features that are many, for few examples: what refines own items, and successors
_REFINED_WEIGHTS = slice(OWN_WEIGHTS.start + own_items.FEATURES.index("follows"), COUNTED_WEIGHTS.stop)
_MOST_STEPS = 30


@dataclass(frozen=True)
class Examples:
    """Users whose newest events are kept from the sequence model, to fit the weights on.

    Attributes:
        user_rows: int64 [X], no user twice.
        keep_counts: int64 [X], events before the moment of asking.
        truth_counts: int64 [X], events after it that count as right answers.
        as_of: int64 [X], the moment, UTC epoch seconds.
        later: bool [X], whether the user is asked after a break.
    """

    user_rows: Rows
    keep_counts: Rows
    truth_counts: Rows
    as_of: Rows
    later: npt.NDArray[np.bool_]

    def only(self, later: bool) -> Examples:
        """Those of one kind."""
        at = np.flatnonzero(self.later == later)
        return Examples(self.user_rows[at], self.keep_counts[at], self.truth_counts[at], self.as_of[at], self.later[at])


def draw_examples(sequences: Sequences, seed: int, *, most: int = 4_000) -> Examples:
    """Choose users: for `now` at random, and their newest tenth of events; for `later` a moment, and what they did after it.

    The moment is that of a nightly list not long ago: all are asked at once, whenever they come back. After it lies the newest
    twentieth of the events.

    Args:
        sequences: What may be learnt from.
        seed: Of the choice.
        most: Upper bound of each kind.
    """
    generator = np.random.Generator(np.random.Philox(key=[seed, 1 << 40]))
    lengths = sequences.history_lengths
    moment, before = _night_before(sequences)
    later = np.flatnonzero((before > 0) & (before < lengths))
    later = np.sort(generator.permutation(later)[: min(most, -(-len(later) // 2))])
    others = np.setdiff1d(np.flatnonzero(lengths >= 2), later)
    now = np.sort(generator.permutation(others)[: min(most, max(-(-len(others) // 20), min(len(others) // 3, _ENOUGH)))])
    hidden = np.maximum(1, lengths[now] // 10)
    keep = np.concatenate([lengths[now] - hidden, before[later]])
    users = np.concatenate([now, later])
    is_later = np.arange(len(users)) >= len(now)
    last_kept = sequences.timestamps[sequences.user_offsets[:-1][users] + keep - 1]
    as_of = np.where(is_later, moment, last_kept)
    truth = np.minimum(lengths[users] - keep, _MOST_TRUTH)
    return Examples(users, keep, truth, np.asarray(as_of), is_later)


def _night_before(sequences: Sequences) -> tuple[int, Rows]:
    """A moment, epoch seconds, after which the newest share of events lies; and int64 [U], each user's events before it."""
    events = sequences.event_positions(np.arange(sequences.num_users))
    times = np.asarray(sequences.timestamps[events.values])
    if not len(times):
        return 0, np.zeros(sequences.num_users, dtype=np.int64)
    rank = min(len(times) - 1, int(len(times) * (1 - _NEWEST_SHARE)))
    moment = int(np.partition(times, rank)[rank])
    return moment, np.bincount(events.row_ids()[times < moment], minlength=sequences.num_users)


def default_weights() -> Tensor:
    """float64 [features]: the sequence model as it was trained."""
    weights = torch.zeros(len(FEATURES), dtype=torch.float64)
    weights[FEATURES.index("bias")] = 1.0
    return weights


def fit_weights(
    model: QueryModel,
    sequences: Sequences,
    learnt_from: Sequences,
    examples: Examples,
    *,
    later: bool,
    use_trends: bool,
    seed: int,
    event_weights: npt.NDArray[np.float32] | None = None,
    counts: Counted | None = None,
    on_grid: bool = True,
) -> npt.NDArray[np.float32]:
    """Weights of one kind, float32 [features].

    Args:
        model: Trained on `learnt_from`, on the CPU.
        sequences: With the examples' hidden events.
        learnt_from: Without them.
        examples: From `draw_examples`.
        later: Which kind.
        use_trends: False leaves recent popularity out (`recency_mask`).
        seed: Of the candidates.
        event_weights: float32 [E], how much each event counts as a right answer; None: all alike.
        counts: Of `learnt_from`, where they are at hand.
        on_grid: Whether users asked `now` see the trends of the grid's moment, as evaluations do, or those of their own.
    """
    prior = default_weights()
    prior[FEATURES.index("next_session" if later else "same_session")] = 1.0
    chosen = examples.only(later)
    if len(chosen.user_rows) == 0:
        return prior.numpy().astype(np.float32)
    used = torch.ones(len(FEATURES), dtype=torch.bool)
    used[EVERY_TREND] = use_trends
    problem = _Problem(model, sequences, learnt_from, chosen, seed, event_weights, counts or Counted.of(learnt_from), on_grid)
    weights = prior.clone()
    best, gradient, curvature = problem.evaluate(weights, prior)
    for _ in range(_MOST_STEPS):
        step = torch.zeros_like(weights)
        step[used] = torch.linalg.solve(curvature[used][:, used], gradient[used])
        size = 1.0
        while size > 1e-4:
            value, next_gradient, next_curvature = problem.evaluate(weights - size * step, prior)
            if value < best:
                break
            size /= 2
        else:
            break
        gained, best = best - value, value
        weights, gradient, curvature = weights - size * step, next_gradient, next_curvature
        if gained < 1e-6 * abs(best):
            break
    return weights.numpy().astype(np.float32)


class _Problem:
    """Features of every candidate of every example, and the likelihood of the truth under given weights."""

    def __init__(
        self,
        model: QueryModel,
        sequences: Sequences,
        learnt_from: Sequences,
        examples: Examples,
        seed: int,
        event_weights: npt.NDArray[np.float32] | None,
        known: Counted,
        on_grid: bool,
    ) -> None:
        counts = learnt_from.item_counts()
        sample = NegativeSampler(counts, alpha=0.5, num_samples=_CANDIDATES, seed=seed).draw(1 << 20, 0)
        kept = sequences.truncate(examples.user_rows, examples.keep_counts)
        states = model.queries(kept, examples.user_rows)
        own, trends = known.user_items(kept, examples.user_rows, examples.as_of), known.trends
        starts = sequences.user_offsets[:-1][examples.user_rows] + examples.keep_counts
        hidden = Ragged.expand(starts, examples.truth_counts)
        truth = sequences.item_rows[hidden.values].astype(np.int64)
        counting = np.ones(len(truth)) if event_weights is None else np.asarray(event_weights[hidden.values], dtype=np.float64)
        seen = counts > 0
        # Nightly lists are asked for at an exact time, evaluations at a moment of the grid.
        asked_at = np.where(examples.later | (not on_grid), examples.as_of, trends.grid_time(examples.as_of))
        self._chunks: list[tuple[Tensor, Tensor, Tensor]] = []
        items = model.items()
        vectors, bias = items.vectors, items.bias
        for example in np.argsort(asked_at, kind="stable"):
            mine = slice(own.offsets[example], own.offsets[example + 1])
            answers = slice(hidden.offsets[example], hidden.offsets[example + 1])
            usable = seen[truth[answers]] & (counting[answers] > 0)
            true, count = truth[answers][usable], counting[answers][usable]
            if len(true) == 0:
                continue
            always = np.union1d(own.item_rows[mine], true)
            others = ~np.isin(sample.item_rows, always)
            candidates = np.concatenate([always, sample.item_rows[others]])
            features = np.zeros((len(candidates), len(FEATURES)), dtype=np.float32)
            at = torch.from_numpy(candidates)
            chosen = vectors[at]
            features[:, 0] = (chosen @ states.same_session[example]).numpy()
            features[:, 1] = (chosen @ states.next_session[example]).numpy()
            features[:, 2] = bias[at].numpy()
            features[:, TREND_WEIGHTS] = trends.at(int(asked_at[example]), candidates)
            of_user = np.searchsorted(always, own.item_rows[mine])
            features[of_user, COUNTED_WEIGHTS] = own.features[mine]
            features[of_user, OWN_AGAIN_WEIGHTS] = features[of_user, ALL_WEIGHTS] * own.features[mine, :1]
            offset = np.concatenate([np.zeros(len(always), dtype=np.float32), sample.log_weight[others]])
            target = np.zeros(len(candidates), dtype=np.float32)
            np.add.at(target, np.searchsorted(always, true), count / count.sum())
            self._chunks.append((torch.from_numpy(features), torch.from_numpy(offset), torch.from_numpy(target)))

    def evaluate(self, weights: Tensor, prior: Tensor) -> tuple[float, Tensor, Tensor]:
        """Mean cost, its gradient and its curvature, in float64."""
        size = len(weights)
        value, gradient, curvature = 0.0, torch.zeros(size, dtype=torch.float64), torch.zeros(size, size, dtype=torch.float64)
        single = weights.to(torch.float32)
        for features, offset, target in self._chunks:
            shares = torch.log_softmax(features @ single + offset, dim=0)
            value -= float(target @ shares)
            shares = shares.exp()
            mean = shares @ features
            gradient += (mean - target @ features).double()
            curvature += ((features * shares.unsqueeze(1)).t() @ features - torch.outer(mean, mean)).double()
        away = weights - prior
        count = max(1, len(self._chunks))
        ridge = torch.full((size,), _RIDGE, dtype=torch.float64)
        ridge[_REFINED_WEIGHTS] = _RIDGE_OF_REFINED
        return (
            (value + 0.5 * float(away @ (ridge * away))) / count,
            (gradient + ridge * away) / count,
            (curvature + torch.diag(ridge)) / count,
        )
