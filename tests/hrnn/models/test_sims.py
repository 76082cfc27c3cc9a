"""aws-sims against counting by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from small_sequences import random_histories, sequences_of

from hrnn.blend.snapshots import PlainSnapshot
from hrnn.data.sequences import Sequences
from hrnn.inference.topk import Scorer
from hrnn.models import sims
from hrnn.models.contract import QueryModel
from hrnn.models.sims import Sims
from schemas.errors import DataError
from schemas.recipes import SimsHyperparameters

EVERYTHING = {
    "min_user_history_length_percentile": 0.0,
    "max_user_history_length_percentile": 1.0,
    "min_item_interaction_count_percentile": 0.0,
    "max_item_interaction_count_percentile": 1.0,
}


def fitted(sequences: Sequences, **given: Any) -> Sims:
    return Sims.fit(sequences, SimsHyperparameters(**{"min_cointeraction_count": 1, **EVERYTHING, **given}))


def lists(model: Sims) -> list[list[tuple[int, float]]]:
    found = model.neighbours
    rows = [slice(*found.offsets[item : item + 2]) for item in range(len(found.offsets) - 1)]
    return [list(zip(found.item_rows[row].tolist(), found.scores[row].tolist(), strict=True)) for row in rows]


def by_hand(histories: list[list[list[int]]], num_items: int, discount: float, least: int) -> list[list[tuple[int, float]]]:
    """Every item's neighbours by sets of users."""
    users = [
        {user for user, sessions in enumerate(histories) for session in sessions if item in session}
        for item in range(num_items)
    ]
    answer = []
    for item in range(num_items):
        row = []
        for other in range(num_items):
            shared = len(users[item] & users[other])
            if other != item and shared >= max(1, least):
                row.append((other, shared / (len(users[item]) * len(users[other])) ** discount))
        answer.append(sorted(row, key=lambda pair: (-np.float32(pair[1]), pair[0])))
    return answer


@pytest.mark.parametrize("discount", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("least", [0, 3])
@pytest.mark.parametrize("blocks", [None, 7])
def test_agrees_with_counting_by_hand(discount: float, least: int, blocks: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if blocks is not None:  # all the seams between blocks, and sorting in place of counting
        monkeypatch.setattr(sims, "_EVENTS_AT_ONCE", blocks)
        monkeypatch.setattr(sims, "_PAIRS_AT_ONCE", 10 * blocks)
        monkeypatch.setattr(sims, "_DENSE_CELLS", 4 * blocks)
    histories = random_histories(60, 23, seed=3)
    model = fitted(sequences_of(histories, 25), popularity_discount_factor=discount, min_cointeraction_count=least)
    expected = by_hand(histories, 25, discount, least)
    for ours, theirs in zip(lists(model), expected, strict=True):
        assert sorted(item for item, _ in ours) == sorted(item for item, _ in theirs)
        assert dict(ours) == pytest.approx(dict(theirs), rel=1e-6)
        assert [score for _, score in ours] == sorted((score for _, score in ours), reverse=True)
    assert any(len(row) > 3 for row in expected)


def test_equal_scores_stand_in_order_of_item_row() -> None:
    model = fitted(sequences_of([[[2, 1, 0, 3]]]))
    assert lists(model)[1] == [(0, 1.0), (2, 1.0), (3, 1.0)]


def test_only_the_best_neighbours_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sims, "MOST_NEIGHBOURS", 2)
    model = fitted(sequences_of([[[0, 1, 2]], [[0, 2]], [[0, 3]], [[0, 3]], [[0, 3]]]), popularity_discount_factor=0.0)
    assert lists(model)[0] == [(3, 3.0), (2, 2.0)]


def test_of_a_very_long_history_the_newest_items_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sims, "MOST_ITEMS", 2)
    model = fitted(sequences_of([[[0, 1, 2, 0]], [[1, 3]]]))
    assert [[item for item, _ in row] for row in lists(model)] == [[2], [3], [0], [1]]  # item 0 came again


def test_percentiles_leave_users_and_items_out() -> None:
    histories = [[[0, 1]], [[0, 1]], [[0, 1, 2]], [[0, 2, 3, 4, 5, 6, 7]]]
    longest = fitted(sequences_of(histories), max_user_history_length_percentile=0.75)
    assert [item for item, _ in lists(longest)[0]] == [1, 2]
    frequent = fitted(sequences_of(histories), max_item_interaction_count_percentile=0.9)
    assert lists(frequent)[0] == []  # item 0 is the most frequent of eight
    rare = fitted(sequences_of(histories), min_item_interaction_count_percentile=0.8)
    assert [len(row) for row in lists(rare)] == [1, 1, 0, 0, 0, 0, 0, 0]


def test_hidden_events_do_not_count() -> None:
    sequences = sequences_of([[[0, 1, 2]], [[0, 2]]]).truncate(np.array([0, 1]), np.array([2, 1]))
    assert lists(fitted(sequences)) == [[(1, pytest.approx(0.5**0.5))], [(0, pytest.approx(0.5**0.5))], []]


def test_without_items_between_the_percentiles_it_says_so() -> None:
    with pytest.raises(DataError, match="no item is left between the percentiles"):
        fitted(
            sequences_of([[[0, 1]], [[0, 1]], [[0]]]),
            min_item_interaction_count_percentile=0.5,
            max_item_interaction_count_percentile=0.5,
        )


def test_a_user_is_asked_by_the_last_item_and_popular_items_follow() -> None:
    sequences = sequences_of([[[4, 0]], [[0, 1]], [[0, 1]], [[2, 3]], [[2]], [[2]], [[2]], []], num_items=6)
    model = fitted(sequences)
    assert isinstance(model, QueryModel)
    states = PlainSnapshot(model).user_states(sequences, np.array([0, 3, 7]))
    own = states.sparse
    top = Scorer(*model.items()).top(states.query, own, 6).item_rows.tolist()
    assert top[0] == [1, 4, 2, 3, 5, 0]  # neighbours of item 0, then what most users have, itself last
    assert top[1] == [2, 0, 1, 4, 5, 3]
    assert top[2] == [2, 0, 1, 3, 4, 5]


def test_what_is_served_knows_no_user_and_holds_the_table() -> None:
    sequences = sequences_of(random_histories(30, 9), num_items=9)
    model = fitted(sequences)
    assert sims.ENTRIES[0].serve is not None
    served, parameters = sims.ENTRIES[0].serve(model)
    assert served.sparse_scores(sequences, np.arange(3)) is None
    assert served.items().bias.tolist() == model.items().bias.tolist()
    assert [(name, str(tensor.dtype)) for name, tensor in parameters.items()] == [
        ("related.offsets", "torch.int64"),
        ("related.item_rows", "torch.int32"),
        ("related.scores", "torch.float32"),
    ]
