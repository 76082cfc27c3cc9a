from __future__ import annotations

import numpy as np
import pytest

from hrnn.data.ragged import Ragged
from hrnn.evaluation import metrics


def measured(hit_ranks: list[int], num_true: int) -> dict[str, float]:
    hits = np.zeros((1, 25), dtype=bool)
    hits[0, np.array(hit_ranks, dtype=int) - 1] = True
    return metrics.means(metrics.per_user_metrics(hits, np.array([num_true])))


def test_worked_example_of_the_developer_guide() -> None:
    values = measured([2, 5], num_true=2)
    assert values["mean_reciprocal_rank_at_25"] == 0.5
    assert round(values["normalized_discounted_cumulative_gain_at_5"], 4) == 0.6241
    assert values["precision_at_5"] == 0.4


def test_worked_mean_reciprocal_rank_of_the_developer_guide() -> None:
    hits = np.zeros((3, 25), dtype=bool)
    hits[[0, 1, 2], [3, 1, 5]] = True
    values = metrics.means(metrics.per_user_metrics(hits, np.ones(3, dtype=np.int64)))
    assert round(values["mean_reciprocal_rank_at_25"], 4) == 0.3056


def test_a_perfect_list_has_ndcg_one_at_every_depth() -> None:
    values = measured(list(range(1, 26)), num_true=40)
    assert all(values[f"normalized_discounted_cumulative_gain_at_{depth}"] == pytest.approx(1.0) for depth in (5, 10, 25))
    assert values["recall_at_25"] == 25 / 40


def test_no_hit_gives_zero_everywhere() -> None:
    assert set(measured([], num_true=3).values()) == {0.0}


def test_no_user_gives_zero_everywhere() -> None:
    values = metrics.means(metrics.per_user_metrics(np.zeros((0, 25), dtype=bool), np.zeros(0, dtype=np.int64)))
    assert set(values.values()) == {0.0}


def test_every_metric_of_personalize_is_measured_but_coverage_which_is_not_a_mean() -> None:
    assert set(metrics.PERSONALIZE_METRICS) - set(measured([1], 1)) == {"coverage"}


def test_no_depth_is_beyond_the_lists() -> None:
    assert all(1 <= depth <= metrics.DEPTH for _, depths in metrics.METRICS.values() for depth in depths)


def test_a_true_item_counts_once_however_often_it_was_taken() -> None:
    hits, num_true = metrics.hits_of(np.array([[7, 8], [8, 7]]), Ragged.from_rows([[7, 7, 9], [7]], np.int64))
    assert hits.tolist() == [[True, False], [False, True]]
    assert num_true.tolist() == [2, 1]


def test_filling_of_short_lists_is_never_a_hit() -> None:
    hits, _ = metrics.hits_of(np.array([[3, -1], [3, -1]]), Ragged.from_rows([[5], [3]], np.int64))
    assert hits.tolist() == [[False, False], [True, False]]


def test_hits_agree_with_sets() -> None:
    random = np.random.default_rng(0)
    lists = np.array([random.permutation(40)[:25] for _ in range(50)])
    truth = [random.integers(0, 60, random.integers(1, 9)) for _ in range(50)]
    hits, num_true = metrics.hits_of(lists, Ragged.from_rows(truth, np.int64))
    assert num_true.tolist() == [len(set(items.tolist())) for items in truth]
    expected = [[int(item) in set(items.tolist()) for item in row] for row, items in zip(lists, truth, strict=True)]
    assert hits.tolist() == expected


def test_coverage_counts_listed_items_once() -> None:
    assert metrics.coverage(np.array([[0, 1], [1, -1]]), 8) == 0.25


def test_paired_difference_is_that_of_the_means_with_its_standard_error() -> None:
    ours, theirs = np.array([1.0, 0.5, 0.0]), np.array([0.5, 0.5, 0.5])
    difference, error = metrics.paired_difference(ours, theirs)
    assert difference == pytest.approx(0.0)
    assert error == pytest.approx(0.5 / np.sqrt(3))
    assert metrics.paired_difference(ours[:1], theirs[:1]) == (0.5, 0.0)
