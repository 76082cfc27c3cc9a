"""What large windows cost: quality beside speed, by lanes and bptt, after equal epochs (`bench_train.py --trade`)."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import quality_models as ours
import working_data
from quality_models import ModelSettings

from hrnn.evaluation.settings.last_session import condensed, hide_last_session
from hrnn.training.settings import TrainingSettings

SET = "online_retail"
LANES, STEPS = (16, 64, 256), (8, 32)
EPOCHS, WIDTH = 3, 43


def window_trade(data: Path | None) -> None:
    """Print R@20 and MRR@20 of the session-aware protocol and events a CPU second, one seed.

    Args:
        data: Folder of the unpacked data; None: they are unpacked for the time of the run.
    """
    with tempfile.TemporaryDirectory() as folder:
        load = working_data.find(SET, data or Path(folder))
        if load is None:
            print(f"\n{SET} is absent: no quality beside speed")
            return
        hidden = hide_last_session(condensed(load(working_data.SETS[SET].session_gap_seconds))[0])
    print(f"\n{SET}, session-aware, H = {WIDTH}, {EPOCHS} epochs of {hidden.training.num_events:,} events\n")
    print("| lanes | bptt | events a window | R@20 | MRR@20 | events a CPU second |\n|---|---|---|---|---|---|", flush=True)
    for lanes in LANES:
        for steps in STEPS:
            training = TrainingSettings(num_lanes=lanes, num_steps=steps, epochs=EPOCHS, patience=None)
            begun = time.process_time()
            trained = ours.train(hidden.training, ModelSettings(training=training, hidden_dimension=WIDTH))
            speed = EPOCHS * hidden.training.num_events / (time.process_time() - begun)
            found = ours.sequence_metrics(trained.model, hidden)
            quality = f"{found['recall_at_20']:.4f} | {found['mean_reciprocal_rank_at_20']:.4f}"
            print(f"| {lanes} | {steps} | {lanes * steps:,} | {quality} | {speed:,.0f} |", flush=True)
