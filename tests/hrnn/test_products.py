from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hrnn.products import affine, padded, weight_gradient


def drawn(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=dtype)


def test_an_affine_map_and_its_gradients_are_exact_in_double_precision() -> None:
    inputs = [drawn(5, 3).requires_grad_(), drawn(3, 4).requires_grad_(), drawn(4).requires_grad_()]
    torch.testing.assert_close(affine(*inputs), inputs[0] @ inputs[1] + inputs[2])
    assert torch.autograd.gradcheck(affine, inputs)


def test_gradients_in_single_precision_are_off_by_no_more_than_bfloat16_rounds() -> None:
    entering, grad = drawn(500, 30, dtype=torch.float32), drawn(500, 40, dtype=torch.float32)
    exact = entering.double().t() @ grad.double()
    assert (weight_gradient(entering, grad) - exact).norm() / exact.norm() < 2**-8


@pytest.mark.parametrize("rows", [0, 1, 63, 64, 65])
def test_padding_adds_rows_of_zeros_up_to_a_multiple_of_64(rows: int) -> None:
    values = drawn(rows, 2)
    whole = padded(values, torch.float32)
    assert len(whole) == -(-rows // 64) * 64
    assert whole.dtype == torch.float32
    assert torch.equal(whole[:rows], values.float())
    assert not whole[rows:].any()
    torch.testing.assert_close(weight_gradient(values, values), values.t() @ values)
