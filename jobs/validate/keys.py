"""Keys of a part's rows, partitioned by hash: a receiver gets the rows of its partition, hashes in place of values.

Events are partitioned by their user's hash, so that a receiver has whole histories; users, items and actions by their own id's.
Equal rows meet at one receiver, wherever they were read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hrnn.data.hashing import Hashes, hash64, mix64
from jobs.platform.process.scratch import scratch_folder
from jobs.platform.spark.partition_rows import narrow_table, pack, partition_rows
from schemas.columns import INPUT_ORDER, TIMESTAMP, USER_ID
from schemas.dataset_rules import DATASET_RULES
from schemas.datasets import DatasetSchema

# Columns of messages.
USER, ITEM, HASH, SECOND_HASH, ROW_HASH, ID = "user", "item", "hash", "second_hash", "row_hash", "id"

Message = Sequence[pa.Table]

MOST_HELD = 192 << 20  # bytes of rows; a split of plain CSV has fewer, a gzipped file may have any number

_KIND = b"kind"
_NULL = np.uint64(0x6E756C6C)  # stands for null in the hash of a row; any number would do
_SECOND_SEED = 1


def encode(kind: str, tables: Message) -> bytes:
    """Tables as one message, its kind in the first table's metadata."""
    metadata = {**(tables[0].schema.metadata or {}), _KIND: kind.encode()}
    return pack([tables[0].replace_schema_metadata(metadata), *tables[1:]])


def kind_of(tables: Message) -> str:
    """The kind of a decoded message."""
    kind: bytes = tables[0].schema.metadata[_KIND]
    return kind.decode()


def owners_of(hashes: Hashes, num_receivers: int) -> NDArray[np.uint16]:
    """The receiver of each hash: its remainder by their number."""
    return (hashes % np.uint64(num_receivers)).astype(np.uint16)


def row_hashes(table: pa.Table, names: Sequence[str]) -> Hashes:
    """A uint64 for each row, from the values of some columns; equal rows have equal hashes.

    Args:
        table: Typed rows of one chunk; strings are dictionaries.
        names: The columns, in order.
    """
    mixed: Hashes = np.zeros(table.num_rows, np.uint64)
    for name in names:
        mixed = mix64(mixed ^ _hashed(table.column(name).chunk(0)))
    return mixed


class KeyCollector:
    """Collects a part's rows, a block at a time, then encodes its messages; above MOST_HELD rows are spilled to disk.

    Args:
        schema: Of the dataset.

    Attributes:
        held_bytes: Memory that the gathered rows take.
    """

    def __init__(self, schema: DatasetSchema) -> None:
        self._rules = DATASET_RULES[schema.dataset_type]
        named = {USER_ID, self._rules.target, TIMESTAMP}
        self._others = [entry.name for entry in schema.fields if entry.name not in named] if self._rules.target else []
        self._blocks: list[pa.Table] = []
        self.held_bytes = 0
        self._scratch = ExitStack()
        self._spilled: list[Path] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget all rows."""
        self._blocks, self._spilled, self.held_bytes = [], [], 0
        self._scratch.close()

    def add(self, table: pa.Table) -> None:
        """Take a block's accepted rows."""
        if not table.num_rows:
            return
        table = table.combine_chunks()
        if self._rules.key is not None:
            rows = table.select([self._rules.key, INPUT_ORDER])
        else:
            assert self._rules.target is not None
            rows = table.select([USER_ID, self._rules.target, TIMESTAMP, INPUT_ORDER])
            if self._others:
                rows = rows.append_column(ROW_HASH, pa.array(row_hashes(table, self._others)))
        self._blocks.append(rows)
        self.held_bytes += rows.nbytes
        if self.held_bytes > MOST_HELD:
            self._spill()

    def times(self) -> Iterator[NDArray[np.int64]]:
        """The times of the part's events, some at a time."""
        for block in chain(map(_unspilled, self._spilled), self._blocks):
            yield block.column(TIMESTAMP).to_numpy()

    def messages(self, num_receivers: int) -> Iterator[tuple[int, bytes]]:
        """(receiver, message) for every receiver that has rows; several for each, where rows were spilled to disk."""
        while self._blocks or self._spilled:
            if not self._blocks:
                self._blocks = [_unspilled(self._spilled.pop())]
            rows = pa.concat_tables(self._blocks).unify_dictionaries().combine_chunks()
            self._blocks = []
            yield from self._keys(rows, num_receivers) if self._rules.key else self._events(rows, num_receivers)

    def _spill(self) -> None:
        """Spill the collected rows to disk."""
        if not self._spilled:
            self._folder = Path(self._scratch.enter_context(scratch_folder("keys")))
        self._spilled.append(self._folder / f"{len(self._spilled)}.arrow")
        rows = pa.concat_tables(self._blocks).unify_dictionaries().combine_chunks()
        with pa.ipc.new_file(self._spilled[-1], rows.schema) as writer:
            writer.write_table(rows)
        self._blocks, self.held_bytes = [], 0

    def _events(self, rows: pa.Table, num_receivers: int) -> Iterator[tuple[int, bytes]]:
        assert self._rules.target is not None
        # Users and items as codes of dictionaries, so that each distinct id is hashed and sent once.
        users, targets = rows.column(USER_ID).chunk(0), rows.column(self._rules.target).chunk(0)
        item_codes = targets.indices.to_numpy()
        hashes = hash64(users.dictionary)
        integers = {name: rows.column(name).to_numpy() for name in (TIMESTAMP, INPUT_ORDER)}
        for partition in partition_rows(users.indices.to_numpy(), owners_of(hashes, num_receivers), num_receivers):
            # Only the partition's own items go into its message, so their codes are numbered anew.
            codes = item_codes[partition.rows]
            present = np.flatnonzero(np.bincount(codes, minlength=len(targets.dictionary)))
            position = np.empty(len(targets.dictionary), np.int64)
            position[present] = np.arange(len(present))
            others = {ROW_HASH: pa.array(rows.column(ROW_HASH).to_numpy()[partition.rows])} if self._others else {}
            events = narrow_table(
                {
                    USER: partition.codes,
                    ITEM: position[codes],
                    **{name: values[partition.rows] for name, values in integers.items()},
                },
                others,
            )
            items = pa.table({ID: targets.dictionary.take(pa.array(present))})
            yield partition.target, encode("events", [events, pa.table({HASH: hashes[partition.present]}), items])

    def _keys(self, rows: pa.Table, num_receivers: int) -> Iterator[tuple[int, bytes]]:
        ids = rows.column(self._rules.key).chunk(0)
        hashes, second = hash64(ids.dictionary), hash64(ids.dictionary, _SECOND_SEED)
        order = rows.column(INPUT_ORDER).to_numpy()
        for partition in partition_rows(ids.indices.to_numpy(), owners_of(hashes, num_receivers), num_receivers):
            codes = partition.present[partition.codes]
            hash_columns = {HASH: pa.array(hashes[codes]), SECOND_HASH: pa.array(second[codes])}
            yield partition.target, encode("keys", [narrow_table({INPUT_ORDER: order[partition.rows]}, hash_columns)])


def _unspilled(path: Path) -> pa.Table:
    with pa.ipc.open_file(path) as file:
        return file.read_all()


def _hashed(values: Any) -> Hashes:
    """A uint64 for each value of an array; equal values have equal ones, and so have nulls."""
    if isinstance(values, pa.DictionaryArray):
        # Each distinct value is hashed once; nulls get a code of their own behind the dictionary.
        words = np.append(hash64(values.dictionary), _NULL)
        codes = values.indices.fill_null(len(values.dictionary)) if values.null_count else values.indices
        hashes: Hashes = words[codes.to_numpy()]
        return hashes
    if pa.types.is_boolean(values.type):
        values = values.cast(pa.int8())
    # Numbers need no hash here: their bits are mixed by the caller, as long as equal numbers have equal bits.
    numbers = (values.fill_null(0) if values.null_count else values).to_numpy()
    if numbers.dtype.kind == "f":
        numbers = (numbers + 0.0).astype(np.float64).view(np.uint64)  # -0.0 is 0.0
    bits: Hashes = numbers.astype(np.uint64)
    if values.null_count:
        bits[values.is_null().to_numpy(zero_copy_only=False)] = ~_NULL
    return bits
