"""What the other nodes of a night do: wait for node 0 to begin a training, join its ranks, and end when it ends."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from hrnn.models.registry import model_for
from jobs.nightly.decisions import decide
from jobs.nightly.heartbeat import Watch
from jobs.nightly.plan import NightPlan, Step
from jobs.nightly.running import Runtime, run_step
from schemas.errors import MachineError

FOLLOW_SECONDS = 2.0  # between two looks


def follow_night(plan: NightPlan, runtime: Runtime, watch: Watch) -> list[str]:
    """Join every training that several nodes share; returns the names of the solutions joined.

    Raises:
        MachineError: The night failed on node 0, was interrupted there, or node 0 is silent.
    """
    shared = [step for step in plan.of("train") if model_for(step.settings["recipe"]).fit is None]
    return [step.name for step in shared if _turn_of(step, plan, watch) and _join(step, runtime, watch)]


def _turn_of(step: Step, plan: NightPlan, watch: Watch) -> bool:
    """Wait until node 0 reaches a step; whether the step runs there, or is done already."""
    place_of = {each.label: number for number, each in enumerate(plan.steps)}
    while True:
        beat = watch.look()
        if beat is not None and (beat.state == "finished" or place_of.get(beat.step, -1) > place_of[step.label]):
            return False
        if beat is not None and beat.step == step.label:
            return any(each.runs for each in decide(plan, {}) if each.step.label == step.label)
        time.sleep(FOLLOW_SECONDS)


def _join(step: Step, runtime: Runtime, watch: Watch) -> bool:
    with _ending_with(watch):
        run_step(step, runtime, None)
    return True


@contextmanager
def _ending_with(watch: Watch) -> Iterator[None]:
    """Send this process SIGTERM, which ends its ranks with a checkpoint, when node 0 is gone.

    Raises:
        MachineError: Node 0 is gone.
    """
    ended, failures = threading.Event(), list[MachineError]()
    thread = threading.Thread(target=_look_on, args=(watch, ended, failures.append), name="watch node 0", daemon=True)
    thread.start()
    try:
        yield
    except BaseException as error:
        if failures:
            raise failures[0] from error
        raise
    finally:
        ended.set()
        thread.join()


def _look_on(watch: Watch, ended: threading.Event, record_failure: Callable[[Any], None]) -> None:
    while not ended.wait(FOLLOW_SECONDS):
        try:
            watch.look()
        except MachineError as error:
            record_failure(error)
            os.kill(os.getpid(), signal.SIGTERM)  # the way that ends ranks with a checkpoint
            return
