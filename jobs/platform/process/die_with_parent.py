"""Processes that must not outlive their parent: a rank whose job has ended would train for nobody."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # Linux, <sys/prctl.h>


def end_with_parent() -> None:
    """On Linux, have the kernel end this process when its parent ends, however that happens; elsewhere nothing is done."""
    parent = os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before the call
            os.kill(os.getpid(), signal.SIGKILL)
