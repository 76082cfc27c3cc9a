from __future__ import annotations

import numpy as np
import torch

from hrnn.data.ragged import Ragged
from hrnn.inference.allowed import Allowed
from hrnn.inference.related import NearestVectors, TableOfNeighbours

POPULAR = np.array([2, 0, 1, 3, 4, 5])
TABLE = TableOfNeighbours(Ragged.from_rows([[5, 3, 0], [], [1, 0], [], [], []], np.int32), POPULAR)


def by_mask(masks: list[list[bool]], mask_of: list[int]) -> Allowed:
    none = Ragged.none(len(mask_of), np.int64)
    return Allowed(np.array(masks), np.array(mask_of), none, none)


def test_neighbours_come_first_and_popular_items_fill_up() -> None:
    assert TABLE.of(np.array([0, 1, 2, -1]), 4, None).tolist() == [[5, 3, 2, 1], [2, 0, 3, 4], [1, 0, 3, 4], [2, 0, 1, 3]]


def test_lists_end_where_nothing_is_left() -> None:
    assert TABLE.of(np.array([0, -1]), 7, None).tolist() == [[5, 3, 2, 1, 4, -1, -1], [2, 0, 1, 3, 4, 5, -1]]


def test_masks_hold_for_neighbours_and_popular_items() -> None:
    allowed = by_mask([[True, False, True, False, True, True], [False] * 6], [0, 1, 0])
    assert TABLE.of(np.array([0, 0, -1]), 3, allowed).tolist() == [[5, 2, 4], [-1, -1, -1], [2, 0, 4]]


def test_nearest_vectors_fall_by_cosine_and_leave_the_item_out() -> None:
    random = np.random.default_rng(0)
    vectors = random.normal(size=(30, 4)).astype(np.float32)
    found = NearestVectors(torch.from_numpy(vectors)).of(np.array([7, -1, 0]), 5, None)
    directions = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    for place, item in ((0, 7), (2, 0)):
        cosines = directions @ directions[item]
        cosines[item] = -2
        assert found[place].tolist() == np.argsort(-cosines)[:5].tolist()
    assert found[1].tolist() == [0, 1, 2, 3, 4]


def test_nearest_vectors_obey_masks_and_end() -> None:
    vectors = torch.eye(4)
    allowed = by_mask([[True, True, False, False], [False, True, True, True]], [0, 1])
    found = NearestVectors(vectors).of(np.array([0, 0]), 4, allowed)
    assert found.tolist() == [[1, -1, -1, -1], [1, 2, 3, -1]]
