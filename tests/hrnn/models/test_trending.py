"""aws-trending-now against counting by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from small_sequences import sequences_of

from hrnn.blend.snapshots import PlainSnapshot
from hrnn.data.sequences import Sequences
from hrnn.models.contract import QueryModel
from hrnn.models.trending import PRIOR, SMOOTHING, WINDOW_SECONDS, WINDOWS_BEFORE, TrendingNow
from schemas.hyperparameters import Parameter
from schemas.recipes import RECIPES, TrendingHyperparameters

HOUR = 3_600


def events(pairs: list[tuple[int, int]], num_items: int) -> Sequences:
    """One user with (item, time) events, oldest first."""
    pairs = sorted(pairs, key=lambda pair: pair[1])
    sequences = sequences_of([[[item for item, _ in pairs]]], num_items)
    return replace(sequences, timestamps=np.asarray([time for _, time in pairs], dtype=np.int64))


def fitted(sequences: Sequences, frequency: str = "1 hour") -> TrendingNow:
    return TrendingNow.fit(
        sequences, TrendingHyperparameters.parse({"trend_discovery_frequency": frequency}, algorithm_arn="a")
    )


def test_every_frequency_of_the_recipe_has_a_window() -> None:
    (parameter,) = RECIPES["aws-trending-now"].hyperparameters.parameters()
    assert isinstance(parameter, Parameter)
    assert set(parameter.choices) == set(WINDOW_SECONDS)


@pytest.mark.parametrize("frequency", list(WINDOW_SECONDS))
def test_agrees_with_counting_by_hand(frequency: str) -> None:
    random = np.random.default_rng(1)
    pairs = list(zip(random.integers(0, 12, 3_000).tolist(), random.integers(0, 20 * 86_400, 3_000).tolist(), strict=True))
    seconds, end = WINDOW_SECONDS[frequency], max(time for _, time in pairs) + 1
    newest = [pair for pair in pairs if pair[1] >= end - seconds]
    before = [pair for pair in pairs if end - (1 + WINDOWS_BEFORE) * seconds <= pair[1] < end - seconds]
    expected = []
    for item in range(13):
        own, own_before, own_in_all = (sum(pair[0] == item for pair in some) for some in (newest, before, pairs))
        rate = (own_before + SMOOTHING * own_in_all / len(pairs)) / (len(before) + SMOOTHING)
        expected.append((own + PRIOR) / (len(newest) * rate + PRIOR))
    model = fitted(events(pairs, 13), frequency)
    assert model.growth == pytest.approx(expected)
    assert model.items().bias.numpy() == pytest.approx(np.log(expected), abs=1e-6)


def test_what_grows_beats_what_is_popular_and_what_was_once() -> None:
    old = [(0, time) for time in range(0, 9 * HOUR, 60)] + [(1, time) for time in range(0, 8 * HOUR, 120)]
    rising = [(2, time) for time in range(0, 8 * HOUR, HOUR)] + [(2, 8 * HOUR + step * 60) for step in range(60)]
    growth = fitted(events(old + rising, 3)).growth
    assert np.argsort(-growth).tolist() == [2, 0, 1]


def test_a_few_events_are_no_trend() -> None:
    steady = [(0, time) for time in range(0, 9 * HOUR, 30)]
    growth = fitted(events([*steady, (1, 9 * HOUR - 10), (1, 9 * HOUR - 5)], 2)).growth
    assert growth[1] < 1.25


def test_everybody_gets_the_same_and_hidden_events_do_not_count() -> None:
    pairs = [(step % 3, step * 60) for step in range(600)]
    sequences = events([*pairs, *((1, 36_000 + step) for step in range(50))], 3)
    assert fitted(sequences).growth.argmax() == 1
    model = fitted(sequences.truncate(np.array([0]), np.array([600])))
    assert isinstance(model, QueryModel)
    assert model.growth.tolist() == fitted(events(pairs, 3)).growth.tolist()
    sequences = sequences_of([[[0]], [[1]]])
    assert PlainSnapshot(model).user_states(sequences, np.array([1, 0])).query.shape == (2, 0)


@pytest.mark.parametrize("wrong", [4_102_444_800, 17_011 * 86_400])
def test_an_item_of_a_wrong_clock_does_not_head_the_list(wrong: int) -> None:
    hours = [(step % 2, 17_000 * 86_400 + step * 300) for step in range(9 * 288)]
    rising = [(2, 17_009 * 86_400 - 10 * step) for step in range(1, 60)]
    pairs = [*hours, *rising]
    growth = fitted(events([*pairs, (3, wrong)], 4)).growth
    assert np.argsort(-growth)[0] == 2
    assert growth[:3] == pytest.approx(fitted(events(pairs, 4)).growth[:3], abs=0.01)


def test_without_events_nothing_grows() -> None:
    sequences = sequences_of([[[0, 1]]]).truncate(np.array([0]), np.array([0]))
    assert fitted(sequences).growth.tolist() == [1.0, 1.0]
