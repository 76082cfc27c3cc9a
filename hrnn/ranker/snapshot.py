"""A ranked model as of a time: what a night's lists are made with where a ranker serves.

A candidate's score is the ranker's; all other items keep the convex blend's. Both stand in one product as before, query · item
vector + bias + sparse score: of a candidate, the sparse score is what its score has beyond the product. The ranker deals out
among a user's candidates the share of the probability that the blend gives all of them together, so that candidates and other
items can be compared, and a list that a filter leaves no candidates goes on by the query.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from hrnn.blend.snapshots import BlendedModel, ServingSnapshot
from hrnn.data.arrays import Doubles, Rows
from hrnn.data.metadata import Metadata
from hrnn.data.ragged import offsets_of, row_ids, union
from hrnn.data.sequences import Sequences
from hrnn.data.sparse_scores import SparseScores
from hrnn.models.contract import ItemMatrix, UserStates
from hrnn.ranker.candidates import CandidateSources
from hrnn.ranker.features import FEATURES, features_of
from hrnn.ranker.knowledge import ItemTable, Knowledge
from hrnn.ranker.metadata import MetadataTables
from hrnn.ranker.neighbours import Neighbourhoods
from hrnn.ranker.trees import Ranker

_AT_ONCE = 1_000  # users
_BLEND = FEATURES.index("blend")

Parts = tuple[BlendedModel, int, int | None, ItemTable, Neighbourhoods, MetadataTables, Ranker]


class RankedSnapshot:
    """Candidates ranked by trees, all other items by the convex blend.

    Args:
        knowledge: At the end of the data.
        ranker: Fitted on earlier moments.

    Attributes:
        sources: Of its candidates.
    """

    def __init__(self, knowledge: Knowledge, ranker: Ranker) -> None:
        self.knowledge, self.ranker = knowledge, ranker
        self.sources = CandidateSources(knowledge)

    @property
    def parts(self) -> Parts:
        """What another process makes it from, beside the sequences and their metadata."""
        known = self.knowledge
        tables = known.items, known.neighbourhoods, known.metadata_tables
        return known.blended, known.as_of, known.gap_seconds, *tables, self.ranker

    @classmethod
    def of_parts(cls, parts: Parts, sequences: Sequences, metadata: Metadata) -> RankedSnapshot:
        """The snapshot whose parts these are."""
        blended, as_of, gap_seconds, items, neighbourhoods, tables, ranker = parts
        serving, known = ServingSnapshot(blended, as_of, gap_seconds), sequences.before(as_of)
        return cls(Knowledge(known, as_of, gap_seconds, blended, serving, items, neighbourhoods, metadata, tables), ranker)

    @property
    def blend(self) -> ServingSnapshot:
        """The convex blend alone."""
        return self.knowledge.serving

    def items(self) -> ItemMatrix:
        """Those of the convex blend."""
        return self.knowledge.serving.items()

    def user_states(self, histories: Sequences, user_rows: Rows) -> UserStates:
        """After the given events, which hold none after the snapshot's time."""
        parts = [self._states(histories, user_rows[begin : begin + _AT_ONCE]) for begin in range(0, len(user_rows), _AT_ONCE)]
        return joined(parts) if parts else self.knowledge.serving.user_states(histories, user_rows)

    def _states(self, histories: Sequences, user_rows: Rows) -> UserStates:
        candidates = self.sources.of(histories, user_rows)
        states = candidates.asked.states
        features = features_of(self.knowledge, histories, user_rows, candidates)
        blend = features[:, _BLEND].astype(np.float64)
        # Nobody without events was learnt from.
        of_pairs = candidates.items.row_ids()
        ranked = np.flatnonzero(histories.history_lengths[user_rows][of_pairs] > 0)
        users = of_pairs[ranked]
        scores, blend = self.ranker.scores_of_lists(features[ranked], users), blend[ranked]
        shares = [_log_sum_exp(values, users, len(user_rows)) for values in (blend, scores)]
        change = scores + (shares[0] - shares[1])[users] - blend
        return UserStates(
            states.query, _added(states.sparse, users, candidates.items.values[ranked], change, len(self.items().bias))
        )


def joined(parts: Sequence[UserStates]) -> UserStates:
    """States of all users of several parts, one at least."""
    lengths = np.concatenate([np.diff(states.sparse.offsets) for states in parts])
    return UserStates(
        torch.cat([states.query for states in parts]),
        SparseScores(
            offsets_of(lengths),
            np.concatenate([states.sparse.item_rows for states in parts]),
            np.concatenate([states.sparse.scores for states in parts]),
        ),
    )


def _added(sparse: SparseScores, users: Rows, items: Rows, change: Doubles, num_items: int) -> SparseScores:
    """Sparse scores with a change of some items' scores."""
    of_sparse = row_ids(sparse.offsets) * np.int64(num_items) + sparse.item_rows
    changed = users * np.int64(num_items) + items
    keys = union([of_sparse, changed])
    scores = np.zeros(len(keys))
    scores[np.searchsorted(keys, of_sparse)] = sparse.scores
    scores[np.searchsorted(keys, changed)] += change
    lengths = np.bincount(keys // num_items, minlength=len(sparse.offsets) - 1)
    return SparseScores(offsets_of(lengths), keys % num_items, scores.astype(np.float32))


def _log_sum_exp(values: Doubles, users: Rows, num_users: int) -> Doubles:
    """log of the sum of exp(value) of each user: float64 [B]; 0 for those without values. `users` rise."""
    sums: Doubles = np.zeros(num_users)
    if len(values):
        starts = np.flatnonzero(np.append(True, users[1:] != users[:-1]))
        highest = np.maximum.reduceat(values, starts)
        lengths = np.diff(np.append(starts, len(values)))
        sums[users[starts]] = highest + np.log(np.add.reduceat(np.exp(values - np.repeat(highest, lengths)), starts))
    return sums
