r"""Typed rows to CSV as Personalize takes it, a batch at a time.

The header and numbers stand without quotes; a text is quoted where a reader could take it for something else, with `\"` for a
quote and `\\` for a backslash; null is an empty cell. What `hrnn validate` makes of the file is equal to the typed rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from schemas.datasets import DatasetSchema

_ROWS_AT_ONCE = 100_000
_COMMA, _LINE_END, _NOTHING = (pa.scalar(text, pa.large_string()) for text in (",", "\n", ""))
_UNSAFE = r'[",\\\n\r]|^\s|\s$|^$'  # a quote, a comma, a backslash, a line end, a blank at an end; or nothing, which is no null


def csv_blocks(local: Path, schema: DatasetSchema) -> Iterator[bytes]:
    """The rows of a part file in their order, without header.

    Args:
        local: Typed Parquet that `hrnn validate` wrote.
        schema: Of the dataset.
    """
    texts = [field.name for field in schema.fields if field.kind == "text"]
    with pq.ParquetFile(local, read_dictionary=texts, memory_map=True) as file:
        for batch in file.iter_batches(_ROWS_AT_ONCE, columns=list(schema.names), use_threads=False):
            yield _lines([_cells(batch.column(name)) for name in schema.names])


def header(schema: DatasetSchema) -> bytes:
    """The first line: the schema's fields in their order."""
    return ",".join(schema.names).encode() + b"\n"


def _lines(columns: Sequence[Any]) -> bytes:
    """Columns of large strings to the bytes of all rows, each with its line end."""
    joined = pc.binary_join_element_wise(*columns, _COMMA)
    ended = pc.binary_join_element_wise(joined, _LINE_END, _NOTHING)
    _, offsets, data = ended.buffers()
    ends = memoryview(offsets).cast("q")
    return bytes(memoryview(data)[ends[ended.offset] : ends[ended.offset + len(ended)]]) if len(ended) else b""


def _cells(column: Any) -> Any:
    """A column as texts, none of them null; large ones, so that no batch is too long."""
    if pa.types.is_dictionary(column.type):
        cells = _quoted(column.dictionary).take(column.indices)
    elif pa.types.is_string(column.type):
        cells = _quoted(column)
    else:
        cells = pc.cast(column, pa.string())  # floats get the fewest digits that give the same number again
    return pc.fill_null(cells.cast(pa.large_string()), "")


def _quoted(texts: Any) -> Any:
    unsafe = pc.match_substring_regex(texts, _UNSAFE)
    if not pc.any(unsafe).as_py():
        return texts
    escaped = pc.replace_substring(pc.replace_substring(texts, "\\", "\\\\"), '"', '\\"')
    return pc.if_else(unsafe, pc.binary_join_element_wise('"', escaped, '"', ""), texts)
