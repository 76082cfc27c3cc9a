"""Peers against scores that were worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from small_sequences import DAY, random_histories, sequences_of

from hrnn.data.sequences import Sequences
from hrnn.evaluation.baselines import NEXT_EVENT, NIGHTLY
from hrnn.evaluation.baselines.item_neighbours import ItemNeighbours
from hrnn.evaluation.baselines.popular import PersonalPopularity, Popularity, RecentPopularity
from hrnn.evaluation.baselines.prediction_points import PredictionPoints, points_after
from hrnn.evaluation.baselines.rules import SequentialRules, markov_chain
from hrnn.evaluation.baselines.session_neighbours import SessionNeighbours

SHOP = sequences_of([[[0, 1, 2], [0, 1]], [[0, 2]], [[3, 1]]])


def after(sequences: Sequences, *users: int, as_of: int = 10 * DAY) -> PredictionPoints:
    return points_after(sequences, np.asarray(users), np.full(len(users), as_of))


def test_moments_know_history_session_and_last_item() -> None:
    points = after(SHOP, 2, 0)
    assert points.last_items.tolist() == [1, 1]
    assert points.session(1).tolist() == [0, 1]
    users, items = points.history_pairs()
    assert users.tolist() == [0, 0, 1, 1, 1, 1, 1]
    assert items.tolist() == [3, 1, 0, 1, 2, 0, 1]
    assert points[1:].session(0).tolist() == [0, 1]


def test_popularity_counts_events() -> None:
    assert Popularity(SHOP).scores(after(SHOP, 0, 1)).tolist() == [[3, 3, 2, 1]] * 2


def test_recent_popularity_counts_the_days_before_each_moment_whatever_their_order() -> None:
    points = points_after(SHOP, np.asarray([0, 0, 0]), np.asarray([DAY + 60, 90, 40 * DAY]))
    scores = RecentPopularity(SHOP, days=0.5).scores(points)
    assert np.floor(scores).tolist() == [[1, 1, 0, 0], [2, 3 - 1, 1, 1], [0, 0, 0, 0]]
    assert np.argsort(-scores[2], kind="stable").tolist() == [0, 1, 2, 3]  # all the same: all events decide


def test_recent_popularity_moves_as_if_counted_anew() -> None:
    sequences = sequences_of(random_histories(30, 9))
    random = np.random.default_rng(0)
    as_of = random.integers(0, 6 * DAY, 30)
    baseline = RecentPopularity(sequences, days=1.5)
    together = baseline.scores(points_after(sequences, np.arange(30), as_of))
    for user in range(30):
        assert np.array_equal(together[user], baseline.scores(points_after(sequences, np.asarray([user]), as_of[[user]]))[0])


def test_personal_popularity_puts_own_counts_before_everybodys() -> None:
    scores = PersonalPopularity(SHOP).scores(after(SHOP, 0, 1))
    assert scores[0] == pytest.approx([2 + 3 / 4, 2 + 3 / 4, 1 + 2 / 4, 1 / 4])
    assert scores[1] == pytest.approx([1 + 3 / 4, 3 / 4, 1 + 2 / 4, 1 / 4])


def test_personal_popularity_can_put_the_newest_of_equals_first() -> None:
    histories = sequences_of([[[3, 1, 0, 1, 2, 3]], [[4, 4, 4, 5]]])
    scores = PersonalPopularity(histories, newest_first=True).scores(after(histories, 0, 1))
    assert np.argsort(-scores[0], kind="stable").tolist() == [3, 1, 2, 0, 4, 5]
    assert np.argsort(-scores[1], kind="stable")[:3].tolist() == [4, 5, 1]


def test_markov_counts_what_came_right_after() -> None:
    assert markov_chain(SHOP).scores(after(SHOP, 0, 1)).tolist() == [[0, 0, 1, 0], [0, 0, 0, 0]]
    points = after(SHOP.truncate(np.asarray([0]), np.asarray([1])), 0)
    assert markov_chain(SHOP).scores(points).tolist() == [[0, 2, 1, 0]]


def test_markov_across_sessions_joins_them() -> None:
    points = after(SHOP.truncate(np.asarray([0]), np.asarray([3])), 0)
    assert markov_chain(SHOP, across_sessions=True).scores(points).tolist() == [[1, 0, 0, 0]]


def test_sequential_rules_weigh_pairs_by_one_over_their_distance() -> None:
    sequences = sequences_of([[[0, 1, 2, 3], [0, 3]]])
    points = after(sequences.truncate(np.asarray([0]), np.asarray([1])), 0)
    assert SequentialRules(sequences).scores(points)[0] == pytest.approx([0, 1, 1 / 2, 1 / 3 + 1])
    assert SequentialRules(sequences, steps=2).scores(points)[0] == pytest.approx([0, 1, 1 / 2, 1])


def test_rules_of_several_events_are_shares_that_halve_and_stay_in_the_session() -> None:
    sequences = sequences_of([[[0, 1, 2], [0, 3], [0, 1]]])
    from_1, from_0 = np.asarray([0, 0, 1, 0]), np.asarray([0, 2, 1 / 2, 1]) / 3.5
    two = SequentialRules(sequences, events=2)
    assert two.scores(after(sequences, 0))[0] == pytest.approx(from_1 + from_0 / 2)
    points = after(sequences.truncate(np.asarray([0]), np.asarray([4])), 0)  # a session's first event
    assert two.scores(points)[0] == pytest.approx(from_0)


def test_popularity_decides_between_equal_rules() -> None:
    sequences = sequences_of([[[0, 1, 2, 2]], [[0, 2]], [[0, 1]]])
    points = after(sequences.truncate(np.asarray([0]), np.asarray([1])), 0)
    scores = markov_chain(sequences).scores(points)[0]
    assert scores.tolist() == [0, 2, 1, 0][: len(scores)]
    scores = markov_chain(sequences, then_popular=True).scores(after(sequences, 2))[0]
    assert np.argsort(-scores, kind="stable").tolist() == [2, 0, 1]


def test_rules_end_with_the_user() -> None:
    sequences = sequences_of([[[0]], [[1]], [[0]]])
    assert not SequentialRules(sequences, across_sessions=True).scores(after(sequences, 0)).any()


def test_item_neighbours_are_the_shrunk_cosine_of_shared_sessions() -> None:
    scores = ItemNeighbours(SHOP, shrinkage=20.0).scores(after(SHOP, 0))
    of_0, of_2, of_3 = (shared / math.sqrt((3 + 20) * (number + 20)) for shared, number in ((2, 3), (1, 2), (1, 1)))
    assert scores[0] == pytest.approx([of_0, 0, of_2, of_3])


def test_item_neighbours_count_a_session_once_and_keep_the_nearest() -> None:
    sequences = sequences_of([[[0, 1, 0, 1, 2]], [[0, 1]]])
    scores = ItemNeighbours(sequences, shrinkage=0.0, most=1).scores(after(sequences, 1))
    assert scores[0] == pytest.approx([1, 0, 0])


def test_plain_session_neighbours_are_cosines_of_item_sets() -> None:
    baseline = SessionNeighbours(SHOP, "plain", no_repeats=False)
    scores = baseline.scores(after(SHOP, 1))[0]  # {0, 2} resembles {0, 1, 2}, {0, 1} and itself
    whole, half = 2 / math.sqrt(6), 1 / 2
    assert scores == pytest.approx([whole + half + 1, whole + half, whole + 1, 0])


def test_session_neighbours_without_repeats_never_give_what_the_session_holds() -> None:
    scores = SessionNeighbours(SHOP, "plain").scores(after(SHOP, 1))[0]
    assert np.isneginf(scores[[0, 2]]).all()
    assert scores[1] > 0


def test_vector_session_neighbours_weigh_by_position_nearness_and_rarity() -> None:
    sequences = sequences_of([[[0, 2]], [[1, 3]], [[0, 1]]])
    scores = SessionNeighbours(sequences, rarity=2.0).scores(after(sequences, 2))[0]
    older, newer = (1 / math.log10(away + 1.7) / 2 for away in (1, 0))
    factor = 1 + 2 * math.log(3)
    assert scores[[2, 3]] == pytest.approx([older * 0.8 * factor, newer * 0.9 * factor])


def test_only_the_newest_candidates_and_the_nearest_of_them_count() -> None:
    sequences = sequences_of([[[0, 1], [0, 2], [0, 3]], [[0]]])
    points = after(sequences, 1)
    newest = SessionNeighbours(sequences, "plain", most_recent=2, no_repeats=False).scores(points)[0]
    assert newest[1] == 0
    nearest = SessionNeighbours(sequences, "plain", neighbours=1, no_repeats=False).scores(points)[0]
    assert nearest.tolist() == [1, 0, 0, 0]


@pytest.mark.parametrize("name", [*NEXT_EVENT, *NIGHTLY])
def test_every_peer_scores_random_histories_the_same_one_by_one(name: str) -> None:
    sequences = sequences_of(random_histories(12, 8), num_items=10)
    baseline = (NEXT_EVENT | NIGHTLY)[name](sequences)
    points = after(sequences, *range(12))
    scores = baseline.scores(points)
    assert scores.shape == (12, 10)
    assert scores.dtype == np.float32
    alone = np.concatenate([baseline.scores(points[user : user + 1]) for user in range(12)])
    assert np.array_equal(scores, alone)
