"""A function applied to a list of work items on Spark's workers, one task an item."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa

from jobs.progress import Progress
from jobs.spark.session import spark_errors

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

Item = TypeVar("Item")

_POLL_SECONDS = 0.5


def run_tasks(
    spark: SparkSession, function: Callable[[Item], dict[str, Any]], items: Sequence[Item], label: str
) -> list[dict[str, Any]]:
    """What a function makes of every item, in the items' order.

    Args:
        spark: The session.
        function: Importable on the workers; its answer is plain JSON. It may run more than once for an item, and only one
            of its answers is used.
        items: The work, one task each.
        label: What is being done, for the progress on stderr.

    Raises:
        HrnnError: The one that a task raised.
    """
    if not items:
        return []
    with spark_errors(), _followed(spark, len(items), label):
        numbers = spark.range(0, len(items), 1, len(items))
        rows = numbers.mapInArrow(partial(_answer, function, list(items)), "answer string").collect()
    return [json.loads(row.answer) for row in rows]


def _answer(
    function: Callable[[Item], dict[str, Any]], items: list[Item], batches: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        for number in batch.column(0).to_pylist():
            yield pa.RecordBatch.from_pydict({"answer": [json.dumps(function(items[number]))]})


@contextmanager
def _followed(spark: SparkSession, num_tasks: int, label: str) -> Iterator[None]:
    """Show how many tasks are done while the body waits for them."""
    tracker, over = spark.sparkContext.statusTracker(), threading.Event()

    def follow(progress: Progress) -> None:
        while not over.wait(_POLL_SECONDS):
            stages = [tracker.getStageInfo(stage) for stage in tracker.getActiveStageIds()]
            done = max((stage.numCompletedTasks for stage in stages if stage is not None), default=0)
            progress.update(max(0, done - progress.done))

    with Progress(num_tasks, "tasks", label) as progress:
        follower = threading.Thread(target=follow, args=(progress,), daemon=True)
        follower.start()
        try:
            yield
        finally:
            over.set()
            follower.join()
        progress.update(num_tasks - progress.done)
