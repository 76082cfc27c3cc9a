"""Kill a training at random steps, again and again, and see that it ends with the bits of one that nobody disturbs.

`python tests/chaos/kill_training.py --kills 20 --ranks 1 --folder FOLDER`; prints one line. Every attempt is one forked process
a rank, so that an attempt costs no start of Python; all ranks are killed, in random order.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import socket
import time
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from small_sequences import random_histories, sequences_of

from hrnn.data.splits import prepare, users_between
from hrnn.models.contract import DataSpec
from hrnn.models.hrnn import Hrnn
from hrnn.training.distributed import Ranks
from hrnn.training.heldout_loss import heldout_loss
from hrnn.training.parts import TrainingPart
from hrnn.training.settings import TrainingSettings
from hrnn.training.trainer import Trainer
from jobs.train.checkpoints import WorkspaceCheckpoints

SEQUENCES = sequences_of(random_histories(120, 60))
SETTINGS = TrainingSettings(
    num_lanes=8, num_steps=4, epochs=6, patience=2, exact_below=0, num_negatives=32, momentum=0.2, checkpoint_seconds=0.0
)


def train(folder: Path, ranks: Ranks) -> None:
    """Train to the end, from the newest checkpoint."""
    prepared = prepare(SEQUENCES, SETTINGS.seed)
    fit = prepared.fit
    model = Hrnn.build({"hidden_dimension": 16}, SETTINGS, DataSpec.of(SEQUENCES, fit))
    trainer = Trainer(
        model,
        [TrainingPart(fit, users_between(fit, 0.0, 1.0))],
        SETTINGS,
        ranks=ranks,
        store=WorkspaceCheckpoints(str(folder / "checkpoints")),
        heldout_loss=lambda trained: heldout_loss(trained, prepared),
    )
    curve = trainer.run()
    if ranks.rank == 0:
        told = torch.tensor([[point.loss, point.validation or 0.0] for point in curve], dtype=torch.float64)
        tensors = {"item_table": model.item_table.data, "dense": model.dense.data, "curve": told}
        save_file(tensors | {"best_epoch": torch.tensor(trainer.best_epoch)}, folder / "writing")
        os.replace(folder / "writing", folder / "trained.safetensors")


def start(folder: Path, world_size: int) -> list[int]:
    """Fork the ranks of an attempt; returns their process ids."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    pids = []
    for rank in range(world_size):
        pid = os.fork()
        if pid == 0:
            os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(world_size), "LOCAL_RANK": str(rank)}
            os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
            status = 1
            try:
                train(folder, Ranks.join())
                status = 0
            finally:
                os._exit(status)
        pids.append(pid)
    return pids


def run_to_the_end(folder: Path, world_size: int) -> float:
    """One attempt that nobody disturbs; seconds."""
    folder.mkdir(exist_ok=True)
    began = time.monotonic()
    statuses = [os.waitpid(pid, 0)[1] for pid in start(folder, world_size)]
    if any(statuses):
        raise SystemExit(f"a rank failed: {statuses}")
    return time.monotonic() - began


def main() -> None:
    """Do all of it; ends with status 1 where bits differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    dice, folder, ranks = random.Random(arguments.seed), arguments.folder, arguments.ranks
    seconds = run_to_the_end(folder / "calm", ranks)
    kills = trainings = 0
    while kills < arguments.kills:
        trainings += 1
        wild = folder / f"wild-{trainings}"
        wild.mkdir()
        for _ in range(dice.randint(1, 6)):
            pids = start(wild, ranks)
            time.sleep(dice.uniform(0.05, 0.4) * seconds)
            dice.shuffle(pids)
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            statuses = [os.waitpid(pid, 0)[1] for pid in pids]
            kills += any(os.WIFSIGNALED(status) for status in statuses)
        run_to_the_end(wild, ranks)
        whole, other = load_file(folder / "calm" / "trained.safetensors"), load_file(wild / "trained.safetensors")
        if not all(torch.equal(whole[name], other[name]) for name in whole):
            raise SystemExit(f"training {trainings} ended with other bits")
    print(f"{kills} kills of {ranks} rank(s) in {trainings} trainings: the same bits, {len(whole['curve'])} epochs", flush=True)


if __name__ == "__main__":
    main()
