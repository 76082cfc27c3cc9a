"""Boosted trees over features of candidates, of two kinds whose scores are averaged: each errs where the other does not.

    lambdarank   learns which of two candidates stands first; starts from the convex blend's score, and learns what that leaves
    rank_xendcg  learns what share of a list's gain a candidate has; starts from nothing

Sources: Burges 2010, "From RankNet to LambdaRank to LambdaMART"; Bruch 2021, "An Alternative Cross Entropy Loss for
Learning-to-Rank"; trees are LightGBM's (Ke et al. 2017).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from typing import Any

import lightgbm
import numpy as np
import numpy.typing as npt

from hrnn.data.arrays import Doubles, Floats, Rows
from hrnn.evaluation.metrics import DEPTH
from hrnn.ranker.features import FEATURES
from hrnn.ranker.neighbours import strongest

OBJECTIVES = {"lambdarank": 1.0, "rank_xendcg": 0.0}
"""LightGBM's name -> weight of the blend's score, which the trees are added to."""
MOST_TREES = 120
STEP = 10  # trees between two numbers that are tried
_SETTINGS: dict[str, Any] = {
    "num_leaves": 15,
    "learning_rate": 0.1,
    "feature_fraction": 0.6,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "lambda_l2": 5.0,
    "min_data_in_leaf": 50,
    "max_bin": 63,
    "lambdarank_truncation_level": DEPTH + 5,
    # The same trees on every machine, and none that wait for one another on busy cores.
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "verbosity": -1,
}
_FIRST_TREES = 20  # of each objective, that every candidate is shown to
_SHOWN = 64  # candidates of a user that all trees are shown
_MOST_GAIN = 15.0  # of the heaviest event beside one of the lightest
_TIE = 1e-4  # of a place in the convex blend: trees give many candidates the same score
_BLEND, _BLEND_RANK = FEATURES.index("blend"), FEATURES.index("blend_rank")


@dataclass(frozen=True)
class Examples:
    """Candidates of several users with what turned out true.

    Attributes:
        features: float32 [pairs, F].
        gains: float32 [pairs], how much each counts, of what turned out true; 0 of the others.
        lengths: int64 [B], candidates of each user.
    """

    features: Floats
    gains: Floats
    lengths: Rows


class Growing:
    """Trees that are grown step by step from examples; several threads may grow some each.

    Args:
        examples: Of each moment.
    """

    def __init__(self, examples: Sequence[Examples]) -> None:
        lengths = np.concatenate([each.lengths for each in examples])
        features = np.concatenate([each.features for each in examples])
        self._lock = Lock()
        self._blend = features[:, _BLEND].astype(np.float64)
        gains = np.concatenate([each.gains for each in examples])
        self._data = lightgbm.Dataset(
            features, _labels(gains), group=lengths[lengths > 0], params=_SETTINGS, free_raw_data=True
        )

    def trees(self, objective: str, num_trees: int, seed: int) -> Trees:
        """So many trees.

        Args:
            objective: Of OBJECTIVES.
            num_trees: How many.
            seed: Of the features and examples that each tree is shown.
        """
        booster = self._booster(objective, seed)
        for _ in range(num_trees):
            booster.update()
        return Trees(objective, booster.model_to_string())

    def scores(self, objective: str, seed: int, features: Floats) -> Iterator[tuple[int, Doubles]]:
        """Numbers of trees, and scores of candidates by so many: STEP, 2 · STEP, …

        Args:
            objective: Of OBJECTIVES.
            seed: Of the features and examples that each tree is shown.
            features: float32 [pairs, F], of the candidates.
        """
        booster, total = self._booster(objective, seed), _before_trees(objective, features)
        for number in range(STEP, MOST_TREES + 1, STEP):
            for _ in range(STEP):
                booster.update()
            grown = booster.predict(features, start_iteration=number - STEP, num_iteration=STEP, num_threads=1)
            total = total + np.asarray(grown, dtype=np.float64)
            yield number, total

    def _booster(self, objective: str, seed: int) -> lightgbm.Booster:
        with self._lock:  # a booster copies the scores that the data have when it is made
            self._data.construct().set_init_score(OBJECTIVES[objective] * self._blend)
            return lightgbm.Booster(_SETTINGS | {"objective": objective, "seed": seed}, self._data)


@dataclass(frozen=True)
class Trees:
    """Trees of one objective.

    Attributes:
        objective: Of OBJECTIVES.
        model: Their text, LightGBM's own format.
        scale: What their scores are multiplied with, to stand as logits beside the convex blend's.
    """

    objective: str
    model: str
    scale: float = 1.0

    def scores(self, features: Floats, first: int = 0, count: int = -1) -> Doubles:
        """What `count` trees from the `first` add to logits, all by default; with the first of them, what they are added to.

        Args:
            features: float32 [pairs, F].
            first: Tree.
            count: Of trees; -1: all that follow.
        """
        grown = _booster(self.model).predict(features, start_iteration=first, num_iteration=count, num_threads=1)
        before = _before_trees(self.objective, features) if first == 0 else 0.0
        return np.asarray(self.scale * (before + np.asarray(grown, dtype=np.float64)))

    def contributions(self, features: Floats) -> Doubles:
        """What each feature adds to a logit (TreeSHAP): float64 [pairs, F]."""
        parts = np.asarray(_booster(self.model).predict(features, pred_contrib=True, num_threads=1))[:, :-1]
        parts[:, _BLEND] += OBJECTIVES[self.objective] * features[:, _BLEND]
        return self.scale * parts


@dataclass(frozen=True)
class Ranker:
    """Fitted trees.

    Attributes:
        names: Of the features, in order.
        trees: Of each objective.
    """

    names: tuple[str, ...]
    trees: tuple[Trees, ...]

    def scores(self, features: Floats) -> Doubles:
        """Logits of candidates, up to a constant a user: float64 [pairs]."""
        return averaged([each.scores(features) for each in self.trees], features)

    def scores_of_lists(self, features: Floats, users: Rows) -> Doubles:
        """As `scores`, but that only the best candidates of a user by the first trees are shown to the others.

        Those left out stand below, in the order of the first trees.

        Args:
            features: float32 [pairs, F].
            users: int64 [pairs], rising.
        """
        scores, kept = self._shown(features, users)
        left_out = np.ones(len(users), dtype=np.bool_)
        left_out[kept] = False
        shown, of_users = features[kept], users[kept]
        before = scores[kept]
        scores[kept] += np.mean([each.scores(shown, _FIRST_TREES) for each in self.trees], axis=0)
        starts = np.flatnonzero(np.append(True, of_users[1:] != of_users[:-1])[: len(of_users)])
        fall = np.zeros(int(users.max(initial=-1)) + 1)
        if len(starts):
            fall[of_users[starts]] = np.maximum(
                0, np.minimum.reduceat(before, starts) - np.minimum.reduceat(scores[kept], starts)
            )
        scores[left_out] -= fall[users[left_out]]
        return scores

    def shown(self, features: Floats, users: Rows) -> Rows:
        """Positions, rising, of the candidates that all trees are shown; arguments are those of `scores_of_lists`."""
        return self._shown(features, users)[1]

    def _shown(self, features: Floats, users: Rows) -> tuple[Doubles, Rows]:
        """Scores by the first trees, and who is shown to the others."""
        scores = averaged([each.scores(features, 0, _FIRST_TREES) for each in self.trees], features)
        return scores, strongest(users, scores.astype(np.float32), _SHOWN)

    @property
    def blend_weight(self) -> float:
        """What the convex blend's score is multiplied with, which the trees are added to."""
        return float(np.mean([each.scale * OBJECTIVES[each.objective] for each in self.trees]))

    def contributions(self, features: Floats) -> Doubles:
        """What each feature adds to a candidate's logit (TreeSHAP): float64 [pairs, F]; `scores` but for a constant."""
        parts: Doubles = np.mean([each.contributions(features) for each in self.trees], axis=0)
        parts[:, _BLEND_RANK] -= _TIE * features[:, _BLEND_RANK]
        return parts

    def gains(self) -> dict[str, float]:
        """Share of each feature in what all splits gained, the greatest first."""
        gains = np.asarray([_booster(each.model).feature_importance("gain") for each in self.trees])
        shares = (gains / np.maximum(gains.sum(axis=1, keepdims=True), 1e-12)).mean(axis=0)
        return {self.names[place]: float(shares[place]) for place in np.argsort(-shares, kind="stable")}


def averaged(logits: Sequence[Doubles], features: Floats) -> Doubles:
    """The mean of several logits; equal candidates stand in the blend's order: float64 [pairs]."""
    return np.asarray(np.mean(logits, axis=0) - _TIE * features[:, _BLEND_RANK])


def _before_trees(objective: str, features: Floats) -> Doubles:
    return OBJECTIVES[objective] * features[:, _BLEND].astype(np.float64)


def _labels(gains: Floats) -> npt.NDArray[np.int8]:
    """Grades, 0 for what is not true: both objectives take one of l to be worth 2^l - 1, here 15 times the gain at most.

    Where all that is true counts alike it has grade 1, so that nothing hangs on the scale.
    """
    if len(np.unique(gains[gains > 0])) <= 1:
        return (gains > 0).astype(np.int8)
    grades = np.maximum(1, np.rint(np.log2(1.0 + _MOST_GAIN * gains / gains.max())))
    return np.where(gains > 0, grades, 0).astype(np.int8)


@lru_cache(maxsize=8)
def _booster(model: str) -> lightgbm.Booster:
    return lightgbm.Booster(model_str=model)
