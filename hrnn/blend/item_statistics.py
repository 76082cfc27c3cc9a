"""Item statistics, counted from events beside the trained parameters, and the sparse features that they give a user."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hrnn.blend import cooccurrence, repeats
from hrnn.blend.cooccurrence import Cooccurrence
from hrnn.blend.repeats import UserItems, own_item_features, repeat_odds
from hrnn.blend.trends import Trends
from hrnn.data.arrays import Rows
from hrnn.data.ragged import row_ids
from hrnn.data.sequences import Sequences

FEATURES = (*repeats.FEATURES, *cooccurrence.FEATURES)
"""Of the items that a user has a sparse score for: those they have had, and those that co-occur with their latest events."""


@dataclass(frozen=True)
class ItemStatistics:
    """Counts of the events that the blend is fitted or served from.

    Attributes:
        item_repeat_odds: float32 [N], log-odds of a repeat (hrnn/blend/repeats.py).
        trends: Recent popularity (hrnn/blend/trends.py).
        cooccurrence: Of items, in sessions (hrnn/blend/cooccurrence.py).
    """

    item_repeat_odds: npt.NDArray[np.float32]
    trends: Trends
    cooccurrence: Cooccurrence

    @classmethod
    def of(cls, sequences: Sequences) -> ItemStatistics:
        """Count the events of sequences, possibly truncated."""
        return cls(repeat_odds(sequences), Trends(sequences), Cooccurrence.of(sequences))

    def user_items(self, sequences: Sequences, user_rows: Rows, as_of: Rows) -> UserItems:
        """FEATURES of the items that B users have a sparse score for; 0 in those of the kind that an item is not of.

        Args:
            sequences: Histories, possibly truncated.
            user_rows: int64 [B].
            as_of: int64 [B], the time of the prediction, UTC epoch seconds.
        """
        own = own_item_features(sequences, user_rows, as_of, self.item_repeat_odds)
        return _merged(own, self.cooccurrence.of_users(sequences, user_rows), sequences.num_items)


def _merged(left: UserItems, right: UserItems, num_items: int) -> UserItems:
    """Outer join by user and item: features of both sides beside each other, 0 where a side has none."""
    keys = [row_ids(side.offsets) * num_items + side.item_rows for side in (left, right)]
    union, _ = np.unique(np.concatenate(keys), return_counts=True)  # without counts it hashes: slow
    features = np.zeros((len(union), left.features.shape[1] + right.features.shape[1]), dtype=np.float32)
    features[np.searchsorted(union, keys[0]), : left.features.shape[1]] = left.features
    features[np.searchsorted(union, keys[1]), left.features.shape[1] :] = right.features
    return UserItems(np.searchsorted(union, np.arange(len(left.offsets)) * num_items), union % num_items, features)
