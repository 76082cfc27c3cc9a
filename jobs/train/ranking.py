"""The ranker of a solution version: which moments it learns from, and its fit from what the model said at each of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from hrnn.blend.item_statistics import ItemStatistics
from hrnn.blend.snapshots import BlendedModel, ServingSnapshot
from hrnn.blend.weights import BlendWeights
from hrnn.data.arrays import Floats
from hrnn.data.metadata import Metadata
from hrnn.data.sequences import Sequences
from hrnn.evaluation.settings.next_period import NextPeriod, cut_at
from hrnn.models.contract import QueryModel
from hrnn.ranker.fitting import FittedRanker
from hrnn.ranker.knowledge import Knowledge
from jobs.platform.progress import Progress

GAINS_TOLD = 20  # features


def known_at_moments(
    sequences: Sequences,
    moments: Sequence[int],
    models: Sequence[QueryModel],
    weights: BlendWeights,
    gap_seconds: int | None,
    metadata: Metadata,
    *,
    horizon_seconds: int,
    lag_seconds: int,
    recency: bool,
    event_weights: Floats | None,
    seed: int,
) -> Iterator[tuple[Knowledge, NextPeriod]]:
    """What was known at each moment, and what came then; one moment in memory at a time.

    Args:
        sequences: All histories.
        moments: UTC epoch seconds, rising.
        models: At each moment, learnt from events before it.
        weights: Of the blend, fitted before the first moment.
        gap_seconds: Of the sessions; None: there are none.
        metadata: Of the sequences.
        horizon_seconds: The period that lists are made for.
        lag_seconds: After which they are read.
        recency: Whether recent popularity may have a part in lists.
        event_weights: float32 [E], how much each event counts where it comes true; of weight 0 none does. None: all alike.
        seed: Of the sample of users.
    """
    with Progress(len(moments), "moments", "ranker") as bar:
        for moment, model in zip(moments, models, strict=True):
            known = sequences.before(moment)
            serving = ServingSnapshot(BlendedModel(model, weights, ItemStatistics.of(known)), moment, gap_seconds)
            cut = moment - 1  # a second that a night's data end with is before its cut
            night = cut_at(sequences, cut, horizon_seconds, lag_seconds=lag_seconds, seed=seed, event_weights=event_weights)
            yield Knowledge.of(known, serving, metadata, recency=recency), night
            bar.update()


def ranker_document(fitted: FittedRanker, moments: Sequence[int], horizon_seconds: int, lag_seconds: int) -> dict[str, Any]:
    """How the ranker was fitted and what it is worth, as the manifest and metrics.json hold it."""
    gains = {} if fitted.ranker is None else fitted.ranker.gains()
    document = {name: value for name, value in asdict(fitted).items() if name != "ranker"}
    return document | {
        "serves": fitted.serves,
        "moments": list(moments),
        "horizon_days": horizon_seconds / 86_400,
        "lag_hours": lag_seconds / 3_600,
        "largest_gains": dict(list(gains.items())[:GAINS_TOLD]),
    }
