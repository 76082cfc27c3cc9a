"""One rank of a training; torchrun starts it: `python -m torch.distributed.run … -m jobs.train.worker --spec FILE`."""

from __future__ import annotations

import argparse
import json
import logging
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from hrnn.data.arrays import Floats
from hrnn.data.sequences import Sequences
from hrnn.data.splits import Prepared, prepare, users_between
from hrnn.models.contract import DataSpec, SequenceModel
from hrnn.models.registry import model_for, neural_model_for
from hrnn.training.distributed import Ranks
from hrnn.training.heldout_loss import heldout_loss
from hrnn.training.parts import EVERYTHING, PRESENT, PRESENT_EPOCHS, TrainingPart, past_name, past_parts
from hrnn.training.settings import CurvePoint, TrainingSettings
from hrnn.training.trainer import Stopped, Trainer
from jobs.platform.process.die_with_parent import end_with_parent
from jobs.platform.process.scratch import space_error
from jobs.platform.progress import Progress
from jobs.solutions.staging import EVENT_WEIGHTS
from jobs.train.checkpoints import WorkspaceCheckpoints
from jobs.train.spec import NO_SPACE, WorkerSpec
from schemas.errors import HrnnError

STOPPED = 75  # exit status after SIGTERM: the checkpoint is written, run again to go on


def main() -> int:
    """Train as the spec says; exit status 0, 1 for a user's error (reported to the launcher), STOPPED after SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spec", type=Path, required=True, help="JSON file that the launcher wrote")
    end_with_parent()
    spec = WorkerSpec.load(parser.parse_args().spec)
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    stopping = _catch_sigterm()
    torch.set_num_threads(spec.threads)
    try:
        ranks = Ranks.join()
        work(spec, ranks, stopping)
        ranks.leave()
    except Stopped:
        return STOPPED
    except HrnnError as error:
        spec.report_error(error)
        return 1
    except Exception as error:
        if space_error(error) is None:
            raise
        return NO_SPACE
    return 0


def work(spec: WorkerSpec, ranks: Ranks, stopping: list[bool]) -> None:
    """Train; the first rank writes model and curve for the launcher."""
    sequences = Sequences.load(Path(spec.arrays))
    settings = spec.training_settings()
    prepared = prepare(sequences, settings.seed, holdout=settings.holdout, split=settings.split)
    entry = model_for(spec.recipe)
    weights = np.load(Path(spec.arrays) / EVENT_WEIGHTS, mmap_mode="r") if spec.weighted else None
    percentiles = (
        spec.config["min_user_history_length_percentile"],
        spec.config["max_user_history_length_percentile"],
    )
    parts = training_parts(sequences, prepared, settings, spec.moments, weights, percentiles)
    # Initial parameters say nothing of items that come later than what is learnt from first.
    data = DataSpec.of(sequences, parts[0].sequences)
    model = neural_model_for(spec.recipe).build(spec.config, settings, data)
    bar = Progress(None, "events", "train")
    trainer = Trainer(
        model,
        parts,
        settings,
        phases=entry.phases(settings),
        ranks=ranks,
        store=WorkspaceCheckpoints(spec.checkpoints_uri),
        identity=spec.identity,
        heldout_loss=lambda trained: heldout_loss(trained, prepared, weights),
        progress=lambda events, text: bar.update(events, text),
        should_stop=lambda: bool(stopping),
    )
    done = trainer.resume()
    if ranks.rank == 0:
        begun = f", going on after {done:,}" if done else ""
        where = f"{ranks.world_size} ranks on {ranks.device.type}"
        most = f"{settings.epochs} epochs at most"
        events = next(part.num_events for part in parts if part.name == PRESENT)
        print(f"train: {events:,} events an epoch, {most}, {where}{begun}", file=sys.stderr, flush=True)
    bar.total = sum(part.num_events * (part.epochs or phase.epochs) for part in parts for phase in trainer.phases) - done
    with bar:
        curve = trainer.run()
    if ranks.rank == 0:
        for part, parameters in trainer.kept.items():
            save_file(parameters, spec.kept_path(part))
        write_answers(spec, trainer.model, curve, trainer.best_epoch)


def training_parts(
    sequences: Sequences,
    prepared: Prepared,
    settings: TrainingSettings,
    moments: Sequence[int],
    weights: Floats | None,
    percentiles: tuple[float, float],
) -> list[TrainingPart]:
    """All events that may be learnt from at once; or, for a ranker, what came before each moment, the present, and everything.

    There is no early stopping in these parts: held-out loss is lowest before lists are best, and so few epochs never overfit.

    Args:
        sequences: All histories.
        prepared: Their train / calibration / holdout split.
        settings: Of the training.
        moments: As WorkerSpec's.
        weights: float32 [E], of the stored events; None: all alike.
        percentiles: Of history lengths, between which users are learnt from in the present.
    """
    users = users_between(prepared.fit, *percentiles)
    if not moments:
        return [TrainingPart(prepared.fit, users, event_weights=weights)]
    past, epochs = prepared.before(moments[0], settings.seed), min(PRESENT_EPOCHS, settings.epochs)
    return [
        *past_parts(past.fit, prepared.fit, moments, weights, max(1, settings.epochs - PRESENT_EPOCHS)),
        TrainingPart(prepared.fit, users, PRESENT, weights, epochs, keep=True, measured=False),
        TrainingPart(
            sequences,
            users_between(sequences, *percentiles),
            EVERYTHING,
            weights,
            epochs,
            measured=False,
            starts_from=past_name(len(moments) - 1),
        ),
    ]


def write_answers(spec: WorkerSpec, model: SequenceModel, curve: list[CurvePoint], best_epoch: int) -> None:
    """Write the trained model, the curve and the epoch of its parameters to this node's disk, for the launcher."""
    save_file({name: values.detach().contiguous() for name, values in model.named_parameters()}, spec.model_path)
    answer = {"curve": [asdict(point) for point in curve], "best_epoch": best_epoch, "sizes": model.sizes}
    spec.curve_path.write_text(json.dumps(answer))


def _catch_sigterm() -> list[bool]:
    """A list that is empty until SIGTERM arrives."""
    caught: list[bool] = []
    signal.signal(signal.SIGTERM, lambda *_: caught.append(True))
    return caught


if __name__ == "__main__":
    sys.exit(main())
