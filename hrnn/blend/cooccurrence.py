"""Session co-occurrence: items that other people's sessions hold near a user's latest items, in either order or afterwards.

    forward(a, b)   = sum of 1 / d over pairs of events of a session, a first, b next but d - 1, d up to DISTANCE
    symmetric(a, b) = forward(a, b) + forward(b, a)

Of each item a the MOST_COOCCURRING items b with the greatest forward(a, b) + symmetric(a, b) are kept, as shares of the row's
sum of either count. Every item that is kept for one of the EVENTS latest events of a user has a row of features; blend weights
for them make its sparse score (hrnn/blend/weights.py).

Source of forward(a, b): Kamehkhosh, Jannach, Ludewig 2017, as in hrnn/evaluation/baselines/rules.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hrnn.blend.repeats import UserItems
from hrnn.data.arrays import Floats, Rows
from hrnn.data.ragged import Ragged, distinct, offsets_of, positions_of
from hrnn.data.sequences import Sequences

FEATURES = (
    "symmetric",  # 1: any item that co-occurs with one of the latest events
    "log_symmetric",  # log of the symmetric share, summed over the latest events, the one before the last counting a half, …
    "forward",  # 1 where the item has come after one of them
    "log_forward",  # log of the forward share, summed likewise; 0 where there is none
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
    """Sparse item-to-item matrix [N, N] of session co-occurrence, the strongest entries of each row.

    Attributes:
        offsets: int64 [N + 1]; the items that co-occur with item a are [offsets[a], offsets[a + 1]) of the others.
        item_rows: int64, rising within a row.
        forward, symmetric: float32, shares of the row's sum.
    """

    offsets: Rows
    item_rows: Rows
    forward: Floats
    symmetric: Floats

    @classmethod
    def of(cls, sequences: Sequences) -> Cooccurrence:
        """Count co-occurrence in the sessions of all events that are not truncated.

        Memory is O(_EVENTS_AT_ONCE · DISTANCE + N · MOST_COOCCURRING) whatever the number of events: users are counted in
        chunks, and of what has been counted only the strongest pairs of each first item are kept once there are many more.
        """
        num_items = sequences.num_items
        (forward_keys, forward), (backward_keys, backward) = (_counted(sequences, backwards) for backwards in (False, True))
        keys = distinct(np.concatenate([forward_keys, backward_keys]))
        # Each direction has lost its weakest pairs on its own, so that a pair may be known in one of them only.
        directed = np.zeros((2, len(keys)))  # forward; backward
        directed[0, np.searchsorted(keys, forward_keys)] = forward
        directed[1, np.searchsorted(keys, backward_keys)] = backward
        # Shares are of the row before it is cut, so that the rows of popular items, which lose most, stay comparable.
        row_sums = np.stack([np.bincount(keys // num_items, counts, minlength=num_items) for counts in directed])
        # forward + symmetric is twice what comes after and once what comes before.
        kept = np.searchsorted(keys, _strongest(keys, 2 * directed[0] + directed[1], num_items, MOST_COOCCURRING))
        first, second = np.divmod(keys[kept], num_items)
        offsets = offsets_of(np.bincount(first, minlength=num_items))
        forward_share = directed[0, kept] / np.maximum(row_sums[0, first], 1)
        symmetric_share = directed[:, kept].sum(axis=0) / row_sums[:, first].sum(axis=0)
        return cls(offsets, second, forward_share.astype(np.float32), symmetric_share.astype(np.float32))

    def of_users(self, sequences: Sequences, user_rows: Rows) -> UserItems:
        """FEATURES of the items that co-occur with the latest events of B users.

        Args:
            sequences: Histories, possibly truncated.
            user_rows: int64 [B].
        """
        num_items = len(self.offsets) - 1
        num_latest = np.minimum(sequences.history_lengths[user_rows], EVENTS)
        ends = sequences.user_offsets[:-1][user_rows] + sequences.history_lengths[user_rows]
        latest = Ragged.expand(ends - num_latest, num_latest)
        users = latest.row_ids()
        # A row of the matrix for each latest event, one after the other; older events count 1/2, 1/3, …
        entries = positions_of(self.offsets, sequences.item_rows[latest.values].astype(np.int64))
        positions, lengths = entries.values, entries.lengths
        decay = np.repeat(1.0 / (ends[users] - latest.values), lengths)
        # Rows of several events may hold the same item: one key a user and item, and the sums over the user's events.
        keys, places = np.unique(np.repeat(users, lengths) * num_items + self.item_rows[positions], return_inverse=True)
        symmetric, forward = (
            np.bincount(places, share[positions] * decay, minlength=len(keys)) for share in (self.symmetric, self.forward)
        )
        # Every entry has a symmetric share, not every one a forward share: an indicator beside the log keeps 0 and 1 apart.
        is_forward = forward > 0
        columns = np.ones(len(keys)), np.log(symmetric), is_forward, np.log(np.where(is_forward, forward, 1.0))
        offsets = np.searchsorted(keys, np.arange(len(user_rows) + 1) * num_items)
        return UserItems(offsets, keys % num_items, np.stack(columns, axis=1).astype(np.float32))


def _counted(sequences: Sequences, backwards: bool) -> tuple[Rows, Rows]:
    """Keys a · N + b, rising, and forward(a, b) in parts of 1 / _WHOLE; forward(b, a) where `backwards`."""
    users = np.arange(0, sequences.num_users, max(1, -(-sequences.num_events // MOST_EVENTS)))
    chunk_of = np.cumsum(sequences.history_lengths[users]) // _EVENTS_AT_ONCE
    most = max(_SPARE * MOST_COOCCURRING * sequences.num_items, _EVENTS_AT_ONCE * DISTANCE)
    keys, parts = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    for chunk in np.split(users, np.flatnonzero(np.diff(chunk_of)) + 1):
        keys, parts = _summed([(keys, parts), *_pairs(sequences, chunk, backwards)])
        if len(keys) > most:
            kept = np.searchsorted(keys, _strongest(keys, parts, sequences.num_items, _SPARE * MOST_COOCCURRING))
            keys, parts = keys[kept], parts[kept]
    return keys, parts


def _pairs(sequences: Sequences, user_rows: Rows, backwards: bool) -> Iterator[tuple[Rows, Rows]]:
    """By distance: keys of pairs of events of a session, none twice, rising, and the parts that they add."""
    events = sequences.event_positions(user_rows)
    items = sequences.item_rows[events.values].astype(np.int64)
    # A user's first event begins a session whatever its mark says, so that no session runs from one user into the next.
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
    """All keys of several tables, rising, each once, and the sum of their parts. No table has a key twice."""
    keys = distinct(np.concatenate([table_keys for table_keys, _ in tables]))
    sums = np.zeros(len(keys), dtype=np.int64)
    for table_keys, parts in tables:
        sums[np.searchsorted(keys, table_keys)] += parts
    return keys, sums


def _strongest(keys: Rows, strengths: npt.NDArray[Any], num_items: int, most: int) -> Rows:
    """Rising, those of the keys a · N + b that are among the `most` strongest of their a; of equally strong ones the least b.

    One sort of whole numbers: a, then the strength as a float of 23 bits or, beyond a million items, of fewer, then b.
    """
    # Bits of a positive float rise with its value; its lowest ones make room for a and b.
    bits = max(1, int(num_items - 1).bit_length())
    dropped = max(8, 2 * bits - 32)
    strength = (np.float32(strengths).view(np.int32) >> dropped).astype(np.int64)
    first, second = np.divmod(keys, num_items)
    weaker = (1 << (31 - dropped)) - 1 - strength
    order = np.sort((((first << (31 - dropped)) | weaker) << bits) | second)
    # The sort has put each item's strongest pairs first: a pair's rank is its distance from where its item begins.
    first, second = order >> (31 - dropped + bits), order & ((1 << bits) - 1)
    rank = np.arange(len(order)) - np.searchsorted(first, first)
    return np.sort((first * num_items + second)[rank < most])
