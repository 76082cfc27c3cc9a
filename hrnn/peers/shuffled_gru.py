"""A plain GRU over sessions in shuffled order: HRNN without users, fitted by the engine and the settings that fit HRNN.

Each session is a history of its own, so that nothing is known of its user, and no order of sessions is learnt. What it lacks
against HRNN is what users add.

Source: Hidasi, Karatzoglou 2018, "Recurrent Neural Networks with Top-k Gains for Session-based Recommendations"; the deviations
are those of hrnn/models/hrnn.py.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from hrnn.models.hrnn import Hrnn, HrnnShape
from hrnn.peers.moments import Moments, session_begins
from hrnn.sequences import Sequences
from hrnn.states import replay
from hrnn.training import Trainer
from hrnn.training_settings import TrainingSettings


class ShuffledGru:
    """score(item) = state of the current session · vector + bias.

    Args:
        sequences: What to learn from, possibly truncated.
        settings: How.
        hidden_dimension: H.
        event_weights: float32 [E], how much each stored event counts as a target; None: all alike.
    """

    def __init__(
        self,
        sequences: Sequences,
        settings: TrainingSettings,
        hidden_dimension: int,
        event_weights: npt.NDArray[np.float32] | None = None,
    ) -> None:
        self._sequences = sequences
        alone = sessions_alone(sequences)
        shape = HrnnShape(num_items=sequences.num_items, hidden_dimension=hidden_dimension)
        model = Hrnn.initial(shape, alone.item_counts(), settings.seed)
        users = np.flatnonzero(alone.history_lengths)
        trainer = Trainer(model, alone, users, replace(settings, patience=None), event_weights=event_weights)
        trainer.run()
        self._model = trainer.model

    def scores(self, moments: Moments) -> npt.NDArray[np.float32]:
        """By the state after the current session's events."""
        offsets = np.append(moments.session_begin, len(moments.item_rows))
        each = replace(self._sequences, user_offsets=offsets, kept=moments.end - moments.session_begin)
        states = replay(self._model, each, np.arange(len(moments))).continuing
        table = self._model.item_table
        scores: npt.NDArray[np.float32] = torch.addmm(table[:, -1], states, table[:, :-1].t()).numpy()
        return scores


def sessions_alone(sequences: Sequences) -> Sequences:
    """The same events, each session as if it were a user; positions stay, and truncated events stay away."""
    begins = np.unique(session_begins(sequences))
    user = np.searchsorted(sequences.user_offsets, begins, side="right") - 1
    end = sequences.user_offsets[:-1] + sequences.history_lengths
    offsets = np.append(begins, len(sequences.item_rows))
    return replace(sequences, user_offsets=offsets, kept=np.clip(end[user] - begins, 0, np.diff(offsets)))
