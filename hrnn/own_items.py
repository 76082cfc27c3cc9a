"""The path of a user's own past items: what says whether someone takes an item again.

Every own item of a user has a row of features; a learned weight for each makes the own item's score (hrnn/blending.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hrnn.batching import Rows
from hrnn.sequences import Sequences

FEATURES = (
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
)
MOST_OWN_ITEMS = 256  # of a user, the latest ones
_DAY = 86_400.0
_FADING_DAYS = (7.0, 30.0, 120.0)  # of log_week, log_month, log_season
_LEAST_FADED = 0.01  # events; what is longer ago than a few times the span counts as nothing


@dataclass(frozen=True)
class OwnItemFeatures:
    """Own items of B users.

    Attributes:
        offsets: int64 [B + 1]; user b's own items are [offsets[b], offsets[b + 1]).
        item_rows: int64, rising within a user, none twice.
        features: float32 [own items, len(FEATURES)].
    """

    offsets: Rows
    item_rows: Rows
    features: npt.NDArray[np.float32]


def repeat_odds(sequences: Sequences) -> npt.NDArray[np.float32]:
    """float32 [N]: log-odds that an event of an item comes from a user who has had the item before."""
    offsets, positions = sequences.event_positions(np.arange(sequences.num_users))
    users = np.repeat(np.arange(sequences.num_users), np.diff(offsets))
    items = sequences.item_rows[positions].astype(np.int64)
    events = np.bincount(items, minlength=sequences.num_items)
    pairs = np.unique(users * np.int64(sequences.num_items) + items)
    users_of = np.bincount(pairs % sequences.num_items, minlength=sequences.num_items)
    total_odds = (events.sum() - users_of.sum() + 0.5) / (users_of.sum() + 0.5)
    prior = 5.0  # users' worth of the average item, where little is known
    odds: npt.NDArray[np.float32] = np.log((events - users_of + prior * total_odds) / (users_of + prior)).astype(np.float32)
    return odds


def own_item_features(
    sequences: Sequences, user_rows: Rows, as_of: Rows, item_repeat_odds: npt.NDArray[np.float32]
) -> OwnItemFeatures:
    """Features of the latest own items of some users.

    Args:
        sequences: Histories, possibly truncated.
        user_rows: int64 [B].
        as_of: int64 [B], when the user is asked about, UTC epoch seconds.
        item_repeat_odds: From `repeat_odds`.
    """
    offsets, positions = sequences.event_positions(user_rows)
    lengths = np.diff(offsets)
    users = np.repeat(np.arange(len(user_rows)), lengths)
    events_after = np.repeat(offsets[1:], lengths) - 1 - np.arange(len(positions))  # of the same user
    keys = users * np.int64(sequences.num_items) + sequences.item_rows[positions]
    order = np.argsort(keys, kind="stable")
    last_of_pair = np.flatnonzero(np.append(np.diff(keys[order]) != 0, True)[: len(keys)])
    counts = np.diff(np.concatenate([np.full(1, -1), last_of_pair]))
    last = order[last_of_pair]  # the pair's latest event
    distinct = np.bincount(users[last], minlength=len(user_rows))
    faded = _faded(sequences, as_of, users, positions, keys, order, last_of_pair)
    if distinct.max(initial=0) > MOST_OWN_ITEMS:
        kept = _latest(users[last], events_after[last], distinct)
        last, counts, faded = last[kept], counts[kept], faded[:, kept]
    user, item = users[last], sequences.item_rows[positions[last]].astype(np.int64)
    age = np.maximum(as_of[user] - sequences.timestamps[positions[last]], 0) / _DAY
    length = lengths[user]
    repeats = length - distinct[user]
    since = events_after[last]
    features = np.stack(
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
        ],
        axis=1,
    ).astype(np.float32)
    kept_of = np.bincount(user, minlength=len(user_rows))
    return OwnItemFeatures(np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(kept_of)]), item, features)


def _faded(
    sequences: Sequences, as_of: Rows, users: Rows, positions: Rows, keys: Rows, order: Rows, last_of_pair: Rows
) -> npt.NDArray[np.float64]:
    """[4, pairs]: log_sessions and the fading counts of every pair of user and item, whose events lie together in `order`."""
    if not len(order):
        return np.zeros((1 + len(_FADING_DAYS), 0))
    firsts = np.concatenate([np.zeros(1, dtype=np.int64), last_of_pair[:-1] + 1])
    session = np.cumsum(sequences.session_starts[positions])[order]
    is_new = np.ones(len(order))
    is_new[1:] = (session[1:] != session[:-1]) | (keys[order[1:]] != keys[order[:-1]])
    ages = np.maximum(as_of[users] - sequences.timestamps[positions], 0)[order] / _DAY
    counts = [np.add.reduceat(np.exp(-ages / days), firsts) + _LEAST_FADED for days in _FADING_DAYS]
    logs: npt.NDArray[np.float64] = np.log(np.stack([np.add.reduceat(is_new, firsts), *counts]))
    return logs


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
