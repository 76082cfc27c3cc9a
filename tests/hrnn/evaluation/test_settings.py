"""Both protocols on histories small enough to be counted on fingers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from small_sequences import DAY, MINUTE, random_histories, sequences_of

from hrnn.evaluation.baselines.popular import Popularity
from hrnn.evaluation.settings.last_session import condensed, hide_last_session, metrics_of, ranks_of
from hrnn.evaluation.settings.next_period import (
    METRICS,
    best_of,
    cut_at,
    cut_at_horizon,
    difference_over_nights,
    lists_of,
    several_cuts,
)

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


def test_truth_begins_a_lag_after_the_cut_and_ends_with_the_horizon() -> None:
    sequences = sequences_of([[[0, 1], [0, 1, 2, 0]], [[2, 0], [2]], [[1]]])
    night = cut_at(sequences, DAY - MINUTE, 3 * MINUTE, lag_seconds=MINUTE)  # the events at DAY are in the lag
    assert night.cut == DAY - MINUTE
    assert night.training.history_lengths.tolist() == [2, 2, 1]
    assert night.user_rows.tolist() == [0]  # the others have nothing after the lag
    assert night.truth.row(0).tolist() == [1, 2]  # the last event is beyond the horizon
    assert night.points().as_of.tolist() == [DAY - MINUTE]


def test_a_true_item_counts_as_much_as_its_heaviest_event() -> None:
    sequences = sequences_of([[[0, 1], [0, 1, 1, 2]], [[2, 0], [2]]])
    weights = np.asarray([1, 1, 0.5, 0.25, 0.75, 0, 1, 1, 0], np.float32)
    night = cut_at(sequences, DAY - 1, DAY, event_weights=weights)
    counted = cut_at(sequences, DAY - 1, DAY)
    assert counted.truth.values.tolist() == [0, 1, 2, 2]
    assert counted.weights.values.tolist() == [1.0] * 4
    assert night.user_rows.tolist() == [0]  # the other one's event counts nothing
    assert night.truth.row(0).tolist() == [0, 1]
    assert night.weights.row(0).tolist() == [0.5, 0.75]
    assert night.training.history_lengths.tolist() == [2, 2]  # what counts nothing is known all the same


def test_without_a_lag_the_cut_is_that_of_the_horizon() -> None:
    sequences = sequences_of(random_histories(60, 9))
    by_horizon, by_time = cut_at_horizon(sequences, 1.5, end=4 * DAY), cut_at(sequences, 5 * DAY // 2, 3 * DAY // 2)
    assert by_horizon.cut == by_time.cut
    assert np.array_equal(by_horizon.user_rows, by_time.user_rows)
    assert np.array_equal(by_horizon.truth.values, by_time.truth.values)
    assert np.array_equal(by_horizon.training.history_lengths, by_time.training.history_lengths)


@pytest.mark.parametrize("lag", [-1, DAY])
def test_a_lag_must_leave_something_of_the_horizon(lag: int) -> None:
    with pytest.raises(ValueError, match="lag"):
        cut_at(sequences_of([[[0], [0]]]), 0, DAY, lag_seconds=lag)


def test_several_cuts_lie_a_horizon_apart_before_the_end() -> None:
    assert several_cuts(100, 10, 3) == [90, 80, 70]


def test_the_mean_of_a_nights_users_is_the_nights_metric() -> None:
    night = cut_at_horizon(sequences_of(random_histories(60, 40)), 1.5, end=4 * DAY)
    lists = lists_of(Popularity(night.training).scores, night.points(), night.known)
    of_users = night.per_user(lists)
    assert list(of_users) == list(METRICS)
    assert {name: values.mean() for name, values in of_users.items()} == pytest.approx(
        {name: value for name, value in night.measure(lists).items() if name != "coverage"}
    )


def test_a_difference_over_nights_counts_every_night_alike() -> None:
    better = (np.arange(4), np.full(4, 0.5), np.full(4, 0.3))
    worse = (np.arange(100, 102), np.full(2, 0.1), np.full(2, 0.2))
    difference = difference_over_nights([better, worse])
    assert difference.mean == pytest.approx((0.2 - 0.1) / 2)
    assert difference.over_nights == pytest.approx(0.3 / 2**0.5)
    assert difference.low == pytest.approx(difference.high)  # in these nights, no user differs from another


def test_the_interval_of_one_night_is_that_of_a_paired_test() -> None:
    random = np.random.default_rng(0)
    ours, theirs = random.random(500), random.random(500)
    difference = difference_over_nights([(np.arange(500), ours, theirs)])
    half = 1.959964 * (ours - theirs).std() / 500**0.5
    assert difference.mean == pytest.approx((ours - theirs).mean())
    assert (difference.low, difference.high) == pytest.approx((difference.mean - half, difference.mean + half))
    assert difference.over_nights == 0.0


def test_users_who_come_every_night_do_not_narrow_the_interval() -> None:
    values = np.random.default_rng(0).random(50)
    zero = np.zeros(50)
    one = difference_over_nights([(np.arange(50), values, zero)])
    same = difference_over_nights([(np.arange(50), values, zero)] * 4)
    others = difference_over_nights([(np.arange(50) + 50 * night, values, zero) for night in range(4)])
    assert same.high - same.low == pytest.approx(one.high - one.low)
    assert others.high - others.low == pytest.approx((one.high - one.low) / 2)


def test_many_nights_that_differ_widen_the_interval() -> None:
    random = np.random.default_rng(0)
    means, covered = 0.1 * random.standard_normal((200, 20)), 0
    for of_nights in means:
        nights = [
            (np.arange(30) + 30 * at, mean + random.standard_normal(30), np.zeros(30)) for at, mean in enumerate(of_nights)
        ]
        difference = difference_over_nights(nights)
        covered += difference.low <= 0.0 <= difference.high
    assert covered >= 0.9 * 200
    few = difference_over_nights([(np.arange(5) + 5 * night, np.full(5, float(night)), np.zeros(5)) for night in range(9)])
    many = difference_over_nights([(np.arange(5) + 5 * night, np.full(5, float(night)), np.zeros(5)) for night in range(10)])
    assert few.high - few.low == pytest.approx(0.0)
    # All that differs are the nights: users of one night count as one.
    assert many.high - many.low == pytest.approx(2 * 1.959964 * np.arange(10).std() / 10**0.5)


def test_nothing_is_compared_over_no_night_or_no_users() -> None:
    nobody = np.zeros(0)
    for nights in ([], [(nobody.astype(np.int64), nobody, nobody)]):
        with pytest.raises(ValueError, match="one user"):
            difference_over_nights(nights)


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


@pytest.mark.parametrize("columns", [7, 60, 5_000])
def test_the_best_are_ordered_and_ties_go_by_row(columns: int) -> None:
    scores = np.random.default_rng(0).integers(-4, 5, (20, columns)).astype(np.float32) / np.float32(3)
    scores[2, ::2] *= np.float32(-0.0)
    scores[3, 5:] = -np.inf
    lists = best_of(scores)
    for line in range(20):
        expected = np.argsort(-scores[line], kind="stable")[:25]
        expected = np.where(np.isneginf(scores[line, expected]), -1, expected)
        assert lists[line].tolist() == np.pad(expected, (0, 25 - len(expected)), constant_values=-1).tolist()


def test_what_is_truncated_is_neither_learnt_from_nor_true() -> None:
    sequences = sequences_of([[[0, 1], [0, 1]], [[1, 0], [0]]]).truncate(np.asarray([0]), np.asarray([3]))
    night = cut_at(sequences, DAY - 1, DAY)
    assert [night.truth.row(user).tolist() for user in range(2)] == [[0], [0]]
    assert night.training.history_lengths.tolist() == [2, 2]
