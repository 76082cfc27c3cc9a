from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from small_sequences import random_histories, sequences_of

from hrnn.blend.item_statistics import ItemStatistics
from hrnn.blend.snapshots import BlendedModel, PerUserSnapshot
from hrnn.blend.weights import FEATURES, BlendWeights
from hrnn.data.sequences import Sequences
from hrnn.explain.ablation import ablations
from hrnn.explain.evaluation_reasons import PATHS, choose_users, explain
from hrnn.inference.replay import replay
from hrnn.models.hrnn import Hrnn, HrnnShape

SEQUENCES = sequences_of(random_histories(12, 20))
WIDTH = 4


def fitted_to(sequences: Sequences, **weights: float) -> BlendedModel:
    """A random model with the given weights of features; without any, random ones too."""
    model = Hrnn.initial(HrnnShape(num_items=sequences.num_items, hidden_dimension=WIDTH), sequences.item_counts(), seed=0)
    some = np.random.default_rng(1).normal(size=len(FEATURES)).astype(np.float32)
    now = np.asarray([weights.get(name, 0.0) for name in FEATURES], dtype=np.float32) if weights else some
    return BlendedModel(model, BlendWeights(now, now), ItemStatistics.of(sequences))


def test_a_list_is_that_of_the_evaluation() -> None:
    fitted, users = fitted_to(SEQUENCES), np.asarray([3, 0, 7])
    view = PerUserSnapshot(fitted)
    states = view.user_states(SEQUENCES, users)
    scores = (states.query @ view.items().vectors.t()).numpy()
    for user, found in enumerate(explain(fitted, SEQUENCES, users, num_ranked=SEQUENCES.num_items)):
        mine = slice(states.sparse.offsets[user], states.sparse.offsets[user + 1])
        scores[user, states.sparse.item_rows[mine]] += states.sparse.scores[mine]
        best = np.argsort(-scores[user])[:10]
        shares = np.exp(scores[user]) / np.exp(scores[user]).sum()
        assert found.user_row == users[user]
        assert [item.item_row for item in found.items] == best.tolist()
        assert [item.score for item in found.items] == pytest.approx(scores[user][best], abs=1e-4)
        assert [item.probability for item in found.items] == pytest.approx(shares[best], rel=1e-3)
        for item in found.items:
            assert list(item.paths) == list(PATHS)
            assert sum(item.paths.values()) == pytest.approx(item.score - scores[user].mean(), abs=1e-4)


def test_contributions_are_what_a_history_without_the_events_says() -> None:
    lengths = SEQUENCES.history_lengths
    user = np.flatnonzero((lengths >= 3) & (lengths <= 5))[:1]  # all contributions are told
    fitted = fitted_to(SEQUENCES)
    [found] = explain(fitted, SEQUENCES, user, num_ranked=SEQUENCES.num_items, by="event")
    event = int(SEQUENCES.user_offsets[user[0] + 1]) - 2  # the last but one
    keep = np.arange(len(SEQUENCES.item_rows)) != event
    starts = SEQUENCES.session_starts.copy()
    starts[event + 1] |= starts[event]
    without = replace(
        SEQUENCES,
        user_offsets=SEQUENCES.user_offsets - (np.arange(13) > user[0]),
        item_rows=SEQUENCES.item_rows[keep],
        timestamps=SEQUENCES.timestamps[keep],
        session_starts=starts[keep],
        event_types=SEQUENCES.event_types[keep],
    )
    [other] = explain(fitted, without, user, num_ranked=SEQUENCES.num_items, num_items=20, by="event")
    shares = {item.item_row: item.probability for item in other.items}
    for item in found.items:
        [change] = [each.change for each in item.because if each.last_time == SEQUENCES.timestamps[event]]
        assert change == pytest.approx(np.log(item.probability / shares[item.item_row]), abs=1e-4)


def test_an_own_item_is_listed_because_of_its_own_events() -> None:
    sequences = sequences_of([[[0, 1], [0, 2]], [[3, 4, 5, 6]]])
    fitted = fitted_to(sequences, own=2.0, log_count=1.0)
    [found] = explain(fitted, sequences, np.asarray([0]), num_ranked=7)
    best = found.items[0]
    assert best.item_row == 0
    assert max(best.paths, key=lambda path: best.paths[path]) == "own item"
    assert (best.because[0].item_row, best.because[0].num_events) == (0, 2)
    assert best.because[0].change > 1
    assert found.items[3].because[0].change < 0  # an item that is not their own has a rival less


def test_the_event_that_moves_the_state_towards_an_item_speaks_for_it() -> None:
    sequences = sequences_of([[[0, 1], [2, 3, 0]], [[4, 5]]])
    fitted = fitted_to(sequences, same_session=1.0)
    trials = ablations(sequences, np.asarray([0]), "item")
    states = replay(fitted.model, trials.sequences, np.arange(len(trials.owners))).same_session
    without_item_2 = 1 + [group.item_row for group in trials.groups[0]].index(2)
    moved = states[0] - states[without_item_2]
    fitted.model.item_table[5, :WIDTH] = 10 * moved / moved.norm() ** 2  # item 5 likes where item 2 moves this user
    [found] = explain(fitted, sequences, np.asarray([0]), num_ranked=6)
    item = next(item for item in found.items if item.item_row == 5)
    speaking_for = {each.item_row: each.change for each in item.because}
    assert speaking_for[2] > 0
    assert item.paths["popularity"] == item.paths["recency"] == item.paths["own item"] == 0


def test_an_explanation_depends_on_nothing_else() -> None:
    fitted = fitted_to(SEQUENCES)
    both = explain(fitted, SEQUENCES, np.asarray([2, 9]), num_ranked=20)
    assert both == explain(fitted, SEQUENCES, np.asarray([2, 9]), num_ranked=20)
    [alone] = explain(fitted, SEQUENCES, np.asarray([9]), num_ranked=20)
    assert [item.item_row for item in alone.items] == [item.item_row for item in both[1].items]
    assert alone.items[0].because[0].change == pytest.approx(both[1].items[0].because[0].change, abs=1e-5)


def test_items_without_events_are_not_listed_and_one_item_may_be_all_there_is() -> None:
    sequences = sequences_of([[[0, 0]]], num_items=3)
    [found] = explain(fitted_to(sequences), sequences, np.asarray([0]), num_ranked=1)
    assert [item.item_row for item in found.items] == [0]
    assert found.items[0].probability == 1.0
    assert found.items[0].because[0].change == 0.0
    assert set(found.items[0].paths.values()) == {0.0}


def test_what_counts_otherwise_for_own_items_is_split_between_them_and_the_path() -> None:
    sequences = sequences_of([[[0, 1], [0, 2]], [[3, 4, 5, 6]]])
    fitted = fitted_to(sequences, bias=1.0, own_bias=-0.5, own_same_session=2.0)
    [found] = explain(fitted, sequences, np.asarray([0]), num_ranked=7)
    paths = {item.item_row: item.paths for item in found.items}
    bias = fitted.model.item_table[:, WIDTH]
    average = float(bias.mean())
    assert paths[1]["popularity"] - paths[3]["popularity"] == pytest.approx(
        float(bias[1] - bias[3]) - 0.5 * float(bias[1] - average)
    )
    state = replay(fitted.model, sequences, np.asarray([0])).same_session[0]
    level = -0.5 * average + 2.0 * float(state @ fitted.model.item_table[:, :WIDTH].mean(dim=0))
    assert {round(paths[row]["own item"] - paths[3]["own item"], 5) for row in (0, 1, 2)} == {round(level, 5)}
    assert {paths[row]["recency"] for row in paths} == {0.0}
    assert len({paths[row]["sequence"] for row in paths}) == 4  # of the three own items, and of all others


def test_trends_count_where_they_weigh() -> None:
    sequences = sequences_of([[[0]], [[0], [1], [1], [1], [2]]])
    fitted = fitted_to(sequences, trend_1d=5.0)
    [found] = explain(fitted, sequences, np.asarray([1]), num_ranked=3)
    assert all(item.paths["sequence"] == 0 for item in found.items)
    assert any(item.paths["recency"] > 0 for item in found.items)


def test_users_are_chosen_by_hash_those_with_hidden_events_first() -> None:
    lengths = np.asarray([4, 5, 1_001, 6, 7, 8, 1_000])
    chosen = choose_users(lengths, np.asarray([0, 4, 6]))
    assert set(chosen[:2].tolist()) == {4, 6}
    assert set(chosen[2:].tolist()) == {1, 3, 5}
    assert len(choose_users(lengths, np.asarray([4, 6]), num_users=1)) == 1
    orders = {tuple(choose_users(lengths, np.arange(0), seed=seed).tolist()) for seed in range(8)}
    assert len(orders) > 1


def test_no_user_no_explanation() -> None:
    assert explain(fitted_to(SEQUENCES), SEQUENCES, np.empty(0, dtype=np.int64), num_ranked=20) == []
