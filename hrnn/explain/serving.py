"""Why nightly lists are as they are, from what a solution version stores and the users' events; as shares that add up to 1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hrnn.blend.snapshots import asks_next_session
from hrnn.blend.weights import BESIDE_WEIGHTS, BlendWeights
from hrnn.data.arrays import Doubles, Floats, Rows
from hrnn.data.ragged import Ragged
from hrnn.data.sequences import Sequences, unknown_user
from hrnn.data.sparse_scores import SparseScores
from hrnn.explain.engine import PATHS, Explainer, Lists, Reasons
from hrnn.explain.families import FAMILIES, LATELY, POPULAR
from hrnn.explain.ranked import RankedReasons
from hrnn.models.contract import QueryModel

MOST_PAST_ITEMS = 20  # that are taken away from a history


@dataclass(frozen=True)
class Shares:
    """What n places owe to popularity and to past items.

    Attributes:
        popularity: float64 [n], the share of popularity and recency, 0 to 1.
        past_items: int64 [n, most], the past items that contribute most, the strongest first; -1 behind the last.
        shares: float64 [n, most], theirs, falling; with `popularity` and those that are not told they add up to 1.
    """

    popularity: Doubles
    past_items: Rows
    shares: Doubles

    @classmethod
    def of(cls, reasons: Reasons, most: int, ranked: RankedReasons | None = None) -> Shares:
        """Of each place; at most `most` past items, and none whose contribution is below 0.

        Popularity's is clip(popularity / total, 0, 1) where the total is above 0. In general it is max(popularity, 0) /
        (max(popularity, 0) + max(total - popularity, 0)), which says the same there and is defined below the mean too, where
        listed items may lie. Of ranked items it is its families' part of all that speaks for the item. What is left, 1 - share,
        is dealt among the past items by what each contributes.
        """
        popular = sum(reasons.paths[:, PATHS.index(path)] for path in ("popularity", "recency"))
        above, others = np.maximum(popular, 0.0), np.maximum(reasons.total - popular, 0.0)
        popularity = np.divide(above, above + others, out=np.zeros_like(above), where=above > 0)
        if ranked is not None:
            popularity = np.where(ranked.ranked, _popular_share(ranked.families), popularity)
        gains = np.maximum(reasons.contributions, 0.0)
        totals = gains.sum(axis=1, keepdims=True)
        shares = np.divide(gains * (1.0 - popularity)[:, None], totals, out=np.zeros_like(gains), where=totals > 0)
        order = np.argsort(-shares, axis=1, kind="stable")[:, :most]
        best = np.take_along_axis(shares, order, 1)
        past_items = np.where(best > 0, np.take_along_axis(reasons.past_items, order, 1), -1)
        missing = [(0, 0), (0, most - order.shape[1])]
        return cls(popularity, np.pad(past_items, missing, constant_values=-1), np.pad(best, missing))


class ServingExplainer:
    """Explains lists that are made from stored states.

    Args:
        model: Trained parameters, on the CPU.
        weights: Of the blend.
        item_vectors: float32 [N, D], as lists are made with: a ServingSnapshot's.
        num_ranked: Items [0, num_ranked) have events.
        cut: The moment that is asked for, UTC epoch seconds.
        gap_seconds: Of the sessions; None: everybody is asked for the same session.
    """

    def __init__(
        self, model: QueryModel, weights: BlendWeights, item_vectors: Floats, num_ranked: int, cut: int, gap_seconds: int | None
    ) -> None:
        self._explainer, self._cut, self._gap = Explainer(model, weights, item_vectors, num_ranked), cut, gap_seconds
        unknown = weights[int(gap_seconds is not None)].astype(np.float64)
        start = model.queries(unknown_user(len(item_vectors)), np.zeros(1, dtype=np.int64)).next_session[0].double().numpy()
        # Without events, the queries for the same and for the next session are one, so that their weights add up.
        self._unknown = np.concatenate([unknown[:2].sum() * start, unknown[BESIDE_WEIGHTS]])

    def shares(
        self,
        sequences: Sequences,
        user_rows: Rows,
        queries: Floats,
        sparse: SparseScores,
        items: Ragged[np.int64],
        most: int,
        ranked: RankedReasons | None = None,
    ) -> Shares:
        """What every place owes its score to; the same for the same call.

        Args:
            sequences: Histories of the users.
            user_rows: int64 [B]; a user may occur again, and some may be without events.
            queries: float32 [B, D], as states store them: without that of an unknown user.
            sparse: Of the same lines.
            items: [B] listed item rows, n in all.
            most: Past items to tell of a place.
            ranked: Of the same places, where a ranker made the lists; `queries` and `sparse` are then its `blend`.
        """
        next_session = asks_next_session(sequences, user_rows, self._cut, self._gap)
        lists = Lists(user_rows, next_session, queries.astype(np.float64) + self._unknown, sparse, items)
        return Shares.of(self._explainer.explain(sequences, lists, most_items=MOST_PAST_ITEMS), most, ranked)


def _popular_share(families: Doubles) -> Doubles:
    """Share of popularity in all that is above 0: float64 [n]; 0 where nothing is."""
    above = np.maximum(families, 0.0)
    popular, total = above[:, [list(FAMILIES).index(name) for name in (LATELY, POPULAR)]].sum(axis=1), above.sum(axis=1)
    shares: Doubles = np.divide(popular, total, out=np.zeros_like(popular), where=total > 0)
    return shares
