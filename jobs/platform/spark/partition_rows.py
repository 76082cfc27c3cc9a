"""Rows partitioned by receiver, and tables as bytes for the shuffle: integers in as few bytes as their range needs."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_BASE = b"base"  # metadata of a narrow field: the least value, which is subtracted from all
_NARROW = (np.uint8, np.uint16, np.uint32)


@dataclass(frozen=True)
class PartitionRows:
    """The rows of one receiver.

    Attributes:
        target: Number of the receiver.
        rows: int64, positions of its rows, ascending.
        present: int64, the values that occur in them, ascending.
        codes: int64, parallel to rows: position of the row's value in `present`.
    """

    target: int
    rows: NDArray[np.int64]
    present: NDArray[np.int64]
    codes: NDArray[np.int64]


def partition_rows(codes: NDArray[Any], owners: NDArray[np.uint16], num_receivers: int) -> Iterator[PartitionRows]:
    """Partition rows by the owners of their values; a receiver without rows gets no partition.

    Args:
        codes: Value of each row, as a position in `owners`.
        owners: Receiver of each value.
        num_receivers: At most 65,536.
    """
    receivers = owners[codes]
    order = np.argsort(receivers, kind="stable")  # of 16 bits: numpy sorts them by radix
    ends = np.cumsum(np.bincount(receivers, minlength=num_receivers))
    position = np.empty(len(owners), np.int64)  # of a value in `present`; only those of the receiver at hand are valid
    for target, (begin, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
        if begin == end:
            continue
        rows = order[begin:end]
        values = codes[rows]
        present = np.flatnonzero(np.bincount(values, minlength=len(owners)))
        position[present] = np.arange(len(present))
        yield PartitionRows(target, rows, present, position[values])


def pack(tables: Sequence[pa.Table]) -> bytes:
    """Tables as bytes; Spark compresses its shuffle, so these are not."""
    sink = io.BytesIO()
    for table in tables:
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    return sink.getvalue()


def unpack(body: bytes) -> list[pa.Table]:
    """The tables of `pack`, without copying their columns."""
    source = pa.BufferReader(body)
    tables = []
    while source.tell() < source.size():
        tables.append(pa.ipc.open_stream(source).read_all())
    return tables


def narrow_table(integers: Mapping[str, NDArray[Any]], others: Mapping[str, pa.Array | pa.ChunkedArray]) -> pa.Table:
    """A table whose integer columns hold each value less the column's least, in 1, 2 or 4 bytes where that is enough."""
    fields, arrays = [], []
    for name, values in integers.items():
        base = int(values.min()) if values.size else 0
        spread = int(values.max()) - base if values.size else 0
        kind = next((kind for kind in _NARROW if spread <= np.iinfo(kind).max), None)
        stored = (
            pa.array(values.astype(np.int64)) if kind is None else pa.array((values - values.dtype.type(base)).astype(kind))
        )
        fields.append(pa.field(name, stored.type, metadata={_BASE: str(0 if kind is None else base).encode()}))
        arrays.append(stored)
    for name, column in others.items():
        fields.append(pa.field(name, column.type))
        arrays.append(column)
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def widen(table: pa.Table, column: str) -> NDArray[np.int64]:
    """An integer column of `narrow_table` as it was, as int64."""
    base = int(table.schema.field(column).metadata[_BASE])
    values: NDArray[np.int64] = table[column].to_numpy().astype(np.int64)
    values += base
    return values
