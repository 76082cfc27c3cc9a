"""Dense windows [B lanes, T steps] over whole histories.

A lane is a stream of users, each with all their sessions in order; session and user starts are marks inside the stream, so that
nothing is padded but the ends of lanes. Windows follow one another until the longest lane is drained: every event of every user
is met exactly once an epoch. Positions are computed window by window; memory is O(users).
"""

from __future__ import annotations

from functools import partial

import numpy as np
import numpy.typing as npt

from hrnn.data.arrays import Rows
from hrnn.data.sequences import Sequences
from hrnn.models.contract import Batch


class LaneBatches:
    """Batching "lanes": see the module's text.

    Args:
        sequences: Histories; truncated ones keep their oldest events.
        user_rows: int64, users to learn from.
        num_lanes: Of all ranks together.
        num_steps: T.
        seed: Of the order of users.
        rank, world_size: This rank among the others.
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
        self.num_lanes = lanes_a_rank(num_lanes, world_size)
        self.nominal_targets = num_lanes * num_steps
        self._plan = partial(LanePlan, sequences, user_rows, num_lanes, num_steps, seed=seed, rank=rank, world_size=world_size)
        self._current: tuple[int, LanePlan] | None = None

    def num_batches(self, epoch: int) -> int:
        """Of an epoch, the same on all ranks."""
        return self._of(epoch).num_windows

    def batch(self, epoch: int, number: int) -> Batch:
        """This rank's part of a batch."""
        return self._of(epoch).window(number)

    def _of(self, epoch: int) -> LanePlan:
        if self._current is None or self._current[0] != epoch:
            self._current = epoch, self._plan(epoch=epoch)
        return self._current[1]


class LanePlan:
    """Which users stand in which lane, for one epoch of one rank.

    Users are shuffled and dealt to lanes, always to the one with the fewest events so far where histories are long, so that
    all lanes end at nearly the same step: a function of (seed, epoch) alone. Lanes go round the ranks, so that a window holds
    the same events however many there are; where they don't come out even, some ranks have a lane that stays empty.

    Args:
        sequences: Histories; truncated ones keep their oldest events.
        user_rows: int64, users to learn from.
        num_lanes: Of all ranks together.
        num_steps: T.
        seed: Of the shuffle.
        epoch: Another epoch shuffles anew.
        rank, world_size: This rank has lanes `rank`, `rank + world_size`, …

    Attributes:
        num_lanes: B of this rank, the same for all.
    """

    def __init__(
        self,
        sequences: Sequences,
        user_rows: Rows,
        num_lanes: int,
        num_steps: int,
        *,
        seed: int,
        epoch: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self._sequences = sequences
        self.num_lanes, self.num_steps = lanes_a_rank(num_lanes, world_size), num_steps
        lengths = sequences.history_lengths[user_rows]
        shuffled = np.random.Generator(np.random.Philox(key=[seed, epoch])).permutation(np.flatnonzero(lengths > 0))
        lane = assign_lanes(lengths[shuffled], num_lanes)
        lane_events = np.bincount(lane, weights=lengths[shuffled], minlength=self.num_lanes * world_size).astype(np.int64)
        self.num_windows = max(1, -(-int(lane_events.max(initial=0)) // num_steps))
        mine = (lane % world_size) == rank
        order = np.argsort(lane[mine] // world_size, kind="stable")
        users = shuffled[mine][order]
        self._first_event = sequences.user_offsets[:-1][user_rows[users]]
        ends = np.cumsum(lengths[users])
        self._user_begin = ends - lengths[users]
        self._lane_events = lane_events[rank::world_size]
        self._lane_begin = np.cumsum(self._lane_events) - self._lane_events
        self.num_events = int(self._lane_events.sum())

    def window(self, number: int) -> Batch:
        """The window of that number, from 0; past this rank's last event all lanes are dead."""
        steps = np.arange(number * self.num_steps, (number + 1) * self.num_steps, dtype=np.int64)[:, None]
        alive = steps < self._lane_events[None, :]
        stream = np.where(alive, steps + self._lane_begin[None, :], 0)
        positions, user_starts = stream, alive
        if self.num_events:
            user = np.searchsorted(self._user_begin, stream, side="right") - 1
            positions = np.where(alive, self._first_event[user] + stream - self._user_begin[user], 0)
            user_starts = (stream == self._user_begin[user]) & alive
        return Batch(
            sequences=self._sequences,
            positions=positions,
            items=np.where(alive, self._sequences.item_rows[positions], 0).astype(np.int64),
            session_starts=self._sequences.session_starts[positions] & alive,
            user_starts=user_starts,
            alive=alive,
            num_events=int(alive.sum()),
        )


def lanes_a_rank(num_lanes: int, world_size: int) -> int:
    """Lanes that every rank holds, so that all lanes of a training have a place."""
    return -(-num_lanes // world_size)


def assign_lanes(lengths: Rows, num_lanes: int) -> Rows:
    """Give each user a lane: long histories first to the emptiest lane, the many short ones by cutting their stream evenly.

    Args:
        lengths: int64 [users], in the order in which they are to be met.
        num_lanes: At least 1.

    Returns:
        int64 [users], lanes. No lane exceeds the mean by more than about one short history, unless a single user does.
    """
    lane = np.zeros(len(lengths), dtype=np.int64)
    total = int(lengths.sum())
    long = np.flatnonzero(lengths > max(1, total // (num_lanes * 32)))
    filled = np.zeros(num_lanes, dtype=np.int64)
    for user in long[np.argsort(-lengths[long], kind="stable")]:
        emptiest = int(filled.argmin())
        lane[user] = emptiest
        filled[emptiest] += lengths[user]
    short = np.ones(len(lengths), dtype=np.bool_)
    short[long] = False
    room = _level(filled, int(lengths[short].sum()))
    middle = np.cumsum(lengths[short]) - lengths[short] / 2
    lane[short] = np.minimum(np.searchsorted(np.cumsum(room), middle, side="right"), num_lanes - 1)
    return lane


def _level(filled: Rows, amount: int) -> npt.NDArray[np.float64]:
    """How much each lane takes of `amount` so that all end at one level, as water fills a vessel."""
    ordered = np.sort(filled)
    levels = (np.cumsum(ordered) + amount) / np.arange(1, len(filled) + 1)
    above = np.append(ordered[1:], np.inf)
    level = levels[int(np.argmax(levels <= above))]
    room: npt.NDArray[np.float64] = np.maximum(level - filled, 0.0)
    return room
