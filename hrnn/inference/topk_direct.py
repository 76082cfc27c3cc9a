"""Plain exact top-K for catalogues of some thousand items: all scores in float32, pruned by maxima of groups.

The K-th largest of the maxima of groups of items is reached by K items at least, so that lower scores are not among the K best.
What is left, some more than K items a user, is sorted.

Shapes: R users of one product, N items, D numbers of a query, G groups; N is filled up to whole groups.
"""

from __future__ import annotations

import numpy as np
import torch

from hrnn.data.arrays import Floats
from hrnn.data.ragged import row_ids
from hrnn.data.sparse_scores import SparseScores
from hrnn.inference.allowed import Allowed
from hrnn.inference.top_items import TopItems, put_best
from schemas.errors import IntegrityError

USERS = 64  # R: their scores stay in a core's cache
_GROUP_ITEMS = 16  # N / G; items of a group are G apart, so that maxima are taken of whole rows at once
_FILL = 64  # N is a multiple of it, so that each column of a product is computed alike


class DirectScores:
    """Scores of a small catalogue, in buffers that every call reuses: products of one shape at one place of memory are equal.

    Args:
        vectors: float32 [N, D]; D may be 0.
        bias: float32 [N].
    """

    def __init__(self, vectors: torch.Tensor, bias: torch.Tensor) -> None:
        self._num_items, dimension = vectors.shape
        columns = -(-self._num_items // _FILL) * _FILL
        self._vectors = torch.zeros(dimension, columns)
        self._vectors[:, : self._num_items] = vectors.T
        self._bias = torch.full((columns,), -torch.inf)
        self._bias[: self._num_items] = bias
        self._queries, self._scores = torch.empty(USERS, dimension), torch.empty(USERS, columns)
        self._powers = torch.empty(USERS, columns)

    def fill(self, top: TopItems, queries: torch.Tensor, sparse: SparseScores, allowed: Allowed | None) -> None:
        """Write the best items of at most R users.

        Raises:
            IntegrityError: A user's state is not made of finite numbers.
        """
        count, num_results = top.item_rows.shape
        self._queries[:count], self._queries[count:] = queries, 0.0
        scores = torch.mm(self._queries, self._vectors, out=self._scores).add_(self._bias)
        of_users = scores.numpy()[:count]
        with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is refused below
            of_users[row_ids(sparse.offsets), sparse.item_rows] += sparse.scores
        # Shares are of the whole catalogue: the sum is made before the filter hides anything.
        of_groups = self._greatest(scores)  # [R, G]
        greatest = of_groups.amax(1, keepdim=True)  # [R, 1]; NaN, if there is one
        if not np.isfinite(greatest[:count].numpy()).all():
            raise IntegrityError("a user's state is not made of finite numbers; train the model again.")
        sums = torch.sub(scores, greatest, out=self._powers).exp_().sum(1)
        if allowed is not None:
            self._hide(of_users, allowed)
            of_groups = self._greatest(scores)
        # Of fewer groups than K, maxima bound nothing: then the K-th largest score itself is looked for.
        least = _largest(of_groups.numpy()[:count] if num_results <= of_groups.shape[1] else of_users, num_results)
        if allowed is not None:
            least = np.maximum(least, np.finfo(np.float32).min)  # -inf is no candidate where few items are left
        users, item_rows = np.divmod(np.flatnonzero(of_users >= least[:, None]), of_users.shape[1])
        real = item_rows < self._num_items  # not the columns that fill up the last group
        users, item_rows = users[real], item_rows[real]
        put_best(top, users, item_rows, of_users[users, item_rows])
        powers = np.exp(top.scores.astype(np.float64) - greatest[:count].numpy())
        top.shares[:] = powers / np.maximum(sums[:count].double().numpy()[:, None], powers.sum(1, keepdims=True))

    def _hide(self, scores: Floats, allowed: Allowed) -> None:
        """Set -inf where an item is not allowed for a user."""
        added, removed = ((lists.row_ids(), lists.values) for lists in (allowed.added, allowed.removed))
        # Masks hide by adding -inf, so scores of added items are put aside and back; removed ones come last, and win.
        of_added = scores[added]
        masks, mask_of = np.unique(allowed.mask_of, return_inverse=True)
        hidden = torch.zeros(len(masks), self._num_items).masked_fill_(torch.from_numpy(~allowed.masks[masks]), -torch.inf)
        of_items = torch.from_numpy(scores)[:, : self._num_items]
        of_items += hidden if len(masks) == 1 else hidden[torch.from_numpy(mask_of)]
        scores[added] = of_added
        scores[removed] = -np.inf

    def _greatest(self, scores: torch.Tensor) -> torch.Tensor:
        """The greatest score of each group, [R, G]."""
        return scores.view(USERS, _GROUP_ITEMS, -1).amax(1)


def _largest(scores: Floats, rank: int) -> Floats:
    """The rank-th largest of each row."""
    place = scores.shape[1] - rank
    return np.asarray(np.partition(scores, place, axis=1)[:, place])
