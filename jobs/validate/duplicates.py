"""Rows that are there twice: found by their receivers, recorded, and left out of the parts.

Events that are equal in all fields count once: the first one stays. Of several descriptions of one user, item or action
the last one stays.
"""

from __future__ import annotations

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
from hrnn.data.hashing import Hashes
from jobs.platform.process.scratch import scratch_folder
from jobs.platform.storage.folders import StepFolder
from jobs.validate.plan import FILE_SHIFT, ImportPlan
from schemas.columns import INPUT_ORDER
from schemas.manifest import FileEntry

_LINE = (1 << FILE_SHIFT) - 1


@dataclass(frozen=True)
class Duplicates:
    """Rows that go, and for each the row that stays: both as INPUT_ORDER, int64."""

    dropped: Rows
    kept: Rows


def equal_events(users: Rows, times: Rows, items: Rows, rests: Hashes | None) -> tuple[Rows, Rows]:
    """Events that repeat an earlier one, of sorted events.

    Args:
        users, times: Sorted by user, time and place in the input, [events].
        items: Parallel to them.
        rests: Hash of all other fields; None where there are none.

    Returns:
        Positions of those that repeat one, ascending, and of the first of their kind.
    """
    same = np.zeros(len(users) + 1, np.bool_)
    same[1:-1] = (users[1:] == users[:-1]) & (times[1:] == times[:-1])
    tied = np.flatnonzero(same[1:] | same[:-1])  # share user and time with a neighbour
    if not len(tied):
        return tied, tied
    moment = np.cumsum(~same[tied])  # numbers the runs of equal user and time
    keys = [items[tied], moment] if rests is None else [rests[tied], items[tied], moment]
    order = np.lexsort(keys)  # stable: within equal keys the input's order stays
    repeats = np.ones(len(order), np.bool_)
    repeats[0] = False
    for key in keys:
        sorted_key = key[order]
        repeats[1:] &= sorted_key[1:] == sorted_key[:-1]
    firsts = np.maximum.accumulate(np.where(repeats, 0, np.arange(len(order))))
    dropped, kept = tied[order[repeats]], tied[order[firsts[repeats]]]
    ascending = np.argsort(dropped)
    return dropped[ascending], kept[ascending]


def equal_ids(hashes: Hashes, second: Hashes, input_order: Rows) -> Duplicates:
    """Rows whose id a later row has too, and that later row."""
    order = np.lexsort((input_order, second, hashes))
    is_last = np.ones(len(order), np.bool_)
    is_last[:-1] = (hashes[order[1:]] != hashes[order[:-1]]) | (second[order[1:]] != second[order[:-1]])
    lasts = np.flatnonzero(is_last)
    keeper = lasts[np.searchsorted(lasts, np.flatnonzero(~is_last))]
    return sort_by_dropped(Duplicates(input_order[order[~is_last]], input_order[order[keeper]]))


def sort_by_dropped(duplicates: Duplicates) -> Duplicates:
    """The same duplicates, by INPUT_ORDER of the dropped rows."""
    order = np.argsort(duplicates.dropped)
    return Duplicates(duplicates.dropped[order], duplicates.kept[order])


def write_duplicates(duplicates: Duplicates, plan: ImportPlan, receiver: int) -> FileEntry | None:
    """Write them as Parquet: file and line for people, INPUT_ORDER for rewriting parts; None where there are none."""
    if not len(duplicates.dropped):
        return None
    names = pa.array(plan.file_names, pa.string())
    table = pa.table(
        {
            "file": names.take(pa.array(duplicates.dropped >> FILE_SHIFT)),
            "line": duplicates.dropped & _LINE,
            "kept_file": names.take(pa.array(duplicates.kept >> FILE_SHIFT)),
            "kept_line": duplicates.kept & _LINE,
            INPUT_ORDER: duplicates.dropped,
        }
    )
    folder = StepFolder(plan.output_uri)
    with scratch_folder("duplicates") as scratch:
        local = Path(scratch) / "duplicates.parquet"
        pq.write_table(table, local, compression="zstd")
        return folder.put_file(local, folder.attempt_path(f"duplicates/part-{receiver:05}.parquet"), table.num_rows)


def send_dropped(plan: ImportPlan, entries: tuple[FileEntry, ...], number: int) -> Iterator[tuple[int, bytes]]:
    """(part, INPUT_ORDER of rows that go as bytes) of one file of duplicates, or of rows that were rejected afterwards."""
    folder = StepFolder(plan.output_uri)
    with scratch_folder("duplicates") as scratch:
        table: Any = pq.read_table(folder.fetch(entries[number], Path(scratch)))
    dropped = table.column(INPUT_ORDER).to_numpy() if INPUT_ORDER in table.column_names else _orders(table, plan)
    parts = plan.parts_of(dropped)
    for part in np.unique(parts).tolist():
        yield part, dropped[parts == part].tobytes()


def _orders(rejected: pa.Table, plan: ImportPlan) -> Rows:
    """INPUT_ORDER of rejected rows, all of them of files that this import reads."""
    first_new = plan.first_new_order >> FILE_SHIFT
    names = pa.array(plan.file_names[first_new:], pa.string())
    files: Rows = pc.index_in(rejected.column("file"), names).to_numpy().astype(np.int64) + first_new
    return np.sort(files << FILE_SHIFT | rejected.column("line").to_numpy())


def without(table: pa.Table, dropped: NDArray[np.int64]) -> pa.Table:
    """The rows of a part that stay."""
    stays = ~np.isin(table.column(INPUT_ORDER).to_numpy(), dropped)
    return table.filter(pa.array(stays))
