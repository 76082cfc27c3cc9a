"""The ranker of a solution version: its fit from what the model said at earlier moments, which several processes work out."""

from __future__ import annotations

from concurrent.futures import Future
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from hrnn.blend.item_statistics import ItemStatistics
from hrnn.blend.snapshots import BlendedModel, ServingSnapshot
from hrnn.blend.weights import BlendWeights
from hrnn.data.arrays import Floats
from hrnn.data.metadata import Metadata
from hrnn.data.sequences import Sequences
from hrnn.evaluation.settings.next_period import NextPeriod, cut_at
from hrnn.models.registry import restored
from hrnn.ranker.candidates import CandidateSources
from hrnn.ranker.fitting import FittedRanker, examples_of, fit_from_examples, newest_of
from hrnn.ranker.knowledge import Knowledge
from hrnn.ranker.trees import Examples
from jobs.platform.process.pool import process_pool
from jobs.platform.progress import Progress
from jobs.solutions.staging import EVENT_WEIGHTS, METADATA

GAINS_TOLD = 20  # features
_EVENTS_A_PROCESS = 200_000  # whose moment takes as long as the start of a process


@dataclass(frozen=True, kw_only=True)
class Moments:
    """Earlier moments, as every process of this node finds them.

    Attributes:
        arrays: Folder of the staged sequences.
        parameters: File of the model's at each moment, learnt from events before it.
        recipe, sizes: Of the model.
        times: UTC epoch seconds, rising.
        weights: Of the blend, fitted before the first moment.
        gap_seconds: Of the sessions; None: there are none.
        horizon_seconds: The period that lists are made for.
        lag_seconds: After which they are read.
        recency: Whether recent popularity may have a part in lists.
        weighted: Whether events count by weights, which lie among the arrays: of weight 0 none is ever true.
        seed: Of everything drawn.
    """

    arrays: Path
    parameters: tuple[Path, ...]
    recipe: str
    sizes: dict[str, Any]
    times: tuple[int, ...]
    weights: BlendWeights
    gap_seconds: int | None
    horizon_seconds: int
    lag_seconds: int
    recency: bool
    weighted: bool
    seed: int

    def at(self, number: int) -> tuple[Knowledge, NextPeriod]:
        """What was known at a moment, and what came then."""
        sequences, moment = Sequences.load(self.arrays), self.times[number]
        known, model = sequences.before(moment), restored(self.recipe, self.sizes, load_file(self.parameters[number]))
        event_weights: Floats | None = np.load(self.arrays / EVENT_WEIGHTS, mmap_mode="r") if self.weighted else None
        serving = ServingSnapshot(BlendedModel(model, self.weights, ItemStatistics.of(known)), moment, self.gap_seconds)
        night = cut_at(
            sequences,
            moment - 1,  # a second that a night's data end with is before its cut
            self.horizon_seconds,
            lag_seconds=self.lag_seconds,
            seed=self.seed,
            event_weights=event_weights,
        )
        return Knowledge.of(known, serving, Metadata.load(self.arrays / METADATA), recency=self.recency), night

    def fit(self, cores: int) -> FittedRanker:
        """Fit a ranker; the same one however many cores work out the moments.

        Args:
            cores: How many may.

        Raises:
            MachineError: A process died.
        """
        earlier, newest = range(len(self.times) - 1), len(self.times) - 1
        num_events = Sequences.load(self.arrays).num_events
        processes = min(cores, len(earlier), num_events // _EVENTS_A_PROCESS)
        pooled = process_pool(processes, "worked out what was known at a moment", _begin) if processes > 1 else nullcontext()
        with Progress(len(self.times), "moments", "ranker") as bar, pooled as pool:
            waiting: list[Future[Examples]] = [] if pool is None else [pool.submit(self._examples, each) for each in earlier]
            examples = []
            if pool is None:
                for number in earlier:
                    examples.append(self._examples(number))
                    bar.update()
            knowledge, night = self.at(newest)
            sources = CandidateSources(knowledge)
            of_newest = examples_of(sources, night, self.seed)
            measured = newest_of(sources, night, self.seed)
            bar.update()
            for each in waiting:
                examples.append(each.result())
                bar.update()
        return fit_from_examples(self.times, [*examples, of_newest], measured, self.horizon_seconds, self.seed)

    def _examples(self, number: int) -> Examples:
        knowledge, night = self.at(number)
        return examples_of(CandidateSources(knowledge), night, self.seed)


def _begin() -> None:
    torch.set_num_threads(1)  # as in the process that started this one: the last bits of a sum depend on it


def ranker_document(fitted: FittedRanker, moments: tuple[int, ...], horizon_seconds: int, lag_seconds: int) -> dict[str, Any]:
    """How the ranker was fitted and what it is worth, as the manifest and metrics.json hold it."""
    gains = {} if fitted.ranker is None else fitted.ranker.gains()
    document = asdict(replace(fitted, ranker=None))
    del document["ranker"]
    return document | {
        "serves": fitted.serves,
        "moments": list(moments),
        "horizon_days": horizon_seconds / 86_400,
        "lag_hours": lag_seconds / 3_600,
        "largest_gains": dict(list(gains.items())[:GAINS_TOLD]),
    }
