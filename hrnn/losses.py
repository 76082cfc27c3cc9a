"""Losses over one positive and many negatives, by name.

All take scores and return one number a row, to be summed. `allowed` marks negatives that are not, by accident, the
row's own positive.

| name            | row's loss                                                                                   |
|-----------------|----------------------------------------------------------------------------------------------|
| `cross_entropy` | -log of the positive's share of exp(score), negatives corrected for how often they were drawn |
| `bpr_max`       | -log(sum_j p_j sigmoid(positive - negative_j)) + regularisation · sum_j p_j negative_j²        |
| `top1_max`      | sum_j p_j [sigmoid(negative_j - positive) + sigmoid(negative_j²)]                             |
| `top1`          | mean_j [sigmoid(negative_j - positive) + sigmoid(negative_j²)]                                |

p_j is the softmax over the row's allowed negatives alone.

Source: Hidasi et al. 2016 (TOP1), Hidasi & Karatzoglou 2018 (the -max losses), Bengio & Senécal 2008
(importance-corrected softmax).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]

BPR_REGULARISATION = 1.0  # tuned values in the literature: 0.9 to 1.95


def cross_entropy(positive: Tensor, negative: Tensor, allowed: Tensor) -> Tensor:
    """-log softmax of the positive [R] among itself and its allowed negatives [R, S]."""
    everything = torch.cat([positive.unsqueeze(1), negative.masked_fill(~allowed, -torch.inf)], dim=1)
    return torch.logsumexp(everything, dim=1) - positive


def bpr_max(positive: Tensor, negative: Tensor, allowed: Tensor, regularisation: float = BPR_REGULARISATION) -> Tensor:
    """BPR against the negatives that score highest; large scores of negatives cost by themselves."""
    share = torch.softmax(negative.masked_fill(~allowed, -torch.inf), dim=1)
    won = (share * torch.sigmoid(positive.unsqueeze(1) - negative)).sum(1)
    return -torch.log(won + 1e-24) + regularisation * (share * negative * negative).sum(1)


def top1_max(positive: Tensor, negative: Tensor, allowed: Tensor) -> Tensor:
    """TOP1 against the negatives that score highest."""
    share = torch.softmax(negative.masked_fill(~allowed, -torch.inf), dim=1)
    return (share * _top1_terms(positive, negative)).sum(1)


def top1(positive: Tensor, negative: Tensor, allowed: Tensor) -> Tensor:
    """Share of negatives that beat the positive, softly, plus a pull of negatives' scores towards zero."""
    kept = allowed.to(negative.dtype)
    return (kept * _top1_terms(positive, negative)).sum(1) / kept.sum(1).clamp(min=1.0)


def _top1_terms(positive: Tensor, negative: Tensor) -> Tensor:
    return torch.sigmoid(negative - positive.unsqueeze(1)) + torch.sigmoid(negative * negative)


LOSSES: dict[str, Loss] = {"cross_entropy": cross_entropy, "bpr_max": bpr_max, "top1_max": top1_max, "top1": top1}


def sampled_loss(
    name: str,
    queries: Tensor,
    positives: Tensor,
    negatives: Tensor,
    log_weight: Tensor,
    hits: Tensor,
    weights: Tensor | None = None,
) -> Tensor:
    """The summed loss of R rows that share S negatives.

    Args:
        name: A key of LOSSES.
        queries: [R, H + 1], the last column ones.
        positives: [R, H + 1], each row's right item: vector, and bias in the last column.
        negatives: [S, H + 1], likewise.
        log_weight: [S], the logQ correction, used by cross_entropy.
        hits: int64 [R], which negative is the row's own positive, -1 for none.
        weights: [R], how much each row counts; None: all alike.

    Returns:
        A scalar.
    """
    if name == "cross_entropy":
        return _SampledCrossEntropy.apply(queries, positives, negatives, log_weight, hits, weights)  # type: ignore[no-any-return, no-untyped-call]
    allowed = torch.arange(len(negatives), device=hits.device) != hits.unsqueeze(1)
    losses = LOSSES[name]((queries * positives).sum(1), queries @ negatives.t(), allowed)
    return losses.sum() if weights is None else losses @ weights


class _SampledCrossEntropy(torch.autograd.Function):
    """`cross_entropy` of the products, with the scores' gradient made in place of the scores: one [R, S + 1] buffer in all."""

    @staticmethod
    def forward(
        ctx: Any,
        queries: Tensor,
        positives: Tensor,
        negatives: Tensor,
        log_weight: Tensor,
        hits: Tensor,
        weights: Tensor | None,
    ) -> Tensor:
        rows, sampled = len(queries), len(negatives)
        scores = queries.new_empty(rows, sampled + 1)
        corrected = negatives.clone()
        corrected[:, -1] += log_weight
        torch.mm(queries, corrected.t(), out=scores[:, :sampled])
        at = torch.nonzero(hits >= 0).squeeze(1)
        scores[at, hits[at]] = -torch.inf
        scores[:, sampled] = (queries * positives).sum(1)
        shares = torch.softmax(scores, dim=1)
        losses = -torch.log(shares[:, sampled].clamp_min(torch.finfo(shares.dtype).tiny))
        loss = losses.sum() if weights is None else losses @ weights
        shares[:, sampled] -= 1.0
        if weights is not None:
            shares *= weights.unsqueeze(1)
        ctx.save_for_backward(shares, queries, positives, corrected)
        return loss

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        shares, queries, positives, corrected = ctx.saved_tensors
        of_positive = shares[:, -1:]
        coarse = _coarse_type(shares)
        of_negatives = shares[:, :-1].to(coarse)
        grad_queries = torch.addcmul((of_negatives @ corrected.to(coarse)).to(shares.dtype), of_positive, positives)
        grad_negatives = (queries.t().to(coarse) @ of_negatives).t().to(shares.dtype)
        return grad * grad_queries, grad * (of_positive * queries), grad * grad_negatives, None, None, None


def _coarse_type(like: Tensor) -> torch.dtype:
    """bfloat16 for single precision where the processor multiplies it natively, sums stay float32; else the type itself.

    Only gradients are made so: a score that is off by 2^-9 would be another score.
    """
    if like.dtype != torch.float32:
        return like.dtype
    native = torch.cuda.is_bf16_supported() if like.is_cuda else torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if native else torch.float32
