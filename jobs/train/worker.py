"""One rank of a training; torchrun starts it: `python -m torch.distributed.run … -m jobs.train.worker --spec FILE`."""

from __future__ import annotations

import argparse
import json
import logging
import signal
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from hrnn.data.sequences import Sequences
from hrnn.data.splits import prepare, users_between
from hrnn.models.contract import DataSpec, SequenceModel
from hrnn.models.registry import model_for, neural_model_for
from hrnn.training.distributed import Ranks
from hrnn.training.heldout_loss import heldout_loss
from hrnn.training.settings import CurvePoint
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
    fit = prepared.fit
    users = users_between(
        fit,
        spec.config["min_user_history_length_percentile"],
        spec.config["max_user_history_length_percentile"],
    )
    entry = model_for(spec.recipe)
    model = neural_model_for(spec.recipe).build(spec.config, settings, DataSpec.of(sequences, fit))
    weights = np.load(Path(spec.arrays) / EVENT_WEIGHTS, mmap_mode="r") if spec.weighted else None
    bar = Progress(None, "events", "train")
    trainer = Trainer(
        model,
        fit,
        users,
        settings,
        phases=entry.phases(settings),
        ranks=ranks,
        store=WorkspaceCheckpoints(spec.checkpoints_uri),
        identity=spec.identity,
        event_weights=weights,
        heldout_loss=lambda trained: heldout_loss(trained, prepared, weights),
        progress=lambda events, text: bar.update(events, text),
        should_stop=lambda: bool(stopping),
    )
    events, done = int(fit.history_lengths[users].sum()), trainer.resume()
    if ranks.rank == 0:
        begun = f", going on after {done:,}" if done else ""
        where = f"{ranks.world_size} ranks on {ranks.device.type}"
        most = f"{settings.epochs} epochs at most"
        print(f"train: {events:,} events an epoch, {most}, {where}{begun}", file=sys.stderr, flush=True)
    bar.total = events * settings.epochs - done
    with bar:
        curve = trainer.run()
    if ranks.rank == 0:
        write_answers(spec, trainer.model, curve, trainer.best_epoch)


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
