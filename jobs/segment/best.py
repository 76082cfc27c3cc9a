"""The best users of every line: top-k by shard, merged exactly at the end.

Users are in order of falling affinity, equals in order of USER_ID.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from hrnn.data.arrays import Doubles, Rows

MOST_WAITING = 1 << 18  # users, of all sets together, that wait to be compared

SCHEMA = pa.schema([("set", pa.int32()), ("affinity", pa.float64()), ("user_id", pa.string())])


class BestOfShard:
    """Top-k users of each set of items within one shard; users who can't be among them are dropped early.

    Args:
        user_ids: Strings [U], rising.
        num_results: K.
    """

    def __init__(self, user_ids: pa.StringArray, num_results: int) -> None:
        self._user_ids, self._num_results = user_ids, num_results
        self._waiting: list[tuple[Rows, Doubles, Rows]] = []
        self._num_waiting = 0

    def add(self, first: int, affinities: Doubles) -> list[pa.Table]:
        """Take in some users.

        Args:
            first: Place of the first one.
            affinities: float64 [B, Q]; -inf for users whom the filter excludes.

        Returns:
            Tables of SCHEMA to be sent on, because no more users can wait to be compared.
        """
        places, sets = np.nonzero(affinities >= self._least(affinities))
        kept = np.isfinite(affinities[places, sets])
        places, sets = places[kept], sets[kept]
        self._waiting.append((sets, affinities[places, sets], places + first))
        self._num_waiting += len(sets)
        if self._num_waiting > MOST_WAITING:
            self._compare()
        return self.rest() if self._num_waiting > MOST_WAITING // 2 else []

    def rest(self) -> list[pa.Table]:
        """Tables of SCHEMA with all users that wait."""
        self._compare()
        tables = []
        for sets, affinities, places in self._waiting:
            for start in range(0, len(sets), MOST_WAITING):
                part = slice(start, start + MOST_WAITING)
                user_ids = self._user_ids.take(pa.array(places[part]))
                tables.append(pa.table([pa.array(sets[part], pa.int32()), pa.array(affinities[part]), user_ids], schema=SCHEMA))
        self._waiting, self._num_waiting = [], 0
        return tables

    def _least(self, affinities: Doubles) -> Doubles:
        """float64 [Q], the K-th highest affinity of these users: nobody below it is among the best of all."""
        num_users = len(affinities)
        if num_users <= self._num_results:
            return np.full(affinities.shape[1], -np.inf)
        return np.asarray(np.partition(affinities, num_users - self._num_results, axis=0)[num_users - self._num_results])

    def _compare(self) -> None:
        """Keep the K best waiting users of each set."""
        if not self._waiting:
            return
        sets, affinities, places = (np.concatenate(parts) for parts in zip(*self._waiting, strict=True))
        order = np.lexsort((places, -affinities, sets))
        ordered = sets[order]
        ranks = np.arange(len(order)) - np.searchsorted(ordered, ordered)  # within the user's set, from 0
        order = order[ranks < self._num_results]
        self._waiting, self._num_waiting = [(sets[order], affinities[order], places[order])], len(order)


class BestOfSet:
    """Merges the top-k users of all shards for one set.

    Args:
        num_results: K.
    """

    def __init__(self, num_results: int) -> None:
        self._num_results, self._tables = num_results, list[pa.Table]()
        self._num_waiting = 0

    def add(self, users: pa.Table) -> None:
        """Take in some users of the set, a table of SCHEMA."""
        self._tables.append(users)
        self._num_waiting += len(users)
        if self._num_waiting > 2 * self._num_results + MOST_WAITING:
            self._tables = [self._best()]
            self._num_waiting = len(self._tables[0])

    def user_ids(self) -> Sequence[str]:
        """The best users."""
        ids: list[str] = self._best()["user_id"].to_pylist() if self._tables else []
        return ids

    def _best(self) -> pa.Table:
        users = pa.concat_tables(self._tables).sort_by([("affinity", "descending"), ("user_id", "ascending")])
        return users.slice(0, self._num_results).combine_chunks()
