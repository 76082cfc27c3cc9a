"""The best items of many users, exactly, by score(user, item) = query · item vector + item bias + sparse score.

Of a small catalogue all items are scored in float32 (`direct_scores`). Of a larger one all are scored coarsely, with a bound on
the error (`coarse_scores`). K items surely reach some score; every item that may reach it is scored anew in float32, and the K
best of those are the K best of all. The sum that shares need is that of coarse scores, but for its largest terms: a share is
within a thousandth of what float64 gives.

Results do not depend on which users are asked together: the shapes of all matrix products are fixed by the catalogue alone
(a short batch is filled up with zeros), each row of a product is computed alike wherever it stands, an exact score is always
summed in one order, and equal scores are put in order of item row. For the same bytes on every run, use one thread
(`torch.set_num_threads(1)`) on the same kind of processor: of another kind, shares may differ by that thousandth.

Shapes: B users asked, N items, D numbers of a query, K returned, R users of one product, G groups of 64 items.
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
    """Holds a catalogue in the layout that is multiplied fastest, and the buffers that every call reuses.

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
        """The best items of each user.

        Args:
            queries: float32 [B, D].
            sparse: Of the same B users.
            num_results: K; at least 1.
            allowed: What the same B users may get; None: everything.

        Raises:
            IntegrityError: A user's state is not made of finite numbers.
        """
        found = TopItems.none(len(queries), min(num_results, self.num_items))
        for start in range(0, len(queries), self.rows):
            end = min(start + self.rows, len(queries))
            few = None if allowed is None else allowed.part(start, end)
            self._fill(found.part(start, end), queries[start:end], sparse.part(start, end), few)
        return found

    def _fill(self, found: TopItems, queries: torch.Tensor, sparse: SparseScores, allowed: Allowed | None) -> None:
        """The best items of at most R users."""
        if self._direct is not None:
            self._direct.fill(found, queries, sparse, allowed)
            return
        coarse, exact = self._coarse, _ExactScores(self._vectors, self._bias, queries, sparse)
        quick = coarse.within_reach(queries)
        quick[exact.sparse.users[~(exact.sparse_scores < MOST_REACH / 2)]] = False
        mine = quick[exact.sparse.users]
        asked = torch.where(torch.from_numpy(quick)[:, None], queries, 0.0)
        cells = self._allowed_cells(allowed, found.item_rows.shape[1])
        hidden = None if cells is None or cells.listed.all() else cells
        coarse.scan(asked, exact.sparse.users[mine], exact.sparse.item_rows[mine], exact.sparse_scores[mine], hidden)
        totals = coarse.totals[: len(quick)]
        quick &= np.isfinite(totals)
        head = coarse.large(np.where(quick, totals, 1.0))
        users, item_rows, of_cells, near = self._near(found.item_rows.shape[1], quick, head, cells)
        scores = exact.of(users, item_rows)
        terms, large = np.exp2(coarse.in_powers(users, scores)), of_cells >= head[users]
        tails = totals - np.bincount(users[large], np.exp2(of_cells[large].astype(np.float64)), len(quick))
        sums = np.bincount(users[large], terms[large], len(quick)) + np.maximum(tails, 0.0) * coarse.tail_factors(head)
        put_best(found, users[near], item_rows[near], scores[near])
        listed = np.exp2(coarse.in_powers(np.arange(len(quick))[:, None], found.scores))
        found.shares[:] = listed / np.maximum(sums, listed.sum(1))[:, None]  # a sum of coarse terms may fall a little short
        for user in np.flatnonzero(~quick).tolist():
            of_user = None if allowed is None else allowed.part(user, user + 1).dense()[0]
            exact.fill(found.part(user, user + 1), user, of_user)

    def _near(self, wanted: int, quick: Flags, head: Floats, allowed: AllowedCells | None) -> tuple[Rows, Rows, Floats, Flags]:
        """Pairs that must be scored exactly: users, item rows, cells, and whether they can be among a user's best.

        The others are large terms of the sum that a user may not get. `quick` loses users with too many.
        """
        chosen, reached = self._coarse.candidates(len(quick), wanted)
        if allowed is not None:
            chosen[allowed.listed], reached[allowed.listed] = False, np.inf
        quick &= chosen.sum(1) <= 8 * wanted + 512
        chosen |= self._coarse.group_best[: len(quick)].numpy() >= head[:, None]
        chosen[~quick] = False
        users, item_rows, cells = self._coarse.pairs(chosen, reached, head)
        if allowed is None:
            return users, item_rows, cells, np.ones(len(users), dtype=np.bool_)
        near, large_ones = ~allowed.listed[users], cells >= head[users]
        near[near] = allowed.allows(users[near], item_rows[near])
        kept, (listed_users, listed_items) = near | large_ones, allowed.lists()
        listed = quick[listed_users]
        users = np.concatenate([users[kept], listed_users[listed]])
        order = np.argsort(users, kind="stable")
        return (
            users[order],
            np.concatenate([item_rows[kept], listed_items[listed]])[order],
            np.concatenate([cells[kept], np.full(np.count_nonzero(listed), -np.inf, dtype=np.float32)])[order],
            np.concatenate([near[kept], np.ones(np.count_nonzero(listed), dtype=np.bool_)])[order],
        )

    def _allowed_cells(self, allowed: Allowed | None, wanted: int) -> AllowedCells | None:
        if allowed is None:
            return None
        return AllowedCells(allowed, self._coarse, self.num_items, max(4 * wanted, self.num_items // _FEW_ARE_ONE_OF))


class _ExactScores:
    """Scores of pairs of users and items, each a sum in one order wherever the pair stands.

    Attributes:
        sparse: The pairs that have a sparse score.
        sparse_scores: float32, their scores.
    """

    def __init__(self, vectors: torch.Tensor, bias: Floats, queries: torch.Tensor, sparse: SparseScores) -> None:
        self._vectors, self._bias, self._queries = vectors, bias, queries
        self.sparse = Pairs(Ragged(sparse.offsets, sparse.item_rows), len(bias))
        with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is refused later
            self.sparse_scores: Floats = self._without_sparse(self.sparse.users, sparse.item_rows) + sparse.scores

    def of(self, users: Rows, item_rows: Rows) -> Floats:
        """float32 [n]."""
        scores, places = self._without_sparse(users, item_rows), self.sparse.find(users, item_rows)
        known = places >= 0
        scores[known] = self.sparse_scores[places[known]]
        return scores

    def _without_sparse(self, users: Rows, item_rows: Rows) -> Floats:
        scores = np.empty(len(users), dtype=np.float32)
        with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is refused below
            for start in range(0, len(users), _PAIRS_AT_ONCE):
                some = slice(start, start + _PAIRS_AT_ONCE)
                vectors = self._vectors.index_select(0, torch.from_numpy(np.require(item_rows[some], requirements="W"))).numpy()
                queries = self._queries.index_select(0, torch.from_numpy(users[some])).numpy()
                np.einsum("nd,nd->n", vectors, queries, out=scores[some])
            return scores + self._bias[item_rows]

    def fill(self, found: TopItems, user: int, allowed: Flags | None) -> None:
        """The best items of one user by the scores of all: slowly, and whatever they are.

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
        put_best(found, np.zeros(len(item_rows), dtype=np.int64), item_rows, scores)
        found.shares[:] = np.exp(found.scores.astype(np.float64) - greatest) / total
