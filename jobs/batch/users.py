"""A worker's table of users: their states and past events, looked up by user id."""

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
    """States of some users, looked up by id.

    Args:
        table: Columns USER_ID, query, own_item_rows, own_item_scores; those of past events where a filter reads them, and
            user_row where answers are explained.
        dimension: Length of a query.
        past_events: A user's newest events of each type that a filter reads.
    """

    def __init__(self, table: pa.Table, dimension: int, past_events: int = 0) -> None:
        known = table.filter(pc.is_valid(table[columns.QUERY])).combine_chunks()  # without a state, a user is unknown
        self._ids = known[columns.USER_ID].combine_chunks()
        self._queries = (
            known[columns.QUERY].combine_chunks().flatten().to_numpy(zero_copy_only=False).reshape(len(known), dimension)
        )
        item_rows = Ragged.from_arrow(known[columns.SPARSE_ITEM_ROWS])
        self._sparse_scores = SparseScores(item_rows.offsets, item_rows.values, _flat(known, columns.SPARSE_SCORES))
        self._user_rows: Rows | None = None
        if columns.USER_ROW in table.column_names:
            self._user_rows = known[columns.USER_ROW].to_numpy()
        self._past: PastEvents | None = None
        if columns.PAST_ITEM_ROWS in table.column_names:
            items = Ragged.from_arrow(known[columns.PAST_ITEM_ROWS])
            types, ranks = _flat(known, columns.PAST_EVENT_TYPES), _flat(known, columns.PAST_RANKS)
            # Events are stored with their rank among the user's events of one type, the newest first: drop older ones.
            kept = np.flatnonzero(ranks < past_events)
            offsets = np.searchsorted(kept, items.offsets).astype(np.int64)
            self._past = PastEvents(offsets, items.values[kept], types[kept], ranks[kept])

    def find(self, user_ids: Sequence[str] | pa.StringArray) -> Rows:
        """int64 [B], each user's row in this table; -1 for unknown users."""
        indices = pc.index_in(pa.array(user_ids, self._ids.type), value_set=self._ids)
        places: Rows = pc.fill_null(indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
        return places

    def states(self, places: Rows) -> tuple[torch.Tensor, SparseScores]:
        """Queries float32 [B, D] and sparse scores of users, by their rows in this table."""
        queries = torch.from_numpy(self._queries[places].astype(np.float32, copy=False))
        return queries, self._sparse_scores.take(places)

    def user_rows(self, places: Rows) -> Rows:
        """int64 [B], rows of users in the sequences, by their rows in this table."""
        assert self._user_rows is not None, "loaded where answers are explained"
        return self._user_rows[places]

    def past(self, places: Rows) -> PastEvents | None:
        """Past events of users, by their rows in this table; None where they were not loaded."""
        return None if self._past is None else self._past.take(places)


def _flat(table: pa.Table, name: str) -> npt.NDArray[Any]:
    """All values of a list column, one after the other."""
    values: npt.NDArray[Any] = table[name].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return values
