from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hrnn.scoring import BLOCK_ITEMS, OwnItems, Scorer, TopItems, softmax_of_counts
from schemas.errors import IntegrityError

Case = tuple[Scorer, torch.Tensor, OwnItems, np.ndarray]


def random_case(num_users: int, num_items: int, dimension: int, seed: int = 0) -> Case:
    """A scorer, queries and own items of whole numbers (so that sums are exact and ties abound), and all scores."""
    random = np.random.default_rng(seed)
    vectors = random.integers(-2, 3, (num_items, dimension)).astype(np.float32)
    bias = random.integers(-3, 4, num_items).astype(np.float32)
    queries = random.integers(-2, 3, (num_users, dimension)).astype(np.float32)
    own = [np.sort(random.permutation(num_items)[: random.integers(0, min(5, num_items) + 1)]) for _ in range(num_users)]
    own_rows = np.concatenate([np.empty(0, np.int64), *own]).astype(np.int64)
    own_scores = random.integers(-4, 5, len(own_rows)).astype(np.float32)
    offsets = np.cumsum([0, *(len(items) for items in own)]).astype(np.int64)
    scores = queries @ vectors.T + bias
    scores[np.repeat(np.arange(num_users), np.diff(offsets)), own_rows] += own_scores
    scorer = Scorer(torch.from_numpy(vectors), torch.from_numpy(bias))
    return scorer, torch.from_numpy(queries), OwnItems(offsets, own_rows, own_scores), scores


def assert_is_top(top: TopItems, scores: np.ndarray, num_results: int) -> None:
    """Compare with a plain full sort and a plain softmax."""
    expected = np.lexsort((np.broadcast_to(np.arange(scores.shape[1]), scores.shape), -scores))[:, :num_results]
    assert np.array_equal(top.item_rows, expected)
    assert np.array_equal(top.scores, np.take_along_axis(scores, expected, 1))
    exponentials = np.exp(scores.astype(np.float64))
    shares = np.take_along_axis(exponentials / exponentials.sum(1, keepdims=True), expected, 1)
    np.testing.assert_allclose(top.shares, shares, rtol=1e-7, atol=2e-8)


@pytest.mark.parametrize("num_items", [1, 2, 63, 64, 65, 1000, BLOCK_ITEMS, BLOCK_ITEMS + 1, 3 * BLOCK_ITEMS - 7])
@pytest.mark.parametrize("num_results", [1, 25, 100])
def test_best_items_and_shares_agree_with_a_full_sort(num_items: int, num_results: int) -> None:
    scorer, queries, own, scores = random_case(7, num_items, 5)
    assert_is_top(scorer.top(queries, own, num_results), scores, num_results)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 20), st.integers(1, 300), st.integers(0, 4), st.integers(1, 40), st.integers(0, 1 << 30))
def test_any_small_catalogue_agrees_with_a_full_sort(users: int, items: int, dimension: int, results: int, seed: int) -> None:
    scorer, queries, own, scores = random_case(users, items, dimension, seed)
    assert_is_top(scorer.top(queries, own, results), scores, results)


def test_more_users_than_one_product_takes() -> None:
    scorer, queries, own, scores = random_case(300, 200, 6)
    assert scorer.rows < 300
    assert_is_top(scorer.top(queries, own, 10), scores, 10)


def test_long_lists_are_found_a_few_users_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hrnn.scoring.MOST_CANDIDATES", 3 * 90 * 64)
    scorer, queries, own, scores = random_case(10, 5000, 4)
    assert_is_top(scorer.top(queries, own, 90), scores, 90)


def test_equal_scores_stand_in_order_of_item_row() -> None:
    top = Scorer(torch.zeros(5000, 3), torch.zeros(5000)).top(torch.ones(1, 3), OwnItems.none(1), 30)
    assert top.item_rows.tolist() == [list(range(30))]


def test_negative_zero_equals_zero() -> None:
    top = Scorer(torch.zeros(3, 0), torch.tensor([-0.0, 0.0, -0.0])).top(torch.zeros(1, 0), OwnItems.none(1), 3)
    assert top.item_rows.tolist() == [[0, 1, 2]]


def test_asking_for_more_than_the_catalogue_returns_all_of_it() -> None:
    scorer, queries, own, _ = random_case(2, 9, 3)
    top = scorer.top(queries, own, 500)
    assert np.array_equal(np.sort(top.item_rows), [np.arange(9)] * 2)
    np.testing.assert_allclose(top.shares.sum(1), 1.0, rtol=1e-6)


def test_an_own_item_without_limit_is_never_best() -> None:
    own = OwnItems(np.array([0, 1]), np.array([2]), np.array([-np.inf], dtype=np.float32))
    top = Scorer(torch.zeros(4, 1), torch.tensor([0.0, 1, 2, 1])).top(torch.zeros(1, 1), own, 3)
    assert top.item_rows.tolist() == [[1, 3, 0]]


def test_results_do_not_depend_on_who_is_asked_together() -> None:
    random = np.random.default_rng(1)
    vectors, bias = torch.from_numpy(random.normal(0, 0.3, (9000, 43)).astype(np.float32)), torch.zeros(9000)
    queries = torch.from_numpy(random.normal(0, 1, (400, 43)).astype(np.float32))
    offsets = np.arange(401) * 3
    own = OwnItems(offsets, np.tile(np.array([3, 5000, 8999]), 400), random.normal(0, 1, 1200).astype(np.float32))
    scorer = Scorer(vectors, bias)
    together = scorer.top(queries, own, 25)
    for start, end in ((0, 1), (17, 18), (5, 140), (123, 400)):
        apart = scorer.top(queries[start:end], own.part(start, end), 25)
        assert np.array_equal(apart.item_rows, together.item_rows[start:end])
        assert np.array_equal(apart.shares, together.shares[start:end])  # to the last bit


def test_large_scores_do_not_overflow() -> None:
    top = Scorer(torch.zeros(3, 1), torch.tensor([3e38, 0.0, -3e38])).top(torch.zeros(1, 1), OwnItems.none(1), 3)
    assert top.shares.tolist() == [[1.0, 0.0, 0.0]]


def test_parameters_that_are_not_finite_are_refused() -> None:
    with pytest.raises(IntegrityError, match="not finite numbers"):
        Scorer(torch.tensor([[float("nan")]]), torch.zeros(1))
    with pytest.raises(IntegrityError, match="no items"):
        Scorer(torch.zeros(0, 2), torch.zeros(0))


def test_states_that_are_not_finite_are_refused() -> None:
    with pytest.raises(IntegrityError, match="user's state"):
        Scorer(torch.ones(3, 1), torch.zeros(3)).top(torch.tensor([[float("nan")]]), OwnItems.none(1), 1)


def test_shares_of_counts_sum_to_one() -> None:
    assert softmax_of_counts(np.array([6, 3, 1])).tolist() == [0.6, 0.3, 0.1]
    assert softmax_of_counts(np.array([0, 0])).tolist() == [0, 0]
