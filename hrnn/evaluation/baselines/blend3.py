"""Blend of three: rules from the latest events, decayed popularity and decayed own items, as a weighted sum."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hrnn.data.arrays import Floats
from hrnn.data.sequences import Sequences
from hrnn.evaluation.baselines.decayed import DecayedOwnItems, DecayedPopularity, to_unit
from hrnn.evaluation.baselines.prediction_points import PredictionPoints
from hrnn.evaluation.baselines.rules import SequentialRules

LATEST_EVENTS = 10  # whose rules are looked up


class Weights(NamedTuple):
    """Weights of the scaled scores, at least 0."""

    rules: float
    popularity: float
    own_items: float


class Blend3:
    """score(item) = sum of weight · score of the part / the greatest score that the part gives to any item.

    Args:
        sequences: Training events, possibly truncated.
        weights: Of the parts.
        popularity_half_life_seconds, own_half_life_seconds: Above 0.
    """

    def __init__(
        self,
        sequences: Sequences,
        weights: Weights,
        popularity_half_life_seconds: float,
        own_half_life_seconds: float,
    ) -> None:
        self._weights = weights
        self._parts = (
            SequentialRules(sequences, events=LATEST_EVENTS, across_sessions=True),
            DecayedPopularity(sequences, popularity_half_life_seconds),
            DecayedOwnItems(sequences, own_half_life_seconds),
        )

    def parts(self, points: PredictionPoints) -> list[Floats]:
        """Scaled scores of the three, from 0 to 1, [B, N] each."""
        return [to_unit(part.scores(points)) for part in self._parts]

    def scores(self, points: PredictionPoints) -> Floats:
        """Weighted sums."""
        rules, popularity, own_items = self.parts(points)
        # Two at a time, in place: there is one such matrix less.
        rules *= np.float32(self._weights.rules)
        rules += np.float32(self._weights.popularity) * popularity
        rules += np.float32(self._weights.own_items) * own_items
        return rules
