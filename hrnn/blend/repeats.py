"""Repeat features of a user's own items, the items of their history: whether they take an item again.

Every own item of a user has a row of features; blend weights for them make its sparse score (hrnn/blend/weights.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
import numpy.typing as npt

from hrnn.data.arrays import Doubles, Rows
from hrnn.data.ragged import Ragged, offsets_of, row_ids
from hrnn.data.sequences import Sequences

_PLAIN = (
    "own",  # 1: any own item
    "log_count",  # log of the user's events with the item
    "log_share",  # log of those events as a share of the user's history
    "log_age",  # log(1 + days since the user's last event with the item)
    "log_events_since",  # log(1 + the user's events since then)
    "last_session",  # 1 where that event is in the user's last session
    "last_event",  # 1 where it is the user's last event
    "user_repeats",  # log-odds that an event of the user repeats an own item
    "item_repeats",  # log-odds that an event of the item is a repetition
    "log_own_items",  # log of how many own items the user has
    "log_sessions",  # log of the user's sessions with the item
    "log_week",  # log of the user's events with the item, one of t days ago counted as exp(-t / 7)
    "log_month",  # the same with exp(-t / 30)
    "log_season",  # the same with exp(-t / 120)
    "follows",  # 1 where it has come soon after the item of the user's last event before, in a session of the same user
    "log_follows",  # log of the sum of 1 / distance over those times; 0 where there are none
    "log_sessions_since",  # log(1 + the user's sessions after the last one with the item)
    "log_first_age",  # log(1 + days since the user's first event with the item)
    "log_session_rate",  # log of the sessions with the item as a share of the user's sessions since the first of them
    "log_session_share",  # the same of all sessions of the user
    "one_session",  # 1 where the item is in one session only
)
_MULTIPLIED = ("log_age", "log_sessions", "log_sessions_since", "log_first_age", "log_month", "item_repeats")
FEATURES = (*_PLAIN, *(f"{one} * {other}" for one, other in combinations_with_replacement(_MULTIPLIED, 2)))
"""What is known of an own item, and products: how much a long absence means depends on how often the item came before it."""
MOST_OWN_ITEMS = 512  # of a user, the latest ones
FOLLOWING_EVENTS = 3  # the greatest distance of what follows
_DAY = 86_400.0
_DECAY_DAYS = (7.0, 30.0, 120.0)  # of log_week, log_month, log_season
_PRODUCTS = list(combinations_with_replacement([_PLAIN.index(name) for name in _MULTIPLIED], 2))
_LEAST_DECAYED = 0.01  # events; what is longer ago than a few times the span counts as nothing


@dataclass(frozen=True)
class UserItems:
    """Features of pairs of user and item, for a few items of each of B users.

    Attributes:
        offsets: int64 [B + 1]; user b's items are [offsets[b], offsets[b + 1]).
        item_rows: int64, rising within a user, none twice.
        features: float32 [items of all users, features].
    """

    offsets: Rows
    item_rows: Rows
    features: npt.NDArray[np.float32]

    def keys(self, num_items: int | np.int64) -> Rows:
        """user · N + item of each row, rising."""
        return row_ids(self.offsets) * np.int64(num_items) + self.item_rows


def repeat_odds(sequences: Sequences) -> npt.NDArray[np.float32]:
    """Log-odds that an event of an item comes from a user who has had the item before, smoothed: float32 [N]."""
    histories = sequences.event_positions(np.arange(sequences.num_users))
    users, items = histories.row_ids(), sequences.item_rows[histories.values].astype(np.int64)
    events = np.bincount(items, minlength=sequences.num_items)
    pairs, _ = np.unique(users * np.int64(sequences.num_items) + items, return_counts=True)  # without counts it hashes: slow
    # Of an item's events, one a user is the first; all others repeat it. Odds of rare items are pulled to those of all events.
    first_events = np.bincount(pairs % sequences.num_items, minlength=sequences.num_items)
    total_odds = (events.sum() - first_events.sum() + 0.5) / (first_events.sum() + 0.5)
    prior = 5.0  # users' worth of the average item, where little is known
    odds = (events - first_events + prior * total_odds) / (first_events + prior)
    return np.asarray(np.log(odds), dtype=np.float32)


def own_item_features(
    sequences: Sequences, user_rows: Rows, as_of: Rows, item_repeat_odds: npt.NDArray[np.float32]
) -> UserItems:
    """Repeat features of the latest own items of B users.

    Args:
        sequences: Histories, possibly truncated.
        user_rows: int64 [B].
        as_of: int64 [B], the time of the prediction, UTC epoch seconds.
        item_repeat_odds: From `repeat_odds`.
    """
    histories = sequences.event_positions(user_rows)
    offsets, positions, lengths, users = histories.offsets, histories.values, histories.lengths, histories.row_ids()
    events_after = np.repeat(offsets[1:], lengths) - 1 - np.arange(len(positions))  # of the same user
    # A stable sort by (user, item) puts each pair's events side by side, oldest first: its last place is its latest event.
    keys = users * np.int64(sequences.num_items) + sequences.item_rows[positions]
    order = np.argsort(keys, kind="stable")
    last_of_pair = np.flatnonzero(np.append(np.diff(keys[order]) != 0, True)[: len(keys)])
    counts = np.diff(np.concatenate([np.full(1, -1), last_of_pair]))
    last = order[last_of_pair]  # the pair's latest event
    distinct = np.bincount(users[last], minlength=len(user_rows))
    recency = _recency(sequences, as_of, users, positions, keys, order, last_of_pair)
    follows = _following(sequences, histories, order, last_of_pair)
    # Histories of machines would make as many features as all others: of each user, only the latest pairs are kept.
    if distinct.max(initial=0) > MOST_OWN_ITEMS:
        kept = _latest(users[last], events_after[last], distinct)
        last, counts, recency, follows = last[kept], counts[kept], recency[:, kept], follows[kept]
    user, item = users[last], sequences.item_rows[positions[last]].astype(np.int64)
    age = np.maximum(as_of[user] - sequences.timestamps[positions[last]], 0) / _DAY
    length = lengths[user]
    repeats = length - distinct[user]
    since = events_after[last]
    decayed, by_session = recency[: 1 + len(_DECAY_DAYS)], recency[1 + len(_DECAY_DAYS) :]
    # In the order of _PLAIN; counts enter as logs, so that a weight is an exponent and ratios count, not differences.
    plain = np.stack(
        [
            np.ones(len(last)),
            np.log(counts),
            np.log(counts / length),
            np.log1p(age),
            np.log1p(since),
            since <= _events_in_last_session(sequences, positions, offsets)[user] - 1,
            since == 0,
            np.log((repeats + 0.5) / (distinct[user] + 0.5)),
            item_repeat_odds[item],
            np.log(distinct[user]),
            *decayed,
            follows > 0,
            np.log(np.where(follows > 0, follows, 1.0)),
            *by_session,
        ],
        axis=1,
    )
    products = [plain[:, one] * plain[:, other] for one, other in _PRODUCTS]
    features = np.concatenate([plain, np.stack(products, axis=1)], axis=1).astype(np.float32)
    return UserItems(offsets_of(np.bincount(user, minlength=len(user_rows))), item, features)


def _recency(
    sequences: Sequences, as_of: Rows, users: Rows, positions: Rows, keys: Rows, order: Rows, last_of_pair: Rows
) -> Doubles:
    """[9, pairs]: log_sessions, decayed counts, and features of sessions, of every pair of user and item.

    A pair's events lie together in `order`, the earliest first, and end at `last_of_pair`.
    """
    if not len(order):
        return np.zeros((len(_DECAY_DAYS) + 6, 0))
    firsts = np.append(0, last_of_pair[:-1] + 1)
    # Sessions are numbered through all users, so that differences count those of one user.
    session = np.cumsum(sequences.session_starts[positions])
    newest = session[np.searchsorted(users, users[order[firsts]], side="right") - 1]
    all_sessions = newest - session[np.searchsorted(users, users[order[firsts]])] + 1
    # Events of one session lie side by side within their pair: a session counts where its number changes.
    session = session[order]
    is_new = np.ones(len(order))
    is_new[1:] = (session[1:] != session[:-1]) | (keys[order[1:]] != keys[order[:-1]])
    ages = np.maximum(as_of[users] - sequences.timestamps[positions], 0)[order] / _DAY
    counts = [np.add.reduceat(np.exp(-ages / days), firsts) + _LEAST_DECAYED for days in _DECAY_DAYS]
    sessions = np.add.reduceat(is_new, firsts)
    by_session = [
        np.log1p(newest - session[last_of_pair]),
        np.log1p(ages[firsts]),
        np.log(sessions / (newest - session[firsts] + 1)),
        np.log(sessions / all_sessions),
        sessions == 1,
    ]
    features: Doubles = np.stack([*np.log(np.stack([sessions, *counts])), *by_session])
    return features


def _following(sequences: Sequences, histories: Ragged[np.int64], order: Rows, last_of_pair: Rows) -> Doubles:
    """[pairs]: sum of 1 / distance over the times that an item came soon after the item of the user's last event."""
    offsets, positions, users = histories.offsets, histories.values, histories.row_ids()
    items, session = sequences.item_rows[positions], np.cumsum(sequences.session_starts[positions])
    is_last = items == items[offsets[1:][users] - 1]
    nearness = np.zeros(len(positions))
    for distance in range(1, FOLLOWING_EVENTS + 1):
        same = (session[distance:] == session[:-distance]) & (users[distance:] == users[:-distance])
        nearness[distance:] += (is_last[:-distance] & same) / distance
    # Sums over each pair's events, which lie together in `order`, as differences of running sums.
    return np.diff(np.cumsum(nearness[order])[last_of_pair], prepend=0.0)


def _latest(users: Rows, events_after: Rows, distinct: Rows) -> Rows:
    """Positions, rising, of each user's MOST_OWN_ITEMS latest pairs; pairs stand user by user."""
    order = np.lexsort((events_after, users))
    rank = np.arange(len(users)) - np.repeat(np.cumsum(distinct) - distinct, distinct)
    return np.sort(order[rank < MOST_OWN_ITEMS])


def _events_in_last_session(sequences: Sequences, positions: Rows, offsets: Rows) -> Rows:
    """Events of each user's last session: int64 [B]."""
    # Where a user has no start of their own, the last one before their end is another user's: their first event stands for it.
    starts = np.flatnonzero(sequences.session_starts[positions])
    last_start = starts[np.maximum(np.searchsorted(starts, offsets[1:], side="left") - 1, 0)] if len(starts) else offsets[:-1]
    return offsets[1:] - np.maximum(last_start, offsets[:-1])
