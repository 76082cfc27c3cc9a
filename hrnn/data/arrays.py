"""NumPy array types by dtype; shapes stand in the docstrings."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int64]  # of users, items, events: row numbers, positions, offsets, counts; and epoch seconds
Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


def mapped_array(path: Path, kind: npt.DTypeLike, length: int) -> np.memmap[Any, Any]:
    """A new mapped array on space that is its own: a disk that fills up later would end the process without a word.

    Raises:
        OSError: The disk is full.
    """
    array: np.memmap[Any, Any] = np.lib.format.open_memmap(path, mode="w+", dtype=kind, shape=(length,))
    with open(path, "r+b") as file:
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array
