"""How histories become batches: a table, of which a model's phases name an entry."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hrnn.data.arrays import Rows
from hrnn.data.sessions import sessions_alone
from hrnn.models.contract import Batching
from hrnn.sequences import Sequences
from hrnn.training.batching.lanes import LaneBatches
from hrnn.training.batching.windows import PaddedBatches, PrefixBatches
from hrnn.training.distributed import Ranks
from hrnn.training.settings import TrainingSettings

_PREFIXES_A_LANE = 8  # 64 lanes: 512 targets
_PADDED_A_LANE = 2


def _lanes(sequences: Sequences, user_rows: Rows, settings: TrainingSettings, ranks: Ranks) -> Batching:
    return LaneBatches(
        sequences,
        user_rows,
        num_lanes=settings.num_lanes,
        num_steps=settings.num_steps,
        seed=settings.seed,
        rank=ranks.rank,
        world_size=ranks.world_size,
    )


def _session_parallel(sequences: Sequences, user_rows: Rows, settings: TrainingSettings, ranks: Ranks) -> Batching:
    """Lanes of sessions that know nothing of one another, in an order of their own."""
    alone = sessions_alone(sequences)
    owners = np.searchsorted(sequences.user_offsets, alone.user_offsets[:-1], side="right") - 1
    return _lanes(alone, np.flatnonzero((alone.history_lengths > 0) & np.isin(owners, user_rows)), settings, ranks)


def _prefixes(sequences: Sequences, user_rows: Rows, settings: TrainingSettings, ranks: Ranks) -> Batching:
    return PrefixBatches(
        sequences,
        user_rows,
        num_targets=settings.num_lanes * _PREFIXES_A_LANE,
        num_steps=settings.num_steps,
        seed=settings.seed,
        rank=ranks.rank,
        world_size=ranks.world_size,
    )


def _padded(sequences: Sequences, user_rows: Rows, settings: TrainingSettings, ranks: Ranks) -> Batching:
    return PaddedBatches(
        sequences,
        user_rows,
        num_lanes=settings.num_lanes * _PADDED_A_LANE,
        num_steps=settings.num_steps,
        seed=settings.seed,
        rank=ranks.rank,
        world_size=ranks.world_size,
    )


BATCHINGS: dict[str, Callable[[Sequences, Rows, TrainingSettings, Ranks], Batching]] = {
    "lanes": _lanes,
    "session_parallel": _session_parallel,
    "prefixes": _prefixes,
    "padded": _padded,
}
"""By name: (what is learnt from, users to learn from, settings, this rank) -> its batches."""
