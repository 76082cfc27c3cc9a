from __future__ import annotations

import numpy as np

from hrnn.data.ragged import Ragged
from hrnn.data.sparse_scores import SparseScores
from hrnn.inference.allowed import Allowed
from hrnn.inference.ranking import allowed_in, listed_scores, rank


def test_scores_of_listed_items_are_those_of_a_full_product() -> None:
    random = np.random.default_rng(0)
    queries, vectors = random.normal(size=(6, 5)).astype(np.float32), random.normal(size=(9, 5)).astype(np.float32)
    bias = random.normal(size=9).astype(np.float32)
    own = SparseScores(np.array([0, 2, 2, 3, 3, 3, 3]), np.array([4, 1, 8]), np.array([0.5, -2.0, 3.0], np.float32))
    full = queries.astype(np.float64) @ vectors.astype(np.float64).T + bias
    full[0, 4] += 0.5
    full[0, 1] -= 2.0
    full[2, 8] += 3.0
    lists = Ragged.from_rows([[1, 4, 1], [], [8, 4], [0], [2, 2], [7, 8]], np.int64)
    scores = listed_scores(queries, own, vectors, bias, lists)
    np.testing.assert_allclose(scores, full[lists.row_ids(), lists.values], rtol=1e-12)
    alone = listed_scores(queries[2:3], own.part(2, 3), vectors, bias, lists.part(2, 3))
    assert (alone == scores[3:5]).all()


def test_lists_fall_and_what_has_no_score_follows_in_the_order_given() -> None:
    offsets = np.array([0, 5, 5, 7])
    scores = np.array([1.0, 9.9, 3.0, 1.0, 2.0, 9.0, 9.0])
    scored = np.array([True, False, True, True, True, False, False])
    kept = np.array([True, True, True, True, False, True, True])
    ranked = rank(offsets, scores, scored, kept)
    assert ranked.places.tolist() == [2, 0, 3, 1, -1, 0, 1]
    parts = np.exp([3.0, 1.0, 1.0])
    np.testing.assert_allclose(ranked.shares, [*(parts / parts.sum()), 0, 0, 0, 0])


def test_scores_of_any_size_have_shares() -> None:
    ranked = rank(np.array([0, 3]), np.array([-2000.0, 2000.0, 1999.0]), np.full(3, True), np.full(3, True))
    np.testing.assert_allclose(ranked.shares, [1 / (1 + np.exp(-1)), 1 / (1 + np.exp(1)), 0], atol=1e-12)


def test_no_lists_are_ranked_as_none() -> None:
    none = rank(np.array([0]), np.empty(0), np.empty(0, np.bool_), np.empty(0, np.bool_))
    assert len(none.places) == len(none.shares) == 0


def test_listed_items_are_allowed_as_the_dense_mask_says() -> None:
    random = np.random.default_rng(1)
    masks = random.random((3, 20)) < 0.5
    mask_of = np.array([2, 0, 1, 0])
    added = Ragged.from_rows([[3, 7], [], [1], []], np.int64)
    removed = Ragged.from_rows([[9], [], [1], [0, 19]], np.int64)
    allowed = Allowed(masks, mask_of, added, removed)
    lists = Ragged.from_lengths([8, 0, 12, 20], random.integers(0, 20, 40))
    assert (allowed_in(allowed, lists) == allowed.dense()[lists.row_ids(), lists.values]).all()
