"""aws-sims: item-to-item collaborative filtering by shared users.

    score(i, j) = users with both / (users with i · users with j) ** popularity_discount_factor

Factor 0 counts shared users, so popular items come first; ½ is the cosine of the two items' sets of users; 1 is the lift, up to
a constant, in which popularity has no part. Users with i don't change the order of i's neighbours. A user counts once an item.

Users and items outside the percentiles of their numbers of events are left out, and so are pairs of fewer shared users than
min_cointeraction_count. Of a history with more distinct items than MOST_ITEMS, the newest of them are paired: a user with n
items has n² pairs, so a few machines among the users would cost more than all people.

Source: what the factor's ends mean is Amazon Personalize's (developer guide, SIMS recipe), whose formula is not published;
cosine: Linden, Smith, York 2003, "Amazon.com recommendations: item-to-item collaborative filtering"; lift: Brin et al. 1997.

Shapes: N items; P pairs of user and item.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hrnn.data.arrays import Flags, Floats, Rows
from hrnn.data.ragged import Ragged, offsets_of
from hrnn.data.sequences import Sequences
from hrnn.data.sparse_scores import SparseScores
from hrnn.data.splits import users_between
from hrnn.evaluation.metrics import DEPTH
from hrnn.models.contract import ItemMatrix, ModelEntry, Queries, no_queries
from schemas.errors import DataError
from schemas.recipes import SimsHyperparameters

MOST_NEIGHBOURS = 500  # of an item
MOST_ITEMS = 1_000  # of a user, the newest
_EVENTS_AT_ONCE = 1 << 24
_PAIRS_AT_ONCE = 1 << 23
_DENSE_CELLS = 1 << 24  # of counts, 128 MiB; pairs of more cells are counted by sorting
_LAST = -1e6  # score of the query's own item: it is not recommended


@dataclass(frozen=True)
class Neighbours:
    """Related items of every item, best first.

    Attributes:
        offsets: int64 [N + 1]; item i's are [offsets[i], offsets[i + 1]) of the other two.
        item_rows: int32, at most MOST_NEIGHBOURS an item.
        scores: float32, falling within an item; equal scores in order of item row.
    """

    offsets: Rows
    item_rows: npt.NDArray[np.int32]
    scores: Floats


class Sims:
    """A QueryModel whose query is the user's last item: its neighbours first, then popular items.

    Args:
        neighbours: Of every item.
        num_users: [N], distinct users of each item.
    """

    def __init__(self, neighbours: Neighbours, num_users: npt.ArrayLike) -> None:
        self.neighbours = neighbours
        counts = np.asarray(num_users, dtype=np.float64)
        self._bias = np.log(np.maximum(counts, 0.5)).astype(np.float32)

    @classmethod
    def fit(cls, sequences: Sequences, hyperparameters: SimsHyperparameters) -> Sims:
        """Count shared users and rank each item's neighbours.

        Raises:
            DataError: The percentiles leave no user, or no item.
        """
        users = users_between(
            sequences, hyperparameters.min_user_history_length_percentile, hyperparameters.max_user_history_length_percentile
        )
        eligible = _items_between(
            sequences,
            hyperparameters.min_item_interaction_count_percentile,
            hyperparameters.max_item_interaction_count_percentile,
        )
        pairs = _UserItemPairs.of(sequences, users, eligible)
        all_pairs = _UserItemPairs.of(sequences, np.arange(sequences.num_users), np.ones(sequences.num_items, dtype=np.bool_))
        neighbours = pairs.neighbours(
            hyperparameters.popularity_discount_factor, max(1, hyperparameters.min_cointeraction_count)
        )
        return cls(neighbours, all_pairs.num_users)

    def parameters(self) -> dict[str, Tensor]:
        """The neighbours, as they are stored."""
        return {
            "related.offsets": torch.from_numpy(self.neighbours.offsets),
            "related.item_rows": torch.from_numpy(self.neighbours.item_rows),
            "related.scores": torch.from_numpy(self.neighbours.scores),
        }

    def items(self) -> ItemMatrix:
        """No vectors [N, 0]; biases [N]: log of the number of users, log ½ for an item that has none."""
        return ItemMatrix(torch.zeros(len(self._bias), 0), torch.from_numpy(self._bias))

    def queries(self, histories: Sequences, user_rows: Rows) -> Queries:
        """The same empty query for everybody."""
        return no_queries(len(user_rows))

    def sparse_scores(self, histories: Sequences, user_rows: Rows) -> SparseScores | None:
        """Ranks the best neighbours of each user's last item before all other items, and that item behind them."""
        known, last = histories.last_items(user_rows)
        num_neighbours = np.minimum(np.diff(self.neighbours.offsets)[last], DEPTH)  # lists that are measured hold no more
        positions = Ragged.expand(self.neighbours.offsets[last], num_neighbours).values
        neighbours = self.neighbours.item_rows[positions].astype(np.int64)
        rank = Ragged.expand(np.zeros_like(num_neighbours), num_neighbours).values
        # A sparse score is added to the bias: less the bias, what is left is a whole number above all biases, falling by rank.
        front = float(self._bias.max(initial=0.0)) + DEPTH + 1.0
        item_rows = np.concatenate([neighbours, last])
        scores = np.concatenate([front - rank - self._bias[neighbours], np.full(len(last), _LAST)]).astype(np.float32)
        order = np.argsort(np.concatenate([np.repeat(known, num_neighbours), known]), kind="stable")
        counts = np.zeros(len(user_rows), dtype=np.int64)
        counts[known] = num_neighbours + 1
        return SparseScores(offsets_of(counts), item_rows[order], scores[order])


class PopularForUsers:
    """Popular items, for lists of users; neighbours are stored beside it for lists of items.

    Args:
        sims: The fitted model.
    """

    def __init__(self, sims: Sims) -> None:
        self._sims = sims

    def items(self) -> ItemMatrix:
        """As Sims's."""
        return self._sims.items()

    def queries(self, histories: Sequences, user_rows: Rows) -> Queries:
        """The same empty query for everybody."""
        return no_queries(len(user_rows))

    def sparse_scores(self, histories: Sequences, user_rows: Rows) -> None:
        """None: the list is the same for everybody."""


ENTRIES = (ModelEntry(recipes=("aws-sims",), fit=Sims.fit, serve=lambda sims: (PopularForUsers(sims), sims.parameters())),)


@dataclass(frozen=True)
class _UserItemPairs:
    """Sparse binary matrix of users by items, with P entries, by row and by column.

    Attributes:
        items: [users] item rows of each user.
        users: [N] users of each item.
    """

    items: Ragged[np.int32]
    users: Ragged[np.int32]

    @classmethod
    def of(cls, sequences: Sequences, user_rows: Rows, eligible: Flags) -> _UserItemPairs:
        """Pairs of the given users and the eligible items, a block of users at a time."""
        events = np.cumsum(sequences.history_lengths[user_rows])
        lengths = np.zeros(len(user_rows), dtype=np.int64)
        blocks = []
        for begin, end in _blocks(events, _EVENTS_AT_ONCE):
            users, item_rows = _distinct(sequences, user_rows[begin:end], eligible)
            lengths[begin:end] = np.bincount(users, minlength=end - begin)
            blocks.append(item_rows)
        items = Ragged.from_lengths(lengths, np.concatenate([np.empty(0, dtype=np.int32), *blocks]))
        # The transpose, block by block: `filled` is where each item's next user goes.
        offsets = offsets_of(np.bincount(items.values, minlength=len(eligible)))
        by_item, filled = np.empty(len(items.values), dtype=np.int32), offsets[:-1].copy()
        for begin, end in _blocks(items.offsets[1:], _EVENTS_AT_ONCE):
            block = items.part(begin, end).values
            owners = np.repeat(np.arange(begin, end, dtype=np.int32), lengths[begin:end])
            order = np.argsort(block, kind="stable")
            counts = np.bincount(block, minlength=len(eligible))
            by_item[Ragged.expand(filled, counts).values] = owners[order]
            filled += counts
        return cls(items, Ragged(offsets, by_item))

    @property
    def num_users(self) -> Rows:
        """Distinct users of each item: int64 [N]."""
        return self.users.lengths

    def neighbours(self, discount: float, least: int) -> Neighbours:
        """Score all pairs of items with at least `least` shared users, a block of items at a time; keep each one's best."""
        num_items, per_user = len(self.users), self.items.lengths
        # How many pairs each item has: the lengths of its users' lists.
        sums = offsets_of(per_user[self.users.values])
        weights = np.maximum(self.num_users, 1).astype(np.float64) ** -discount
        kept_items, kept_scores, counts = list[npt.NDArray[np.int32]](), list[Floats](), np.zeros(num_items, dtype=np.int64)
        for begin, end in _blocks(sums[self.users.offsets[1:]], _PAIRS_AT_ONCE):
            # Keys are of the block's items alone, so that one dense count holds them all where the catalogue is small.
            keys, shared = self._shared(begin, end, per_user)
            of_item, other = keys // num_items, keys % num_items
            valid = (shared >= least) & (other != of_item + begin)
            of_item, other = of_item[valid], other[valid]
            scores = (shared[valid] * weights[other] * weights[of_item + begin]).astype(np.float32)
            order = np.lexsort((other, -scores, of_item))  # item by item, best first, ties by item row
            of_item = of_item[order]
            order = order[np.arange(len(order)) - np.searchsorted(of_item, of_item) < MOST_NEIGHBOURS]
            kept_items.append(other[order].astype(np.int32))
            kept_scores.append(scores[order])
            counts[begin:end] = np.minimum(np.bincount(of_item, minlength=end - begin), MOST_NEIGHBOURS)
        return Neighbours(
            offsets_of(counts),
            np.concatenate([np.empty(0, dtype=np.int32), *kept_items]),
            np.concatenate([np.empty(0, dtype=np.float32), *kept_scores]),
        )

    def _shared(self, begin: int, end: int, per_user: Rows) -> tuple[Rows, Rows]:
        """Rising keys (i - begin) * N + j of items i from `begin` to `end`, and how many users share i and j."""
        num_items, block = len(self.users), self.users.part(begin, end)
        of_item, owners, cells = block.row_ids(), block.values, (end - begin) * num_items
        counts = np.zeros(0, dtype=np.int64)
        for low, high in _blocks(np.cumsum(per_user[owners]), _PAIRS_AT_ONCE):  # several only where one item has too many
            users = owners[low:high]
            other = self.items.take(users).values
            keys = np.repeat(of_item[low:high] * num_items, per_user[users]) + other
            if end - begin > 1 and cells > _DENSE_CELLS:  # several items are one chunk, so that there are no others to add
                distinct, shared = np.unique(keys, return_counts=True)
                return distinct, shared
            of_block = np.bincount(keys, minlength=cells)
            counts = counts + of_block if len(counts) else of_block
        distinct = np.flatnonzero(counts)
        return distinct, counts[distinct]


def _distinct(sequences: Sequences, user_rows: Rows, eligible: Flags) -> tuple[Rows, npt.NDArray[np.int32]]:
    """Users, from 0, and their distinct eligible items, of each user the newest MOST_ITEMS."""
    events = sequences.event_positions(user_rows)
    users, items = events.row_ids(), np.asarray(sequences.item_rows[events.values])
    kept = eligible[items]
    users, items = users[kept], items[kept]
    # np.unique gives the first of equal keys: counted from the end, that is the newest.
    keys, newest = np.unique((users * np.int64(sequences.num_items) + items)[::-1], return_index=True)
    users, items = keys // sequences.num_items, (keys % sequences.num_items).astype(np.int32)
    lengths = np.bincount(users, minlength=len(user_rows))
    if lengths.max(initial=0) > MOST_ITEMS:
        order = np.lexsort((newest, users))
        rank = np.arange(len(order)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        kept = np.sort(order[rank < MOST_ITEMS])
        users, items = users[kept], items[kept]
    return users, items


def _items_between(sequences: Sequences, low: float, high: float) -> Flags:
    """Items, bool [N], whose number of events lies between two percentiles of the items with events, bounds included.

    Raises:
        DataError: No item is left.
    """
    counts = sequences.item_counts()
    of_active = counts[counts > 0]
    fewest, most = np.quantile(of_active, [low, high]) if len(of_active) else (1, 0)
    between: Flags = (counts > 0) & (counts >= fewest) & (counts <= most)
    if not between.any():
        raise DataError(
            "no item is left between the percentiles of interaction counts",
            value=[low, high],
            remedy="Widen min_item_interaction_count_percentile and max_item_interaction_count_percentile.",
        )
    return between


def _blocks(totals: Rows, most: int) -> list[tuple[int, int]]:
    """Ranges [begin, end) of consecutive rows with at most `most` entries, unless one row alone has more.

    Args:
        totals: [n], running totals of the rows' entries.
        most: Of a range.
    """
    blocks, begin = [], 0
    while begin < len(totals):
        done = int(totals[begin - 1]) if begin else 0
        end = max(begin + 1, int(np.searchsorted(totals, done + most, side="right")))
        blocks.append((begin, end))
        begin = end
    return blocks
