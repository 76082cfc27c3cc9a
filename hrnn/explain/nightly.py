"""The best items of some users as a ranker's nightly list has them, and why: families, and exact contributions to the blend."""

from __future__ import annotations

import numpy as np
import torch

from hrnn.blend.snapshots import asks_next_session
from hrnn.blend.weights import BESIDE_WEIGHTS
from hrnn.data.arrays import Doubles, Rows
from hrnn.data.ragged import Ragged
from hrnn.data.sequences import Sequences
from hrnn.data.sparse_scores import SparseScores
from hrnn.explain.engine import Explainer, Lists, Reasons
from hrnn.explain.evaluation import ExplainedList
from hrnn.explain.families import DUE, FAMILIES, LATELY, ORDER, POPULAR
from hrnn.explain.ranked import ranked_reasons
from hrnn.models.contract import Queries
from hrnn.ranker.snapshot import RankedSnapshot

# Of an item that was no candidate: the blend's paths, in the order of hrnn/explain/engine.py.
_OF_PATHS = [list(FAMILIES).index(family) for family in (ORDER, POPULAR, LATELY, DUE)]


@torch.no_grad()
def ranked_list(
    snapshot: RankedSnapshot, sequences: Sequences, user_row: int, *, num_ranked: int, num_items: int = 10
) -> ExplainedList:
    """The best items of a user at the snapshot's time, and why: `paths` are FAMILIES.

    Args:
        snapshot: That serves.
        sequences: All histories; the user has an event at least.
        user_row: Which user.
        num_ranked: Items [0, num_ranked) may be listed: those with events.
        num_items: Length of the list.
    """
    known, user, items = snapshot.knowledge, np.asarray([user_row]), snapshot.items()
    states = snapshot.user_states(sequences, user)
    of_all = (states.query @ items.vectors.t() + items.bias)[0].numpy() + states.sparse.dense(0, len(items.bias))
    scores: Doubles = of_all[:num_ranked].astype(np.float64)
    best = np.argsort(-scores, kind="stable")[:num_items]
    listed = Ragged.from_rows([best], np.int64)
    told = ranked_reasons(snapshot, sequences, user, listed)
    reasons = _of_blend(snapshot, sequences, user, listed, told.blend.sparse, num_ranked)
    families = told.families
    others = np.flatnonzero(~told.ranked)
    families[others[:, None], _OF_PATHS] = reasons.paths[others]
    probabilities = np.exp(scores - scores.max())
    return ExplainedList(
        user_row,
        known.as_of,
        best,
        scores[best],
        probabilities[best] / probabilities.sum(),
        Reasons(families.sum(axis=1), families, reasons.past_items, reasons.contributions),
        tuple(FAMILIES),
    )


def _of_blend(
    snapshot: RankedSnapshot,
    sequences: Sequences,
    user: Rows,
    listed: Ragged[np.int64],
    sparse: SparseScores,
    num_ranked: int,
) -> Reasons:
    """The convex blend's reasons for the same places."""
    known, blended = snapshot.knowledge, snapshot.knowledge.blended
    next_session = asks_next_session(sequences, user, known.as_of, known.gap_seconds)

    def sparse_scores(histories: Sequences, user_rows: Rows, queries: Queries) -> SparseScores:
        # An ablated history may end earlier; its user is asked for the same session all the same.
        moments = np.full(len(user_rows), known.as_of)
        same = np.repeat(next_session, len(user_rows))
        return blended.sparse_scores(histories, user_rows, moments, same, queries, moments)

    mixed = blended.mixed(blended.model.queries(sequences, user), next_session).numpy()
    query = np.append(mixed, blended.weights.of(next_session)[:, BESIDE_WEIGHTS], axis=1)
    features = snapshot.items().vectors.numpy()
    lists = Lists(user, next_session, query, sparse, listed)
    return Explainer(blended.model, blended.weights, features, num_ranked).explain(sequences, lists, sparse_scores)
