"""Boosted trees over features of candidates: LambdaRank, which learns the order of a user's list rather than each score.

Source: Burges 2010, "From RankNet to LambdaRank to LambdaMART"; trees are LightGBM's (Ke et al. 2017).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import lightgbm
import numpy as np

from hrnn.data.arrays import Doubles, Flags, Floats, Rows
from hrnn.evaluation.metrics import DEPTH
from hrnn.ranker.features import FEATURES

MOST_TREES = 200
STEP = 10  # trees between two that are tried
_SETTINGS: dict[str, Any] = {
    "objective": "lambdarank",
    "num_leaves": 31,
    "learning_rate": 0.06,
    "feature_fraction": 0.6,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "lambda_l2": 5.0,
    "min_data_in_leaf": 50,
    "lambdarank_truncation_level": DEPTH + 5,
    # The same trees on every machine, and none that wait for one another on busy cores.
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "verbosity": -1,
}
_TIE = 1e-4  # of a place in the convex blend: trees give many candidates the same score
_BLEND, _BLEND_RANK = FEATURES.index("blend"), FEATURES.index("blend_rank")
STARTS = (0.0, 1.0)  # weights of the blend that are tried


@dataclass(frozen=True)
class Examples:
    """Candidates of several users with what turned out true.

    Attributes:
        features: float32 [pairs, F].
        is_true: bool [pairs].
        lengths: int64 [B], candidates of each user.
    """

    features: Floats
    is_true: Flags
    lengths: Rows


@dataclass(frozen=True)
class Ranker:
    """Fitted trees.

    Attributes:
        model: Their text, LightGBM's own format.
        start: Weight of the convex blend's score, which the trees are added to: they learn what it leaves.
        scale: What their scores are multiplied with, to stand as logits beside the convex blend's.
    """

    model: str
    start: float = 0.0
    scale: float = 1.0

    @classmethod
    def fit(cls, examples: Sequence[Examples], num_trees: int, seed: int, start: float = 0.0) -> Ranker:
        """Fit trees to examples of several moments.

        Args:
            examples: Of each moment.
            num_trees: How many.
            seed: Of the features and examples that each tree is shown.
            start: Weight of the blend's score.
        """
        lengths = np.concatenate([each.lengths for each in examples])
        features = np.concatenate([each.features for each in examples])
        data = lightgbm.Dataset(
            features,
            np.concatenate([each.is_true for each in examples]).astype(np.int8),
            group=lengths[lengths > 0],
            init_score=start * features[:, _BLEND].astype(np.float64),
            feature_name=list(FEATURES),
            free_raw_data=True,
        )
        booster = lightgbm.train(_SETTINGS | {"seed": seed}, data, num_boost_round=num_trees)
        return cls(booster.model_to_string(), start)

    def scores(self, features: Floats) -> Doubles:
        """Logits of candidates, up to a constant a user: float64 [pairs]."""
        return self.scale * (self._before_trees(features) + self._predict(features))

    def scores_by_trees(self, features: Floats) -> list[Doubles]:
        """Unscaled scores by the first STEP, 2 · STEP, … trees: float64 [pairs] each."""
        parts = [self._predict(features, first) for first in range(0, _booster(self.model).num_trees(), STEP)]
        return [self._before_trees(features) + score for score in np.cumsum(parts, axis=0)]

    def contributions(self, features: Floats) -> Doubles:
        """What each feature adds to a candidate's logit (TreeSHAP): float64 [pairs, F]."""
        parts = np.asarray(_booster(self.model).predict(features, pred_contrib=True, num_threads=1))[:, :-1]
        parts[:, _BLEND] += self.start * features[:, _BLEND]
        return self.scale * parts

    def gains(self) -> dict[str, float]:
        """Share of each feature in what all splits gained, the greatest first."""
        gains = _booster(self.model).feature_importance("gain")
        shares = gains / max(gains.sum(), 1e-12)
        return {FEATURES[place]: float(shares[place]) for place in np.argsort(-shares, kind="stable")}

    def _before_trees(self, features: Floats) -> Doubles:
        return self.start * features[:, _BLEND].astype(np.float64) - _TIE * features[:, _BLEND_RANK]

    def _predict(self, features: Floats, first: int | None = None) -> Doubles:
        trees: dict[str, Any] = {} if first is None else {"start_iteration": first, "num_iteration": STEP}
        return np.asarray(_booster(self.model).predict(features, num_threads=1, **trees), dtype=np.float64)


@lru_cache(maxsize=4)
def _booster(model: str) -> lightgbm.Booster:
    return lightgbm.Booster(model_str=model)
