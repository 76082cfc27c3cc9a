from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_sequences import random_histories, sequences_of
from torch import Tensor

from hrnn.layers.dropout import dropped
from hrnn.models.hrnn import Hrnn, HrnnShape, Variant
from hrnn.training.batching.lanes import LanePlan
from hrnn.training.negatives import NegativeSampler
from hrnn.training.settings import TrainingSettings
from hrnn.training.step import TrainingStep, with_targets

SEQUENCES = sequences_of(random_histories(8, 10))


@pytest.mark.parametrize("variant", ["init", "all"])
@pytest.mark.parametrize("loss", ["cross_entropy", "bpr_max"])
def test_gradients_of_a_whole_window_agree_with_finite_differences(variant: Variant, loss: str) -> None:
    settings = TrainingSettings(num_lanes=3, num_steps=4, num_negatives=5, loss=loss)  # type: ignore[arg-type]
    shape = HrnnShape(num_items=SEQUENCES.num_items, hidden_dimension=2, variant=variant)
    fresh = Hrnn.initial(shape, SEQUENCES.item_counts(), seed=0, input_dropout=0.2, state_dropout=0.3)
    window = LanePlan(SEQUENCES, np.arange(8), 3, 4, seed=0, epoch=0).window(0)
    batch = replace(with_targets(window, None, within_session_only=False), dropout_seed=(0, 0, 0))
    step = TrainingStep(fresh.double(), settings)
    negatives = NegativeSampler(SEQUENCES.item_counts(), alpha=0.75, num_samples=5, seed=0).draw(0, 0)
    rows = np.unique(np.concatenate([window.items.reshape(-1), negatives.item_rows]))

    def cost(table: Tensor, dense: Tensor) -> Tensor:
        carry = {name: values.double() for name, values in fresh.initial_carry(3).items()}
        loss, _ = torch.func.functional_call(step, {"model.dense": dense}, (table, rows, batch, negatives, carry))
        assert isinstance(loss, Tensor)
        return loss

    learnt = fresh.item_table[torch.from_numpy(rows)], fresh.dense.clone()
    assert torch.autograd.gradcheck(cost, [tensor.requires_grad_() for tensor in learnt])


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5])
def test_dropout_drops_its_share_and_keeps_the_mean(share: float) -> None:
    values = dropped(torch.ones(200_003), share, (1, 2, 3))
    assert float((values == 0).float().mean()) == pytest.approx(share, abs=0.005)
    assert float(values.mean()) == pytest.approx(1.0, abs=0.01)
    assert values.unique().tolist() == pytest.approx([0.0, 1 / (1 - share)])


def test_the_same_numbers_drop_the_same_units_and_others_do_not() -> None:
    values = torch.ones(1_000)
    assert torch.equal(dropped(values, 0.3, (0, 1, 0, 2)), dropped(values, 0.3, (0, 1, 0, 2)))
    assert not torch.equal(dropped(values, 0.3, (0, 1, 0, 2)), dropped(values, 0.3, (0, 2, 0, 2)))
    assert dropped(values, 0.0, (0,)) is values
