from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from called_jobs import train
from hostile_surroundings import OF_ANOTHER_LAUNCHER
from published_versions import tensors_of
from safetensors import SafetensorError
from small_sequences import circular_histories, publish_sequences, random_histories, sequences_of

from hrnn.training.distributed import Ranks
from jobs.platform.process.scratch import run_folder
from jobs.platform.storage.folders import StepFolder
from jobs.train import launch
from jobs.train import worker as train_worker
from jobs.train.checkpoints import WorkspaceCheckpoints
from jobs.train.launch import Launch, run_ranks
from jobs.train.spec import WorkerSpec
from schemas.errors import ConfigError, DataError, MachineError, StorageError

CIRCLE = sequences_of(circular_histories(2_000, 40))
NOISE = np.random.default_rng(0).random(len(CIRCLE.item_rows)) < 0.4
NOISY = replace(CIRCLE, item_rows=np.where(NOISE, np.random.default_rng(1).permutation(CIRCLE.item_rows), CIRCLE.item_rows))
SMALL: dict[str, Any] = {"recipe": "aws-hrnn", "hyperparameters": {"hidden_dimension": "32", "bptt": "8"}}


def test_one_node_meets_itself_and_several_meet_at_an_endpoint() -> None:
    alone = Launch(nproc_per_node=2).command(Path("answers"), Path("spec.json"))
    assert alone[1:] == [
        *("-m", "jobs.train.torchrun", "answers", "--nnodes=1", "--rdzv-conf=join_timeout=600"),
        *("--local-addr=127.0.0.1", "--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:0", "--nproc-per-node=2"),
        *("-m", "jobs.train.worker", "--spec", "spec.json"),
    ]
    several = Launch(nproc_per_node=8, nnodes=4, node_rank=3, rdzv_endpoint="head:29500", rdzv_id="night").command(
        Path("a"), Path("s")
    )
    assert {"--nnodes=4", "--node-rank=3", "--rdzv-endpoint=head:29500", "--rdzv-id=night", "--rdzv-backend=c10d"} <= set(
        several
    )


def test_beside_gpus_ranks_share_the_cores_and_without_any_a_rank_has_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    cores = len(os.sched_getaffinity(0))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert Launch(nproc_per_node=1).threads == 1
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4 * cores)
    assert Launch(nproc_per_node=1).threads == cores
    assert Launch(nproc_per_node=4 * cores).threads == 1


def test_more_ranks_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert Launch(nproc_per_node=2).ranks_here == Launch().ranks_here == 2
    with pytest.raises(ConfigError, match=r"more ranks than GPUs.*at most 2") as raised:
        Launch(nproc_per_node=3)
    assert "CUDA_VISIBLE_DEVICES" in str(raised.value)


class _Ended:
    """A torchrun that ends at once."""

    def __init__(self, status: int) -> None:
        self.status = status

    def __call__(self, *_: Any, env: dict[str, str], **__: Any) -> _Ended:
        self.environment = env
        return self

    def wait(self, timeout: float = 0.0) -> int:
        return self.status

    poll = wait


def spec_in(folder: Path) -> WorkerSpec:
    return WorkerSpec(
        identity="x",
        arrays="",
        checkpoints_uri="",
        answers=str(folder),
        recipe="aws-hrnn",
        config={},
        settings={},
        threads=1,
    )


def test_a_rank_s_own_error_becomes_the_job_s_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = spec_in(tmp_path)
    spec.report_error(DataError("the loss is not a number any more", remedy="Train with another seed."))
    monkeypatch.setattr(subprocess, "Popen", _Ended(1))
    with pytest.raises(DataError, match=r"^the loss is not a number any more\. Train with another seed\.$"):
        run_ranks(Launch(), spec, tmp_path / "spec.json")


def test_ranks_that_die_without_a_word_make_one_clear_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "Popen", _Ended(-9))
    with pytest.raises(MachineError, match="torchrun ended with status -9"):
        run_ranks(Launch(), spec_in(tmp_path), tmp_path / "spec.json")


def test_ranks_take_no_other_launcher_s_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in OF_ANOTHER_LAUNCHER.items():
        monkeypatch.setenv(name, value)
    ended = _Ended(0)
    monkeypatch.setattr(subprocess, "Popen", ended)
    run_ranks(Launch(), spec_in(tmp_path), tmp_path / "spec.json")
    assert OF_ANOTHER_LAUNCHER.keys().isdisjoint(ended.environment)
    assert (ended.environment["PYTHONSAFEPATH"], ended.environment["TMPDIR"]) == ("1", str(run_folder()))


def test_nodes_that_never_come_are_not_waited_for_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free_port: int
) -> None:
    monkeypatch.setattr(launch, "MEETING_SECONDS", 2)
    nodes = Launch(nnodes=2, rdzv_endpoint=f"127.0.0.1:{free_port}")
    with pytest.raises(MachineError, match=rf"the nodes did not meet in time: .*--rdzv-endpoint=127\.0\.0\.1:{free_port}"):
        run_ranks(nodes, spec_in(tmp_path), tmp_path / "spec.json")


def test_a_rank_that_finds_no_way_to_the_others_says_where_it_looked(monkeypatch: pytest.MonkeyPatch, free_port: int) -> None:
    others = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port)}
    for name, value in others.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("hrnn.training.distributed._SILENCE_LIMIT", timedelta(seconds=1))
    with pytest.raises(MachineError, match=f"^rank 1 found no way to the first rank, at 127.0.0.1:{free_port}"):
        Ranks.join()


def test_a_rank_that_finds_the_disk_full_is_told_by_its_folder(no_space: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = spec_in(no_space)

    def full(*_: object) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    for name in ("end_with_parent", "_catch_sigterm"):  # this process is no rank
        monkeypatch.setattr(train_worker, name, list)
    monkeypatch.setattr(train_worker, "work", full)
    monkeypatch.setattr(sys, "argv", ["train_worker", "--spec", str(no_space / "spec.json")])
    spec.save(no_space / "spec.json")
    status = train_worker.main()
    monkeypatch.setattr(subprocess, "Popen", _Ended(status))
    with pytest.raises(StorageError, match=rf"^{no_space}: no space is left on the disk"):
        run_ranks(Launch(), spec, no_space / "spec.json")


@pytest.mark.slow
def test_one_two_and_three_ranks_have_metrics_within_each_other_s_intervals(tmp_path: Path) -> None:
    uri = publish_sequences(NOISY, str(tmp_path / "sequences"), tmp_path)
    found, told = [], []
    for name, ranks in (("one", 1), ("two", 2), ("three", 3), ("three-again", 3)):
        output = str(tmp_path / name)
        train(sequences_uri=uri, output_uri=output, epochs=3, gru_baseline=False, launch=Launch(nproc_per_node=ranks), **SMALL)
        found.append(tensors_of(output, tmp_path))
        told.append(StepFolder(output).require("solution_version").metadata["evaluation"])
    assert torch.equal(found[3]["item_table"], found[2]["item_table"])
    assert torch.equal(found[3]["dense"], found[2]["dense"])
    assert not torch.equal(found[1]["dense"], found[0]["dense"])
    for one in told:
        for metric, (low, high) in one["intervals"]["model"].items():
            assert 0 < high - low < 0.15
            assert all(low <= other["table"]["model"][metric] <= high for other in told), metric


@pytest.mark.slow
def test_sigterm_leaves_a_checkpoint_and_the_next_run_ends_with_the_same_bits(tmp_path: Path) -> None:
    uri = publish_sequences(sequences_of(random_histories(1_500, 300)), str(tmp_path / "sequences"), tmp_path)
    options = ["--hyperparameters", '{"hidden_dimension": "32"}', "--epochs", "6"]
    whole, cut = str(tmp_path / "whole"), str(tmp_path / "cut")
    arguments = [sys.executable, "-m", "jobs.train", "--sequences", uri, *options, "--nproc-per-node", "2", "--output"]
    checkpoints = WorkspaceCheckpoints(cut + "/checkpoints")
    process = subprocess.Popen([*arguments, cut], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    while "events an epoch" not in process.stderr.readline():
        assert process.poll() is None
    time.sleep(1.0)  # some windows are trained on
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 143, said
    assert "run the same command again to go on" in said
    assert "Traceback" not in said
    assert checkpoints.names()
    subprocess.run([*arguments, cut], check=True)
    subprocess.run([*arguments, whole], check=True)
    assert not checkpoints.names()
    one, other = tensors_of(whole, tmp_path), tensors_of(cut, tmp_path)
    assert all(torch.equal(one[name], other[name]) for name in one)
