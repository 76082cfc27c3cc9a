"""Processes of this node that share out a piece of work; they end with it, or with the process that asked for them."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any

from jobs.platform.process.children import same_run
from jobs.platform.process.die_with_parent import end_with_parent
from schemas.errors import MachineError


@contextmanager
def process_pool(number: int, what: str, begin: Callable[..., None], *arguments: Any) -> Iterator[ProcessPoolExecutor]:
    """Fresh processes.

    Args:
        number: How many.
        what: What they do, for the message where one dies: "made the states of users".
        begin: Called in each of them first, with the arguments.
        arguments: Likewise.

    Raises:
        MachineError: One died.
    """
    with ProcessPoolExecutor(number, get_context("spawn"), _begin, (same_run(), begin, arguments)) as pool:
        try:
            yield pool
        except BrokenProcessPool:
            raise MachineError(
                f"a process that {what} died",
                remedy="If memory was short, run the same command again on fewer cores (taskset).",
            ) from None
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _begin(environment: dict[str, str], begin: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started this one answers it
    os.environ.update(environment)
    begin(*arguments)
