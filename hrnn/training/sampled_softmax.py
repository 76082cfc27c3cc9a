"""Softmax cross-entropy of many rows against one shared sample of negatives, with its gradient in closed form.

With q_i a row's query, v_j and b_j a negative's vector and corrected bias, a_i the score of the row's positive,
c = max b and share_j = exp(b_j - c):

    E_ij = exp(q_i · v_j - t_i), 0 where j is the row's own positive;    Z_i = sum_j E_ij share_j
    loss_i = softplus(x_i) with x_i = log Z_i + c + t_i - a_i;           g_i = sigmoid(x_i), its slope
    d loss / d q_i     = g_i ((E · [share v])_i / Z_i - positive_i)
    d loss / d [v|b]_j = share_j (Eᵀ · (g / Z) [q|1])_j

E is all that is as large as rows times negatives: one product and one exponential in place make it, two products read it.
Biases, normalisation, row weights and Z itself (one more column) are folded into their small sides. t_i is the row's largest
exponent where exponents could grow out of range, and 0 elsewhere.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hrnn.layers.products import coarse_type, padded

_SAFE_EXPONENT = 60.0  # well below 88, where single precision ends: thousands of terms are added up


class SampledCrossEntropy(torch.autograd.Function):
    """Summed loss of R rows; arguments as in hrnn/training/losses.py, and the number type of scores.

    Gradients are computed together with the loss, while E is in memory.
    """

    @staticmethod
    def forward(
        ctx: Any,
        queries: Tensor,
        positives: Tensor,
        negatives: Tensor,
        log_weight: Tensor,
        hits: Tensor,
        weights: Tensor | None,
        score_type: torch.dtype,
    ) -> Tensor:
        width, coarse = queries.shape[1], coarse_type(queries)
        right = torch.linalg.vecdot(queries, positives[:, :width]).add_(positives[:, width])
        bias = negatives[:, width] + log_weight
        highest = bias.max()
        share = padded(torch.exp(bias - highest).unsqueeze(1))  # [S, 1]; 0 of padding, which so adds nothing to any sum
        vectors = padded(negatives[:, :width])  # [S, H]
        exponents, shift = _exponentials(queries, vectors, hits, score_type)
        rough = exponents.to(coarse)
        sums = torch.mm(rough, torch.cat([vectors * share, share], dim=1).to(coarse)).to(queries.dtype)
        finer = exponents.dtype.itemsize > rough.dtype.itemsize  # than the product that sums them
        total = torch.mv(exponents, share.squeeze(1)) if finer else sums[:, width]
        # Z is 0 where the row's own positive is the only negative, or all others are out of range below it: neither its log nor
        # a division by it may become infinite.
        total = total.clamp(min=torch.finfo(total.dtype).tiny)
        excess = torch.log(total).add_(highest + shift).sub_(right)
        wrong = torch.sigmoid(excess)
        losses = torch.nn.functional.softplus(excess)
        if weights is not None:
            losses, wrong = losses * weights, wrong * weights
        wrong = wrong.unsqueeze(1)
        pull = wrong / total.unsqueeze(1)  # g / Z, [R, 1]
        grad_queries = torch.mul(sums[:, :width], pull).addcmul_(positives[:, :width], wrong, value=-1.0)
        pulled = torch.cat([queries * pull, pull], dim=1).to(coarse)
        grad_negatives = torch.mm(pulled.t(), rough).t().to(queries.dtype).mul_(share)
        # Gradients of queries [R, H], positives [R, H + 1] and negatives [S, H + 1].
        ctx.save_for_backward(grad_queries, torch.cat([queries * -wrong, -wrong], dim=1), grad_negatives[: len(negatives)])
        return losses.sum()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        gradients = ctx.saved_tensors
        if grad.is_cuda or float(grad) != 1.0:  # on a GPU, to read the number costs more than to multiply by it
            gradients = tuple(grad * gradient for gradient in gradients)
        return *gradients, None, None, None, None


def _exponentials(queries: Tensor, vectors: Tensor, hits: Tensor, score_type: torch.dtype) -> tuple[Tensor, Tensor]:
    """E [R, S] and t [R] of the module's text."""
    scores = torch.mm(queries.to(score_type), vectors.to(score_type).t())
    if scores.numel() and float(torch.stack(torch.aminmax(scores)).abs().max()) > _SAFE_EXPONENT:
        highest = scores.amax(dim=1, keepdim=True)
        exponents, shift = scores.sub_(highest).exp_(), highest.squeeze(1).to(queries.dtype)
    else:
        exponents, shift = scores.exp_(), queries.new_zeros(len(queries))
    # Rows without a hit look at the first cell, and leave it as it is.
    row, own = torch.arange(len(hits), device=hits.device), hits.clamp(min=0)
    exponents[row, own] = exponents[row, own].masked_fill_(hits >= 0, 0.0)
    return exponents, shift
