from __future__ import annotations

import numpy as np
import pyarrow as pa
import torch

from hrnn.data.hashing import hash64
from hrnn.data.sparse_scores import SparseScores
from hrnn.inference.exploration import NOISE, Noise, bonus, new_items, stand_ins
from hrnn.inference.top_items import TopItems
from hrnn.inference.topk import Scorer

DAY = 86_400


def test_items_younger_than_the_cut_off_are_new() -> None:
    created = np.array([100, 71, 70, 130]) * DAY
    assert new_items(created, 100 * DAY, 30.0).tolist() == [True, True, False, True]
    assert new_items(created, 100 * DAY, 29.0).tolist() == [True, False, False, True]


def test_the_bonus_falls_with_events_and_is_for_new_items_only() -> None:
    counts = np.array([1000, 100, 10, 1, 0])
    raised = bonus(counts, np.array([True, True, True, True, True]), 1.0)
    assert raised[0] == 0.0
    assert (np.diff(raised) > 0).all()
    np.testing.assert_allclose(raised[4], np.log((1000**2 + 100**2 + 10**2 + 1) / 1111), rtol=1e-6)
    np.testing.assert_allclose(bonus(counts, np.full(5, True), 0.3), 0.3 * raised, rtol=1e-6)
    assert bonus(counts, np.array([True, False, True, False, False]), 1.0).nonzero()[0].tolist() == [2]
    assert not bonus(counts, np.full(5, True), 0.0).any()


def test_items_without_events_stand_for_the_rarest_unless_they_have_a_vector() -> None:
    vectors = torch.tensor([[1.0, 0.0], [3.0, 4.0], [0.0, 0.0], [9.0, 9.0]])
    made, bias = stand_ins(vectors, torch.tensor([1.0, 3.0, 0.0, 7.0]), 2)
    assert made.tolist() == [[1.0, 0.0], [3.0, 4.0], [2.0, 2.0], [9.0, 9.0]]
    assert bias.tolist() == [1.0, 3.0, 2.0, 7.0]
    assert vectors[2].tolist() == [0.0, 0.0]


def noisy(num_users: int, weight: float, new: list[bool] | None = None) -> tuple[TopItems, TopItems]:
    """The best 20 of 40 nearly equal items, and the best 10 after the noise."""
    hashes = hash64(pa.array([f"item {row}" for row in range(40)]))
    users = hash64(pa.array([f"user {row}" for row in range(num_users)]))
    scorer = Scorer(torch.zeros(40, 0), torch.linspace(0.4, 0.0, 40))
    top = scorer.top(torch.zeros(num_users, 0), SparseScores.none(num_users), 20)
    return top, Noise(np.array(new or [True] * 40), hashes, weight).best(top, users, 10)


def test_noise_gives_users_different_lists_that_fall_and_stay_within_one() -> None:
    top, best = noisy(200, 1.0)
    assert (np.diff(best.scores, axis=1) <= 0).all()
    assert (np.diff(best.shares, axis=1) <= 1e-12).all()
    assert (best.shares.sum(axis=1) < 1).all()
    assert len({tuple(row) for row in best.item_rows.tolist()}) > 150
    assert all(set(after) <= set(before) for before, after in zip(top.item_rows.tolist(), best.item_rows.tolist(), strict=True))
    bias = np.linspace(0.4, 0.0, 40)
    moved = best.scores - bias[best.item_rows]
    assert np.abs(moved).max() <= NOISE + 1e-6
    assert abs(moved.mean()) < NOISE  # chosen items were moved up more often than down
    again = noisy(200, 1.0)[1]
    assert (again.item_rows == best.item_rows).all()
    assert (again.shares == best.shares).all()


def test_old_items_do_not_move() -> None:
    top, best = noisy(50, 1.0, [False] * 40)
    assert (best.item_rows == top.item_rows[:, :10]).all()
    assert (best.shares == top.shares[:, :10]).all()


def test_what_is_not_there_stays_behind() -> None:
    rows = np.array([[3, 1, -1, -1]])
    scores = np.array([[0.2, 0.1, -np.inf, -np.inf]], np.float32)
    top = TopItems(rows, scores, np.array([[0.5, 0.4, 0.0, 0.0]]))
    noise = Noise(np.full(4, True), hash64(pa.array(["a", "b", "c", "d"])), 1.0)
    best = noise.best(top, hash64(pa.array(["user"])), 3)
    assert sorted(best.item_rows[0, :2].tolist()) == [1, 3]
    assert best.item_rows[0, 2] == -1
    assert best.shares[0, 2] == 0.0
