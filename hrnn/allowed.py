"""Which items each of some users may get: what a filter comes to, and what scoring obeys."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hrnn.data.arrays import Rows


@dataclass(frozen=True)
class ItemLists:
    """A list of items for each of B users.

    Attributes:
        offsets: int64 [B + 1]; user b's items are `item_rows[offsets[b]:offsets[b + 1]]`.
        item_rows: int64.
    """

    offsets: Rows
    item_rows: Rows

    @classmethod
    def none(cls, num_users: int) -> ItemLists:
        """No item for anybody."""
        return cls(np.zeros(num_users + 1, dtype=np.int64), np.empty(0, dtype=np.int64))

    def part(self, start: int, end: int) -> ItemLists:
        """The lists of users [start, end)."""
        first, last = self.offsets[start], self.offsets[end]
        return ItemLists(self.offsets[start : end + 1] - first, self.item_rows[first:last])


@dataclass(frozen=True)
class Allowed:
    """The items that B users may get: those of a mask that many users share, and some more, less some others.

    Attributes:
        masks: bool [M, N].
        mask_of: int64 [B], the mask of each user.
        added: Items a user may get beside those of the mask.
        removed: Items a user may not get, be they of the mask or added.
    """

    masks: npt.NDArray[np.bool_]
    mask_of: Rows
    added: ItemLists
    removed: ItemLists

    def part(self, start: int, end: int) -> Allowed:
        """What users [start, end) may get."""
        return Allowed(self.masks, self.mask_of[start:end], self.added.part(start, end), self.removed.part(start, end))

    def dense(self) -> npt.NDArray[np.bool_]:
        """bool [B, N]: every user's items, for few users."""
        allowed = self.masks[self.mask_of]
        for lists, value in ((self.added, True), (self.removed, False)):
            users = np.repeat(np.arange(len(self.mask_of)), np.diff(lists.offsets))
            allowed[users, lists.item_rows] = value
        return allowed
