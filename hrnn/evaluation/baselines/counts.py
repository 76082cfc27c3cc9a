"""The two lists that a nightly model has to beat: what everybody takes, and what the user took before."""

from __future__ import annotations

import numpy as np

from hrnn.data.arrays import Rows
from hrnn.data.ragged import Ragged
from hrnn.evaluation.metrics import DEPTH


def most_popular(num_users: Rows, length: int) -> Rows:
    """Rows of the items with most distinct users, most first, ties by row; -1 where there are fewer items."""
    best = np.argsort(-num_users, kind="stable")[:length]
    return np.pad(best, (0, length - len(best)), constant_values=-1).astype(np.int64)


def popularity(num_users: Rows, num_lists: int) -> Rows:
    """The same list of 25 for everybody, as the recipe aws-popularity-count gives: int64 [num_lists, 25]."""
    return np.tile(most_popular(num_users, DEPTH), (num_lists, 1))


def personal_popularity(histories: Ragged[np.int64], num_users: Rows) -> Rows:
    """Each user's own items, most often taken first, ties newest first; then popular items they don't have yet.

    Args:
        histories: [V] item rows of events, oldest first.
        num_users: [N], distinct users of each item.

    Returns:
        int64 [V, 25]; -1 where the catalogue is smaller.
    """
    num_lists = len(histories)
    of_events = histories.row_ids() * len(num_users) + histories.values
    pairs, inverse, counts = np.unique(of_events, return_inverse=True, return_counts=True)
    newest = np.zeros(len(pairs), dtype=np.int64)
    np.maximum.at(newest, inverse, np.arange(len(of_events)))
    of_user = pairs // max(1, len(num_users))
    order = np.lexsort((-newest, -counts, of_user))
    popular = most_popular(num_users, DEPTH)  # enough: each of them that the user owns stands in the list already
    # Candidates in order of preference: own items first, then popular ones; an item's second appearance is dropped.
    fill = np.tile(popular, num_lists)
    fill_users = np.repeat(np.arange(num_lists), len(popular))
    fresh = ~np.isin(fill_users * len(num_users) + fill, pairs) & (fill >= 0)
    candidates = np.concatenate([pairs[order] % max(1, len(num_users)), fill[fresh]])
    owners = np.concatenate([of_user[order], fill_users[fresh]])
    by_owner = np.argsort(owners, kind="stable")
    owners, candidates = owners[by_owner], candidates[by_owner]
    place = np.arange(len(owners)) - np.searchsorted(owners, owners)
    lists = np.full((num_lists, DEPTH), -1, dtype=np.int64)
    lists[owners[place < DEPTH], place[place < DEPTH]] = candidates[place < DEPTH]
    return lists
