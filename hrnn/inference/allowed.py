"""Allowed items of users: the result of a filter, and the constraint of scoring."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hrnn.data.arrays import Rows
from hrnn.data.ragged import Ragged


@dataclass(frozen=True)
class Allowed:
    """Allowed items of B users: a mask that many users share, with a few items added and removed for each.

    Attributes:
        masks: bool [M, N].
        mask_of: int64 [B], the mask of each user.
        added: [B] item rows that are allowed beside those of the mask.
        removed: [B] item rows that are not allowed, be they of the mask or added.
    """

    masks: npt.NDArray[np.bool_]
    mask_of: Rows
    added: Ragged[np.int64]
    removed: Ragged[np.int64]

    def part(self, start: int, end: int) -> Allowed:
        """Allowed items of users [start, end)."""
        return Allowed(self.masks, self.mask_of[start:end], self.added.part(start, end), self.removed.part(start, end))

    def dense(self) -> npt.NDArray[np.bool_]:
        """One mask a user, for few users: bool [B, N]."""
        allowed = self.masks[self.mask_of]  # [B, N], a copy
        # Removed items last: an item may stand in both lists, and is not allowed then.
        for lists, value in ((self.added, True), (self.removed, False)):
            allowed[lists.row_ids(), lists.values] = value
        return allowed
