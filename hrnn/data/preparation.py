"""Which events a model may learn from: none of the test users', and none that is kept to weigh the paths."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hrnn.blend.weights import Examples, draw_examples
from hrnn.data.arrays import Rows
from hrnn.data.sequences import Sequences
from hrnn.data.splits import EvaluationSplit, Split, drawn_users, evaluation_split, segment_split
from schemas.errors import DataError


@dataclass(frozen=True)
class Prepared:
    """Parts of the same sequences; every rank and the launcher cut them alike.

    Attributes:
        split: Test users, and how much of their histories is input.
        kept: All events but the hidden ones: what is known of test users when they are asked for.
        available: Of these, what may be learnt from: by Personalize's split, nothing of a test user.
        examples: Users whose newest available events weigh the paths.
        learnt_from: Available events but those.
    """

    split: EvaluationSplit
    kept: Sequences
    available: Sequences
    examples: Examples
    learnt_from: Sequences


def prepare(sequences: Sequences, seed: int, *, segments: bool = False, split: Split = "personalize") -> Prepared:
    """Cut the sequences; a function of the seed alone.

    Args:
        sequences: All of them.
        seed: Of the examples.
        segments, split: Those of `hide`.
    """
    tested, kept, available = hide(sequences, segments=segments, split=split)
    examples = draw_examples(available, seed)
    return Prepared(tested, kept, available, examples, available.truncate(examples.user_rows, examples.keep_counts))


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
