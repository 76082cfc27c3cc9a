"""Sampled losses over one positive and many negatives, by name.

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
from typing import NamedTuple

import torch
from torch import Tensor

from hrnn.training.sampled_softmax import SampledCrossEntropy

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(scores of positives [R], of negatives [R, S], which of these are allowed, bool [R, S]) -> a loss a row [R]."""


class Scored(NamedTuple):
    """R queries with a positive item each, and S shared negatives: the arguments of `sampled_loss`, in its order and shapes."""

    queries: Tensor
    positives: Tensor
    negatives: Tensor
    log_weight: Tensor
    hits: Tensor
    weights: Tensor | None


_ROWS_AT_ONCE = 8_192  # more make scores that no cache holds
BPR_REGULARISATION = 1.0  # tuned values in the literature: 0.9 to 1.95


def cross_entropy(positive: Tensor, negative: Tensor, allowed: Tensor) -> Tensor:
    """-log softmax of the positive [R] among itself and its allowed negatives [R, S]."""
    scores = torch.cat([positive.unsqueeze(1), negative.masked_fill(~allowed, -torch.inf)], dim=1)
    return torch.logsumexp(scores, dim=1) - positive


def bpr_max(positive: Tensor, negative: Tensor, allowed: Tensor, regularisation: float = BPR_REGULARISATION) -> Tensor:
    """BPR-max: BPR against softmax-weighted negatives, with regularised scores of negatives."""
    share = torch.softmax(negative.masked_fill(~allowed, -torch.inf), dim=1)
    won = (share * torch.sigmoid(positive.unsqueeze(1) - negative)).sum(1)
    # 1e-24 as in the authors' code: a positive far below all negatives has won nothing in single precision.
    return -torch.log(won + 1e-24) + regularisation * (share * negative * negative).sum(1)


def top1_max(positive: Tensor, negative: Tensor, allowed: Tensor) -> Tensor:
    """TOP1-max: TOP1 against softmax-weighted negatives."""
    share = torch.softmax(negative.masked_fill(~allowed, -torch.inf), dim=1)
    return (share * _top1_terms(positive, negative)).sum(1)


def top1(positive: Tensor, negative: Tensor, allowed: Tensor) -> Tensor:
    """TOP1: smooth share of negatives that score above the positive, with regularised scores of negatives."""
    kept = allowed.to(negative.dtype)
    return (kept * _top1_terms(positive, negative)).sum(1) / kept.sum(1).clamp(min=1.0)  # by the allowed ones, not by S


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
    *,
    score_type: torch.dtype | None = None,
) -> Tensor:
    """Loss of R rows that share S negatives, summed.

    Args:
        name: A key of LOSSES.
        queries: [R, H].
        positives: [R, H + 1], each row's positive item: vector, and bias in the last column.
        negatives: [S, H + 1], likewise.
        log_weight: [S], the logQ correction, used by cross_entropy.
        hits: int64 [R], which negative is the row's own positive, -1 for none.
        weights: [R], how much each row counts; None: all alike.
        score_type: What cross_entropy rounds the negatives' scores to, without their biases; None: the queries' type.

    Returns:
        A scalar.
    """
    if name == "cross_entropy":
        total = queries.new_zeros(())
        for begin in range(0, max(1, len(queries)), _ROWS_AT_ONCE):
            part = slice(begin, begin + _ROWS_AT_ONCE)
            total = total + SampledCrossEntropy.apply(  # type: ignore[no-untyped-call]
                queries[part],
                positives[part],
                negatives,
                log_weight,
                hits[part],
                None if weights is None else weights[part],
                score_type or queries.dtype,
            )
        return total
    # The logQ correction is of a softmax's sum; the ranking losses compare scores as they are.
    allowed = torch.arange(len(negatives), device=hits.device) != hits.unsqueeze(1)  # [R, S]
    positive = torch.linalg.vecdot(queries, positives[:, :-1]) + positives[:, -1]
    losses = LOSSES[name](positive, torch.addmm(negatives[:, -1], queries, negatives[:, :-1].t()), allowed)
    return losses.sum() if weights is None else losses @ weights
