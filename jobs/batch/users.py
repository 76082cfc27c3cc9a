"""The states of users, and what they did, as a worker holds them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import torch

from hrnn.data.arrays import Rows
from hrnn.data.past_events import PastEvents
from hrnn.data.ragged import Ragged
from hrnn.data.sparse_scores import SparseScores
from schemas import columns


class UserTable:
    """States of some users, found by id.

    Args:
        table: Columns USER_ID, query, own_item_rows, own_item_scores; those of the past where a filter asks for it, and
            user_row where answers are explained.
        dimension: Numbers of a query.
        past_events: A user's newest events of each type that a filter looks at.
    """

    def __init__(self, table: pa.Table, dimension: int, past_events: int = 0) -> None:
        known = table.filter(pc.is_valid(table[columns.QUERY])).combine_chunks()  # without a state, a user is unknown
        self._ids = known[columns.USER_ID].combine_chunks()
        self._queries = (
            known[columns.QUERY].combine_chunks().flatten().to_numpy(zero_copy_only=False).reshape(len(known), dimension)
        )
        own = Ragged.from_arrow(known[columns.SPARSE_ITEM_ROWS])
        self._own = SparseScores(own.offsets, own.values, _flat(known, columns.SPARSE_SCORES))
        self._user_rows: Rows | None = None
        if columns.USER_ROW in table.column_names:
            self._user_rows = known[columns.USER_ROW].to_numpy()
        self._past: PastEvents | None = None
        if columns.PAST_ITEM_ROWS in table.column_names:
            items = Ragged.from_arrow(known[columns.PAST_ITEM_ROWS])
            types, ranks = _flat(known, columns.PAST_EVENT_TYPES), _flat(known, columns.PAST_RANKS)
            kept = np.flatnonzero(ranks < past_events)
            ends = np.searchsorted(kept, items.offsets).astype(np.int64)
            self._past = PastEvents(ends, items.values[kept], types[kept], ranks[kept])

    def find(self, user_ids: Sequence[str] | pa.StringArray) -> Rows:
        """int64 [B], where each user stands; -1 for those who don't."""
        found = pc.index_in(pa.array(user_ids, self._ids.type), value_set=self._ids)
        places: Rows = pc.fill_null(found, -1).to_numpy(zero_copy_only=False).astype(np.int64)
        return places

    def states(self, places: Rows) -> tuple[torch.Tensor, SparseScores]:
        """Queries float32 [B, D] and own items of users by where they stand."""
        return torch.from_numpy(self._queries[places].astype(np.float32, copy=False)), self._own.take(places)

    def user_rows(self, places: Rows) -> Rows:
        """int64 [B], rows of users in the sequences, by where they stand."""
        assert self._user_rows is not None, "loaded where answers are explained"
        return self._user_rows[places]

    def past(self, places: Rows) -> PastEvents | None:
        """What users did, by where they stand; None where it was not loaded."""
        return None if self._past is None else self._past.take(places)


def _flat(table: pa.Table, name: str) -> npt.NDArray[Any]:
    """All values of a list column, one after the other."""
    values: npt.NDArray[Any] = table[name].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return values
