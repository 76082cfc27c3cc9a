"""Torchruns end with the process that started them, in whichever thread it waits."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobs.train import search
from jobs.train.launch import Launch, run_ranks
from jobs.train.spec import WorkerSpec
from schemas.errors import ConfigError, DataError

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


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"nnodes": 2}, "several nodes need a place to meet"),
        *(
            (
                {"nnodes": 2, "rdzv_endpoint": place},
                r"rdzv_endpoint: this is no place to meet \(got .*host:port, a port from 1",
            )
            for place in (
                "nohost:x",
                "host",
                "host:",
                ":29500",
                "host:0",
                "host:65536",
                "host:²",
                "a b:1",
                "::1:29500",
                "host:1\n",
            )
        ),
        ({"nnodes": 2, "rdzv_endpoint": "nohost:x"}, "this is no place to meet"),
        *(
            ({name: value}, rf"^{name}: this says how several nodes meet, and there is one \(got '{value}'\)\. Leave it out")
            for name, value in {"rdzv_endpoint": "host:1", "rdzv_backend": "c10d", "rdzv_id": "night"}.items()
        ),
        ({"node_rank": 5}, r"node_rank: there is no such node \(got 5\)\. Allowed: 0\."),
        ({"nnodes": 2, "node_rank": 2, "rdzv_endpoint": "host:1"}, r"no such node \(got 2\)\. Allowed: 0 to 1, for 2 nodes"),
    ],
)
def test_nodes_that_can_not_meet_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Launch(**given)


@pytest.mark.parametrize("place", ["host:1", "node-0.cluster_x:65535", "10.0.0.1:29500", "[fe80::1]:29500"])
def test_nodes_meet_at_a_port_of_a_host(place: str) -> None:
    assert Launch(nnodes=2, node_rank=1, rdzv_endpoint=place).rdzv_endpoint == place


@pytest.mark.parametrize("received_by", ["the process", "another thread"])
@pytest.mark.parametrize(("parallel_jobs", "number"), [(1, signal.SIGTERM), (3, signal.SIGTERM), (3, signal.SIGINT)])
def test_a_signal_ends_the_ranks_of_every_trial_with_a_checkpoint(
    tmp_path: Path, parallel_jobs: int, number: signal.Signals, received_by: str
) -> None:
    folders = [tmp_path / str(trial) for trial in range(parallel_jobs)]

    def tried(trial: int) -> search.Trial:
        run_ranks(StandsIn(), spec_in(folders[trial]), tmp_path / f"{trial}.json")
        raise AssertionError("it should have been ended")

    def ask() -> None:
        running(folders)
        if received_by == "the process":
            os.kill(os.getpid(), number)
        else:
            signal.pthread_kill(threading.get_ident(), number)

    threading.Thread(target=ask, daemon=True).start()
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit if number == signal.SIGTERM else KeyboardInterrupt) as ended:
        search._run_round(tried, range(parallel_jobs))
    assert number == signal.SIGINT or ended.value.code == 143  # type: ignore[attr-defined]
    assert all((folder / "checkpoint").read_text() == "written" for folder in folders)
    assert signal.getsignal(signal.SIGTERM) is before


class InterruptedAtTheLast:
    """Numbers of trials; the last is never reached, because an interrupt comes while the others are at work."""

    def __init__(self, folders: list[Path]) -> None:
        self.folders = folders

    def __len__(self) -> int:
        return len(self.folders)

    def __iter__(self) -> Iterator[int]:
        yield from range(len(self) - 1)
        running(self.folders[:-1])
        raise KeyboardInterrupt


def test_an_interrupt_while_trials_are_started_ends_those_that_run(tmp_path: Path) -> None:
    folders = [tmp_path / str(trial) for trial in range(3)]

    def tried(trial: int) -> search.Trial:
        run_ranks(StandsIn(), spec_in(folders[trial]), tmp_path / f"{trial}.json")
        raise AssertionError("it should have been ended")

    with pytest.raises(KeyboardInterrupt):
        search._run_round(tried, InterruptedAtTheLast(folders))  # type: ignore[arg-type]
    assert all((folder / "checkpoint").read_text() == "written" for folder in folders[:-1])
    assert not folders[-1].exists()


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
