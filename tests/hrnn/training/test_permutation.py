from __future__ import annotations

import numpy as np
import pytest

from hrnn.training.batching.permutation import Permutation


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 16, 17, 1000, 4096, 65_537])
def test_every_number_goes_to_one_place(size: int) -> None:
    moved = Permutation(size, 7, 3)(np.arange(size))
    assert sorted(moved.tolist()) == list(range(size))


def test_parts_are_those_of_the_whole_and_other_keys_give_other_orders() -> None:
    whole = Permutation(10_000, 0, 0)(np.arange(10_000))
    assert np.array_equal(Permutation(10_000, 0, 0)(np.arange(500, 900)), whole[500:900])
    for keys in ((0, 1), (1, 0), (0,)):
        other = Permutation(10_000, *keys)(np.arange(10_000))
        assert (other == whole).mean() < 0.01


def test_neighbours_are_strangers_afterwards() -> None:
    moved = Permutation(100_000, 5)(np.arange(100_000))
    assert abs(float(np.corrcoef(moved[:-1], moved[1:])[0, 1])) < 0.02
    assert abs(float(np.corrcoef(moved, np.arange(100_000))[0, 1])) < 0.02
    halves = (moved < 50_000).reshape(100, 1000).mean(axis=1)
    assert np.abs(halves - 0.5).max() < 0.1


def test_numbers_of_three_billion_events_take_no_array() -> None:
    numbers = np.asarray([0, 1, 2_999_999_999, 1_500_000_000])
    moved = Permutation(3_000_000_000, 1)(numbers)
    assert len(set(moved.tolist())) == 4
    assert ((moved >= 0) & (moved < 3_000_000_000)).all()
