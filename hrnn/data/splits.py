"""Train / calibration / holdout split: which events parameters, blend weights and metrics are made from.

Holdout is Personalize's rule, made exact and repeatable. Nine users of ten are trained on whole. Of every tenth user with at
least two events, the oldest nine tenths of the events are input and the newest tenth, at least one event, is the truth that
recommendations are measured against. By Personalize's rule nothing is learnt from that input; `Split` says whether it is. Of
the users that are learnt from, the newest events of some calibrate the blend (hrnn/blend/weights.py) and are kept from the
sequence model.

Source: Amazon Personalize developer guide, "Evaluating a solution version with metrics". The guide doesn't say how small
histories are rounded, nor that the number of test users has an upper bound; both are this module's choice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from hrnn.data.arrays import Rows
from hrnn.data.sequences import Sequences
from schemas.errors import DataError

TEST_SHARE = 0.1  # of the users with at least two events
TRUTH_SHARE = 0.1  # of a test user's events
SEGMENT_TRUTH_SHARE = 0.2  # of every user's events, where segments of users are measured
_MOST_TRUTH = 50  # events of an example
_NEWEST_SHARE = 0.05  # of the events, which examples of a next session are asked for
_ENOUGH = 600  # examples; fewer where they would be more than a third of the users
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


@dataclass(frozen=True)
class Calibration:
    """Users whose newest events are kept from the sequence model, to fit the weights on.

    Attributes:
        user_rows: int64 [X], no user twice.
        keep_counts: int64 [X], events before the moment of asking.
        truth_counts: int64 [X], events after it that count as right answers.
        as_of: int64 [X], the moment, UTC epoch seconds.
        next_session: bool [X], whether the user is asked after a break.
    """

    user_rows: Rows
    keep_counts: Rows
    truth_counts: Rows
    as_of: Rows
    next_session: npt.NDArray[np.bool_]

    def only(self, next_session: bool) -> Calibration:
        """Those of one kind."""
        at = np.flatnonzero(self.next_session == next_session)
        return Calibration(
            self.user_rows[at], self.keep_counts[at], self.truth_counts[at], self.as_of[at], self.next_session[at]
        )


def draw_calibration(sequences: Sequences, seed: int, *, most: int = 4_000) -> Calibration:
    """Choose users: for the same session at random, and
    their newest tenth of events; for the next one a moment, and what they did after it.

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
    next_session = np.flatnonzero((before > 0) & (before < lengths))
    next_session = np.sort(generator.permutation(next_session)[: min(most, -(-len(next_session) // 2))])
    others = np.setdiff1d(np.flatnonzero(lengths >= 2), next_session)
    same_session = np.sort(
        generator.permutation(others)[: min(most, max(-(-len(others) // 20), min(len(others) // 3, _ENOUGH)))]
    )
    hidden = np.maximum(1, lengths[same_session] // 10)
    keep = np.concatenate([lengths[same_session] - hidden, before[next_session]])
    users = np.concatenate([same_session, next_session])
    is_next = np.arange(len(users)) >= len(same_session)
    last_kept = sequences.timestamps[sequences.user_offsets[:-1][users] + keep - 1]
    as_of = np.where(is_next, moment, last_kept)
    truth = np.minimum(lengths[users] - keep, _MOST_TRUTH)
    return Calibration(users, keep, truth, np.asarray(as_of), is_next)


def _night_before(sequences: Sequences) -> tuple[int, Rows]:
    """A moment, epoch seconds, after which the newest share of events lies; and int64 [U], each user's events before it."""
    events = sequences.event_positions(np.arange(sequences.num_users))
    times = np.asarray(sequences.timestamps[events.values])
    if not len(times):
        return 0, np.zeros(sequences.num_users, dtype=np.int64)
    rank = min(len(times) - 1, int(len(times) * (1 - _NEWEST_SHARE)))
    moment = int(np.partition(times, rank)[rank])
    return moment, np.bincount(events.row_ids()[times < moment], minlength=sequences.num_users)


@dataclass(frozen=True)
class Prepared:
    """Parts of the same sequences; every rank and the launcher cut them alike.

    Attributes:
        split: Test users, and how much of their histories is input.
        kept: All events but the hidden ones: what is known of test users when they are asked for.
        fit_and_calibration: Of these, what may be learnt from: by Personalize's split, nothing of a test user.
        calibration: Users whose newest available events weigh the paths.
        fit: Available events but those.
    """

    split: EvaluationSplit
    kept: Sequences
    fit_and_calibration: Sequences
    calibration: Calibration
    fit: Sequences


def prepare(sequences: Sequences, seed: int, *, segments: bool = False, split: Split = "personalize") -> Prepared:
    """Cut the sequences; a function of the seed alone.

    Args:
        sequences: All of them.
        seed: Of the examples.
        segments, split: Those of `hide`.
    """
    tested, kept, fit_and_calibration = hide(sequences, segments=segments, split=split)
    calibration = draw_calibration(fit_and_calibration, seed)
    return Prepared(
        tested,
        kept,
        fit_and_calibration,
        calibration,
        fit_and_calibration.truncate(calibration.user_rows, calibration.keep_counts),
    )


def hide(
    sequences: Sequences, *, segments: bool = False, split: Split = "personalize"
) -> tuple[EvaluationSplit, Sequences, Sequences]:
    """Test users, all events but the hidden ones, and those of them that may be learnt from.

    Args:
        sequences: All of them.
        segments: Whether events of every user are hidden, as for segments of users; the test users are some of them, and the
            older events of everybody are learnt from, since there is nobody else.
        split: `personalize`: nothing of a test user is learnt from, as in Personalize; `all_users`: their older events are. So
            are they where nobody else has two events.
    """
    lengths = sequences.history_lengths
    if segments:
        whole = segment_split(lengths)
        kept = sequences.truncate(whole.user_rows, whole.keep_counts)
        return drawn_users(whole), kept, kept
    tested = evaluation_split(lengths)
    kept = sequences.truncate(tested.user_rows, tested.keep_counts)
    if split == "all_users" or len(tested) == np.count_nonzero(lengths >= 2):
        return tested, kept, kept
    return tested, kept, sequences.truncate(tested.user_rows, np.zeros(len(tested), dtype=np.int64))


def users_between(sequences: Sequences, low: float, high: float) -> Rows:
    """Users whose history length lies between two percentiles (shares of users, 0 to 1), bounds included.

    Raises:
        DataError: No user is left.
    """
    lengths = sequences.history_lengths
    some = lengths[lengths > 0]
    shortest, longest = np.quantile(some, [low, high]) if len(some) else (1, 0)
    users = np.flatnonzero((lengths > 0) & (lengths >= shortest) & (lengths <= longest))
    if len(users) == 0:
        raise DataError(
            "no user is left between the history-length percentiles",
            value=[low, high],
            remedy="Widen min_user_history_length_percentile and max_user_history_length_percentile.",
        )
    return users
