"""Made-up histories, and our training a number of windows at a time: what bench_train.py and bench_scale.py share."""

from __future__ import annotations

import contextlib
import time

import numpy as np

from hrnn.data.ragged import offsets_of
from hrnn.data.sequences import Sequences
from hrnn.models.contract import DataSpec
from hrnn.models.hrnn import Hrnn
from hrnn.training.distributed import Ranks
from hrnn.training.parts import TrainingPart
from hrnn.training.settings import TrainingSettings
from hrnn.training.trainer import Stopped, Trainer

SESSION_SHARE = 0.35  # of events that start a session, users' first ones apart


def made_up_sequences(num_users: int = 20_000, num_items: int = 30_000, seed: int = 0) -> Sequences:
    """Users with geometric numbers of events, mean 11, sessions likewise, mean 2.4; items by Zipf's law."""
    random = np.random.default_rng(seed)
    lengths = random.geometric(0.1, num_users) + 1
    offsets = offsets_of(lengths)
    events = int(offsets[-1])
    share = 1.0 / np.arange(10, num_items + 10)
    starts = random.random(events) < SESSION_SHARE
    starts[offsets[:-1]] = True
    items = random.choice(num_items, events, p=share / share.sum()).astype(np.int32)
    return Sequences(offsets, items, np.arange(events), starts, np.zeros(events, dtype=np.int32), num_items)


class OurTraining:
    """A trainer that stops after some windows and can go on."""

    def __init__(self, sequences: Sequences, settings: TrainingSettings, width: int, ranks: Ranks | None = None) -> None:
        self._stamps: list[tuple[int, float]] = []
        self._windows = 0
        self.trainer = Trainer(
            Hrnn.build({"hidden_dimension": width}, settings, DataSpec.of(sequences, sequences)),
            [TrainingPart(sequences, np.arange(sequences.num_users))],
            settings,
            ranks=ranks,
            progress=lambda events, _: self._stamps.append((events, time.process_time())),
            should_stop=lambda: len(self._stamps) >= self._windows,
        )

    def speed(self, windows: int) -> float:
        """Events a CPU second of the next windows; what happens once an epoch is left out."""
        self._stamps, self._windows = [], windows
        with contextlib.suppress(Stopped):
            self.trainer.run()
        (_, begun), *rest = self._stamps
        return sum(events for events, _ in rest) / (rest[-1][1] - begun)
