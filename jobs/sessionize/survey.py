"""First pass: the items, the categories, and the number of users of each shard. Each task sends its distinct ids only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyspark.sql import SparkSession

from hrnn.data.hashing import hash64
from hrnn.data.plausible import DayCounts, days_of
from jobs.platform.spark.exchange import exchange
from jobs.platform.spark.partition_rows import pack, unpack
from jobs.sessionize.plan import Plan
from jobs.sessionize.source import codes_and_values, numbers, read_task
from schemas.columns import FIRST_TIME, ITEM_ID, LAST_TIME, NUM_EVENTS, TIMESTAMP, USER_ID

_CATEGORIES = pa.schema([("column", pa.string()), ("value", pa.string())])
_HASH, _NUM_USERS = "hash", "num_users"
_DAYS = pa.schema([("day", pa.int64()), (NUM_EVENTS, pa.int64()), (LAST_TIME, pa.int64())])


@dataclass(frozen=True, kw_only=True)
class Survey:
    """Results of the first pass.

    Attributes:
        items: ITEM_ID, num_events, first_timestamp, last_timestamp of every item with events; unordered.
        categories: Sorted values of each coded column.
        shard_users: Distinct user hashes of each shard.
        newest_event: Time of the newest plausible event (hrnn/data/plausible.py), UTC epoch seconds.
    """

    items: pa.Table
    categories: dict[str, list[str]]
    shard_users: tuple[int, ...]
    newest_event: int = 0

    @property
    def num_events(self) -> int:
        """Number of events of the plan's types."""
        return int(pc.sum(self.items[NUM_EVENTS]).as_py() or 0)


def survey(spark: SparkSession, plan: Plan) -> Survey:
    """Read ids, times and categories of all interactions once.

    Raises:
        IntegrityError: A part differs from what its manifest promises.
    """
    bodies = exchange(spark, len(plan.tasks), plan.num_shards, partial(send_ids, plan), gather_ids, "find items")
    shards = [unpack(body) for body in bodies if body]
    if not shards:
        return Survey(items=_empty_items(), categories={}, shard_users=(0,) * plan.num_shards)
    categories = pa.concat_tables([tables[1] for tables in shards])
    return Survey(
        items=pa.concat_tables([tables[0] for tables in shards]).combine_chunks(),
        categories={
            column: sorted(categories.filter(pc.equal(categories["column"], column))["value"].to_pylist())
            for column in plan.columns.coded
        },
        shard_users=tuple(tables[2][_NUM_USERS][0].as_py() for tables in shards),
        newest_event=_newest_event(pa.concat_tables([tables[3] for tables in shards])),
    )


def send_ids(plan: Plan, task: int) -> Iterator[tuple[int, bytes]]:
    """A message for each shard: one task's users and items of that shard; shard 0 gets the categories and days too."""
    table = read_task(plan, task, [USER_ID, ITEM_ID, TIMESTAMP, *plan.columns.coded])
    if not table.num_rows:
        return
    user_codes, user_ids = codes_and_values(table, USER_ID)
    user_hashes = hash64(user_ids, plan.hash_seed)[np.bincount(user_codes, minlength=len(user_ids)) > 0]
    user_shards = user_hashes % np.uint64(plan.num_shards)
    items = _item_statistics(table)
    item_shards = hash64(items[ITEM_ID].combine_chunks(), plan.hash_seed) % np.uint64(plan.num_shards)
    categories, days = _categories_of(table, plan.columns.coded), _days_of(numbers(table, TIMESTAMP))
    for shard in range(plan.num_shards):
        users = pa.table({_HASH: user_hashes[user_shards == shard]})
        common = [categories, days] if shard == 0 else [categories[:0], days[:0]]
        yield shard, pack([items.filter(pa.array(item_shards == shard)), common[0], users, common[1]])


def gather_ids(shard: int, bodies: Iterator[bytes]) -> bytes:
    """The statistics of a shard's items, distinct categories, the number of distinct users, and the counts of days."""
    received = [unpack(body) for body in bodies]
    if not received:
        no_users = pa.table({_NUM_USERS: pa.array([0], pa.int64())})
        return pack([_empty_items(), _CATEGORIES.empty_table(), no_users, _DAYS.empty_table()])
    items = pa.concat_tables([tables[0] for tables in received])
    merged = items.group_by(ITEM_ID, use_threads=False).aggregate(
        [(NUM_EVENTS, "sum"), (FIRST_TIME, "min"), (LAST_TIME, "max")]
    )
    categories = pa.concat_tables([tables[1] for tables in received]).group_by(_CATEGORIES.names).aggregate([])
    hashes = np.unique(np.concatenate([tables[2][_HASH].to_numpy() for tables in received]))
    days = (
        pa.concat_tables([tables[3] for tables in received])
        .group_by("day")
        .aggregate([(NUM_EVENTS, "sum"), (LAST_TIME, "max")])
    )
    users = pa.table({_NUM_USERS: [len(hashes)]})
    return pack([merged.rename_columns(items.schema.names), categories, users, days.rename_columns(_DAYS.names)])


def _item_statistics(table: pa.Table) -> pa.Table:
    """Count, first and last time of every item that occurs in a task's rows."""
    codes, ids = codes_and_values(table, ITEM_ID)
    times = numbers(table, TIMESTAMP)
    counts = np.bincount(codes, minlength=len(ids)).astype(np.int64)
    first = np.full(len(ids), np.iinfo(np.int64).max)
    last = np.full(len(ids), np.iinfo(np.int64).min)
    np.minimum.at(first, codes, times)
    np.maximum.at(last, codes, times)
    occurs: NDArray[np.bool_] = counts > 0
    return pa.table(
        {
            ITEM_ID: ids.filter(pa.array(occurs)),
            NUM_EVENTS: counts[occurs],
            FIRST_TIME: first[occurs],
            LAST_TIME: last[occurs],
        }
    )


def _days_of(times: NDArray[np.int64]) -> pa.Table:
    """The days of a task's events: the number of events and the newest time of each."""
    counts = DayCounts.of(times)
    newest = np.zeros(len(counts.days), np.int64)
    np.maximum.at(newest, np.searchsorted(counts.days, days_of(times)), times)
    return pa.table([counts.days, counts.events, newest], schema=_DAYS)


def _newest_event(days: pa.Table) -> int:
    """Time of the newest plausible event, from the counts of all days, each once."""
    days = days.sort_by("day")
    day_numbers, events, newest = (column.to_numpy() for column in days.columns)
    bounds = DayCounts(day_numbers, events).bounds()
    return int(newest[newest <= bounds.latest].max(initial=0))


def _categories_of(table: pa.Table, coded: tuple[str, ...]) -> pa.Table:
    columns: list[str] = []
    values: list[str] = []
    for column in coded:
        codes, words = codes_and_values(table, column)
        present = np.bincount(codes[codes >= 0], minlength=len(words)) > 0
        occurring = words.filter(pa.array(present)).to_pylist()
        columns += [column] * len(occurring)
        values += occurring
    return pa.table({"column": columns, "value": values}, schema=_CATEGORIES)


def _empty_items() -> pa.Table:
    kinds = [(ITEM_ID, pa.string()), (NUM_EVENTS, pa.int64()), (FIRST_TIME, pa.int64()), (LAST_TIME, pa.int64())]
    return pa.schema(kinds).empty_table()
