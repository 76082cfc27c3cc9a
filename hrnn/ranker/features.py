"""Features of (user, item, moment): one table, whose columns FEATURES names.

The order of item rows has no part in them: it is that of the catalogue, which later events have a part in. Equal values have
equal ranks.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import torch

from hrnn.blend import cooccurrence, item_statistics, repeats
from hrnn.data.arrays import Floats, Rows
from hrnn.data.metadata import Metadata
from hrnn.data.ragged import find_keys, row_ids
from hrnn.data.sequences import Sequences
from hrnn.ranker.candidates import Candidates
from hrnn.ranker.knowledge import ITEM_NAMES, USER_NAMES, Knowledge, user_table
from hrnn.ranker.metadata import feature_names
from hrnn.ranker.neighbours import falling_keys

# The blend's products of repeat features are for a model that can't multiply; trees can.
_REPEATS = tuple(name for name in repeats.FEATURES if " * " not in name)
_USER_ITEMS = (*_REPEATS, *cooccurrence.FEATURES)
_USER_ITEM_COLUMNS = [item_statistics.FEATURES.index(name) for name in _USER_ITEMS]
_SCORES = ("same_session", "next_session", "blend", "item_neighbours", "user_neighbours", "categories")
_DUE = ("own_interval", "own_due", "item_due")
FEATURES = (
    *_USER_ITEMS,  # hrnn/blend/repeats.py, cooccurrence.py; missing where the item is not of the kind
    *ITEM_NAMES,  # logs of counts, ranks and times; trend: by how much one half-life's log exceeds the next longer one's
    *USER_NAMES,  # logs of counts and days; due: days idle over days between sessions
    *_SCORES,  # of the model for either session, of the convex blend, of neighbourhoods
    *(f"{name}_rank" for name in _SCORES),  # log(1 + how many candidates of the user score higher)
    *_DUE,  # days between the user's sessions with the item; days since the last one over those, or over the item's own
    "asks_next_session",  # 1 where the user's last session is over
)
"""Names of the first columns, in order; those of metadata follow (hrnn/ranker/metadata.py)."""


def names_of(metadata: Metadata) -> tuple[str, ...]:
    """Names of all columns."""
    return FEATURES + feature_names(metadata)


def features_of(knowledge: Knowledge, histories: Sequences, user_rows: Rows, candidates: Candidates) -> Floats:
    """Features of candidates: float32 [pairs, F]; NaN where one has no value.

    Args:
        knowledge: At the moment.
        histories: Up to the moment.
        user_rows: int64 [B].
        candidates: Of these users.
    """
    num_items = knowledge.sequences.num_items
    users, items = candidates.items.row_ids(), candidates.items.values
    keys = users * np.int64(num_items) + items
    of_user_items = _user_item_columns(candidates, keys, num_items)
    scores = _score_columns(knowledge, candidates, users, items, keys)
    ranks = np.stack([_ranks(users, scores[:, place], candidates.items.offsets) for place in range(len(_SCORES))], axis=1)
    asks_next = candidates.asked.next_session[users].astype(np.float32)
    return np.concatenate(
        [
            of_user_items,
            knowledge.items.columns[items],
            user_table(histories, user_rows, knowledge.as_of)[users],
            scores,
            ranks,
            _due_columns(of_user_items, knowledge.items.intervals[items]),
            asks_next[:, None],
            knowledge.metadata_tables.columns(knowledge.metadata, histories, user_rows, candidates.items, candidates.taken),
        ],
        axis=1,
    )


def _user_item_columns(candidates: Candidates, keys: Rows, num_items: int) -> Floats:
    """Repeat and co-occurrence features: float32 [pairs, _USER_ITEMS]."""
    known = candidates.asked.user_items
    columns = np.full((len(keys), len(_USER_ITEMS)), np.nan, dtype=np.float32)
    found, places = find_keys(known.keys(num_items), keys)
    columns[found] = known.features[places][:, _USER_ITEM_COLUMNS]
    # Of a kind that an item is not of, the blend's features are 0, which is a value for trees: an indicator stays.
    for first, end in ((0, len(_REPEATS)), (len(_REPEATS), len(_USER_ITEMS))):
        columns[:, first] = np.nan_to_num(columns[:, first])
        columns[columns[:, first] == 0, first + 1 : end] = np.nan
    return columns


def _score_columns(knowledge: Knowledge, candidates: Candidates, users: Rows, items: Rows, keys: Rows) -> Floats:
    """float32 [pairs, _SCORES]."""
    model_items, asked = knowledge.blended.model.items(), candidates.asked
    rows, of_pairs = torch.from_numpy(items), torch.from_numpy(users)
    vectors, bias = model_items.vectors[rows], model_items.bias[rows]
    of_sessions = [(vectors * query[of_pairs]).sum(1) + bias for query in asked.queries]
    num_items = np.int64(knowledge.sequences.num_items)
    matrices = candidates.item_scores, candidates.user_scores, candidates.category_scores
    others = [_of_matrix(scores, keys, num_items) for scores in matrices]
    return np.stack([*(column.numpy() for column in of_sessions), blend_scores(knowledge, candidates), *others], axis=1)


def blend_scores(knowledge: Knowledge, candidates: Candidates) -> Floats:
    """Scores of candidates by the convex blend: float32 [pairs]."""
    users, rows = candidates.items.row_ids(), candidates.items.values
    items, states = knowledge.serving.items(), candidates.asked.states
    of_pairs = torch.from_numpy(rows)
    scores = ((items.vectors[of_pairs] * states.query[torch.from_numpy(users)]).sum(1) + items.bias[of_pairs]).numpy()
    num_items = np.int64(knowledge.sequences.num_items)
    of_sparse = row_ids(states.sparse.offsets) * num_items + states.sparse.item_rows
    order = np.argsort(of_sparse, kind="stable")
    found, places = find_keys(of_sparse[order], users * num_items + rows)
    scores[found] += states.sparse.scores[order[places]]
    return np.asarray(scores, dtype=np.float32)


def _due_columns(user_items: Floats, item_intervals: Floats) -> Floats:
    """float32 [pairs, _DUE]: whether it is time again; missing where the user has not had the item."""
    age, first_age, sessions = (user_items[:, _USER_ITEMS.index(name)] for name in ("log_age", "log_first_age", "log_sessions"))
    age, first_age, sessions = np.expm1(age), np.expm1(first_age), np.exp(sessions)
    often = sessions > 1.5  # whole numbers, but for rounding
    span = first_age - age
    own = np.where(often, span / np.maximum(sessions - 1, 1), np.nan)
    mixed = np.where(often, (span + item_intervals) / sessions, item_intervals)
    return np.stack([own, age / np.maximum(own, 0.02), age / np.maximum(mixed, 0.02)], axis=1).astype(np.float32)


def _of_matrix(scores: sp.csr_matrix, keys: Rows, num_items: np.int64) -> Floats:
    of_scores = row_ids(scores.indptr.astype(np.int64)) * num_items + scores.indices
    values = np.zeros(len(keys), dtype=np.float32)
    found, places = find_keys(of_scores, keys)
    values[found] = scores.data[places]
    return values


def _ranks(users: Rows, values: Floats, offsets: Rows) -> Floats:
    """log(1 + how many candidates of the same user have a greater value)."""
    keys = falling_keys(users, values)
    order = np.argsort(keys)
    ordered, place = keys[order], np.arange(len(users))
    begins = np.append(True, ordered[1:] != ordered[:-1])[: len(users)]
    ranks = np.empty(len(users), dtype=np.float32)
    ranks[order] = np.log1p(np.maximum.accumulate(np.where(begins, place, 0)) - offsets[users[order]])
    return ranks
