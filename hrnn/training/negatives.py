"""Negative sampling: items drawn once for a whole batch and shared by all its rows, the same on every rank."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Negatives:
    """Distinct sampled items of one batch.

    Attributes:
        item_rows: int64 [S'], rising, without duplicates.
        log_weight: float32 [S'], log(times drawn / expected times drawn): added to a negative's score, it makes the sum of
            exp(score) over the sample an unbiased estimate of the sum over the whole catalogue (the logQ correction).
    """

    item_rows: npt.NDArray[np.int64]
    log_weight: npt.NDArray[np.float32]


class NegativeSampler:
    """Draws items with probability proportional to count ** alpha, with replacement.

    Items without events are never drawn. Draws are a function of (seed, epoch, batch): every rank and every resumed run makes
    the same.

    Args:
        item_counts: int64 [N], events of each item in training.
        alpha: 0 draws uniformly among the items with events, 1 by popularity.
        num_samples: Draws a batch. Where there are no more items with events than that, all are taken, and nothing is random.
        seed: Of the draws.
    """

    def __init__(self, item_counts: npt.NDArray[np.int64], *, alpha: float, num_samples: int, seed: int) -> None:
        self._seen = np.flatnonzero(item_counts > 0)
        weights = item_counts[self._seen].astype(np.float64) ** alpha
        self._probability = weights / weights.sum()
        self._share = item_counts[self._seen] / item_counts.sum()
        self._cumulative = np.cumsum(self._probability)
        self._num_samples, self._seed = num_samples, seed
        self.exact = len(self._seen) <= num_samples

    def draw(self, epoch: int, window: int, targets: npt.NDArray[np.int64] | None = None) -> Negatives:
        """Negatives of one batch.

        Args:
            epoch, window: The batch's epoch, and its number there.
            targets: int64, all ranks' items of the batch: these are negatives too ("in-batch"), as if drawn by count.
        """
        if self.exact:
            return Negatives(self._seen, np.zeros(len(self._seen), dtype=np.float32))
        # Apart from the shuffle's stream, which has the same key: the third word differs.
        generator = np.random.Generator(np.random.Philox(key=[self._seed, epoch], counter=[0, 0, 1, window]))
        # Inverse transform sampling; sorted draws make the bisection walk memory in one direction.
        uniform = np.sort(generator.random(self._num_samples))
        # Rounding may leave the last running total a little below 1, and a draw above it.
        drawn = np.minimum(np.searchsorted(self._cumulative, uniform, side="right"), len(self._seen) - 1)
        in_batch = 0
        if targets is not None:
            in_batch = len(targets)
            drawn = np.concatenate([drawn, np.searchsorted(self._seen, targets)])  # all are found: targets are training events
        # An item that is drawn often stands once, with a weight: the product with queries has fewer columns.
        distinct, times = np.unique(drawn, return_counts=True)
        expected = self._num_samples * self._probability[distinct] + in_batch * self._share[distinct]
        return Negatives(self._seen[distinct], np.log(times / expected).astype(np.float32))
