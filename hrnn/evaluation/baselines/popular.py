"""Popularity baselines: all-time, recent and personal popularity; and the two lists that every solution is compared with."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hrnn.data.arrays import Rows
from hrnn.data.ragged import Ragged
from hrnn.data.sequences import Sequences
from hrnn.evaluation.baselines.prediction_points import PredictionPoints
from hrnn.evaluation.metrics import DEPTH

_DAY = 86_400


class Popularity:
    """An item's score is its number of events."""

    def __init__(self, sequences: Sequences) -> None:
        self._counts = sequences.item_counts().astype(np.float32)

    def scores(self, points: PredictionPoints) -> npt.NDArray[np.float32]:
        """The same for everybody."""
        return np.tile(self._counts, (len(points), 1))


class RecentPopularity:
    """An item's score is its number of events in the days before the prediction, ties by all its events."""

    def __init__(self, sequences: Sequences, days: float) -> None:
        positions = sequences.event_positions(np.arange(sequences.num_users)).values
        order = np.argsort(sequences.timestamps[positions], kind="stable")
        self._times = np.asarray(sequences.timestamps[positions[order]])
        self._items = np.asarray(sequences.item_rows[positions[order]])
        self._seconds = round(days * _DAY)
        self._tie_break = _below_one(sequences.item_counts())

    def scores(self, points: PredictionPoints) -> npt.NDArray[np.float32]:
        """A sliding window over the points in order of time; only events up to each point count."""
        num_items = len(self._tie_break)
        scores = np.empty((len(points), num_items), dtype=np.float32)
        counts, begin, end = np.zeros(num_items, dtype=np.int64), 0, 0
        for point in np.argsort(points.as_of, kind="stable"):
            time = int(points.as_of[point])
            until = int(np.searchsorted(self._times, time, side="right"))
            since = int(np.searchsorted(self._times, time - self._seconds, side="right"))
            # Windows of successive points overlap: only the events that enter and leave are counted.
            if since >= end:
                counts[:] = np.bincount(self._items[since:until], minlength=num_items)
            else:
                counts += np.bincount(self._items[end:until], minlength=num_items) if until > end else 0
                counts -= np.bincount(self._items[begin:since], minlength=num_items) if since > begin else 0
            begin, end = since, until
            np.add(counts, self._tie_break, out=scores[point], casting="unsafe")
        return scores


class PersonalPopularity:
    """An item's score is the user's own number of events with it, ties by everybody's.

    Args:
        sequences: Training events, possibly truncated.
        newest_first: Own items with equally many events are ordered by the latest one, not by everybody's number.
    """

    def __init__(self, sequences: Sequences, *, newest_first: bool = False) -> None:
        self._tie_break, self._newest_first = _below_one(sequences.item_counts()), newest_first

    def scores(self, points: PredictionPoints) -> npt.NDArray[np.float32]:
        """Events of the current session count too."""
        users, items = points.history_pairs()
        num_items = len(self._tie_break)
        keys = users * num_items + items
        scores = np.tile(self._tie_break, (len(points), 1))
        if self._newest_first:
            ends = np.cumsum(points.end - points.user_begin)
            scores.reshape(-1)[keys] = 1.0 / (2.0 + ends[users] - np.arange(len(keys)))  # of several values the last one stays
            scores *= 0.5
        own, counts = np.unique(keys, return_counts=True)
        scores.reshape(-1)[own] += counts
        return scores


def _below_one(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Counts as fractions below one, to break ties of whole numbers."""
    # Over the greatest count and one more: a fraction of 1 would tie with a whole event.
    fractions: npt.NDArray[np.float32] = (counts / (counts.max(initial=0) + 1)).astype(np.float32)
    return fractions


def most_popular(num_users: Rows, length: int) -> Rows:
    """Rows of the items with most distinct users, most first, ties by row; -1 where there are fewer items."""
    best = np.argsort(-num_users, kind="stable")[:length]
    return np.pad(best, (0, length - len(best)), constant_values=-1).astype(np.int64)


def popularity(num_users: Rows, num_lists: int) -> Rows:
    """The same list of 25 for everybody, as the recipe aws-popularity-count gives: int64 [num_lists, 25]."""
    return np.tile(most_popular(num_users, DEPTH), (num_lists, 1))


def personal_popularity(histories: Ragged[np.int64], num_users: Rows) -> Rows:
    """Lists of each user's own items, most often taken first, ties newest first; then popular items they don't have yet.

    Args:
        histories: [V] item rows of events, oldest first.
        num_users: [N], distinct users of each item.

    Returns:
        int64 [V, 25]; -1 where the catalogue is smaller.
    """
    num_lists = len(histories)
    of_events = histories.row_ids() * len(num_users) + histories.values
    pairs, inverse, counts = np.unique(of_events, return_inverse=True, return_counts=True)
    newest = np.zeros(len(pairs), dtype=np.int64)  # place of each pair's latest event; places rise with time within a user
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
    place = np.arange(len(owners)) - np.searchsorted(owners, owners)  # in the owner's list, from 0
    lists = np.full((num_lists, DEPTH), -1, dtype=np.int64)
    lists[owners[place < DEPTH], place[place < DEPTH]] = candidates[place < DEPTH]
    return lists
