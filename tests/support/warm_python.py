"""Pythons that begin where modules are imported already: forks of one that has done nothing else.

Killed runs are started dozens of times, and each would import torch, pandas, pyspark and Great Expectations anew: 6 CPU
seconds. What a kill leaves on disk does not depend on that. A fork is a process of its own, leads a session of its own, and
starts a Java of its own. Whoever tests how a command starts takes no fork.
"""

from __future__ import annotations

import atexit
import functools
import importlib
import json
import os
import runpy
import select
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any


class Fork:
    """A process that was forked; asked for as a `subprocess.Popen` is."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._ended = threading.Event()

    def end(self, status: int) -> None:
        """Hear that it has ended."""
        self.returncode = status
        self._ended.set()

    def poll(self) -> int | None:
        """Its exit status, negative where a signal ended it; None while it runs."""
        return self.returncode

    def wait(self) -> int:
        """Its exit status, once it has ended."""
        self._ended.wait()
        assert self.returncode is not None
        return self.returncode


class WarmPython:
    """The process that is forked, and what it has told of its forks."""

    def __init__(self) -> None:
        self._server: subprocess.Popen[str] = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
        )
        atexit.register(self._end)
        self._forks: dict[int, Fork] = {}
        self._begun: list[Fork] = []
        self._told = threading.Condition()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def start(self, arguments: Sequence[str], modules: Sequence[str], environment: dict[str, str], log: Path) -> Fork:
        """Start what `python ARGUMENTS…` would, the leader of a session of its own.

        Args:
            arguments: `-m MODULE …` or `-c CODE …`.
            modules: What is imported already, in every later fork too.
            environment: Of the process.
            log: A file that stdout and stderr are appended to.
        """
        request = {"arguments": list(arguments), "modules": list(modules), "environment": environment, "log": str(log)}
        with self._told:
            assert self._server.stdin is not None
            print(json.dumps(request), file=self._server.stdin, flush=True)
            if not self._told.wait_for(lambda: self._begun, 120.0):
                raise RuntimeError("the Python that is forked does not answer")
            return self._begun.pop()

    def _end(self) -> None:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.close()  # which ends it
        self._server.wait()
        self._listener.join()
        self._server.stdout.close()

    def _listen(self) -> None:
        assert self._server.stdout is not None
        for line in self._server.stdout:
            pid, *status = map(int, line.split())
            with self._told:
                if status:
                    self._forks.pop(pid).end(*status)
                else:
                    self._forks[pid] = Fork(pid)
                    self._begun.append(self._forks[pid])
                    self._told.notify()


@functools.cache
def _of_this_process() -> WarmPython:
    return WarmPython()


def start(arguments: Sequence[str], modules: Sequence[str], environment: dict[str, str], log: Path) -> Fork:
    """Start it by the one that serves all tests of this process; see `WarmPython.start`."""
    return _of_this_process().start(arguments, modules, environment, log)


def _serve() -> dict[str, Any]:
    """Fork whenever asked, until nobody asks any more; in the fork, gives what was asked for."""
    told = os.dup(1)
    os.dup2(2, 1)  # whatever an import prints
    woken, wake = os.pipe()
    for end in (woken, wake):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake)
    while True:
        ready, _, _ = select.select([0, woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
            while (ended := _ended()) is not None:
                os.write(told, b"%d %d\n" % ended)
        if 0 in ready:
            if not (line := _line()):
                sys.exit()
            request: dict[str, Any] = json.loads(line)
            for module in request["modules"]:
                importlib.import_module(module)
            if (pid := os.fork()) == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for descriptor in (told, woken, wake):
                    os.close(descriptor)
                return request
            os.write(told, b"%d\n" % pid)


def _line() -> bytes:
    """A line of stdin, read byte by byte: what is behind it must be seen by select."""
    line = b""
    while not line.endswith(b"\n") and (byte := os.read(0, 1)):
        line += byte
    return line


def _ended() -> tuple[int, int] | None:
    """A fork that has ended, and its exit status."""
    try:
        pid, status = os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return None
    return (pid, os.waitstatus_to_exitcode(status)) if pid else None


def _become(request: dict[str, Any]) -> None:
    """Be a fresh Python that was called with some arguments."""
    os.setsid()
    for descriptor, path, flags in ((0, os.devnull, os.O_RDONLY), (1, request["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)):
        opened = os.open(path, flags)
        os.dup2(opened, descriptor)
        os.close(opened)
    os.dup2(1, 2)
    os.environ.clear()
    os.environ.update(request["environment"])
    tempfile.tempdir = None
    kind, what, *arguments = request["arguments"]
    sys.path[0] = os.getcwd() if kind == "-m" else ""
    sys.argv = [kind, *arguments]
    if kind == "-m":
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        exec(compile(what, "<string>", "exec"), {"__name__": "__main__"})


if __name__ == "__main__":
    _become(_serve())
