from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hrnn.inference.topk_bf16 import BLOCK_ITEMS, CoarseScores

NO_ROWS = np.empty(0, np.int64)


def scanned(vectors: np.ndarray, bias: np.ndarray, queries: np.ndarray, kind: torch.dtype) -> tuple[CoarseScores, np.ndarray]:
    """A scan of all queries; and each item's cells, [R, N]."""
    coarse = CoarseScores(torch.from_numpy(vectors), torch.from_numpy(bias), len(queries), kind)
    coarse.scan(torch.from_numpy(queries), NO_ROWS, NO_ROWS, np.empty(0, np.float32), None)
    cells = coarse.cells.float().numpy().transpose(1, 0, 2).reshape(len(queries), -1)
    return coarse, cells[:, coarse.positions(np.arange(len(bias)))]


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([1, 5, 64, 3000]),
    st.sampled_from([0, 1, 3, 100]),
    st.sampled_from([1e-6, 0.3, 100.0, 1e8]),
    st.sampled_from([0.0, 1.0, 1e4]),
    st.sampled_from([0.0, 5.0]),
    st.integers(0, 1 << 30),
    st.sampled_from([torch.float32, torch.bfloat16]),
)
def test_no_cell_is_further_off_than_the_bound_says(
    items: int, dimension: int, scale: float, bias_scale: float, mean: float, seed: int, kind: torch.dtype
) -> None:
    random = np.random.default_rng(seed)
    vectors = (scale * (mean + random.standard_t(2, (items, dimension)))).astype(np.float32)
    bias = (bias_scale * random.normal(size=items)).astype(np.float32)
    queries = random.standard_t(2, (9, dimension)).astype(np.float32)
    coarse, cells = scanned(vectors, bias, queries, kind)
    scores = queries.astype(np.float64) @ vectors.T.astype(np.float64) + bias
    exact = scores * np.log2(np.e) - coarse.base[:, None]
    relative = 1.01 * 2.0**-8 if kind == torch.bfloat16 else 2.0**-22
    bound = coarse.error.numpy()[:, np.arange(items) % coarse.num_groups] + relative * np.abs(cells)
    assert (np.abs(cells - exact) <= bound).all()


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_groups_hold_each_item_once_and_know_their_best(kind: torch.dtype) -> None:
    random = np.random.default_rng(0)
    num_items = 2 * BLOCK_ITEMS + 100
    coarse, cells = scanned(
        random.normal(size=(num_items, 3)).astype(np.float32),
        np.zeros(num_items, np.float32),
        random.normal(size=(4, 3)).astype(np.float32),
        kind,
    )
    for group in (0, 1, 50, coarse.num_groups - 1):
        assert np.array_equal(coarse.group_best[:, group].numpy(), cells[:, group :: coarse.num_groups].max(1))
    chosen, least = np.ones((4, coarse.num_groups), bool), np.full(4, -1e38, np.float32)
    users, item_rows, values = coarse.pairs(chosen, least, least)
    assert np.array_equal(np.bincount(users), [num_items] * 4)
    assert np.array_equal(np.sort(item_rows[users == 2]), np.arange(num_items))
    assert np.array_equal(values, cells[users, item_rows])


def test_totals_are_those_of_a_plain_sum() -> None:
    random = np.random.default_rng(1)
    vectors, queries = random.normal(size=(5000, 6)).astype(np.float32), random.normal(size=(8, 6)).astype(np.float32)
    coarse, _ = scanned(vectors, np.zeros(5000, np.float32), queries, torch.float32)
    logarithms = np.log(np.exp(queries.astype(np.float64) @ vectors.T).sum(1)) * np.log2(np.e)
    np.testing.assert_allclose(np.log2(coarse.totals) + coarse.base, logarithms, rtol=1e-6)


def test_the_tail_s_factor_makes_up_for_rounded_queries() -> None:
    random = np.random.default_rng(2)
    vectors = random.normal(0, 0.2, (40_000, 30)).astype(np.float32)
    queries = random.normal(0, 1, (60, 30)).astype(np.float32)
    coarse, _ = scanned(vectors, np.zeros(40_000, np.float32), queries, torch.bfloat16)
    fine, _ = scanned(vectors, np.zeros(40_000, np.float32), queries, torch.float32)
    right = np.exp2(np.log2(fine.totals) + fine.base - coarse.base)
    above = np.full(60, np.inf)
    before = np.abs(coarse.totals / right - 1).mean()
    after = np.abs(coarse.totals * coarse.tail_factors(above) / right - 1).mean()
    assert after < before / 2
    assert np.array_equal(fine.tail_factors(above), np.ones(60))
