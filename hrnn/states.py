"""Replay histories through a trained HRNN: what it knows of each user after their last event."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hrnn.data.arrays import Rows
from hrnn.models.hrnn import Hrnn
from hrnn.recurrence import Starts, begin_session
from hrnn.sequences import Sequences

LONGEST = 1 << 14  # events; what a recurrent state keeps of older ones is nothing, and each costs a step of one user alone
_LANES = 512
_STEPS = 64


@dataclass(frozen=True)
class Replayed:
    """States of B users after their last event.

    Attributes:
        continuing: [B, H], predicts the next event of the same session.
        fresh: [B, H], predicts the first event of a next session.
    """

    continuing: Tensor
    fresh: Tensor


@torch.no_grad()
def replay(model: Hrnn, sequences: Sequences, user_rows: Rows) -> Replayed:
    """Run histories, of long ones the LONGEST newest events; users without events get the start state twice.

    Users of like length are run together.

    Args:
        model: Trained parameters, on any device.
        sequences: Histories, possibly truncated.
        user_rows: int64 [B], in any order.

    Returns:
        States on the CPU, in the order of `user_rows`.
    """
    lengths = sequences.history_lengths[user_rows]
    order = np.argsort(-lengths, kind="stable")
    width = model.shape.hidden_dimension
    session, user = torch.zeros(len(user_rows), width), torch.zeros(len(user_rows), width)
    for begin in range(0, len(order), _LANES):
        group = order[begin : begin + _LANES]
        at = torch.from_numpy(group)
        session[at], user[at] = _replay_group(model, sequences, np.asarray(user_rows)[group], lengths[group])
    weights = Hrnn(model.shape, model.item_table[:0], model.dense).to(torch.device("cpu")).weights()[2]
    _, fresh = begin_session(session, user, torch.from_numpy(lengths > 0).unsqueeze(1).float(), weights)
    none = torch.from_numpy(np.flatnonzero(lengths == 0))
    session[none] = fresh[none]
    return Replayed(session, fresh)


def _replay_group(model: Hrnn, sequences: Sequences, user_rows: Rows, lengths: Rows) -> tuple[Tensor, Tensor]:
    """Session and user states of up to _LANES users in falling order of length, one lane each; lanes fall away as users end."""
    width, device = model.shape.hidden_dimension, model.item_table.device
    histories = sequences.event_positions(user_rows)
    positions, lengths = histories.values, np.minimum(lengths, LONGEST)
    firsts = histories.offsets[1:] - lengths
    session = torch.zeros(len(user_rows), width, device=device)
    user = torch.zeros_like(session)
    ended = torch.zeros_like(session)
    for begin in range(0, int(lengths.max(initial=0)) + 1, _STEPS):
        lanes = int((lengths >= begin).sum())  # one step past the end: the state after the last event
        steps = np.arange(begin, begin + _STEPS, dtype=np.int64)[:, None]
        alive = steps < lengths[None, :lanes]
        events = (
            positions[np.where(alive, firsts[None, :lanes] + steps, 0)] if len(positions) else np.zeros_like(alive, np.int64)
        )
        user_starts = (steps == 0) & alive
        starts = Starts.of(sequences.session_starts[events] & alive | user_starts, user_starts, session)
        items = torch.from_numpy(sequences.item_rows[events].astype(np.int64)).to(device)
        codes = model.context.codes(sequences, events, user_starts)
        context = None if codes is None else torch.from_numpy(codes).to(device)
        before, session[:lanes], user[:lanes] = model.states(
            model.item_table[:, :width][items], session[:lanes], user[:lanes], starts, context
        )
        over = np.flatnonzero(lengths[:lanes] < begin + _STEPS)
        at = torch.from_numpy(over).to(device)
        ended[at] = before[torch.from_numpy(lengths[over] - begin).to(device), at]
    return ended.cpu(), user.cpu()
