"""What answers need of users: their states and attributes, and how a worker loads them."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.batch.options import Options
from jobs.batch.users import UserTable
from jobs.platform.storage.folders import StepFolder
from jobs.platform.storage.node_files import fetch
from jobs.solutions.solution import Solution
from schemas import columns


def needs_states(solution: Solution, options: Options) -> bool:
    """Whether the states of users have a part in the answers."""
    asks_past = options.filter is not None and options.filter.asks_past
    return solution.kind != "item" and (solution.dimension > 0 or asks_past)


def needs_attributes(solution: Solution, options: Options) -> bool:
    """Whether users' attributes have a part in the answers."""
    return bool(solution.attributes) and options.filter is not None and options.filter.asks_attributes


def stored_bytes(solution: Solution, options: Options) -> int:
    """Size of the files that answers need of all users."""
    states = solution.states if needs_states(solution, options) else ()
    attributes = solution.attributes if needs_attributes(solution, options) else ()
    return sum(entry.size for entry in (*states, *attributes))


def load_states(solution: Solution, options: Options, shards: Sequence[int]) -> UserTable | None:
    """The states of some shards; None where answers need none."""
    if not needs_states(solution, options):
        return None
    names = [columns.USER_ID, columns.QUERY, columns.SPARSE_ITEM_ROWS, columns.SPARSE_SCORES]
    names += [columns.USER_ROW] if options.explain else []
    past_events = 0
    if options.filter is not None and options.filter.asks_past:
        names += [columns.PAST_ITEM_ROWS, columns.PAST_EVENT_TYPES, columns.PAST_RANKS]
        past_events = options.filter.events
    folder = StepFolder(solution.uri)
    tables = [pq.read_table(fetch(folder, solution.states[shard]), columns=names) for shard in shards]
    return UserTable(pa.concat_tables(tables), solution.dimension, past_events)


def load_attributes(solution: Solution, options: Options, shards: Sequence[int]) -> pa.Table | None:
    """The Users dataset's rows of some shards; None where no filter reads them."""
    if not needs_attributes(solution, options):
        return None
    folder = StepFolder(solution.uri)
    tables = [pq.read_table(fetch(folder, solution.attributes[shard])) for shard in shards]
    return pa.concat_tables(tables).combine_chunks()


@functools.lru_cache(maxsize=1)
def all_users(solution: Solution, options: Options) -> tuple[UserTable | None, pa.Table | None]:
    """The states and attributes of all users, as far as answers need them, loaded once in each worker process."""
    shards = range(len(solution.states))
    return load_states(solution, options, shards), load_attributes(solution, options, shards)
