"""Several requests at a time, for jobs of thousands of small files."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_AT_ONCE = 16
Given = TypeVar("Given")
Got = TypeVar("Got")


def at_once(function: Callable[[Given], Got], given: Iterable[Given]) -> list[Got]:
    """What a function gives for each, in order; several are at work at a time. The first that fails ends it."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(function, given))
