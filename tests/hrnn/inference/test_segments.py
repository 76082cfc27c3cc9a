"""Affinities against plain softmaxes in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hrnn.data.sparse_scores import SparseScores
from hrnn.inference import segments as affinity
from hrnn.inference.segments import Affinity, sets_of
from schemas.errors import IntegrityError


def shop(
    num_users: int, num_items: int, dimension: int, seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, SparseScores]:
    """Queries, item vectors, item bias, and own items of 0 to 5 items a user."""
    random = np.random.default_rng(seed)
    counts = random.integers(0, 6, num_users)
    rows = [np.sort(random.choice(num_items, count, replace=False)) for count in counts]
    own = SparseScores(
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        np.concatenate(rows).astype(np.int64),
        random.normal(3, 2, counts.sum()).astype(np.float32),
    )
    draw = torch.Generator().manual_seed(seed)
    return (
        torch.randn(num_users, dimension, generator=draw) * 2,
        torch.randn(num_items, dimension, generator=draw),
        torch.randn(num_items, generator=draw),
        own,
    )


def plainly(
    queries: torch.Tensor, vectors: torch.Tensor, bias: torch.Tensor, own: SparseScores, sets: list[list[int]]
) -> np.ndarray:
    scores = (queries.double() @ vectors.double().T + bias.double()).numpy()
    scores[np.repeat(np.arange(len(queries)), np.diff(own.offsets)), own.item_rows] += own.scores
    logs = scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)
    return np.stack([np.logaddexp.reduce(logs[:, items], axis=1) for items in sets], axis=1)


@pytest.mark.parametrize("block", [4096, 64])
def test_agrees_with_a_plain_softmax(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(affinity, "BLOCK_ITEMS", block)
    queries, vectors, bias, own = shop(300, 500, 7)
    sets = [[0], [499], [63, 64], list(range(0, 500, 3)), list(range(500))]
    found = Affinity(vectors, bias, sets_of(sets)).of(queries, own)
    assert found.shape == (300, 5)
    assert found == pytest.approx(plainly(queries, vectors, bias, own, sets), abs=2e-5)
    assert np.abs(found[:, -1]).max() < 1e-6


def test_users_who_will_never_take_it_are_still_told_apart() -> None:
    vectors = torch.tensor([[0.0], [-500.0], [-500.0]])
    queries = torch.tensor([[1.0], [1.5], [0.5]])
    found = Affinity(vectors, torch.zeros(3), sets_of([[1], [1, 2]])).of(queries, SparseScores.none(3))
    assert found[:, 0].tolist() == [-500, -750, -250]
    assert found[:, 1] == pytest.approx(found[:, 0] + np.log(2))


def test_a_user_is_the_same_in_any_company() -> None:
    queries, vectors, bias, own = shop(200, 900, 16, seed=1)
    asked = Affinity(vectors, bias, sets_of([[5], list(range(100, 300))]))
    together = asked.of(queries, own)
    alone = np.concatenate([asked.of(queries[user : user + 1], own.part(user, user + 1)) for user in range(0, 200, 17)])
    assert np.array_equal(together[::17], alone)


def test_what_is_not_finite_is_refused() -> None:
    queries, vectors, bias, own = shop(3, 10, 2)
    queries[1, 0] = torch.nan
    with pytest.raises(IntegrityError, match="state is not made of finite numbers"):
        Affinity(vectors, bias, sets_of([[1]])).of(queries, own)
    vectors[0, 0] = torch.inf
    with pytest.raises(IntegrityError, match="holds parameters that are not finite"):
        Affinity(vectors, bias, sets_of([[1]]))
