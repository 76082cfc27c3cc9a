"""Affinity of users to sets of items: the scores of user segments.

    affinity(user, set) = log( sum over the set of exp(score(user, item)) / sum over all items of exp(score(user, item)) )

That is the log of the summed shares that `recommend` writes for these items, sparse scores included. Items are scored exactly,
in float32, in blocks that stay in cache; the sums are running log-sum-exps, so no share is too small to be told from another.

Results do not depend on which users share a call: the shape of all products is fixed (a short batch is filled up with
zeros). For the same bytes on every run, use one thread.

Shapes: B users, N items, D numbers of a query, Q sets, R users of one product.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from hrnn.data.arrays import Doubles, Rows
from hrnn.data.ragged import Ragged, row_ids
from hrnn.data.sparse_scores import SparseScores
from schemas.errors import IntegrityError

BLOCK_ITEMS = 4096
MOST_ROWS = 128  # R; a block's scores take 2 MiB


def sets_of(sets: Sequence[npt.ArrayLike]) -> Ragged[np.int64]:
    """Sets as sorted item rows without repeats: [Q], none empty."""
    return Ragged.from_rows([np.unique(items) for items in sets], np.int64)


class Affinity:
    """Computes affinities to sets of items of a catalogue.

    Args:
        item_vectors: float32 [N, D].
        item_bias: float32 [N].
        sets: [Q], from `sets_of`, of item rows below N.

    Raises:
        IntegrityError: A parameter is not a finite number.
    """

    def __init__(self, item_vectors: torch.Tensor, item_bias: torch.Tensor, sets: Ragged[np.int64]) -> None:
        if not (bool(torch.isfinite(item_vectors).all()) and bool(torch.isfinite(item_bias).all())):
            raise IntegrityError("the model holds parameters that are not finite numbers; train it again.")
        self._dimension, self._num_sets = item_vectors.shape[1], len(sets)
        vectors, bias = item_vectors.detach().float(), item_bias.detach().float()
        blocks = [slice(start, start + BLOCK_ITEMS) for start in range(0, len(bias), BLOCK_ITEMS)]
        self._blocks = [(vectors[block].t().contiguous(), bias[block]) for block in blocks]
        self._pieces = _pieces(sets, len(self._blocks))

    def of(self, queries: torch.Tensor, sparse: SparseScores) -> Doubles:
        """Affinity of B users to every set.

        Args:
            queries: float32 [B, D].
            sparse: Of the same B users.

        Returns:
            float64 [B, Q], at most 0.

        Raises:
            IntegrityError: A user's state is not made of finite numbers.
        """
        affinities = np.empty((len(queries), self._num_sets))
        for start in range(0, len(queries), MOST_ROWS):
            end = min(start + MOST_ROWS, len(queries))
            affinities[start:end] = self._of_batch(queries[start:end], sparse.part(start, end))[: end - start]
        if not np.isfinite(affinities).all():
            raise IntegrityError("a user's state is not made of finite numbers; train the model again.")
        return affinities

    def _of_batch(self, queries: torch.Tensor, sparse: SparseScores) -> Doubles:
        """Affinities [R, Q] of at most R users; the rows behind them are undefined."""
        padded = torch.zeros(MOST_ROWS, self._dimension)
        padded[: len(queries)] = queries
        # Sparse scores by block of items, to be added to each block's products.
        users = row_ids(sparse.offsets)
        order = np.argsort(sparse.item_rows, kind="stable")
        ends = np.searchsorted(sparse.item_rows[order], np.arange(1, len(self._blocks) + 1) * BLOCK_ITEMS)
        whole, parts = _LogSum((MOST_ROWS, 1)), _LogSum((MOST_ROWS, self._num_sets))
        for (vectors, bias), pieces, in_block in zip(self._blocks, self._pieces, np.split(order, ends)[:-1], strict=True):
            cells = torch.addmm(bias, padded, vectors).numpy()  # [R, items of the block]
            cells[users[in_block], sparse.item_rows[in_block] % BLOCK_ITEMS] += sparse.scores[in_block]
            # Sets first: indexing copies their columns, while the sum over all items overwrites the block itself.
            for number, columns in pieces:
                parts.add(slice(number, number + 1), cells[:, columns])
            whole.add(slice(0, 1), cells)
        # A set of nearly all items may come out a hair above the whole, from sums in another order.
        with np.errstate(invalid="ignore"):  # what is not finite is found by the caller
            return np.minimum(parts.value() - whole.value(), 0.0)


class _LogSum:
    """Running log-sum-exps.

    Args:
        shape: [R, how many sums a row].
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self._greatest, self._total = np.full(shape, -np.inf), np.zeros(shape)

    def add(self, at: slice, scores: npt.NDArray[np.float32]) -> None:
        """Add exp(scores), float32 [R, any], to one sum of each row; may overwrite the scores."""
        greatest = np.maximum(self._greatest[:, at], scores.max(axis=1, keepdims=True))
        with np.errstate(invalid="ignore"):
            scores -= greatest.astype(np.float32)  # exact: the greatest of float32 numbers is one
            np.exp(scores, out=scores)
            kept = self._total[:, at] * np.exp(self._greatest[:, at] - greatest)  # at first, 0 · exp(-inf)
            self._total[:, at] = kept + scores.sum(axis=1, keepdims=True, dtype=np.float64)
        self._greatest[:, at] = greatest

    def value(self) -> Doubles:
        """The log-sum-exps so far."""
        with np.errstate(divide="ignore"):
            return np.asarray(self._greatest + np.log(self._total))


def _pieces(sets: Ragged[np.int64], num_blocks: int) -> list[list[tuple[int, Rows]]]:
    """For each block, the sets that have items in it, and the columns of these."""
    pieces: list[list[tuple[int, Rows]]] = [[] for _ in range(num_blocks)]
    for number in range(len(sets)):
        rows = sets.row(number)
        blocks, starts = np.unique(rows // BLOCK_ITEMS, return_index=True)
        for block, columns in zip(blocks.tolist(), np.split(rows % BLOCK_ITEMS, starts[1:]), strict=True):
            pieces[block].append((number, columns))
    return pieces
