"""aws-popularity-count: the items that most users have taken up, the same list for everybody.

Closed form: an item's score is the log of its number of distinct users, as Personalize documents for this recipe (events are
not counted: one user who buys a hundred times counts once). Nothing is learnt, and no user has a state.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from hrnn.data.sequences import Sequences
from hrnn.models.contract import ModelEntry
from hrnn.models.scoring_model import UserStates


class PopularityCount:
    """A ScoringModel without queries (D = 0).

    Args:
        num_users: [N], distinct users of each item; an item without users never outranks one that has any.
    """

    def __init__(self, num_users: npt.ArrayLike) -> None:
        self._num_users = np.asarray(num_users, dtype=np.int64)

    @classmethod
    def fit(cls, sequences: Sequences) -> PopularityCount:
        """Count the distinct users of every item among the events that count."""
        events = sequences.event_positions(np.arange(sequences.num_users))
        pairs = np.unique(events.row_ids() * np.int64(sequences.num_items) + sequences.item_rows[events.values])
        return cls(np.bincount(pairs % sequences.num_items, minlength=sequences.num_items))

    def item_vectors(self) -> torch.Tensor:
        """float32 [N, 0]."""
        return torch.zeros(len(self._num_users), 0)

    def item_bias(self) -> torch.Tensor:
        """float32 [N]: log of the number of users; log ½ for an item that has none."""
        return torch.from_numpy(np.log(np.maximum(self._num_users, 0.5)).astype(np.float32))

    def user_states(self, sequences: Sequences, user_rows: npt.NDArray[np.int64]) -> UserStates:
        """The same empty state for everybody."""
        return UserStates.without_own_items(torch.zeros(len(user_rows), 0))


ENTRIES = (
    ModelEntry(
        recipes=("aws-popularity-count",),
        fit=lambda sequences, _hyperparameters: PopularityCount.fit(sequences),
    ),
)
