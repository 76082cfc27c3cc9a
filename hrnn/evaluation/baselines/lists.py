"""Lists of baselines for an evaluation's test users, at a bounded cost.

A sample of the users is enough to learn rules and neighbours from, and a sample of the test users to measure them by: a hundred
million events cost no more than two million.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

from hrnn.data.arrays import Rows
from hrnn.data.sequences import Sequences
from hrnn.evaluation.baselines import NIGHTLY, Fit
from hrnn.evaluation.baselines.prediction_points import points_after
from hrnn.evaluation.settings.next_period import lists_of

NAMES = ("popularity, last 3 days", "Markov", "sequential rules", "item-kNN", "session-kNN, no repeats")
MOST_USERS = 2_000
_MOST_EVENTS = 2_000_000
_MOST_CELLS = 1 << 28  # users times items, for each list


@dataclass(frozen=True)
class BaselineLists:
    """Lists of baselines for a sample of the test users.

    Attributes:
        users: int64 [A], which test users, rising numbers from 0.
        lists: Baseline -> int64 [A, 25], best first, -1 fills.
        fitted_on: Baseline -> number of events that it was fitted on, and of all; of baselines fitted on a sample alone.
    """

    users: Rows
    lists: dict[str, Rows]
    fitted_on: dict[str, tuple[int, int]] = field(default_factory=dict)

    def of(self, users: Rows) -> BaselineLists:
        """Those of the given test users, rising numbers, by which they are numbered anew."""
        chosen = np.isin(self.users, users)
        renumbered = np.searchsorted(users, self.users[chosen])
        return BaselineLists(renumbered, {name: lists[chosen] for name, lists in self.lists.items()}, self.fitted_on)


def baseline_lists(
    known: Sequences,
    user_rows: Rows,
    *,
    fit_on: Sequences | None = None,
    seed: int = 0,
    names: tuple[str, ...] = NAMES,
    others: Mapping[str, Fit] = MappingProxyType({}),
) -> BaselineLists:
    """Fit baselines, and recommend by them right after each test user's last known event.

    Args:
        known: Histories without the hidden events.
        user_rows: int64 [V], the test users, each with one known event at least.
        fit_on: Events that baselines are fitted on; None: all known ones.
        seed: Of both samples.
        names: Keys of hrnn.evaluation.baselines.NIGHTLY.
        others: More baselines, by name.
    """
    random = np.random.Generator(np.random.Philox(key=seed))
    most = min(MOST_USERS, max(1, _MOST_CELLS // max(1, known.num_items)))
    sample = np.sort(random.permutation(len(user_rows))[:most])
    users = user_rows[sample]
    if len(users) == 0:
        return BaselineLists(sample, {name: np.zeros((0, 25), dtype=np.int64) for name in (*names, *others)})
    # Each user's moment is that of their last event, as it is for the model: what others did later is unknown then.
    last = known.user_offsets[:-1][users] + known.history_lengths[users] - 1
    points = points_after(known, users, np.asarray(known.timestamps[last]))
    full = known if fit_on is None else fit_on
    reduced = sampled_users(full, random, _MOST_EVENTS)
    items_of_full, items_of_reduced = (sequences.item_counts() > 0 for sequences in (full, reduced))
    sizes = int(reduced.history_lengths.sum()), int(full.history_lengths.sum())
    lists, fitted_on = {}, {}
    for name, fit in {**{name: NIGHTLY[name] for name in names}, **others}.items():
        is_cheap = name.startswith("popularity")  # counting is all it takes: these are fitted on everything
        events, items = (full, items_of_full) if is_cheap else (reduced, items_of_reduced)
        # Ranked are the items that the baseline could learn of, be it from a sample: an unknown one could only come by a tie.
        lists[name] = lists_of(fit(events).scores, points, items)
        if not is_cheap and sizes[0] < sizes[1]:
            fitted_on[name] = sizes
    return BaselineLists(sample, lists, fitted_on)


def sampled_users(
    sequences: Sequences, random: np.random.Generator, most_events: int, most_users: int | None = None
) -> Sequences:
    """All users where they and their events are few enough, else a random sample within the bounds."""
    lengths = sequences.history_lengths
    if int(lengths.sum()) <= most_events and (most_users is None or np.count_nonzero(lengths) <= most_users):
        return sequences
    order = random.permutation(np.flatnonzero(lengths))
    kept = order[np.cumsum(lengths[order]) <= most_events][:most_users]
    dropped = np.setdiff1d(order, kept)
    return sequences.truncate(dropped, np.zeros(len(dropped), dtype=np.int64))
