"""Why a list is as it is: the share of each path in every score, and which past events an item owes its place to.

Users are asked right after their last known event, as in the evaluation (hrnn/serving.py, `EvaluationView`).

* A path's part in an item's score is its term for that item, less the mean of the term over the catalogue. The parts add up to
  the item's score less the mean score, whatever constants a path adds to every item alike.
* What a past event contributes is found by ablation: the history is run again without it, and the contribution is by how
  much the log of the item's probability (softmax over the catalogue) falls. Events are taken away together where they belong
  together: all events with one item, or a session. What only repeats what other events tell contributes little; contributions
  don't add up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from hrnn.ablation import Ablations, By, Group, ablations
from hrnn.batching import Rows
from hrnn.blending import TREND_WEIGHTS
from hrnn.hashing import mix64
from hrnn.sequences import Sequences
from hrnn.serving import Fitted
from hrnn.session_model import UserStates
from hrnn.states import replay

PathName = Literal["sequence", "popularity", "recency", "own item"]
PATHS: tuple[PathName, ...] = ("sequence", "popularity", "recency", "own item")
LEAST_EVENTS, MOST_EVENTS = 5, 1_000  # of users that are explained: a shorter history says little, a longer one takes long
_MOST_CELLS = 1 << 24  # scores held at once
_MOST_CONTRIBUTIONS = 5  # of an item

Floats = npt.NDArray[np.float32]


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
    fitted: Fitted, sequences: Sequences, user_rows: Rows, *, num_ranked: int, num_items: int = 10, by: By = "item"
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
    trials = ablations(sequences, user_rows, by)
    lanes = np.arange(len(trials.owners))
    last = sequences.user_offsets[:-1][user_rows] + sequences.history_lengths[user_rows] - 1
    as_of = np.asarray(sequences.timestamps[last])
    now = np.zeros(len(lanes), dtype=np.bool_)
    states = fitted.mixed(replay(fitted.model, trials.sequences, lanes), now)
    own = fitted.own_scores(trials.sequences, lanes, as_of[trials.owners], now)
    asked = _Asked(fitted, trials, states, own, num_ranked)
    return [asked.explain(user, int(row), int(as_of[user]), num_items) for user, row in enumerate(user_rows)]


class _Asked:
    """All trials of all users, run; lists and contributions are read off one user after the other."""

    def __init__(self, fitted: Fitted, trials: Ablations, states: torch.Tensor, own: UserStates, num_ranked: int) -> None:
        self._fitted, self._trials, self._states, self._own = fitted, trials, states, own
        self._vectors = fitted.model.item_table[:num_ranked, :-1]
        self._bias = (fitted.model.item_table[:num_ranked, -1] * float(fitted.now[TREND_WEIGHTS.start - 1])).numpy()

    def explain(self, user: int, user_row: int, as_of: int, num_items: int) -> UserExplanation:
        """The list of one user."""
        trends = self._fitted.trends
        moment = trends.time_of(int(trends.moment(np.asarray([as_of]))[0]))  # as EvaluationView has it
        recency = trends.at(moment)[: len(self._bias)] @ self._fitted.now[TREND_WEIGHTS]
        first, *others = np.flatnonzero(self._trials.owners == user).tolist()
        terms = np.stack([self._sequence_scores([first])[0], self._bias, recency, self._own_scores([first])[0]])
        scores = terms.sum(axis=0)
        best = np.argsort(-scores, kind="stable")[:num_items]
        log_shares = (scores - _log_total(scores))[best]
        parts = terms - terms.mean(axis=1, keepdims=True, dtype=np.float64)
        without = self._log_shares(others, self._bias + recency, best)
        items = tuple(
            ItemExplanation(
                item_row=int(item),
                score=float(scores[item]),
                probability=float(np.exp(log_shares[place])),
                paths={path: float(part) for path, part in zip(PATHS, parts[:, item], strict=True)},
                because=_strongest(self._trials.groups[user], log_shares[place] - without[:, place]),
            )
            for place, item in enumerate(best)
        )
        return UserExplanation(user_row, as_of, items)

    def _log_shares(self, lanes: list[int], base: Floats, items: Rows) -> Floats:
        """[lanes, items], logs of probabilities over the catalogue."""
        step = max(1, _MOST_CELLS // len(base))
        pieces = [np.empty((0, len(items)), dtype=np.float32)]
        for begin in range(0, len(lanes), step):
            some = lanes[begin : begin + step]
            scores = self._sequence_scores(some) + base + self._own_scores(some)
            pieces.append(scores[:, items] - _log_total(scores)[:, None])
        return np.concatenate(pieces)

    def _sequence_scores(self, lanes: list[int]) -> Floats:
        scores: Floats = (self._states[lanes] @ self._vectors.t()).numpy()
        return scores

    def _own_scores(self, lanes: list[int]) -> Floats:
        """[lanes, items], 0 where an item is not the user's own."""
        scores = np.zeros((len(lanes), len(self._bias)), dtype=np.float32)
        for number, lane in enumerate(lanes):
            mine = slice(self._own.own_offsets[lane], self._own.own_offsets[lane + 1])
            scores[number, self._own.own_item_rows[mine]] = self._own.own_item_scores[mine]
        return scores


def _log_total(scores: Floats) -> Floats:
    """log of the sum of exp over the last axis."""
    greatest = scores.max(axis=-1)
    total: Floats = greatest + np.log(np.exp(scores - greatest[..., None]).sum(axis=-1))
    return total


def _strongest(groups: list[Group], changes: Floats) -> tuple[Contribution, ...]:
    """The largest changes, up or down."""
    order = np.argsort(-np.abs(changes), kind="stable")[:_MOST_CONTRIBUTIONS]
    return tuple(
        Contribution(groups[at].item_row, groups[at].num_events, groups[at].last_time, float(changes[at])) for at in order
    )
