"""Run one step: the job's own function, called with the step's arguments, and the record of its result."""

from __future__ import annotations

import importlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jobs.nightly.plan import Step
from jobs.nightly.wording import counts_text
from jobs.platform.storage import join, store_for
from jobs.platform.storage.folders import StepFolder
from jobs.workspace.generations import Generation
from schemas.manifest import MANIFEST_NAME
from schemas.nights import PUBLISHING

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SPARK_JOBS = frozenset({"validate", "sessionize", *PUBLISHING})


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """Where the steps run: Spark and the ranks of a training.

    Attributes:
        master: Spark master URL; None takes what spark-submit set, else this machine.
        launch: jobs.train.launch.Launch, how torchrun starts the ranks; None: one rank a GPU, or one.
    """

    master: str | None = None
    launch: Any = field(default=None)

    @property
    def has_followers(self) -> bool:
        """Whether other nodes wait for what this one does."""
        return self.launch is not None and self.launch.nnodes > 1


def run_step(
    step: Step, runtime: Runtime, generation: Generation | None, last: dict[str, Any] | None = None, *, anew: bool = False
) -> dict[str, Any]:
    """Run a step, or find that it is done; prints two lines on stderr.

    Args:
        step: The step.
        runtime: Where to run it.
        generation: Of the night; None on a node that only helps to train.
        last: The step's record of the last finished night, if there was one.
        anew: Lists are written again, though the same ones were there.

    Returns:
        The step's record: job, name, folder, fingerprint, settings, inputs, seconds, skipped, `result`, the job's summary,
        and, of a folder of its own, `version` and `made_of`.
    """
    began = time.monotonic()
    print(f"{step.label} …", file=sys.stderr, flush=True)
    extra: dict[str, Any] = {"master": runtime.master} if step.job in SPARK_JOBS else {}
    if step.job == "train":
        extra["launch"] = runtime.launch
    if step.job == "validate" and last is not None and _is_published(last["folder"]):
        extra["previous_uri"] = last["folder"]
    if step.job in PUBLISHING and generation is not None:
        extra |= {"before_publication": generation.check, "anew": anew}
    result = job_function(step.job)(**step.arguments, output_uri=step.folder, **extra)
    seconds = round(time.monotonic() - began, 1)
    skipped = bool(result.get("skipped"))
    outcome = "was done before" if skipped else f"{seconds:.1f} s"
    print(f"{step.label}: {outcome}, {counts_text(step.job, result)}", file=sys.stderr, flush=True)
    return {
        "job": step.job,
        "name": step.name,
        "folder": step.folder,
        "fingerprint": step.fingerprint,
        "settings": step.settings,
        "inputs": step.inputs,
        "seconds": seconds,
        "skipped": skipped,
        "result": result,
        **_made(step),
    }


def _made(step: Step) -> dict[str, Any]:
    """Fingerprint and inputs of the step's manifest, so that a later plan knows them if the folder is removed."""
    manifest = None if step.job in PUBLISHING else StepFolder(step.folder).manifest()
    return {} if manifest is None else {"version": manifest.fingerprint, "made_of": [each.version for each in manifest.inputs]}


def _is_published(folder: str) -> bool:
    """Whether a step's folder still has its manifest; `hrnn gc` removes old ones."""
    return store_for(folder).stat(join(folder, MANIFEST_NAME)) is not None


def job_function(job: str) -> Callable[..., dict[str, Any]]:
    """The function of a job; its module is imported on first use."""
    function: Callable[..., dict[str, Any]] = getattr(importlib.import_module(f"jobs.{job}.job"), job)
    return function


@contextmanager
def one_spark() -> Iterator[None]:
    """Stop the Spark session that the steps inside started and shared; a session from before is left running."""
    running_before, interrupt = _running_spark(), signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        ours = _running_spark()
        if running_before is None and ours is not None:
            with suppress(Exception):  # where a signal to all our processes has ended its Java already
                ours.stop()
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGINT, interrupt)  # Spark's own handler fails once Spark has ended


def _running_spark() -> SparkSession | None:
    if "pyspark.sql" not in sys.modules:
        return None
    from pyspark.sql import SparkSession

    with suppress(Exception):
        return SparkSession.getActiveSession()
    return None
