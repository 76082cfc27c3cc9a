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

from hrnn.blend.item_statistics import Counted
from hrnn.blend.trends import WINDOWS_DAYS, Trends
from hrnn.blend.weights import BESIDE_WEIGHTS, COUNTED_WEIGHTS, EVERY_TREND, OWN_AGAIN_WEIGHTS, TREND_WEIGHTS
from hrnn.data.arrays import Flags, Rows
from hrnn.data.ragged import row_ids
from hrnn.data.sequences import Sequences, unknown_user
from hrnn.models.contract import Queries, QueryModel
from hrnn.models.scoring_model import UserStates


@dataclass(frozen=True)
class Fitted:
    """A model with the weights of its paths.

    Attributes:
        model: Trained parameters, on the CPU.
        now, later: float32 [hrnn.blend.weights.FEATURES], see there.
        counted: What is counted from the events that may be known.
    """

    model: QueryModel
    now: npt.NDArray[np.float32]
    later: npt.NDArray[np.float32]
    counted: Counted

    @property
    def trends(self) -> Trends:
        """Popularity over time."""
        return self.counted.trends

    def own_scores(
        self,
        sequences: Sequences,
        user_rows: Rows,
        as_of: Rows,
        later: npt.NDArray[np.bool_],
        states: Queries,
        asked_at: Rows | None = None,
    ) -> UserStates:
        """States with own items, and without queries.

        Args:
            sequences: Histories, possibly truncated.
            user_rows: int64 [B].
            as_of: int64 [B], the moment that ages are counted to, epoch seconds.
            later: bool [B], which weights count.
            states: Of the users.
            asked_at: int64 [B], the moment whose trends count, of few different ones; None: that of the grid.
        """
        asked_at = self.trends.grid_time(as_of) if asked_at is None else asked_at
        own = self.counted.user_items(sequences, user_rows, as_of)
        owners = row_ids(own.offsets)
        again = self._features_of_all(states, owners, own.item_rows, asked_at)
        features = np.concatenate([own.features, again * own.features[:, :1]], axis=1)  # the first one: an item they have had
        weights = slice(COUNTED_WEIGHTS.start, OWN_AGAIN_WEIGHTS.stop)
        scores = np.where(later[owners], features @ self.later[weights], features @ self.now[weights])
        return UserStates(torch.zeros(len(user_rows), 0), own.offsets, own.item_rows, scores.astype(np.float32))

    def _features_of_all(self, states: Queries, owners: Rows, item_rows: Rows, asked_at: Rows) -> npt.NDArray[np.float32]:
        """The features that every item has, of pairs of user and item: float32 [pairs, 3 + windows]."""
        table = self.model.items().packed[torch.from_numpy(item_rows)]
        users = torch.from_numpy(owners)
        of_states = [(table[:, :-1] * state[users]).sum(1) for state in (states.same_session, states.next_session)]
        trends = np.zeros((len(owners), len(WINDOWS_DAYS)), dtype=np.float32)
        if self.now[EVERY_TREND].any() or self.later[EVERY_TREND].any():
            moments, places = np.unique(asked_at, return_inverse=True)
            by_moment = np.argsort(places[owners], kind="stable")
            ends = np.cumsum(np.bincount(places[owners], minlength=len(moments)))
            for time, begin, end in zip(moments.tolist(), [0, *ends][:-1], ends, strict=True):
                pairs = by_moment[begin:end]
                trends[pairs] = self.trends.at(time, item_rows[pairs])
        return np.concatenate([torch.stack([*of_states, table[:, -1]], dim=1).numpy(), trends], axis=1)

    def mixed(self, states: Queries, later: npt.NDArray[np.bool_]) -> Tensor:
        """[B, H]: same_session and fresh states in each kind's proportion."""
        weights = torch.from_numpy(np.where(later[:, None], self.later[None, :2], self.now[None, :2]))
        return weights[:, :1] * states.same_session + weights[:, 1:] * states.next_session


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
        self._vectors = torch.cat([fitted.model.items().packed, torch.from_numpy(fitted.trends.at(cut))], dim=1)
        unknown = fitted.model.queries(unknown_user(len(self._vectors)), np.zeros(1, dtype=np.int64))
        self._unknown = self._queries(unknown, np.asarray([gap_seconds is not None]))

    @property
    def parts(self) -> tuple[Fitted, int, int | None]:
        """What it is made of, for another process."""
        return self._fitted, self._cut, self._gap

    def item_vectors(self) -> Tensor:
        """float32 [N, H + 1 + windows]."""
        return self._vectors

    def item_bias(self) -> Tensor:
        """float32 [N]."""
        return self._vectors @ self._unknown[0]

    def user_states(self, sequences: Sequences, user_rows: Rows) -> UserStates:
        """States after the given events."""
        later = asked_later(sequences, user_rows, self._cut, self._gap)
        states = self._fitted.model.queries(sequences, user_rows)
        cut = np.full(len(user_rows), self._cut)
        own = self._fitted.own_scores(sequences, user_rows, cut, later, states, cut)
        return replace(own, query=self._queries(states, later) - self._unknown)

    def _queries(self, states: Queries, later: npt.NDArray[np.bool_]) -> Tensor:
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
        self.fitted = fitted
        trends, weights = fitted.trends, fitted.now[TREND_WEIGHTS]
        self._num_moments = trends.num_moments if weights.any() else 0
        by_moment = [torch.from_numpy(trends.at(trends.time_of(moment)) @ weights) for moment in range(self._num_moments)]
        self._vectors = torch.cat([fitted.model.items().packed, *(column.unsqueeze(1) for column in by_moment)], dim=1)

    def item_vectors(self) -> Tensor:
        """float32 [N, H + 1 + moments]."""
        return self._vectors

    def item_bias(self) -> Tensor:
        """float32 [N], zeros: the bias stands among the vectors."""
        return torch.zeros(len(self._vectors))

    def user_states(self, sequences: Sequences, user_rows: Rows) -> UserStates:
        """States after the given events, of which every user must have one at least."""
        fitted = self.fitted
        later = np.full(len(user_rows), False)
        last = sequences.user_offsets[:-1][user_rows] + sequences.history_lengths[user_rows] - 1
        as_of = np.asarray(sequences.timestamps[last])
        replayed = fitted.model.queries(sequences, user_rows)
        states = fitted.mixed(replayed, later)
        bias = torch.full((len(user_rows), 1), float(fitted.now[BESIDE_WEIGHTS][0]))
        moments = torch.zeros(len(user_rows), self._num_moments)
        if self._num_moments:
            moments.scatter_(1, torch.from_numpy(fitted.trends.moment(as_of)).unsqueeze(1), 1.0)
        own = fitted.own_scores(sequences, user_rows, as_of, later, replayed)
        return replace(own, query=torch.cat([states, bias, moments], dim=1))


def asked_later(sequences: Sequences, user_rows: Rows, cut: int, gap_seconds: int | None) -> Flags:
    """bool [B], whether users are asked for a next session: the last event is a session's gap ago, or there is none.

    Args:
        sequences: Histories, possibly truncated.
        user_rows: int64 [B].
        cut: The moment that is asked at, UTC epoch seconds.
        gap_seconds: Of the sessions; None: there is no next session.
    """
    if gap_seconds is None:
        return np.zeros(len(user_rows), dtype=np.bool_)
    lengths = sequences.history_lengths[user_rows]
    if not len(sequences.timestamps):
        return np.ones(len(user_rows), dtype=np.bool_)
    last = sequences.user_offsets[:-1][user_rows] + np.maximum(lengths - 1, 0)
    idle = cut - np.asarray(sequences.timestamps[np.minimum(last, len(sequences.timestamps) - 1)])
    return np.asarray((idle >= gap_seconds) | (lengths == 0))
