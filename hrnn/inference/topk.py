"""Exact top-K items of many users by score(user, item) = query · item vector + item bias + sparse score.

Of a small catalogue all items are scored in float32 (`topk_direct.py`). Of a larger one all get approximate scores with a bound
on the error (`topk_bf16.py`), which prune candidates: K items surely reach some score; every item that may reach it is rescored
in float32, and the K best of those are the K best of all. The sum that shares need is that of coarse scores, except for its
largest terms: a share is within a thousandth of what float64 gives.

Results do not depend on which users share a call: the shapes of all matrix products are fixed by the catalogue alone
(a short batch is filled up with zeros), each row of a product is computed alike wherever it stands, an exact score is always
summed in one order, and equal scores are put in order of item row. For the same bytes on every run, use one thread
(`torch.set_num_threads(1)`) on the same kind of processor: of another kind, shares may differ by that thousandth.

Shapes: B users, N items, D numbers of a query, K returned, R users of one product, G groups of 64 items.
"""

from __future__ import annotations

import numpy as np
import torch

from hrnn.data.arrays import Flags, Floats, Rows
from hrnn.data.ragged import Ragged
from hrnn.data.sparse_scores import SparseScores
from hrnn.inference.allowed import Allowed
from hrnn.inference.pairs import AllowedCells, Pairs
from hrnn.inference.top_items import TopItems, put_best
from hrnn.inference.topk_bf16 import BLOCK_ITEMS, MOST_REACH, CoarseScores
from hrnn.inference.topk_direct import USERS, DirectScores
from hrnn.layers.products import coarse_type
from schemas.errors import IntegrityError

MOST_ROWS = 256  # R
MOST_CELL_BYTES = 256 << 20  # of coarse scores held at once

MOST_DIRECT_ITEMS = 16_000  # N; beyond, coarse numbers make products and sums so much cheaper that candidates pay

_PAIRS_AT_ONCE = 1 << 14  # scored exactly
_FEW_ARE_ONE_OF = 128  # items; scored exactly one by one for a user who may get no more


class Scorer:
    """Exact top-K scorer over a catalogue; holds the buffers that every call reuses.

    Args:
        item_vectors: float32 [N, D]; D may be 0.
        item_bias: float32 [N].
        kind: Number type of coarse products; None: what this processor multiplies fastest, and no coarse products where the
            catalogue is small.

    Raises:
        IntegrityError: There is no item, or a parameter is not a finite number.
    """

    def __init__(self, item_vectors: torch.Tensor, item_bias: torch.Tensor, kind: torch.dtype | None = None) -> None:
        self.num_items, self.dimension = item_vectors.shape
        if self.num_items == 0:
            raise IntegrityError("the model holds no items; train it again.")
        if not (bool(torch.isfinite(item_vectors).all()) and bool(torch.isfinite(item_bias).all())):
            raise IntegrityError("the model holds parameters that are not finite numbers; train it again.")
        vectors, bias = item_vectors.detach().float().contiguous(), item_bias.detach().float().contiguous()
        self._direct = DirectScores(vectors, bias) if kind is None and self.num_items <= MOST_DIRECT_ITEMS else None
        if self._direct is not None:
            self.rows = USERS
            return
        self._vectors, self._bias = vectors, bias.numpy()
        kind = kind or coarse_type(vectors)
        bytes_of_row = -(-self.num_items // BLOCK_ITEMS) * BLOCK_ITEMS * kind.itemsize
        self.rows = max(8, min(MOST_ROWS, MOST_CELL_BYTES // bytes_of_row // 8 * 8))
        self._coarse = CoarseScores(vectors, bias, self.rows, kind)

    def top(self, queries: torch.Tensor, sparse: SparseScores, num_results: int, allowed: Allowed | None = None) -> TopItems:
        """The K best items of each user.

        Args:
            queries: float32 [B, D].
            sparse: Of the same B users.
            num_results: K; at least 1.
            allowed: Of the same B users; None: all items.

        Raises:
            IntegrityError: A user's state is not made of finite numbers.
        """
        top = TopItems.none(len(queries), min(num_results, self.num_items))
        for start in range(0, len(queries), self.rows):
            end = min(start + self.rows, len(queries))
            of_batch = None if allowed is None else allowed.part(start, end)
            self._fill(top.part(start, end), queries[start:end], sparse.part(start, end), of_batch)
        return top

    def _fill(self, top: TopItems, queries: torch.Tensor, sparse: SparseScores, allowed: Allowed | None) -> None:
        """Write the best items of at most R users."""
        if self._direct is not None:
            self._direct.fill(top, queries, sparse, allowed)
            return
        coarse, exact = self._coarse, _ExactScores(self._vectors, self._bias, queries, sparse)
        # `quick` users can be scored coarsely; all others, whose numbers are huge or not finite, are scored exactly at the end.
        quick = coarse.within_reach(queries)
        quick[exact.sparse.users[~(exact.sparse_scores < MOST_REACH / 2)]] = False  # not `>=`, which NaN would pass
        of_quick = quick[exact.sparse.users]
        quick_queries = torch.where(torch.from_numpy(quick)[:, None], queries, 0.0)  # not dropped: users keep their places
        cells = self._allowed_cells(allowed, top.item_rows.shape[1])
        mask = None if cells is None or cells.listed.all() else cells
        sparse_users, sparse_items = exact.sparse.users[of_quick], exact.sparse.item_rows[of_quick]
        coarse.scan(quick_queries, sparse_users, sparse_items, exact.sparse_scores[of_quick], mask)
        totals = coarse.totals[: len(quick)]
        # A best item 128 powers of two above the base, which the pilot did not foresee, overflows the sum.
        quick &= np.isfinite(totals)
        # Candidates, and the softmax's largest terms, are rescored exactly.
        head = coarse.large(np.where(quick, totals, 1.0))
        users, item_rows, of_cells, near = self._near(top.item_rows.shape[1], quick, head, cells)
        scores = exact.of(users, item_rows)
        # The denominator: exact large terms, and the coarse rest, corrected for what rounding took from the queries.
        terms, large = np.exp2(coarse.in_powers(users, scores)), of_cells >= head[users]
        tails = totals - np.bincount(users[large], np.exp2(of_cells[large].astype(np.float64)), len(quick))
        sums = np.bincount(users[large], terms[large], len(quick)) + np.maximum(tails, 0.0) * coarse.tail_factors(head)
        put_best(top, users[near], item_rows[near], scores[near])
        listed = np.exp2(coarse.in_powers(np.arange(len(quick))[:, None], top.scores))
        top.shares[:] = listed / np.maximum(sums, listed.sum(1))[:, None]  # a sum of coarse terms may fall a little short
        for user in np.flatnonzero(~quick).tolist():
            of_user = None if allowed is None else allowed.part(user, user + 1).dense()[0]
            exact.fill(top.part(user, user + 1), user, of_user)

    def _near(
        self, num_results: int, quick: Flags, head: Floats, allowed: AllowedCells | None
    ) -> tuple[Rows, Rows, Floats, Flags]:
        """Pairs to be rescored exactly: users, item rows, cells, and whether they are candidates for a user's list.

        The others are large terms of the softmax's sum that the filter hides. Users with too many lose their mark in `quick`.
        """
        chosen, reached = self._coarse.candidates(len(quick), num_results)
        if allowed is not None:
            chosen[allowed.listed], reached[allowed.listed] = False, np.inf
        # Scores too close together to prune leave too many groups: such a user is scored exactly, item by item.
        quick &= chosen.sum(1) <= 8 * num_results + 512
        chosen |= self._coarse.group_best[: len(quick)].numpy() >= head[:, None]
        chosen[~quick] = False
        users, item_rows, cells = self._coarse.pairs(chosen, reached, head)
        if allowed is None:
            return users, item_rows, cells, np.ones(len(users), dtype=np.bool_)
        near, large = ~allowed.listed[users], cells >= head[users]
        near[near] = allowed.allows(users[near], item_rows[near])
        kept, (listed_users, listed_items) = near | large, allowed.lists()
        listed = quick[listed_users]
        users = np.concatenate([users[kept], listed_users[listed]])
        # `put_best` needs pairs user by user. A listed pair's cell is -inf here: where it is a large term of the sum, the
        # search in cells has found it as well, and it must not be added twice.
        order = np.argsort(users, kind="stable")
        return (
            users[order],
            np.concatenate([item_rows[kept], listed_items[listed]])[order],
            np.concatenate([cells[kept], np.full(np.count_nonzero(listed), -np.inf, dtype=np.float32)])[order],
            np.concatenate([near[kept], np.ones(np.count_nonzero(listed), dtype=np.bool_)])[order],
        )

    def _allowed_cells(self, allowed: Allowed | None, num_results: int) -> AllowedCells | None:
        if allowed is None:
            return None
        return AllowedCells(allowed, self._coarse, self.num_items, max(4 * num_results, self.num_items // _FEW_ARE_ONE_OF))


class _ExactScores:
    """Exact float32 scores of pairs of user and item, each summed in one order wherever the pair stands.

    Attributes:
        sparse: The pairs that have a sparse score.
        sparse_scores: float32, their whole scores.
    """

    def __init__(self, vectors: torch.Tensor, bias: Floats, queries: torch.Tensor, sparse: SparseScores) -> None:
        self._vectors, self._bias, self._queries = vectors, bias, queries
        self.sparse = Pairs(Ragged(sparse.offsets, sparse.item_rows), len(bias))
        with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is refused later
            self.sparse_scores: Floats = self._without_sparse(self.sparse.users, sparse.item_rows) + sparse.scores

    def of(self, users: Rows, item_rows: Rows) -> Floats:
        """Scores of pairs: float32 [n]."""
        scores, places = self._without_sparse(users, item_rows), self.sparse.find(users, item_rows)
        known = places >= 0
        scores[known] = self.sparse_scores[places[known]]
        return scores

    def _without_sparse(self, users: Rows, item_rows: Rows) -> Floats:
        """query · item vector + item bias: float32 [n]."""
        scores = np.empty(len(users), dtype=np.float32)
        with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is refused below
            for start in range(0, len(users), _PAIRS_AT_ONCE):
                chunk = slice(start, start + _PAIRS_AT_ONCE)
                rows = torch.from_numpy(np.require(item_rows[chunk], requirements="W"))  # of a mapped array Torch would warn
                vectors = self._vectors.index_select(0, rows).numpy()
                queries = self._queries.index_select(0, torch.from_numpy(users[chunk])).numpy()
                # Row by row, in one order of additions; a matrix product's would depend on how many pairs are in the call.
                np.einsum("nd,nd->n", vectors, queries, out=scores[chunk])
            return scores + self._bias[item_rows]

    def fill(self, top: TopItems, user: int, allowed: Flags | None) -> None:
        """Write the best items of one user from the exact scores of all items: slow, for numbers of any size.

        Raises:
            IntegrityError: The user's state is not made of finite numbers.
        """
        item_rows = np.arange(len(self._bias))
        scores = self.of(np.full(len(item_rows), user), item_rows)
        greatest = scores.max()
        if not np.isfinite(greatest):
            raise IntegrityError("a user's state is not made of finite numbers; train the model again.")
        total = np.exp(scores.astype(np.float64) - greatest).sum()
        if allowed is not None:
            item_rows, scores = item_rows[allowed], scores[allowed]
        put_best(top, np.zeros(len(item_rows), dtype=np.int64), item_rows, scores)
        top.shares[:] = np.exp(top.scores.astype(np.float64) - greatest) / total
