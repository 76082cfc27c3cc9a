"""How a command ends: what it says on stdout and stderr, and its exit status.

The last line of stdout is JSON, whatever happened. Exit status: 0 success, 1 the user can mend it (one message, no traceback),
2 wrong usage, 3 a fault of the platform, 130 Ctrl-C, 143 SIGTERM.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn, TextIO

from jobs.scratch import end_run, run_begun, space_error
from schemas.errors import HrnnError, StorageError

USAGE, INTERRUPTED, TERMINATED = 2, 130, 143
_AGAIN = "run the same command again to go on"
_STOPPED = {INTERRUPTED: f"interrupted; {_AGAIN}", TERMINATED: f"ended by SIGTERM; {_AGAIN}"}


def run_to_end(job: str | None, work: Callable[[], None]) -> NoReturn:
    """Do the work, and end the process with its exit status.

    Args:
        job: The job's name, for the last line of a command that fails; None: there is none to speak of.
        work: Does it and tells its result; what it raises decides how the command ends. A SystemExit has told why already.
    """
    began, shared = time.monotonic(), run_begun()
    status, kind, problem, facts = 0, "", "", dict[str, Any]()
    try:
        _open_closed_streams()
        with ending_on_sigterm():
            try:
                work()
            finally:
                if not shared:
                    end_run()
        _flush(sys.stdout)
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        kind, problem = ("usage", "wrong usage: see stderr") if status == USAGE else ("", "")
    except KeyboardInterrupt:
        status = INTERRUPTED
    except Exception as raised:
        error = _users_own(raised)
        status, kind, problem = _told(raised if error is None else error)
        facts = getattr(error, "facts", facts)
    with suppress(KeyboardInterrupt):  # a second one has nothing more to interrupt
        if status in _STOPPED:
            say(f"hrnn: {_STOPPED[status]}")
            kind, problem = "interrupted", _STOPPED[status]
        if problem and job is not None:
            state = "interrupted" if status in _STOPPED else "failed"
            seconds = round(time.monotonic() - began, 1)
            with suppress(StorageError):  # which may be what was said on stderr
                tell({"job": job, "state": state, "kind": kind, "error": problem, "seconds": seconds} | facts)
    for stream in (sys.stdout, sys.stderr):
        with suppress(StorageError):
            _flush(stream)
    sys.exit(status)


def tell(document: dict[str, Any]) -> None:
    """Print the result as one line of JSON.

    Raises:
        StorageError: stdout can't be written.
    """
    _flush(sys.stdout, json.dumps(document) + "\n")


def say(line: str) -> None:
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
        raise StorageError("it is closed", where="stdout", remedy="The result is its last line: name a file, or /dev/null.")


def _told(error: Exception) -> tuple[int, str, str]:
    """Say an error on stderr; its exit status, kind and text."""
    if os.environ.get("HRNN_DEBUG"):
        with suppress(OSError):
            traceback.print_exception(error)
    if isinstance(error, HrnnError):
        say(f"hrnn: {error}")
        return 1, type(error).__name__, str(error)
    reason = (str(error).strip().splitlines() or ["no message"])[0][:300]
    say(f"hrnn: a fault of the platform: {type(error).__name__}: {reason}. HRNN_DEBUG=1 shows where.")
    return 3, type(error).__name__, reason


def _users_own(error: Exception) -> HrnnError | None:
    """The error as one that the user can mend: a full disk or an output that nobody reads too; None where it is ours."""
    if isinstance(error, HrnnError):
        return error
    if isinstance(error, OSError):
        for stream in (sys.stdout, sys.stderr):
            try:
                _flush(stream)
            except StorageError as found:
                return found
    return space_error(error)


def _flush(stream: TextIO, text: str = "") -> None:
    """Write a text and what is left before it; a stream that can't be written is silent from then on, also when Python ends.

    Raises:
        StorageError: It can't be written.
    """
    try:
        stream.write(text)
        stream.flush()
    except OSError as error:
        name = "stdout" if stream is sys.stdout else "stderr"
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), stream.fileno())
        if isinstance(error, BrokenPipeError):
            raise StorageError("nobody reads it any more", where=name, remedy="What was done stays done.") from None
        full = space_error(error, where=name)
        raise full or StorageError(error.strerror or str(error), where=name) from None
