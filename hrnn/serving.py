"""A trained HRNN as `recommend` and `evaluate` see it."""

from __future__ import annotations

import torch
from torch import Tensor

from hrnn.batching import Rows
from hrnn.models.hrnn import Hrnn
from hrnn.sequences import Sequences
from hrnn.session_model import UserStates
from hrnn.states import replay


class HrnnScorer:
    """ScoringModel of the sequence path alone.

    Args:
        model: Trained parameters, on the CPU.
    """

    def __init__(self, model: Hrnn) -> None:
        self._model = model

    def item_vectors(self) -> Tensor:
        """float32 [N, H]."""
        return self._model.item_table[:, :-1].contiguous()

    def item_bias(self) -> Tensor:
        """float32 [N]."""
        return self._model.item_table[:, -1].contiguous()

    def user_states(self, sequences: Sequences, user_rows: Rows) -> UserStates:
        """Queries that go on with the last session."""
        return UserStates.without_own_items(replay(self._model, sequences, user_rows).continuing.to(torch.float32))
