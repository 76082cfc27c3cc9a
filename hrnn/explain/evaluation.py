"""The best items of some users, asked right after their last known event as the evaluation asks them, and why."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from hrnn.blend.snapshots import BlendedModel
from hrnn.blend.weights import BESIDE_WEIGHTS, COOCCURRENCE_WEIGHTS, FEATURES, BlendWeights
from hrnn.data.arrays import Doubles, Rows
from hrnn.data.hashing import mix64
from hrnn.data.ragged import Ragged
from hrnn.data.sequences import Sequences
from hrnn.data.sparse_scores import SparseScores
from hrnn.explain.engine import PATHS, Explainer, Lists, Reasons
from hrnn.models.contract import Queries

LEAST_EVENTS, MOST_EVENTS = 5, 1_000  # of users that are explained: a shorter history says little, a longer one takes long


@dataclass(frozen=True)
class ExplainedList:
    """One user's list of k items.

    Attributes:
        user_row: Which user.
        as_of: When the user is asked about, UTC epoch seconds.
        item_rows: int64 [k], best first.
        scores: float64 [k], as the model gives them.
        probabilities: float64 [k], softmax of the scores over the items with events.
        reasons: Of the k places.
        paths: Names of those of the reasons.
    """

    user_row: int
    as_of: int
    item_rows: Rows
    scores: Doubles
    probabilities: Doubles
    reasons: Reasons
    paths: tuple[str, ...] = PATHS


def choose_users(lengths: Rows, preferred: Rows, *, num_users: int = 10, seed: int = 0) -> Rows:
    """Users to explain, by a seeded hash of their row: the preferred ones first.

    Args:
        lengths: int64 [U], known events.
        preferred: int64, rows of users whose next events are known and hidden.
        num_users: How many at most.
        seed: Another seed draws others.

    Returns:
        int64, in falling preference; only users with LEAST_EVENTS to MOST_EVENTS events.
    """
    key = mix64(np.arange(len(lengths), dtype=np.uint64) ^ mix64(np.uint64(seed)))
    second_choice = np.ones(len(lengths), dtype=np.bool_)
    second_choice[preferred] = False
    fit = np.flatnonzero((lengths >= LEAST_EVENTS) & (lengths <= MOST_EVENTS))
    chosen: Rows = fit[np.lexsort((key[fit], second_choice[fit]))][:num_users].astype(np.int64)
    return chosen


@torch.no_grad()
def explained_list(
    blended: BlendedModel, sequences: Sequences, user_row: int, *, num_ranked: int, num_items: int = 10
) -> ExplainedList:
    """The best items of a user, and why: scores are PerUserSnapshot's, and contributions exact.

    Args:
        blended: The model, on the CPU.
        sequences: Histories, possibly truncated; the user has an event at least.
        user_row: Which user.
        num_ranked: Items [0, num_ranked) may be listed: those with events.
        num_items: Length of the list.
    """
    user = np.asarray([user_row])
    as_of = int(sequences.timestamps[sequences.event_positions(user).values[-1]])

    def sparse_scores(histories: Sequences, user_rows: Rows, queries: Queries, fitted: BlendedModel = blended) -> SparseScores:
        # An ablated history may end earlier; its user is asked at the same moment all the same, or ages would change too.
        moments, same_session = np.full(len(user_rows), as_of), np.zeros(len(user_rows), dtype=np.bool_)
        return fitted.sparse_scores(histories, user_rows, moments, same_session, queries)

    same_session = np.zeros(1, dtype=np.bool_)
    items, queries = blended.model.items(), blended.model.queries(sequences, user)
    trends = blended.trends.at(int(blended.trends.grid_time(np.asarray([as_of]))[0]))
    features = np.concatenate([items.vectors.numpy(), items.bias.numpy()[:, None], trends], axis=1)
    query = np.append(blended.mixed(queries, same_session).numpy(), [blended.weights.same_session[BESIDE_WEIGHTS]], axis=1)
    sparse = sparse_scores(sequences, user, queries)
    scores = (features[:num_ranked] @ query[0] + sparse.dense(0, num_ranked)).astype(np.float64)
    best = np.argsort(-scores, kind="stable")[:num_items]
    lists = Lists(
        user_rows=user,
        next_session=same_session,
        queries=query,
        sparse=sparse,
        items=Ragged.from_rows([best], np.int64),
        cooccurrence=sparse_scores(sequences, user, queries, _cooccurrence_alone(blended)).scores,
    )
    reasons = Explainer(blended.model, blended.weights, features, num_ranked).explain(sequences, lists, sparse_scores)
    probabilities = np.exp(scores - scores.max())
    return ExplainedList(user_row, as_of, best, scores[best], probabilities[best] / probabilities.sum(), reasons)


def _cooccurrence_alone(blended: BlendedModel) -> BlendedModel:
    """The same model, of whose sparse scores only what cooccurrence adds is left."""
    kept = np.zeros(len(FEATURES), dtype=np.float32)
    kept[COOCCURRENCE_WEIGHTS] = 1.0
    return replace(blended, weights=BlendWeights(*(weights * kept for weights in blended.weights)))
