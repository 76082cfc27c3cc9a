"""Pairs of user and item: a lookup table, and the masking of coarse scores by a filter."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from hrnn.data.arrays import Rows
from hrnn.data.ragged import Ragged
from hrnn.inference.allowed import Allowed
from hrnn.inference.topk_bf16 import BLOCK_ITEMS, GROUP_ITEMS, CoarseScores, by_block


class Pairs:
    """Lookup table of pairs of user and item.

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
        """Positions of other pairs among these: int64 [m]; -1 for those that are not."""
        if not len(self._keys):
            return np.full(len(users), -1, dtype=np.int64)
        keys = users * self._num_items + item_rows
        places = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)  # of a key beyond the last: any other
        return np.where(self._keys[places] == keys, self._order[places], -1)


class AllowedCells:
    """Allowed items of B users in the layout of coarse scores.

    Args:
        allowed: Of the B users, at most R.
        coarse: The coarse scores.
        num_items: N.
        most_listed: The items of users who may get at most so many are listed, and scored exactly without a search in cells.

    Attributes:
        listed: bool [B], whose items are listed.
    """

    def __init__(self, allowed: Allowed, coarse: CoarseScores, num_items: int, most_listed: int) -> None:
        self._allowed, self._num_items = allowed, num_items
        self._added, self._removed = Pairs(allowed.added, num_items), Pairs(allowed.removed, num_items)
        # The number of allowed items decides user by user which way is cheaper; removed ones are not worth the count.
        masks, mask_of = np.unique(allowed.mask_of, return_inverse=True)
        counts = np.array([np.count_nonzero(allowed.masks[mask]) for mask in masks], dtype=np.int64)
        self.listed: npt.NDArray[np.bool_] = counts[mask_of] + allowed.added.lengths <= most_listed
        # Masks of the others in the order of cells: item i is in group i % G, so rows become columns of a matrix of groups.
        kept, row_of = np.unique(allowed.mask_of[~self.listed], return_inverse=True)
        padded = np.zeros((len(kept), coarse.num_groups * GROUP_ITEMS), dtype=np.bool_)
        padded[:, :num_items] = allowed.masks[kept]
        by_group = padded.reshape(len(kept), GROUP_ITEMS, coarse.num_groups).swapaxes(1, 2)
        self._blocks = torch.from_numpy(np.ascontiguousarray(by_group)).view(len(kept), len(coarse.cells), BLOCK_ITEMS)
        self._row_of = torch.zeros(coarse.rows, dtype=torch.int64)
        self._row_of[torch.from_numpy(np.flatnonzero(~self.listed))] = torch.from_numpy(row_of)
        self._places = [coarse.positions(pairs.item_rows) for pairs in (self._added, self._removed)]
        self._in_block = [by_block(places, len(coarse.cells)) for places in self._places]

    def cover(self, block: int, cells: torch.Tensor, out: torch.Tensor) -> None:
        """Copy a block's cells [R, C] to `out`, with -inf where an item is not allowed; cells of listed users are undefined."""
        hidden = torch.zeros(len(self._blocks), BLOCK_ITEMS).masked_fill_(~self._blocks[:, block], -torch.inf)  # [masks, C]
        torch.add(cells, hidden if len(hidden) == 1 else hidden[self._row_of], out=out)
        # Added cells are copied anew over their -inf; removed ones come last, and win.
        for pairs, places, in_block, is_added in zip(
            (self._added, self._removed), self._places, self._in_block, (True, False), strict=True
        ):
            if len(of_block := in_block[block]):
                at = pairs.users[of_block], places[of_block] % BLOCK_ITEMS
                out.numpy()[at] = cells.numpy()[at] if is_added else -np.inf

    def allows(self, users: Rows, item_rows: Rows) -> npt.NDArray[np.bool_]:
        """Whether each pair of user and item is allowed: bool [n]."""
        in_mask = self._allowed.masks[self._allowed.mask_of[users], item_rows]
        return (in_mask | (self._added.find(users, item_rows) >= 0)) & (self._removed.find(users, item_rows) < 0)

    def lists(self) -> tuple[Rows, Rows]:
        """All pairs that are allowed for listed users, user by user: users and item rows."""
        of_listed = self.listed[self._added.users]
        keys = [self._added.users[of_listed] * self._num_items + self._added.item_rows[of_listed]]
        masks, mask_of = np.unique(self._allowed.mask_of, return_inverse=True)
        for number, mask in enumerate(masks):
            users = np.flatnonzero((mask_of == number) & self.listed)
            if len(users):
                keys.append((users[:, None] * self._num_items + np.flatnonzero(self._allowed.masks[mask])).reshape(-1))
        # Sorted, keys stand user by user; an added item that the mask allows anyhow must not be listed twice.
        users, item_rows = np.divmod(np.unique(np.concatenate(keys)), self._num_items)
        kept = self._removed.find(users, item_rows) < 0
        return users[kept], item_rows[kept]
