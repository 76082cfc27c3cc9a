from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from small_sequences import without_sparse_scores

from hrnn.blend.snapshots import PlainSnapshot
from hrnn.data.ragged import Ragged
from hrnn.data.sequences import Sequences
from hrnn.data.sparse_scores import SparseScores
from hrnn.data.splits import EvaluationSplit, evaluation_split
from hrnn.evaluation import metrics
from hrnn.evaluation.baselines.popular import personal_popularity, popularity
from hrnn.evaluation.evaluate import evaluate
from hrnn.evaluation.holdout import HeldOut, hold_out
from hrnn.models.contract import UserStates
from hrnn.models.popularity import PopularityCount


def sequences_of(histories: list[list[int]], num_items: int) -> Sequences:
    events = np.array([item for history in histories for item in history], dtype=np.int32)
    offsets = np.cumsum([0, *(len(history) for history in histories)]).astype(np.int64)
    zeros = np.zeros(len(events), dtype=np.int64)
    return Sequences(offsets, events, zeros, np.zeros(len(events), dtype=bool), zeros.astype(np.int32), num_items)


def users_held_out(histories: list[list[int]], num_items: int, split: EvaluationSplit) -> HeldOut:
    """Test users of a model whose query is the one-hot vector of the newest kept item, and whose own item is the oldest."""
    kept = [history[:keep] for history, keep in zip([histories[u] for u in split.user_rows], split.keep_counts, strict=True)]
    query = torch.eye(num_items)[[history[-1] for history in kept]]
    offsets = np.arange(len(kept) + 1, dtype=np.int64)
    oldest = np.array([history[0] for history in kept])
    states = UserStates(query, SparseScores(offsets, oldest, np.full(len(kept), 0.5, dtype=np.float32)))
    return hold_out(split, sequences_of(histories, num_items), states)


def counts_of(histories: list[list[int]], num_items: int) -> tuple[np.ndarray, np.ndarray]:
    events = np.bincount(np.concatenate(histories), minlength=num_items)
    users = np.bincount(np.concatenate([np.unique(history) for history in histories]), minlength=num_items)
    return events, users


def split_of(*cuts: tuple[int, int, int]) -> EvaluationSplit:
    return EvaluationSplit(*(np.array(column, dtype=np.int64) for column in zip(*cuts, strict=True)))


def test_histories_are_cut_at_the_split() -> None:
    held_out = users_held_out([[0, 1, 2], [3], [4, 5, 6, 7]], 8, split_of((0, 2, 1), (2, 2, 2)))
    assert held_out.histories.values.tolist() == [0, 1, 4, 5]
    assert held_out.truth.values.tolist() == [2, 6, 7]
    assert held_out.histories.lengths.tolist() == [2, 2]
    assert held_out.truth.lengths.tolist() == [1, 2]


def test_a_table_brings_back_the_test_users(tmp_path: Path) -> None:
    held_out = users_held_out([[0, 1, 2], [3], [4, 5, 6, 7]], 8, split_of((0, 2, 1), (2, 2, 2)))
    pq.write_table(held_out.to_table(), tmp_path / "evaluation.parquet")
    read = HeldOut.from_table(pq.read_table(tmp_path / "evaluation.parquet"), dimension=8)
    assert torch.equal(read.queries, held_out.queries)
    assert np.array_equal(read.user_rows, held_out.user_rows)
    for name in ("offsets", "values"):
        assert np.array_equal(getattr(read.histories, name), getattr(held_out.histories, name))
        assert np.array_equal(getattr(read.truth, name), getattr(held_out.truth, name))
    for name in ("offsets", "item_rows", "scores"):
        assert np.array_equal(getattr(read.sparse, name), getattr(held_out.sparse, name))


@pytest.mark.parametrize("histories", [[[0, 1]], [[0], [1]]])
def test_a_table_of_a_model_without_queries_comes_back(histories: list[list[int]]) -> None:
    sequences = sequences_of(histories, 2)
    split = evaluation_split(sequences.history_lengths)
    held_out = hold_out(split, sequences, PlainSnapshot(PopularityCount.fit(sequences)).user_states(sequences, split.user_rows))
    read = HeldOut.from_table(held_out.to_table(), dimension=0)
    assert read.queries.shape == (len(split), 0)
    assert len(read) == len(split)


def test_a_model_that_knows_the_next_item_beats_both_baselines() -> None:
    # Everybody walks 0 → 1 → 2 → … round a circle of 60; popularity is flat, and nobody repeats.
    histories = [[(start + step) % 60 for step in range(20)] for start in range(60)]
    split = evaluation_split([20] * 60)
    held_out = users_held_out(histories, 60, split)
    following, next_but_one = torch.roll(torch.eye(60), 1, dims=0), torch.roll(torch.eye(60), 2, dims=0)
    vectors = 9 * following + 8 * next_but_one
    evaluation = evaluate(held_out, vectors, torch.zeros(60), *counts_of(histories, 60))
    assert evaluation.rows["model"]["normalized_discounted_cumulative_gain_at_5"] == pytest.approx(1.0)
    assert evaluation.rows["model"]["precision_at_5"] == pytest.approx(0.4)
    assert evaluation.rows["popularity"]["normalized_discounted_cumulative_gain_at_25"] < 0.5
    assert evaluation.test_users == 6
    assert evaluation.truth_events == 12
    assert evaluation.gain["popularity"][0] > 0.5


def test_hidden_events_do_not_make_an_item_popular() -> None:
    histories = [[0, 1], [0, 1], [0, 1], [2, 2]]
    held_out = users_held_out(histories, 3, split_of((0, 1, 1), (1, 1, 1), (2, 1, 1)))
    evaluation = evaluate(held_out, torch.zeros(3, 3), torch.zeros(3), *counts_of(histories, 3))
    # Without the hidden ones item 1 has no user, so it stands third: after 0 (three users) and 2 (one user).
    assert evaluation.rows["popularity"]["mean_reciprocal_rank_at_25"] == pytest.approx(1 / 3)


def test_items_without_events_are_not_ranked_but_count_in_coverage() -> None:
    histories = [[0, 1], [1, 0]]
    held_out = users_held_out(histories, 10, split_of((0, 1, 1)))
    evaluation = evaluate(held_out, torch.zeros(10, 10), torch.arange(10.0), *counts_of(histories, 10))
    assert evaluation.rows["model"]["coverage"] == 0.2


def test_document_has_personalize_metrics_to_four_decimals() -> None:
    histories = [[0, 1, 2], [2, 1, 0]]
    held_out = users_held_out(histories, 3, split_of((0, 2, 1), (1, 2, 1)))
    document = evaluate(held_out, torch.zeros(3, 3), torch.zeros(3), *counts_of(histories, 3)).to_document()
    assert tuple(document["metrics"]) == metrics.PERSONALIZE_METRICS
    assert list(document["table"])[:3] == ["model", "popularity", "personal popularity"]
    assert all(value == round(value, 4) for row in document["table"].values() for value in row.values())
    # Own items come first: lists are 0, 1, 2 (truth 2) and 2, 0, 1 (truth 0).
    assert document["metrics"]["mean_reciprocal_rank_at_25"] == 0.4167
    assert document["test_users"] == 2


def test_nobody_to_test_gives_no_metrics() -> None:
    sequences = sequences_of([[0], [1]], 2)
    split = evaluation_split(sequences.history_lengths)
    model = PopularityCount.fit(sequences)
    held_out = hold_out(split, sequences, PlainSnapshot(model).user_states(sequences, split.user_rows))
    evaluation = evaluate(held_out, *model.items(), [1, 1], [1, 1])
    assert evaluation.test_users == 0
    document = evaluation.to_document()
    assert tuple(document["metrics"]) == metrics.PERSONALIZE_METRICS
    assert set(document["metrics"].values()) == {None}
    assert {value for row in document["table"].values() for value in row.values()} == {None}
    assert (document["intervals"], document["catalogue"], document["slices"]) == ({}, {}, {})


def test_popularity_gives_everybody_the_same_list() -> None:
    assert popularity(np.array([1, 5, 5]), 2)[:, :4].tolist() == [[1, 2, 0, -1]] * 2


def test_own_items_come_by_count_then_newest_first_then_popular_ones() -> None:
    histories, num_users = [[4, 3, 4, 2, 3, 1], [0]], np.array([9, 1, 2, 3, 4, 8])
    lists = personal_popularity(Ragged.from_rows(histories, np.int64), num_users)
    assert lists[0, :7].tolist() == [3, 4, 1, 2, 0, 5, -1]
    assert lists[1, :7].tolist() == [0, 5, 4, 3, 2, 1, -1]


def test_personal_popularity_agrees_with_a_plain_loop() -> None:
    random = np.random.default_rng(2)
    histories = [random.integers(0, 80, random.integers(1, 70)).tolist() for _ in range(60)]
    num_users = random.integers(0, 9, 80)
    popular = sorted(range(80), key=lambda item: (-num_users[item], item))
    lists = personal_popularity(Ragged.from_rows(histories, np.int64), num_users)
    for history, listed in zip(histories, lists, strict=True):
        newest = {item: position for position, item in enumerate(history)}
        own = sorted(newest, key=lambda item: (-history.count(item), -newest[item]))
        assert listed.tolist() == (own + [item for item in popular if item not in newest])[:25]


def test_events_that_do_not_count_are_no_right_answers() -> None:
    histories = [[0, 1, 2, 3], [0, 1, 2, 3], [3, 2, 1, 0]]
    sequences, split = sequences_of(histories, 4), split_of((0, 2, 2), (1, 2, 2), (2, 2, 2))
    weights = np.asarray([1, 1, 0, 1, 1, 1, 0, 0, 1, 1, 0.5, 0], dtype=np.float32)
    states = without_sparse_scores(torch.zeros(3, 4))
    held_out = hold_out(split, sequences, states, event_weights=weights)
    bias = torch.tensor([4.0, 3.0, 2.0, 1.0])  # everybody is given 0, 1, 2, 3
    stored = HeldOut.from_table(held_out.to_table(), 4)
    for each in (held_out, stored):
        found = evaluate(each, torch.zeros(4, 4), bias, *counts_of(histories, 4))
        # Item 3 at rank 4 for the first user, item 1 at rank 2 for the last; nothing counts for the second.
        assert found.rows["model"]["mean_reciprocal_rank_at_25"] == pytest.approx((1 / 4 + 1 / 2) / 2)
        assert (found.test_users, found.truth_events, found.hidden_events) == (2, 2, 6)
        assert found.to_document()["truth"] == "hidden events that the solution's event rules count"
        assert set(found.users.values()) == {2}
        # Popularity is counted without any hidden event, those that don't count included.
        plain = evaluate(hold_out(split, sequences, states), torch.zeros(4, 4), bias, *counts_of(histories, 4))
        assert found.catalogue["popularity"]["novelty"] == plain.catalogue["popularity"]["novelty"]
    assert plain.to_document()["truth"] == "every hidden event"


def test_own_items_and_baselines_stay_with_their_users_where_others_are_not_measured() -> None:
    histories = [[0, 1, 2], [1, 2, 3], [2, 3, 0], [3, 0, 1]]
    sequences, split = sequences_of(histories, 4), split_of(*((user, 2, 1) for user in range(4)))
    own = np.asarray([2, 3, 0, 1])  # what each takes next
    states = UserStates(torch.zeros(4, 4), SparseScores(np.arange(5), own, np.ones(4, dtype=np.float32)))
    weights = np.tile(np.asarray([1, 1, 0, 1, 1, 1], dtype=np.float32), 2)
    held_out = hold_out(split, sequences, states, event_weights=weights).counted()
    assert held_out.user_rows.tolist() == [1, 3]
    assert held_out.histories.values.tolist() == [1, 2, 3, 0]
    found = evaluate(held_out, torch.zeros(4, 4), torch.zeros(4), *counts_of(histories, 4))
    assert found.rows["model"]["mean_reciprocal_rank_at_25"] == 1.0
    assert held_out.baselines is not None
    whole = hold_out(split, sequences, states).baselines
    assert whole is not None
    assert held_out.baselines.users.tolist() == [0, 1]
    for name, lists in held_out.baselines.lists.items():
        assert np.array_equal(lists, whole.lists[name][[1, 3]])


def test_where_no_hidden_event_counts_nobody_is_measured() -> None:
    histories = [[0, 1, 2], [2, 1, 0]]
    sequences, split = sequences_of(histories, 3), split_of((0, 2, 1), (1, 2, 1))
    states = without_sparse_scores(torch.zeros(2, 3))
    weights = np.asarray([1, 1, 0, 1, 1, 0], dtype=np.float32)
    held_out = hold_out(split, sequences, states, event_weights=weights)
    found = evaluate(held_out, torch.zeros(3, 3), torch.zeros(3), *counts_of(histories, 3))
    assert (found.test_users, found.truth_events, found.hidden_events) == (0, 0, 2)
    assert set(found.to_document()["metrics"].values()) == {None}
