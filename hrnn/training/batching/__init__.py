"""How histories become batches: a table, of which a model's phases name an entry."""

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

Made = Callable[[Sequences, Rows, TrainingSettings, Ranks], Batching]


def _made_by(kind: type[LaneBatches | PrefixBatches | PaddedBatches], lanes: int = 1) -> Made:
    """What makes batches of a kind, with so many of its lanes for each lane of the settings."""

    def made(sequences: Sequences, user_rows: Rows, settings: TrainingSettings, ranks: Ranks) -> Batching:
        return kind(
            sequences,
            user_rows,
            num_lanes=settings.num_lanes * lanes,
            num_steps=settings.num_steps,
            seed=settings.seed,
            rank=ranks.rank,
            world_size=ranks.world_size,
        )

    return made


def _session_parallel(sequences: Sequences, user_rows: Rows, settings: TrainingSettings, ranks: Ranks) -> Batching:
    """Lanes of sessions that know nothing of one another, in an order of their own."""
    alone = sessions_alone(sequences)
    owners = np.searchsorted(sequences.user_offsets, alone.user_offsets[:-1], side="right") - 1
    sessions = np.flatnonzero((alone.history_lengths > 0) & np.isin(owners, user_rows))
    return _made_by(LaneBatches)(alone, sessions, settings, ranks)


BATCHINGS: dict[str, Made] = {
    "lanes": _made_by(LaneBatches),
    "session_parallel": _session_parallel,
    "prefixes": _made_by(PrefixBatches, 8),  # 64 lanes: 512 targets
    "padded": _made_by(PaddedBatches, 2),
}
"""By name: (what is learnt from, users to learn from, settings, this rank) -> its batches."""
