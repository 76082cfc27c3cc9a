"""Training in this process, in place of torchrun; tests/jobs/train/test_ranks.py starts the real one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

import jobs.train.fit
from hrnn.training.distributed import Ranks
from jobs.train.launch import Launch
from jobs.train.spec import WorkerSpec
from jobs.train.worker import work


@contextmanager
def one_rank_here() -> Iterator[None]:
    """`train` runs its one rank in this process, on one thread."""

    def run_here(launch: Launch, spec: WorkerSpec, spec_path: Path) -> None:
        spec.save(spec_path)
        work(WorkerSpec.load(spec_path), Ranks.alone(), [])

    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(jobs.train.fit, "run_ranks", run_here)
        yield
