from __future__ import annotations

from pathlib import Path

import pytest
import torch

from hrnn.training.checkpoints import Checkpoint, checkpoint_names, newest_checkpoint, remove_checkpoints, save_checkpoint
from jobs.train.checkpoints import WorkspaceCheckpoints


def checkpoint(number: int) -> Checkpoint:
    return Checkpoint({"weights": torch.full((3,), float(number))}, {"step": number, "curve": [{"loss": 0.5}]})


@pytest.fixture
def store(tmp_path: Path) -> WorkspaceCheckpoints:
    return WorkspaceCheckpoints(str(tmp_path / "checkpoints"))


def test_a_checkpoint_comes_back_as_it_was(store: WorkspaceCheckpoints) -> None:
    save_checkpoint(store, "x", 7, checkpoint(7))
    found = newest_checkpoint(store, "x")
    assert found is not None
    assert found.document == {"step": 7, "curve": [{"loss": 0.5}]}
    assert torch.equal(found.tensors["weights"], torch.full((3,), 7.0))


def test_the_newest_two_are_kept(store: WorkspaceCheckpoints) -> None:
    for number in (9, 10, 100):
        save_checkpoint(store, "x", number, checkpoint(number))
    assert [name.split("-")[2] for name in checkpoint_names(store, "x")] == ["000000000100", "000000000010"]


def test_checkpoints_of_another_training_are_neither_read_nor_counted_nor_removed(store: WorkspaceCheckpoints) -> None:
    for number in (100, 200):
        save_checkpoint(store, "other", number, checkpoint(number))
    for number in (1, 2, 3):
        save_checkpoint(store, "x", number, checkpoint(number))
    found = newest_checkpoint(store, "x")
    assert found is not None
    assert found.document["step"] == 3
    remove_checkpoints(store, "x")
    assert newest_checkpoint(store, "x") is None
    assert [name.split("-")[2] for name in checkpoint_names(store, "other")] == ["000000000200", "000000000100"]


def test_no_checkpoint_is_no_error(store: WorkspaceCheckpoints) -> None:
    assert newest_checkpoint(store, "x") is None


@pytest.mark.parametrize("damage", ["cut", "flip", "empty"])
def test_a_damaged_checkpoint_is_passed_over_loudly(
    store: WorkspaceCheckpoints, tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    save_checkpoint(store, "x", 1, checkpoint(1))
    path = tmp_path / "checkpoints" / save_checkpoint(store, "x", 2, checkpoint(2))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes({"cut": bytes(data[:-3]), "flip": bytes(data), "empty": b""}[damage])
    found = newest_checkpoint(store, "x")
    assert found is not None
    assert found.document["step"] == 1
    assert "is damaged" in caplog.text


def test_checkpoints_can_live_on_s3(s3: str) -> None:
    store = WorkspaceCheckpoints(s3 + "/solution/checkpoints")
    save_checkpoint(store, "x", 3, checkpoint(3))
    found = newest_checkpoint(store, "x")
    assert found is not None
    assert found.document["step"] == 3
    store.clear()
    assert store.names() == []
