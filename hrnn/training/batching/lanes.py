"""Dense windows [B lanes, T steps] over whole histories.

A lane is a stream of users, each with all their sessions in order; session and user starts are flags inside the stream, so that
only the ends of lanes are padded. Windows follow one another until the longest lane ends: every event of every user is in
exactly one window an epoch. Positions are computed window by window; memory is O(users).
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
        user_rows: int64, training users.
        num_lanes: Of all ranks together.
        num_steps: T.
        seed: Of the order of users.
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
        self.num_lanes = lanes_a_rank(num_lanes, world_size)
        self.nominal_targets = num_lanes * num_steps
        self._plan = partial(LanePlan, sequences, user_rows, num_lanes, num_steps, seed=seed, rank=rank, world_size=world_size)
        self._current: tuple[int, LanePlan] | None = None

    def num_batches(self, epoch: int) -> int:
        """Number of batches of an epoch, the same on all ranks."""
        return self._of(epoch).num_windows

    def batch(self, epoch: int, number: int) -> Batch:
        """This rank's part of a batch."""
        return self._of(epoch).window(number)

    def _of(self, epoch: int) -> LanePlan:
        """The plan of an epoch, of which the last one is kept."""
        if self._current is None or self._current[0] != epoch:
            self._current = epoch, self._plan(epoch=epoch)
        return self._current[1]


class LanePlan:
    """Assignment of users to lanes, for one epoch of one rank.

    Users are shuffled and assigned to lanes, always to the one with the fewest events so far where histories are long, so that
    all lanes end at nearly the same step: a function of (seed, epoch) alone. Lanes are assigned to ranks in turn, so that a
    window holds the same events with any number of ranks; where lanes don't divide evenly, some ranks have one that is empty.

    Args:
        sequences: Histories; truncated ones keep their oldest events.
        user_rows: int64, training users.
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
        # Every rank plans all lanes alike, and takes its own: no rank has to tell another what it has.
        lengths = sequences.history_lengths[user_rows]
        shuffled = np.random.Generator(np.random.Philox(key=[seed, epoch])).permutation(np.flatnonzero(lengths > 0))
        lane = assign_lanes(lengths[shuffled], num_lanes)
        lane_events = np.bincount(lane, weights=lengths[shuffled], minlength=self.num_lanes * world_size).astype(np.int64)
        self.num_windows = max(1, -(-int(lane_events.max(initial=0)) // num_steps))  # of the longest lane of any rank
        # Users of this rank's lanes, one lane after the other: a lane is a contiguous part of one stream of events.
        is_own = (lane % world_size) == rank
        order = np.argsort(lane[is_own] // world_size, kind="stable")
        users = shuffled[is_own][order]
        self._first_event = sequences.user_offsets[:-1][user_rows[users]]
        ends = np.cumsum(lengths[users])
        self._user_begin = ends - lengths[users]
        self._lane_events = lane_events[rank::world_size]
        self._lane_begin = np.cumsum(self._lane_events) - self._lane_events
        self.num_events = int(self._lane_events.sum())

    def window(self, number: int) -> Batch:
        """Window by number, from 0; past this rank's last event all lanes are dead."""
        # Places of the stream first, then the user of each by the users' begins in it: memory is of users, not of events.
        steps = np.arange(number * self.num_steps, (number + 1) * self.num_steps, dtype=np.int64)[:, None]
        alive = steps < self._lane_events[None, :]  # [T, B]
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
    """Lanes of every rank, enough for all lanes of a training."""
    return -(-num_lanes // world_size)


def assign_lanes(lengths: Rows, num_lanes: int) -> Rows:
    """Balance users over lanes: long histories greedily to the emptiest lane, the many short ones by cutting their stream.

    Args:
        lengths: int64 [users], in shuffled order.
        num_lanes: At least 1.

    Returns:
        int64 [users], lanes. No lane exceeds the mean by more than about one short history, unless a single user does.
    """
    # Greedy assignment, longest first, balances well but goes user by user: only for long histories.
    lane = np.zeros(len(lengths), dtype=np.int64)
    total = int(lengths.sum())
    long = np.flatnonzero(lengths > max(1, total // (num_lanes * 32)))  # fewer than 32 a lane, however many users there are
    filled = np.zeros(num_lanes, dtype=np.int64)
    for user in long[np.argsort(-lengths[long], kind="stable")]:
        emptiest = int(filled.argmin())
        lane[user] = emptiest
        filled[emptiest] += lengths[user]
    # Short ones fill up the lanes' rooms in order: each goes where its middle falls, so that errors don't add up.
    short = np.ones(len(lengths), dtype=np.bool_)
    short[long] = False
    room = _level(filled, int(lengths[short].sum()))
    middle = np.cumsum(lengths[short]) - lengths[short] / 2
    lane[short] = np.minimum(np.searchsorted(np.cumsum(room), middle, side="right"), num_lanes - 1)
    return lane


def _level(filled: Rows, amount: int) -> npt.NDArray[np.float64]:
    """Water-filling: how much of `amount` each lane takes so that all reach one level, or stay above it."""
    ordered = np.sort(filled)
    levels = (np.cumsum(ordered) + amount) / np.arange(1, len(filled) + 1)
    above = np.append(ordered[1:], np.inf)
    level = levels[int(np.argmax(levels <= above))]  # of the fewest lanes that reach it below the next one
    room: npt.NDArray[np.float64] = np.maximum(level - filled, 0.0)
    return room
