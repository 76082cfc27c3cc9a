from __future__ import annotations

import math
from collections.abc import Callable
from typing import get_args

import pytest
import torch
from torch import Tensor

from hrnn.training.losses import LOSSES, bpr_max, cross_entropy, sampled_loss, top1, top1_max
from schemas.solutions import LossName

POSITIVE = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64)
NEGATIVE = torch.tensor(
    [[0.1, 0.4, -0.3, 1.2, 0.0], [0.7, -0.2, 0.3, 0.0, -1.5], [2.5, 0.3, -0.1, 0.2, 1.0]], dtype=torch.float64
)
ALLOWED = torch.tensor([[True] * 5, [True, True, False, True, True], [False, True, True, True, True]])


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def by_hand(row: int, loss: Callable[[float, list[float]], float]) -> float:
    """A row's loss from its positive and its allowed negatives."""
    allowed = [float(score) for score, may in zip(NEGATIVE[row], ALLOWED[row], strict=True) if may]
    return loss(float(POSITIVE[row]), allowed)


def softmax(scores: list[float]) -> list[float]:
    total = sum(math.exp(score) for score in scores)
    return [math.exp(score) / total for score in scores]


CLOSED_FORMS: dict[str, Callable[[float, list[float]], float]] = {
    "cross_entropy": lambda r, negatives: -math.log(softmax([r, *negatives])[0]),
    "top1": lambda r, negatives: sum(sigmoid(n - r) + sigmoid(n * n) for n in negatives) / len(negatives),
    "top1_max": lambda r, negatives: sum(
        p * (sigmoid(n - r) + sigmoid(n * n)) for p, n in zip(softmax(negatives), negatives, strict=True)
    ),
    "bpr_max": lambda r, negatives: (
        -math.log(sum(p * sigmoid(r - n) for p, n in zip(softmax(negatives), negatives, strict=True)))
        + sum(p * n * n for p, n in zip(softmax(negatives), negatives, strict=True))
    ),
}


def test_every_loss_can_be_asked_for() -> None:
    assert set(LOSSES) == set(get_args(LossName))


@pytest.mark.parametrize("name", LOSSES)
def test_losses_equal_their_closed_forms_on_three_rows_and_five_negatives(name: str) -> None:
    expected = [by_hand(row, CLOSED_FORMS[name]) for row in range(3)]
    assert LOSSES[name](POSITIVE, NEGATIVE, ALLOWED).tolist() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_of_losses_agree_with_finite_differences(name: str) -> None:
    positive, negative = POSITIVE.clone().requires_grad_(), NEGATIVE.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda p, n: LOSSES[name](p, n, ALLOWED), (positive, negative))


def random_problem(seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    queries = torch.randn(3, 3, generator=generator, dtype=torch.float64)
    negatives = torch.randn(5, 4, generator=generator, dtype=torch.float64)
    positives = torch.stack([torch.randn(4, generator=generator, dtype=torch.float64), negatives[2], negatives[0]])
    log_weight = torch.randn(5, generator=generator, dtype=torch.float64)
    return queries, positives, negatives, log_weight, torch.tensor([-1, 2, 0])


@pytest.mark.parametrize("name", LOSSES)
def test_a_row_s_own_positive_among_the_negatives_does_not_count_against_it(name: str) -> None:
    queries, positives, negatives, log_weight, hits = random_problem()
    extended = torch.cat([queries, torch.ones(3, 1, dtype=torch.float64)], dim=1)
    weighed = negatives @ extended.t() + (log_weight.unsqueeze(1) if name == "cross_entropy" else 0.0)
    allowed = torch.arange(5) != hits.unsqueeze(1)
    expected = LOSSES[name]((extended * positives).sum(1), weighed.t(), allowed).sum()
    torch.testing.assert_close(sampled_loss(name, queries, positives, negatives, log_weight, hits), expected)


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_of_the_sampled_loss_agree_with_finite_differences(name: str) -> None:
    queries, positives, negatives, log_weight, hits = random_problem(1)
    learnt = [tensor.requires_grad_() for tensor in (queries, positives, negatives)]
    assert torch.autograd.gradcheck(lambda q, p, n: sampled_loss(name, q, p, n, log_weight, hits), learnt)


def test_cross_entropy_with_the_whole_catalogue_is_the_exact_softmax() -> None:
    queries, _, table, _, _ = random_problem(2)
    targets = torch.tensor([4, 0, 3])
    ours = sampled_loss("cross_entropy", queries, table[targets], table, torch.zeros(5, dtype=torch.float64), targets)
    exact = torch.nn.functional.cross_entropy(queries @ table[:, :-1].t() + table[:, -1], targets, reduction="sum")
    torch.testing.assert_close(ours, exact)


def test_scores_far_apart_give_finite_losses() -> None:
    positive, negative = torch.tensor([-200.0]), torch.tensor([[200.0, 0.0]])
    allowed = torch.ones(1, 2, dtype=torch.bool)
    for loss in (cross_entropy, bpr_max, top1, top1_max):
        assert torch.isfinite(loss(positive, negative, allowed)).all()
    for distance in (0.0, 20.0, 100.0, 1e6):
        queries, items = torch.tensor([[distance]]), torch.tensor([[-2.0, 0.0], [2.0, 0.0], [1.0, -1e6]])
        fused = sampled_loss("cross_entropy", queries, items[:1], items[1:], torch.zeros(2), torch.tensor([-1]))
        assert float(fused) == pytest.approx(4 * distance if distance else math.log(2))


@pytest.mark.usefixtures("any_processor")
@pytest.mark.parametrize("score_type", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("size", [0.1, 1.0, 2.0])
def test_coarse_scores_change_loss_and_gradients_by_little_more_than_their_rounding(
    size: float, score_type: torch.dtype
) -> None:
    generator = torch.Generator().manual_seed(0)
    queries, positives, negatives = (
        torch.randn(rows, 33, generator=generator, dtype=torch.float64) * size for rows in (64, 64, 200)
    )
    exact = [tensor.requires_grad_() for tensor in (torch.tanh(queries[:, :-1]), positives, negatives)]
    rough = [tensor.detach().float().requires_grad_() for tensor in exact]
    found = []
    for inputs, kind in ((exact, torch.float64), (rough, score_type)):
        log_weight, hits = torch.zeros(200, dtype=inputs[0].dtype), torch.full((64,), -1)
        loss = sampled_loss("cross_entropy", *inputs, log_weight, hits, score_type=kind)
        found.append([loss.detach(), *torch.autograd.grad(loss, inputs)])
    for one, other in zip(*found, strict=True):
        assert float((one - other).norm() / one.norm()) < 0.02


@pytest.mark.parametrize("name", ["cross_entropy", "bpr_max", "top1_max", "top1"])
def test_a_row_of_weight_two_counts_twice_and_one_of_weight_zero_not_at_all(name: str) -> None:
    generator = torch.Generator().manual_seed(1)
    queries, positives = (torch.rand(3, width, generator=generator, dtype=torch.float64) for width in (3, 4))
    negatives, correction = torch.rand(5, 4, generator=generator, dtype=torch.float64), torch.zeros(5, dtype=torch.float64)
    hits = torch.tensor([1, -1, 2])
    found = []
    for rows, weights in (([0, 1, 2], torch.tensor([2.0, 0.0, 1.0], dtype=torch.float64)), ([0, 0, 2], None)):
        inputs = [queries.clone().requires_grad_(), positives.clone().requires_grad_(), negatives.clone().requires_grad_()]
        loss = sampled_loss(name, inputs[0][rows], inputs[1][rows], inputs[2], correction, hits[rows], weights)
        found.append([loss, *torch.autograd.grad(loss, inputs)])
    for weighted, repeated in zip(*found, strict=True):
        torch.testing.assert_close(weighted, repeated)


def test_rows_taken_in_parts_cost_what_they_cost_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    queries, positives, negatives, log_weight, hits = random_problem(3)
    learnt, weights = [tensor.requires_grad_() for tensor in (queries, positives, negatives)], queries.new_tensor([1, 2, 3])
    found = []
    for rows_at_once in (8_192, 2):
        monkeypatch.setattr("hrnn.training.losses._ROWS_AT_ONCE", rows_at_once)
        loss = sampled_loss("cross_entropy", *learnt, log_weight, hits, weights)
        found.append([loss.detach(), *torch.autograd.grad(loss, learnt)])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)
