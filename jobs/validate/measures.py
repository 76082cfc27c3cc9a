"""Measures of a dataset's files as stored, on which the schema's suite is checked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.platform.process.scratch import scratch_folder
from jobs.platform.spark.tasks import run_tasks
from jobs.platform.storage.folders import StepFolder
from jobs.platform.stored_types import STORED
from jobs.validate.fields import is_real, is_time
from schemas import columns
from schemas.datasets import DatasetSchema, SchemaField
from schemas.manifest import FileEntry

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

Measures = dict[str, int | None]

BLOCK_ROWS = 1 << 18  # read at a time


def measure_parts(spark: SparkSession, folder: StepFolder, parts: Sequence[FileEntry], schema: DatasetSchema) -> list[Measures]:
    """Measure every part file of a dataset, one task a part.

    Args:
        spark: The session.
        folder: Where the parts lie.
        parts: The parts; their bytes are checked against size and SHA-256.
        schema: What they should hold.

    Returns:
        For every part, by name: `rows`; `columns out of place`; `rows out of order` and `rows without a place` (by INPUT_ORDER,
        which rises); for every field `missing NAME`, `NAME of another type` (0 or 1) and, by its type, `shortest
        NAME` and `longest NAME` (characters), `earliest NAME` and `latest NAME`, `NAME not finite`. None: there is no value.

    Raises:
        IntegrityError: A part's bytes are not those that were written.
    """
    return run_tasks(spark, partial(measure_part, folder_uri=folder.uri, schema=schema), parts, "measure rows")


def measure_part(part: FileEntry, folder_uri: str, schema: DatasetSchema) -> Measures:
    """The measures of one part, as `measure_parts` names them; runs on a worker."""
    strings = [field.name for field in schema.fields if field.kind == "text"]
    with scratch_folder("measures") as scratch:
        path = StepFolder(folder_uri).fetch(part, Path(scratch))
        present = [name for name in strings if name in pq.read_schema(path).names]
        with pq.ParquetFile(path, read_dictionary=present) as file:  # a string is measured once, however many rows hold it
            measures = dict(_layout(file.schema, schema))
            place = -1
            for batch in file.iter_batches(BLOCK_ROWS):
                of_batch = {"rows": batch.num_rows, **_disorder(batch, place)}
                for field in schema.fields:
                    of_batch |= _measure(batch, field)
                for name, value in of_batch.items():
                    measures[name] = _joined(name, measures[name], value)
                place = _last_place(batch, place)
    return measures


def _layout(stored: Any, schema: DatasetSchema) -> Iterator[tuple[str, int | None]]:
    """Measures of the footer's columns and types; and the initial value of every other measure."""
    names = [column.name for column in stored]
    expected = [*schema.names, columns.INPUT_ORDER]
    yield "rows", 0
    yield "columns out of place", sum(a != b for a, b in zip_longest(names, expected))
    yield "rows out of order", 0
    yield "rows without a place", 0
    types = {column.name: (column.physical_type, column.logical_type.type) for column in stored}
    for field in schema.fields:
        yield f"{field.name} of another type", int(types.get(field.name) != STORED[field.type].parquet)
        yield f"missing {field.name}", 0
        for name in _own_measures(field):
            yield name, 0 if name.endswith("not finite") else None


def _own_measures(field: SchemaField) -> tuple[str, ...]:
    """Names of what is measured of fields of this type only."""
    if field.kind == "text":
        return f"shortest {field.name}", f"longest {field.name}"
    if is_time(field):
        return f"earliest {field.name}", f"latest {field.name}"
    return (f"{field.name} not finite",) if is_real(field) else ()


def _measure(batch: pa.RecordBatch, field: SchemaField) -> Measures:
    """The measures of one column; a column of another type, which is counted as such, has no further ones."""
    missing = f"missing {field.name}"
    if field.name not in batch.schema.names:
        return {missing: batch.num_rows}
    column = batch.column(field.name)
    measures: Measures = {missing: column.null_count}
    names = _own_measures(field)
    if field.kind == "text" and pa.types.is_dictionary(column.type):
        lengths = pc.min_max(pc.utf8_length(column.dictionary).take(column.indices))  # it may hold values that no row has
        measures |= zip(names, lengths.as_py().values(), strict=True)
    elif is_time(field) and pa.types.is_integer(column.type):
        measures |= zip(names, pc.min_max(column).as_py().values(), strict=True)
    elif names and pa.types.is_floating(column.type):
        measures[names[0]] = batch.num_rows - column.null_count - (pc.sum(pc.is_finite(column)).as_py() or 0)
    return measures


def _disorder(batch: pa.RecordBatch, place: int) -> Measures:
    """Rows with an INPUT_ORDER that does not ascend, and rows without one."""
    places = _places(batch)
    disorder = int((np.diff(places, prepend=place) <= 0).sum())
    return {"rows out of order": disorder, "rows without a place": batch.num_rows - len(places)}


def _last_place(batch: pa.RecordBatch, place: int) -> int:
    places = _places(batch)
    return int(places[-1]) if len(places) else place


def _places(batch: pa.RecordBatch) -> Any:
    """INPUT_ORDER without nulls; empty where it is no column of whole numbers."""
    if columns.INPUT_ORDER not in batch.schema.names or batch.column(columns.INPUT_ORDER).type != pa.int64():
        return np.empty(0, np.int64)
    return batch.column(columns.INPUT_ORDER).drop_null().to_numpy()


def _joined(name: str, one: int | None, other: int | None) -> int | None:
    """A measure of two blocks of rows, from those of each."""
    if one is None or other is None:
        return other if one is None else one
    if name.startswith(("shortest ", "earliest ")):
        return min(one, other)
    return max(one, other) if name.startswith(("longest ", "latest ")) else one + other
