"""Approximate bf16 scores with a proven error bound, to prune candidates before exact float32 rescoring.

Where the processor multiplies bfloat16 natively, queries and item vectors are rounded to it, and products cost half; elsewhere
all stays in float32, and the same bound is a thousand times tighter. `Scorer` finds by these scores the few items that can be
among the best, and rescores those.

A coarse score is in powers of two, and counted from a number near the user's best one: 2 ** coarse is an item's part of the
softmax, and rounding to bfloat16 hurts the best items least. What all items have in common is subtracted before rounding:

    coarse(user, item) = log2(e) · (score(user, item) - query · mean item vector) - base(user)

With q a query in powers of two, e an item's vector less the mean, r(·) the rounding error of either, the error is at most

    |q| |r(e)| + |r(q)| |e - r(e)|                   factors were rounded (Cauchy-Schwarz)
    + slack · (|q| (|e| + |e and mean|) + |bias| + |base|)   float32 sums, here and in exact scores
    + relative · |coarse|                            the result was rounded

slack is (D + 32) · 2^-23, twice what D + 32 additions in any order can do; relative is 2^-8 for bfloat16.

Shapes: R users of one product, N items, D numbers of a query, C items of a block, G groups of 64 items.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from hrnn.data.arrays import Doubles, Flags, Floats, Rows

BLOCK_ITEMS = 2048  # C
GROUP_ITEMS = 64
MOST_REACH = 1e30  # of a score in powers of two; beyond, sums may leave float32

_GROUPS = BLOCK_ITEMS // GROUP_ITEMS
_PILOT_ITEMS = 256  # the most frequent ones: one of them is nearly always near a user's best
_ONE_BLOCK_OF, _MOST_BLOCKS = 8, 8  # blocks from which the rounding error of all is estimated
_HEAD = {torch.bfloat16: 9, torch.float32: 4}  # terms of a sum that are 2 ** -9 of it, and more, are large; or 2 ** -4
_CELLS_IN_CACHE = 1 << 16
_ITEMS_AT_ONCE = 1 << 16  # of a catalogue that is laid out
_FAR_BELOW = -1e38  # the cell of an item whose score is -inf
_LEAST = -2e38  # only empty cells are below
_LOG2_E = math.log2(math.e)


class Filter(Protocol):
    """Masks cells of items that users may not get."""

    def cover(self, block: int, cells: torch.Tensor, out: torch.Tensor) -> None:
        """Copy a block's cells [R, C] to `out`, with -inf where an item is not allowed."""


class CoarseScores:
    """Coarse scores of a catalogue: vectors in the layout of the fastest product, and the buffers that every scan reuses.

    Item i stands in group i % G, so that the most frequent items, neighbours by row, are spread over all groups: then the K
    best items are hardly ever two of a group, and the K best groups hold nearly all of them.

    Args:
        vectors: float32 [N, D].
        bias: float32 [N].
        rows: R.
        kind: Number type of the products: float32 or bfloat16.

    Attributes:
        cells: [blocks, R, C] of the products' type, coarse scores of the last scan by position; -inf where no item stands.
        group_best: float32 [R, G], the greatest cell of each group.
        allowed_best: float32 [R, G], the same of allowed items.
        error: float32 [R, G], the bound for a group's cells, but for its last line.
        base: float64 [R]: cell = log2(e) · score - base.
        totals: float64 [R], sum of 2 ** cell.
    """

    def __init__(self, vectors: torch.Tensor, bias: torch.Tensor, rows: int, kind: torch.dtype) -> None:
        num_items, self.dimension = vectors.shape
        self.rows = rows
        self.kind = kind
        self._parts = 1 if self.kind == torch.float32 else 3  # so many bfloat16 add up to any float32
        self._relative = 2.0**-22 if self.kind == torch.float32 else 1.01 * 2.0**-8
        self._slack = (self.dimension + 32) * 2.0**-23
        blocks = -(-num_items // BLOCK_ITEMS)
        self.num_groups = blocks * _GROUPS
        self._lay_out(vectors, bias, blocks)
        self._queries = torch.zeros(rows, self._table.shape[1], dtype=self.kind)
        self._queries[:, self.dimension : self.dimension + self._parts] = 1.0
        self._rounded = torch.zeros(rows, self.dimension)
        self._powers, self._covered = torch.empty(rows, BLOCK_ITEMS), torch.empty(rows, BLOCK_ITEMS)
        self._sums = torch.empty(blocks, rows)
        self.cells = torch.empty(blocks, rows, BLOCK_ITEMS, dtype=self.kind)
        self._bits = _bits(self.cells)
        self.group_best, self._covered_best = torch.empty(2, rows, self.num_groups)
        self.allowed_best = self.group_best
        best, covered_best = self.group_best.split(_GROUPS, 1), self._covered_best.split(_GROUPS, 1)
        # made once: a processor whose caches are full of cells is slow at making small things
        self._views = list(zip(self._table, self.cells, best, covered_best, self._sums, strict=True))
        self.error = torch.zeros(rows, self.num_groups)
        self.base: Doubles = np.zeros(rows)
        self.totals: Doubles = np.zeros(rows)

    def _lay_out(self, vectors: torch.Tensor, bias: torch.Tensor, blocks: int) -> None:
        """Fill the table of products with vectors, and biases in powers of two, and the bound of each group with its norms."""
        bias = bias.double() * _LOG2_E
        self._vector_reach, self._bias_reach = float(_norms(vectors).max()), float(bias.abs().max())
        if not max(self._vector_reach, self._bias_reach) < MOST_REACH:  # then nobody is scanned
            vectors, bias = torch.zeros_like(vectors), torch.zeros_like(bias)
        # Vectors less their mean are smaller, so that rounding takes less from them; the mean's part is the same for all items.
        mean = torch.zeros(self.dimension, dtype=torch.float64)
        for start in range(0, len(vectors), _ITEMS_AT_ONCE):
            mean += vectors[start : start + _ITEMS_AT_ONCE].double().sum(0) / len(vectors)
        # Columns: vector; bias, for the ones in a query; ones, for the negative base in a query. Empty places: a bias of -inf.
        end = self.dimension + self._parts
        table = torch.zeros(blocks * BLOCK_ITEMS, end + self._parts, dtype=self.kind)
        table[:, self.dimension] = -torch.inf
        table[:, end:] = 1.0
        bound = torch.zeros(len(table), 3)
        for start in range(0, len(bias), _ITEMS_AT_ONCE):
            chunk = slice(start, min(start + _ITEMS_AT_ONCE, len(bias)))
            exact = vectors[chunk].double()
            coarse = (exact - mean).float().to(self.kind)
            rounded, length = _norms(exact - mean - coarse.double()), _norms(coarse.double())
            places = torch.from_numpy(self.positions(np.arange(chunk.start, chunk.stop)))
            table[places, : self.dimension] = coarse
            table[places, self.dimension : end] = self._split(bias[chunk].float())
            # Factors of |q|, of |r(q)| and of 1 in the bound; a group's is the greatest of its items'.
            slack = self._slack * torch.stack([length + _norms(exact), bias[chunk].abs()])
            bound[places] = torch.stack([rounded + slack[0], length, slack[1]], 1).float()
        self._mean = mean.numpy()
        self._pilot = bias[:_PILOT_ITEMS].float(), (vectors[:_PILOT_ITEMS] - mean).float().t().contiguous()
        self._table = table.view(blocks, BLOCK_ITEMS, -1).transpose(1, 2)
        self._bound = bound.view(self.num_groups, GROUP_ITEMS, 3).amax(1).t().contiguous()

    def _split(self, values: torch.Tensor) -> torch.Tensor:
        """float32 [n] as sums of numbers of the products' type, [n, parts]."""
        parts = []
        for _ in range(self._parts):
            parts.append(values.to(self.kind))
            values = values - parts[-1].float()
        return torch.stack(parts, 1)

    def positions(self, item_rows: Rows) -> Rows:
        """Positions of items in a user's row of all cells."""
        return item_rows % self.num_groups * GROUP_ITEMS + item_rows // self.num_groups

    def in_powers(self, users: Rows, scores: Floats) -> Doubles:
        """Exact scores in the units of cells: float64 [n]."""
        return scores.astype(np.float64) * _LOG2_E - self.base[users]

    def within_reach(self, queries: torch.Tensor) -> Flags:
        """Queries whose scores stay within float32: bool [B]; False for one that is not finite."""
        reach: Flags = (_LOG2_E * _norms(queries.double()) * self._vector_reach + self._bias_reach < MOST_REACH).numpy()
        return reach

    def scan(
        self, queries: torch.Tensor, sparse_users: Rows, sparse_items: Rows, sparse_scores: Floats, mask: Filter | None
    ) -> None:
        """Score all items: fills cells, group maxima, bounds and sums.

        Args:
            queries: float32 [B, D], B at most R, all within reach; results of other rows are undefined.
            sparse_users, sparse_items, sparse_scores: Exact scores of items with a sparse score, which replace their cells.
            mask: Allowed items; None: all.
        """
        self._set_queries(queries, sparse_users, sparse_scores)
        self.allowed_best = self.group_best if mask is None else self._covered_best
        sparse_cells = _bits(
            torch.from_numpy(np.maximum(self.in_powers(sparse_users, sparse_scores), _FAR_BELOW)).to(self.kind)
        )
        sparse_places = self.positions(sparse_items)
        in_block = by_block(sparse_places, len(self.cells))
        shape = self.rows, _GROUPS, GROUP_ITEMS
        # All that a block needs is done while its cells are in cache: product, maxima of groups, sum of the softmax's terms.
        for block, (of_block, (table, cells, best, covered_best, sums)) in enumerate(zip(in_block, self._views, strict=True)):
            torch.mm(self._queries, table, out=cells)
            if len(of_block):
                at = sparse_users[of_block], sparse_places[of_block] % BLOCK_ITEMS
                self._bits[block][at] = sparse_cells[of_block]
            values = cells if self.kind == torch.float32 else self._powers.copy_(cells)
            torch.amax(values.view(shape), 2, out=best)
            if mask is not None:
                mask.cover(block, values, self._covered)
                torch.amax(self._covered.view(shape), 2, out=covered_best)
            torch.sum(torch.exp2(values, out=self._powers), 1, out=sums)
        self.totals = self._sums.sum(0, dtype=torch.float64).numpy()

    def _set_queries(self, queries: torch.Tensor, sparse_users: Rows, sparse_scores: Floats) -> None:
        """Fill in queries, base and error. The base is the mean item's product, and near the best score as a whole number."""
        scaled = torch.zeros(self.rows, self.dimension)
        scaled[: len(queries)] = queries * _LOG2_E
        common = np.einsum("rd,d->r", scaled.numpy(), self._mean)
        # The pilot's best item, or a better sparse score, is near enough to the best of all for cells to be small there.
        best = torch.addmm(self._pilot[0], scaled, self._pilot[1]).amax(1).double().numpy()
        self.base = common
        np.maximum.at(best, sparse_users, self.in_powers(sparse_users, sparse_scores))
        best = np.rint(best).astype(np.float32)
        self.base = common + best
        coarse = scaled.to(self.kind)
        self._queries[:, : self.dimension] = coarse
        self._queries[:, self.dimension + self._parts :] = self._split(torch.from_numpy(-best))
        self._rounded = scaled - coarse.float()
        # 1.001 and 1e-30 cover the bound's own rounding, and its underflow.
        factors = 1.001 * torch.stack([_norms(scaled), _norms(self._rounded), torch.ones(self.rows)], 1)
        least = torch.from_numpy(1.001 * self._slack * np.abs(best) + np.float32(1e-30))
        torch.addmm(least[:, None], factors, self._bound, out=self.error)

    def large(self, totals: Doubles) -> Floats:
        """Cells from which on a term of the softmax's sum is rescored: float32 [B]."""
        large: Floats = (np.log2(totals) - _HEAD[self.kind]).astype(np.float32)
        return large

    def tail_factors(self, least: Floats) -> Doubles:
        """Ratio of exact to coarse sum of the cells below `least` [B], to first order in the queries' rounding: float64 [B].

        All cells lack the item's product with the query's rounding error. The mean of these products, weighted by 2 ** cell, is
        the product with the mean item vector so weighted; it is estimated from half of some blocks.
        """
        if self.kind == torch.float32:
            return np.ones(len(least))
        sums, total = torch.zeros(self.rows, self.dimension), torch.full((self.rows,), 1e-30)
        above, half = torch.zeros(self.rows, 1), slice(0, BLOCK_ITEMS // 2)
        above[: len(least), 0] = torch.from_numpy(least)
        step = max(_ONE_BLOCK_OF, -(-len(self.cells) // _MOST_BLOCKS))
        for block in range(len(self.cells) // 2 % step, len(self.cells), step):
            cells = self.cells[block, :, half].float()
            weights = torch.exp2(cells).masked_fill_(cells >= above, 0.0)
            sums.addmm_(weights, self._table[block, : self.dimension, half].t().float())
            total += weights.sum(1)
        return torch.exp2((sums * self._rounded).sum(1) / total)[: len(least)].double().numpy()

    def candidates(self, num_users: int, num_results: int) -> tuple[Flags, Floats]:
        """Groups that can hold the best allowed items of the first B users.

        The `num_results` best groups hold as many items whose score is surely at least a threshold, by the error bound; each
        group that may reach it is chosen.

        Returns:
            bool [B, G], chosen groups; float32 [B], the threshold.
        """
        chosen = torch.empty(num_users, self.num_groups, dtype=torch.bool)
        reached = torch.full((num_users,), _LEAST)
        step = max(1, _CELLS_IN_CACHE // self.num_groups)
        for part in (slice(start, min(start + step, num_users)) for start in range(0, num_users, step)):
            best, error = self.allowed_best[part], self.error[part]
            # The relative error widens either way, by the sign of the cell.
            more, less = best * (1 + self._relative), best * (1 - self._relative)
            if num_results <= self.num_groups:
                lower = torch.minimum(more, less).sub_(error)
                reached[part].clamp_(min=torch.topk(lower, num_results, 1).values[:, -1])
            torch.ge(torch.maximum(more, less).add_(error), reached[part, None], out=chosen[part])
        return chosen.numpy(), reached.numpy()

    def pairs(self, chosen: Flags, reached: Floats, head: Floats) -> tuple[Rows, Rows, Floats]:
        """Items of chosen groups that may reach the user's threshold, or are large terms of the softmax.

        Args:
            chosen: bool [B, G].
            reached: float32 [B], the threshold of exact scores.
            head: float32 [B], from `large`: cells that are rescored in any case.

        Returns:
            Users, item rows and cells, [n] each, user by user.
        """
        users, groups = np.divmod(np.flatnonzero(chosen), self.num_groups)
        least = reached[users] - self.error.numpy()[users, groups]
        least = np.minimum(least / (1 + self._relative), least / (1 - self._relative))
        # Cells lie as [blocks, R, groups of a block, 64]: rows of one group are contiguous, and are read as a whole.
        places = (groups // _GROUPS * self.rows + users) * _GROUPS + groups % _GROUPS
        values = self.cells.view(-1, GROUP_ITEMS).index_select(0, torch.from_numpy(places)).float().numpy()
        near = np.flatnonzero(values >= np.maximum(np.minimum(least, head[users]), _LEAST)[:, None])
        group, member = np.divmod(near, GROUP_ITEMS)
        return users[group], groups[group] + member * self.num_groups, values.reshape(-1)[near]


def by_block(positions: Rows, blocks: int) -> list[Rows]:
    """Indices of positions by block."""
    order = np.argsort(positions, kind="stable")
    return np.split(order, np.searchsorted(positions[order], np.arange(1, blocks) * BLOCK_ITEMS))


def _bits(values: torch.Tensor) -> npt.NDArray[Any]:
    """View of the same memory as integers; NumPy knows no bfloat16."""
    return values.view(torch.int32 if values.dtype == torch.float32 else torch.int16).numpy()


def _norms(vectors: torch.Tensor) -> torch.Tensor:
    lengths: torch.Tensor = torch.linalg.vector_norm(vectors, dim=1)
    return lengths
