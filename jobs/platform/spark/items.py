"""Work items, one a task, which gets no other: what is sent with a task doesn't grow with the number of tasks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_ITEM = pa.schema([("number", pa.int64()), ("item", pa.binary())])


def one_task_each(spark: SparkSession, items: Sequence[bytes]) -> DataFrame:
    """A partition for each item, in order, at least one; `items_of` reads it."""
    return spark.createDataFrame(pa.Table.from_batches(batches_of(items)))


def batches_of(items: Iterable[bytes]) -> Iterator[pa.RecordBatch]:
    """A batch for each item; Spark makes a partition of each (spark.sql.execution.arrow.localRelationThreshold is 0)."""
    for number, item in enumerate(items):
        yield pa.record_batch([pa.array([number]), pa.array([item], pa.binary())], schema=_ITEM)


def items_of(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[int, bytes]]:
    """In a task: its items, with their numbers."""
    for batch in batches:
        yield from zip(batch.column(0).to_pylist(), batch.column(1).to_pylist(), strict=True)
