"""What receivers do with the messages of parts: find duplicates, then count the events of users and items."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from hrnn.data.arrays import Rows
from hrnn.data.hashing import Hashes, hash64
from hrnn.data.histories import event_order
from jobs.platform.spark.partition_rows import partition_rows, unpack, widen
from jobs.validate.clocks import DAYS, Limits, find_wrong
from jobs.validate.duplicates import Duplicates, equal_events, equal_ids, sort_by_dropped, write_duplicates
from jobs.validate.figures import History, item_figures, sample_of, user_figures
from jobs.validate.keys import HASH, ID, ITEM, ROW_HASH, SECOND_HASH, USER, encode, kind_of, owners_of
from jobs.validate.plan import FILE_SHIFT, ImportPlan
from schemas.columns import INPUT_ORDER, NUM_EVENTS, TIMESTAMP

Messages = dict[str, list[list[pa.Table]]]


def relay(plan: ImportPlan, own: int, bodies: Iterator[bytes]) -> Iterator[tuple[int, bytes]]:
    """The first receivers' (receiver, message) pairs; the last receiver only passes messages on.

    Each finds the duplicates among the rows of its partition, and the events whose times cannot be true, and sends figures of
    them to the driver, and what is left to the receivers of items.
    """
    messages = _opened(bodies)
    driver = plan.num_receivers
    if own == plan.num_receivers:
        for tables in messages.get("answer", []):
            yield driver, encode("answer", tables)
        for tables in messages.get("items", []):
            yield from _to_item_receivers(plan, tables[0].column(HASH).to_numpy(), tables[0], "reference")
        return
    if not plan.has_events:
        yield driver, answer_message(_descriptions(plan, own, messages))
        return
    events = _joined(messages.get("events", []))
    dropped, kept = equal_events(events.history.users, events.history.times, events.history.items, events.rests)
    order = events.history.input_order
    duplicates = sort_by_dropped(Duplicates(order[dropped], order[kept]))
    history = events.history.without(dropped)
    wrong = find_wrong(history, Limits.of(messages.get(DAYS, []), plan.now), plan, own)
    if plan.rejects_wrong_times:
        history = history.without(wrong.positions)
    references = [tables[0].column(HASH).to_numpy() for tables in messages.get("users", [])]
    figures = user_figures(history, plan.gap_seconds, np.concatenate(references) if references else None)
    of_times = {"wrong_times": wrong.summaries, "rejected": None if wrong.entry is None else wrong.entry.model_dump()}
    yield driver, answer_message({**_recorded(duplicates, plan, own), **of_times, "figures": figures})
    counts = np.bincount(history.items, minlength=len(history.item_ids))
    items = pa.table({ID: history.item_ids, NUM_EVENTS: counts}).filter(pa.array(counts > 0))
    yield from _to_item_receivers(plan, hash64(items.column(ID)), items, "counts")


def receive(plan: ImportPlan, with_references: bool, own: int, bodies: Iterator[bytes]) -> bytes:
    """Figures of the partition's items, as JSON; from the last receiver all answers, one JSON document a line."""
    messages = _opened(bodies)
    if own == plan.num_receivers:
        return b"\n".join(tables[0].column("answer")[0].as_py() for tables in messages.get("answer", []))
    counts = [tables[0] for tables in messages.get("counts", [])]
    references = [tables[0].column(HASH).to_numpy() for tables in messages.get("reference", [])]
    known = np.unique(np.concatenate(references)) if references else np.empty(0, np.uint64)
    return json.dumps(item_figures(counts, known if with_references else None)).encode()


def _opened(bodies: Iterable[bytes]) -> Messages:
    messages: Messages = {}
    for body in bodies:
        tables = unpack(body)
        messages.setdefault(kind_of(tables), []).append(tables)
    return messages


def answer_message(document: dict[str, Any]) -> bytes:
    """A message for the driver."""
    return encode("answer", [pa.table({"answer": pa.array([json.dumps(document).encode()], pa.binary())})])


def _to_item_receivers(plan: ImportPlan, hashes: Hashes, table: pa.Table, kind: str) -> Iterator[tuple[int, bytes]]:
    for partition in partition_rows(np.arange(len(hashes)), owners_of(hashes, plan.num_receivers), plan.num_receivers):
        yield partition.target, encode(kind, [table.take(pa.array(partition.rows))])


def _descriptions(plan: ImportPlan, own: int, messages: Messages) -> dict[str, Any]:
    """Users, items or actions: which are described twice, and a sample of their hashes."""
    tables = [tables[0] for tables in messages.get("keys", [])]
    if not tables:
        return {"figures": {"sample": []}}
    hashes, second = (np.concatenate([table.column(name).to_numpy() for table in tables]) for name in (HASH, SECOND_HASH))
    duplicates = equal_ids(hashes, second, np.concatenate([widen(table, INPUT_ORDER) for table in tables]))
    return {**_recorded(duplicates, plan, own), "figures": {"sample": sample_of(hashes)}}


def _recorded(duplicates: Duplicates, plan: ImportPlan, own: int) -> dict[str, Any]:
    """Duplicates as the driver gets them: the file they are in, and rows by number of the CSV file."""
    entry = write_duplicates(duplicates, plan, own)
    files, rows = np.unique(duplicates.dropped >> FILE_SHIFT, return_counts=True)
    return {
        "entry": None if entry is None else entry.model_dump(),
        "duplicates": list(zip(files.tolist(), rows.tolist(), strict=True)),
    }


@dataclass(frozen=True)
class _Events:
    history: History
    rests: Hashes | None


def _joined(messages: list[list[pa.Table]]) -> _Events:
    """All messages' events, sorted by user, time and place in the input."""
    hashes = [tables[1].column(HASH).to_numpy() for tables in messages]
    ids = pa.concat_arrays(
        [pa.array([], pa.string()), *(chunk for tables in messages for chunk in tables[2].column(ID).chunks)]
    )
    encoded: Any = ids.dictionary_encode()
    user_hashes, users_of = np.unique(np.concatenate([np.empty(0, np.uint64), *hashes]), return_inverse=True)
    items_of = encoded.indices.to_numpy()
    users, items = _spread(messages, USER, users_of, 1), _spread(messages, ITEM, items_of, 2)
    times, input_order = (
        np.concatenate([np.empty(0, np.int64), *(widen(tables[0], name) for tables in messages)])
        for name in (TIMESTAMP, INPUT_ORDER)
    )
    order = event_order(users, times, input_order)
    rests = None
    if messages and ROW_HASH in messages[0][0].column_names:
        rests = np.concatenate([tables[0].column(ROW_HASH).to_numpy() for tables in messages])[order]
    history = History(
        users=users[order],
        items=items[order],
        times=times[order],
        input_order=input_order[order],
        user_hashes=user_hashes,
        item_ids=encoded.dictionary,
    )
    return _Events(history, rests)


def _spread(messages: list[list[pa.Table]], column: str, values: Any, place: int) -> Rows:
    """A message's codes, each a position in its own table at `place`, as positions among all messages' values."""
    positions, first = [np.empty(0, np.int64)], 0
    for tables in messages:
        positions.append(values[widen(tables[0], column) + first])
        first += tables[place].num_rows
    return np.concatenate(positions).astype(np.int64, copy=False)
