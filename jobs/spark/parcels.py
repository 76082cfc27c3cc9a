"""Tables as bytes for the way between tasks: integers in as few bytes as their spread asks for."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_BASE = b"base"  # metadata of a narrow field: what was taken off every value
_NARROW = (np.uint8, np.uint16, np.uint32)


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
