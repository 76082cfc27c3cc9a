"""A trained HRNN's answers inside sessions: the state before each asked event, from one run through all histories."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from hrnn.batching import LanePlan, Rows
from hrnn.models.hrnn import Hrnn
from hrnn.recurrence import Starts
from hrnn.sequences import Sequences

_LANES = 256
_STEPS = 64


@torch.no_grad()
def states_before(model: Hrnn, sequences: Sequences, positions: Rows) -> Tensor:
    """The state that predicts each of some events, knowing all that their users did before.

    Args:
        model: Trained parameters, on the CPU.
        sequences: Histories, with the asked events.
        positions: int64 [P], where the asked events lie in the sequences' arrays, none twice.

    Returns:
        float32 [P, H].
    """
    width = model.shape.hidden_dimension
    vectors = model.item_table[:, :width]
    answer = torch.empty(len(positions), width)
    number = np.full(len(sequences.item_rows), -1, dtype=np.int64)
    number[positions] = np.arange(len(positions))
    session, user = torch.zeros(_LANES, width), torch.zeros(_LANES, width)
    plan = LanePlan(sequences, np.arange(sequences.num_users), _LANES, _STEPS, seed=0, epoch=0)
    for at in range(plan.num_windows):
        window = plan.window(at)
        starts = Starts.of(window.session_starts, window.user_starts, session)
        codes = model.context.codes(sequences, window.positions, window.user_starts)
        context = None if codes is None else torch.from_numpy(codes)
        states, session, user = model.states(vectors[torch.from_numpy(window.items)], session, user, starts, context)
        asked = window.alive & (number[window.positions] >= 0)
        answer[torch.from_numpy(number[window.positions[asked]])] = states[torch.from_numpy(asked)]
    return answer
