"""Sparse item-to-item matrices from counted pairs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hrnn.data.arrays import Doubles, Rows
from hrnn.data.ragged import offsets_of, positions_of


@dataclass(frozen=True)
class ItemTable:
    """Sparse matrix [N, N] whose row a holds the weights of other items given item a.

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
        return cls(
            offsets_of(np.bincount(keys // num_items, minlength=num_items)), keys % num_items, weights.astype(np.float32)
        )

    def rows(self, items: Rows) -> npt.NDArray[np.float32]:
        """Rows of the given items, dense: float32 [B, N]."""
        dense = np.zeros((len(items), len(self.offsets) - 1), dtype=np.float32)
        self.add_to(dense, np.arange(len(items)), items, 1.0)
        return dense

    def add_to(self, scores: npt.NDArray[np.float32], lines: Rows, items: Rows, factor: float) -> None:
        """Add a multiple of the row of an item to each of several lines of [B, N] scores; no line twice."""
        at = positions_of(self.offsets, items)
        cells = lines[at.row_ids()] * scores.shape[1] + self.columns[at.values]
        scores.reshape(-1)[cells] += self.weights[at.values] * np.float32(factor)


def summed(keys: Rows, weights: Doubles) -> tuple[Rows, Doubles]:
    """Distinct keys, rising, and the sum of each one's weights."""
    if len(keys) == 0:
        return keys, weights
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    first = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    return ordered[first], np.add.reduceat(weights[order], first)
