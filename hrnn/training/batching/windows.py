"""Windows of histories, a lane each: batches of models that read a window of events anew for each prediction.

"prefixes": every event that has one before it in its session is the target of one lane, behind its prefix. Targets are shuffled
each epoch, by a permutation that is computed batch by batch.

"padded": histories are cut into parts, a lane each, whose events are all targets. Batches hold parts of like length, bucketed
among the parts of the next few batches, so that little is padded.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hrnn.data.arrays import Flags, Rows
from hrnn.data.ragged import offsets_of
from hrnn.data.sequences import Sequences
from hrnn.models.contract import Batch
from hrnn.training.batching.lanes import lanes_a_rank
from hrnn.training.batching.permutation import Permutation

_BLOCK = 32  # batches whose parts are bucketed by length


class PrefixBatches:
    """Batching "prefixes": see the module's text.

    Args:
        sequences: Histories; truncated ones keep their oldest events.
        user_rows: int64, training users.
        num_lanes: Of all ranks together, a target each; targets without a prefix are skipped.
        num_steps: Most events of a prefix, the newest ones.
        seed: Of the order.
        rank, world_size: Of this process.
    """

    def __init__(
        self,
        sequences: Sequences,
        user_rows: Rows,
        *,
        num_lanes: int,
        num_steps: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self._sequences, self._num_steps, self._seed = sequences, num_steps, seed
        self._rank, self._world_size = rank, world_size
        self.num_lanes, self.nominal_targets = lanes_a_rank(num_lanes, world_size), num_lanes
        self._begin = sequences.user_offsets[:-1][user_rows]
        self._offsets = offsets_of(sequences.history_lengths[user_rows])

    def num_batches(self, epoch: int) -> int:
        """Number of batches of an epoch, the same on all ranks."""
        return max(1, -(-int(self._offsets[-1]) // self.nominal_targets))

    def batch(self, epoch: int, number: int) -> Batch:
        """This rank's part of a batch."""
        size = int(self._offsets[-1])
        # Ranks take turns, so that a batch holds the same targets with any number of them.
        numbers = number * self.nominal_targets + self._rank + self._world_size * np.arange(self.num_lanes)
        is_used = (numbers < size) & (numbers < (number + 1) * self.nominal_targets)
        events = Permutation(size, self._seed, epoch)(np.where(is_used, numbers, 0))
        user = np.searchsorted(self._offsets, events, side="right") - 1
        begin = self._begin[user]
        target = begin + events - self._offsets[user]
        has_prefix = is_used & ~self._sequences.session_starts[target] & (target > begin)
        batch = window_batch(self._sequences, begin, target, has_prefix, self._num_steps, within_session=True, has_target=True)
        return replace(batch, num_events=int(is_used.sum()))


def window_batch(
    sequences: Sequences,
    begin: Rows,
    target: Rows,
    is_used: Flags,
    num_steps: int,
    *,
    within_session: bool,
    has_target: bool,
) -> Batch:
    """Lanes that end at a target place, behind the newest events before it: [num_steps + 1, B].

    Args:
        sequences: Where the events lie.
        begin: int64 [B], each history's first position.
        target: int64 [B], the target's position.
        is_used: bool [B], which lanes are alive at all.
        num_steps: Most events before the target.
        within_session: Whether only events of the session of the event just before the target are read.
        has_target: Whether there is an event at the target's position; else it is one past the end.
    """
    back = np.arange(num_steps, -1, -1)[:, None]  # padded at the beginning: the target's place is the last row of every lane
    positions = target[None, :] - back
    alive = (positions >= begin[None, :]) & is_used[None, :]
    alive[-1] &= has_target
    positions = np.where(alive, positions, 0)
    starts = sequences.session_starts[positions] & alive
    if within_session:
        earlier_session = np.zeros_like(starts)  # whether a session starts between an event and the target, these two aside
        earlier_session[:-2] = np.logical_or.accumulate(starts[1:-1][::-1], axis=0)[::-1]
        alive &= ~earlier_session
        starts &= alive
        positions = np.where(alive, positions, 0)
    return Batch(
        sequences=sequences,
        positions=positions,
        items=np.where(alive, sequences.item_rows[positions], 0).astype(np.int64),
        session_starts=starts,
        user_starts=(positions == begin[None, :]) & alive,
        alive=alive,
        target_places=num_steps * len(target) + np.arange(len(target)),
    )


class PaddedBatches:
    """Batching "padded": see the module's text.

    Args:
        sequences: Histories; truncated ones keep their oldest events.
        user_rows: int64, training users.
        num_lanes: Of all ranks together.
        num_steps: Most targets of a lane.
        seed: Of the order.
        rank, world_size: Of this process.
    """

    def __init__(
        self,
        sequences: Sequences,
        user_rows: Rows,
        *,
        num_lanes: int,
        num_steps: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self._sequences, self._num_steps, self._seed = sequences, num_steps, seed
        self._rank, self._world_size, self._all_lanes = rank, world_size, num_lanes
        self.num_lanes = lanes_a_rank(num_lanes, world_size)
        self._begin, self._lengths = sequences.user_offsets[:-1][user_rows], sequences.history_lengths[user_rows]
        self._offsets = offsets_of(-(-self._lengths // num_steps))
        # A batch's mean number of targets: one of short parts has fewer than one of long ones, and its step is as much smaller.
        self.nominal_targets = max(1, round(num_lanes * int(self._lengths.sum()) / max(1, int(self._offsets[-1]))))

    def num_batches(self, epoch: int) -> int:
        """Number of batches of an epoch, the same on all ranks."""
        return max(1, -(-int(self._offsets[-1]) // self._all_lanes))

    def batch(self, epoch: int, number: int) -> Batch:
        """This rank's part of a batch: lanes of like length, padded to the longest of all ranks'."""
        size = int(self._offsets[-1])
        # Buckets: the parts of a block of batches, sorted by length, of which every batch takes a slice, in shuffled order.
        first = number // _BLOCK * _BLOCK
        block = np.arange(first * self._all_lanes, min((first + _BLOCK) * self._all_lanes, size))
        parts = Permutation(size, self._seed, epoch)(block)
        begin, end, lengths = self._bounds(parts)
        in_order = np.argsort(lengths, kind="stable")
        turns = -(-len(block) // self._all_lanes)  # the last block's last batch is not full: it stays the shortest one
        turn = int(Permutation(turns, self._seed, epoch, first)(np.asarray([number - first]))[0])
        of_all_ranks = in_order[::-1][turn * self._all_lanes : (turn + 1) * self._all_lanes]
        own = of_all_ranks[self._rank :: self._world_size]
        is_used = np.arange(self.num_lanes) < len(own)
        own = np.append(own, np.zeros(self.num_lanes - len(own), dtype=np.int64))  # any part: `is_used` makes the lane dead
        steps = int(lengths[of_all_ranks].max(initial=1))
        # One event more is read where there is one: the first target's predecessor.
        read_from = np.maximum(begin[own], end[own] - lengths[own] - 1)
        batch = window_batch(self._sequences, read_from, end[own] - 1, is_used, steps, within_session=False, has_target=True)
        targets = batch.alive & (batch.positions >= (end - lengths)[own][None, :])
        user_starts = (batch.positions == begin[own][None, :]) & batch.alive
        return replace(batch, target_places=np.flatnonzero(targets), user_starts=user_starts, num_events=int(targets.sum()))

    def _bounds(self, parts: Rows) -> tuple[Rows, Rows, Rows]:
        """Bounds of parts: the history's first position, the part's end, and its number of events."""
        user = np.searchsorted(self._offsets, parts, side="right") - 1
        begin, part = self._begin[user], parts - self._offsets[user]
        end = np.minimum((part + 1) * self._num_steps, self._lengths[user])
        return begin, begin + end, end - part * self._num_steps
