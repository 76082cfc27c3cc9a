"""Several runs in one process, of which a test says who goes on, for how many steps, and who is killed or hears nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

Got = TypeVar("Got")
GIVE_UP_SECONDS = 60.0


class Killed(BaseException):
    """What a killed run sees of it; from then on each of its steps raises it."""


class Run:
    """A function in a thread of its own that stands still before each step.

    Attributes:
        steps: Names of the steps it has done, with the faults that struck.
        result, error: What came of it.
        fault: What befalls its next step.
        next: Name of the step before which it stands.
    """

    def __init__(self, function: Callable[[], Any]) -> None:
        self.steps: list[str] = []
        self.result: Any = None
        self.error: BaseException | None = None
        self.fault: str | None = None
        self.next = ""
        self.ended = False
        self.is_killed = False
        self._go, self._still = threading.Lock(), threading.Lock()  # not held: it may go on; it stands still, or has ended
        self._go.acquire()
        self._still.acquire()
        self._thread = threading.Thread(target=self._run, args=(function,), daemon=True)
        _RUNS[self._thread] = self
        self._thread.start()
        self._wait()

    def advance(self, steps: int) -> None:
        """Let it do some steps."""
        for _ in range(steps):
            if self.ended:
                return
            self._go.release()
            self._wait()

    def advance_to(self, name: str, most_steps: int = 500) -> None:
        """Let it go on until it stands before a step of that name; at least one step."""
        for _ in range(most_steps):
            self.advance(1)
            if self.ended or self.next.startswith(name):
                return

    def kill(self) -> None:
        """As SIGKILL does: nothing of it happens any more."""
        self.is_killed = True
        self.advance(1000)

    def finish(self, most_steps: int = 2000) -> None:
        """Let it come to its end."""
        self.advance(most_steps)
        assert self.ended, f"the run comes to no end: {self.steps[-20:]}"

    def step(self, name: str) -> str | None:
        """Called in its thread before each step; gives the fault that befalls it."""
        if not self.is_killed:
            self.next = name
            self._still.release()
            self._go.acquire()
        if self.is_killed:
            raise Killed
        fault, self.fault = self.fault, None
        self.steps.append(f"{name} ({fault})" if fault else name)
        return fault

    def _wait(self) -> None:
        assert self._still.acquire(timeout=GIVE_UP_SECONDS), f"the run hangs: {self.steps[-20:]}"

    def _run(self, function: Callable[[], Any]) -> None:
        try:
            self.step("begin")
            self.result = function()
        except BaseException as error:
            self.error = error
        finally:
            self.ended = True
            self._still.release()
            _RUNS.pop(self._thread, None)


_RUNS: dict[threading.Thread, Run] = {}
_sleep = time.sleep


def current_run() -> Run | None:
    """The run that calls; None: the test itself."""
    return _RUNS.get(threading.current_thread())


def sleeping(seconds: float) -> None:
    """In place of time.sleep: others may go on meanwhile."""
    run = current_run()
    if run is None:
        _sleep(seconds)
    else:
        run.step("sleep")
