"""aws-popularity-count: the items with most distinct users, the same list for everybody.

Closed form: an item's score is the log of its number of distinct users, as Personalize documents for this recipe (events are
not counted: one user who buys a hundred times counts once). Nothing is learnt, and no user has a state.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from hrnn.data.arrays import Rows
from hrnn.data.sequences import Sequences
from hrnn.models.contract import ItemMatrix, ModelEntry, Queries, no_queries


class PopularityCount:
    """A QueryModel without queries (D = 0).

    Args:
        num_users: [N], distinct users of each item; an item without users never outranks one that has any.
    """

    def __init__(self, num_users: npt.ArrayLike) -> None:
        self._num_users = np.asarray(num_users, dtype=np.int64)

    @classmethod
    def fit(cls, sequences: Sequences) -> PopularityCount:
        """Count the distinct users of every item."""
        events = sequences.event_positions(np.arange(sequences.num_users))
        # Each pair of user and item once, as one number.
        pairs = np.unique(events.row_ids() * np.int64(sequences.num_items) + sequences.item_rows[events.values])
        return cls(np.bincount(pairs % sequences.num_items, minlength=sequences.num_items))

    def items(self) -> ItemMatrix:
        """No vectors [N, 0]; biases [N]: log of the number of users, log ½ for an item that has none."""
        bias = torch.from_numpy(np.log(np.maximum(self._num_users, 0.5)).astype(np.float32))
        return ItemMatrix(torch.zeros(len(bias), 0), bias)

    def queries(self, histories: Sequences, user_rows: Rows) -> Queries:
        """The same empty query for everybody."""
        return no_queries(len(user_rows))

    def sparse_scores(self, histories: Sequences, user_rows: Rows) -> None:
        """None: the list is the same for everybody."""


ENTRIES = (
    ModelEntry(
        recipes=("aws-popularity-count",),
        fit=lambda sequences, _hyperparameters: PopularityCount.fit(sequences),
    ),
)
