"""The path of a user's own past items: what says whether someone takes an item again.

Every own item of a user has a row of features; a learned weight for each makes the own item's score (hrnn/blend/weights.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
import numpy.typing as npt

from hrnn.data.arrays import Doubles, Rows
from hrnn.data.ragged import Ragged, offsets_of
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
_FADING_DAYS = (7.0, 30.0, 120.0)  # of log_week, log_month, log_season
_PRODUCTS = list(combinations_with_replacement([_PLAIN.index(name) for name in _MULTIPLIED], 2))
_LEAST_FADED = 0.01  # events; what is longer ago than a few times the span counts as nothing


@dataclass(frozen=True)
class UserItems:
    """Items of B users, with features that say something of user and item together.

    Attributes:
        offsets: int64 [B + 1]; user b's items are [offsets[b], offsets[b + 1]).
        item_rows: int64, rising within a user, none twice.
        features: float32 [items of all users, features].
    """

    offsets: Rows
    item_rows: Rows
    features: npt.NDArray[np.float32]


def repeat_odds(sequences: Sequences) -> npt.NDArray[np.float32]:
    """float32 [N]: log-odds that an event of an item comes from a user who has had the item before."""
    histories = sequences.event_positions(np.arange(sequences.num_users))
    users, items = histories.row_ids(), sequences.item_rows[histories.values].astype(np.int64)
    events = np.bincount(items, minlength=sequences.num_items)
    pairs, _ = np.unique(users * np.int64(sequences.num_items) + items, return_counts=True)  # without counts it hashes: slow
    users_of = np.bincount(pairs % sequences.num_items, minlength=sequences.num_items)
    total_odds = (events.sum() - users_of.sum() + 0.5) / (users_of.sum() + 0.5)
    prior = 5.0  # users' worth of the average item, where little is known
    odds: npt.NDArray[np.float32] = np.log((events - users_of + prior * total_odds) / (users_of + prior)).astype(np.float32)
    return odds


def own_item_features(
    sequences: Sequences, user_rows: Rows, as_of: Rows, item_repeat_odds: npt.NDArray[np.float32]
) -> UserItems:
    """Features of the latest own items of some users.

    Args:
        sequences: Histories, possibly truncated.
        user_rows: int64 [B].
        as_of: int64 [B], when the user is asked about, UTC epoch seconds.
        item_repeat_odds: From `repeat_odds`.
    """
    histories = sequences.event_positions(user_rows)
    offsets, positions, lengths, users = histories.offsets, histories.values, histories.lengths, histories.row_ids()
    events_after = np.repeat(offsets[1:], lengths) - 1 - np.arange(len(positions))  # of the same user
    keys = users * np.int64(sequences.num_items) + sequences.item_rows[positions]
    order = np.argsort(keys, kind="stable")
    last_of_pair = np.flatnonzero(np.append(np.diff(keys[order]) != 0, True)[: len(keys)])
    counts = np.diff(np.concatenate([np.full(1, -1), last_of_pair]))
    last = order[last_of_pair]  # the pair's latest event
    distinct = np.bincount(users[last], minlength=len(user_rows))
    over_time = _over_time(sequences, as_of, users, positions, keys, order, last_of_pair)
    follows = _following(sequences, histories, order, last_of_pair)
    if distinct.max(initial=0) > MOST_OWN_ITEMS:
        kept = _latest(users[last], events_after[last], distinct)
        last, counts, over_time, follows = last[kept], counts[kept], over_time[:, kept], follows[kept]
    user, item = users[last], sequences.item_rows[positions[last]].astype(np.int64)
    age = np.maximum(as_of[user] - sequences.timestamps[positions[last]], 0) / _DAY
    length = lengths[user]
    repeats = length - distinct[user]
    since = events_after[last]
    faded, by_session = over_time[: 1 + len(_FADING_DAYS)], over_time[1 + len(_FADING_DAYS) :]
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
            *faded,
            follows > 0,
            np.log(np.where(follows > 0, follows, 1.0)),
            *by_session,
        ],
        axis=1,
    )
    products = [plain[:, one] * plain[:, other] for one, other in _PRODUCTS]
    features = np.concatenate([plain, np.stack(products, axis=1)], axis=1).astype(np.float32)
    kept_of = np.bincount(user, minlength=len(user_rows))
    return UserItems(offsets_of(kept_of), item, features)


def _over_time(
    sequences: Sequences, as_of: Rows, users: Rows, positions: Rows, keys: Rows, order: Rows, last_of_pair: Rows
) -> npt.NDArray[np.float64]:
    """[9, pairs]: log_sessions, fading counts, and what is told by session, of every pair of user and item.

    A pair's events lie together in `order`, the earliest first, and end at `last_of_pair`.
    """
    if not len(order):
        return np.zeros((len(_FADING_DAYS) + 6, 0))
    firsts = np.append(0, last_of_pair[:-1] + 1)
    session = np.cumsum(sequences.session_starts[positions])
    newest = session[np.searchsorted(users, users[order[firsts]], side="right") - 1]
    all_sessions = newest - session[np.searchsorted(users, users[order[firsts]])] + 1
    session = session[order]
    is_new = np.ones(len(order))
    is_new[1:] = (session[1:] != session[:-1]) | (keys[order[1:]] != keys[order[:-1]])
    ages = np.maximum(as_of[users] - sequences.timestamps[positions], 0)[order] / _DAY
    counts = [np.add.reduceat(np.exp(-ages / days), firsts) + _LEAST_FADED for days in _FADING_DAYS]
    sessions = np.add.reduceat(is_new, firsts)
    by_session = [
        np.log1p(newest - session[last_of_pair]),
        np.log1p(ages[firsts]),
        np.log(sessions / (newest - session[firsts] + 1)),
        np.log(sessions / all_sessions),
        sessions == 1,
    ]
    found: npt.NDArray[np.float64] = np.stack([*np.log(np.stack([sessions, *counts])), *by_session])
    return found


def _following(sequences: Sequences, histories: Ragged[np.int64], order: Rows, last_of_pair: Rows) -> Doubles:
    """[pairs]: sum of 1 / distance over the times that an item came soon after the item of the user's last event."""
    offsets, positions, of_user = histories.offsets, histories.values, histories.row_ids()
    items, session = sequences.item_rows[positions], np.cumsum(sequences.session_starts[positions])
    is_last = items == items[offsets[1:][of_user] - 1]
    found = np.zeros(len(positions))
    for distance in range(1, FOLLOWING_EVENTS + 1):
        same = (session[distance:] == session[:-distance]) & (of_user[distance:] == of_user[:-distance])
        found[distance:] += (is_last[:-distance] & same) / distance
    return np.diff(np.cumsum(found[order])[last_of_pair], prepend=0.0)


def _latest(users: Rows, events_after: Rows, distinct: Rows) -> Rows:
    """Positions, rising, of each user's MOST_OWN_ITEMS latest pairs. Pairs are grouped by rising user."""
    order = np.lexsort((events_after, users))
    rank = np.arange(len(users)) - np.repeat(np.cumsum(distinct) - distinct, distinct)
    return np.sort(order[rank < MOST_OWN_ITEMS])


def _events_in_last_session(sequences: Sequences, positions: Rows, offsets: Rows) -> Rows:
    """int64 [B]."""
    starts = np.flatnonzero(sequences.session_starts[positions])
    last_start = starts[np.maximum(np.searchsorted(starts, offsets[1:], side="left") - 1, 0)] if len(starts) else offsets[:-1]
    return offsets[1:] - np.maximum(last_start, offsets[:-1])
