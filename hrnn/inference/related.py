"""Related items: from a table of neighbours, or by the cosine of item vectors; filled up with popular items."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch

from hrnn.data.arrays import Rows
from hrnn.data.ragged import Ragged
from hrnn.data.sparse_scores import SparseScores
from hrnn.inference.allowed import Allowed
from hrnn.inference.topk import Scorer

POPULARITY = "scoring.popularity"  # parameter float32 [N] of a solution with event rules: events that count as targets


class Related(Protocol):
    """Related items among N."""

    def of(self, item_rows: Rows, num_results: int, allowed: Allowed | None) -> Rows:
        """Item rows, best first, int64 [B, K]; -1 behind the last.

        Args:
            item_rows: int64 [B], the items; -1: an unknown one, which gets popular items.
            num_results: K.
            allowed: By masks alone; None: everything. The item itself is never returned.
        """


class TableOfNeighbours:
    """Related items from a table of neighbours.

    Args:
        neighbours: [N] item rows, best first.
        popular: int64 [N], all items in the order in which they fill up for missing neighbours.
    """

    def __init__(self, neighbours: Ragged[np.int32], popular: Rows) -> None:
        self._neighbours, self._popular = neighbours, popular
        self._longest = int(neighbours.lengths.max(initial=0))

    def of(self, item_rows: Rows, num_results: int, allowed: Allowed | None) -> Rows:
        """See Related."""
        related = np.full((len(item_rows), num_results), -1, dtype=np.int64)
        enough = num_results + self._longest + 1  # popular items, of which some are neighbours and one is the item itself
        masks = [None] if allowed is None else list(allowed.masks)
        popular = [(self._popular if mask is None else self._popular[mask[self._popular]])[:enough] for mask in masks]
        for place, item_row in enumerate(item_rows.tolist()):
            number = 0 if allowed is None else int(allowed.mask_of[place])
            neighbours = _NONE if item_row < 0 else self._neighbours.row(item_row)
            mask = masks[number]
            if mask is not None:
                neighbours = neighbours[mask[neighbours]]
            result = neighbours[neighbours != item_row][:num_results]
            if (missing := num_results - len(result)) > 0:
                more = popular[number]
                more = more[(more != item_row) & ~np.isin(more, result)][:missing]
                result = np.concatenate([result, more])
            related[place, : len(result)] = result
        return related


class NearestVectors:
    """Related items by the cosine of their vectors; equal ones in order of item row.

    Args:
        item_vectors: float32 [N, D].
        popular: int64 [N], all items in falling order of popularity; None: rows are in it.
    """

    def __init__(self, item_vectors: torch.Tensor, popular: Rows | None = None) -> None:
        # Of length 1, products are cosines. A zero vector stays one (normalize divides by 1e-12 at least): its cosine is 0.
        self._directions = torch.nn.functional.normalize(item_vectors.detach(), dim=1)
        self._scorer = Scorer(self._directions, torch.zeros(len(item_vectors)))
        popular = np.arange(len(item_vectors)) if popular is None else popular
        self._popular = TableOfNeighbours(Ragged.none(len(item_vectors), np.int32), popular)

    def of(self, item_rows: Rows, num_results: int, allowed: Allowed | None) -> Rows:
        """See Related."""
        known = np.flatnonzero(item_rows >= 0)
        related = self._popular.of(np.full_like(item_rows, -1), num_results, allowed)
        none = Ragged.none(len(known), np.int64)
        of_known = None if allowed is None else Allowed(allowed.masks, allowed.mask_of[known], none, none)
        queries = self._directions[torch.from_numpy(item_rows[known])]
        top = self._scorer.top(queries, SparseScores.none(len(known)), num_results + 1, of_known).item_rows
        # The item itself need not come first, nor be listed at all: of items with one vector, those of lower rows come before.
        itself = top == item_rows[known, None]  # [known, K + 1]
        # Without itself, everything behind it moves up by one.
        shifted = np.pad(top, ((0, 0), (0, 1)), constant_values=-1)
        behind = np.cumsum(itself, axis=1) > 0
        without = np.where(behind, shifted[:, 1:], top)[:, :num_results]
        related[known] = np.pad(without, ((0, 0), (0, num_results - without.shape[1])), constant_values=-1)
        return related


_NONE = np.empty(0, np.int32)
