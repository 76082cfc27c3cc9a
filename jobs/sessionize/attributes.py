"""Attributes of users: the rows of the Users dataset, partitioned into the shards of their users."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hrnn.data.hashing import hash64
from jobs.platform.process.scratch import scratch_folder
from jobs.platform.spark.partition_rows import pack, unpack
from jobs.platform.storage.folders import StepFolder
from jobs.sessionize.plan import Slice
from schemas.columns import INPUT_ORDER, USER_ID
from schemas.manifest import FileEntry


@dataclass(frozen=True, kw_only=True)
class AttributesPlan:
    """The parameters of every task.

    Attributes:
        users_uri: Folder of the typed Users dataset.
        output_uri: Folder of the sequences.
        tasks: Slices that one task reads together.
        num_shards: Number of shards of users.
        hash_seed: The sequences' seed.
    """

    users_uri: str
    output_uri: str
    tasks: tuple[tuple[Slice, ...], ...]
    num_shards: int
    hash_seed: int


def send_attributes(plan: AttributesPlan, task: int) -> Iterator[tuple[int, bytes]]:
    """A message for each shard: the rows of its users that one task reads."""
    folder = StepFolder(plan.users_uri)
    with scratch_folder("attributes") as scratch:
        tables = [_read_slice(folder.fetch(piece.part, Path(scratch)), piece) for piece in plan.tasks[task]]
    table = pa.concat_tables(tables).combine_chunks()
    shards = (hash64(table[USER_ID], plan.hash_seed) % np.uint64(plan.num_shards)).astype(np.uint16)
    order = np.argsort(shards, kind="stable")
    bounds = np.searchsorted(shards[order], np.arange(plan.num_shards + 1))
    table = table.take(pa.array(order))
    for shard in range(plan.num_shards):  # an empty one too: it has the schema
        yield shard, pack([table.slice(bounds[shard], bounds[shard + 1] - bounds[shard])])


def write_attributes(plan: AttributesPlan, shard: int, bodies: Iterator[bytes]) -> bytes:
    """Write the rows of a shard's users: of several rows of one user, the last one. Returns the file's entry as JSON."""
    table = pa.concat_tables([unpack(body)[0] for body in bodies]).combine_chunks()
    hashes, order = hash64(table[USER_ID], plan.hash_seed), table[INPUT_ORDER].to_numpy()
    # Two users of one hash are told apart by their ids: nothing here relies on hashes being distinct.
    codes = table[USER_ID].combine_chunks().dictionary_encode().indices.to_numpy()
    by_user = np.lexsort((order, codes, hashes))  # rows of one user are neighbours, in the order of the input
    is_last = np.ones(len(by_user), np.bool_)
    is_last[:-1] = codes[by_user[1:]] != codes[by_user[:-1]]
    kept = table.take(pa.array(by_user[is_last])).drop_columns([INPUT_ORDER])
    folder = StepFolder(plan.output_uri)
    with scratch_folder("attributes") as scratch:
        local = Path(scratch) / "attributes.parquet"
        pq.write_table(kept, local, compression="zstd")
        entry = folder.put_file(local, folder.attempt_path(f"attributes/part-{shard:05d}.parquet"), kept.num_rows)
    return entry.model_dump_json().encode()


def attributes_entry(result: bytes) -> FileEntry:
    """The entry that `write_attributes` returned."""
    return FileEntry.model_validate_json(result)


def _read_slice(path: Path, piece: Slice) -> pa.Table:
    with pq.ParquetFile(path, memory_map=True) as file:
        return file.read_row_groups(piece.row_groups(file.num_row_groups), use_threads=False)
