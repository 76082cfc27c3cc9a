"""Final hidden states of users after their histories, from models whose lanes carry state."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from hrnn.data.arrays import Rows
from hrnn.data.sequences import Sequences
from hrnn.models.contract import Batch, Carry, Queries, SequenceModel
from hrnn.training.batching.lanes import LaneBatches

LONGEST = 1 << 14  # events; older ones leave no trace in a recurrent state, and each costs a step of one user alone
_LANES = 512  # users at once
_STEPS = 64  # of a window: bounds memory, [_STEPS, _LANES, H] a tensor, however long histories are
_LANES_OF_ALL = 256  # of `queries_before`


class LaneModel(SequenceModel):
    """A recurrent model, which reads histories event by event: its carry is all that it keeps of them."""

    def next_session(self, same_session: Tensor, carry: Carry, has_events: Tensor) -> Tensor:
        """Queries for the first event of a new session, [B, D]; by default those of the current session.

        Args:
            same_session: [B, D], queries for the next event of the same session.
            carry: After the last event, but only as far as session starts change it: what every event changes has since read
                the places behind the last one, which are dead, or the event that `same_session` is to predict.
            has_events: [B, 1], 0.0 for users without any.
        """
        return same_session

    def queries(self, histories: Sequences, user_rows: Rows) -> Queries:
        """As QueryModel's."""
        return replay(self, histories, user_rows)


@torch.no_grad()
def replay(model: LaneModel, sequences: Sequences, user_rows: Rows) -> Queries:
    """Queries of users after their histories, of which at most the LONGEST newest events are read.

    Users of like length are run together. Those without events get the query of a first session's start.

    Args:
        model: Trained parameters, on any device.
        sequences: Histories, possibly truncated.
        user_rows: int64 [B], in any order.

    Returns:
        On the CPU, in the order of `user_rows`.
    """
    lengths = sequences.history_lengths[user_rows]
    order = np.argsort(-lengths, kind="stable")
    vectors = model.packed_items(model.item_table)[:, :-1]  # [N, D], of all items once, for all groups
    same_session = vectors.new_zeros(len(user_rows), vectors.shape[1])
    final = {name: values.to(vectors) for name, values in model.initial_carry(len(user_rows)).items()}
    for begin in range(0, len(order), _LANES):
        group = order[begin : begin + _LANES]
        at = torch.from_numpy(group).to(vectors.device)
        same_session[at], carry = _replay_group(model, vectors, sequences, np.asarray(user_rows)[group], lengths[group])
        for name, values in carry.items():
            final[name][at] = values
    has_events = torch.from_numpy(lengths > 0).unsqueeze(1).to(vectors)
    next_session = model.next_session(same_session, final, has_events)
    none = torch.from_numpy(np.flatnonzero(lengths == 0)).to(vectors.device)
    same_session[none] = next_session[none]
    return Queries(same_session.cpu(), next_session.cpu())


def _replay_group(
    model: LaneModel, vectors: Tensor, sequences: Sequences, user_rows: Rows, lengths: Rows
) -> tuple[Tensor, Carry]:
    """Queries and carry of up to _LANES users in falling order of length, one lane each; lanes are dropped as histories end."""
    histories = sequences.event_positions(user_rows)
    positions, lengths = histories.values, np.minimum(lengths, LONGEST)
    firsts = histories.offsets[1:] - lengths  # of the newest LONGEST events, among `positions`
    carry = {name: values.to(vectors) for name, values in model.initial_carry(len(user_rows)).items()}
    queries = vectors.new_zeros(len(user_rows), vectors.shape[1])
    for begin in range(0, int(lengths.max(initial=0)) + 1, _STEPS):
        lanes = int((lengths >= begin).sum())  # one step past the end: the state after the last event
        steps = np.arange(begin, begin + _STEPS, dtype=np.int64)[:, None]
        alive = steps < lengths[None, :lanes]
        events = (
            positions[np.where(alive, firsts[None, :lanes] + steps, 0)] if len(positions) else np.zeros_like(alive, np.int64)
        )
        # The first event that is read starts user and session, even where LONGEST has cut a session in two.
        user_starts = (steps == 0) & alive  # [_STEPS, lanes]
        batch = Batch(
            sequences=sequences,
            positions=events,
            items=sequences.item_rows[events].astype(np.int64),
            session_starts=sequences.session_starts[events] & alive | user_starts,
            user_starts=user_starts,
            alive=alive,
        )
        before, new_carry = _encoded(model, vectors, batch, {name: values[:lanes] for name, values in carry.items()})
        for name, values in new_carry.items():
            carry[name][:lanes] = values  # lanes fall in length: those that have ended are the last ones
        # A history that ends in this window has its final state before the dead step behind its last event.
        ended = np.flatnonzero(lengths[:lanes] < begin + _STEPS)
        at = torch.from_numpy(ended).to(vectors.device)
        queries[at] = before[torch.from_numpy(lengths[ended] - begin).to(vectors.device), at]
    return queries, carry


@torch.no_grad()
def queries_before(model: LaneModel, sequences: Sequences, positions: Rows, *, with_next_session: bool = True) -> Queries:
    """Queries just before each of P target events, as by `replay`, from one run through all histories.

    Args:
        model: Trained parameters, on the CPU.
        sequences: Histories, with the target events.
        positions: int64 [P], of the targets in the sequences' arrays, none twice. None starts a session.
        with_next_session: Whether next-session queries are made too, for which every event is a batch of its own; else zeros.

    Returns:
        [P, D], of the events in their order.
    """
    vectors = model.packed_items(model.item_table)[:, :-1]
    same_session, next_session = (torch.zeros(len(positions), vectors.shape[1]) for _ in range(2))
    target_number = np.full(len(sequences.item_rows), -1, dtype=np.int64)
    target_number[positions] = np.arange(len(positions))
    steps = 1 if with_next_session else _STEPS
    batches = LaneBatches(sequences, np.arange(sequences.num_users), num_lanes=_LANES_OF_ALL, num_steps=steps, seed=0)
    carry = model.initial_carry(_LANES_OF_ALL)
    for batch_number in range(batches.num_batches(0)):
        batch = batches.batch(0, batch_number)
        before, carry = _encoded(model, vectors, batch, carry)
        step, lane = np.nonzero(batch.alive & (target_number[batch.positions] >= 0))  # dead places have position 0
        if len(lane) == 0:
            continue
        numbers = target_number[batch.positions[step, lane]]
        targets, at_step, at_lane = (torch.from_numpy(indices) for indices in (numbers, step, lane))
        same_session[targets] = before[at_step, at_lane]
        if with_next_session:
            # The carry has read the target too. It starts no session, so that what session starts change is as before it.
            of_lanes = {name: values[at_lane] for name, values in carry.items()}
            next_session[targets] = model.next_session(same_session[targets], of_lanes, torch.ones(len(lane), 1))
    return Queries(same_session, next_session)


def _encoded(model: LaneModel, vectors: Tensor, batch: Batch, carry: Carry) -> tuple[Tensor, Carry]:
    """Queries before all places of a batch, [T, B, D], and the new carry."""
    inputs = vectors[torch.from_numpy(batch.items).to(vectors.device)]  # [T, B, D]
    # No targets named: the final state of a history is that before a dead place, which is never a target.
    queries, carry = model.encode(inputs, replace(batch, target_places=None, dropout_seed=None), carry)
    return queries.view(*batch.items.shape, -1), carry
