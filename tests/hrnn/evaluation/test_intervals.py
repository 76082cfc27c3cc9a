"""What surrounds a table of metrics."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_sequences import circular_histories, random_histories, sequences_of, without_sparse_scores

from hrnn.data.ragged import Ragged
from hrnn.data.splits import evaluation_split
from hrnn.evaluation import intervals
from hrnn.evaluation.baselines.lists import MOST_USERS, NAMES, baseline_lists
from hrnn.evaluation.evaluate import evaluate
from hrnn.evaluation.holdout import HeldOut, hold_out


def test_intervals_hold_the_mean_and_are_as_wide_as_theory_says() -> None:
    values = np.random.default_rng(0).random(2_000)
    rows = {"model": {"recall": values}, "baseline": {"recall": values}}
    low, high = intervals.bootstrap_intervals(rows)["model"]["recall"]
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * values.std() / np.sqrt(2_000), rel=0.1)
    assert (low, high) == intervals.bootstrap_intervals(rows)["baseline"]["recall"]


def test_intervals_of_nobody_are_zero() -> None:
    assert intervals.bootstrap_intervals({"model": {"recall": np.zeros(0)}}) == {"model": {"recall": (0.0, 0.0)}}
    assert intervals.bootstrap_intervals({}) == {}


def test_terciles_keep_equal_lengths_together() -> None:
    parts = intervals.length_terciles(np.asarray([1, 1, 1, 1, 5, 9]))
    assert [part.tolist() for part in parts.values()] == [[True] * 4 + [False] * 2, [False] * 6, [False] * 4 + [True] * 2]
    parts = intervals.length_terciles(np.arange(1, 10))
    assert [int(part.sum()) for part in parts.values()] == [3, 3, 3]


def test_head_middle_and_tail_have_a_third_of_the_events_each() -> None:
    parts = intervals.popularity_classes(np.asarray([1, 6, 3, 3, 2, 2, 1]))
    assert [np.flatnonzero(part).tolist() for part in parts.values()] == [[1], [2, 3], [0, 4, 5, 6]]


def test_a_slice_counts_only_its_own_truth_and_users_who_have_some() -> None:
    lists = {"model": np.asarray([[4, 5, 6], [1, 2, 3]])}
    truth = Ragged.from_rows([[5, 7], [9]], np.int64)
    rows = intervals.slice_metrics(lists, np.arange(2), truth, np.asarray([True, False, False]))
    assert rows["model"]["users"] == 1
    assert rows["model"]["mean_reciprocal_rank_at_25"] == 0.5
    assert rows["model"]["recall_at_25"] == 1.0


def test_catalogue_metrics_are_worked_out() -> None:
    alike = intervals.catalogue_metrics(np.asarray([[0, 1], [2, 3]]), np.asarray([4, 4, 4, 4]))
    assert alike == pytest.approx({"coverage": 1.0, "gini": 0.0, "novelty": 2.0})
    one = intervals.catalogue_metrics(np.asarray([[0, -1], [0, -1]]), np.asarray([4, 4, 4, 4]))
    assert one == pytest.approx({"coverage": 0.25, "gini": 0.75, "novelty": 2.0})


def test_baselines_recommend_to_the_test_users_and_learn_nothing_hidden() -> None:
    sequences = sequences_of(circular_histories(60, 30))
    split = evaluation_split(sequences.history_lengths)
    known = sequences.truncate(split.user_rows, split.keep_counts)
    baselines = baseline_lists(known, split.user_rows)
    assert tuple(baselines.lists) == NAMES
    assert baselines.users.tolist() == list(range(len(split)))
    last = known.item_rows[known.user_offsets[:-1][split.user_rows] + split.keep_counts - 1]
    assert (baselines.lists["Markov"][:, 0] == (last + 1) % 30).all()


def test_baselines_are_measured_on_a_sample_of_many_test_users() -> None:
    sequences = sequences_of([[[0, 1], [1, 0]]] * (MOST_USERS + 50))
    baselines = baseline_lists(sequences, np.arange(MOST_USERS + 50), names=("Markov",))
    assert len(baselines.users) == len(baselines.lists["Markov"]) == MOST_USERS


def test_an_evaluation_tells_rows_intervals_slices_and_catalogue_also_from_a_stored_table() -> None:
    sequences = sequences_of(random_histories(150, 40), num_items=40)
    split = evaluation_split(sequences.history_lengths)
    states = without_sparse_scores(torch.zeros(len(split), 2))
    held_out = hold_out(split, sequences, states)
    counts = sequences.item_counts()
    measured = evaluate(held_out, torch.zeros(40, 2), torch.log(torch.from_numpy(counts + 1.0)), counts, counts)
    document = measured.to_document()
    rows = ["model", "popularity", "personal popularity", *NAMES]
    assert list(document["table"]) == list(document["intervals"]) == list(document["catalogue"]) == rows
    assert document["users"] == dict.fromkeys(rows, len(split))
    low, high = document["intervals"]["model"]["recall_at_25"]
    assert low <= document["table"]["model"]["recall_at_25"] <= high
    assert {"head items", "middle items", "tail items", "new session", "within a session"} <= set(document["slices"])
    by_session = [document["slices"][name]["model"]["users"] for name in ("new session", "within a session")]
    assert sum(by_session) == len(split)
    stored = HeldOut.from_table(held_out.to_table(), 2)
    again = evaluate(stored, torch.zeros(40, 2), torch.log(torch.from_numpy(counts + 1.0)), counts, counts)
    assert again.to_document() == document
