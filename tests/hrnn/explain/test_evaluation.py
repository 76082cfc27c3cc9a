from __future__ import annotations

import numpy as np
import pytest
from small_sequences import random_histories, sequences_of

from hrnn.blend.item_statistics import ItemStatistics
from hrnn.blend.snapshots import BlendedModel, PerUserSnapshot
from hrnn.blend.weights import FEATURES, BlendWeights
from hrnn.data.sequences import Sequences
from hrnn.explain.ablation import ablations
from hrnn.explain.engine import PATHS
from hrnn.explain.evaluation import ExplainedList, choose_users, explained_list
from hrnn.inference.replay import replay
from hrnn.models.hrnn import Hrnn, HrnnShape

HISTORIES = random_histories(12, 20)
SEQUENCES = sequences_of(HISTORIES)
WIDTH = 4


def fitted_to(sequences: Sequences, **weights: float) -> BlendedModel:
    """A random model with the given weights of features; without any, random ones too."""
    model = Hrnn.initial(HrnnShape(num_items=sequences.num_items, hidden_dimension=WIDTH), sequences.item_counts(), seed=0)
    some = np.random.default_rng(1).normal(size=len(FEATURES)).astype(np.float32)
    now = np.asarray([weights.get(name, 0.0) for name in FEATURES], dtype=np.float32) if weights else some
    return BlendedModel(model, BlendWeights(now, now), ItemStatistics.of(sequences))


def evaluation_scores(fitted: BlendedModel, sequences: Sequences, user: int) -> np.ndarray:
    """float32 [N], as metrics measure them."""
    view = PerUserSnapshot(fitted)
    states = view.user_states(sequences, np.asarray([user]))
    scores: np.ndarray = (states.query @ view.items().vectors.t()).numpy()[0] + states.sparse.dense(0, sequences.num_items)
    return scores


def paths_of(found: ExplainedList) -> dict[int, dict[str, float]]:
    """Item row -> path -> what it adds."""
    told = zip(found.item_rows.tolist(), found.reasons.paths.tolist(), strict=True)
    return {row: dict(zip(PATHS, parts, strict=True)) for row, parts in told}


def contributions_of(found: ExplainedList) -> dict[int, dict[int, float]]:
    """Item row -> past item -> what it contributes."""
    reasons = found.reasons
    told = zip(found.item_rows.tolist(), reasons.past_items.tolist(), reasons.contributions.tolist(), strict=True)
    return {row: dict(zip(past, parts, strict=True)) for row, past, parts in told}


@pytest.mark.parametrize("user", [3, 0, 7])
def test_a_list_is_that_of_the_evaluation(user: int) -> None:
    fitted = fitted_to(SEQUENCES)
    scores = evaluation_scores(fitted, SEQUENCES, user)
    found = explained_list(fitted, SEQUENCES, user, num_ranked=SEQUENCES.num_items)
    best = np.argsort(-scores)[:10]
    shares = np.exp(scores) / np.exp(scores).sum()
    assert found.user_row == user
    assert found.item_rows.tolist() == best.tolist()
    np.testing.assert_allclose(found.scores, scores[best], atol=1e-4)
    np.testing.assert_allclose(found.probabilities, shares[best], rtol=1e-3)
    np.testing.assert_allclose(found.reasons.total, scores[best] - scores.mean(), atol=1e-4)
    np.testing.assert_allclose(found.reasons.paths.sum(axis=1), found.reasons.total, atol=1e-9)


@pytest.mark.parametrize("user", [3, 0, 7])
def test_contributions_are_by_how_much_scores_fall_without_an_item(user: int) -> None:
    """Own items and cooccurrence are counted anew from the ablated history; ages go on being counted to the same moment."""
    fitted = fitted_to(SEQUENCES)
    found = explained_list(fitted, SEQUENCES, user, num_ranked=SEQUENCES.num_items, num_items=20)
    whole = evaluation_scores(fitted, SEQUENCES, user)
    last = HISTORIES[user][-1][-1]
    past = {row for session in HISTORIES[user] for row in session}
    for removed in past - {last}:  # the moment is that of the last event
        events = SEQUENCES.event_positions(np.asarray([user])).values
        keep = np.ones(len(SEQUENCES.item_rows), dtype=np.bool_)
        keep[events[SEQUENCES.item_rows[events] == removed]] = False
        fall = whole - evaluation_scores(fitted, SEQUENCES.only(keep), user)
        for item, contributions in contributions_of(found).items():
            assert set(contributions) == past
            assert contributions[removed] == pytest.approx(fall[item] - fall.mean(), abs=1e-4)


def test_an_own_item_is_listed_because_of_its_own_events() -> None:
    sequences = sequences_of([[[0, 1], [0, 2]], [[3, 4, 5, 6]]])
    fitted = fitted_to(sequences, own=2.0, log_count=1.0)
    found = explained_list(fitted, sequences, 0, num_ranked=7)
    paths, contributions = paths_of(found), contributions_of(found)
    best = int(found.item_rows[0])
    assert best == 0
    assert max(paths[best], key=lambda path: paths[best][path]) == "own item"
    assert max(contributions[best], key=lambda past: contributions[best][past]) == 0
    assert contributions[best][0] > 1
    assert contributions[3][0] < 0  # an item that is not their own is further below the mean where there is an own item


def test_an_own_item_of_long_ago_is_taken_away_too() -> None:
    sequences = sequences_of([[[0], list(range(1, 70))]])
    found = explained_list(fitted_to(sequences, own=1.0, log_events_since=1.0), sequences, 0, num_ranked=70, num_items=1)
    assert found.item_rows.tolist() == [0]
    assert found.reasons.past_items.tolist() == [[*range(69, 19, -1), 0]]
    assert found.reasons.contributions[0].argmax() == 50


def test_the_event_that_moves_the_state_towards_an_item_speaks_for_it() -> None:
    sequences = sequences_of([[[0, 1], [2, 3, 0]], [[4, 5]]])
    fitted = fitted_to(sequences, same_session=1.0)
    trials = ablations(sequences, np.asarray([0]))
    states = replay(fitted.model, trials.sequences, np.arange(len(trials.owners))).same_session
    moved = states[0] - states[trials.removed.tolist().index(2)]
    fitted.model.item_table[5, :WIDTH] = 10 * moved / moved.norm() ** 2  # item 5 likes where item 2 moves this user
    found = explained_list(fitted, sequences, 0, num_ranked=6)
    assert contributions_of(found)[5][2] > 0
    paths = paths_of(found)[5]
    assert paths["popularity"] == paths["recency"] == paths["own item"] == 0


def test_items_without_events_are_not_listed_and_one_item_may_be_all_there_is() -> None:
    sequences = sequences_of([[[0, 0]]], num_items=3)
    found = explained_list(fitted_to(sequences), sequences, 0, num_ranked=1)
    assert found.item_rows.tolist() == [0]
    assert found.probabilities.tolist() == [1.0]
    assert contributions_of(found) == {0: {0: 0.0}}
    assert set(paths_of(found)[0].values()) == {0.0}


def test_what_counts_otherwise_for_own_items_is_split_between_them_and_the_path() -> None:
    sequences = sequences_of([[[0, 1], [0, 2]], [[3, 4, 5, 6]]])
    fitted = fitted_to(sequences, bias=1.0, own_bias=-0.5, own_same_session=2.0)
    paths = paths_of(explained_list(fitted, sequences, 0, num_ranked=7))
    bias = fitted.model.item_table[:, WIDTH].double()
    average = float(bias.mean())
    assert paths[1]["popularity"] - paths[3]["popularity"] == pytest.approx(
        float(bias[1] - bias[3]) - 0.5 * float(bias[1] - average)
    )
    state = replay(fitted.model, sequences, np.asarray([0])).same_session[0]
    level = -0.5 * average + 2.0 * float(state @ fitted.model.item_table[:, :WIDTH].mean(dim=0))
    assert {round(paths[row]["own item"] - paths[3]["own item"], 5) for row in (0, 1, 2)} == {round(level, 5)}
    assert {paths[row]["recency"] for row in paths} == {0.0}
    assert len({round(paths[row]["sequence"], 9) for row in paths}) == 4  # of the three own items, and of all others


def test_cooccurrence_is_part_of_the_sequence() -> None:
    sequences = sequences_of([[[0, 1, 0]], [[0, 1, 2], [0, 1, 2]], [[3, 4]]])
    paths = paths_of(explained_list(fitted_to(sequences, symmetric=3.0), sequences, 0, num_ranked=5))
    assert paths[1]["sequence"] == paths[2]["sequence"]  # had before, and not
    assert paths[1]["sequence"] - paths[3]["sequence"] == pytest.approx(3.0)
    assert all(abs(paths[row][path]) < 1e-6 for row in paths for path in PATHS[1:])


def test_trends_count_where_they_weigh() -> None:
    sequences = sequences_of([[[0]], [[0], [1], [1], [1], [2]]])
    paths = paths_of(explained_list(fitted_to(sequences, trend_1d=5.0), sequences, 1, num_ranked=3))
    assert all(parts["sequence"] == 0 for parts in paths.values())
    assert any(parts["recency"] > 0 for parts in paths.values())


def test_users_are_chosen_by_hash_those_with_hidden_events_first() -> None:
    lengths = np.asarray([4, 5, 1_001, 6, 7, 8, 1_000])
    chosen = choose_users(lengths, np.asarray([0, 4, 6]))
    assert set(chosen[:2].tolist()) == {4, 6}
    assert set(chosen[2:].tolist()) == {1, 3, 5}
    assert len(choose_users(lengths, np.asarray([4, 6]), num_users=1)) == 1
    orders = {tuple(choose_users(lengths, np.arange(0), seed=seed).tolist()) for seed in range(8)}
    assert len(orders) > 1
