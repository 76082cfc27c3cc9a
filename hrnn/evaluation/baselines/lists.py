"""Lists of plain recommenders for an evaluation's test users, at a bounded cost.

Sessions of some users are enough to learn rules and neighbours from, and some test users to measure them by: both are drawn,
so that a hundred million events cost no more than two million.
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
    """What baselines recommend to some of the test users.

    Attributes:
        asked: int64 [A], which test users, rising numbers from 0.
        lists: Baseline -> int64 [A, 25], best first, -1 fills.
        fitted_on: Baseline -> on how many events it was fitted, and how many are known; those alone that were fitted on a part.
    """

    asked: Rows
    lists: dict[str, Rows]
    fitted_on: dict[str, tuple[int, int]] = field(default_factory=dict)

    def of(self, users: Rows) -> BaselineLists:
        """Of some of the test users, given by rising numbers; `asked` counts among these."""
        chosen = np.isin(self.asked, users)
        asked = np.searchsorted(users, self.asked[chosen])
        return BaselineLists(asked, {name: lists[chosen] for name, lists in self.lists.items()}, self.fitted_on)


def baseline_lists(
    known: Sequences,
    user_rows: Rows,
    *,
    fit_on: Sequences | None = None,
    seed: int = 0,
    names: tuple[str, ...] = NAMES,
    others: Mapping[str, Fit] = MappingProxyType({}),
) -> BaselineLists:
    """Fit baselines, and let them recommend as of each test user's last known event.

    Args:
        known: Histories without the hidden events.
        user_rows: int64 [V], the test users, each with one known event at least.
        fit_on: What baselines are fitted on; None: all that is known.
        seed: Of what is drawn.
        names: Keys of hrnn.evaluation.baselines.NIGHTLY.
        others: More baselines, by name.
    """
    random = np.random.Generator(np.random.Philox(key=seed))
    most = min(MOST_USERS, max(1, _MOST_CELLS // max(1, known.num_items)))
    asked = np.sort(random.permutation(len(user_rows))[:most])
    users = user_rows[asked]
    if len(users) == 0:
        return BaselineLists(asked, {name: np.zeros((0, 25), dtype=np.int64) for name in (*names, *others)})
    last = known.user_offsets[:-1][users] + known.history_lengths[users] - 1
    points = points_after(known, users, np.asarray(known.timestamps[last]))
    whole = known if fit_on is None else fit_on
    some = _some_users(whole, random)
    of_whole, of_some = (part.item_counts() > 0 for part in (whole, some))
    sizes = int(some.history_lengths.sum()), int(whole.history_lengths.sum())
    lists, fitted_on = {}, {}
    for name, fit in {**{name: NIGHTLY[name] for name in names}, **others}.items():
        is_cheap = name.startswith("popularity")
        lists[name] = lists_of(fit(whole if is_cheap else some).scores, points, of_whole if is_cheap else of_some)
        if not is_cheap and sizes[0] < sizes[1]:
            fitted_on[name] = sizes
    return BaselineLists(asked, lists, fitted_on)


def _some_users(sequences: Sequences, random: np.random.Generator) -> Sequences:
    """All users where their events are few enough, else as many drawn ones as make up the bound."""
    lengths = sequences.history_lengths
    if int(lengths.sum()) <= _MOST_EVENTS:
        return sequences
    order = random.permutation(sequences.num_users)
    dropped = order[np.cumsum(lengths[order]) > _MOST_EVENTS]
    return sequences.truncate(dropped, np.zeros(len(dropped), dtype=np.int64))
