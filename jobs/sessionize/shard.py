"""Second pass, receiving side: a whole shard is sorted once, cut into sessions and written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from hrnn.data.arrays import Rows
from hrnn.data.hashing import Hashes, mix64
from hrnn.data.histories import event_order, session_starts
from jobs.platform.process.scratch import scratch_folder
from jobs.platform.spark.partition_rows import unpack, widen
from jobs.platform.storage.folders import StepFolder
from jobs.platform.stored_types import ARROW_TYPES
from jobs.sessionize.events import HASH, USER, Encoding, load_lookup
from jobs.sessionize.plan import Plan
from schemas.columns import (
    EVENT_TIME,
    EVENT_TYPE,
    EVENT_TYPE_CODE,
    INPUT_ORDER,
    ITEM_ROW,
    LAST_TIME,
    NUM_EVENTS,
    NUM_SESSIONS,
    NUM_USERS,
    SESSION_START,
    USER_ID,
    USER_ROW,
)


class HashCollision(Exception):
    """Two users of a shard have one hash; the run starts again with another seed."""


@dataclass(frozen=True)
class ShardUsers:
    """The users of a shard, in the order of their hashes.

    Attributes:
        ids: Strings [users].
        positions: For every message, its users' positions in `ids`.
    """

    ids: pa.Array
    positions: list[Rows]


def write_shard(plan: Plan, encoding: Encoding, first_user_rows: tuple[int, ...], shard: int, bodies: Iterator[bytes]) -> bytes:
    """Write a shard's events, users and item counts; returns their files and counts as JSON.

    A hash collision is a result, not an error: {"collision": true}.
    """
    messages = [unpack(body) for body in bodies]
    # Messages come in no particular order; in that of the input, the same data give the same bytes.
    messages.sort(key=lambda tables: int(widen(tables[0].slice(0, 1), INPUT_ORDER)[0]))
    try:
        users = merge_users([tables[1] for tables in messages])
    except HashCollision:
        return json.dumps({"collision": True}).encode()
    events = _joined(plan, [tables[0] for tables in messages], users)
    del messages  # a shard's events are held once
    order = event_order(events[USER], events[EVENT_TIME], _tie_keys(plan, events.pop(INPUT_ORDER)))
    events = {
        name: values.take(pa.array(order)) if isinstance(values, pa.Array) else values[order] for name, values in events.items()
    }
    lookup = load_lookup(plan, encoding.lookup)
    tied, ascending = count_ties(events, lookup.id_ranks)
    starts = session_starts(events[USER], events[EVENT_TIME], plan.gap_seconds)
    tables = {
        "shards": _events_table(plan, events, starts, first_user_rows[shard]),
        "users": _users_table(events, starts, users.ids, first_user_rows[shard]),
        "item-users": _item_users(events, len(lookup.rows)),
    }
    summary: dict[str, Any] = {
        "num_users": len(users.ids),
        "num_events": len(starts),
        "num_sessions": int(starts.sum()),
        "tied_pairs": tied,
        "tied_pairs_ascending": ascending,
    }
    folder = StepFolder(plan.output_uri)
    with scratch_folder("shard") as scratch:
        for kind, table in tables.items():
            local = Path(scratch) / f"{kind}.parquet"
            _write(table, local)
            summary[kind] = folder.put_file(
                local, folder.attempt_path(f"{kind}/part-{shard:05d}.parquet"), table.num_rows
            ).model_dump()
    return json.dumps(summary).encode()


def merge_users(tables: list[pa.Table]) -> ShardUsers:
    """The distinct users of several tables, in the order of their hashes.

    Raises:
        HashCollision: Two different ids have one hash.
    """
    if not tables:
        return ShardUsers(pa.array([], pa.string()), [])
    hashes: Hashes = np.concatenate([table[HASH].to_numpy() for table in tables])
    ids = pa.concat_tables([table.select([USER_ID]) for table in tables]).combine_chunks()[USER_ID].chunk(0)
    order = np.argsort(hashes, kind="stable")
    is_first = np.ones(len(order), np.bool_)
    is_first[1:] = hashes[order[1:]] != hashes[order[:-1]]
    # Neighbours of one hash must be one user.
    repeated = np.flatnonzero(~is_first)
    if pc.any(pc.not_equal(ids.take(pa.array(order[repeated])), ids.take(pa.array(order[repeated - 1])))).as_py():
        raise HashCollision
    position = np.empty(len(order), np.int64)
    position[order] = np.cumsum(is_first) - 1  # of each row's user among the distinct ones
    ends = np.cumsum([table.num_rows for table in tables])
    return ShardUsers(ids.take(pa.array(order[is_first])), np.split(position, ends[:-1]))


def count_ties(events: dict[str, Any], id_ranks: NDArray[np.int32]) -> tuple[int, int]:
    """Neighbouring events of one user at one time with different items: how many, and how many in ascending ITEM_ID order."""
    users, times, items = events[USER], events[EVENT_TIME], events[ITEM_ROW]
    tied = np.flatnonzero((users[1:] == users[:-1]) & (times[1:] == times[:-1]) & (items[1:] != items[:-1]))
    return len(tied), int((id_ranks[items[tied + 1]] > id_ranks[items[tied]]).sum())


def _joined(plan: Plan, tables: list[pa.Table], users: ShardUsers) -> dict[str, Any]:
    """The columns of all messages' events: int64 arrays, and Arrow arrays for numeric metadata."""
    codes = [EVENT_TYPE_CODE if column == EVENT_TYPE else column for column in plan.columns.coded]
    columns: dict[str, Any] = {
        USER: _concatenated(
            [positions[table[USER].to_numpy()] for positions, table in zip(users.positions, tables, strict=True)]
        )
    }
    for name in (ITEM_ROW, EVENT_TIME, INPUT_ORDER, *codes):
        columns[name] = _concatenated([widen(table, name) for table in tables])
    for name, kind in plan.columns.numeric.items():
        chunks = [chunk for table in tables for chunk in table[name].chunks]
        columns[name] = pa.concat_arrays([pa.array([], ARROW_TYPES[kind]), *chunks])
    return columns


def _concatenated(arrays: list[Rows]) -> Rows:
    return np.concatenate(arrays) if arrays else np.empty(0, np.int64)


def _tie_keys(plan: Plan, input_order: Rows) -> Rows | Hashes:
    """Sort keys of a user's events at one time: their order in the input, or a hash of it that is unrelated to it."""
    if plan.tie_order == "file":
        return input_order
    return mix64(input_order.view(np.uint64))


def _events_table(plan: Plan, events: dict[str, Any], starts: NDArray[np.bool_], first_user_row: int) -> pa.Table:
    count = len(starts)
    codes = events.get(EVENT_TYPE_CODE, np.full(count, -1, np.int64))
    columns = {
        USER_ROW: events[USER] + first_user_row,
        ITEM_ROW: events[ITEM_ROW],
        EVENT_TIME: events[EVENT_TIME],
        SESSION_START: starts,
        EVENT_TYPE_CODE: codes.astype(np.int32),
    }
    columns |= {name: events[name] for name in plan.columns.numeric}
    columns |= {name: events[name].astype(np.int32) for name in plan.columns.categorical}
    return pa.table(columns)


def _users_table(events: dict[str, Any], starts: NDArray[np.bool_], ids: pa.Array, first_user_row: int) -> pa.Table:
    counts = np.bincount(events[USER], minlength=len(ids))
    last = np.cumsum(counts) - 1
    return pa.table(
        {
            USER_ID: ids,
            USER_ROW: np.arange(first_user_row, first_user_row + len(ids)),
            NUM_EVENTS: counts,
            NUM_SESSIONS: np.bincount(events[USER][starts], minlength=len(ids)),
            LAST_TIME: events[EVENT_TIME][last],
        }
    )


def _item_users(events: dict[str, Any], num_items: int) -> pa.Table:
    """Distinct users of each item that occurs in the shard; shards share no user, so the driver may add these."""
    pairs = np.sort(events[USER] * np.int64(num_items) + events[ITEM_ROW])  # one number for each pair of user and item
    distinct = np.ones(len(pairs), np.bool_)
    distinct[1:] = pairs[1:] != pairs[:-1]
    counts = np.bincount(pairs[distinct] % num_items, minlength=num_items)
    rows = np.flatnonzero(counts)
    return pa.table({ITEM_ROW: rows, NUM_USERS: counts[rows]})


def _write(table: pa.Table, path: Path) -> None:
    pq.write_table(table, path, compression="zstd")
