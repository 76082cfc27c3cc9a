"""A neural model as a baseline, trained by the same trainer, predicting the next event of a session."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from hrnn.data.sequences import Sequences
from hrnn.evaluation.baselines.prediction_points import PredictionPoints
from hrnn.models.contract import DataSpec, ModelEntry
from hrnn.training.parts import TrainingPart
from hrnn.training.settings import TrainingSettings
from hrnn.training.trainer import Trainer


class NeuralBaseline:
    """score(item) = query for the next event of the session · vector + bias.

    Args:
        sequences: Training events, possibly truncated.
        settings: Of the training.
        entry: Of a neural model.
        config: The model's, by the names of its hyperparameters.
        event_weights: float32 [E], how much each stored event counts as a target; None: all alike.
    """

    def __init__(
        self,
        sequences: Sequences,
        settings: TrainingSettings,
        entry: ModelEntry,
        config: Mapping[str, Any],
        event_weights: npt.NDArray[np.float32] | None = None,
    ) -> None:
        assert entry.neural is not None
        self._sequences = sequences
        users = np.flatnonzero(sequences.history_lengths)
        trainer = Trainer(
            entry.neural.build(config, settings, DataSpec.of(sequences, sequences)),
            [TrainingPart(sequences, users, event_weights=event_weights)],
            replace(settings, patience=None),  # there is no held-out loss to stop early by
            phases=entry.phases(settings),
        )
        trainer.run()
        self._model = trainer.model

    def scores(self, points: PredictionPoints) -> npt.NDArray[np.float32]:
        """As Baseline's, from the events of each point's user so far."""
        # Each point is a user of its own over the same arrays: begins need not rise, and `kept` alone says where it ends.
        offsets = np.append(points.user_begin, len(points.item_rows))
        histories = replace(self._sequences, user_offsets=offsets, kept=points.end - points.user_begin)
        queries, items = self._model.queries(histories, np.arange(len(points))).same_session, self._model.items()
        scores: npt.NDArray[np.float32] = torch.addmm(items.bias, queries, items.vectors.t()).numpy()
        return scores
