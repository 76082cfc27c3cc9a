"""Second pass, sending side: a task's events as narrow columns, one message for each shard."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from hrnn.data.hashing import hash64
from jobs.platform.spark.partition_rows import narrow_table, pack, partition_rows
from jobs.platform.storage.folders import StepFolder
from jobs.platform.storage.node_files import fetch
from jobs.sessionize.catalogue import ItemLookup
from jobs.sessionize.plan import Plan
from jobs.sessionize.source import MISSING, codes_and_values, numbers, read_task
from schemas.columns import EVENT_TIME, EVENT_TYPE, EVENT_TYPE_CODE, INPUT_ORDER, ITEM_ID, ITEM_ROW, TIMESTAMP, USER_ID
from schemas.manifest import FileEntry

USER, HASH = "user", "hash"  # columns of a message: position in its table of users; hash64 of a user's id


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """Results of the first pass, by which the second one encodes events.

    Attributes:
        lookup: File of the item lookup, in the output folder.
        categories: Values of each coded column; a code is a position in them.
    """

    lookup: FileEntry
    categories: dict[str, list[str]]


def send_events(plan: Plan, encoding: Encoding, task: int) -> Iterator[tuple[int, bytes]]:
    """A message for each shard that has events of this task: its events in input order, and the ids of their users."""
    columns = plan.columns
    table = read_task(plan, task, [USER_ID, ITEM_ID, TIMESTAMP, INPUT_ORDER, *columns.coded, *columns.numeric])
    if not table.num_rows:
        return
    user_codes, user_ids = codes_and_values(table, USER_ID)
    user_hashes = hash64(user_ids, plan.hash_seed)
    user_shards = (user_hashes % np.uint64(plan.num_shards)).astype(np.uint16)
    integers = _integers(plan, encoding, table)
    for partition in partition_rows(user_codes, user_shards, plan.num_shards):
        rows = pa.array(partition.rows)
        events = narrow_table(
            {USER: partition.codes, **{name: values[partition.rows] for name, values in integers.items()}},
            {name: table[name].take(rows) for name in columns.numeric},
        )
        users = pa.table({HASH: user_hashes[partition.present], USER_ID: user_ids.take(pa.array(partition.present))})
        yield partition.target, pack([events, users])


def load_lookup(plan: Plan, entry: FileEntry) -> ItemLookup:
    """The run's item lookup, mapped once a process."""
    return _mapped(plan.output_uri, entry)


def _integers(plan: Plan, encoding: Encoding, table: pa.Table) -> dict[str, NDArray[Any]]:
    """The integer columns of a task's events, by their names in the sequences."""
    item_codes, item_ids = codes_and_values(table, ITEM_ID)
    occurs = np.bincount(item_codes, minlength=len(item_ids)) > 0  # the dictionary also holds items of events left out
    item_rows = np.full(len(item_ids), MISSING, np.int32)
    item_rows[occurs] = load_lookup(plan, encoding.lookup).rows_of(item_ids.filter(pa.array(occurs)), plan.hash_seed)
    integers: dict[str, NDArray[Any]] = {
        ITEM_ROW: item_rows[item_codes],
        EVENT_TIME: numbers(table, TIMESTAMP),
        INPUT_ORDER: numbers(table, INPUT_ORDER),
    }
    for column in plan.columns.coded:
        codes, words = codes_and_values(table, column)
        # The task's own dictionary has other codes than the run's categories.
        new_codes = pc.index_in(words, pa.array(encoding.categories[column], pa.string())).fill_null(MISSING).to_numpy()
        # Position -1 of the longer array is MISSING, so that code MISSING stays MISSING.
        integers[EVENT_TYPE_CODE if column == EVENT_TYPE else column] = np.append(new_codes, np.int32(MISSING))[codes]
    return integers


@functools.lru_cache(maxsize=1)
def _mapped(output_uri: str, entry: FileEntry) -> ItemLookup:
    return ItemLookup.load(fetch(StepFolder(output_uri), entry))
