"""A trained HRNN with its three paths, as `recommend` and `evaluate` see it: two views of one model.

The bias and the trends of an item stand beside its vector, and their weights beside the user's state, so that a score is still
one product: query · item_vector + item_bias + own item's score.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hrnn.batching import Rows
from hrnn.blending import BESIDE_WEIGHTS, OWN_WEIGHTS, TREND_WEIGHTS
from hrnn.models.hrnn import Hrnn
from hrnn.own_items import own_item_features
from hrnn.recency import Trends
from hrnn.sequences import Sequences
from hrnn.session_model import UserStates
from hrnn.states import Replayed, replay


@dataclass(frozen=True)
class Fitted:
    """A model with the weights of its paths.

    Attributes:
        model: Trained parameters, on the CPU.
        now, later: float32 [hrnn.blending.FEATURES], see there.
        item_repeat_odds: float32 [N].
        trends: Popularity over time, of the events that may be known.
    """

    model: Hrnn
    now: npt.NDArray[np.float32]
    later: npt.NDArray[np.float32]
    item_repeat_odds: npt.NDArray[np.float32]
    trends: Trends

    def own_scores(self, sequences: Sequences, user_rows: Rows, as_of: Rows, later: npt.NDArray[np.bool_]) -> UserStates:
        """States with own items, and without queries."""
        own = own_item_features(sequences, user_rows, as_of, self.item_repeat_odds)
        of_later = np.repeat(later, np.diff(own.offsets))
        scores = np.where(of_later, own.features @ self.later[OWN_WEIGHTS], own.features @ self.now[OWN_WEIGHTS])
        return UserStates(torch.zeros(len(user_rows), 0), own.offsets, own.item_rows, scores.astype(np.float32))

    def mixed(self, states: Replayed, later: npt.NDArray[np.bool_]) -> Tensor:
        """[B, H]: continuing and fresh states in each kind's proportion."""
        weights = torch.from_numpy(np.where(later[:, None], self.later[None, :2], self.now[None, :2]))
        return weights[:, :1] * states.continuing + weights[:, 1:] * states.fresh


class NightlyView:
    """ScoringModel as of one moment, the end of the data: what `recommend` serves.

    Users whose last event is at least a session's gap ago are asked `later`, the others `now`. A user nobody knows gets what a
    first session starts with; that answer is the item bias, and the queries hold the difference to it.

    Args:
        fitted: The model.
        cut: The moment, UTC epoch seconds; only events before it are known.
        gap_seconds: Of the sessions; None where sessions have no gap, and everybody is asked `now`.
    """

    def __init__(self, fitted: Fitted, cut: int, gap_seconds: int | None) -> None:
        self._fitted, self._cut, self._gap = fitted, cut, gap_seconds
        self._vectors = torch.cat([fitted.model.item_table, torch.from_numpy(fitted.trends.at(cut))], dim=1)
        start = fitted.model.start_state().unsqueeze(0)
        self._unknown = self._queries(Replayed(start, start), np.asarray([gap_seconds is not None]))

    def item_vectors(self) -> Tensor:
        """float32 [N, H + 1 + windows]."""
        return self._vectors

    def item_bias(self) -> Tensor:
        """float32 [N]."""
        return self._vectors @ self._unknown[0]

    def user_states(self, sequences: Sequences, user_rows: Rows) -> UserStates:
        """States after the given events."""
        lengths = sequences.history_lengths[user_rows]
        last = sequences.user_offsets[:-1][user_rows] + np.maximum(lengths - 1, 0)
        idle = self._cut - np.asarray(sequences.timestamps[last])
        later = np.full(len(user_rows), False) if self._gap is None else (idle >= self._gap) | (lengths == 0)
        queries = self._queries(replay(self._fitted.model, sequences, user_rows), later) - self._unknown
        own = self._fitted.own_scores(sequences, user_rows, np.full(len(user_rows), self._cut), later)
        return replace(own, query=queries)

    def _queries(self, states: Replayed, later: npt.NDArray[np.bool_]) -> Tensor:
        fitted = self._fitted
        weights = np.where(later[:, None], fitted.later[None, BESIDE_WEIGHTS], fitted.now[None, BESIDE_WEIGHTS])
        return torch.cat([fitted.mixed(states, later), torch.from_numpy(weights)], dim=1)


class EvaluationView:
    """ScoringModel as of each user's own last event, asked `now`: what Personalize's offline metrics measure.

    Items' trends change with the moment, so an item's vector holds its weighted trend at every moment of a grid, and a
    user's query a one at theirs.

    Args:
        fitted: The model, its trends from events that are not hidden.
    """

    def __init__(self, fitted: Fitted) -> None:
        self._fitted = fitted
        trends, weights = fitted.trends, fitted.now[TREND_WEIGHTS]
        self._num_moments = trends.num_moments if weights.any() else 0
        by_moment = [torch.from_numpy(trends.at(trends.time_of(moment)) @ weights) for moment in range(self._num_moments)]
        self._vectors = torch.cat([fitted.model.item_table, *(column.unsqueeze(1) for column in by_moment)], dim=1)

    def item_vectors(self) -> Tensor:
        """float32 [N, H + 1 + moments]."""
        return self._vectors

    def item_bias(self) -> Tensor:
        """float32 [N], zeros: the bias stands among the vectors."""
        return torch.zeros(len(self._vectors))

    def user_states(self, sequences: Sequences, user_rows: Rows) -> UserStates:
        """States after the given events, of which every user must have one at least."""
        fitted = self._fitted
        later = np.full(len(user_rows), False)
        last = sequences.user_offsets[:-1][user_rows] + sequences.history_lengths[user_rows] - 1
        as_of = np.asarray(sequences.timestamps[last])
        states = fitted.mixed(replay(fitted.model, sequences, user_rows), later)
        bias = torch.full((len(user_rows), 1), float(fitted.now[BESIDE_WEIGHTS][0]))
        moments = torch.zeros(len(user_rows), self._num_moments)
        if self._num_moments:
            moments.scatter_(1, torch.from_numpy(fitted.trends.moment(as_of)).unsqueeze(1), 1.0)
        own = fitted.own_scores(sequences, user_rows, as_of, later)
        return replace(own, query=torch.cat([states, bias, moments], dim=1))
