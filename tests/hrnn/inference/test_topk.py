from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hrnn.data.ragged import Ragged
from hrnn.data.sparse_scores import SparseScores
from hrnn.inference.allowed import Allowed
from hrnn.inference.top_items import TopItems
from hrnn.inference.topk import MOST_DIRECT_ITEMS, Scorer
from hrnn.inference.topk_bf16 import BLOCK_ITEMS
from schemas.errors import IntegrityError

Case = tuple[Scorer, torch.Tensor, SparseScores, np.ndarray]
COARSE = [torch.float32, torch.bfloat16]
KINDS = [None, *COARSE]  # None: small catalogues without coarse products
SHARES = {
    None: 2e-6,
    torch.float32: 2e-6,
    torch.bfloat16: 2e-2,
}  # equal ones are rounded alike


def random_case(num_users: int, num_items: int, dimension: int, seed: int = 0, kind: torch.dtype | None = None) -> Case:
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
    scorer = Scorer(torch.from_numpy(vectors), torch.from_numpy(bias), kind)
    return scorer, torch.from_numpy(queries), SparseScores(offsets, own_rows, own_scores), scores


def assert_is_top(
    top: TopItems, scores: np.ndarray, num_results: int, kind: torch.dtype | None, allowed: np.ndarray | None = None
) -> None:
    """Compare with a plain full sort of what is allowed and a plain softmax of everything."""
    open_to = np.ones(scores.shape, dtype=bool) if allowed is None else allowed
    wanted = min(num_results, scores.shape[1])
    expected = np.lexsort((np.broadcast_to(np.arange(scores.shape[1]), scores.shape), -scores, ~open_to))[:, :wanted]
    there = np.take_along_axis(open_to, expected, 1)
    assert np.array_equal(top.item_rows, np.where(there, expected, -1))
    assert np.array_equal(top.scores, np.where(there, np.take_along_axis(scores, expected, 1), -np.inf))
    exponentials = np.exp(scores.astype(np.float64))
    shares = np.take_along_axis(exponentials / exponentials.sum(1, keepdims=True), expected, 1)
    np.testing.assert_allclose(top.shares, np.where(there, shares, 0.0), rtol=SHARES[kind], atol=1e-30)
    assert (top.shares.sum(1) <= 1 + 1e-12).all()


@pytest.mark.parametrize("num_items", [1, 2, 63, 64, 65, 1000, BLOCK_ITEMS, BLOCK_ITEMS + 1, 5 * BLOCK_ITEMS - 7])
@pytest.mark.parametrize("num_results", [1, 25, 100])
@pytest.mark.parametrize("kind", KINDS)
def test_best_items_and_shares_agree_with_a_full_sort(num_items: int, num_results: int, kind: torch.dtype | None) -> None:
    scorer, queries, own, scores = random_case(7, num_items, 5, kind=kind)
    assert_is_top(scorer.top(queries, own, num_results), scores, num_results, kind)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 20),
    st.integers(1, 300),
    st.integers(0, 4),
    st.integers(1, 40),
    st.integers(0, 1 << 30),
    st.sampled_from(KINDS),
)
def test_any_small_catalogue_agrees_with_a_full_sort(
    users: int, items: int, dimension: int, results: int, seed: int, kind: torch.dtype | None
) -> None:
    scorer, queries, own, scores = random_case(users, items, dimension, seed, kind)
    assert_is_top(scorer.top(queries, own, results), scores, results, kind)


def random_lists(random: np.random.Generator, num_users: int, num_items: int, most: int) -> Ragged[np.int64]:
    lists = [random.integers(0, num_items, random.integers(0, most + 1)) for _ in range(num_users)]
    return Ragged.from_rows(lists, np.int64)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 20),
    st.sampled_from([1, 3, 64, 300, BLOCK_ITEMS + 1, 3 * BLOCK_ITEMS]),
    st.sampled_from([0.0, 0.001, 0.5, 1.0]),
    st.integers(1, 4),
    st.integers(0, 8),
    st.integers(1, 40),
    st.integers(0, 1 << 30),
    st.sampled_from(KINDS),
)
def test_the_best_of_what_is_allowed_agree_with_a_full_sort(
    users: int, items: int, kept: float, masks: int, most: int, results: int, seed: int, kind: torch.dtype | None
) -> None:
    scorer, queries, own, scores = random_case(users, items, 4, seed, kind)
    random = np.random.default_rng(seed)
    allowed = Allowed(
        random.random((masks, items)) < kept,
        random.integers(0, masks, users),
        random_lists(random, users, items, most),
        random_lists(random, users, items, most),
    )
    assert_is_top(scorer.top(queries, own, results, allowed), scores, results, kind, allowed.dense())


def test_a_filter_changes_no_share() -> None:
    scorer, queries, own = real_case(20, 9000, 43)
    everything = scorer.top(queries, own, 100)
    mask = np.random.default_rng(2).random((1, 9000)) < 0.5
    none = Ragged.none(20, np.int64)
    some = scorer.top(queries, own, 100, Allowed(mask, np.zeros(20, np.int64), none, none))
    for user in range(20):
        both = dict(zip(everything.item_rows[user].tolist(), everything.shares[user].tolist(), strict=True))
        shares = dict(zip(some.item_rows[user].tolist(), some.shares[user].tolist(), strict=True))
        common = both.keys() & shares.keys()
        assert len(common) > 20
        assert all(both[item] == shares[item] for item in common)


def test_nobody_gets_anything_where_nothing_is_allowed() -> None:
    scorer, queries, own = real_case(3, 5000, 4)
    none = Ragged.none(3, np.int64)
    nothing = Allowed(np.zeros((1, 5000), bool), np.zeros(3, np.int64), none, none)
    top = scorer.top(queries, own, 2, nothing)
    assert top.item_rows.tolist() == [[-1, -1]] * 3
    assert top.scores.tolist() == [[-np.inf, -np.inf]] * 3
    assert top.shares.tolist() == [[0.0, 0.0]] * 3


def real_case(
    num_users: int, num_items: int, dimension: int, kind: torch.dtype | None = None, seed: int = 1
) -> tuple[Scorer, torch.Tensor, SparseScores]:
    """As of a trained model: normal numbers, frequent items first, three own items a user."""
    random = np.random.default_rng(seed)
    vectors = random.normal(0.1, 0.3, (num_items, dimension)).astype(np.float32)
    bias = -np.log(np.arange(1, num_items + 1)).astype(np.float32)
    queries = torch.from_numpy(random.normal(0, 1, (num_users, dimension)).astype(np.float32))
    own_rows = np.concatenate([random.permutation(num_items)[:3] for _ in range(num_users)])
    own = SparseScores(np.arange(num_users + 1) * 3, own_rows, random.normal(3, 1, 3 * num_users).astype(np.float32))
    return Scorer(torch.from_numpy(vectors), torch.from_numpy(bias), kind), queries, own


@pytest.mark.parametrize("dimension", [1, 7, 100])
def test_coarse_products_change_neither_items_nor_scores(dimension: int) -> None:
    fine, coarse = (real_case(300, 20_000, dimension, kind) for kind in COARSE)
    expected, top = (scorer.top(queries, own, 25) for scorer, queries, own in (fine, coarse))
    assert np.array_equal(top.item_rows, expected.item_rows)
    assert np.array_equal(top.scores, expected.scores)  # to the last bit
    np.testing.assert_allclose(top.shares, expected.shares, rtol=2e-3)


def test_small_catalogues_get_what_coarse_products_find() -> None:
    direct, coarse = (real_case(300, MOST_DIRECT_ITEMS, 43, kind) for kind in (None, torch.float32))
    expected, top = (scorer.top(queries, own, 25) for scorer, queries, own in (coarse, direct))
    np.testing.assert_allclose(top.scores, expected.scores, rtol=0, atol=1e-5)  # summed in another order
    np.testing.assert_allclose(top.shares, expected.shares, rtol=1e-4)
    assert (top.item_rows == expected.item_rows).mean() > 0.99


def test_items_closer_together_than_coarse_products_can_tell_stand_right() -> None:
    random = np.random.default_rng(3)
    vectors = 1 + random.normal(0, 1e-5, (20_000, 16)).astype(np.float32)
    queries = 1 + random.normal(0, 1e-3, (40, 16)).astype(np.float32)
    scores = queries.astype(np.float64) @ vectors.T.astype(np.float64)
    scorer = Scorer(torch.from_numpy(vectors), torch.zeros(20_000), torch.bfloat16)
    top = scorer.top(torch.from_numpy(queries), SparseScores.none(40), 10)
    found = np.take_along_axis(scores, top.item_rows, 1)
    best = -np.sort(-scores, axis=1)[:, :10]
    np.testing.assert_allclose(found, best, rtol=0, atol=1e-5)  # float32 of a score of 16


@pytest.mark.parametrize("kind", KINDS)
def test_equal_items_stand_in_order_of_item_row_wherever_they_are(kind: torch.dtype | None) -> None:
    random = np.random.default_rng(4)
    few = random.normal(0, 1, (5, 37)).astype(np.float32)
    queries = torch.from_numpy(random.normal(0, 1, (30, 37)).astype(np.float32))
    top = Scorer(torch.from_numpy(np.tile(few, (2000, 1))), torch.zeros(10_000), kind).top(queries, SparseScores.none(30), 25)
    best = (queries.numpy() @ few.T).argmax(1)
    assert np.array_equal(top.item_rows, best[:, None] + 5 * np.arange(25))


def test_too_many_candidates_are_sorted_out_slowly_and_rightly() -> None:
    random = np.random.default_rng(5)
    bias = random.integers(0, 2, 100_000).astype(np.float32)
    own = SparseScores(np.array([0, 1, 1]), np.array([7]), np.array([-3.0], dtype=np.float32))
    scorer = Scorer(torch.zeros(100_000, 1), torch.from_numpy(bias), torch.bfloat16)
    scores = np.tile(bias, (2, 1))
    scores[0, 7] -= 3
    mask = random.random((1, 100_000)) < 0.5
    allowed = Allowed(mask, np.zeros(2, np.int64), Ragged.none(2, np.int64), Ragged.none(2, np.int64))
    for of_users in (None, allowed):
        expected = None if of_users is None else allowed.dense()
        assert_is_top(scorer.top(torch.ones(2, 1), own, 3, of_users), scores, 3, torch.bfloat16, expected)


def test_more_users_than_one_product_takes() -> None:
    scorer, queries, own, scores = random_case(300, 200, 6)
    assert scorer.rows < 300
    assert_is_top(scorer.top(queries, own, 10), scores, 10, None)


def test_equal_scores_stand_in_order_of_item_row() -> None:
    top = Scorer(torch.zeros(5000, 3), torch.zeros(5000)).top(torch.ones(1, 3), SparseScores.none(1), 30)
    assert top.item_rows.tolist() == [list(range(30))]


def test_negative_zero_equals_zero() -> None:
    top = Scorer(torch.zeros(3, 0), torch.tensor([-0.0, 0.0, -0.0])).top(torch.zeros(1, 0), SparseScores.none(1), 3)
    assert top.item_rows.tolist() == [[0, 1, 2]]


def test_own_scores_may_be_as_large_as_they_like() -> None:
    own = SparseScores(np.array([0, 1, 2, 3]), np.array([2, 3, 1]), np.array([500.0, 3e37, -3e38], dtype=np.float32))
    top = Scorer(torch.zeros(4, 1), torch.arange(4.0), torch.bfloat16).top(torch.zeros(3, 1), own, 4)
    assert top.item_rows.tolist() == [[2, 3, 1, 0], [3, 2, 1, 0], [3, 2, 0, 1]]
    np.testing.assert_allclose(top.shares[:2, 0], 1.0, atol=1e-7)
    assert top.shares[2, 3] == 0.0


def test_asking_for_more_than_the_catalogue_returns_all_of_it() -> None:
    scorer, queries, own, _ = random_case(2, 9, 3)
    top = scorer.top(queries, own, 500)
    assert np.array_equal(np.sort(top.item_rows), [np.arange(9)] * 2)
    np.testing.assert_allclose(top.shares.sum(1), 1.0, rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mask", [None, [True] * 4, [False, True, True, False]])
def test_an_item_whose_score_is_minus_infinity_is_never_listed(mask: list[bool] | None, kind: torch.dtype | None) -> None:
    own = SparseScores(np.array([0, 1]), np.array([2]), np.array([-np.inf], dtype=np.float32))
    none = Ragged.none(1, np.int64)
    allowed = None if mask is None else Allowed(np.array([mask]), np.zeros(1, np.int64), none, none)
    top = Scorer(torch.zeros(4, 1), torch.tensor([0.0, 1, 2, 1]), kind).top(torch.zeros(1, 1), own, 4, allowed)
    listed = [item for item in (1, 3, 0) if mask is None or mask[item]]
    assert top.item_rows.tolist() == [listed + [-1] * (4 - len(listed))]
    assert top.scores[0, len(listed) :].tolist() == [-np.inf] * (4 - len(listed))
    assert top.shares[0, len(listed) :].tolist() == [0.0] * (4 - len(listed))


@pytest.mark.parametrize("kind", KINDS)
def test_results_do_not_depend_on_who_is_asked_together(kind: torch.dtype | None) -> None:
    scorer, queries, own = real_case(600, 9000, 43, kind)
    random = np.random.default_rng(1)
    masks, mask_of = random.random((3, 9000)) < 0.5, random.integers(0, 3, 600)
    allowed = Allowed(masks, mask_of, random_lists(random, 600, 9000, 5), random_lists(random, 600, 9000, 5))
    for of_users in (None, allowed):
        together = scorer.top(queries, own, 25, of_users)
        for start, end in ((0, 1), (17, 18), (5, 140), (123, 600)):
            few = None if of_users is None else of_users.part(start, end)
            apart = scorer.top(queries[start:end], own.part(start, end), 25, few)
            assert np.array_equal(apart.item_rows, together.item_rows[start:end])
            assert np.array_equal(apart.scores, together.scores[start:end])
            assert np.array_equal(apart.shares, together.shares[start:end])  # to the last bit


def test_items_and_scores_do_not_depend_on_threads() -> None:
    scorer, queries, own = real_case(300, 9000, 43)
    threads, tops = torch.get_num_threads(), []
    try:
        for number in (1, 2):
            torch.set_num_threads(number)
            tops.append(scorer.top(queries, own, 25))
    finally:
        torch.set_num_threads(threads)
    assert np.array_equal(tops[0].item_rows, tops[1].item_rows)
    assert np.array_equal(tops[0].scores, tops[1].scores)


def test_large_scores_do_not_overflow() -> None:
    top = Scorer(torch.zeros(3, 1), torch.tensor([3e38, 0.0, -3e38])).top(torch.zeros(1, 1), SparseScores.none(1), 3)
    assert top.shares.tolist() == [[1.0, 0.0, 0.0]]


def test_parameters_that_are_not_finite_are_refused() -> None:
    with pytest.raises(IntegrityError, match="not finite numbers"):
        Scorer(torch.tensor([[float("nan")]]), torch.zeros(1))
    with pytest.raises(IntegrityError, match="no items"):
        Scorer(torch.zeros(0, 2), torch.zeros(0))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("query", [float("nan"), float("inf"), 0.0])
@pytest.mark.parametrize("score", [float("nan"), float("inf"), 0.0])
def test_states_that_are_not_finite_are_refused(query: float, score: float, kind: torch.dtype | None) -> None:
    scorer = Scorer(torch.tensor([[1.0], [-1.0], [1.0]]), torch.zeros(3), kind)
    states = torch.tensor([[query]]), SparseScores(np.array([0, 1]), np.array([1]), np.array([score], np.float32))
    if query == score == 0.0:
        assert scorer.top(*states, 1).item_rows.tolist() == [[0]]
        return
    with pytest.raises(IntegrityError, match="user's state"):
        scorer.top(*states, 1)
