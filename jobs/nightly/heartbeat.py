"""How the nodes of a night know that node 0 is alive, and which step it is at: `<workspace>/nights/leader.json`.

Node 0 writes the record anew every few seconds. The others never compare its clock with theirs: each measures by its own for
how long the record has not changed. So a node 0 that was killed, and could say nothing, ends their wait too.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

from pydantic import BaseModel, ConfigDict

from jobs.platform.storage import join, store_for
from jobs.platform.storage.records import read_record, write_record
from schemas.errors import HrnnError, IntegrityError, MachineError, StorageError

BEAT_SECONDS = 10.0  # between two beats
SILENT_SECONDS = 600.0  # without a beat: node 0 has died, or never began

_LOG = logging.getLogger(__name__)


class Beat(BaseModel):
    """One heartbeat record of node 0.

    Attributes:
        token: Of its run.
        number: Of the beat, rising.
        night: Fingerprint of the night.
        step: Label of the step that it is at; empty before the first.
        state: "ended" is a run that was interrupted.
        told: The error message, where the night failed.
    """

    model_config = ConfigDict(frozen=True, strict=True)

    token: str
    number: int
    night: str
    step: str = ""
    state: Literal["running", "finished", "failed", "ended"] = "running"
    told: str = ""


class Heartbeat:
    """Writes the heartbeat, on node 0.

    Args:
        workspace: Normalised URI of the workspace.
        night: Fingerprint of the night.
    """

    def __init__(self, workspace: str, night: str) -> None:
        self._uri = _uri(workspace)
        self._beat = Beat(token=uuid.uuid4().hex[:12], number=0, night=night)
        self._lock, self._over = threading.Lock(), threading.Event()

    @contextmanager
    def beating(self) -> Iterator[None]:
        """Beat while the block runs; the last beat says how it ended."""
        thread = threading.Thread(target=self._go_on, name="heartbeat", daemon=True)
        self._write()
        thread.start()
        last = {"state": "ended"}
        try:
            yield
            last = {"state": "finished"}
        except Exception as error:
            last = {"state": "failed", "told": str(error)}
            raise
        finally:
            self._over.set()
            thread.join()
            self._write(**last)

    def at(self, step: str) -> None:
        """Say at once that another step begins."""
        self._write(step=step)

    def _go_on(self) -> None:
        while not self._over.wait(BEAT_SECONDS):
            self._write()

    def _write(self, **changes: str) -> None:
        with self._lock:
            self._beat = self._beat.model_copy(update={"number": self._beat.number + 1, **changes})
            try:
                write_record(self._uri, self._beat.model_dump())
            except HrnnError as error:  # the others wait for a while; the night's own steps will tell if it lasts
                _LOG.warning("the other nodes could not be told that this one is alive: %s", error)


class Watch:
    """Reads the heartbeat, on another node; a record from before this node began is of another run.

    Args:
        workspace: Normalised URI of the workspace.
        night: Fingerprint of the night.
        clock: Seconds that never go back.
    """

    def __init__(self, workspace: str, night: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._uri, self._night, self._clock = _uri(workspace), night, clock
        self._last, self._since, self._seen = self._read(), clock(), False

    def look(self) -> Beat | None:
        """The newest beat since this node began; None where there was none yet.

        Raises:
            MachineError: Node 0 has failed, was interrupted, is silent for too long, or runs another night.
        """
        beat, now = self._read(), self._clock()
        if beat is not None and beat != self._last:
            self._last, self._since, self._seen = beat, now, True
        if now - self._since > SILENT_SECONDS:
            silence = "was not heard of" if self._seen else "has not begun this night"
            raise self._ended(f"node 0 {silence} for {SILENT_SECONDS:.0f} seconds")
        if not self._seen or self._last is None:
            return None
        if self._last.state == "failed":
            raise self._ended(f"the night failed on node 0: {self._last.told}")
        if self._last.state == "ended":
            raise self._ended("the night was interrupted on node 0")
        if self._last.night != self._night:
            raise self._ended("node 0 runs another night: the data or the config have changed between the starts of the nodes")
        return self._last

    def _ended(self, problem: str) -> MachineError:
        return MachineError(problem.rstrip("."), where=self._uri, remedy="Mend that, then start all nodes again.")

    def _read(self) -> Beat | None:
        """The stored record; None where none can be read now."""
        try:
            if store_for(self._uri).stat(self._uri) is None:
                return None
            return Beat(**read_record(self._uri, Beat, what="heartbeat", remedy="delete it"))
        except (StorageError, IntegrityError) as error:
            _LOG.warning("node 0 could not be asked: %s", error)
            return None


def _uri(workspace: str) -> str:
    return join(workspace, "nights", "leader.json")
