"""Small sequences for tests: from written-out sessions, or random ones."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from hrnn.data.hashing import hash64
from hrnn.data.ragged import offsets_of
from hrnn.data.sequences import Sequences
from hrnn.data.sparse_scores import SparseScores
from hrnn.models.contract import UserStates
from jobs.platform.storage.folders import StepFolder
from schemas import columns

MINUTE, DAY = 60, 86_400


def sequences_of(histories: list[list[list[int]]], num_items: int | None = None, day_of_session: bool = True) -> Sequences:
    """One history a user, a history a list of sessions, a session a list of item rows; a minute between events.

    Sessions begin a day apart where `day_of_session`, else all events of everybody share one second.
    """
    items, starts, times, lengths = [], [], [], []
    for history in histories:
        lengths.append(sum(map(len, history)))
        for number, session in enumerate(history):
            items += session
            starts += [True] + [False] * (len(session) - 1)
            times += [number * DAY + step * MINUTE if day_of_session else 0 for step in range(len(session))]
    return Sequences(
        user_offsets=offsets_of(lengths),
        item_rows=np.asarray(items, dtype=np.int32),
        timestamps=np.asarray(times, dtype=np.int64),
        session_starts=np.asarray(starts, dtype=np.bool_),
        event_types=np.zeros(len(items), dtype=np.int32),
        num_items=num_items if num_items is not None else max(items, default=-1) + 1,
    )


def random_histories(num_users: int, num_items: int, seed: int = 0) -> list[list[list[int]]]:
    """Users with one to five sessions of one to six events."""
    random = np.random.default_rng(seed)
    return [
        [random.integers(0, num_items, random.integers(1, 7)).tolist() for _ in range(random.integers(1, 6))]
        for _ in range(num_users)
    ]


def circular_histories(num_users: int, num_items: int, seed: int = 0) -> list[list[list[int]]]:
    """Everybody goes round the items in order: after item i comes item i + 1, so the right answer is plain to see."""
    random = np.random.default_rng(seed)
    histories = []
    for _ in range(num_users):
        first = int(random.integers(num_items))
        walk = [(first + step) % num_items for step in range(int(random.integers(8, 20)))]
        cut = len(walk) // 2
        histories.append([walk[:cut], walk[cut:]])
    return histories


def publish_sequences(
    sequences: Sequences,
    uri: str,
    scratch: Path,
    num_shards: int = 2,
    fingerprint: str = "a" * 64,
    event_types: tuple[str, ...] = ("x",),
    genres: list[str] | None = None,
    created: list[int] | None = None,
    user_ids: list[str] | None = None,
    values: list[float | None] | None = None,
) -> str:
    """Write a sequences folder as `hrnn sessionize` does; users are called "user 0", items "item 0", and so on.

    `genres` makes a column GENRES of the items, `created` CREATION_TIMESTAMP; `user_ids` are other names; `values`
    are the events' EVENT_VALUE.
    """
    folder, local = StepFolder(uri), scratch / "part.parquet"
    users = np.repeat(np.arange(sequences.num_users), np.diff(sequences.user_offsets))
    bounds = np.linspace(0, sequences.num_users, num_shards + 1).astype(int)
    files, shards = [], []
    for number, (first, last) in enumerate(pairwise(bounds)):
        part = slice(sequences.user_offsets[first], sequences.user_offsets[last])
        events = {
            columns.USER_ROW: users[part],
            columns.ITEM_ROW: sequences.item_rows[part].astype(np.int64),
            columns.EVENT_TIME: sequences.timestamps[part],
            columns.SESSION_START: sequences.session_starts[part],
            columns.EVENT_TYPE_CODE: sequences.event_types[part],
        }
        if values is not None:
            events[columns.EVENT_VALUE] = pa.array(values[part], pa.float32())
        pq.write_table(pa.table(events), local)
        files.append(folder.put_file(local, folder.attempt_path(f"shards/part-{number:05d}.parquet")))
        rows = np.arange(first, last)
        names = user_ids[first:last] if user_ids else [f"user {row}" for row in rows]
        pq.write_table(pa.table({columns.USER_ID: names, columns.USER_ROW: rows}), local)
        files.append(folder.put_file(local, folder.attempt_path(f"users/part-{number:05d}.parquet")))
        shards.append(
            {
                "events": files[-2].path,
                "users": files[-1].path,
                "first_user_row": int(first),
                "num_users": int(last - first),
                "num_events": int(part.stop - part.start),
                "num_sessions": int(sequences.session_starts[part].sum()),
            }
        )
    last_times = np.zeros(sequences.num_items, dtype=np.int64)
    np.maximum.at(last_times, sequences.item_rows, sequences.timestamps)
    pairs = np.unique(users * sequences.num_items + sequences.item_rows)
    catalogue = {
        columns.ITEM_ID: [f"item {row}" for row in range(sequences.num_items)],
        columns.ITEM_ROW: np.arange(sequences.num_items),
        columns.NUM_EVENTS: np.bincount(sequences.item_rows, minlength=sequences.num_items),
        columns.NUM_USERS: np.bincount(pairs % sequences.num_items, minlength=sequences.num_items),
        columns.LAST_TIME: last_times,
    }
    told = {"GENRES": genres, columns.CREATION_TIMESTAMP: created}
    pq.write_table(pa.table(catalogue | {name: values for name, values in told.items() if values}), local)
    files.append(folder.put_file(local, folder.attempt_path("catalogue.parquet")))
    facts = {"shards": shards, "catalogue": files[-1].path, "event_types": [*event_types], "hash_seed": 0, "gap_seconds": 1800}
    facts["newest_event"] = int(sequences.timestamps.max())
    folder.publish("sequences", fingerprint, {}, [], files, metadata=facts)
    return folder.uri


def names_of_two_shards(num_users: int) -> list[str]:
    """Names of users of whom the first half are dealt to shard 0, and the others to shard 1."""
    names = np.asarray([f"someone {number}" for number in range(10 * num_users)])
    shards = hash64(pa.array(names), 0) % np.uint64(2)
    return [str(name) for shard in range(2) for name in names[shards == shard][: num_users // 2]]


def without_sparse_scores(query: torch.Tensor) -> UserStates:
    """States of a model that has a query for users, and no more."""
    return UserStates(query, SparseScores.none(len(query)))
