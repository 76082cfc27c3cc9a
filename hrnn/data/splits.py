"""Train / calibration / holdout split: which events parameters, blend weights and metrics are made from.

The holdout is Personalize's rule, made exact and repeatable. Nine users of ten are trained on whole. Of every tenth user with
at least two events, the oldest nine tenths of the events are input and the newest tenth, at least one event, is ground truth.
By Personalize's rule nothing is learnt from that input; `Split` says whether it is. `Holdout` says whether the ground truth
is of this sample of users, or of everyone. The newest events of calibration users, some of those that are learnt from, are kept
from the sequence model too: blend weights are fitted on them (hrnn/blend/weights.py).

Source: Amazon Personalize developer guide, "Evaluating a solution version with metrics". The guide doesn't say how small
histories are rounded, nor that the number of test users has an upper bound; both are this module's choice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from hrnn.data.arrays import Rows
from hrnn.data.hashing import GOLDEN, mix64
from hrnn.data.sequences import Sequences
from schemas.errors import DataError
from schemas.solutions import Split

TEST_SHARE = 0.1  # of the users with at least two events
TRUTH_SHARE = 0.1  # of a test user's events
SEGMENT_TRUTH_SHARE = 0.2  # of every user's events, where segments of users are measured
_MOST_TRUTH = 50  # hidden events of a calibration user
_NEWEST_SHARE = 0.05  # of the events: those after the time at which next sessions are predicted
_ENOUGH = 600  # calibration users of the same session; fewer where they would be more than a third of the users
MOST_TEST_USERS = 50_000  # standard error of a mean of such numbers is below 0.0023: more would only cost time

Truth = Literal["newest_tenth", "last_item"]
Holdout = Literal["sample", "everyone"]


@dataclass(frozen=True)
class EvaluationSplit:
    """Test users, and where each one's history is cut into input and ground truth.

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
    """Sample test users by a seeded hash of their row, and cut their histories.

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
    num_test_users = min(most_test_users, len(eligible), max(1, int(len(eligible) * TEST_SHARE)))
    order = np.argsort(_mixed(eligible.astype(np.uint64), seed), kind="stable")
    user_rows = np.sort(eligible[order[:num_test_users]]).astype(np.int64)
    total = counts[user_rows]
    hidden = np.ones_like(total) if truth == "last_item" else np.maximum(1, total // round(1 / TRUTH_SHARE))
    return EvaluationSplit(user_rows, total - hidden, hidden)


def segment_split(num_events: npt.ArrayLike) -> EvaluationSplit:
    """Cut everyone's history, for segments of users: the newest fifth, at least one of at least two events, is ground truth.

    Args:
        num_events: [U], each user's events, in user-row order.
    """
    counts = np.asarray(num_events, dtype=np.int64)
    user_rows = np.flatnonzero(counts >= 2)
    hidden = np.maximum(1, counts[user_rows] // round(1 / SEGMENT_TRUTH_SHARE))
    return EvaluationSplit(user_rows, counts[user_rows] - hidden, hidden)


def drawn_users(split: EvaluationSplit, *, seed: int = 0, most: int = MOST_TEST_USERS) -> EvaluationSplit:
    """Sample of at most `most` of a split's users, by a seeded hash of their row."""
    order = np.argsort(_mixed(split.user_rows.astype(np.uint64), seed), kind="stable")
    kept = np.sort(order[:most])
    return EvaluationSplit(split.user_rows[kept], split.keep_counts[kept], split.truth_counts[kept])


def _mixed(values: npt.NDArray[np.uint64], seed: int) -> npt.NDArray[np.uint64]:
    """Hashes of row numbers, under each seed others."""
    return mix64(values + np.uint64(seed * GOLDEN % (1 << 64)))


@dataclass(frozen=True)
class Calibration:
    """Calibration users: their newest events are kept from the sequence model, to fit blend weights on.

    Attributes:
        user_rows: int64 [X], no user twice.
        keep_counts: int64 [X], events before the prediction.
        truth_counts: int64 [X], events after it, the targets.
        as_of: int64 [X], the time of the prediction, UTC epoch seconds.
        next_session: bool [X], whether the prediction is after a break.
    """

    user_rows: Rows
    keep_counts: Rows
    truth_counts: Rows
    as_of: Rows
    next_session: npt.NDArray[np.bool_]

    def only(self, next_session: bool) -> Calibration:
        """Calibration users of the next session, or of the same one."""
        at = np.flatnonzero(self.next_session == next_session)
        return Calibration(
            self.user_rows[at], self.keep_counts[at], self.truth_counts[at], self.as_of[at], self.next_session[at]
        )


def draw_calibration(sequences: Sequences, seed: int, *, most: int = 4_000) -> Calibration:
    """Draw calibration users of either kind: a sample with their newest tenth of events, and those who came back after a night.

    For the next session all predictions are made at one time, as those of a nightly list are, whenever users come back; after
    it lies the newest twentieth of the events. For the same session, each user's is right after their last kept event.

    Args:
        sequences: All events that may be learnt from.
        seed: Of the draw.
        most: Upper bound of users of each kind.
    """
    generator = np.random.Generator(np.random.Philox(key=[seed, 1 << 40]))
    lengths = sequences.history_lengths
    night, before = _last_night(sequences)
    # A user is of one kind only, since their history is cut at one place; half of those who came back are left to the model.
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
    as_of = np.where(is_next, night, last_kept)
    truth = np.minimum(lengths[users] - keep, _MOST_TRUTH)
    return Calibration(users, keep, truth, np.asarray(as_of), is_next)


def _last_night(sequences: Sequences) -> tuple[int, Rows]:
    """The time, epoch seconds, after which the newest share of events lies; and int64 [U], each user's events before it."""
    events = sequences.event_positions(np.arange(sequences.num_users))
    times = np.asarray(sequences.timestamps[events.values])
    if not len(times):
        return 0, np.zeros(sequences.num_users, dtype=np.int64)
    rank = min(len(times) - 1, int(len(times) * (1 - _NEWEST_SHARE)))
    night = int(np.partition(times, rank)[rank])
    return night, np.bincount(events.row_ids()[times < night], minlength=sequences.num_users)


@dataclass(frozen=True)
class Prepared:
    """Sequences cut into train, calibration and holdout events; every rank and the launcher cut them alike.

    Attributes:
        split: Test users, and how much of their histories is input.
        kept: All events but the ground truth: the input of test users, and everybody else's.
        fit_and_calibration: Of these, all that may be learnt from: by Personalize's split, nothing of a test user.
        calibration: Users whose newest of these events blend weights are fitted on.
        fit: The others, on which the model is trained.
    """

    split: EvaluationSplit
    kept: Sequences
    fit_and_calibration: Sequences
    calibration: Calibration
    fit: Sequences

    def before(self, time: int, seed: int) -> Prepared:
        """The same events as they were known at a time, UTC epoch seconds, with calibration users of then."""
        return _calibrated(self.split, self.kept.before(time), self.fit.before(time), seed)


def prepare(sequences: Sequences, seed: int, *, holdout: Holdout = "sample", split: Split = "personalize") -> Prepared:
    """Train / calibration / holdout split; a function of the seed alone.

    Args:
        sequences: All of them.
        seed: Of the calibration users.
        holdout: Whose newest events are hidden: `sample`, those of a tenth of the users; `everyone`, as segments of users need.
            Then test users are a sample of everyone, and everyone's older events are learnt from, since there is nobody else.
        split: `personalize`: nothing of a test user is learnt from, as in Personalize; `all_users`: their older events are. So
            are they where nobody else has two events.
    """
    return _calibrated(*_hide(sequences, holdout, split), seed)


def _calibrated(split: EvaluationSplit, kept: Sequences, fit_and_calibration: Sequences, seed: int) -> Prepared:
    """With calibration users, whose newest events are left out of `fit`."""
    calibration = draw_calibration(fit_and_calibration, seed)
    fit = fit_and_calibration.truncate(calibration.user_rows, calibration.keep_counts)
    return Prepared(split, kept, fit_and_calibration, calibration, fit)


def _hide(sequences: Sequences, holdout: Holdout, split: Split) -> tuple[EvaluationSplit, Sequences, Sequences]:
    """Holdout split: the test users, all events but their ground truth, and those of them that may be learnt from."""
    lengths = sequences.history_lengths
    if holdout == "everyone":
        everyone = segment_split(lengths)
        kept = sequences.truncate(everyone.user_rows, everyone.keep_counts)
        return drawn_users(everyone), kept, kept
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
    of_active = lengths[lengths > 0]
    shortest, longest = np.quantile(of_active, [low, high]) if len(of_active) else (1, 0)
    users = np.flatnonzero((lengths > 0) & (lengths >= shortest) & (lengths <= longest))
    if len(users) == 0:
        raise DataError(
            "no user is left between the history-length percentiles",
            value=[low, high],
            remedy="Widen min_user_history_length_percentile and max_user_history_length_percentile.",
        )
    return users
