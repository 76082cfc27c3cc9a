"""How a command ends: its last lines on stdout and stderr, and its exit status.

The last line of stdout is JSON, whatever happened; only `hrnn recipes` may print a table for people instead. Exit status: 0
success, 1 the user can mend it (one message, no traceback), 2 wrong usage, 3 a fault of the platform, 130 Ctrl-C, 143 SIGTERM.
"""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, NoReturn, TextIO, cast

from jobs.platform.process.scratch import end_run, run_begun, space_error
from schemas.errors import HrnnError, StorageError, UsageError

USAGE, INTERRUPTED, TERMINATED = 2, 130, 143
_AGAIN = "run the same command again to go on"
_STOPPED = {INTERRUPTED: f"interrupted; {_AGAIN}", TERMINATED: f"ended by SIGTERM; {_AGAIN}"}


@dataclass(frozen=True)
class _End:
    """How a command ended; without an error it has printed its result itself."""

    status: int
    state: str = ""
    kind: str = ""
    error: str = ""
    details: dict[str, Any] = field(default_factory=dict)


def run_to_end(job: str | None, work: Callable[[], None]) -> NoReturn:
    """Do the work, and end the process with its exit status.

    Args:
        job: The job's name, for the last line of a command that fails; None: there is no job yet.
        work: Does it and prints its result; what it raises decides how the command ends. SystemExit: it has printed why.
    """
    began = time.monotonic()
    end = _end_of(work)
    document = {"job": job, "state": end.state, "kind": end.kind, "error": end.error} | end.details
    with suppress(KeyboardInterrupt, StorageError):  # there is nothing more to interrupt; the error may be that of stdout
        if end.error and job is not None:
            print_result(document | {"seconds": round(time.monotonic() - began, 1)})
    for stream in (sys.stdout, sys.stderr):
        with suppress(StorageError):
            _flush(stream)
    sys.exit(end.status)


def _end_of(work: Callable[[], None]) -> _End:
    """Do the work, end what it started, and print on stderr what went wrong; returns how it ended."""
    shared = run_begun()
    try:
        _open_closed_streams()
        with ending_on_sigterm():
            try:
                with redirect_stdout(cast("Any", _Stdout(sys.stdout))):
                    work()
            finally:
                if not shared:
                    end_run()
        _flush(sys.stdout)
    except SystemExit as ended:
        if (stopped := _interruption(ended)) is not None:
            return _stopped(stopped)
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        return _End(status)
    except KeyboardInterrupt:
        return _stopped(INTERRUPTED)
    except Exception as error:
        if (stopped := _interruption(error)) is not None:
            return _stopped(stopped)
        return _failed(_users_error(error) or error)
    return _End(0)


def _interruption(error: BaseException | None) -> int | None:
    """The exit status of an interruption, also of one that another error came after: Spark's Java may have ended first."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return INTERRUPTED
        if isinstance(error, SystemExit) and error.code in _STOPPED:  # of SIGTERM; typer makes it of Ctrl-C too
            return int(error.code)
        error = error.__context__
    return None


def _stopped(status: int) -> _End:
    print_line(f"hrnn: {_STOPPED[status]}")
    return _End(status, "interrupted", "interrupted", _STOPPED[status])


def _failed(error: Exception) -> _End:
    if os.environ.get("HRNN_DEBUG"):
        with suppress(OSError):
            traceback.print_exception(error)
    if isinstance(error, HrnnError):
        print_line(f"hrnn: {error}")
        if isinstance(error, UsageError):
            return _End(USAGE, "failed", "usage", str(error))
        return _End(1, "failed", type(error).__name__, str(error), error.facts)
    reason = (str(error).strip().splitlines() or ["no message"])[0][:300]
    print_line(f"hrnn: a fault of the platform: {type(error).__name__}: {reason}. HRNN_DEBUG=1 shows where.")
    return _End(3, "failed", type(error).__name__, reason)


def print_result(document: dict[str, Any]) -> None:
    """Print the result as one line of JSON.

    Raises:
        StorageError: stdout can't be written.
    """
    _flush(sys.stdout, json.dumps(document) + "\n")


def print_line(line: str) -> None:
    """Print a line on stderr, where that can be done."""
    with suppress(OSError):
        print(line, file=sys.stderr, flush=True)


@contextmanager
def ending_on_sigterm() -> Iterator[None]:
    """End as Ctrl-C does when SIGTERM comes, so that Spark, ranks, a local S3 and temporary files go too."""

    def end(_number: int, _frame: FrameType | None) -> NoReturn:
        raise SystemExit(TERMINATED)

    if threading.current_thread() is not threading.main_thread():  # a server that runs the job keeps its own handlers
        yield
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _open_closed_streams() -> None:
    """Give a closed stdin, stdout or stderr its number back: the next file to be opened would get what is printed.

    Raises:
        StorageError: stdout is closed; better now than after hours of work.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    closed = sys.stdout is None
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w")
    if closed:
        sys.stdout = os.fdopen(1, "w")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # what its encoding lacks
    if closed:
        raise StorageError("it is closed", where="stdout", remedy="The result is its last line: name a file, or /dev/null.")


def _users_error(error: Exception) -> HrnnError | None:
    """The error as one that the user can mend, also a full disk or an output that nobody reads; None for a fault of ours."""
    if isinstance(error, HrnnError):
        return error
    if isinstance(error, OSError):
        for stream in (sys.stdout, sys.stderr):
            try:
                _flush(stream)
            except StorageError as unwritable:
                return unwritable
    return space_error(error)


class _Stdout:
    """stdout for commands and typer: where it can't be written, a StorageError is raised, which no library catches."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        _flush(self._stream, text)
        return len(text)

    def flush(self) -> None:
        _flush(self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _flush(stream: TextIO, text: str = "") -> None:
    """Write a text and what is left before it; a stream that can't be written is silent from then on, also when Python ends.

    Raises:
        StorageError: It can't be written.
    """
    try:
        stream.write(text)
        stream.flush()
    except OSError as error:
        name = "stderr" if stream is sys.stderr else "stdout"
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), stream.fileno())
        if isinstance(error, BrokenPipeError):
            raise StorageError("nobody reads it any more", where=name, remedy="What was done stays done.") from None
        full = space_error(error, where=name, remedy="Free some space where it goes, or send it elsewhere.")
        raise full or StorageError(error.strerror or str(error), where=name) from None
