"""Pairs of a user and an item: found again, and taken from cells where a filter takes them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from hrnn.data.arrays import Rows
from hrnn.data.ragged import Ragged
from hrnn.inference.allowed import Allowed
from hrnn.inference.topk_bf16 import BLOCK_ITEMS, GROUP_ITEMS, CoarseScores, by_block


class Pairs:
    """Some items of some users.

    Args:
        lists: [B] item rows, n in all.
        num_items: N.

    Attributes:
        users, item_rows: int64 [n], as given.
    """

    def __init__(self, lists: Ragged[np.int64], num_items: int) -> None:
        self.users, self.item_rows = lists.row_ids(), lists.values
        self._num_items = num_items
        keys = self.users * num_items + self.item_rows
        self._order = np.argsort(keys, kind="stable")
        self._keys = keys[self._order]

    def find(self, users: Rows, item_rows: Rows) -> Rows:
        """Where other pairs stand among these: int64 [m]; -1 for those that don't."""
        if not len(self._keys):
            return np.full(len(users), -1, dtype=np.int64)
        keys = users * self._num_items + item_rows
        places = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        return np.where(self._keys[places] == keys, self._order[places], -1)


class AllowedCells:
    """What each of B users may get, by position of cells.

    Args:
        allowed: Of the B users, at most R.
        coarse: Whose cells are meant.
        num_items: N.
        few: Users who may get at most so many items are not looked for in cells: their items are listed.

    Attributes:
        listed: bool [B], whose items are listed.
    """

    def __init__(self, allowed: Allowed, coarse: CoarseScores, num_items: int, few: int) -> None:
        self._allowed, self._num_items = allowed, num_items
        self._added, self._removed = Pairs(allowed.added, num_items), Pairs(allowed.removed, num_items)
        masks, mask_of = np.unique(allowed.mask_of, return_inverse=True)
        counts = np.array([np.count_nonzero(allowed.masks[mask]) for mask in masks], dtype=np.int64)
        self.listed: npt.NDArray[np.bool_] = counts[mask_of] + allowed.added.lengths <= few
        kept, row_of = np.unique(allowed.mask_of[~self.listed], return_inverse=True)
        whole = np.zeros((len(kept), coarse.num_groups * GROUP_ITEMS), dtype=np.bool_)
        whole[:, :num_items] = allowed.masks[kept]
        by_group = whole.reshape(len(kept), GROUP_ITEMS, coarse.num_groups).swapaxes(1, 2)
        self._blocks = torch.from_numpy(np.ascontiguousarray(by_group)).view(len(kept), len(coarse.cells), BLOCK_ITEMS)
        self._row_of = torch.zeros(coarse.rows, dtype=torch.int64)
        self._row_of[torch.from_numpy(np.flatnonzero(~self.listed))] = torch.from_numpy(row_of)
        self._places = [coarse.positions(pairs.item_rows) for pairs in (self._added, self._removed)]
        self._in_block = [by_block(places, len(coarse.cells)) for places in self._places]

    def cover(self, block: int, cells: torch.Tensor, out: torch.Tensor) -> None:
        """Copy a block's cells [R, C] to `out`, with -inf where an item may not be had; nothing of listed users."""
        hidden = torch.zeros(len(self._blocks), BLOCK_ITEMS).masked_fill_(~self._blocks[:, block], -torch.inf)
        torch.add(cells, hidden if len(hidden) == 1 else hidden[self._row_of], out=out)
        for pairs, places, in_block, seen in zip(
            (self._added, self._removed), self._places, self._in_block, (True, False), strict=True
        ):
            if len(mine := in_block[block]):
                where = pairs.users[mine], places[mine] % BLOCK_ITEMS
                out.numpy()[where] = cells.numpy()[where] if seen else -np.inf

    def allows(self, users: Rows, item_rows: Rows) -> npt.NDArray[np.bool_]:
        """bool [n], whether each user may get the item."""
        of_mask = self._allowed.masks[self._allowed.mask_of[users], item_rows]
        return (of_mask | (self._added.find(users, item_rows) >= 0)) & (self._removed.find(users, item_rows) < 0)

    def lists(self) -> tuple[Rows, Rows]:
        """Users and item rows of all that listed users may get, user by user."""
        mine = self.listed[self._added.users]
        keys = [self._added.users[mine] * self._num_items + self._added.item_rows[mine]]
        masks, mask_of = np.unique(self._allowed.mask_of, return_inverse=True)
        for number, mask in enumerate(masks):
            of_mask = np.flatnonzero((mask_of == number) & self.listed)
            if len(of_mask):
                keys.append((of_mask[:, None] * self._num_items + np.flatnonzero(self._allowed.masks[mask])).reshape(-1))
        users, item_rows = np.divmod(np.unique(np.concatenate(keys)), self._num_items)
        left = self._removed.find(users, item_rows) < 0
        return users[left], item_rows[left]
