"""Which events a model may learn from: all but those hidden for the evaluation and those kept to weigh the paths."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hrnn.batching import Rows
from hrnn.blending import Examples, draw_examples
from hrnn.event_context import EventContext
from hrnn.models.hrnn import HrnnShape, Variant
from hrnn.sequences import Sequences
from hrnn.splits import EvaluationSplit, drawn_users, evaluation_split, segment_split
from hrnn.training_settings import TrainingSettings
from schemas.errors import DataError


@dataclass(frozen=True)
class Prepared:
    """Parts of the same sequences; every rank and the launcher cut them alike.

    Attributes:
        split: Test users, and how much of their histories is input.
        available: All events but the hidden ones.
        examples: Users whose newest available events weigh the paths.
        learnt_from: Available events but those.
    """

    split: EvaluationSplit
    available: Sequences
    examples: Examples
    learnt_from: Sequences


def prepare(sequences: Sequences, seed: int, *, segments: bool = False) -> Prepared:
    """Cut the sequences; a function of the seed alone.

    Args:
        sequences: All of them.
        seed: Of the examples.
        segments: Whether events of every user are hidden, as for segments of users; the test users are some of them.
    """
    whole = segment_split(sequences.history_lengths) if segments else evaluation_split(sequences.history_lengths)
    split = drawn_users(whole) if segments else whole
    available = sequences.truncate(whole.user_rows, whole.keep_counts)
    examples = draw_examples(available, seed)
    return Prepared(split, available, examples, available.truncate(examples.user_rows, examples.keep_counts))


def shape_of(sequences: Sequences, settings: TrainingSettings, hidden_dimension: int, variant: Variant) -> HrnnShape:
    """The shape of the model that is trained on these sequences.

    Args:
        sequences: All of them.
        settings: Which inputs there are.
        hidden_dimension: H.
        variant: Of HRNN.
    """
    context = EventContext.of(sequences, gaps=settings.gap_inputs, types=settings.type_inputs)
    return HrnnShape(
        num_items=sequences.num_items,
        hidden_dimension=hidden_dimension,
        variant=variant,
        gap_buckets=context.gap_buckets,
        event_types=context.event_types,
    )


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
