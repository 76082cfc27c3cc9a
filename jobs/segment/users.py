"""The model of a solution version as a worker of a segment job holds it, and the users of one shard."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch

from hrnn.data.arrays import Doubles, Rows
from hrnn.data.ragged import Ragged
from hrnn.inference.filters import FilterQuery, UserFilter
from hrnn.inference.segments import Affinity
from jobs.batch.options import FilterOptions
from jobs.batch.users import UserTable
from jobs.platform.storage.folders import StepFolder
from jobs.platform.storage.node_files import fetch
from jobs.solutions.solution import Solution
from jobs.solutions.tensors import read_tensors
from schemas import columns
from schemas.errors import IntegrityError
from schemas.filters import FilterValues

_USERS_AT_ONCE = 8192
_STATES = [columns.USER_ID, columns.QUERY, columns.SPARSE_ITEM_ROWS, columns.SPARSE_SCORES]
_PAST = [columns.PAST_ITEM_ROWS, columns.PAST_EVENT_TYPES, columns.PAST_RANKS]


def user_filter(solution: Solution, options: FilterOptions, attributes: pa.Schema | None) -> UserFilter:
    """A segment job's filter over the columns that it reads.

    Raises:
        FilterError: It does not fit them.
    """
    return UserFilter(
        options.parsed(),
        schemas=solution.dataset_schemas,
        attributes=attributes,
        event_types=solution.event_types,
        past_events=options.events,
        now=options.now or None,
    )


class Shard:
    """The users of one shard, in order of USER_ID.

    Args:
        solution: The solution version.
        number: The shard's.
        options: The job's filter; None: there is none.
    """

    def __init__(self, solution: Solution, number: int, options: FilterOptions | None) -> None:
        folder = StepFolder(solution.uri)
        names = _STATES + (_PAST if options is not None and options.asks_past else [])
        table = pq.read_table(fetch(folder, solution.states[number]), columns=names)
        table = table.filter(pc.is_valid(table[columns.QUERY])).sort_by(columns.USER_ID)
        self.user_ids: pa.StringArray = table[columns.USER_ID].combine_chunks()
        self._users = UserTable(table, solution.dimension, options.events if options else 0)
        self._filter: UserFilter | None = None
        self._attributes: pa.Table | None = None
        if options is not None:
            if options.asks_attributes:
                rows = pq.read_table(fetch(folder, solution.attributes[number]))
                self._attributes = rows.take(pc.index_in(self.user_ids, rows[columns.USER_ID].combine_chunks()))
            self._filter = user_filter(solution, options, self._attributes.schema if self._attributes is not None else None)

    def affinities(self, model: Affinity, values: tuple[FilterValues, ...]) -> Iterator[tuple[int, Doubles]]:
        """How likely users are to take an item of each set, some users at a time.

        Args:
            model: The items beside Q sets of them.
            values: Of each set, the values of the filter's placeholders.

        Yields:
            The first user's place, and float64 [B, Q]; -inf for users whom the filter keeps out.
        """
        for start in range(0, len(self.user_ids), _USERS_AT_ONCE):
            places = np.arange(start, min(start + _USERS_AT_ONCE, len(self.user_ids)))
            affinities = model.of(*self._users.states(places))
            if self._filter is not None:
                affinities[~self._allowed(places, values)] = -np.inf
            yield start, affinities

    def _allowed(self, places: Rows, values: tuple[FilterValues, ...]) -> npt.NDArray[np.bool_]:
        """bool [B, Q], whether the filter allows a user with the values of a set; equal values are worked out once."""
        assert self._filter is not None
        attributes = None if self._attributes is None else self._attributes.slice(int(places[0]), len(places))
        past = self._users.past(places)
        masks: dict[tuple[tuple[str, tuple[str, ...]], ...], npt.NDArray[np.bool_]] = {}
        keys = [tuple(sorted(set_values.items())) for set_values in values]
        for key, set_values in zip(keys, values, strict=True):
            if key not in masks:
                masks[key] = self._filter.allowed(FilterQuery(len(places), [set_values], attributes=attributes, past=past))
        return np.stack([masks[key] for key in keys], axis=1)


def load_model(solution: Solution, sets: Ragged[np.int64], num_ranked: int) -> Affinity:
    """The items of a solution version beside sets of them.

    Args:
        solution: The solution version.
        sets: From `hrnn.inference.segments.sets_of`.
        num_ranked: How many items have events; the others are nobody's.
    """
    torch.set_num_threads(1)  # Spark runs a worker a core; and the last bits of a sum depend on how many threads share it
    tensors = read_tensors(fetch(StepFolder(solution.uri), solution.serving), "serving")
    vectors, bias = (tensors[f"scoring.item_{name}"] for name in ("vectors", "bias"))
    if vectors.shape != (len(bias), solution.dimension) or len(bias) < num_ranked:
        raise IntegrityError(f"{solution.uri}: the model doesn't fit its catalogue; train it again.")
    return Affinity(vectors[:num_ranked], bias[:num_ranked], sets)
