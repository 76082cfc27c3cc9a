"""Our lists of a night, made as `hrnn train` makes them: one path through the code, from sequences to states."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from quality_models import ModelSettings
from working_data import WorkingSet

from hrnn.data.arrays import Flags, Rows
from hrnn.data.metadata import Metadata
from hrnn.data.ragged import row_ids
from hrnn.data.sequences import Sequences
from hrnn.data.splits import prepare
from hrnn.evaluation.settings.next_period import NextPeriod, best_of
from hrnn.models.contract import Snapshot
from hrnn.ranker.snapshot import RankedSnapshot
from jobs.solutions.staging import METADATA
from jobs.train.fit import TrainingJob, fit
from jobs.train.launch import Launch
from schemas.recipes import parse_hyperparameters

OURS, BLEND = "aws-hrnn", "without the ranker"
_AT_ONCE = 512


def our_lists(night: NextPeriod, data: WorkingSet, settings: ModelSettings, metadata: Metadata) -> dict[str, Rows]:
    """Lists of one night by one seed, int64 [V, 25]: those that are served, and those of the convex blend.

    Args:
        night: Whose training histories are all that is known.
        data: How sessions are cut.
        settings: Of the training.
        metadata: Of the night's sequences.
    """
    known_events = events_before(night)
    known = replace(night.training, kept=None).only(known_events)
    hyperparameters = parse_hyperparameters("aws-hrnn", {"hidden_dimension": settings.hidden_dimension})
    with tempfile.TemporaryDirectory(prefix="hrnn-bench-") as name:
        folder = Path(name)
        known.save(folder / "arrays")
        metadata.only(known_events).save(folder / "arrays" / METADATA)
        job = TrainingJob(
            recipe="aws-hrnn",
            hyperparameters=hyperparameters,
            settings=settings.training,
            variant=settings.variant,
            gap_seconds=data.gap_seconds,
            identity="benchmark",
            checkpoints_uri=str(folder / "checkpoints"),
            horizon_seconds=night.horizon_seconds,
            lag_seconds=night.lag_seconds,
        ).with_ranker(known)
        prepared = prepare(known, settings.training.seed)
        (folder / "scratch").mkdir()
        fitted = fit(job, known, prepared, folder / "arrays", Launch(), folder / "scratch")
        assert fitted is not None
        served = fitted.serving
        lists = {OURS: _lists(served, night, known)}
        return lists | (
            {BLEND: _lists(served.blend, night, known)} if isinstance(served, RankedSnapshot) else {BLEND: lists[OURS]}
        )


def events_before(night: NextPeriod) -> Flags:
    """Which stored events are up to the cut: bool [E]."""
    before = np.zeros(len(night.training.item_rows), dtype=np.bool_)
    before[night.training.event_positions(np.arange(night.training.num_users)).values] = True
    return before


def _lists(view: Snapshot, night: NextPeriod, known: Sequences) -> Rows:
    """The 25 best known items of each test user."""
    vectors, bias = view.items().vectors.t(), view.items().bias
    unknown = torch.from_numpy(np.flatnonzero(~night.known))
    lists = []
    for begin in range(0, len(night.user_rows), _AT_ONCE):
        states = view.user_states(known, night.user_rows[begin : begin + _AT_ONCE])
        scores = torch.addmm(bias, states.query, vectors)
        scores[:, unknown] = -torch.inf
        written = scores.numpy()
        written[row_ids(states.sparse.offsets), states.sparse.item_rows] += states.sparse.scores
        lists.append(best_of(written))
    return np.concatenate(lists)
