"""Sparse item-to-item tables from pairs that were counted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hrnn.data.arrays import Doubles, Rows
from hrnn.splits import ranges


@dataclass(frozen=True)
class ItemTable:
    """Row a holds what follows from item a.

    Attributes:
        offsets: int64 [N + 1].
        columns: int64, rising within a row, none twice.
        weights: float32, above 0.
    """

    offsets: Rows
    columns: Rows
    weights: npt.NDArray[np.float32]

    @classmethod
    def of(cls, keys: Rows, weights: Doubles, num_items: int) -> ItemTable:
        """From distinct, rising keys a * N + b."""
        counts = np.bincount(keys // num_items, minlength=num_items)
        offsets = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(counts)])
        return cls(offsets, keys % num_items, weights.astype(np.float32))

    def rows(self, items: Rows) -> npt.NDArray[np.float32]:
        """float32 [B, N]: the rows of some items, written out."""
        num_items = len(self.offsets) - 1
        written = np.zeros((len(items), num_items), dtype=np.float32)
        lengths = self.offsets[items + 1] - self.offsets[items]
        at = ranges(self.offsets[items], lengths)
        written[np.repeat(np.arange(len(items)), lengths), self.columns[at]] = self.weights[at]
        return written


def summed(keys: Rows, weights: Doubles) -> tuple[Rows, Doubles]:
    """Distinct keys, rising, and the sum of each one's weights."""
    if len(keys) == 0:
        return keys, weights
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    first = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    return ordered[first], np.add.reduceat(weights[order], first)
