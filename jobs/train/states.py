"""Final hidden states of users after their histories: a file a shard, each made, hashed and stored by one of several processes.

Shards are those of the sequences, and a process makes whole ones: the files' bytes don't hang on how many processes there are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from hrnn.blend.snapshots import ServingSnapshot
from hrnn.data.metadata import Metadata
from hrnn.data.past_events import PastEvents, past_events
from hrnn.data.ragged import Ragged
from hrnn.data.sequences import Sequences
from hrnn.models.contract import Snapshot, UserStates
from hrnn.ranker.snapshot import RankedSnapshot
from jobs.platform.process.pool import process_pool
from jobs.platform.progress import Progress
from jobs.platform.storage.folders import StepFolder
from jobs.platform.storage.hashed import HashedFile
from jobs.solutions.staging import METADATA, Staged
from schemas import columns
from schemas.manifest import FileEntry

_USERS_AT_ONCE = 65_536
_EVENTS_A_PROCESS = 500_000  # whose states take as long as the start of a process
_RANKED_COSTS = 10  # times as much


@dataclass(frozen=True, kw_only=True)
class _Shard:
    """One file of states to write.

    Attributes:
        folder_uri, name: Where it goes.
        local: Where it is made.
        users: Parquet file with the ids, in user-row order.
        first, count: User rows.
    """

    folder_uri: str
    name: str
    local: Path
    users: Path
    first: int
    count: int


def write_states(
    folder: StepFolder, scratch: Path, model: Snapshot, sequences: Sequences, staged: Staged, processes: int = 1
) -> tuple[list[FileEntry], list[dict[str, Any]]]:
    """Write every user's state after their last event, in the shards of the sequences; returns files and facts.

    Args:
        folder: Of the solution version.
        scratch: A local folder.
        model: The snapshot that is served.
        sequences: All histories.
        staged: Where the sequences are staged.
        processes: How many make shards at the same time at most; 1, or where events are few: this one.

    Raises:
        MachineError: A process died.
    """
    shards = [
        _Shard(
            folder_uri=folder.uri,
            name=folder.attempt_path(f"states/part-{number:05d}.parquet"),
            local=scratch / f"states-{number}.parquet",
            users=users,
            first=int(facts["first_user_row"]),
            count=int(facts["num_users"]),
        )
        for number, (facts, users) in enumerate(zip(staged.shards, staged.users, strict=True))
    ]
    enough = max(1, _EVENTS_A_PROCESS // (_RANKED_COSTS if isinstance(model, RankedSnapshot) else 1))
    processes = min(processes, len(shards), sequences.num_events // enough)
    if processes > 1 and isinstance(
        model, RankedSnapshot | ServingSnapshot
    ):  # with other models, states cost less than a process
        with process_pool(processes, "made the states of users", _begin, type(model), model.parts, staged.arrays) as pool:
            entries = _all_of(pool.map(_write_here, shards), shards)
    else:
        entries = _all_of((_write(shard, model, sequences) for shard in shards), shards)
    shard_facts = [
        {"states": entry.path, "first_user_row": shard.first, "num_users": shard.count}
        for entry, shard in zip(entries, shards, strict=True)
    ]
    return entries, shard_facts


def _all_of(entries: Iterable[FileEntry], shards: list[_Shard]) -> list[FileEntry]:
    """The files of the shards, one after the other."""
    written = []
    with Progress(sum(shard.count for shard in shards), "users", "states") as bar:
        for shard, entry in zip(shards, entries, strict=True):
            written.append(entry)
            bar.update(shard.count)
    return written


def states_table(
    user_ids: pa.Array, user_rows: np.ndarray[Any, np.dtype[np.int64]], states: UserStates, past: PastEvents
) -> pa.Table:
    """One row a user, as `recommend` reads it."""
    query = states.query.numpy()
    width = query.shape[1]
    return pa.table(
        {
            columns.USER_ID: user_ids,
            columns.USER_ROW: pa.array(user_rows),
            columns.QUERY: pa.FixedSizeListArray.from_arrays(pa.array(query.reshape(-1)), width)
            if width
            else pa.array([[]] * len(user_rows), pa.list_(pa.float32())),
            columns.SPARSE_ITEM_ROWS: Ragged(states.sparse.offsets, states.sparse.item_rows).to_arrow(),
            columns.SPARSE_SCORES: Ragged(states.sparse.offsets, states.sparse.scores).to_arrow(),
            columns.PAST_ITEM_ROWS: Ragged(past.offsets, past.item_rows).to_arrow(),
            columns.PAST_EVENT_TYPES: Ragged(past.offsets, past.event_types).to_arrow(),
            columns.PAST_RANKS: Ragged(past.offsets, past.ranks).to_arrow(),
        }
    )


def _write(shard: _Shard, model: Snapshot, sequences: Sequences) -> FileEntry:
    """Make a shard's file and store it."""
    user_ids = pq.read_table(shard.users, columns=[columns.USER_ID])[columns.USER_ID].combine_chunks()
    writer: pq.ParquetWriter | None = None
    with HashedFile(shard.local) as file:
        for begin in range(0, max(shard.count, 1), _USERS_AT_ONCE):
            end = min(begin + _USERS_AT_ONCE, shard.count)
            rows = np.arange(shard.first + begin, shard.first + end, dtype=np.int64)
            states, past = model.user_states(sequences, rows), past_events(sequences, rows)
            table = states_table(user_ids.slice(begin, len(rows)), rows, states, past)
            writer = writer or pq.ParquetWriter(file, table.schema, compression="zstd")
            writer.write_table(table)
        assert writer is not None
        writer.close()
    entry = StepFolder(shard.folder_uri).put_file(shard.local, shard.name, rows=shard.count, sha256=file.sha256)
    shard.local.unlink()
    return entry


_held: list[tuple[Snapshot, Sequences]] = []  # in such a process: what it makes states of


def _begin(kind: type[RankedSnapshot | ServingSnapshot], parts: tuple[Any, ...], arrays: Path) -> None:
    torch.set_num_threads(1)  # as in the process that started this one: the last bits of a sum depend on it
    sequences = Sequences.load(arrays)
    _held.append((kind.of_parts(parts, sequences, Metadata.load(arrays / METADATA)), sequences))


def _write_here(shard: _Shard) -> FileEntry:
    return _write(shard, *_held[0])
