"""A trained HRNN's answers inside sessions: the state before each asked event, from one run through all histories."""

from __future__ import annotations

import numpy as np
import torch

from hrnn.batching import LanePlan
from hrnn.data.arrays import Rows
from hrnn.models.hrnn import Hrnn
from hrnn.recurrence import Starts, begin_session
from hrnn.sequences import Sequences
from hrnn.states import Replayed

_LANES = 256
_STEPS = 64


@torch.no_grad()
def states_before(model: Hrnn, sequences: Sequences, positions: Rows, *, with_fresh: bool = True) -> Replayed:
    """What `replay` would give just before each of some events, from one run.

    Args:
        model: Trained parameters, on the CPU.
        sequences: Histories, with the asked events.
        positions: int64 [P], where the asked events lie in the sequences' arrays, none twice. None starts a session.
        with_fresh: Whether fresh states are wanted too, for which every event is a window of its own; else they are zeros.

    Returns:
        Of the P events, in their order.
    """
    width = model.shape.hidden_dimension
    vectors, recurrent = model.item_table[:, :width], model.weights()[2]
    continuing, fresh = torch.empty(len(positions), width), torch.zeros(len(positions), width)
    number = np.full(len(sequences.item_rows), -1, dtype=np.int64)
    number[positions] = np.arange(len(positions))
    session, user = torch.zeros(_LANES, width), torch.zeros(_LANES, width)
    plan = LanePlan(sequences, np.arange(sequences.num_users), _LANES, 1 if with_fresh else _STEPS, seed=0, epoch=0)
    for window_number in range(plan.num_windows):
        window = plan.window(window_number)
        starts = Starts.of(window.session_starts, window.user_starts, session)
        codes = model.context.codes(sequences, window.positions, window.user_starts)
        context = None if codes is None else torch.from_numpy(codes)
        states, session, user = model.states(vectors[torch.from_numpy(window.items)], session, user, starts, context)
        step, lane = np.nonzero(window.alive & (number[window.positions] >= 0))
        if len(lane) == 0:
            continue
        asked, at_step, at_lane = (torch.from_numpy(at) for at in (number[window.positions[step, lane]], step, lane))
        continuing[asked] = states[at_step, at_lane]
        if with_fresh:
            fresh[asked] = begin_session(continuing[asked], user[at_lane], torch.ones(len(lane), 1), recurrent)[1]
    return Replayed(continuing, fresh)
