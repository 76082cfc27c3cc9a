"""Metrics of segments against counting by hand."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
import torch
from small_sequences import random_histories, sequences_of, without_sparse_scores

from hrnn.data.splits import drawn_users, prepare, segment_split
from hrnn.evaluation.holdout import hold_out
from hrnn.evaluation.segment_metrics import attribute_sets, attributes_without_use, item_sets, segment_metrics
from hrnn.inference.segments import sets_of


def test_of_every_user_the_newest_fifth_is_hidden() -> None:
    split = segment_split([1, 2, 4, 10, 0, 14])
    assert split.user_rows.tolist() == [1, 2, 3, 5]
    assert split.keep_counts.tolist() == [1, 3, 8, 12]
    assert split.truth_counts.tolist() == [1, 1, 2, 2]


def test_few_of_many_users_are_measured_and_the_others_events_are_hidden_too() -> None:
    sequences = sequences_of(random_histories(50, 9))
    whole = segment_split(sequences.history_lengths)
    some = drawn_users(whole, most=7)
    assert len(some) == 7
    at = np.searchsorted(whole.user_rows, some.user_rows)
    assert whole.keep_counts[at].tolist() == some.keep_counts.tolist()
    prepared = prepare(sequences, 0, holdout="everyone")
    assert prepared.fit_and_calibration.history_lengths[whole.user_rows].tolist() == whole.keep_counts.tolist()
    assert prepared.fit_and_calibration.history_lengths.sum() + whole.truth_counts.sum() == sequences.num_events


def test_hits_and_recall_agree_with_counting_by_hand() -> None:
    sequences = sequences_of(random_histories(260, 12, seed=2), num_items=12)
    split = segment_split(sequences.history_lengths)
    draw = torch.Generator().manual_seed(0)
    queries, vectors, bias = (torch.randn(*shape, generator=draw) for shape in ((len(split), 3), (12, 3), (12,)))
    held_out = hold_out(split, sequences, without_sparse_scores(queries), with_baselines=False)
    sets = [[3], [0, 5, 7], list(range(12))]
    shares = torch.softmax((queries @ vectors.T + bias).double(), 1).numpy()
    hits, recalls = [], []
    for items in sets:
        took = []
        for user in range(len(split)):
            took.append(bool(set(held_out.truth.row(user).tolist()) & set(items)))
        best = np.argsort(-shares[:, items].sum(1), kind="stable")[: len(split) // 100]
        hits.append(sum(took[user] for user in best))
        recalls.append(hits[-1] / sum(took))
    assert len(split) // 100 == 2
    found = segment_metrics(held_out, vectors, bias, sets_of(sets[:2]))
    assert found == pytest.approx({"hits_at_1_percent": np.mean(hits[:2]), "recall_at_1_percent": np.mean(recalls[:2])})
    everything = segment_metrics(held_out, vectors, bias, sets_of(sets[2:]))
    assert everything["hits_at_1_percent"] == 2


def test_sets_that_nobody_took_do_not_count() -> None:
    sequences = sequences_of([[[0, 1]], [[0, 1]]], num_items=4)
    split = segment_split(sequences.history_lengths)
    held_out = hold_out(split, sequences, without_sparse_scores(torch.zeros(2, 1)), with_baselines=False)
    vectors, bias = torch.zeros(4, 1), torch.zeros(4)
    assert segment_metrics(held_out, vectors, bias, sets_of([[1], [3]])) == {
        "hits_at_1_percent": 1,
        "recall_at_1_percent": 0.5,
    }
    nobodys = segment_metrics(held_out, vectors, bias, sets_of([[3]]))
    assert [math.isnan(value) for value in nobodys.values()] == [True, True]
    assert [item_sets(held_out).values.tolist(), len(item_sets(held_out))] == [[1], 1]


def test_attributes_are_categories_of_columns() -> None:
    table = pa.table({"GENRES": ["a|b", None, " b ", "", "a|b"], "BRAND": ["x", "x", "x", "x", "y"]})
    sets = attribute_sets(table, ["GENRES", "BRAND"])
    assert [sets.row(number).tolist() for number in range(len(sets))] == [[0, 1, 2, 3], [0, 2, 4], [0, 4], [4]]


def test_numbers_are_attributes_too() -> None:
    sets = attribute_sets(pa.table({"YEAR": pa.array([1990, 2001, None, 1990], pa.int32())}), ["YEAR"])
    assert sets.values.tolist() == [0, 3, 1]
    assert len(sets) == 2


def test_attributes_that_are_equal_everywhere_or_nowhere_are_told_of() -> None:
    table = pa.table(
        {
            "SAME": ["x", "x", "x"],
            "EACH": [1, 2, 3],
            "NONE": pa.array([None, None, ""], pa.string()),
            "GOOD": ["a", "b", "b"],
            "SOME": ["a", None, "a"],
        }
    )
    told = attributes_without_use(table, table.column_names)
    assert [sentence.split()[0] for sentence in told] == ["ITEMS.SAME", "ITEMS.EACH", "ITEMS.NONE"]
    assert "is the same for all 3 items" in told[0]
    assert "is another one for each item" in told[1]
