"""Which items each of some users may get: what a filter comes to, and what scoring obeys."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hrnn.data.arrays import Rows
from hrnn.data.ragged import Ragged


@dataclass(frozen=True)
class Allowed:
    """The items that B users may get: those of a mask that many users share, and some more, less some others.

    Attributes:
        masks: bool [M, N].
        mask_of: int64 [B], the mask of each user.
        added: [B] item rows that a user may get beside those of the mask.
        removed: [B] item rows that a user may not get, be they of the mask or added.
    """

    masks: npt.NDArray[np.bool_]
    mask_of: Rows
    added: Ragged[np.int64]
    removed: Ragged[np.int64]

    def part(self, start: int, end: int) -> Allowed:
        """What users [start, end) may get."""
        return Allowed(self.masks, self.mask_of[start:end], self.added.part(start, end), self.removed.part(start, end))

    def dense(self) -> npt.NDArray[np.bool_]:
        """bool [B, N]: every user's items, for few users."""
        allowed = self.masks[self.mask_of]
        for lists, value in ((self.added, True), (self.removed, False)):
            allowed[lists.row_ids(), lists.values] = value
        return allowed
