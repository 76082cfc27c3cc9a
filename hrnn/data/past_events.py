"""What users did before, as filters ask for it: each user's items by type of event, and how long ago that was."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hrnn.data.arrays import Rows
from hrnn.data.ragged import positions_of
from hrnn.data.sequences import Sequences

MOST_RANK = 1000  # older events of a type are no filter's business


@dataclass(frozen=True)
class PastEvents:
    """Distinct pairs of event type and item of B users.

    Attributes:
        offsets: int64 [B + 1]; user b's pairs are [offsets[b], offsets[b + 1]) of the others.
        item_rows: int32.
        event_types: int32, codes; -1 where an event has no type.
        ranks: int32, below MOST_RANK: how many events of that type the user has that are newer than the newest one with
            this item.
    """

    offsets: Rows
    item_rows: npt.NDArray[np.int32]
    event_types: npt.NDArray[np.int32]
    ranks: npt.NDArray[np.int32]

    def take(self, users: Rows) -> PastEvents:
        """What some of the users did, in any order."""
        at = positions_of(self.offsets, users)
        return PastEvents(at.offsets, self.item_rows[at.values], self.event_types[at.values], self.ranks[at.values])


def past_events(sequences: Sequences, user_rows: Rows) -> PastEvents:
    """What some users did, ordered by user, event type and item.

    Args:
        sequences: Histories, possibly truncated.
        user_rows: int64 [B], in any order.
    """
    events = sequences.event_positions(user_rows)
    users, positions = events.row_ids(), events.values
    types, items = sequences.event_types[positions].astype(np.int64), sequences.item_rows[positions].astype(np.int64)
    num_types = int(types.max(initial=-1)) + 2
    of_type = users * num_types + types + 1  # one number a user and type; they rise with users
    order = np.argsort(of_type, kind="stable")
    of_type, items = of_type[order], items[order]
    ranks = np.searchsorted(of_type, of_type, side="right") - 1 - np.arange(len(of_type))
    recent = np.flatnonzero(ranks < MOST_RANK)
    of_type, items, ranks = of_type[recent], items[recent], ranks[recent]
    pairs = of_type * sequences.num_items + items
    by_pair = np.argsort(pairs, kind="stable")  # within a pair, the newest stays last
    is_newest = np.ones(len(pairs), np.bool_)
    is_newest[:-1] = pairs[by_pair[1:]] != pairs[by_pair[:-1]]
    kept = by_pair[is_newest]
    of_type = of_type[kept]
    return PastEvents(
        offsets=np.searchsorted(of_type, np.arange(len(user_rows) + 1) * num_types).astype(np.int64),
        item_rows=items[kept].astype(np.int32),
        event_types=(of_type % num_types - 1).astype(np.int32),
        ranks=ranks[kept].astype(np.int32),
    )
