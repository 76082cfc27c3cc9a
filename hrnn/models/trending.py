"""aws-trending-now: items whose popularity grows fastest, the same list for everybody.

    growth(item) = (newest + PRIOR) / (expected + PRIOR)
    expected = all newest · (before + SMOOTHING · share) / (all before + SMOOTHING)

`newest` are the item's events in the newest window, as long as trend_discovery_frequency and ending with the last event of the
data whose timestamp is plausible (hrnn/data/plausible.py); `before` are those in the WINDOWS_BEFORE windows before it; share is
the item's part of all events. Dividing by all events of each time takes out busy and quiet hours. The growth is the mean of the
Gamma posterior of a Poisson rate, PRIOR being shape and rate of its prior: with few events it stays near 1, so that three
events instead of one are no trend.

Source: the idea is the service's (Amazon Personalize developer guide, Trending-Now recipe), whose formula is not published; the
posterior: Gelman et al., "Bayesian Data Analysis", section 2.6.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from hrnn.data.arrays import Rows
from hrnn.data.plausible import plausible_span
from hrnn.data.sequences import Sequences
from hrnn.models.contract import ItemMatrix, ModelEntry, Queries, no_queries
from schemas.recipes import TrendingHyperparameters

WINDOWS_BEFORE = 8
PRIOR = 10.0  # events
SMOOTHING = 100.0  # events
WINDOW_SECONDS = {"30 minutes": 1_800, "1 hour": 3_600, "3 hours": 10_800, "1 day": 86_400}


class TrendingNow:
    """A QueryModel without queries (D = 0).

    Args:
        growth: float64 [N], above 0.
    """

    def __init__(self, growth: npt.NDArray[np.float64]) -> None:
        self.growth = growth

    @classmethod
    def fit(cls, sequences: Sequences, hyperparameters: TrendingHyperparameters) -> TrendingNow:
        """Count the events of the newest window, and of those before it."""
        positions = sequences.event_positions(np.arange(sequences.num_users)).values
        times, items = np.asarray(sequences.timestamps[positions]), np.asarray(sequences.item_rows[positions])
        seconds = WINDOW_SECONDS[hyperparameters.trend_discovery_frequency]
        end = plausible_span(times)[1] + 1  # excluded: the last event lies within the newest window
        newest = _counts(items[(times >= end - seconds) & (times < end)], sequences.num_items)
        earlier = (times < end - seconds) & (times >= end - (1 + WINDOWS_BEFORE) * seconds)
        before = _counts(items[earlier], sequences.num_items)
        # Smoothed by the all-time share, so that items without events in the windows before have an expectation too.
        share = _counts(items, sequences.num_items) / max(1, len(items))
        expected = newest.sum() * (before + SMOOTHING * share) / (before.sum() + SMOOTHING)
        return cls((newest + PRIOR) / (expected + PRIOR))

    def items(self) -> ItemMatrix:
        """No vectors [N, 0]; biases [N], log of the growth."""
        return ItemMatrix(torch.zeros(len(self.growth), 0), torch.from_numpy(np.log(self.growth).astype(np.float32)))

    def queries(self, histories: Sequences, user_rows: Rows) -> Queries:
        """The same empty query for everybody."""
        return no_queries(len(user_rows))

    def sparse_scores(self, histories: Sequences, user_rows: Rows) -> None:
        """None: the list is the same for everybody."""


ENTRIES = (ModelEntry(recipes=("aws-trending-now",), fit=TrendingNow.fit),)


def _counts(items: npt.NDArray[np.int32], num_items: int) -> npt.NDArray[np.int64]:
    return np.bincount(items, minlength=num_items)
