"""Baselines: each is fitted on sequences and scores the whole catalogue at given prediction points.

They serve both evaluation settings: which item comes next in a session (hrnn/evaluation/settings/last_session.py), and which
25 items a user takes during the next days (hrnn/evaluation/settings/next_period.py).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

import numpy as np
import numpy.typing as npt

from hrnn.data.sequences import Sequences
from hrnn.evaluation.baselines.blend3 import Blend3, Weights
from hrnn.evaluation.baselines.decayed import DecayedOwnItems, DecayedPopularity
from hrnn.evaluation.baselines.frequency_neighbours import FrequencyNeighbours
from hrnn.evaluation.baselines.item_neighbours import ItemNeighbours
from hrnn.evaluation.baselines.popular import PersonalPopularity, Popularity, RecentPopularity
from hrnn.evaluation.baselines.prediction_points import PredictionPoints
from hrnn.evaluation.baselines.rules import SequentialRules, markov_chain
from hrnn.evaluation.baselines.session_neighbours import SessionNeighbours


class Baseline(Protocol):
    """A fitted baseline."""

    def scores(self, points: PredictionPoints) -> npt.NDArray[np.float32]:
        """Scores float32 [B, N], higher is better; 0 without evidence for an item, -inf where it must not be recommended."""


Fit = Callable[[Sequences], Baseline]

RECENT_DAYS = 3.0
_WEEK_SECONDS, _QUARTER_SECONDS = 7 * 86_400, 91 * 86_400

NEXT_EVENT: dict[str, Fit] = {
    "popularity": Popularity,
    "popularity, last 3 days": partial(RecentPopularity, days=RECENT_DAYS),
    "personal popularity": PersonalPopularity,
    "Markov": partial(markov_chain, then_popular=True),
    "sequential rules": partial(SequentialRules, then_popular=True),
    "sequential rules, last 3 events": partial(SequentialRules, events=3, then_popular=True),
    "item-kNN": ItemNeighbours,
    "SKNN": partial(SessionNeighbours, kind="plain", no_repeats=False),
    "V-SKNN": partial(SessionNeighbours, kind="vector", no_repeats=False),
    "SKNN, no repeats": partial(SessionNeighbours, kind="plain"),
    "V-SKNN, no repeats": partial(SessionNeighbours, kind="vector"),
}
"""Baselines by name, for the next event of a session."""

# Across sessions: after a night's break the next event mostly begins a session, which rules inside sessions know nothing of.
NIGHTLY: dict[str, Fit] = {
    "popularity": Popularity,
    "popularity, last 3 days": partial(RecentPopularity, days=RECENT_DAYS),
    "personal popularity": partial(PersonalPopularity, newest_first=True),
    "Markov": partial(markov_chain, across_sessions=True, then_popular=True),
    "sequential rules": partial(SequentialRules, across_sessions=True, then_popular=True),
    "item-kNN": ItemNeighbours,
    "session-kNN": partial(SessionNeighbours, no_repeats=False),
    "session-kNN, no repeats": SessionNeighbours,
    "decayed popularity": partial(DecayedPopularity, half_life_seconds=_WEEK_SECONDS),
    "decayed own items": partial(
        DecayedOwnItems, half_life_seconds=_QUARTER_SECONDS, popularity_half_life_seconds=_WEEK_SECONDS
    ),
    "TIFU-kNN": FrequencyNeighbours,
    "blend3": partial(
        Blend3,
        weights=Weights(rules=0.1, popularity=0.3, own_items=1.0),
        popularity_half_life_seconds=_WEEK_SECONDS,
        own_half_life_seconds=_QUARTER_SECONDS,
    ),
}
"""Baselines by name, for nightly lists of 25; hrnn/evaluation/baselines/tuned.py chooses the settings of the last four."""
