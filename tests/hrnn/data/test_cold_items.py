from __future__ import annotations

import numpy as np

from hrnn.data.cold_items import cold_items
from schemas.recipes import ColdstartHyperparameters, parse_hyperparameters

DAY = 86_400


def cold(num_events: list[int], days_old: list[float], now: float = 100, **given: str) -> list[bool]:
    """Whether items of an age, in days on day 100, are cold."""
    parsed = parse_hyperparameters("aws-hrnn-coldstart", given)
    assert isinstance(parsed, ColdstartHyperparameters)
    created = [int((100 - days) * DAY) for days in days_old]
    return cold_items(np.array(num_events), np.array(created), parsed, int(now * DAY)).tolist()


def test_cold_items_are_new_and_have_few_events() -> None:
    assert cold([15, 16, 0, 0, 0], [0, 0, 5, 5.1, 90]) == [True, False, True, False, False]


def test_the_bounds_and_the_moment_can_be_chosen() -> None:
    assert cold([2, 3], [0, 0], cold_start_max_interactions="2") == [True, False]
    assert cold([0, 0], [1, 3], cold_start_max_duration="1.5") == [True, False]
    assert cold([0, 0], [10, 12]) == [True, True]  # counted from the newest item
    assert cold([0, 0], [10, 12], cold_start_relative_from="currentTime") == [False, False]
    assert cold([], []) == []


def test_an_item_of_a_wrong_clock_leaves_the_others_new() -> None:
    assert cold([0, 0, 0], [10, 12, -20_000]) == [True, True, True]
    assert cold([0, 0], [-20_000, -10]) == [True, True]
