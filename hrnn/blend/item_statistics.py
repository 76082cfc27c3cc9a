"""What is counted from events, beside the parameters that are trained: item statistics, and features of users' own items."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hrnn.blend import cooccurrence as cooccurrence
from hrnn.blend import repeats as own_items
from hrnn.blend.cooccurrence import Cooccurrence
from hrnn.blend.repeats import UserItems, own_item_features, repeat_odds
from hrnn.blend.trends import Trends
from hrnn.data.arrays import Rows
from hrnn.data.ragged import row_ids
from hrnn.data.sequences import Sequences

FEATURES = (*own_items.FEATURES, *cooccurrence.FEATURES)
"""Of the items that a user has a score of their own for: those they have had, and the successors of their latest events."""


@dataclass(frozen=True)
class ItemStatistics:
    """Counts of the events that may be known.

    Attributes:
        item_repeat_odds: float32 [N], hrnn/blend/repeats.py.
        trends: hrnn/blend/trends.py.
        cooccurrence: hrnn/blend/cooccurrence.py.
    """

    item_repeat_odds: npt.NDArray[np.float32]
    trends: Trends
    cooccurrence: Cooccurrence

    @classmethod
    def of(cls, sequences: Sequences) -> ItemStatistics:
        """Count events of sequences, possibly truncated."""
        return cls(repeat_odds(sequences), Trends(sequences), Cooccurrence.of(sequences))

    def user_items(self, sequences: Sequences, user_rows: Rows, as_of: Rows) -> UserItems:
        """Own items of some users with FEATURES; those of successors are 0 where an item is none, and the other way round.

        Args:
            sequences: Histories, possibly truncated.
            user_rows: int64 [B].
            as_of: int64 [B], when the user is asked about, UTC epoch seconds.
        """
        had = own_item_features(sequences, user_rows, as_of, self.item_repeat_odds)
        return _merged(had, self.cooccurrence.of_users(sequences, user_rows), sequences.num_items)


def _merged(left: UserItems, right: UserItems, num_items: int) -> UserItems:
    """Items of either; features of both side by side, 0 where there are none."""
    keys = [row_ids(each.offsets) * num_items + each.item_rows for each in (left, right)]
    every, _ = np.unique(np.concatenate(keys), return_counts=True)
    features = np.zeros((len(every), left.features.shape[1] + right.features.shape[1]), dtype=np.float32)
    features[np.searchsorted(every, keys[0]), : left.features.shape[1]] = left.features
    features[np.searchsorted(every, keys[1]), left.features.shape[1] :] = right.features
    return UserItems(np.searchsorted(every, np.arange(len(left.offsets)) * num_items), every % num_items, features)
