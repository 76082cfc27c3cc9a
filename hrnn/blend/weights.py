"""Fits blend weights by penalised conditional logit: how much the model, repeats, trends and co-occurrence count.

score = w · features, with features

    same_session, next_session    the model's queries for either, each times the item's vector
    bias                          the item's bias
    trend_1d, …                   hrnn/blend/trends.py
    own, log_count, …             hrnn/blend/repeats.py; all 0 where the user has not had the item
    symmetric, forward, …         hrnn/blend/cooccurrence.py; all 0 where the item co-occurs with none of the latest events
    own_same_session, …           interactions of the first eight with `own`: what speaks for a new item speaks less, or
                                  otherwise, for one that the user has had

There are two sets of weights: `same_session`, for predictions right after a user's last event, when the session may go on;
`next_session`, for predictions after a break, as most of a nightly list are. Both maximise the likelihood of the calibration
users' hidden events, on which the sequence model was not trained, among the whole catalogue (or a weighted sample of it), less
a ridge penalty: a convex problem, solved by Newton steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hrnn.blend import item_statistics, repeats
from hrnn.blend.item_statistics import ItemStatistics
from hrnn.blend.trends import WINDOWS_DAYS
from hrnn.data.arrays import Flags, Floats
from hrnn.data.ragged import Ragged
from hrnn.data.sequences import Sequences
from hrnn.data.splits import Calibration
from hrnn.models.contract import QueryModel
from hrnn.training.negatives import NegativeSampler
from schemas.errors import DataError

TREND_NAMES = tuple(f"trend_{days:g}d" for days in WINDOWS_DAYS)
_OF_ALL = ("same_session", "next_session", "bias", *TREND_NAMES)
FEATURES = (*_OF_ALL, *item_statistics.FEATURES, *(f"own_{name}" for name in _OF_ALL))
ALL_WEIGHTS = slice(0, len(_OF_ALL))  # of features that every item has
TREND_WEIGHTS = slice(3, 3 + len(TREND_NAMES))
BESIDE_WEIGHTS = slice(2, TREND_WEIGHTS.stop)  # the bias and the trends
OWN_WEIGHTS = slice(ALL_WEIGHTS.stop, ALL_WEIGHTS.stop + len(repeats.FEATURES))
COUNTED_WEIGHTS = slice(ALL_WEIGHTS.stop, ALL_WEIGHTS.stop + len(item_statistics.FEATURES))  # of sparse features
COOCCURRENCE_WEIGHTS = slice(OWN_WEIGHTS.stop, COUNTED_WEIGHTS.stop)
EVERY_TREND = [place for place, name in enumerate(FEATURES) if "trend" in name]
OWN_AGAIN_WEIGHTS = slice(COUNTED_WEIGHTS.stop, len(FEATURES))  # of the interactions with `own`
_CANDIDATES = 1024  # sampled for all calibration users alike, beside each one's sparse items and hidden items
_RIDGE = 1.0  # pull towards the plain sequence model, in calibration users
_RIDGE_OF_REFINED = 30.0  # of features that are many, for few users: the later repeat features, and co-occurrence
_REFINED_WEIGHTS = slice(OWN_WEIGHTS.start + repeats.FEATURES.index("follows"), COUNTED_WEIGHTS.stop)
_MOST_STEPS = 30
_STORED = "blend.same_session", "blend.next_session"


class BlendWeights(NamedTuple):
    """How much each of FEATURES counts, float32 [features] each.

    Attributes:
        same_session: For predictions right after the last event.
        next_session: For predictions after a break.
    """

    same_session: Floats
    next_session: Floats

    def of(self, next_session: Flags) -> Floats:
        """Weights of users of either kind: float32 [B, features]."""
        return np.where(next_session[:, None], self.next_session[None, :], self.same_session[None, :])

    def to_tensors(self) -> dict[str, Tensor]:
        """As a solution version stores them."""
        return {name: torch.from_numpy(values) for name, values in zip(_STORED, self, strict=True)}

    @classmethod
    def of_tensors(cls, stored: Mapping[str, Tensor]) -> BlendWeights | None:
        """The weights that a solution version stores; None where it has none.

        Raises:
            DataError: They are of a release with other features.
        """
        if not set(_STORED) <= set(stored):
            return None
        loaded = cls(*(stored[name].numpy() for name in _STORED))
        if any(len(weights) != len(FEATURES) for weights in loaded):
            raise DataError("the solution version is of a release whose blend had other features", remedy="Train it again.")
        return loaded

    @classmethod
    def plain(cls) -> BlendWeights:
        """Of a model that is blended with nothing."""
        of_kinds = np.tile(default_weights().numpy().astype(np.float32), (2, 1))
        of_kinds[[0, 1], [0, 1]] = 1.0  # same_session and next_session are the first two features
        return cls(*of_kinds)


def default_weights() -> Tensor:
    """1 for the bias and 0 for all else, float64 [features]; `fit_weights` adds a 1 for its query."""
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
    """Fits one set of blend weights: float32 [features].

    Args:
        model: Trained on `fit_on`, on the CPU.
        sequences: With the calibration users' hidden events.
        fit_on: Without them.
        calibration: From `draw_calibration`.
        next_session: Which set: that of the next session, else of the same one.
        use_trends: False leaves trends out, with weights of 0 (`recency_mask`).
        seed: Of the sampled candidates.
        event_weights: float32 [E], how much each hidden event counts as a target; None: all alike.
        statistics: Of `fit_on`, where they are at hand.
        on_grid: Whether trends of the same session are those of the grid time, as in evaluations, or of the exact time.
    """
    prior = default_weights()
    prior[FEATURES.index("next_session" if next_session else "same_session")] = 1.0
    calibration = calibration.only(next_session)
    if len(calibration.user_rows) == 0:
        return prior.numpy().astype(np.float32)
    used = torch.ones(len(FEATURES), dtype=torch.bool)
    used[EVERY_TREND] = use_trends
    statistics = statistics or ItemStatistics.of(fit_on)
    likelihood = _Likelihood(model, sequences, fit_on, calibration, seed, event_weights, statistics, on_grid)
    weights = prior.clone()
    best, gradient, curvature = likelihood.evaluate(weights, prior)
    # Newton's method with step halving: the objective is convex, and its curvature a matrix of some 60 features.
    for _ in range(_MOST_STEPS):
        step = torch.zeros_like(weights)
        step[used] = torch.linalg.solve(curvature[used][:, used], gradient[used])
        size = 1.0
        while size > 1e-4:
            value, next_gradient, next_curvature = likelihood.evaluate(weights - size * step, prior)
            if value < best:
                break
            size /= 2
        else:
            break
        gain, best = best - value, value
        weights, gradient, curvature = weights - size * step, next_gradient, next_curvature
        if gain < 1e-6 * abs(best):
            break
    return weights.numpy().astype(np.float32)


class _Likelihood:
    """Features of every candidate of every calibration user, and the likelihood of the hidden events under given weights."""

    def __init__(
        self,
        model: QueryModel,
        sequences: Sequences,
        fit_on: Sequences,
        calibration: Calibration,
        seed: int,
        event_weights: npt.NDArray[np.float32] | None,
        statistics: ItemStatistics,
        on_grid: bool,
    ) -> None:
        counts = fit_on.item_counts()
        sample = NegativeSampler(counts, alpha=0.5, num_samples=_CANDIDATES, seed=seed).draw(1 << 20, 0)
        kept = sequences.truncate(calibration.user_rows, calibration.keep_counts)
        states = model.queries(kept, calibration.user_rows)
        sparse, trends = statistics.user_items(kept, calibration.user_rows, calibration.as_of), statistics.trends
        starts = sequences.user_offsets[:-1][calibration.user_rows] + calibration.keep_counts
        hidden = Ragged.expand(starts, calibration.truth_counts)
        targets = sequences.item_rows[hidden.values].astype(np.int64)
        target_weights = (
            np.ones(len(targets)) if event_weights is None else np.asarray(event_weights[hidden.values], dtype=np.float64)
        )
        has_events = counts > 0
        # Nightly lists are made at an exact time, evaluations at a time of the grid.
        times = np.where(calibration.next_session | (not on_grid), calibration.as_of, trends.grid_time(calibration.as_of))
        self._users: list[tuple[Tensor, Tensor, Tensor]] = []
        items = model.items()
        vectors, bias = items.vectors, items.bias
        for user in np.argsort(times, kind="stable"):  # rising, so that trends count each event in and out once
            of_sparse = slice(sparse.offsets[user], sparse.offsets[user + 1])
            of_hidden = slice(hidden.offsets[user], hidden.offsets[user + 1])
            usable = has_events[targets[of_hidden]] & (target_weights[of_hidden] > 0)
            true_items, item_weights = targets[of_hidden][usable], target_weights[of_hidden][usable]
            if len(true_items) == 0:
                continue
            # Sparse items and true items surely compete; sampled ones stand for the rest of the catalogue, and log_weight
            # makes the sum over them an unbiased estimate of the softmax's denominator.
            certain = np.union1d(sparse.item_rows[of_sparse], true_items)
            sampled = ~np.isin(sample.item_rows, certain)
            candidates = np.concatenate([certain, sample.item_rows[sampled]])
            offset = np.concatenate([np.zeros(len(certain), dtype=np.float32), sample.log_weight[sampled]])
            # Columns in the order of FEATURES; sparse ones and their interactions stay 0 for all other candidates.
            features = np.zeros((len(candidates), len(FEATURES)), dtype=np.float32)
            rows = torch.from_numpy(candidates)
            candidate_vectors = vectors[rows]
            features[:, 0] = (candidate_vectors @ states.same_session[user]).numpy()
            features[:, 1] = (candidate_vectors @ states.next_session[user]).numpy()
            features[:, 2] = bias[rows].numpy()
            features[:, TREND_WEIGHTS] = trends.at(int(times[user]), candidates)
            places = np.searchsorted(certain, sparse.item_rows[of_sparse])
            features[places, COUNTED_WEIGHTS] = sparse.features[of_sparse]
            features[places, OWN_AGAIN_WEIGHTS] = features[places, ALL_WEIGHTS] * sparse.features[of_sparse, :1]
            # Every user counts once, however many events are hidden: their shares of the target add up to 1.
            target = np.zeros(len(candidates), dtype=np.float32)
            np.add.at(target, np.searchsorted(certain, true_items), item_weights / item_weights.sum())
            self._users.append((torch.from_numpy(features), torch.from_numpy(offset), torch.from_numpy(target)))

    def evaluate(self, weights: Tensor, prior: Tensor) -> tuple[float, Tensor, Tensor]:
        """Mean penalised negative log-likelihood, its gradient and its Hessian, in float64."""
        size = len(weights)
        value, gradient, curvature = 0.0, torch.zeros(size, dtype=torch.float64), torch.zeros(size, size, dtype=torch.float64)
        weights_float32 = weights.to(torch.float32)
        for features, offset, target in self._users:
            log_shares = torch.log_softmax(features @ weights_float32 + offset, dim=0)
            value -= float(target @ log_shares)
            shares = log_shares.exp()
            # Gradient: features expected under the softmax less those of the target; Hessian: the features' covariance.
            mean = shares @ features
            gradient += (mean - target @ features).double()
            curvature += ((features * shares.unsqueeze(1)).t() @ features - torch.outer(mean, mean)).double()
        distance = weights - prior
        count = max(1, len(self._users))
        ridge = torch.full((size,), _RIDGE, dtype=torch.float64)
        ridge[_REFINED_WEIGHTS] = _RIDGE_OF_REFINED
        return (
            (value + 0.5 * float(distance @ (ridge * distance))) / count,
            (gradient + ridge * distance) / count,
            (curvature + torch.diag(ridge)) / count,
        )
