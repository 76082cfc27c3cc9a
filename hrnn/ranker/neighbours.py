"""Neighbourhoods over whole histories: items by the users that they share, users by the items that they share.

    item score(u, j) = sum over items i of u of  w(u, i) · cosine(i, j)
    user score(u, j) = sum over neighbours v of u of  cosine(u, v)² · w(v, j)

where w(u, i) falls by half in HALF_LIFE_DAYS since the user's last event with the item; user vectors are weighted by inverse
document frequency before their cosine is taken. Unlike co-occurrence in sessions (hrnn/blend/cooccurrence.py), the items of a
user need not lie close together.

Source: item-kNN: Sarwar et al. 2001; user-kNN: Herlocker et al. 1999, with the cosine squared for the weight of a neighbour.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from hrnn.data.arrays import Floats, Rows
from hrnn.data.ragged import offsets_of, row_ids
from hrnn.data.sequences import Sequences

HALF_LIFE_DAYS = 60.0
_DAY = 86_400
_MOST_OF_USER = 200  # events of a user, the newest: an item-to-item matrix grows with their square
_MOST_ASKED = 50  # of them, to score by
_MOST_NEIGHBOURS = 50  # of an item
_NEAREST = 100  # users
_SHRINKAGE = 1.0  # of an item's norm: rare items are near to nobody
_WORK = 2_000  # entries of a product a user, on average: neighbours are looked for among fewer users where it would be more
_BLOCK = 2_048


@dataclass(frozen=True)
class Neighbourhoods:
    """Item-to-item similarities, and the users that neighbours are looked for among.

    Attributes:
        as_of: UTC epoch seconds.
        similarity: float32 [N, N], the greatest of each row, without its own item.
        users: int64 [M], rising, users who may be neighbours: the ones whose last event is newest.
        vectors: float32 [N, M], their vectors, normed; of items, for products.
        weights: float32 [M, N], w of their items.
        rarity: float32 [N], inverse document frequency.
    """

    as_of: int
    similarity: sp.csr_matrix
    users: Rows
    vectors: sp.csr_matrix
    weights: sp.csr_matrix
    rarity: Floats

    @classmethod
    def of(cls, sequences: Sequences, as_of: int) -> Neighbourhoods:
        """Of the events of sequences, possibly truncated."""
        active = np.flatnonzero(sequences.history_lengths)
        weights = _weights(sequences, active, as_of, _MOST_OF_USER)
        holders = np.bincount(weights.indices, minlength=sequences.num_items).astype(np.float64)
        norms = np.sqrt(np.bincount(weights.indices, weights.data.astype(np.float64) ** 2, sequences.num_items)) + _SHRINKAGE
        similarity = _nearest_items((weights @ sp.diags(1.0 / norms)).tocsr().astype(np.float32))
        rarity = np.log1p(len(active) / (holders + 1.0)).astype(np.float32)
        # The work of looking for neighbours grows with the square of an item's holders.
        share = min(1.0, _WORK / max(1.0, float((holders**2).sum()) / max(1, len(active))))
        last = sequences.timestamps[sequences.user_offsets[:-1][active] + sequences.history_lengths[active] - 1]
        newest = np.sort(np.argsort(-np.asarray(last), kind="stable")[: max(1, int(share * len(active)))])
        return cls.of_users(as_of, similarity, active[newest], weights[newest], rarity)

    @classmethod
    def of_users(
        cls, as_of: int, similarity: sp.csr_matrix, users: Rows, weights: sp.csr_matrix, rarity: Floats
    ) -> Neighbourhoods:
        """Of users who may be neighbours; arguments are the attributes."""
        return cls(as_of, similarity, users, _normed(weights, rarity).T.tocsr(), weights, rarity)

    def item_scores(self, sequences: Sequences, user_rows: Rows) -> sp.csr_matrix:
        """float32 [B, N], sorted by item within a row."""
        return _sorted(_weights(sequences, user_rows, self.as_of, _MOST_ASKED) @ self.similarity)

    def user_scores(self, sequences: Sequences, user_rows: Rows) -> sp.csr_matrix:
        """float32 [B, N], sorted by item within a row."""
        cosine = (_normed(_weights(sequences, user_rows, self.as_of, _MOST_OF_USER), self.rarity) @ self.vectors).tocsr()
        rows, columns = _places(cosine)
        others = self.users[columns] != user_rows[rows]
        kept = strongest(rows[others], cosine.data[others], _NEAREST)
        nearest = np.flatnonzero(others)[kept]
        squares = cosine.data[nearest] ** 2
        return _sorted(sp.csr_matrix((squares, (rows[nearest], columns[nearest])), shape=cosine.shape) @ self.weights)


def strongest(rows: Rows, values: Floats, most: int) -> Rows:
    """Positions, rising, of the `most` greatest values of each row; of equal ones the first. `rows` rise."""
    lengths = np.bincount(rows) if len(rows) else np.zeros(0, dtype=np.int64)
    if not len(rows) or lengths.max() <= most:
        return np.arange(len(rows))
    keys = falling_keys(rows, values)
    ends = np.cumsum(lengths)
    bound = np.sort(keys)[np.maximum(ends - lengths + np.minimum(lengths, most) - 1, 0)][rows]
    kept = keys < bound
    equal = np.flatnonzero(keys == bound)
    room = most - np.bincount(rows[kept], minlength=len(lengths))
    of_equal = rows[equal]
    kept[equal[np.arange(len(equal)) - np.searchsorted(of_equal, of_equal) < room[of_equal]]] = True
    return np.flatnonzero(kept)


def falling_keys(rows: Rows, values: Floats) -> Rows:
    """Whole numbers that rise with the row, and fall as values rise in one: sorted many times as fast as pairs; 0 is -0."""
    bits = np.ascontiguousarray(values + np.float32(0), dtype=np.float32).view(np.int32)  # -0 + 0 is 0
    return (rows << 32) - (bits ^ ((bits >> 31) & 0x7FFFFFFF))  # bits of floats, made to rise with their value


def _weights(sequences: Sequences, user_rows: Rows, as_of: int, most: int) -> sp.csr_matrix:
    """w of the newest `most` events' items: float32 [B, N], sorted."""
    events = sequences.newest_positions(user_rows, most)
    ages = np.maximum(as_of - np.asarray(sequences.timestamps[events.values]), 0) / _DAY
    weights = np.exp2(-ages / HALF_LIFE_DAYS).astype(np.float32)
    keys = events.row_ids() * np.int64(sequences.num_items) + sequences.item_rows[events.values]
    # Of several events with an item the last counts: they stand in order of time, and a stable sort leaves them so.
    order = np.argsort(keys, kind="stable")
    last = order[np.flatnonzero(np.append(np.diff(keys[order]) != 0, True)[: len(keys)])]
    users, items = np.divmod(keys[last], sequences.num_items)
    offsets = offsets_of(np.bincount(users, minlength=len(user_rows)))
    return sp.csr_matrix((weights[last], items, offsets), shape=(len(user_rows), sequences.num_items))


def _normed(weights: sp.csr_matrix, rarity: Floats) -> sp.csr_matrix:
    """Rows times rarity, of length 1."""
    rows, columns = _places(weights)
    values = weights.data * rarity[columns]
    norms = np.sqrt(np.bincount(rows, values.astype(np.float64) ** 2, weights.shape[0]))
    return sp.csr_matrix(
        (values / np.maximum(norms[rows], 1e-9).astype(np.float32), columns, weights.indptr), shape=weights.shape
    )


def _nearest_items(normed: sp.csr_matrix) -> sp.csr_matrix:
    """The most similar items of each item: a block of rows of the product at a time."""
    transposed, num_items = normed.T.tocsr(), normed.shape[1]
    blocks = []
    for begin in range(0, num_items, _BLOCK):
        block = (transposed[begin : begin + _BLOCK] @ normed).tocsr()
        rows, columns = _places(block)
        others = np.flatnonzero(columns != rows + begin)
        kept = others[strongest(rows[others], block.data[others], _MOST_NEIGHBOURS)]
        blocks.append(sp.csr_matrix((block.data[kept], (rows[kept], columns[kept])), shape=block.shape))
    return _sorted(sp.vstack(blocks))


def _places(matrix: sp.csr_matrix) -> tuple[Rows, Rows]:
    """Row and column of each entry."""
    return row_ids(matrix.indptr.astype(np.int64)), matrix.indices.astype(np.int64)


def _sorted(matrix: sp.spmatrix) -> sp.csr_matrix:
    rows = matrix.tocsr()
    rows.sort_indices()
    return rows
