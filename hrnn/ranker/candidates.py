"""Candidates: the union of the best items of every source, a few hundred a user."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch

from hrnn.blend import cooccurrence, item_statistics, repeats
from hrnn.blend.snapshots import Asked
from hrnn.data.arrays import Doubles, Flags, Floats, Rows
from hrnn.data.ragged import Ragged, offsets_of, row_ids, union
from hrnn.data.sequences import Sequences
from hrnn.data.sparse_scores import SparseScores
from hrnn.inference.topk import Scorer
from hrnn.ranker.knowledge import HALF_LIVES, Knowledge
from hrnn.ranker.metadata import Taken
from hrnn.ranker.neighbours import strongest

MOST = {
    "blend": 60,
    "own": 80,
    "cooccurrence": 40,
    "item_neighbours": 25,
    "user_neighbours": 30,
    "categories": 25,
    "popular": 12,
}
"""Candidates of each source, a user; of popularity, of each half-life."""
_LATEST = item_statistics.FEATURES.index("log_month")
_TOGETHER = len(repeats.FEATURES) + cooccurrence.FEATURES.index("symmetric")
_STRENGTH = len(repeats.FEATURES) + cooccurrence.FEATURES.index("log_symmetric")


@dataclass(frozen=True)
class Candidates:
    """Candidates of B users, and what their sources said.

    Attributes:
        items: [B] item rows, rising.
        sources: Source -> rising keys (user · N + item) of its own candidates.
        asked: The users' states.
        item_scores, user_scores: float32 [B, N], of the neighbourhoods.
        category_scores: float32 [B, N], of the users' categories.
        taken: What the users took, as metadata have it.
    """

    items: Ragged[np.int64]
    sources: dict[str, Rows]
    asked: Asked
    item_scores: sp.csr_matrix
    user_scores: sp.csr_matrix
    category_scores: sp.csr_matrix
    taken: Taken


class CandidateSources:
    """All sources as of a moment.

    Args:
        knowledge: At the moment.
        without: Sources that are left out.
    """

    def __init__(self, knowledge: Knowledge, without: tuple[str, ...] = ()) -> None:
        self.knowledge, self._without = knowledge, without
        # Items without events yet are no candidates: where a catalogue holds later ones, they are left out of the products.
        self._known = np.flatnonzero(knowledge.items.decayed[:, -1] > 0)
        self._place = np.full(knowledge.sequences.num_items, -1, dtype=np.int64)
        self._place[self._known] = np.arange(len(self._known))
        items, rows = knowledge.serving.items(), torch.from_numpy(self._known)
        self._scorer = Scorer(items.vectors[rows], items.bias[rows])
        self._popular = _most_popular(knowledge.items.decayed)

    def of(self, histories: Sequences, user_rows: Rows) -> Candidates:
        """Candidates of B users.

        Args:
            histories: Up to the moment.
            user_rows: int64 [B].
        """
        knowledge, size = self.knowledge, len(user_rows)
        asked = knowledge.serving.ask(histories, user_rows)
        item_scores, user_scores = (
            scores(histories, user_rows)
            for scores in (knowledge.neighbourhoods.item_scores, knowledge.neighbourhoods.user_scores)
        )
        features, taken = asked.user_items.features, knowledge.metadata_tables.taken(histories, user_rows)
        category_scores = knowledge.metadata_tables.category_scores(taken)
        found = {
            "blend": self._best_of_blend(asked),
            "own": self._of_user_items(asked, features[:, 0] > 0, features[:, _LATEST], MOST["own"]),
            "cooccurrence": self._of_user_items(
                asked, features[:, _TOGETHER] > 0, features[:, _STRENGTH], MOST["cooccurrence"]
            ),
            "item_neighbours": self._of_matrix(item_scores, MOST["item_neighbours"]),
            "user_neighbours": self._of_matrix(user_scores, MOST["user_neighbours"]),
            "categories": self._of_matrix(category_scores, MOST["categories"]),
            "popular": self._keys(np.repeat(np.arange(size), len(self._popular)), np.tile(self._popular, size)),
        }
        sources = {name: keys for name, keys in found.items() if name not in self._without}
        keys = union(list(sources.values()))
        users, items = np.divmod(keys, knowledge.sequences.num_items)
        lengths = np.bincount(users, minlength=size)
        pairs = Ragged(offsets_of(lengths), items)
        return Candidates(pairs, sources, asked, item_scores, user_scores, category_scores, taken)

    def _keys(self, users: Rows, items: Rows) -> Rows:
        return users * np.int64(self.knowledge.sequences.num_items) + items

    def _best_of_blend(self, asked: Asked) -> Rows:
        """The convex blend's best items: HRNN's for the session that is asked for among them."""
        states = asked.states
        places, users = self._place[states.sparse.item_rows], row_ids(states.sparse.offsets)
        known = places >= 0
        lengths = np.bincount(users[known], minlength=len(states.query))
        sparse = SparseScores(offsets_of(lengths), places[known], states.sparse.scores[known])
        best = self._scorer.top(states.query, sparse, MOST["blend"]).item_rows
        listed = np.flatnonzero(best.reshape(-1) >= 0)
        return np.sort(self._keys(listed // best.shape[1], self._known[best.reshape(-1)[listed]]))

    def _of_user_items(self, asked: Asked, chosen: Flags, strength: Floats, most: int) -> Rows:
        at = np.flatnonzero(chosen)
        users = row_ids(asked.user_items.offsets)[at]
        kept = strongest(users, strength[at], most)
        return self._keys(users[kept], asked.user_items.item_rows[at[kept]])

    def _of_matrix(self, scores: sp.csr_matrix, most: int) -> Rows:
        users = row_ids(scores.indptr.astype(np.int64))
        kept = strongest(users, scores.data, most)
        return self._keys(users[kept], scores.indices[kept].astype(np.int64))


def _most_popular(decayed: Doubles) -> Rows:
    """The most popular items by any half-life, rising."""
    best = [np.argsort(-decayed[:, place], kind="stable")[: MOST["popular"]] for place in range(len(HALF_LIVES))]
    items = np.unique(np.concatenate(best))
    popular: Rows = items[decayed[items, -1] > 0]
    return popular
