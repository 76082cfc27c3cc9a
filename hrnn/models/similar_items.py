"""Related items by the cosine of HRNN's vectors: the stand-in for aws-similar-items, until it has a model of its own."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from hrnn.data.arrays import Rows
from hrnn.data.ragged import offsets_of
from hrnn.data.sequences import Sequences
from hrnn.data.sparse_scores import SparseScores
from hrnn.models.contract import ItemMatrix, Queries

_BEHIND_ALL = -4.0  # added to the score of the query's own item: cosines lie between -1 and 1


class SimilarItems:
    """A QueryModel whose query is the user's last item: score(item) = cosine of the two items' vectors.

    Args:
        vectors: float32 [N, H]; an item without events has the zero vector, similar to none.
    """

    def __init__(self, vectors: Tensor) -> None:
        self._vectors = torch.nn.functional.normalize(vectors.detach().to(torch.float32), dim=1)

    def items(self) -> ItemMatrix:
        """Vectors [N, H] of length 1 or 0; no biases."""
        return ItemMatrix(self._vectors, torch.zeros(len(self._vectors)))

    def queries(self, histories: Sequences, user_rows: Rows) -> Queries:
        """The vector of each user's last item; zeros for a user without events."""
        known, last = histories.last_items(user_rows)
        query = torch.zeros(len(user_rows), self._vectors.shape[1])
        query[torch.from_numpy(known)] = self._vectors[torch.from_numpy(last)]
        return Queries(query, query)

    def sparse_scores(self, histories: Sequences, user_rows: Rows) -> SparseScores | None:
        """A penalty on each user's last item, which puts it behind all others."""
        known, last = histories.last_items(user_rows)
        offsets = offsets_of(np.bincount(known, minlength=len(user_rows)))
        return SparseScores(offsets, last, np.full(len(last), _BEHIND_ALL, dtype=np.float32))
