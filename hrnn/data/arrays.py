"""NumPy array types by dtype; shapes stand in the docstrings."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int64]  # of users, items, events: row numbers, positions, offsets, counts; and epoch seconds
Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
