"""Sequences in memory: every user's events in time order, as flat arrays, memory-mapped and shared by all ranks."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from hrnn.data.arrays import Flags, Rows, mapped_array
from hrnn.data.ragged import Ragged, offsets_of
from schemas import columns
from schemas.errors import DataError

_STORED = {
    "item_rows": (columns.ITEM_ROW, np.int32),
    "timestamps": (columns.EVENT_TIME, np.int64),
    "session_starts": (columns.SESSION_START, np.bool_),
    "event_types": (columns.EVENT_TYPE_CODE, np.int32),
}
_READY = "sequences.json"


@dataclass(frozen=True)
class Sequences:
    """Histories of U users over N items, flat. Events of a user are contiguous, oldest first.

    Attributes:
        user_offsets: int64 [U + 1]; user u's stored events are [user_offsets[u], user_offsets[u + 1]).
        item_rows: int32 [E].
        timestamps: int64 [E], UTC epoch seconds.
        session_starts: bool [E], first event of a session.
        event_types: int32 [E], codes.
        num_items: N, items without events included.
        kept: int64 [U] where histories are truncated: how many of each user's oldest events count. None: all.
    """

    user_offsets: Rows
    item_rows: npt.NDArray[np.int32]
    timestamps: Rows
    session_starts: npt.NDArray[np.bool_]
    event_types: npt.NDArray[np.int32]
    num_items: int
    kept: Rows | None = None

    @property
    def num_users(self) -> int:
        """U."""
        return len(self.user_offsets) - 1

    @property
    def num_events(self) -> int:
        """Events of all users, without truncated ones."""
        return int(self.history_lengths.sum())

    @property
    def history_lengths(self) -> Rows:
        """Events of each user, without truncated ones: int64 [U]."""
        return np.diff(self.user_offsets) if self.kept is None else self.kept

    def truncate(self, user_rows: Rows, keep_counts: Rows) -> Sequences:
        """The same arrays, with only the oldest `keep_counts` events of these users; nothing is copied but U numbers."""
        kept = self.history_lengths.copy()
        kept[user_rows] = np.minimum(kept[user_rows], keep_counts)
        return replace(self, kept=kept)

    def before(self, time: int) -> Sequences:
        """The same arrays, with only the events before a time, UTC epoch seconds."""
        num_before = np.diff(offsets_of(self.timestamps < time)[self.user_offsets])
        return replace(self, kept=np.minimum(self.history_lengths, num_before))

    def only(self, chosen: Flags) -> Sequences:
        """A subset of the events; all users stay, if with an empty history. A session begins with its first event that is left.

        Args:
            chosen: bool [E], which stored events are taken.
        """
        before = offsets_of(chosen)  # how many are taken before each stored event: the new place of every old bound
        session = np.cumsum(self.session_starts)[chosen]
        kept = None
        if self.kept is not None:
            begins = self.user_offsets[:-1]
            kept = before[begins + self.kept] - before[begins]
        return replace(
            self,
            user_offsets=before[self.user_offsets],
            item_rows=self.item_rows[chosen],
            timestamps=self.timestamps[chosen],
            session_starts=np.diff(session, prepend=-1) != 0,
            event_types=self.event_types[chosen],
            kept=kept,
        )

    def event_positions(self, user_rows: Rows) -> Ragged[np.int64]:
        """Positions of the events of B users, oldest first: [B] rows."""
        return Ragged.expand(self.user_offsets[:-1][user_rows], self.history_lengths[user_rows])

    def newest_positions(self, user_rows: Rows, most: int) -> Ragged[np.int64]:
        """Positions of at most so many of the newest events of B users, oldest first: [B] rows."""
        lengths = self.history_lengths[user_rows]
        num_read = np.minimum(lengths, most)
        return Ragged.expand(self.user_offsets[:-1][user_rows] + lengths - num_read, num_read)

    def last_items(self, user_rows: Rows) -> tuple[Rows, Rows]:
        """Places in `user_rows` of the users who have events, rising, and the item rows of their last ones: int64 each."""
        known, last = self.last_positions(user_rows)
        return known, self.item_rows[last].astype(np.int64)

    def last_positions(self, user_rows: Rows) -> tuple[Rows, Rows]:
        """Places in `user_rows` of the users who have events, rising, and the positions of their last ones: int64 each."""
        lengths = self.history_lengths[user_rows]
        known = np.flatnonzero(lengths)
        return known, (self.user_offsets[:-1][user_rows] + lengths - 1)[known]

    def item_counts(self) -> Rows:
        """Events of each item, without truncated ones: int64 [N]."""
        if self.kept is None:
            return np.bincount(self.item_rows, minlength=self.num_items).astype(np.int64)
        positions = self.event_positions(np.arange(self.num_users)).values
        return np.bincount(self.item_rows[positions], minlength=self.num_items).astype(np.int64)

    def save(self, folder: Path) -> None:
        """Write the arrays as .npy files; `load` sees them once all are there."""
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "user_offsets.npy", self.user_offsets)
        for name in _STORED:
            np.save(folder / f"{name}.npy", getattr(self, name))
        (folder / _READY).write_text(json.dumps({"num_items": self.num_items}))  # last: `load` begins with it

    @classmethod
    def load(cls, folder: Path) -> Sequences:
        """Map what `save` or `cache_shards` wrote; nothing is read before it is used."""
        metadata = json.loads((folder / _READY).read_text())
        arrays: dict[str, Any] = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in _STORED}
        return cls(np.load(folder / "user_offsets.npy"), **arrays, num_items=metadata["num_items"])


def unknown_user(num_items: int) -> Sequences:
    """The sequences of one user without events, over N items."""
    # One event is stored, of which `kept` leaves none: dead places read position 0, so that there must be one.
    zero, flag = np.zeros(1, dtype=np.int64), np.ones(1, dtype=np.bool_)
    return Sequences(np.asarray([0, 1]), zero.astype(np.int32), zero, flag, zero.astype(np.int32), num_items, kept=zero)


def cache_shards(shards: Iterable[tuple[Path, int, int, int]], num_items: int, folder: Path) -> None:
    """Convert Parquet shards into memory-mapped arrays, one shard in memory at a time.

    Args:
        shards: (local Parquet file, first user row, number of users, number of events), by rising user row, without holes.
        num_items: N.
        folder: A new folder.

    Raises:
        DataError: A shard's rows are not those that its manifest promises, or there are no events at all.
        OSError: The disk is full.
    """
    shards = list(shards)
    num_users = sum(users for _, _, users, _ in shards)
    num_events = sum(events for _, _, _, events in shards)
    if num_events == 0:
        raise DataError("the sequences hold no events", remedy="Check the validate step's rejected rows.")
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {name: mapped_array(folder / f"{name}.npy", kind, num_events) for name, (_, kind) in _STORED.items()}
    lengths = np.zeros(num_users, dtype=np.int64)
    done = 0
    for path, first_user_row, users, events in shards:
        table = pq.read_table(path, columns=[columns.USER_ROW, *(column for column, _ in _STORED.values())])
        user_rows = table[columns.USER_ROW].to_numpy()
        _check_shard(path, user_rows, first_user_row, users, events)
        lengths[first_user_row : first_user_row + users] = np.bincount(user_rows - first_user_row, minlength=users)
        for name, (column, _) in _STORED.items():
            arrays[name][done : done + events] = table[column].to_numpy()
        done += events
    for array in arrays.values():
        array.flush()
    # Checked here, for all that looks items up by their rows: one below 0 would read another item's numbers without a word.
    if int(arrays["item_rows"].max()) >= num_items or int(arrays["item_rows"].min()) < 0:
        raise DataError(
            "an event names an item row outside the catalogue",
            value=int(arrays["item_rows"].max()),
            allowed=f"0 to {num_items - 1}",
        )
    np.save(folder / "user_offsets.npy", offsets_of(lengths))
    (folder / _READY).write_text(json.dumps({"num_items": num_items}))


def load_shard(path: Path, first_user_row: int, num_users: int, num_events: int, num_items: int) -> Sequences:
    """One Parquet shard alone, in memory; its first user has row 0.

    Raises:
        DataError: Its rows are not those that its manifest promises.
    """
    table = pq.read_table(path, columns=[columns.USER_ROW, *(column for column, _ in _STORED.values())])
    user_rows = table[columns.USER_ROW].to_numpy()
    _check_shard(path, user_rows, first_user_row, num_users, num_events)
    lengths = np.bincount(user_rows - first_user_row, minlength=num_users)
    arrays: dict[str, Any] = {
        name: table[column].to_numpy(zero_copy_only=False).astype(kind) for name, (column, kind) in _STORED.items()
    }
    return Sequences(offsets_of(lengths), **arrays, num_items=num_items)


def _check_shard(path: Path, user_rows: Rows, first_user_row: int, users: int, events: int) -> None:
    in_order = bool((np.diff(user_rows) >= 0).all()) if len(user_rows) else True
    inside = len(user_rows) == 0 or (user_rows[0] >= first_user_row and user_rows[-1] < first_user_row + users)
    if len(user_rows) != events or not in_order or not inside:
        raise DataError(
            "the shard's rows are not those that its manifest names", where=path.name, remedy="Run sessionize again."
        )
