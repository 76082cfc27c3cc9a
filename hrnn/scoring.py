"""The best items of many users, exactly, by score(user, item) = query · item vector + item bias + own item's score.

The catalogue is multiplied in blocks that stay in cache. Of every 64 neighbouring items only the best score is looked at first:
the K best items lie within the K best groups of 64, so the exact K best are found among K · 64 items instead of N.

Results do not depend on which users are asked together: the shapes of all matrix products are fixed by the catalogue alone
(a short batch is filled up with zeros), each row of a product is computed alike wherever it stands, and equal scores are put in
order of item row. For the same bytes on every run, use one thread (`torch.set_num_threads(1)`) on the same kind of processor.

Shapes: B users asked, N items, D numbers of a query, K returned, C items of a block.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from schemas.errors import IntegrityError

BLOCK_ITEMS = 4096  # C
GROUP_ITEMS = 64
MOST_ROWS = 128  # users of one product
MOST_CELLS = 1 << 26  # scores held at once: 256 MiB
MOST_CANDIDATES = 1 << 22  # of which the K best are looked for at once

_GROUPS = BLOCK_ITEMS // GROUP_ITEMS
_LOW_BITS = 0xFFFFFFFF


@dataclass(frozen=True)
class OwnItems:
    """Items that B users have scores of their own for.

    Attributes:
        offsets: int64 [B + 1]; user b's items are [offsets[b], offsets[b + 1]) of the other two.
        item_rows: int64; no item twice within a user.
        scores: float32, added to what query and item vector say.
    """

    offsets: npt.NDArray[np.int64]
    item_rows: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float32]

    @classmethod
    def none(cls, num_users: int) -> OwnItems:
        """Own items of users that have none."""
        return cls(np.zeros(num_users + 1, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32))

    def part(self, start: int, end: int) -> OwnItems:
        """Own items of users [start, end)."""
        first, last = self.offsets[start], self.offsets[end]
        return OwnItems(self.offsets[start : end + 1] - first, self.item_rows[first:last], self.scores[first:last])


@dataclass(frozen=True)
class TopItems:
    """The K best items of B users, best first; K is smaller than asked where the catalogue is.

    Attributes:
        item_rows: int64 [B, K].
        scores: float32 [B, K], falling; equal scores in order of item row.
        shares: float64 [B, K], softmax of the scores over the whole catalogue.
    """

    item_rows: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float32]
    shares: npt.NDArray[np.float64]


class Scorer:
    """Holds a catalogue in the layout that is multiplied fastest, and the buffers that every call reuses.

    Args:
        item_vectors: float32 [N, D]; D may be 0.
        item_bias: float32 [N].

    Raises:
        IntegrityError: There is no item, or a parameter is not a finite number.
    """

    def __init__(self, item_vectors: torch.Tensor, item_bias: torch.Tensor) -> None:
        self.num_items, self.dimension = item_vectors.shape
        if self.num_items == 0:
            raise IntegrityError("the model holds no items; train it again.")
        if not (bool(torch.isfinite(item_vectors).all()) and bool(torch.isfinite(item_bias).all())):
            raise IntegrityError("the model holds parameters that are not finite numbers; train it again.")
        blocks = max(1, -(-self.num_items // BLOCK_ITEMS))
        self.rows = max(8, min(MOST_ROWS, MOST_CELLS // (blocks * BLOCK_ITEMS) // 8 * 8))
        padded = torch.zeros(blocks * BLOCK_ITEMS, self.dimension)
        padded[: self.num_items] = item_vectors.detach()
        self._vectors = padded.view(blocks, BLOCK_ITEMS, self.dimension).transpose(1, 2).contiguous()
        self._bias = torch.full((blocks * BLOCK_ITEMS,), -torch.inf)
        self._bias[: self.num_items] = item_bias.detach()
        self._bias = self._bias.view(blocks, BLOCK_ITEMS)
        self._queries = torch.zeros(self.rows, self.dimension)
        self._cells = torch.empty(blocks, self.rows, BLOCK_ITEMS)
        self._group_best = torch.empty(self.rows, blocks * _GROUPS)
        self._spare = torch.empty(self.rows, BLOCK_ITEMS)

    def top(self, queries: torch.Tensor, own: OwnItems, num_results: int) -> TopItems:
        """The best items of each user.

        Args:
            queries: float32 [B, D].
            own: Own items of the same B users.
            num_results: K; at least 1.

        Raises:
            IntegrityError: A user's state is not made of finite numbers.
        """
        wanted = min(num_results, self.num_items)
        found = TopItems(
            np.empty((len(queries), wanted), dtype=np.int64),
            np.empty((len(queries), wanted), dtype=np.float32),
            np.empty((len(queries), wanted), dtype=np.float64),
        )
        for start in range(0, len(queries), self.rows):
            end = min(start + self.rows, len(queries))
            with np.errstate(invalid="ignore"):  # what is not finite is found below
                greatest, total = self._fill(queries[start:end], own.part(start, end))
            if not np.isfinite(total[: end - start]).all():
                raise IntegrityError("a user's state is not made of finite numbers; train the model again.")
            item_rows, scores = self._best(wanted)
            shares = np.exp(scores.astype(np.float64) - greatest) / total
            found.item_rows[start:end] = item_rows[: end - start]
            found.scores[start:end] = scores[: end - start]
            found.shares[start:end] = shares[: end - start]
        return found

    def _fill(self, queries: torch.Tensor, own: OwnItems) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Compute every cell; returns per row the greatest score and the sum of exp(score - greatest), [rows, 1] each."""
        self._queries.zero_()
        self._queries[: len(queries)] = queries
        own_rows = np.repeat(np.arange(len(queries)), np.diff(own.offsets))
        order = np.argsort(own.item_rows, kind="stable")
        own_block_ends = np.searchsorted(own.item_rows[order], np.arange(1, len(self._bias) + 1) * BLOCK_ITEMS)
        greatest = np.full((self.rows, 1), -np.inf)
        total = np.zeros((self.rows, 1))
        began = 0
        for block, ended in enumerate(own_block_ends):
            cells = self._cells[block]
            torch.addmm(self._bias[block], self._queries, self._vectors[block], out=cells)
            if ended > began:
                mine = order[began:ended]
                cells.numpy()[own_rows[mine], own.item_rows[mine] % BLOCK_ITEMS] += own.scores[mine]
                began = ended
            best = self._group_best[:, block * _GROUPS : (block + 1) * _GROUPS]
            torch.amax(cells.view(self.rows, _GROUPS, GROUP_ITEMS), 2, out=best)
            greater = np.maximum(greatest, best.amax(1, keepdim=True).numpy())
            total = total * np.exp(greatest - greater) + self._sum_of_exponentials(cells, greater)
            greatest = greater
        return greatest, total

    def _sum_of_exponentials(self, cells: torch.Tensor, shift: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Sum over a block of exp(cell - shift), [rows, 1], exact enough for seven decimals of a share.

        NumPy's exp of float32 is twice as fast as torch's.
        """
        torch.sub(cells, torch.from_numpy(shift.astype(np.float32)), out=self._spare)
        spare = self._spare.numpy()
        np.exp(spare, out=spare)
        sums: npt.NDArray[np.float64] = self._spare.sum(1, keepdim=True, dtype=torch.float64).numpy()
        return sums

    def _best(self, wanted: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """Item rows and scores of each row's best cells, [rows, wanted] each."""
        num_groups = min(wanted, self._group_best.shape[1])
        step = max(1, MOST_CANDIDATES // (num_groups * GROUP_ITEMS))
        pieces = [self._best_of(slice(start, start + step), num_groups, wanted) for start in range(0, self.rows, step)]
        keys = torch.cat(pieces)
        return (_LOW_BITS - (keys & _LOW_BITS)).numpy(), _score_of(keys).numpy()

    def _best_of(self, rows: slice, num_groups: int, wanted: int) -> torch.Tensor:
        """Sortable keys of some rows' best cells, best first."""
        best = _sortable(self._group_best[rows], torch.arange(self._group_best.shape[1]))
        groups = _LOW_BITS - (torch.topk(best, num_groups, dim=1, sorted=False).values & _LOW_BITS)
        grouped = self._cells.view(len(self._cells), self.rows, _GROUPS, GROUP_ITEMS)
        candidates = grouped[groups // _GROUPS, torch.arange(self.rows)[rows, None], groups % _GROUPS].flatten(1)
        item_rows = (groups[:, :, None] * GROUP_ITEMS + torch.arange(GROUP_ITEMS)).flatten(1)
        return torch.topk(_sortable(candidates, item_rows), wanted, dim=1).values


def _sortable(scores: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """int64 keys whose falling order is that of falling scores, then of rising positions.

    A float's bits, read as an integer, are in its own order where it is positive, and in reverse where it is negative.
    """
    bits = (scores + 0.0).view(torch.int32)  # adding zero makes -0.0 equal to 0.0
    ordered = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits)
    return (ordered.to(torch.int64) << 32) | (_LOW_BITS - positions)


def _score_of(keys: torch.Tensor) -> torch.Tensor:
    """The float32 scores in keys of `_sortable`."""
    ordered = (keys >> 32).to(torch.int32)
    return torch.where(ordered < 0, ordered ^ 0x7FFFFFFF, ordered).view(torch.float32)


def softmax_of_counts(counts: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Softmax of log(counts): each item's share of all events, [N]; zeros where nothing was counted."""
    total = counts.sum()
    return counts / total if total else np.zeros(len(counts))
