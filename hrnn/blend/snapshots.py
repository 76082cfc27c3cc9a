"""A model as of a time: that of the data's end for lists (`ServingSnapshot`), each user's own for metrics (`PerUserSnapshot`).

Of a blended model, the bias and the trends of an item stand beside its vector, and their weights beside the user's query, so
that a score is still one product: query · item vector + bias + sparse score.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from hrnn.blend.item_statistics import ItemStatistics
from hrnn.blend.repeats import UserItems
from hrnn.blend.trends import WINDOWS_DAYS, Trends
from hrnn.blend.weights import BESIDE_WEIGHTS, COUNTED_WEIGHTS, EVERY_TREND, OWN_AGAIN_WEIGHTS, TREND_WEIGHTS, BlendWeights
from hrnn.data.arrays import Flags, Floats, Rows
from hrnn.data.metadata import Metadata
from hrnn.data.ragged import row_ids
from hrnn.data.sequences import Sequences, unknown_user
from hrnn.data.sparse_scores import SparseScores
from hrnn.models.contract import ItemMatrix, Queries, QueryModel, UserStates


@dataclass(frozen=True)
class BlendedModel:
    """A model blended with repeats, trends and co-occurrence.

    Attributes:
        model: Fitted, on the CPU, without sparse scores of its own.
        weights: Blend weights.
        statistics: Item statistics of the same events.
    """

    model: QueryModel
    weights: BlendWeights
    statistics: ItemStatistics

    @property
    def trends(self) -> Trends:
        """Recent popularity."""
        return self.statistics.trends

    def sparse_scores(
        self,
        sequences: Sequences,
        user_rows: Rows,
        as_of: Rows,
        next_session: Flags,
        queries: Queries,
        trend_times: Rows | None = None,
        user_items: UserItems | None = None,
    ) -> SparseScores:
        """Sparse scores: of items that users have had, and of items that co-occur with their latest events.

        Args:
            sequences: Histories, possibly truncated.
            user_rows: int64 [B].
            as_of: int64 [B], the time of the prediction, to which ages are counted, UTC epoch seconds.
            next_session: bool [B], whose weights count.
            queries: Of the users.
            trend_times: int64 [B], times of the trends, few distinct ones; None: the grid times at or before `as_of`.
            user_items: Of `statistics`, for the same arguments, where they are at hand.
        """
        trend_times = self.trends.grid_time(as_of) if trend_times is None else trend_times
        sparse = user_items or self.statistics.user_items(sequences, user_rows, as_of)
        users = row_ids(sparse.offsets)
        dense = self.dense_features(queries, users, sparse.item_rows, trend_times)
        # The first sparse feature is `own`: interactions with it are 0 for items that the user has not had.
        features = np.concatenate([sparse.features, dense * sparse.features[:, :1]], axis=1)  # in the order of FEATURES
        places = slice(COUNTED_WEIGHTS.start, OWN_AGAIN_WEIGHTS.stop)
        scores = np.where(
            next_session[users],
            features @ self.weights.next_session[places],
            features @ self.weights.same_session[places],
        )
        return SparseScores(sparse.offsets, sparse.item_rows, scores.astype(np.float32))

    def dense_features(self, queries: Queries, users: Rows, item_rows: Rows, trend_times: Rows) -> Floats:
        """Features that every item has, of pairs of user and item: float32 [pairs, 3 + windows].

        Args:
            queries: Of B users.
            users: int64 [pairs], which of them.
            item_rows: int64 [pairs].
            trend_times: int64 [B], as in `sparse_scores`.
        """
        items, rows, of_pairs = self.model.items(), torch.from_numpy(item_rows), torch.from_numpy(users)
        vectors = items.vectors[rows]
        products = [(vectors * query[of_pairs]).sum(1) for query in (queries.same_session, queries.next_session)]
        trends = np.zeros((len(users), len(WINDOWS_DAYS)), dtype=np.float32)
        # Trends cost most of the time here: none are made where no weight asks for them, and one table a distinct time.
        if any(weights[EVERY_TREND].any() for weights in self.weights):
            times, time_of_user = np.unique(trend_times, return_inverse=True)
            by_time = np.argsort(time_of_user[users], kind="stable")
            ends = np.cumsum(np.bincount(time_of_user[users], minlength=len(times)))
            for time, begin, end in zip(times.tolist(), [0, *ends][:-1], ends, strict=True):
                pairs = by_time[begin:end]
                trends[pairs] = self.trends.at(time, item_rows[pairs])
        return np.concatenate([torch.stack([*products, items.bias[rows]], dim=1).numpy(), trends], axis=1)

    def mixed(self, queries: Queries, next_session: Flags) -> Tensor:
        """Weighted sums of the queries for the same and for the next session: [B, H]."""
        weights = torch.from_numpy(self.weights.of(next_session)[:, :2])
        return weights[:, :1] * queries.same_session + weights[:, 1:] * queries.next_session


class Asked(NamedTuple):
    """States of B users, and what they are made from.

    Attributes:
        states: Queries and sparse scores.
        queries: Of the model, before they are blended.
        next_session: bool [B], whether the next session is predicted.
        user_items: Repeat and co-occurrence features.
    """

    states: UserStates
    queries: Queries
    next_session: Flags
    user_items: UserItems


class ServingSnapshot:
    """A blended model as of one time, the end of the data: what `recommend` serves.

    For users whose last event is at least a session's gap ago, the next session is predicted. An unknown user gets the scores
    of a first session's start; these are the bias, and the queries hold the difference to them.

    Args:
        blended: The model.
        cut: The time, UTC epoch seconds; only events before it are known.
        gap_seconds: Of the sessions; None where sessions have no gap, and the same one is predicted for everybody.
    """

    def __init__(self, blended: BlendedModel, cut: int, gap_seconds: int | None) -> None:
        self._blended, self._cut, self._gap = blended, cut, gap_seconds
        vectors = torch.cat([*_packed(blended.model), torch.from_numpy(blended.trends.at(cut))], dim=1)
        unknown = blended.model.queries(unknown_user(len(vectors)), np.zeros(1, dtype=np.int64))
        self._unknown = self._queries(unknown, np.asarray([gap_seconds is not None]))
        self._items = ItemMatrix(vectors, vectors @ self._unknown[0])

    @property
    def parts(self) -> tuple[BlendedModel, int, int | None]:
        """Its constructor's arguments, for another process."""
        return self._blended, self._cut, self._gap

    @classmethod
    def of_parts(cls, parts: tuple[BlendedModel, int, int | None], sequences: Sequences, metadata: Metadata) -> ServingSnapshot:
        """The snapshot whose parts these are; of the data it needs nothing but what it is asked with."""
        return cls(*parts)

    def items(self) -> ItemMatrix:
        """Vectors [N, H + 1 + windows]."""
        return self._items

    def user_states(self, histories: Sequences, user_rows: Rows) -> UserStates:
        """After the given events."""
        return self.ask(histories, user_rows).states

    def ask(self, histories: Sequences, user_rows: Rows) -> Asked:
        """States after the given events, and what they are made from."""
        next_session = asks_next_session(histories, user_rows, self._cut, self._gap)
        queries = self._blended.model.queries(histories, user_rows)
        cut = np.full(len(user_rows), self._cut)
        user_items = self._blended.statistics.user_items(histories, user_rows, cut)
        sparse = self._blended.sparse_scores(histories, user_rows, cut, next_session, queries, cut, user_items)
        # An item's bias holds the unknown user's product with it: score = (query - unknown) · vector + unknown · vector.
        states = UserStates(self._queries(queries, next_session) - self._unknown, sparse)
        return Asked(states, queries, next_session, user_items)

    def _queries(self, queries: Queries, next_session: Flags) -> Tensor:
        weights = self._blended.weights.of(next_session)[:, BESIDE_WEIGHTS]
        return torch.cat([self._blended.mixed(queries, next_session), torch.from_numpy(weights)], dim=1)


class PerUserSnapshot:
    """A blended model as of each user's own last event, for the same session: what Personalize's offline metrics measure.

    Trends change with time, so an item's vector holds its weighted trend at every time of a grid, and a user's query is one-hot
    there.

    Args:
        blended: The model, its statistics from events that are not hidden.
    """

    def __init__(self, blended: BlendedModel) -> None:
        self.blended = blended
        trends, weights = blended.trends, blended.weights.same_session[TREND_WEIGHTS]
        self._num_times = trends.num_grid_times if weights.any() else 0
        # Windows are summed by their weights beforehand, which are the same for all users: one column a time. Times rise.
        columns = [torch.from_numpy(trends.at(trends.time_of(index)) @ weights) for index in range(self._num_times)]
        vectors = torch.cat([*_packed(blended.model), *(column.unsqueeze(1) for column in columns)], dim=1)
        self._items = ItemMatrix(vectors, torch.zeros(len(vectors)))

    def items(self) -> ItemMatrix:
        """Vectors [N, H + 1 + grid times]; the bias stands among them."""
        return self._items

    def user_states(self, histories: Sequences, user_rows: Rows) -> UserStates:
        """After the given events, of which every user must have one at least."""
        blended = self.blended
        same_session = np.zeros(len(user_rows), dtype=np.bool_)
        as_of = histories.timestamps[histories.user_offsets[:-1][user_rows] + histories.history_lengths[user_rows] - 1]
        queries = blended.model.queries(histories, user_rows)
        bias = torch.full((len(user_rows), 1), float(blended.weights.same_session[BESIDE_WEIGHTS][0]))
        one_hot = torch.zeros(len(user_rows), self._num_times)
        if self._num_times:
            one_hot.scatter_(1, torch.from_numpy(blended.trends.grid_index(np.asarray(as_of))).unsqueeze(1), 1.0)
        sparse = blended.sparse_scores(histories, user_rows, np.asarray(as_of), same_session, queries)
        return UserStates(torch.cat([blended.mixed(queries, same_session), bias, one_hot], dim=1), sparse)


class PlainSnapshot:
    """A model without a blend.

    Args:
        model: Fitted, on the CPU.
        cut: The time of all predictions, UTC epoch seconds; None: each user's is right after their last event.
        gap_seconds: As ServingSnapshot's.
    """

    def __init__(self, model: QueryModel, cut: int | None = None, gap_seconds: int | None = None) -> None:
        self.model, self._cut, self._gap = model, cut, gap_seconds

    def items(self) -> ItemMatrix:
        """Those of the model."""
        return self.model.items()

    def user_states(self, histories: Sequences, user_rows: Rows) -> UserStates:
        """After the given events."""
        queries = self.model.queries(histories, user_rows)
        sparse = self.model.sparse_scores(histories, user_rows) or SparseScores.none(len(user_rows))
        if self._cut is None:
            return UserStates(queries.same_session, sparse)
        next_session = torch.from_numpy(asks_next_session(histories, user_rows, self._cut, self._gap))
        return UserStates(torch.where(next_session[:, None], queries.next_session, queries.same_session), sparse)


def asks_next_session(sequences: Sequences, user_rows: Rows, cut: int, gap_seconds: int | None) -> Flags:
    """Whether a next session is predicted, bool [B]: the last event is at least a session's gap ago, or there is none.

    Args:
        sequences: Histories, possibly truncated.
        user_rows: int64 [B].
        cut: The time of the prediction, UTC epoch seconds.
        gap_seconds: Of the sessions; None: there is no next session.
    """
    if gap_seconds is None:
        return np.zeros(len(user_rows), dtype=np.bool_)
    lengths = sequences.history_lengths[user_rows]
    if not len(sequences.timestamps):
        return np.ones(len(user_rows), dtype=np.bool_)
    # Of an empty history, any event that is stored: its answer does not depend on it.
    last = sequences.user_offsets[:-1][user_rows] + np.maximum(lengths - 1, 0)
    idle = cut - np.asarray(sequences.timestamps[np.minimum(last, len(sequences.timestamps) - 1)])
    return np.asarray((idle >= gap_seconds) | (lengths == 0))


def _packed(model: QueryModel) -> tuple[Tensor, Tensor]:
    """Vectors [N, H] and biases [N, 1] of a model's items, to stand side by side."""
    items = model.items()
    return items.vectors, items.bias.unsqueeze(1)
