"""Past events of users as filters use them: each user's items by event type, with how recent the newest such event is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hrnn.data.arrays import Rows
from hrnn.data.ragged import positions_of
from hrnn.data.sequences import Sequences

MOST_RANK = 1000  # filters look at no older events of a type


@dataclass(frozen=True)
class PastEvents:
    """Distinct pairs of event type and item of each of B users.

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
        """Those of the given users, in any order."""
        pairs = positions_of(self.offsets, users)
        at = pairs.values
        return PastEvents(pairs.offsets, self.item_rows[at], self.event_types[at], self.ranks[at])


def past_events(sequences: Sequences, user_rows: Rows) -> PastEvents:
    """Past events of B users, ordered by user, event type and item.

    Args:
        sequences: Histories, possibly truncated.
        user_rows: int64 [B], in any order.
    """
    events = sequences.event_positions(user_rows)
    users, positions = events.row_ids(), events.values
    types, items = sequences.event_types[positions].astype(np.int64), sequences.item_rows[positions].astype(np.int64)
    num_types = int(types.max(initial=-1)) + 2
    # Sorted by user and type, oldest first: an event's rank is its distance from the end of its run, 0 for the newest.
    type_keys = users * num_types + types + 1  # one number a user and type; they rise with users; a type may be -1
    order = np.argsort(type_keys, kind="stable")
    type_keys, items = type_keys[order], items[order]
    ranks = np.searchsorted(type_keys, type_keys, side="right") - 1 - np.arange(len(type_keys))
    # Ranks are bounded before items are told apart, so that long histories cost no more than filters look at.
    recent = np.flatnonzero(ranks < MOST_RANK)
    type_keys, items, ranks = type_keys[recent], items[recent], ranks[recent]
    # Of several events with an item the newest stands for all: it alone decides how recent the item is.
    pairs = type_keys * sequences.num_items + items
    by_pair = np.argsort(pairs, kind="stable")  # within a pair, the newest stays last
    is_newest = np.ones(len(pairs), np.bool_)
    is_newest[:-1] = pairs[by_pair[1:]] != pairs[by_pair[:-1]]
    kept = by_pair[is_newest]
    type_keys = type_keys[kept]
    return PastEvents(
        offsets=np.searchsorted(type_keys, np.arange(len(user_rows) + 1) * num_types).astype(np.int64),
        item_rows=items[kept].astype(np.int32),
        event_types=(type_keys % num_types - 1).astype(np.int32),
        ranks=ranks[kept].astype(np.int32),
    )
