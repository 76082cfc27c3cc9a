"""Both protocols on histories small enough to be counted on fingers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from small_sequences import DAY, MINUTE, random_histories, sequences_of

from hrnn.evaluation.baselines.popular import Popularity
from hrnn.evaluation.settings.last_session import condensed, hide_last_session, metrics_of, ranks_of
from hrnn.evaluation.settings.next_period import best_of, cut_at_horizon, lists_of

HISTORIES = [[[0, 1], [2, 0, 1], [1, 2, 3, 0]], [[3, 0], [0, 1], [1, 0]]]


def test_condensing_drops_repetitions_then_short_sessions_rare_items_and_users_to_the_end() -> None:
    sequences = sequences_of(
        [
            [[0, 0, 1], [1, 0], [0, 1, 0]],  # stays: three sessions
            [[0, 1], [0, 2], [1, 0]],  # item 2 is rare, so its session is short, so the user has two sessions
            [[3]],
        ]
    )
    left, old_rows = condensed(sequences, item_events=2)
    assert left.num_users == 1
    assert old_rows.tolist() == [0, 1]
    assert left.item_rows.tolist() == [0, 1, 1, 0, 0, 1, 0]
    assert np.flatnonzero(left.session_starts).tolist() == [0, 2, 4]


def test_condensing_reaches_a_state_that_it_leaves_alone() -> None:
    left, _ = condensed(sequences_of(random_histories(200, 20)))
    again, rows = condensed(left)
    assert np.array_equal(left.item_rows, again.item_rows)
    assert rows.tolist() == list(range(left.num_items))
    assert left.item_counts().min() >= 5


def test_the_last_session_is_asked_for_but_its_first_event_and_unknown_items() -> None:
    hidden = hide_last_session(sequences_of(HISTORIES))
    assert hidden.training.history_lengths.tolist() == [5, 4]
    assert hidden.target_users.tolist() == [0, 0, 0, 1]
    assert hidden.target_items.tolist() == [2, 3, 0, 0]
    assert [hidden.points.session(at).tolist() for at in range(4)] == [[1], [1, 2], [1, 2, 3], [1]]
    assert hidden.points.as_of.tolist() == [2 * DAY, 2 * DAY + MINUTE, 2 * DAY + 2 * MINUTE, 2 * DAY]


def test_items_that_training_has_never_seen_are_taken_out_of_the_hidden_session() -> None:
    hidden = hide_last_session(sequences_of([[[0, 1], [7, 0, 8, 1]]]))
    assert hidden.target_items.tolist() == [1]
    assert hidden.points.session(0).tolist() == [0]


def test_a_session_less_serves_for_the_choice_of_settings() -> None:
    hidden = hide_last_session(sequences_of(HISTORIES), back=1)
    assert hidden.training.history_lengths.tolist() == [2, 2]
    assert hidden.target_items.tolist() == [1, 1]  # item 2 is unknown yet
    assert [hidden.points.session(at).tolist() for at in range(2)] == [[0], [0]]


def test_ties_stand_before_the_right_item_and_unknown_items_do_not_count() -> None:
    scores = np.asarray([[5, 3, 3, 9, 3], [0, 0, 0, 9, 1]], dtype=np.float32)
    known = np.asarray([True, True, True, False, True])
    assert ranks_of(lambda at: scores[at], np.asarray([1, 4]), 5, known).tolist() == [4, 1]


def test_metrics_of_ranks_are_worked_out() -> None:
    values = metrics_of(np.asarray([1, 6, 25, 26]))
    assert values["recall_at_5"] == 0.25
    assert values["recall_at_20"] == 0.5
    assert values["mean_reciprocal_rank_at_10"] == pytest.approx((1 + 1 / 6) / 4)
    assert values["normalized_discounted_cumulative_gain_at_25"] == pytest.approx((1 + 1 / np.log2(7) + 1 / np.log2(26)) / 4)


def test_some_sessions_are_taken_whole() -> None:
    hidden = hide_last_session(sequences_of(random_histories(40, 6)))
    some = hidden.some_sessions(5)
    users = np.unique(hidden.target_users[some])
    assert len(users) == 5
    assert np.array_equal(some, np.flatnonzero(np.isin(hidden.target_users, users)))


def test_the_night_asks_users_with_events_on_both_sides_for_known_items() -> None:
    night = cut_at_horizon(sequences_of([[[0, 1], [0, 2, 0]], [[1, 0]], [[1], [3]], [[2], [1, 1]]]), 1.0, end=DAY + 3 * MINUTE)
    assert night.cut == 3 * MINUTE
    assert night.user_rows.tolist() == [0, 3]  # user 1 has none after it, user 2 only an unknown item
    assert [night.truth.row(user).tolist() for user in range(2)] == [[0, 2], [1]]
    assert night.training.history_lengths.tolist() == [2, 2, 1, 1]
    assert night.known.tolist() == [True, True, True, False]


def test_the_night_measures_lists() -> None:
    night = cut_at_horizon(sequences_of([[[0, 1], [0, 2, 0]], [[1, 0]], [[1], [3]], [[2], [1, 1]]]), 1.0, end=DAY + 3 * MINUTE)
    lists = lists_of(Popularity(night.training).scores, night.points(), night.known)
    assert lists[0, :4].tolist() == [1, 0, 2, -1]
    assert night.measure(lists) == pytest.approx(
        {
            "hit_rate_at_25": 1.0,
            "recall_at_25": 1.0,
            "normalized_discounted_cumulative_gain_at_25": (1 + (1 / np.log2(3) + 1 / 2) / (1 + 1 / np.log2(3))) / 2,
            "mean_reciprocal_rank_at_25": (1 / 2 + 1) / 2,
            "coverage": 1.0,
        }
    )


def test_few_users_are_drawn_of_many() -> None:
    sequences = sequences_of([[[0, 1], [1, 0]]] * 50)
    night = cut_at_horizon(sequences, 0.5, most_users=7)
    assert len(night.user_rows) == 7
    assert np.array_equal(night.user_rows, cut_at_horizon(sequences, 0.5, most_users=7).user_rows)


def test_the_night_ends_before_an_event_of_a_wrong_clock() -> None:
    busy = sequences_of([[[0]] * 10 for _ in range(200)])
    times = np.asarray(busy.timestamps) + 17_000 * DAY
    wrong = times.copy()
    wrong[9] = 4_102_444_800
    assert cut_at_horizon(replace(busy, timestamps=wrong), 1.0).cut == 17_008 * DAY == times.max() - DAY


def test_the_best_are_ordered_and_ties_go_by_row() -> None:
    scores = np.random.default_rng(0).integers(0, 9, (20, 60)).astype(np.float32)
    scores[3, 5:] = -np.inf
    lists = best_of(scores)
    for line in range(20):
        expected = np.argsort(-scores[line], kind="stable")[:25]
        expected = np.where(np.isneginf(scores[line, expected]), -1, expected)
        assert lists[line].tolist() == expected.tolist()
