"""Which moments can be true, on histories whose end is plain to see."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrnn.data.plausible import DAY, KNOWN_DAYS, LAST_SECOND, NULL_DAY, DayCounts, plausible_span

START = 17_000 * DAY  # in 2016


def days_of(*days: int, events: int = 90) -> list[int]:
    """So many events on each day after START, the last one in its last minute."""
    return [START + day * DAY + (step + 1) * (DAY // events) - 1 for day in days for step in range(events)]


def span(times: list[int]) -> tuple[int, int]:
    return plausible_span(np.asarray(times, np.int64))


MONTH = days_of(*range(30))


@pytest.mark.parametrize("odd", [[4_102_444_800], [START + 31 * DAY], [START + 40 * DAY, START + 60 * DAY]])
def test_a_wrong_clock_is_not_now(odd: list[int]) -> None:
    assert span([*odd, *MONTH]) == (MONTH[0], MONTH[-1])


@pytest.mark.parametrize("later", [days_of(30), days_of(30, events=1), days_of(44, events=20), [START + 30 * DAY + 5]])
def test_the_next_day_and_a_day_after_a_fortnight_are_now(later: list[int]) -> None:
    assert span([*MONTH, *later]) == (MONTH[0], later[-1])


def test_a_gap_that_is_no_longer_than_others_says_nothing() -> None:
    weeks = days_of(*(7 * week + day for week in range(8) for day in range(5)))
    monday = START + 56 * DAY
    assert span([*weeks, monday]) == (weeks[0], monday)
    assert span([*weeks, monday + DAY]) == (weeks[0], weeks[-1])


def test_a_ragged_end_of_strays_is_not_now() -> None:
    busy = days_of(*range(30), events=900)
    strays = [START + day * DAY + 7 for day in range(30, 50)]
    assert span([*busy, *strays]) == (busy[0], strays[0])


def test_quiet_days_that_are_usual_are_now() -> None:
    weeks = [days_of(*range(7 * week, 7 * week + 5)) + days_of(7 * week + 5, 7 * week + 6, events=3) for week in range(8)]
    times = [*itertools.chain(*weeks), START + 56 * DAY]
    assert span(times) == (times[0], times[-1])


def test_a_clock_that_was_set_back_is_not_once() -> None:
    for odd in ([10 * 365 * DAY], [10 * 365 * DAY, 4_102_444_800]):
        assert span([*odd, *MONTH]) == (MONTH[0], MONTH[-1])
    assert DayCounts.of(np.asarray([10 * 365 * DAY, *MONTH])).bounds().earliest == 2  # it is old, not wrong
    growing = [START - day * 40 * DAY for day in range(3)]
    assert span([*growing, *days_of(*range(800), events=20)])[0] == growing[1]


def test_of_few_events_nothing_is_too_few() -> None:
    assert span([START, START + 90 * DAY]) == (START, START + 90 * DAY)
    rare = days_of(*range(400), events=3)
    assert span([*rare, START + 500 * DAY])[1] == START + 500 * DAY


def test_zeros_and_ones_are_nulls_where_all_else_is_years_later() -> None:
    assert span([0, 1, 0, *MONTH]) == (MONTH[0], MONTH[-1])
    assert span([*([0] * 5_000), *MONTH]) == (MONTH[0], MONTH[-1])
    assert DayCounts.of(np.asarray([0, *MONTH])).bounds().earliest == 2
    assert DayCounts.of(np.asarray([2, *MONTH])).bounds().earliest == 0


def test_times_that_count_from_a_start_begin_at_zero() -> None:
    assert span([0, 1, 90, 5 * DAY]) == (0, 5 * DAY)
    assert span([0, 0, 1]) == (0, 1)
    assert span([]) == (0, 0)


@given(st.lists(st.integers(0, 3 * 10**9), max_size=40), st.integers(1, 4))
def test_parts_add_up_and_what_is_left_out_does_not_tell(times: list[int], parts: int) -> None:
    whole = DayCounts.of(np.asarray(times, np.int64))
    first, *others = [DayCounts.of(np.asarray(times[number::parts], np.int64)).telling() for number in range(parts)]
    assert first.with_others(others).bounds() == whole.bounds()
    assert whole.events.sum() == len(times)


def test_of_many_days_the_oldest_the_newest_and_the_nulls_tell() -> None:
    counts = DayCounts.of(np.asarray([0, *days_of(*range(2 * KNOWN_DAYS), events=1)]))
    told = counts.telling()
    assert told.days.tolist() == [NULL_DAY, *counts.days[1:2], *counts.days[-KNOWN_DAYS:]]
    assert told.bounds() == counts.bounds() == (2, LAST_SECOND)
