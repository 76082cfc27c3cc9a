"""What is served and measured of every model: vectors and a bias for items, a query and own items for users.

score(user, item) = query · item_vector + item_bias + own item's score (0 where the item is not the user's own)

A user's own items are those that they have a score of their own for: what they have had, what follows their latest events.
Shape letters stand in hrnn/models/contract.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch

from hrnn.data.sequences import Sequences


@dataclass(frozen=True)
class UserStates:
    """What a model knows of some users, in the order in which they were asked for.

    Attributes:
        query: float32 [B, D].
        own_offsets: int64 [B + 1]; user b's own items are `own_item_rows[own_offsets[b]:own_offsets[b + 1]]`.
        own_item_rows: int64 [sum of own items], no item twice for a user.
        own_item_scores: float32, parallel to `own_item_rows`; added to those items' scores.
    """

    query: torch.Tensor
    own_offsets: npt.NDArray[np.int64]
    own_item_rows: npt.NDArray[np.int64]
    own_item_scores: npt.NDArray[np.float32]

    @classmethod
    def without_own_items(cls, query: torch.Tensor) -> UserStates:
        """States of a model that has no path for the user's own items."""
        none = np.zeros(0, dtype=np.int64)
        return cls(query, np.zeros(len(query) + 1, dtype=np.int64), none, none.astype(np.float32))


@runtime_checkable
class ScoringModel(Protocol):
    """A trained model, as `recommend` and `evaluate` see it."""

    def item_vectors(self) -> torch.Tensor:
        """float32 [N, D]; rows of items without events are zero."""

    def item_bias(self) -> torch.Tensor:
        """float32 [N]; alone, the scores for a user nobody knows."""

    def user_states(self, sequences: Sequences, user_rows: npt.NDArray[np.int64]) -> UserStates:
        """States after the given events.

        Args:
            sequences: Histories, possibly truncated (`Sequences.truncate`).
            user_rows: int64 [B], in any order.
        """
