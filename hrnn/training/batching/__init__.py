"""Batchings of histories, by name: a model's phases refer to them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hrnn.data.arrays import Rows
from hrnn.data.sequences import Sequences
from hrnn.data.sessions import sessions_alone
from hrnn.models.contract import Batching
from hrnn.training.batching.lanes import LaneBatches
from hrnn.training.batching.windows import PaddedBatches, PrefixBatches
from hrnn.training.distributed import Ranks
from hrnn.training.settings import TrainingSettings

BatchingFactory = Callable[[Sequences, Rows, TrainingSettings, Ranks], Batching]


def _factory(kind: Callable[..., Batching], lanes: int = 1) -> BatchingFactory:
    """Factory of a batching class, with so many of its lanes for each lane of the settings."""

    def create(sequences: Sequences, user_rows: Rows, settings: TrainingSettings, ranks: Ranks) -> Batching:
        return kind(
            sequences,
            user_rows,
            num_lanes=settings.num_lanes * lanes,
            num_steps=settings.num_steps,
            seed=settings.seed,
            rank=ranks.rank,
            world_size=ranks.world_size,
        )

    return create


def _session_parallel(sequences: Sequences, user_rows: Rows, settings: TrainingSettings, ranks: Ranks) -> Batching:
    """Lanes of sessions as independent sequences, in an order of their own."""
    # LaneBatches shuffles what it is given as users, here sessions. In order of time, as in Hidasi et al. 2016, lanes forget:
    # where each user's last session is held out, that cost a sixth of recall@20 (Globo).
    alone = sessions_alone(sequences)
    users = np.searchsorted(sequences.user_offsets, alone.user_offsets[:-1], side="right") - 1
    sessions = np.flatnonzero((alone.history_lengths > 0) & np.isin(users, user_rows))
    return _factory(LaneBatches)(alone, sessions, settings, ranks)


BATCHINGS: dict[str, BatchingFactory] = {
    "lanes": _factory(LaneBatches),
    "session_parallel": _session_parallel,
    # By default 64 lanes, of which "lanes" has 32 targets each: a lane of one target is little work, and there may be more.
    "prefixes": _factory(PrefixBatches, 8),  # 512 targets
    "padded": _factory(PaddedBatches, 2),
}
"""By name: (training events, training users, settings, process group) -> this rank's batches."""
