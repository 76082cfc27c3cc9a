from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

import hrnn
import jobs
from hrnn.layers.products import affine, coarse_type, multiplies_bfloat16, padded, weight_gradient


def drawn(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=dtype)


def test_an_affine_map_and_its_gradients_are_exact_in_double_precision() -> None:
    inputs = [drawn(5, 3).requires_grad_(), drawn(3, 4).requires_grad_(), drawn(4).requires_grad_()]
    torch.testing.assert_close(affine(*inputs), inputs[0] @ inputs[1] + inputs[2])
    assert torch.autograd.gradcheck(affine, inputs)


@pytest.mark.usefixtures("any_processor")
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


def test_single_precision_is_rounded_where_that_is_the_faster_type_and_nothing_else_ever(any_processor: bool) -> None:
    assert coarse_type(torch.zeros(1)) == (torch.bfloat16 if any_processor else torch.float32)
    assert coarse_type(torch.zeros(1, dtype=torch.float64)) == torch.float64


@pytest.mark.parametrize(
    ("capability", "onednn", "faster"), [("AVX512", True, True), ("AVX2", True, False), ("AVX512", False, False)]
)
def test_instructions_that_are_held_back_are_not_counted_on(
    monkeypatch: pytest.MonkeyPatch, capability: str, onednn: bool, faster: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: onednn)
    assert multiplies_bfloat16(torch.device("cpu")) == faster


def test_only_one_function_looks_at_the_processor() -> None:
    asks = ("_is_avx512_bf16_supported", "get_cpu_capability", "is_bf16_supported", "mkldnn")
    folders = (Path(hrnn.__file__).parent, Path(jobs.__file__).parent)
    found = [path.name for folder in folders for path in folder.rglob("*.py") if any(word in path.read_text() for word in asks)]
    assert found == ["products.py"]
