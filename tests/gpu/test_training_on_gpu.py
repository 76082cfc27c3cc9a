"""The training step and all around it on a real GPU; `make gpu-check` runs this without anything but PyTorch and pytest."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from plain_loop import double, plain_training
from small_sequences import random_histories, sequences_of

from hrnn.data.splits import prepare
from hrnn.evaluation.baselines.neural import NeuralBaseline
from hrnn.evaluation.baselines.prediction_points import points_after
from hrnn.layers.products import weight_gradient
from hrnn.models.contract import DataSpec
from hrnn.models.hrnn import Hrnn, Variant
from hrnn.models.registry import model_for
from hrnn.training.distributed import Ranks
from hrnn.training.heldout_loss import heldout_loss
from hrnn.training.losses import sampled_loss
from hrnn.training.parts import TrainingPart
from hrnn.training.settings import TrainingSettings
from hrnn.training.trainer import Stopped, Trainer
from jobs.train.checkpoints import WorkspaceCheckpoints

SEQUENCES = sequences_of(random_histories(40, 25))
USERS = np.arange(SEQUENCES.num_users)
GRU = model_for("hrnn-gru4rec")
SETTINGS = TrainingSettings(num_lanes=4, num_steps=5, epochs=2, num_negatives=8, exact_below=0, state_dropout=0.0)
DROPPING = replace(SETTINGS, state_dropout=0.2, input_dropout=0.1, momentum=0.2, in_batch_negatives=True, gap_inputs=True)


def fresh_model(settings: TrainingSettings = SETTINGS, variant: Variant = "init", width: int = 6) -> Hrnn:
    return Hrnn.build({"hidden_dimension": width, "variant": variant}, settings, DataSpec.of(SEQUENCES, SEQUENCES))


def ranks_on(device: torch.device) -> Ranks:
    return Ranks(0, 1, device)


@pytest.mark.parametrize(("variant", "gaps"), [("init", False), ("all", False), ("all", True)])
def test_training_in_lanes_equals_a_plain_loop_over_single_events(device: torch.device, variant: Variant, gaps: bool) -> None:
    settings = replace(SETTINGS, gap_inputs=gaps)
    lanes, plain = (double(fresh_model(settings, variant)) for _ in range(2))
    trainer = Trainer(lanes, [TrainingPart(SEQUENCES, USERS)], settings, ranks=ranks_on(device))
    curve = trainer.run()
    losses = plain_training(plain, SEQUENCES, USERS, settings)
    assert [point.loss for point in curve] == pytest.approx(losses, abs=1e-9)
    torch.testing.assert_close(trainer.model.item_table, plain.item_table, atol=1e-5, rtol=0)
    torch.testing.assert_close(trainer.model.dense, plain.dense, atol=1e-5, rtol=0)


def test_a_training_in_single_precision_stays_close_to_the_plain_loop(device: torch.device) -> None:
    trainer, plain = (
        Trainer(fresh_model(), [TrainingPart(SEQUENCES, USERS)], SETTINGS, ranks=ranks_on(device)),
        double(fresh_model()),
    )
    curve = trainer.run()
    assert [point.loss for point in curve] == pytest.approx(plain_training(plain, SEQUENCES, USERS, SETTINGS), rel=0.01)
    assert float((trainer.model.dense - plain.dense).norm() / plain.dense.norm()) < 0.05


@pytest.mark.parametrize("loss", ["cross_entropy", "bpr_max", "top1_max", "top1"])
def test_every_loss_and_its_gradients_are_those_of_the_cpu(device: torch.device, loss: str) -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = [torch.randn(rows, 17, generator=generator, dtype=torch.float64) for rows in (64, 64, 200)]
    weights, log_weight = (torch.rand(rows, generator=generator, dtype=torch.float64) for rows in (64, 200))
    hits, found = torch.arange(64) - 1, []
    for place in (device, torch.device("cpu")):
        queries, positives, negatives = (tensor.to(place).requires_grad_() for tensor in drawn)
        some = queries[:, :-1]
        total = sampled_loss(
            loss, some, positives, negatives, log_weight.to(place), hits.to(place), weights.to(place), score_type=torch.float64
        )
        found.append(
            [total.detach().cpu(), *(each.cpu() for each in torch.autograd.grad(total, [queries, positives, negatives]))]
        )
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def test_gradients_of_weights_are_off_by_no_more_than_bfloat16_rounds(device: torch.device) -> None:
    generator = torch.Generator().manual_seed(0)
    entering, grad = (torch.randn(500, width, generator=generator) for width in (30, 40))
    exact = entering.double().t() @ grad.double()
    assert (weight_gradient(entering.to(device), grad.to(device)).cpu() - exact).norm() / exact.norm() < 2**-8


def test_the_same_seed_gives_the_same_bits_and_a_stopped_training_ends_with_them(device: torch.device, tmp_path: Path) -> None:
    prepared = prepare(SEQUENCES, 0)

    def training(stop_after: int | None = None, store: WorkspaceCheckpoints | None = None) -> Trainer[Hrnn]:
        asked = iter(range(10_000))
        return Trainer(
            fresh_model(DROPPING, "all"),
            [TrainingPart(prepared.fit, USERS)],
            DROPPING,
            ranks=ranks_on(device),
            store=store,
            should_stop=None if stop_after is None else lambda: next(asked) >= stop_after,
            heldout_loss=lambda model: heldout_loss(model, prepared),
        )

    whole, again, store = training(), training(), WorkspaceCheckpoints(str(tmp_path / "checkpoints"))
    whole.run()
    again.run()
    with pytest.raises(Stopped):
        training(7, store).run()
    resumed = training(store=store)
    resumed.run()
    for other in (again, resumed):
        assert torch.equal(other.model.dense, whole.model.dense)
        assert torch.equal(other.model.item_table, whole.model.item_table)


def test_histories_are_replayed_as_on_the_cpu(device: torch.device) -> None:
    model = fresh_model(variant="all")
    plain, there = model.queries(SEQUENCES, USERS), model.to(device).queries(SEQUENCES, USERS)
    torch.testing.assert_close(there.same_session, plain.same_session, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(there.next_session, plain.next_session, atol=1e-4, rtol=1e-4)


def test_the_shuffled_gru_answers_after_a_training_on_the_default_device() -> None:
    moments = points_after(SEQUENCES, USERS, np.zeros(len(USERS), dtype=np.int64))
    assert NeuralBaseline(SEQUENCES, replace(SETTINGS, epochs=1), GRU, {"hidden_dimension": 6}).scores(moments).shape == (
        40,
        SEQUENCES.num_items,
    )
