from __future__ import annotations

import numpy as np
import pytest
from small_sequences import DAY, random_histories, sequences_of

from hrnn.ranker import neighbours
from hrnn.ranker.neighbours import Neighbourhoods, strongest

SEQUENCES = sequences_of(random_histories(40, 15, seed=3))
AS_OF = int(SEQUENCES.timestamps.max()) + 5 * DAY


def weights_by_hand() -> np.ndarray:
    """w of users and items: [U, N]."""
    weights = np.zeros((SEQUENCES.num_users, SEQUENCES.num_items))
    for user in range(SEQUENCES.num_users):
        for event in range(SEQUENCES.user_offsets[user], SEQUENCES.user_offsets[user + 1]):
            age = (AS_OF - SEQUENCES.timestamps[event]) / DAY
            weights[user, SEQUENCES.item_rows[event]] = 2.0 ** (-age / neighbours.HALF_LIFE_DAYS)
    return weights


def test_item_scores_are_those_of_the_formula() -> None:
    weights = weights_by_hand()
    normed = weights / (np.sqrt((weights**2).sum(axis=0)) + 1.0)
    similarity = normed.T @ normed
    np.fill_diagonal(similarity, 0.0)
    scores = Neighbourhoods.of(SEQUENCES, AS_OF).item_scores(SEQUENCES, np.arange(40)).toarray()
    np.testing.assert_allclose(scores, weights @ similarity, rtol=1e-4)


def test_user_scores_are_those_of_the_formula() -> None:
    weights = weights_by_hand()
    vectors = weights * np.log1p(40 / ((weights > 0).sum(axis=0) + 1.0))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    cosine = vectors @ vectors.T
    np.fill_diagonal(cosine, 0.0)
    scores = Neighbourhoods.of(SEQUENCES, AS_OF).user_scores(SEQUENCES, np.arange(40)).toarray()
    np.testing.assert_allclose(scores, cosine**2 @ weights, rtol=1e-4, atol=1e-7)


def test_where_items_have_many_holders_neighbours_are_looked_for_among_the_latest_users(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(neighbours, "_WORK", 10)
    fewer = Neighbourhoods.of(SEQUENCES, AS_OF)
    assert 1 <= len(fewer.users) < 20
    last = SEQUENCES.timestamps[SEQUENCES.user_offsets[1:] - 1]
    assert last[fewer.users].min() >= np.delete(last, fewer.users).max()
    assert fewer.user_scores(SEQUENCES, np.arange(40)).shape == (40, SEQUENCES.num_items)


def test_nobody_and_nothing_have_no_neighbours() -> None:
    nobody = SEQUENCES.truncate(np.arange(40), np.zeros(40, dtype=np.int64))
    of_nobody = Neighbourhoods.of(nobody, AS_OF)
    assert of_nobody.item_scores(nobody, np.arange(3)).nnz == of_nobody.user_scores(nobody, np.arange(3)).nnz == 0
    known = Neighbourhoods.of(SEQUENCES, AS_OF)
    assert known.item_scores(nobody, np.arange(3)).nnz == known.user_scores(nobody, np.arange(3)).nnz == 0


@pytest.mark.parametrize("most", [1, 2, 5])
def test_strongest_keeps_the_greatest_of_each_row(most: int) -> None:
    random = np.random.default_rng(0)
    rows = np.sort(random.integers(0, 6, 40))
    values = random.integers(-2, 3, 40).astype(np.float32)
    kept = strongest(rows, values, most)
    expected = [
        place
        for row in range(6)
        for place in sorted(sorted(np.flatnonzero(rows == row), key=lambda place: (-values[place], place))[:most])
    ]
    assert kept.tolist() == expected
    assert strongest(np.empty(0, np.int64), np.empty(0, np.float32), most).tolist() == []
