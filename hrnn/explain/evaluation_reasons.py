"""Why a list is as it is: the share of each path in every score, and which past events an item owes its place to.

Users are asked right after their last known event, as in the evaluation (hrnn/blend/snapshots.py, `PerUserSnapshot`).

* A path's part in an item's score is the sum of its weighted features, less the mean of that sum over the catalogue. The parts
  add up to the item's score less the mean score, whatever constants a path adds to every item alike. Where a feature counts
  otherwise for items that the user has had, what that does to an average item is the own items' path's, the rest the
  feature's own path's. Cooccurrence of the latest events (hrnn/blend/cooccurrence.py) are part of the sequence.
* What a past event contributes is found by ablation: the history is run again without it, and the contribution is by how
  much the log of the item's probability (softmax over the catalogue) falls. Events are taken away together where they belong
  together: all events with one item, or a session. The latest events are tried, and those with the listed items. What only
  repeats what other events tell contributes little; contributions don't add up.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import torch

from hrnn.blend.snapshots import BlendedModel
from hrnn.blend.weights import (
    ALL_WEIGHTS,
    COOCCURRENCE_WEIGHTS,
    FEATURES,
    OWN_AGAIN_WEIGHTS,
    OWN_WEIGHTS,
    TREND_NAMES,
    TREND_WEIGHTS,
)
from hrnn.data.arrays import Floats, Rows
from hrnn.data.hashing import mix64
from hrnn.data.sequences import Sequences
from hrnn.data.sparse_scores import SparseScores
from hrnn.explain.ablation import By, Group, ablations

PathName = Literal["sequence", "popularity", "recency", "own item"]
PATHS: tuple[PathName, ...] = ("sequence", "popularity", "recency", "own item")
LEAST_EVENTS, MOST_EVENTS = 5, 1_000  # of users that are explained: a shorter history says little, a longer one takes long
_FEATURES_OF_ALL: dict[PathName, tuple[str, ...]] = {
    "sequence": ("same_session", "next_session"),
    "popularity": ("bias",),
    "recency": TREND_NAMES,
}
_MOST_CELLS = 1 << 24  # scores held at once
_MOST_CONTRIBUTIONS = 5  # of an item


@dataclass(frozen=True)
class Contribution:
    """What some past events of a user do for an item.

    Attributes:
        item_row: Of the events' item; of the first one's where they are of several.
        num_events: How many were taken away together.
        last_time: Of the latest of them, UTC epoch seconds.
        change: log of the item's probability, with these events less without them; above 0: they speak for the item.
    """

    item_row: int
    num_events: int
    last_time: int
    change: float


@dataclass(frozen=True)
class ItemExplanation:
    """One item of a list.

    Attributes:
        item_row: Which.
        score: As the model gives it.
        probability: Softmax of the scores over the catalogue.
        paths: What each of PATHS adds to the score, measured from the catalogue's mean.
        because: The past events that matter most to it, the strongest first, be it for or against.
    """

    item_row: int
    score: float
    probability: float
    paths: dict[PathName, float]
    because: tuple[Contribution, ...]


@dataclass(frozen=True)
class UserExplanation:
    """One user's list.

    Attributes:
        user_row: Which.
        as_of: When the user is asked about, UTC epoch seconds.
        items: Best first.
    """

    user_row: int
    as_of: int
    items: tuple[ItemExplanation, ...]


def choose_users(lengths: Rows, preferred: Rows, *, num_users: int = 10, seed: int = 0) -> Rows:
    """Users to explain, by a seeded hash of their row: the preferred ones first.

    Args:
        lengths: int64 [U], known events.
        preferred: int64, rows of users whose next events are known and hidden.
        num_users: How many at most.
        seed: Another seed draws others.

    Returns:
        int64, in falling preference; only users with LEAST_EVENTS to MOST_EVENTS events.
    """
    key = mix64(np.arange(len(lengths), dtype=np.uint64) ^ mix64(np.uint64(seed)))
    second_choice = np.ones(len(lengths), dtype=np.bool_)
    second_choice[preferred] = False
    fit = np.flatnonzero((lengths >= LEAST_EVENTS) & (lengths <= MOST_EVENTS))
    chosen: Rows = fit[np.lexsort((key[fit], second_choice[fit]))][:num_users].astype(np.int64)
    return chosen


@torch.no_grad()
def explain(
    fitted: BlendedModel, sequences: Sequences, user_rows: Rows, *, num_ranked: int, num_items: int = 10, by: By = "item"
) -> list[UserExplanation]:
    """The best items of some users, and why.

    Args:
        fitted: The model, on the CPU.
        sequences: Histories, possibly truncated; each of the users has an event at least.
        user_rows: int64 [B].
        num_ranked: Items [0, num_ranked) may be listed: those with events.
        num_items: Length of a list.
        by: Which events are taken away together: all of an item, a session, or each alone.

    Returns:
        One explanation a user, in the order of `user_rows`; the same for the same input.
    """
    last = sequences.user_offsets[:-1][user_rows] + sequences.history_lengths[user_rows] - 1
    as_of = np.asarray(sequences.timestamps[last])
    plain = _Asked(fitted, sequences, user_rows, as_of, num_ranked)
    terms = [plain.terms(user) for user in range(len(user_rows))]
    lists = [np.argsort(-each.sum(axis=0), kind="stable")[:num_items] for each in terms]
    trials = ablations(sequences, user_rows, by, lists)
    asked = _Asked(fitted, trials.sequences, np.arange(len(trials.owners)), as_of[trials.owners], num_ranked)
    found = []
    for user, row in enumerate(user_rows):
        without = asked.log_shares(np.flatnonzero(trials.owners == user)[1:], lists[user])
        items = _explained(terms[user], without, trials.groups[user], lists[user])
        found.append(UserExplanation(int(row), int(as_of[user]), items))
    return found


def _explained(terms: Floats, without: Floats, groups: list[Group], items: Rows) -> tuple[ItemExplanation, ...]:
    """A list, from the paths' terms [PATHS, N] and the logs of probabilities without each group of events [groups, items]."""
    scores = terms.sum(axis=0)
    log_shares = scores[items] - _log_total(scores.copy())
    parts = terms - terms.mean(axis=1, keepdims=True, dtype=np.float64)
    return tuple(
        ItemExplanation(
            item_row=int(item),
            score=float(scores[item]),
            probability=float(np.exp(log_shares[place])),
            paths={path: float(part) for path, part in zip(PATHS, parts[:, item], strict=True)},
            because=_strongest(groups, log_shares[place] - without[:, place]),
        )
        for place, item in enumerate(items)
    )


class _Asked:
    """Histories, run: scores and the terms of them. All users are asked for the same session."""

    def __init__(self, fitted: BlendedModel, sequences: Sequences, lanes: Rows, as_of: Rows, num_ranked: int) -> None:
        self._fitted, self._sequences, self._lanes, self._as_of, self._num_ranked = fitted, sequences, lanes, as_of, num_ranked
        self._replayed = fitted.model.queries(sequences, lanes)
        self._mixed = fitted.mixed(self._replayed, np.zeros(len(lanes), dtype=np.bool_))
        items = fitted.model.items()
        self._table = torch.cat([items.vectors, items.bias.unsqueeze(1)], dim=1)[:num_ranked]
        self._vectors = self._table[:, :-1].contiguous()  # else each product would copy them
        self._bias: Floats = (self._table[:, -1] * float(fitted.weights.same_session[FEATURES.index("bias")])).numpy()
        self._own = self._own_scores(fitted)

    def terms(self, lane: int) -> Floats:
        """float32 [PATHS, N], what each path adds to the scores."""
        of_all = {"sequence": self._sequence(np.asarray([lane]))[0], "popularity": self._bias, "recency": self._recency(lane)}
        terms = np.stack([of_all.get(path, np.zeros_like(self._bias)) for path in PATHS])
        terms += np.stack([self._own_of_paths[path].dense(lane, self._num_ranked) for path in PATHS])
        had = np.flatnonzero(self._had.dense(lane, self._num_ranked))
        levels = self._own_levels(lane)
        terms[:, had] -= levels[:, None]
        terms[PATHS.index("own item"), had] += levels.sum()
        return terms

    def _own_levels(self, lane: int) -> Floats:
        """[PATHS], what features that count otherwise for own items would add to an average item if it were one."""
        bias = float(self._average_item[-1])
        of_states = [
            float(state[lane] @ self._average_item[:-1]) for state in (self._replayed.same_session, self._replayed.next_session)
        ]
        features = np.asarray([*of_states, bias, *self._trends(lane).mean(axis=0)], dtype=np.float32)
        weighted = features * self._fitted.weights.same_session[OWN_AGAIN_WEIGHTS]
        names = FEATURES[ALL_WEIGHTS]
        sums = [sum(weighted[names.index(name)] for name in _FEATURES_OF_ALL.get(path, ())) for path in PATHS]
        return np.asarray(sums, dtype=np.float32)

    def log_shares(self, lanes: Rows, items: Rows) -> Floats:
        """float32 [lanes, items], logs of probabilities over the catalogue; the lanes are asked at one moment."""
        step = max(1, _MOST_CELLS // self._num_ranked)
        pieces = [np.empty((0, len(items)), dtype=np.float32)]
        of_all = self._bias + self._recency(int(lanes[0])) if len(lanes) else self._bias
        for begin in range(0, len(lanes), step):
            some = lanes[begin : begin + step]
            scores = self._sequence(some)
            scores += of_all
            for number, lane in enumerate(some):
                scores[number] += self._own.dense(int(lane), self._num_ranked)
            listed = scores[:, items]
            pieces.append(listed - _log_total(scores)[:, None])
        return np.concatenate(pieces)

    def _sequence(self, lanes: Rows) -> Floats:
        scores: Floats = (self._mixed[torch.from_numpy(lanes)] @ self._vectors.t()).numpy()
        return scores

    def _recency(self, lane: int) -> Floats:
        term: Floats = self._trends(lane) @ self._fitted.weights.same_session[TREND_WEIGHTS]
        return term

    def _trends(self, lane: int) -> Floats:
        """[N, windows], at the moment that PerUserSnapshot takes."""
        trends = self._fitted.trends
        return trends.at(int(trends.grid_time(self._as_of[lane : lane + 1])[0]))[: self._num_ranked]

    @cached_property
    def _average_item(self) -> torch.Tensor:
        return self._table.mean(dim=0)

    @cached_property
    def _own_of_paths(self) -> dict[PathName, SparseScores]:
        """What the features of own items and successors add, by the path that the features are of."""
        found = {}
        for path in PATHS:
            counts = [
                name.startswith("own_") and name.removeprefix("own_") in _FEATURES_OF_ALL.get(path, ()) for name in FEATURES
            ]
            for of_path, places in (("own item", OWN_WEIGHTS), ("sequence", COOCCURRENCE_WEIGHTS)):
                counts[places] = [path == of_path] * len(counts[places])
            found[path] = self._own_scores(self._weighted(np.where(counts, self._fitted.weights.same_session, np.float32(0.0))))
        return found

    @cached_property
    def _had(self) -> SparseScores:
        """1 for each item that a user has had, 0 for those that succeed their events only."""
        alone = np.asarray([name == "own" for name in FEATURES], dtype=np.float32)
        return self._own_scores(self._weighted(alone))

    def _weighted(self, same_session: Floats) -> BlendedModel:
        return replace(self._fitted, weights=self._fitted.weights._replace(same_session=same_session))

    def _own_scores(self, fitted: BlendedModel) -> SparseScores:
        same_session = np.zeros(len(self._lanes), dtype=np.bool_)
        asked_at = fitted.trends.grid_time(self._as_of)
        return fitted.sparse_scores(self._sequences, self._lanes, self._as_of, same_session, self._replayed, asked_at)


def _log_total(scores: Floats) -> Floats:
    """log of the sum of exp over the last axis; the scores are overwritten."""
    greatest = scores.max(axis=-1)
    scores -= greatest[..., None]
    np.exp(scores, out=scores)
    total: Floats = greatest + np.log(scores.sum(axis=-1))
    return total


def _strongest(groups: list[Group], changes: Floats) -> tuple[Contribution, ...]:
    """The largest changes, up or down."""
    order = np.argsort(-np.abs(changes), kind="stable")[:_MOST_CONTRIBUTIONS]
    return tuple(
        Contribution(groups[at].item_row, groups[at].num_events, groups[at].last_time, float(changes[at])) for at in order
    )
