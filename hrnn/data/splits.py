"""Which users are tested, and which of their events are hidden: Personalize's rule, made exact and repeatable.

Nine users of ten are trained on whole. Of every tenth user with at least two events, the oldest nine tenths of the events are
input and the newest tenth, at least one event, is the truth that recommendations are measured against. By Personalize's
rule nothing is learnt from that input; Split says whether it is (hrnn/data/preparation.py).

Source: Amazon Personalize developer guide, "Evaluating a solution version with metrics". The guide doesn't say how small
histories are rounded, nor that the number of test users has an upper bound; both are this module's choice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

TEST_SHARE = 0.1  # of the users with at least two events
TRUTH_SHARE = 0.1  # of a test user's events
SEGMENT_TRUTH_SHARE = 0.2  # of every user's events, where segments of users are measured
MOST_TEST_USERS = 50_000  # standard error of a mean of such numbers is below 0.0023: more would only cost time

Truth = Literal["newest_tenth", "last_item"]
Split = Literal["personalize", "all_users"]


@dataclass(frozen=True)
class EvaluationSplit:
    """The test users and how much of their history is input.

    Attributes:
        user_rows: int64 [V], rising.
        keep_counts: int64 [V], oldest events that are input, at least 1.
        truth_counts: int64 [V], newest events that are hidden, at least 1.
    """

    user_rows: npt.NDArray[np.int64]
    keep_counts: npt.NDArray[np.int64]
    truth_counts: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.user_rows)


def evaluation_split(
    num_events: npt.ArrayLike, *, seed: int = 0, truth: Truth = "newest_tenth", most_test_users: int = MOST_TEST_USERS
) -> EvaluationSplit:
    """Choose the test users by a seeded hash of their row, and cut their histories.

    Args:
        num_events: [U], each user's events, in user-row order.
        seed: Another seed draws other users.
        truth: `newest_tenth` hides max(1, floor(10 %)) of a test user's events; `last_item` hides the newest event only,
            which is what AWS's own notebook on temporal holdout found the service to do in 2019.
        most_test_users: Upper bound of test users, so that measuring stays cheap on millions of users.

    Returns:
        max(1, floor(10 %)) of the users with at least two events; nobody where there is no such user.
    """
    counts = np.asarray(num_events, dtype=np.int64)
    eligible = np.flatnonzero(counts >= 2)
    wanted = min(most_test_users, len(eligible), max(1, int(len(eligible) * TEST_SHARE)))
    order = np.argsort(_mixed(eligible.astype(np.uint64), seed), kind="stable")
    user_rows = np.sort(eligible[order[:wanted]]).astype(np.int64)
    total = counts[user_rows]
    hidden = np.ones_like(total) if truth == "last_item" else np.maximum(1, total // round(1 / TRUTH_SHARE))
    return EvaluationSplit(user_rows, total - hidden, hidden)


def segment_split(num_events: npt.ArrayLike) -> EvaluationSplit:
    """The split for segments of users: of everybody with at least two events, the newest fifth, at least one event, is hidden.

    Args:
        num_events: [U], each user's events, in user-row order.
    """
    counts = np.asarray(num_events, dtype=np.int64)
    user_rows = np.flatnonzero(counts >= 2)
    hidden = np.maximum(1, counts[user_rows] // round(1 / SEGMENT_TRUTH_SHARE))
    return EvaluationSplit(user_rows, counts[user_rows] - hidden, hidden)


def drawn_users(split: EvaluationSplit, *, seed: int = 0, most: int = MOST_TEST_USERS) -> EvaluationSplit:
    """At most `most` of the users of a split, by a seeded hash of their row."""
    order = np.argsort(_mixed(split.user_rows.astype(np.uint64), seed), kind="stable")
    kept = np.sort(order[:most])
    return EvaluationSplit(split.user_rows[kept], split.keep_counts[kept], split.truth_counts[kept])


def _mixed(values: npt.NDArray[np.uint64], seed: int) -> npt.NDArray[np.uint64]:
    """SplitMix64's finaliser (Steele, Lea, Flood 2014): spreads row numbers over 64 bits."""
    mixed = values + np.uint64((seed * 0x9E3779B97F4A7C15 + 0x9E3779B97F4A7C15) % (1 << 64))
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return mixed ^ (mixed >> np.uint64(31))
