from __future__ import annotations

import numpy as np

from hrnn.allowed import Allowed, ItemLists
from hrnn.best_items import OwnItems
from hrnn.ranking import allowed_in, listed_scores, rank


def test_scores_of_listed_items_are_those_of_a_full_product() -> None:
    random = np.random.default_rng(0)
    queries, vectors = random.normal(size=(6, 5)).astype(np.float32), random.normal(size=(9, 5)).astype(np.float32)
    bias = random.normal(size=9).astype(np.float32)
    own = OwnItems(np.array([0, 2, 2, 3, 3, 3, 3]), np.array([4, 1, 8]), np.array([0.5, -2.0, 3.0], np.float32))
    full = queries.astype(np.float64) @ vectors.astype(np.float64).T + bias
    full[0, 4] += 0.5
    full[0, 1] -= 2.0
    full[2, 8] += 3.0
    offsets, items = np.array([0, 3, 3, 5, 6, 8, 10]), np.array([1, 4, 1, 8, 4, 0, 2, 2, 7, 8])
    users = np.repeat(np.arange(6), np.diff(offsets))
    scores = listed_scores(queries, own, vectors, bias, offsets, items)
    np.testing.assert_allclose(scores, full[users, items], rtol=1e-12)
    alone = listed_scores(queries[2:3], own.part(2, 3), vectors, bias, np.array([0, 2]), items[3:5])
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
    added = ItemLists(np.array([0, 2, 2, 3, 3]), np.array([3, 7, 1]))
    removed = ItemLists(np.array([0, 1, 1, 2, 4]), np.array([9, 1, 0, 19]))
    allowed = Allowed(masks, mask_of, added, removed)
    offsets, items = np.array([0, 8, 8, 20, 40]), random.integers(0, 20, 40)
    users = np.repeat(np.arange(4), np.diff(offsets))
    assert (allowed_in(allowed, offsets, items) == allowed.dense()[users, items]).all()
