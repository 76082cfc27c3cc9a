"""How much each path counts: the sequence, the user's own past items, recent popularity.

score = w · features, with features

    same_session, next_session     the last session's state and a new session's state, each times the item's vector
    bias                  the item's bias
    trend_1d, …           hrnn/blend/trends.py
    own, log_count, …     hrnn/blend/repeats.py; all 0 where the user has not had the item
    beside, after, …      hrnn/blend/cooccurrence.py; all 0 where the item succeeds none of the user's latest events
    own_same_session, …     the first eight again, 0 where the user has not had the item: what says that somebody takes
                          a new item says less, or other things, of an item they have had

There are two sets of weights: `same_session`, for users asked right after their last event, who may go on with the session;
`next_session`, for users asked after a break, as most are in a nightly list. Both are fitted on users whose newest events the
sequence model was not trained on, by the likelihood of those events among the whole catalogue (or a weighted sample of it): a
convex problem.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hrnn.blend import item_statistics as statistics
from hrnn.blend import repeats as own_items
from hrnn.blend import trends as recency
from hrnn.blend.item_statistics import ItemStatistics
from hrnn.data.arrays import Flags, Floats
from hrnn.data.ragged import Ragged
from hrnn.data.sequences import Sequences
from hrnn.data.splits import Calibration
from hrnn.models.contract import QueryModel
from hrnn.training.negatives import NegativeSampler
from schemas.errors import DataError

TREND_NAMES = tuple(f"trend_{days:g}d" for days in recency.WINDOWS_DAYS)
_OF_ALL = ("same_session", "next_session", "bias", *TREND_NAMES)
FEATURES = (*_OF_ALL, *statistics.FEATURES, *(f"own_{name}" for name in _OF_ALL))
ALL_WEIGHTS = slice(0, len(_OF_ALL))  # of features that every item has
TREND_WEIGHTS = slice(3, 3 + len(TREND_NAMES))
BESIDE_WEIGHTS = slice(2, TREND_WEIGHTS.stop)  # the bias and the trends
OWN_WEIGHTS = slice(ALL_WEIGHTS.stop, ALL_WEIGHTS.stop + len(own_items.FEATURES))
COUNTED_WEIGHTS = slice(ALL_WEIGHTS.stop, ALL_WEIGHTS.stop + len(statistics.FEATURES))  # of own items and successors
COOCCURRENCE_WEIGHTS = slice(OWN_WEIGHTS.stop, COUNTED_WEIGHTS.stop)
EVERY_TREND = [place for place, name in enumerate(FEATURES) if "trend" in name]
OWN_AGAIN_WEIGHTS = slice(COUNTED_WEIGHTS.stop, len(FEATURES))  # of the features that every item has, for own items
_CANDIDATES = 1024  # sampled for every example alike, beside its own items and the truth
_RIDGE = 1.0  # pull towards the plain sequence model, in examples
_RIDGE_OF_REFINED = 30.0  # of features that are many, for few examples: what refines own items, and successors
_REFINED_WEIGHTS = slice(OWN_WEIGHTS.start + own_items.FEATURES.index("follows"), COUNTED_WEIGHTS.stop)
_MOST_STEPS = 30
_STORED = "blend.same_session", "blend.next_session"


class BlendWeights(NamedTuple):
    """How much each of FEATURES counts, float32 [features] each.

    Attributes:
        same_session: For users asked right after their last event.
        next_session: For users asked after a break.
    """

    same_session: Floats
    next_session: Floats

    def of(self, next_session: Flags) -> Floats:
        """float32 [B, features], of users of either kind."""
        return np.where(next_session[:, None], self.next_session[None, :], self.same_session[None, :])

    def to_tensors(self) -> dict[str, Tensor]:
        """As a solution version stores them."""
        return {name: torch.from_numpy(values) for name, values in zip(_STORED, self, strict=True)}

    @classmethod
    def of_tensors(cls, stored: Mapping[str, Tensor]) -> BlendWeights | None:
        """From what a solution version stores; None where it has none.

        Raises:
            DataError: They are of a release with other features.
        """
        if not set(_STORED) <= set(stored):
            return None
        found = cls(*(stored[name].numpy() for name in _STORED))
        if any(len(weights) != len(FEATURES) for weights in found):
            raise DataError("the solution version is of a release whose blend had other features", remedy="Train it again.")
        return found

    @classmethod
    def plain(cls) -> BlendWeights:
        """Of a model that is blended with nothing."""
        of_kinds = np.tile(default_weights().numpy().astype(np.float32), (2, 1))
        of_kinds[[0, 1], [0, 1]] = 1.0  # same_session and next_session are the first two features
        return cls(*of_kinds)


def default_weights() -> Tensor:
    """float64 [features]: the sequence model as it was trained."""
    weights = torch.zeros(len(FEATURES), dtype=torch.float64)
    weights[FEATURES.index("bias")] = 1.0
    return weights


def fit_weights(
    model: QueryModel,
    sequences: Sequences,
    fit_on: Sequences,
    calibration: Calibration,
    *,
    next_session: bool,
    use_trends: bool,
    seed: int,
    event_weights: npt.NDArray[np.float32] | None = None,
    statistics: ItemStatistics | None = None,
    on_grid: bool = True,
) -> npt.NDArray[np.float32]:
    """Weights of one kind, float32 [features].

    Args:
        model: Trained on `fit_on`, on the CPU.
        sequences: With the examples' hidden events.
        fit_on: Without them.
        calibration: From `draw_calibration`.
        next_session: Which kind.
        use_trends: False leaves recent popularity out (`recency_mask`).
        seed: Of the candidates.
        event_weights: float32 [E], how much each event counts as a right answer; None: all alike.
        statistics: Of `fit_on`, where they are at hand.
        on_grid: Whether users asked for the same session see the trends of the grid's moment, as evaluations do, or their own.
    """
    prior = default_weights()
    prior[FEATURES.index("next_session" if next_session else "same_session")] = 1.0
    chosen = calibration.only(next_session)
    if len(chosen.user_rows) == 0:
        return prior.numpy().astype(np.float32)
    used = torch.ones(len(FEATURES), dtype=torch.bool)
    used[EVERY_TREND] = use_trends
    problem = _Problem(model, sequences, fit_on, chosen, seed, event_weights, statistics or ItemStatistics.of(fit_on), on_grid)
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
        fit_on: Sequences,
        calibration: Calibration,
        seed: int,
        event_weights: npt.NDArray[np.float32] | None,
        known: ItemStatistics,
        on_grid: bool,
    ) -> None:
        counts = fit_on.item_counts()
        sample = NegativeSampler(counts, alpha=0.5, num_samples=_CANDIDATES, seed=seed).draw(1 << 20, 0)
        kept = sequences.truncate(calibration.user_rows, calibration.keep_counts)
        states = model.queries(kept, calibration.user_rows)
        own, trends = known.user_items(kept, calibration.user_rows, calibration.as_of), known.trends
        starts = sequences.user_offsets[:-1][calibration.user_rows] + calibration.keep_counts
        hidden = Ragged.expand(starts, calibration.truth_counts)
        truth = sequences.item_rows[hidden.values].astype(np.int64)
        counting = np.ones(len(truth)) if event_weights is None else np.asarray(event_weights[hidden.values], dtype=np.float64)
        seen = counts > 0
        # Nightly lists are asked for at an exact time, evaluations at a moment of the grid.
        asked_at = np.where(calibration.next_session | (not on_grid), calibration.as_of, trends.grid_time(calibration.as_of))
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
