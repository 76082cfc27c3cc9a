"""A trained HRNN's answers inside sessions: the state before each asked event, from one run through all histories."""

from __future__ import annotations

import numpy as np
import torch

from hrnn.batching import LanePlan, Rows
from hrnn.models.hrnn import Hrnn
from hrnn.recurrence import Starts, begin_session
from hrnn.sequences import Sequences
from hrnn.states import Replayed

_LANES = 256


@torch.no_grad()
def states_before(model: Hrnn, sequences: Sequences, positions: Rows) -> Replayed:
    """What `replay` would give just before each of some events, from one run.

    Args:
        model: Trained parameters, on the CPU.
        sequences: Histories, with the asked events.
        positions: int64 [P], where the asked events lie in the sequences' arrays, none twice. None starts a session.

    Returns:
        Of the P events, in their order.
    """
    width = model.shape.hidden_dimension
    vectors, recurrent = model.item_table[:, :width], model.weights()[2]
    continuing, fresh = torch.empty(len(positions), width), torch.empty(len(positions), width)
    number = np.full(len(sequences.item_rows), -1, dtype=np.int64)
    number[positions] = np.arange(len(positions))
    session, user = torch.zeros(_LANES, width), torch.zeros(_LANES, width)
    plan = LanePlan(sequences, np.arange(sequences.num_users), _LANES, 1, seed=0, epoch=0)
    for at in range(plan.num_windows):
        window = plan.window(at)
        starts = Starts.of(window.session_starts, window.user_starts, session)
        codes = model.context.codes(sequences, window.positions, window.user_starts)
        context = None if codes is None else torch.from_numpy(codes)
        states, session, user = model.states(vectors[torch.from_numpy(window.items)], session, user, starts, context)
        lanes = np.flatnonzero(window.alive[0] & (number[window.positions[0]] >= 0))
        if len(lanes):
            asked, lane = torch.from_numpy(number[window.positions[0, lanes]]), torch.from_numpy(lanes)
            continuing[asked] = states[0, lane]
            fresh[asked] = begin_session(states[0, lane], user[lane], torch.ones(len(lanes), 1), recurrent)[1]
    return Replayed(continuing, fresh)
