from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from small_sequences import DAY, sequences_of

from hrnn.blend.trends import PRIOR, WINDOWS_DAYS, Trends

# Everybody takes item 0 on day 0 and day 5, item 1 on day 9: a day a session.
SEQUENCES = sequences_of([[[0], [2], [2], [2], [2], [0], [2], [2], [2], [1]] for _ in range(50)])


def test_an_item_of_the_last_day_trends_and_an_old_one_does_not() -> None:
    today = Trends(SEQUENCES).at(9 * DAY + 1)[:, WINDOWS_DAYS.index(1.0)]
    assert today[1] > 1 > 0 > today[0]


def test_a_trend_compares_the_share_of_the_window_with_the_share_of_all() -> None:
    trends = Trends(SEQUENCES)
    share = (50 + 0.5) / (500 + 1.5)
    for column, days in enumerate(WINDOWS_DAYS):
        events = 50 * min(max(1, days), 10)
        expected = np.log((50 + PRIOR * share) / (events + PRIOR) / share)
        assert trends.at(9 * DAY + 1)[1, column] == pytest.approx(expected, rel=1e-5)


def test_what_happens_at_the_moment_or_later_is_not_known() -> None:
    trends = Trends(SEQUENCES)
    assert (trends.at(9 * DAY)[1] <= 0).all()
    assert not trends.at(0).any()


def test_grid_times_never_lie_after_the_times_they_stand_for() -> None:
    trends = Trends(SEQUENCES)
    times = np.arange(0, 9 * DAY + 1, 7_777)
    indices = trends.grid_index(times)
    assert (trends.first + indices * trends.grid_seconds <= times).all()
    assert indices.max() < trends.num_grid_times
    assert trends.time_of(int(indices[-1])) <= times[-1]


def test_equal_times_make_a_single_grid_time() -> None:
    trends = Trends(sequences_of([[[0, 1]], [[1]]], day_of_session=False))
    assert trends.num_grid_times == 1
    assert not trends.at(trends.time_of(0)).any()


def test_times_in_any_order_get_the_same_trends() -> None:
    times = [int(time) for time in np.random.default_rng(0).integers(0, 10 * DAY, 30)]
    rising = Trends(SEQUENCES)
    answers = {time: rising.at(time) for time in sorted(times)}
    jumping = Trends(SEQUENCES)
    for time in times:
        assert np.array_equal(jumping.at(time), answers[time])
        assert np.array_equal(jumping.at(time, np.asarray([2, 0])), answers[time][[2, 0]])


def test_an_event_of_a_wrong_clock_leaves_the_grid_as_it_was() -> None:
    busy = sequences_of([[[0]] * 10 for _ in range(200)])
    times = np.asarray(busy.timestamps) + 17_000 * DAY
    wrong = times.copy()
    wrong[[9, 10]] = 4_102_444_800, 0
    right, odd = (Trends(replace(busy, timestamps=each)) for each in (times, wrong))
    assert (odd.first, odd.last, odd.grid_seconds) == (right.first, right.last, right.grid_seconds)
    assert odd.grid_index(np.asarray([0, 4_102_444_800])).tolist() == [0, odd.num_grid_times - 1]
    assert np.allclose(odd.at(odd.last + 1), right.at(right.last + 1), atol=0.05)
