"""What a training learns from, part by part: the past as it was known at some moments, the present, and everything.

A list is ranked by what the model says of its items. A ranker that is to learn how much that is worth must see what the model
said at earlier moments, before it knew what came then: so the model learns the oldest events first, is kept, learns on to
the next moment, is kept, and so on. From the last of them it learns twice on from all events: for what is measured, and for
what is served.

    past_0 … past_k   events before the first moment; then those between one moment and the next
    present           all events but those that the blend is fitted on and measured by
    everything        these too: what is served has learnt from every event
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from hrnn.data.arrays import Floats, Rows
from hrnn.data.ragged import Ragged
from hrnn.data.sequences import Sequences

PRESENT, EVERYTHING = "present", "everything"
_CONTEXT = 32  # events before the new ones of a user that are read again, to know where the user stands
PRESENT_EPOCHS = 2  # of those that are asked for; the past has the others


@dataclass(frozen=True)
class TrainingPart:
    """Events that are learnt from in one stretch of a training.

    Attributes:
        sequences: Histories, possibly truncated.
        user_rows: int64, users whose events are learnt from.
        name: Of the part.
        event_weights: float32 [E], how much each stored event counts as a target; None: all alike.
        epochs: Of each phase, at most; None: as many as the phase says.
        keep: Whether the parameters at its end are an answer of the training.
        measured: Whether the held-out loss is computed after each epoch, so that the best one's parameters are kept.
        starts_from: An earlier part that was kept, whose parameters it begins with; None: those of the part before.
    """

    sequences: Sequences
    user_rows: Rows
    name: str = PRESENT
    event_weights: Floats | None = None
    epochs: int | None = None
    keep: bool = False
    measured: bool = True
    starts_from: str | None = None

    @property
    def num_events(self) -> int:
        """Of the users, an epoch."""
        return int(self.sequences.history_lengths[self.user_rows].sum())


def past_name(number: int) -> str:
    """Name of the part that ends with a moment; 0 is the oldest."""
    return f"past_{number}"


def past_parts(
    past: Sequences, fit: Sequences, moments: Sequence[int], weights: Floats | None, epochs: int
) -> list[TrainingPart]:
    """The parts of the past.

    Args:
        past: What is learnt from before the first moment.
        fit: What is learnt from in the present; of these events, the parts after the first take those between moments.
        moments: UTC epoch seconds, rising.
        weights: float32 [E], of the stored events; None: all alike.
        epochs: Of the first part; each later one is learnt from once.
    """
    users = np.flatnonzero(past.history_lengths)
    parts = [TrainingPart(past, users, past_name(0), weights, epochs, keep=True, measured=False)]
    for number in range(1, len(moments)):
        before, until = (fit.before(moment) for moment in moments[number - 1 : number + 1])
        parts += [unlearnt(until, before.history_lengths, weights, past_name(number), keep=True)]
    return parts


def unlearnt(sequences: Sequences, learnt: Rows, weights: Floats | None, name: str, *, keep: bool = False) -> TrainingPart:
    """The events that were not learnt from before, once; the latest of the others are read with them, as context.

    Args:
        sequences: Histories with the new events.
        learnt: int64 [U], how many of each user's oldest events are not new.
        weights: float32 [E], of the stored events; None: all alike.
        name: Of the part.
        keep: As TrainingPart's.
    """
    lengths = sequences.history_lengths
    num_new = np.maximum(lengths - learnt, 0)
    num_read = np.where(num_new > 0, np.minimum(lengths, num_new + _CONTEXT), 0)
    read = Ragged.expand(sequences.user_offsets[:-1] + lengths - num_read, num_read)
    is_new = np.arange(len(read.values)) >= np.repeat(read.offsets[1:] - num_new, num_read)
    chosen = np.zeros(len(sequences.item_rows), dtype=np.bool_)
    chosen[read.values] = True
    of_read = np.ones(len(is_new), dtype=np.float32) if weights is None else np.asarray(weights[read.values], dtype=np.float32)
    return TrainingPart(
        replace(sequences, kept=None).only(chosen),
        np.flatnonzero(num_new),
        name=name,
        event_weights=np.where(is_new, of_read, 0.0).astype(np.float32),
        epochs=1,
        keep=keep,
        measured=False,
    )
