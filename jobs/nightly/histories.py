"""Data behind a night's page: counts over time from the sequences, and three users with their lists."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from hrnn.data.hashing import hash64
from jobs.compare.reading import read_answer
from jobs.platform.storage import store_for
from jobs.platform.storage.folders import StepFolder
from jobs.reports.axes import day_of
from jobs.reports.parts import Recommendation, SessionPart, UserPart
from schemas.columns import EVENT_TIME, ITEM_ID, ITEM_ROW, NUM_EVENTS, NUM_USERS, SESSION_START, USER_ID, USER_ROW
from schemas.datasets import DatasetSchema
from schemas.manifest import Manifest

MOST_EVENTS = 5_000_000  # events read for the page; beyond, the plots show the first shards, whose users are drawn by hash
_HEAD_BYTES = 1 << 20  # of the batch output that is looked through for users
_DAY_SECONDS = 86_400
_SHOWN_SESSIONS, _SHOWN_ITEMS, _SHOWN_RECOMMENDATIONS = 2, 6, 10
_TITLE_NAMES = ("TITLE", "NAME", "ITEM_NAME", "PRODUCT_NAME")


@dataclass(frozen=True)
class Histories:
    """The events of some or all shards.

    Attributes:
        share: Share of all events that was read, 0 to 1.
        num_shards: Of the sequences.
        hash_seed: Of the users' hashes.
        item_rows, times: [events].
        starts: [events], bool: first event of a session.
        users: User id -> (first event, event after the last).
        catalogue: Item ids and counts, by item row.
        titles: By item row; the item id where there is no title.
    """

    share: float
    num_shards: int
    hash_seed: int
    item_rows: npt.NDArray[np.int64]
    times: npt.NDArray[np.int64]
    starts: npt.NDArray[np.bool_]
    users: dict[str, tuple[int, int]]
    catalogue: pa.Table
    titles: list[str]

    def events_by_day(self) -> dict[date, int]:
        """UTC day -> events."""
        days, counts = np.unique(self.times // _DAY_SECONDS, return_counts=True)
        return {day_of(int(day) * _DAY_SECONDS): int(count) for day, count in zip(days, counts, strict=True)}

    def session_lengths(self) -> npt.NDArray[np.int64]:
        """Events of each session."""
        return np.diff(np.append(np.flatnonzero(self.starts), len(self.starts)))

    def events_by_rank(self) -> npt.NDArray[np.int64]:
        """Events of each item that has any, most frequent first; of all events, read or not."""
        counts: npt.NDArray[np.int64] = self.catalogue[NUM_EVENTS].to_numpy()
        return counts[counts > 0]


def read_histories(folder: StepFolder, manifest: Manifest, items: DatasetSchema | None, scratch: Path) -> Histories:
    """Fetch the catalogue and as many shards as MOST_EVENTS allows.

    Args:
        folder: The sequences' folder.
        manifest: Its manifest.
        items: Schema of the Items dataset, which may name a title column.
        scratch: A local folder for copies.
    """
    facts = manifest.metadata
    catalogue = pq.read_table(folder.fetch(manifest.file(facts["catalogue"]), scratch))
    read: list[dict[str, Any]] = []
    for shard in facts["shards"]:
        if read and sum(each["num_events"] for each in read) + shard["num_events"] > MOST_EVENTS:
            break
        read.append(shard)
    events: list[pa.Table] = []
    users: dict[str, tuple[int, int]] = {}
    begin = 0
    for shard in read:
        columns = [USER_ROW, ITEM_ROW, EVENT_TIME, SESSION_START]
        table = pq.read_table(folder.fetch(manifest.file(shard["events"]), scratch), columns=columns)
        ids = pq.read_table(folder.fetch(manifest.file(shard["users"]), scratch), columns=[USER_ID])[USER_ID].to_pylist()
        # Events lie user by user: where each one ends, counted over all shards that are read.
        rows = table[USER_ROW].to_numpy()
        ends = np.searchsorted(rows, np.arange(len(ids)) + shard["first_user_row"], side="right") + begin
        users.update(zip(ids, zip([begin, *ends[:-1].tolist()], ends.tolist(), strict=True), strict=True))
        events.append(table)
        begin += table.num_rows
    whole = pa.concat_tables(events)
    return Histories(
        share=whole.num_rows / max(1, manifest.counts["events"]),
        num_shards=len(facts["shards"]),
        hash_seed=facts["hash_seed"],
        item_rows=whole[ITEM_ROW].to_numpy(),
        times=whole[EVENT_TIME].to_numpy(),
        starts=whole[SESSION_START].to_numpy(zero_copy_only=False),
        users=users,
        catalogue=catalogue.select([ITEM_ID, NUM_EVENTS, NUM_USERS]),
        titles=_titles(catalogue, items),
    )


def title_column(items: DatasetSchema | None) -> str | None:
    """The column that names items for people: marked `itemName`, else textual, else one that is called so."""
    if items is None:
        return None
    fields = items.metadata
    marked = [field.name for field in fields if field.item_name] or [field.name for field in fields if field.textual]
    named = [field.name for field in fields if field.kind == "text" and field.name.upper() in _TITLE_NAMES]
    return next(iter([*marked, *named]), None)


def _titles(catalogue: pa.Table, items: DatasetSchema | None) -> list[str]:
    ids: list[str] = catalogue[ITEM_ID].to_pylist()
    column = title_column(items)
    if column is None or column not in catalogue.column_names:
        return ids
    return [str(title) if title else item for item, title in zip(ids, catalogue[column].to_pylist(), strict=True)]


def three_users(histories: Histories, out_uris: Sequence[str], whole_history: bool) -> tuple[UserPart, ...]:
    """Three users of a batch output whose histories are neither the shortest nor the longest, with their lists.

    Args:
        histories: What was read of the sequences.
        out_uris: `.out` objects; the first that has lists for users is taken.
        whole_history: A history is one session; events are then shown by day.
    """
    lists_by_output = ({user: listed for user, listed in _lists(uri) if user in histories.users} for uri in out_uris)
    lists = next(filter(None, lists_by_output), {})
    # By length, ties by hash: the same three users in every run, and neither the shortest nor the longest histories.
    lengths = {user: histories.users[user][1] - histories.users[user][0] for user in lists}
    ordered = sorted(lists, key=lambda user: (lengths[user], int(hash64(pa.array([user]), histories.hash_seed)[0])))
    chosen = [ordered[int(len(ordered) * share)] for share in (0.5, 0.7, 0.9)] if len(ordered) >= 10 else ordered[:3]
    rows = {item: row for row, item in enumerate(histories.catalogue[ITEM_ID].to_pylist())}
    return tuple(_user(histories, user, lists[user], rows, whole_history) for user in chosen)


def _lists(out_uri: str) -> Iterator[tuple[str, list[str]]]:
    """User id and recommended items of the whole lines at the head of a batch output."""
    store = store_for(out_uri)
    stored = store.stat(out_uri)
    if stored is None or stored.size == 0:  # S3 refuses to read a range of nothing
        return
    for line in store.read(out_uri, 0, _HEAD_BYTES).split(b"\n")[:-1]:
        answer = read_answer(line, out_uri)
        if answer.kind == "items" and isinstance(answer.input, dict) and "userId" in answer.input:
            yield answer.input["userId"], answer.ids


def _user(histories: Histories, user: str, listed: list[str], rows: dict[str, int], whole_history: bool) -> UserPart:
    begin, end = histories.users[user]
    items, times, starts = (part[begin:end] for part in (histories.item_rows, histories.times, histories.starts))
    if whole_history:  # one session says nothing of when things happened: days take the place of sessions
        starts = np.append(True, np.diff(times // _DAY_SECONDS) != 0)
    edges = [*np.flatnonzero(starts).tolist(), end - begin]
    taken = set(items.tolist())
    sessions = tuple(
        SessionPart(
            day=day_of(int(times[first])).strftime("%d %b %Y"),
            items=tuple(histories.titles[row] for row in items[first : min(after, first + _SHOWN_ITEMS)]),
            more=max(0, after - first - _SHOWN_ITEMS),
        )
        for first, after in list(pairwise(edges))[: -_SHOWN_SESSIONS - 1 : -1]
    )
    recommendations = tuple(
        Recommendation(title=histories.titles[rows[item]], taken=rows[item] in taken)
        for item in listed[:_SHOWN_RECOMMENDATIONS]
    )
    word = "day" if whole_history else "session"
    summary = f"{end - begin:,} events in {len(edges) - 1:,} {word}{'' if len(edges) == 2 else 's'}"
    return UserPart(user_id=user, summary=summary, sessions=sessions, recommendations=recommendations)
