from __future__ import annotations

import pytest
import torch

from hrnn.training.optimisers import EPSILON, Adagrad, Adam, coalesce


def gradients(steps: int = 4) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Rows with repeats, and a gradient for each."""
    generator = torch.Generator().manual_seed(0)
    return [
        (torch.randint(0, 6, (9,), generator=generator), torch.randn(9, 3, generator=generator, dtype=torch.float64))
        for _ in range(steps)
    ]


@pytest.mark.parametrize("momentum", [0.0, 0.3])
def test_rows_with_repeats_move_as_the_whole_table_would_by_the_summed_gradient(momentum: float) -> None:
    table = torch.linspace(-1, 1, 30, dtype=torch.float64).view(10, 3)
    by_rows, whole = Adagrad(table.clone(), 0.1, momentum), Adagrad(table.clone(), 0.1, momentum)
    touched = torch.arange(6)
    for _ in range(3):
        grads = gradients(1)[0]
        rows = torch.cat([grads[0], touched])  # every step touches the same rows, so that momentum acts alike
        values = torch.cat([grads[1], torch.zeros(6, 3, dtype=torch.float64)])
        by_rows.step_rows(*coalesce(rows, values))
        whole.step(torch.zeros_like(table).index_add_(0, rows, values))
    torch.testing.assert_close(by_rows.parameter[:6], whole.parameter[:6])
    assert torch.equal(by_rows.parameter[6:], table[6:])


def test_untouched_rows_keep_their_bits_and_their_momentum() -> None:
    optimiser = Adagrad(torch.ones(4, 2), 0.1, 0.9)
    optimiser.step_rows(torch.tensor([0, 1]), torch.ones(2, 2))
    after_first = optimiser.parameter.clone()
    optimiser.step_rows(torch.tensor([1]), torch.ones(1, 2))
    assert torch.equal(optimiser.parameter[[0, 2, 3]], after_first[[0, 2, 3]])


def test_steps_follow_the_formula_with_epsilon_inside_the_root() -> None:
    optimiser = Adagrad(torch.zeros(1, dtype=torch.float64), 0.5)
    optimiser.step(torch.tensor([1e-3], dtype=torch.float64))
    assert float(optimiser.parameter) == pytest.approx(-0.5 * 1e-3 / (1e-6 + EPSILON) ** 0.5)
    optimiser.step(torch.tensor([2e-3], dtype=torch.float64))
    second = 0.5 * 2e-3 / (1e-6 + 4e-6 + EPSILON) ** 0.5
    assert float(optimiser.parameter) == pytest.approx(-0.5 * 1e-3 / (1e-6 + EPSILON) ** 0.5 - second)


def test_coalesced_rows_are_distinct_and_rising() -> None:
    rows, summed = coalesce(torch.tensor([5, 1, 5]), torch.tensor([[1.0], [2.0], [3.0]]))
    assert rows.tolist() == [1, 5]
    assert summed.tolist() == [[2.0], [4.0]]


@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_an_optimiser_goes_on_from_its_state(momentum: float) -> None:
    one = Adagrad(torch.ones(6, 3, dtype=torch.float64), 0.1, momentum)
    for rows, grads in gradients(2):
        one.step_rows(*coalesce(rows, grads))
    other = Adagrad(one.parameter.clone(), 0.1, momentum)
    other.load_state({name: value.clone() for name, value in one.state().items()})
    for rows, grads in gradients(3):
        one.step_rows(*coalesce(rows, grads))
        other.step_rows(*coalesce(rows, grads))
    assert torch.equal(one.parameter, other.parameter)


def test_adam_moves_as_pytorch_s_does() -> None:
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(5, 3, generator=generator, dtype=torch.float64)
    ours, theirs = start.clone(), torch.nn.Parameter(start.clone())
    adam, reference = Adam(ours, 0.01), torch.optim.Adam([theirs], lr=0.01)
    for _ in range(7):
        grad = torch.randn(5, 3, generator=generator, dtype=torch.float64)
        adam.step(grad)
        theirs.grad = grad
        reference.step()
    torch.testing.assert_close(ours, theirs.detach(), atol=1e-9, rtol=0)


def test_adam_by_rows_moves_as_pytorch_s_for_sparse_gradients_and_goes_on_from_its_state() -> None:
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(6, 3, generator=generator, dtype=torch.float64)
    ours, theirs = start.clone(), torch.nn.Parameter(start.clone())
    adam, reference = Adam(ours, 0.01), torch.optim.SparseAdam([theirs], lr=0.01)
    for step in range(6):
        rows = torch.tensor([[0, 2], [1, 2, 5], [5]][step % 3])
        grad = torch.randn(len(rows), 3, generator=generator, dtype=torch.float64)
        adam.step_rows(rows, grad)
        theirs.grad = torch.sparse_coo_tensor(rows.unsqueeze(0), grad, (6, 3), check_invariants=True)
        reference.step()
        again = Adam(ours, 0.01)
        again.load_state({name: values.clone() for name, values in adam.state().items()})
        adam = again
    torch.testing.assert_close(ours, theirs.detach(), atol=1e-6, rtol=0)  # which corrects its epsilon, too
    assert torch.equal(ours[[3, 4]], start[[3, 4]])
