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
    """Join every training that several nodes share; gives the names of those that were joined.

    Raises:
        MachineError: The night failed on node 0, was interrupted there, or node 0 is silent.
    """
    shared = [step for step in plan.of("train") if model_for(step.settings["recipe"]).fit is None]
    return [step.name for step in shared if _turn_of(step, plan, watch) and _join(step, runtime, watch)]


def _turn_of(step: Step, plan: NightPlan, watch: Watch) -> bool:
    """Wait until node 0 is at a step: whether it runs there, or was done before."""
    order = {each.label: number for number, each in enumerate(plan.steps)}
    while True:
        beat = watch.look()
        if beat is not None and (beat.state == "finished" or order.get(beat.step, -1) > order[step.label]):
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
    """End the block as SIGTERM does, its ranks with it, when node 0 is gone.

    Raises:
        MachineError: It is.
    """
    over, told = threading.Event(), list[MachineError]()
    thread = threading.Thread(target=_look_on, args=(watch, over, told.append), name="watch node 0", daemon=True)
    thread.start()
    try:
        yield
    except BaseException as error:
        if told:
            raise told[0] from error
        raise
    finally:
        over.set()
        thread.join()


def _look_on(watch: Watch, over: threading.Event, tell: Callable[[Any], None]) -> None:
    while not over.wait(FOLLOW_SECONDS):
        try:
            watch.look()
        except MachineError as error:
            tell(error)
            os.kill(os.getpid(), signal.SIGTERM)  # the way that ends ranks with a checkpoint
            return
