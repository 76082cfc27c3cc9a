"""The catalogue: items in falling order of events with their metadata, and the item lookup that tasks map."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from hrnn.data.hashing import Hashes, hash64
from hrnn.data.plausible import earliest_beside
from jobs.platform.process.scratch import scratch_folder
from jobs.platform.storage.folders import StepFolder
from schemas.columns import (
    CREATION_TIMESTAMP,
    FIRST_TIME,
    INPUT_ORDER,
    ITEM_ID,
    ITEM_ROW,
    LAST_TIME,
    NUM_EVENTS,
    NUM_USERS,
)
from schemas.errors import DataError, SchemaError
from schemas.manifest import Manifest

_OWN_COLUMNS = {ITEM_ROW, NUM_EVENTS, NUM_USERS, FIRST_TIME, LAST_TIME}


@dataclass(frozen=True)
class ItemLookup:
    """Item rows by the hash of the item's id; hashes of a catalogue are distinct.

    Attributes:
        hashes: uint64 [N], ascending.
        rows: int32 [N], item row of each hash.
        id_ranks: int32 [N], by item row: place of the item among all ids in ascending order.
    """

    hashes: Hashes
    rows: NDArray[np.int32]
    id_ranks: NDArray[np.int32]

    @classmethod
    def of(cls, ids: pa.Array, seed: int) -> ItemLookup | None:
        """The lookup of a catalogue's ids, given by item row; None where two of them have one hash under this seed."""
        hashes = hash64(ids, seed)
        rows = np.argsort(hashes).astype(np.int32)
        hashes = hashes[rows]
        if (hashes[1:] == hashes[:-1]).any():
            return None
        id_ranks = np.empty(len(ids), np.int32)
        id_ranks[_ascending(ids)] = np.arange(len(ids), dtype=np.int32)
        return cls(hashes, rows, id_ranks)

    def rows_of(self, ids: pa.Array, seed: int) -> NDArray[np.int32]:
        """int32 item row of each id; every id must be in the catalogue."""
        hashes = hash64(ids, seed)
        positions = np.minimum(np.searchsorted(self.hashes, hashes), len(self.hashes) - 1)
        assert (self.hashes[positions] == hashes).all(), "an item is not in the catalogue"
        return self.rows[positions]

    def save(self, path: Path) -> None:
        """Write it as an Arrow file that `load` maps."""
        table = pa.table({"hash": self.hashes, "row": self.rows, "id_rank": self.id_ranks})
        with pa.ipc.new_file(path, table.schema) as writer:
            writer.write_table(table)

    @classmethod
    def load(cls, path: Path) -> ItemLookup:
        """Map a saved lookup; processes of one machine share its memory."""
        with pa.memory_map(str(path)) as source:
            table = pa.ipc.open_file(source).read_all()
        return cls(*(table[column].to_numpy() for column in ("hash", "row", "id_rank")))


def read_items(folder: StepFolder, manifest: Manifest) -> pa.Table:
    """The Items dataset, one row an id: of several rows of one id, the last one.

    Raises:
        DataError: There is no item.
        IntegrityError: A part differs from what its manifest promises.
        SchemaError: A metadata column bears a name that the catalogue gives to a column of its own.
    """
    with scratch_folder("items") as scratch:
        parts = [pq.read_table(folder.fetch(part, Path(scratch))) for part in manifest.files_below("data") if part.rows]
    if not parts:
        raise DataError("the dataset holds no items", where=folder.uri, remedy="See the rows that validate rejected.")
    table = pa.concat_tables(parts).sort_by(INPUT_ORDER).drop_columns([INPUT_ORDER]).combine_chunks()
    if taken := _OWN_COLUMNS.intersection(table.schema.names):
        raise SchemaError(
            "the catalogue has a column of this name itself",
            where="Items schema",
            value=min(taken),
            remedy="Rename the column in the schema and in the CSV header, then validate again.",
        )
    codes = pc.dictionary_encode(table[ITEM_ID].combine_chunks()).indices.to_numpy()
    newest = np.zeros(codes.max(initial=-1) + 1, np.int64)
    np.maximum.at(newest, codes, np.arange(len(codes)))
    return table.take(pa.array(np.sort(newest)))


def make_catalogue(statistics: pa.Table, items: pa.Table | None, newest_event: int) -> pa.Table:
    """Items in the order of their rows, those without events last, with the metadata of the Items dataset.

    Args:
        statistics: ITEM_ID, num_events, first_timestamp, last_timestamp of every item with events, in any order.
        items: The Items dataset, one row an id, or None.
        newest_event: Time of the newest plausible event, UTC epoch seconds.

    Returns:
        ITEM_ID, item_row, num_events, first_timestamp, last_timestamp, CREATION_TIMESTAMP, metadata. An item without a
        creation time, or with an implausible one (a null written as a number), was created at its first event; without events,
        at the newest event of all.
    """
    if items is not None:
        eventless = items.filter(pc.invert(pc.is_in(items[ITEM_ID], statistics[ITEM_ID]))).select([ITEM_ID])
        zeros = pa.array(np.zeros(eventless.num_rows, np.int64))
        statistics = pa.concat_tables([statistics, eventless.append_column(NUM_EVENTS, zeros)], promote_options="default")
    table = statistics.take(pc.sort_indices(statistics, [(NUM_EVENTS, "descending"), (ITEM_ID, "ascending")])).combine_chunks()
    table = table.add_column(1, ITEM_ROW, pa.array(np.arange(table.num_rows)))
    metadata = None if items is None else items.take(pc.index_in(table[ITEM_ID], items[ITEM_ID].combine_chunks()))
    created = [table[FIRST_TIME], pa.scalar(newest_event, pa.int64())]
    if metadata is not None and CREATION_TIMESTAMP in metadata.schema.names:
        times = metadata[CREATION_TIMESTAMP]
        is_plausible = pc.greater_equal(times, earliest_beside(newest_event))
        created.insert(0, pc.if_else(is_plausible, times, pa.scalar(None, pa.int64())))
    table = table.append_column(CREATION_TIMESTAMP, pc.coalesce(*created))
    if metadata is not None:
        for name in metadata.drop_columns(ITEM_ID).schema.names:
            if name != CREATION_TIMESTAMP:
                table = table.append_column(name, metadata[name])
    return table


def _ascending(ids: pa.Array) -> NDArray[np.int64]:
    """Positions of ids in ascending order: of their numbers where all are numbers, else of their characters."""
    numeric = pc.all(pc.match_substring_regex(ids, "^[0-9]{1,18}$")).as_py()
    order: NDArray[np.int64] = pc.sort_indices(ids.cast(pa.int64()) if numeric else ids).to_numpy().astype(np.int64)
    return order
