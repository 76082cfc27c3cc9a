"""A function applied to a list of work items on Spark's workers, one task an item."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa

from jobs.platform.spark.errors import spark_errors
from jobs.platform.spark.stage_progress import following

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

Item = TypeVar("Item")


def run_tasks(
    spark: SparkSession, function: Callable[[Item], dict[str, Any]], items: Sequence[Item], label: str
) -> list[dict[str, Any]]:
    """The results of a function for every item, in the items' order.

    Args:
        spark: The session.
        function: Importable on the workers; its result is plain JSON. It may run more than once for an item, and only one
            of the results is used.
        items: The work, one task each.
        label: What is being done, for the progress on stderr.

    Raises:
        HrnnError: The one that a task raised.
    """
    if not items:
        return []
    with spark_errors(), following(spark, len(items), label):
        numbers = spark.range(0, len(items), 1, len(items))
        rows = numbers.mapInArrow(partial(_apply, function, list(items)), "result string").collect()
    return [json.loads(row.result) for row in rows]


def _apply(
    function: Callable[[Item], dict[str, Any]], items: list[Item], batches: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        for number in batch.column(0).to_pylist():
            yield pa.RecordBatch.from_pydict({"result": [json.dumps(function(items[number]))]})
