"""Related items by HRNN's vectors: how aws-similar-items is answered until it has a model of its own."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hrnn.data.ragged import offsets_of
from hrnn.data.sequences import Sequences
from hrnn.models.scoring_model import UserStates

_BEHIND_ALL = -4.0  # added to the score of the item that is asked for: cosines lie between -1 and 1


class SimilarItems:
    """A ScoringModel that asks for a user by their last event's item: score(item) = cosine of the two items' vectors.

    Args:
        vectors: float32 [N, H]; an item without events has the zero vector, which resembles none.
    """

    def __init__(self, vectors: Tensor) -> None:
        self._vectors = torch.nn.functional.normalize(vectors.detach().to(torch.float32), dim=1)

    def item_vectors(self) -> Tensor:
        """float32 [N, H], of length 1 or 0."""
        return self._vectors

    def item_bias(self) -> Tensor:
        """float32 [N], zeros."""
        return torch.zeros(len(self._vectors))

    def user_states(self, sequences: Sequences, user_rows: npt.NDArray[np.int64]) -> UserStates:
        """Each user's last item; zeros for a user without events."""
        lengths = sequences.history_lengths[user_rows]
        known = np.flatnonzero(lengths)
        last = sequences.item_rows[(sequences.user_offsets[:-1][user_rows] + lengths - 1)[known]].astype(np.int64)
        query = torch.zeros(len(user_rows), self._vectors.shape[1])
        query[torch.from_numpy(known)] = self._vectors[torch.from_numpy(last)]
        return UserStates(query, offsets_of(lengths > 0), last, np.full(len(last), _BEHIND_ALL, dtype=np.float32))
