"""Context features of an input event: the time since the user's previous event, and its type, as one categorical code.

Gaps are bucketed by their order of magnitude: bucket 0 is a user's first event, bucket k > 0 gaps of [2^(k-2), 2^(k-1)) seconds
(bucket 1: the same second), the last one all that are longer, about half a year.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hrnn.data.arrays import Flags, Rows
from hrnn.data.sequences import Sequences

GAP_BUCKETS = 26


@dataclass(frozen=True)
class EventContext:
    """Encoding of events' context features; a model's shape holds the same numbers.

    Attributes:
        gap_buckets: GAP_BUCKETS, or 0 where gaps are no input.
        event_types: Codes of types, or 0 where types are no input.
    """

    gap_buckets: int
    event_types: int

    @classmethod
    def of(cls, num_event_types: int, *, gaps: bool, types: bool) -> EventContext:
        """The encoding for data with so many types, of those features that are switched on; a single type is no feature."""
        return cls(GAP_BUCKETS if gaps else 0, num_event_types if types and num_event_types > 1 else 0)

    def codes(self, sequences: Sequences, positions: Rows, user_starts: Flags) -> Rows | None:
        """Codes of events, int64, of the positions' shape; None where there is no context.

        Args:
            sequences: What the positions lie in.
            positions: int64, of events; any event where a place is not alive.
            user_starts: Whether an event is its user's first.
        """
        if not self.gap_buckets and not self.event_types:
            return None
        codes = np.zeros(positions.shape, dtype=np.int64)
        if self.gap_buckets:
            # The event before in the arrays is the user's previous one, except at a user's first, whose bucket is 0.
            before = np.maximum(positions - 1, 0)
            gaps = np.asarray(sequences.timestamps[positions]) - np.asarray(sequences.timestamps[before])
            codes = np.where(user_starts, 0, gap_bucket(gaps))
        if self.event_types:
            # Stored models have no row for a type that training did not know, nor for none, -1: they take a neighbour's.
            types = np.clip(np.asarray(sequences.event_types[positions]), 0, self.event_types - 1)
            codes = codes * self.event_types + types
        return codes


def gap_bucket(seconds: Rows) -> Rows:
    """The bucket of each gap, int64; gaps below zero count as zero."""
    # frexp's exponent is the number of binary digits: 0 for 0, 1 for 1, 2 for 2 and 3.
    _, exponent = np.frexp(np.maximum(seconds, 0).astype(np.float64))
    return np.minimum(exponent.astype(np.int64) + 1, GAP_BUCKETS - 1)
