from __future__ import annotations

import numpy as np

from hrnn.blend.snapshots import PlainSnapshot
from hrnn.data.sequences import Sequences
from hrnn.data.sparse_scores import SparseScores
from hrnn.inference.topk import Scorer
from hrnn.models.contract import QueryModel, UserStates
from hrnn.models.popularity import PopularityCount


def sequences_of(histories: list[list[int]], num_items: int) -> Sequences:
    events = np.array([item for history in histories for item in history], dtype=np.int32)
    offsets = np.cumsum([0, *(len(history) for history in histories)]).astype(np.int64)
    zeros = np.zeros(len(events), dtype=np.int64)
    return Sequences(offsets, events, zeros, np.zeros(len(events), dtype=bool), zeros.astype(np.int32), num_items)


def best(model: PopularityCount, num_results: int) -> list[int]:
    states: UserStates = PlainSnapshot(model).user_states(sequences_of([[0]], 1), np.array([0]))
    scorer = Scorer(*model.items())
    return scorer.top(states.query, SparseScores.none(1), num_results).item_rows[0].tolist()


def test_users_are_counted_not_events() -> None:
    model = PopularityCount.fit(sequences_of([[0, 0, 0, 0, 1], [1], [1, 2], [2]], num_items=4))
    assert best(model, 4) == [1, 2, 0, 3]  # by 3, 2, 1 and 0 users; item 0 has most events


def test_hidden_events_do_not_count() -> None:
    sequences = sequences_of([[0, 1], [0, 1], [2, 1]], num_items=3).truncate(np.array([0, 1, 2]), np.array([1, 1, 1]))
    assert best(PopularityCount.fit(sequences), 2) == [0, 2]


def test_agrees_with_counting_by_hand() -> None:
    random = np.random.default_rng(5)
    histories = [random.integers(0, 30, random.integers(1, 20)).tolist() for _ in range(200)]
    counts = [sum(item in history for history in histories) for item in range(30)]
    expected = sorted(range(30), key=lambda item: (-counts[item], item))
    assert best(PopularityCount.fit(sequences_of(histories, 30)), 30) == expected


def test_it_is_a_scoring_model_without_user_state() -> None:
    model = PopularityCount(np.array([3, 1]))
    assert isinstance(model, QueryModel)
    states = PlainSnapshot(model).user_states(sequences_of([[0], [1]], 2), np.array([1, 0]))
    assert states.query.shape == (2, 0)
    assert states.sparse.offsets.tolist() == [0, 0, 0]
