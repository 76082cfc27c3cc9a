"""Torchruns end with the process that started them, in whichever thread it waits."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from jobs.train import search
from jobs.train.launch import Launch, run_ranks
from jobs.train.spec import WorkerSpec
from schemas.errors import DataError

STANDS_IN = """
import pathlib, signal, sys, time
def end(*_):
    (pathlib.Path(sys.argv[1]) / "checkpoint").write_text("written")
    sys.exit(143)
signal.signal(signal.SIGTERM, end)
(pathlib.Path(sys.argv[1]) / "running").write_text("")
time.sleep(120)
"""


class StandsIn(Launch):
    """Torchrun, as far as signals go."""

    def command(self, answers: Path, spec_path: Path) -> list[str]:
        return [sys.executable, "-c", STANDS_IN, str(answers)]


def spec_in(folder: Path) -> WorkerSpec:
    folder.mkdir()
    none = {"recipe": "aws-hrnn", "config": {}, "settings": {}, "threads": 1}
    return WorkerSpec(identity="x", arrays="", checkpoints_uri="", answers=str(folder), **none)  # type: ignore[arg-type]


def running(folders: list[Path]) -> None:
    """Wait until the ranks of all trials are at work."""
    while not all((folder / "running").exists() for folder in folders):
        time.sleep(0.01)


@pytest.mark.parametrize(("parallel_jobs", "number"), [(1, signal.SIGTERM), (3, signal.SIGTERM), (3, signal.SIGINT)])
def test_a_signal_ends_the_ranks_of_every_trial_with_a_checkpoint(
    tmp_path: Path, parallel_jobs: int, number: signal.Signals
) -> None:
    folders = [tmp_path / str(trial) for trial in range(parallel_jobs)]

    def tried(trial: int) -> search.Trial:
        run_ranks(StandsIn(), spec_in(folders[trial]), tmp_path / f"{trial}.json")
        raise AssertionError("it should have been ended")

    def ask() -> None:
        running(folders)
        os.kill(os.getpid(), number)

    threading.Thread(target=ask, daemon=True).start()
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit if number == signal.SIGTERM else KeyboardInterrupt) as ended:
        search._run_round(tried, range(parallel_jobs))
    assert number == signal.SIGINT or ended.value.code == 143  # type: ignore[attr-defined]
    assert all((folder / "checkpoint").read_text() == "written" for folder in folders)
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("failing", [0, 2])
def test_a_trial_that_fails_ends_the_others_and_is_what_is_told(tmp_path: Path, failing: int) -> None:
    folders = [tmp_path / str(trial) for trial in range(3)]

    def tried(trial: int) -> search.Trial:
        if trial == failing:
            running(folders[:failing] + folders[failing + 1 :])
            raise DataError("there is nothing to learn")
        run_ranks(StandsIn(), spec_in(folders[trial]), tmp_path / f"{trial}.json")
        raise AssertionError("it should have been ended")

    with pytest.raises(DataError, match="nothing to learn"):
        search._run_round(tried, range(3))
    assert [(folder / "checkpoint").exists() for folder in folders] == [trial != failing for trial in range(3)]
