"""How far Spark is, on stderr, while the driver waits for it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from py4j.protocol import Py4JError

from jobs.platform.progress import Progress

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_POLL_SECONDS = 0.5


@contextmanager
def following(spark: SparkSession, num_tasks: int, label: str) -> Iterator[None]:
    """Count the tasks that Spark finishes while the body waits for them.

    Args:
        spark: The session; nothing else runs in it meanwhile.
        num_tasks: Of all stages together.
        label: What is being done.
    """
    tracker, over = spark.sparkContext.statusTracker(), threading.Event()
    completed: dict[int, int] = {}  # by stage; a stage that is over is remembered as it was last seen

    def follow(progress: Progress) -> None:
        with suppress(Py4JError, OSError):  # Java is gone: whoever waits for it says why
            count(progress)

    def count(progress: Progress) -> None:
        while not over.wait(_POLL_SECONDS):
            for stage in [tracker.getStageInfo(number) for number in {*completed, *tracker.getActiveStageIds()}]:
                if stage is not None:
                    completed[stage.stageId] = stage.numCompletedTasks
            progress.update(max(0, min(num_tasks, sum(completed.values())) - progress.done))

    with Progress(num_tasks, "tasks", label) as progress:
        follower = threading.Thread(target=follow, args=(progress,), daemon=True)
        follower.start()
        try:
            yield
        finally:
            over.set()
            follower.join()
        progress.update(num_tasks - progress.done)
