"""The path of successors: items that other people's sessions put after, or beside, the latest items of a user.

    after(a, b)  = sum of 1 / d over pairs of events of a session, a first, b next but d - 1, d up to DISTANCE
    beside(a, b) = after(a, b) + after(b, a)

Of each item a the MOST_COOCCURRING items b with the greatest after(a, b) + beside(a, b) are kept, as shares of all that comes
after, or beside, a. Every item that is kept for one of the EVENTS latest events of a user has a row of features; learned
weights for them make its score (hrnn/blend/weights.py).

Source of after(a, b): Kamehkhosh, Jannach, Ludewig 2017, as in hrnn/evaluation/baselines/rules.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hrnn.blend.repeats import UserItems
from hrnn.data.arrays import Rows
from hrnn.data.ragged import Ragged, offsets_of, positions_of
from hrnn.data.sequences import Sequences

FEATURES = (
    "beside",  # 1: any successor
    "log_beside",  # log of the share of beside, summed over the latest events, the one before the last counting a half, …
    "after",  # 1 where the item has come after one of them
    "log_after",  # log of the share of after, summed likewise; 0 where there is none
)
DISTANCE = 5  # events
EVENTS = 3
MOST_COOCCURRING = 100
MOST_EVENTS = 1 << 25  # of more, those of every second, third, … user are counted
_WHOLE = 60  # 1 / d as a whole number of parts for every d up to DISTANCE, so that sums are exact in any order
_EVENTS_AT_ONCE = 1 << 20
_SPARE = 2  # times MOST_COOCCURRING are kept while counting goes on, where there is more


@dataclass(frozen=True)
class Cooccurrence:
    """What comes after and beside each of N items.

    Attributes:
        offsets: int64 [N + 1]; item a's successors are [offsets[a], offsets[a + 1]) of the others.
        item_rows: int64, rising within an item.
        after, beside: float32, shares.
    """

    offsets: Rows
    item_rows: Rows
    after: npt.NDArray[np.float32]
    beside: npt.NDArray[np.float32]

    @classmethod
    def of(cls, sequences: Sequences) -> Cooccurrence:
        """Count the sessions of all events that count.

        Memory is O(_EVENTS_AT_ONCE · DISTANCE + N · MOST_COOCCURRING) whatever the number of events: users are counted in
        parcels, and of what has been counted only the strongest pairs of each first item are kept once there are many more.
        """
        num_items = sequences.num_items
        (after_keys, after), (before_keys, before) = (_counted(sequences, backwards) for backwards in (False, True))
        keys = _distinct(np.concatenate([after_keys, before_keys]))
        beside = np.zeros((2, len(keys)))  # what comes after; and before
        beside[0, np.searchsorted(keys, after_keys)] = after
        beside[1, np.searchsorted(keys, before_keys)] = before
        of_all = np.stack([np.bincount(keys // num_items, each, minlength=num_items) for each in beside])
        kept = np.searchsorted(keys, _strongest(keys, 2 * beside[0] + beside[1], num_items, MOST_COOCCURRING))
        first, second = np.divmod(keys[kept], num_items)
        offsets = offsets_of(np.bincount(first, minlength=num_items))
        share_after = beside[0, kept] / np.maximum(of_all[0, first], 1)
        share_beside = beside[:, kept].sum(axis=0) / of_all[:, first].sum(axis=0)
        return cls(offsets, second, share_after.astype(np.float32), share_beside.astype(np.float32))

    def of_users(self, sequences: Sequences, user_rows: Rows) -> UserItems:
        """Cooccurrence of the latest events of some users, with FEATURES.

        Args:
            sequences: Histories, possibly truncated.
            user_rows: int64 [B].
        """
        num_items = len(self.offsets) - 1
        known = np.minimum(sequences.history_lengths[user_rows], EVENTS)
        ends = sequences.user_offsets[:-1][user_rows] + sequences.history_lengths[user_rows]
        latest = Ragged.expand(ends - known, known)
        users = latest.row_ids()
        of_events = positions_of(self.offsets, sequences.item_rows[latest.values].astype(np.int64))
        at, lengths = of_events.values, of_events.lengths
        fading = np.repeat(1.0 / (ends[users] - latest.values), lengths)
        keys, places = np.unique(np.repeat(users, lengths) * num_items + self.item_rows[at], return_inverse=True)
        beside, after = (np.bincount(places, share[at] * fading, minlength=len(keys)) for share in (self.beside, self.after))
        followed = after > 0
        logs = np.log(beside), followed, np.log(np.where(followed, after, 1.0))
        of_users = np.searchsorted(keys, np.arange(len(user_rows) + 1) * num_items)
        return UserItems(of_users, keys % num_items, np.stack([np.ones(len(keys)), *logs], axis=1).astype(np.float32))


def _counted(sequences: Sequences, backwards: bool) -> tuple[Rows, Rows]:
    """Keys a · N + b, rising, and the parts of after(a, b), or of after(b, a) where `backwards`."""
    users = np.arange(0, sequences.num_users, max(1, -(-sequences.num_events // MOST_EVENTS)))
    parcels = np.cumsum(sequences.history_lengths[users]) // _EVENTS_AT_ONCE
    most = max(_SPARE * MOST_COOCCURRING * sequences.num_items, _EVENTS_AT_ONCE * DISTANCE)
    keys, parts = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    for some in np.split(users, np.flatnonzero(np.diff(parcels)) + 1):
        keys, parts = _summed([(keys, parts), *_pairs(sequences, some, backwards)])
        if len(keys) > most:
            kept = np.searchsorted(keys, _strongest(keys, parts, sequences.num_items, _SPARE * MOST_COOCCURRING))
            keys, parts = keys[kept], parts[kept]
    return keys, parts


def _pairs(sequences: Sequences, user_rows: Rows, backwards: bool) -> Iterator[tuple[Rows, Rows]]:
    """By distance: keys of pairs of events of a session, none twice, rising, and the parts that they add."""
    events = sequences.event_positions(user_rows)
    items = sequences.item_rows[events.values].astype(np.int64)
    begins = np.array(sequences.session_starts[events.values])
    begins[events.offsets[:-1][events.lengths > 0]] = True
    session = np.cumsum(begins)
    for distance in range(1, DISTANCE + 1):
        together = np.flatnonzero(session[distance:] == session[:-distance])
        first, second = (
            (items[together + distance], items[together]) if backwards else (items[together], items[together + distance])
        )
        keys, counts = np.unique(first * sequences.num_items + second, return_counts=True)
        yield keys, counts * (_WHOLE // distance)


def _summed(tables: list[tuple[Rows, Rows]]) -> tuple[Rows, Rows]:
    """All keys of some tables, rising, each once, and the sum of their parts. No table has a key twice."""
    keys = _distinct(np.concatenate([each for each, _ in tables]))
    sums = np.zeros(len(keys), dtype=np.int64)
    for some, parts in tables:
        sums[np.searchsorted(keys, some)] += parts
    return keys, sums


def _distinct(keys: Rows) -> Rows:
    """Each key once, rising. Without counts, np.unique would hash them, which takes many times as long for millions of keys."""
    return np.unique(keys, return_counts=True)[0]


def _strongest(keys: Rows, strengths: npt.NDArray[Any], num_items: int, most: int) -> Rows:
    """Rising, those of the keys a · N + b that are among the `most` strongest of their a; of equally strong ones the least b.

    One sort of whole numbers: a, then the strength as a float of 23 bits or, beyond a million items, of fewer, then b.
    """
    bits = max(1, int(num_items - 1).bit_length())
    dropped = max(8, 2 * bits - 32)
    strength = (np.float32(strengths).view(np.int32) >> dropped).astype(np.int64)
    first, second = np.divmod(keys, num_items)
    weaker = (1 << (31 - dropped)) - 1 - strength
    order = np.sort((((first << (31 - dropped)) | weaker) << bits) | second)
    first, second = order >> (31 - dropped + bits), order & ((1 << bits) - 1)
    rank = np.arange(len(order)) - np.searchsorted(first, first)
    return np.sort((first * num_items + second)[rank < most])
