from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrnn.data.splits import evaluation_split


@pytest.mark.parametrize(("num_events", "hidden"), [(2, 1), (9, 1), (10, 1), (19, 1), (20, 2), (1000, 100)])
def test_the_newest_tenth_but_at_least_one_event_is_hidden(num_events: int, hidden: int) -> None:
    split = evaluation_split([num_events])
    assert (split.keep_counts.tolist(), split.truth_counts.tolist()) == ([num_events - hidden], [hidden])


def test_last_item_mode_hides_one_event() -> None:
    assert evaluation_split([1000], truth="last_item").truth_counts.tolist() == [1]


def test_one_user_of_ten_is_tested() -> None:
    assert len(evaluation_split(np.full(1000, 5))) == 100
    assert len(evaluation_split(np.full(19, 5))) == 1


def test_users_with_one_event_are_never_tested() -> None:
    assert len(evaluation_split([1, 1, 1])) == 0
    assert evaluation_split([1, 7, 1]).user_rows.tolist() == [1]


def test_same_seed_same_users_another_seed_others() -> None:
    counts = np.full(5000, 4)
    first = evaluation_split(counts, seed=3)
    assert np.array_equal(first.user_rows, evaluation_split(counts, seed=3).user_rows)
    shared = np.intersect1d(first.user_rows, evaluation_split(counts, seed=4).user_rows)
    assert len(shared) < 120  # 50 are expected by chance


def test_test_users_are_spread_over_all_rows() -> None:
    rows = evaluation_split(np.full(100_000, 2)).user_rows
    assert np.all(np.abs(np.histogram(rows, 10, (0, 100_000))[0] - 1000) < 150)


def test_number_of_test_users_is_bounded() -> None:
    assert len(evaluation_split(np.full(1000, 5), most_test_users=7)) == 7


@given(st.lists(st.integers(0, 50), max_size=60), st.integers(0, 2**40))
def test_kept_and_hidden_events_partition_each_tested_history(counts: list[int], seed: int) -> None:
    split = evaluation_split(np.array(counts, dtype=np.int64), seed=seed)
    assert np.all(np.diff(split.user_rows) > 0)
    assert np.array_equal(split.keep_counts + split.truth_counts, np.array(counts, dtype=np.int64)[split.user_rows])
    assert np.all(split.keep_counts >= 1)
    assert np.all(split.truth_counts >= 1)
