from __future__ import annotations

import numpy as np
import pytest
import torch
from small_sequences import sequences_of

from hrnn.blend.snapshots import PlainSnapshot
from hrnn.inference.topk import Scorer
from hrnn.models.contract import QueryModel
from hrnn.models.similar_items import SimilarItems


def test_the_last_item_asks_by_cosine_and_is_no_answer() -> None:
    vectors = torch.tensor([[3.0, 0.0], [1.0, 1.0], [0.0, 9.0], [-2.0, 0.1], [0.0, 0.0]])
    model = SimilarItems(vectors)
    assert isinstance(model, QueryModel)
    sequences = sequences_of([[[2, 0]], [], [[0, 1]]], num_items=5)
    states = PlainSnapshot(model).user_states(sequences, np.array([2, 0, 1]))
    own = states.sparse
    top = Scorer(*model.items()).top(states.query, own, 5)
    assert top.item_rows.tolist() == [[0, 2, 4, 3, 1], [1, 2, 4, 3, 0], [0, 1, 2, 3, 4]]
    assert top.scores[0, :2] == pytest.approx([0.5**0.5] * 2)


def test_hidden_events_ask_for_nothing() -> None:
    model = SimilarItems(torch.eye(3))
    sequences = sequences_of([[[2, 0]]], num_items=3).truncate(np.array([0]), np.array([1]))
    assert PlainSnapshot(model).user_states(sequences, np.array([0])).query.tolist() == [[0.0, 0.0, 1.0]]
