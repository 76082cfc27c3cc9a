"""Everything that touches a model on a GPU, on one that is pretended: tests/gpu runs it on a real one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pretended_gpu import pretended_gpu
from small_sequences import random_histories, sequences_of

from hrnn.data.splits import Prepared, prepare
from hrnn.evaluation.baselines.neural import NeuralBaseline
from hrnn.evaluation.baselines.prediction_points import points_after
from hrnn.models.contract import DataSpec
from hrnn.models.hrnn import Hrnn
from hrnn.models.registry import model_for
from hrnn.training.distributed import Ranks
from hrnn.training.heldout_loss import heldout_loss
from hrnn.training.parts import TrainingPart
from hrnn.training.settings import TrainingSettings
from hrnn.training.trainer import Stopped, Trainer
from jobs.train.checkpoints import WorkspaceCheckpoints

SEQUENCES = sequences_of(random_histories(12, 15))
USERS = np.arange(SEQUENCES.num_users)
CPU = Ranks(0, 1, torch.device("cpu"))
GRU = model_for("hrnn-gru4rec")
SETTINGS = TrainingSettings(
    num_lanes=4, num_steps=4, epochs=2, num_negatives=8, exact_below=0, in_batch_negatives=True, gap_inputs=True, momentum=0.1
)


@pytest.fixture
def gpu() -> Iterator[torch.device]:
    with pretended_gpu() as device:
        yield device


@pytest.fixture
def prepared() -> Prepared:
    return prepare(SEQUENCES, 0)


def fresh_model(settings: TrainingSettings = SETTINGS) -> Hrnn:
    return Hrnn.build({"hidden_dimension": 6, "variant": "all"}, settings, DataSpec.of(SEQUENCES, SEQUENCES))


def test_the_pretended_gpu_refuses_what_a_real_one_refuses(gpu: torch.device) -> None:
    there = torch.ones(2, 2).to(gpu)
    assert there.is_cuda
    assert (there @ there).device == gpu
    assert (there + torch.tensor(1.0)).cpu().tolist() == [[2.0, 2.0], [2.0, 2.0]]
    with pytest.raises(TypeError, match="can't convert cuda:0 device type tensor to numpy"):
        there.numpy()
    for mixed in (lambda: there + torch.ones(2), lambda: torch.ones(2) @ there, lambda: torch.cat([there[0], torch.ones(1)])):
        with pytest.raises(RuntimeError, match="same device"):
            mixed()
    there[0].zero_()
    assert there.cpu().tolist() == [[0.0, 0.0], [1.0, 1.0]]


@pytest.mark.parametrize("loss", ["cross_entropy", "bpr_max", "top1_max", "top1"])
def test_a_training_on_a_gpu_gives_what_one_on_the_cpu_gives_and_leaves_its_model_there(gpu: torch.device, loss: str) -> None:
    settings = replace(SETTINGS, loss=loss, state_dropout=0.0, score_precision="float32", epochs=1)  # type: ignore[arg-type]
    models = []
    for ranks in (Ranks.alone(), CPU):
        start = fresh_model(settings).double()
        trainer = Trainer(start, [TrainingPart(SEQUENCES, USERS)], settings, ranks=ranks)
        assert trainer.model.dense.device == ranks.device
        trainer.run()
        assert trainer.model.dense.device.type == trainer.model.item_table.device.type == "cpu"
        models.append(trainer.model)
    torch.testing.assert_close(models[0].dense, models[1].dense, atol=1e-9, rtol=0)
    torch.testing.assert_close(models[0].item_table, models[1].item_table, atol=1e-9, rtol=0)


@pytest.mark.usefixtures("gpu")
def test_a_training_on_a_gpu_validates_is_stopped_and_goes_on_with_the_same_bits(prepared: Prepared, tmp_path: Path) -> None:
    def training(stop_after: int | None = None, store: WorkspaceCheckpoints | None = None) -> Trainer[Hrnn]:
        asked = iter(range(10_000))
        stop = None if stop_after is None else (lambda: next(asked) >= stop_after)
        weights = np.where(SEQUENCES.item_rows % 2, np.float32(1.0), np.float32(0.5))
        return Trainer(
            fresh_model(replace(SETTINGS, input_dropout=0.1)),
            [TrainingPart(prepared.fit, USERS, event_weights=weights)],
            SETTINGS,
            store=store,
            should_stop=stop,
            heldout_loss=lambda model: heldout_loss(model, prepared, weights),
        )

    whole = training()
    whole.run()
    store = WorkspaceCheckpoints(str(tmp_path / "checkpoints"))
    with pytest.raises(Stopped):
        training(8, store).run()
    resumed = training(store=store)
    assert resumed.resume() > 0
    resumed.run()
    assert torch.equal(resumed.model.dense, whole.model.dense)
    assert torch.equal(resumed.model.item_table, whole.model.item_table)


def test_histories_are_replayed_on_a_gpu_and_states_come_back_on_the_cpu(gpu: torch.device) -> None:
    model = fresh_model()
    plain, there = model.queries(SEQUENCES, USERS), model.to(gpu).queries(SEQUENCES, USERS)
    torch.testing.assert_close(there.same_session, plain.same_session)
    torch.testing.assert_close(there.next_session, plain.next_session)


@pytest.mark.usefixtures("gpu")
def test_the_shuffled_gru_is_trained_on_a_gpu_and_asked_on_the_cpu() -> None:
    baseline = NeuralBaseline(SEQUENCES, replace(SETTINGS, epochs=1), GRU, {"hidden_dimension": 6})
    moments = points_after(SEQUENCES, USERS, np.zeros(len(USERS), dtype=np.int64))
    assert baseline.scores(moments).shape == (len(moments), SEQUENCES.num_items)
