"""Matrix products for gradients, in bfloat16 where the processor multiplies it natively.

Such a product adds up a window's events, so that rounding errors cancel; sums are accumulated in single precision.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_ROWS = 64


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether a device multiplies bfloat16 natively, so that it is the faster type. Nothing else looks at the processor.

    On a CPU the variables that hold its instructions back, `ATEN_CPU_CAPABILITY` and `ONEDNN_MAX_CPU_ISA`, are heeded.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    allowed = torch.backends.cpu.get_cpu_capability() == "AVX512" and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return bool(torch.cpu._is_avx512_bf16_supported() and allowed)


def coarse_type(like: Tensor) -> torch.dtype:
    """bfloat16 for single precision where the processor multiplies it natively; else the type itself."""
    if like.dtype != torch.float32:
        return like.dtype
    return torch.bfloat16 if multiplies_bfloat16(like.device) else torch.float32


def padded(values: Tensor, kind: torch.dtype | None = None) -> Tensor:
    """Pad `values` with rows of zeros to a multiple of _ROWS, and convert them.

    oneDNN compiles a kernel for each new shape, which takes as long as a small product; so few shapes are shown to it.
    """
    rows = -(-len(values) // _ROWS) * _ROWS
    if rows == len(values):
        return values.to(kind or values.dtype)
    whole = values.new_empty(rows, values.shape[1], dtype=kind or values.dtype)
    whole[: len(values)] = values
    whole[len(values) :] = 0.0
    return whole


def weight_gradient(entering: Tensor, grad: Tensor) -> Tensor:
    """Gradient of a weight [K, M] from its input [R, K] and the gradient of its output [R, M]."""
    coarse = coarse_type(entering)
    return torch.mm(padded(entering, coarse).t(), padded(grad, coarse)).to(entering.dtype)


def affine(entering: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Affine layer, entering [R, K] · weight [K, M] + bias [M], with gradients in `coarse_type`."""
    return _Affine.apply(entering, weight, bias)  # type: ignore[no-any-return, no-untyped-call]


class _Affine(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, entering: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(entering, weight)
        return torch.addmm(bias, entering, weight)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        entering, weight = ctx.saved_tensors
        coarse = coarse_type(grad)
        rough = grad.to(coarse)
        of_entering = torch.mm(rough, weight.to(coarse).t()).to(grad.dtype)
        return of_entering, torch.mm(entering.to(coarse).t(), rough).to(grad.dtype), grad.sum(0)
