"""Rivals of the nightly list against scores worked out by hand, plain loops, and settings whose choice is plain to see."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import product

import numpy as np
import pytest
import tifu_knn
from small_sequences import DAY, random_histories, sequences_of

from hrnn.data.arrays import Rows
from hrnn.data.sequences import Sequences
from hrnn.evaluation.baselines import Fit
from hrnn.evaluation.baselines import tuned as tuning
from hrnn.evaluation.baselines.blend3 import Blend3, Weights
from hrnn.evaluation.baselines.decayed import DecayedOwnItems, DecayedPopularity
from hrnn.evaluation.baselines.frequency_neighbours import Decay, FrequencyNeighbours
from hrnn.evaluation.baselines.lists import sampled_users
from hrnn.evaluation.baselines.prediction_points import PredictionPoints, points_after
from hrnn.evaluation.baselines.rules import SequentialRules
from hrnn.evaluation.baselines.tuned import Sample, tuned
from hrnn.evaluation.metrics import HEADLINE
from hrnn.evaluation.settings.next_period import NextPeriod, cut_at, lists_of


def after(sequences: Sequences, *users: int, as_of: int = 10 * DAY) -> PredictionPoints:
    return points_after(sequences, np.asarray(users), np.full(len(users), as_of))


def with_times(sequences: Sequences, times: list[int]) -> Sequences:
    return replace(sequences, timestamps=np.asarray(times, dtype=np.int64))


def test_popularity_halves_with_every_half_life_and_knows_nothing_later() -> None:
    sequences = with_times(sequences_of([[[0], [1], [0]], [[2]]]), [0, 100, 200, 300])
    points = points_after(sequences, np.asarray([0, 0, 0]), np.asarray([300, 100, 250]))
    scores = DecayedPopularity(sequences, 100).scores(points)
    assert scores[0] == pytest.approx([1 / 8 + 1 / 2, 1 / 4, 1])
    assert scores[1] == pytest.approx([1 / 2, 1, 0])
    assert scores[2] == pytest.approx([2**-2.5 + 2**-0.5, 2**-1.5, 0])


def test_popularity_decays_as_if_counted_anew() -> None:
    sequences = sequences_of(random_histories(30, 9))
    as_of = np.random.default_rng(0).integers(0, 6 * DAY, 30)
    baseline = DecayedPopularity(sequences, DAY / 7)
    together = baseline.scores(points_after(sequences, np.arange(30), as_of))
    for user in range(30):
        alone = baseline.scores(points_after(sequences, np.asarray([user]), as_of[[user]]))[0]
        assert together[user] == pytest.approx(alone, rel=1e-6)


def test_half_lives_of_a_second_over_decades_neither_overflow_nor_lose_the_newest() -> None:
    sequences = with_times(sequences_of([[[0], [1]], [[2]]]), [0, 1_000_000_000, 500_000_000])
    points = after(sequences, 0, 1, as_of=1_000_000_000)
    assert DecayedPopularity(sequences, 1).scores(points).tolist() == [[0, 1, 0]] * 2
    assert DecayedOwnItems(sequences, 1).scores(points).tolist() == [[0, 1, 0], [0, 0, 1]]


def test_a_users_first_event_begins_a_session_however_it_is_marked() -> None:
    sequences = sequences_of([[[0, 1]], [[1, 2]], [[0]]])
    unmarked = replace(sequences, session_starts=np.zeros(5, dtype=np.bool_))
    for fit in (FrequencyNeighbours, partial(DecayedOwnItems, half_life_seconds=DAY)):
        expected = fit(sequences).scores(after(sequences, 0, 1, 2))
        assert np.array_equal(fit(unmarked).scores(after(unmarked, 0, 1, 2)), expected)


def test_without_decay_events_are_counted() -> None:
    sequences = sequences_of([[[0, 1], [1], [1]], [[1, 2]]])
    assert DecayedPopularity(sequences, np.inf).scores(after(sequences, 0)).tolist() == [[1, 4, 1]]


def test_own_items_count_once_a_session_over_their_greatest() -> None:
    histories = sequences_of([[[0, 1, 1, 1], [0], [2]], [[3]]])
    scores = DecayedOwnItems(histories, np.inf).scores(after(histories, 0, 1))
    assert scores.tolist() == [[1, 0.5, 0.5, 0], [0, 0, 0, 1]]


def test_own_items_decay_from_the_users_latest_event() -> None:
    histories = with_times(sequences_of([[[0], [1], [0], [2]]]), [0, 100, 100, 300])
    scores = DecayedOwnItems(histories, 100).scores(after(histories, 0))
    assert scores[0] == pytest.approx([1 / 8 + 1 / 4, 1 / 4, 1])


def test_popularity_orders_own_items_of_one_session_and_the_rest() -> None:
    sequences = sequences_of([[[0, 1]], [[1, 3], [3]], [[4, 3, 4]]])
    scores = DecayedOwnItems(sequences, np.inf, np.inf).scores(after(sequences, 0))[0]
    assert np.argsort(-scores, kind="stable").tolist() == [1, 0, 3, 4, 2]
    assert scores == pytest.approx([1 + 0.001 / 3, 1 + 0.002 / 3, 0, 0.001, 0.002 / 3])


@pytest.mark.parametrize("fit", [DecayedPopularity, DecayedOwnItems])
def test_a_half_life_is_above_zero(fit: type[DecayedPopularity] | type[DecayedOwnItems]) -> None:
    sequences = sequences_of([[[0]]])
    with pytest.raises(ValueError, match="half-life"):
        fit(sequences, 0.0).scores(after(sequences, 0))


@pytest.mark.parametrize("decay", [Decay(), Decay(3, 0.5, 0.9), Decay(1, 0.8, 0.1), Decay(2, 1.0, 0.3)])
def test_frequency_neighbours_score_as_in_plain_loops(decay: Decay) -> None:
    histories = [*random_histories(40, 12), [[step % 5, step % 3] for step in range(17)], []]
    sequences = sequences_of(histories, num_items=12)
    vectors = [tifu_knn.user_vector(history, 12, decay.groups, decay.within, decay.between) for history in histories if history]
    points = after(sequences, *range(41))
    scores = FrequencyNeighbours(sequences, neighbours=6, alpha=0.4, decay=decay).scores(points)
    for user in range(41):
        assert scores[user] == pytest.approx(tifu_knn.scores(vectors[user], vectors, 6, 0.4), abs=1e-6)


def test_frequency_neighbours_look_at_no_event_after_the_point() -> None:
    sequences = sequences_of([[[0], [1]], [[0], [2]]])
    early = sequences.truncate(np.arange(2), np.asarray([1, 1]))
    scores = FrequencyNeighbours(sequences, neighbours=1, alpha=1.0).scores(after(early, 0))
    assert scores.tolist() == [[1, 0, 0]]


def test_fewer_users_than_neighbours_are_all_that_there_are() -> None:
    sequences = sequences_of([[[0]], [[1]], []])
    scores = FrequencyNeighbours(sequences, neighbours=300, alpha=0.0).scores(after(sequences, 0))
    assert scores.tolist() == [[0.5, 0.5]]


@pytest.mark.parametrize(
    "settings",
    [
        {"neighbours": 0},
        {"alpha": 1.5},
        {"decay": Decay(groups=0)},
        {"decay": Decay(within=0.0)},
        {"decay": Decay(between=2.0)},
    ],
)
def test_settings_of_frequency_neighbours_have_bounds(settings: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"at least 1|from 0 to 1"):
        FrequencyNeighbours(sequences_of([[[0]]]), **settings)  # type: ignore[arg-type]


def test_rules_across_sessions_look_back_beyond_the_session() -> None:
    sequences = sequences_of([[[0], [1]], [[0], [2]], [[1], [3]], [[0], [1]]])
    scores = SequentialRules(sequences, events=2, across_sessions=True).scores(after(sequences, 3))
    assert scores[0] == pytest.approx([0, 2 / 3 / 2, 1 / 3 / 2, 1])


def test_the_blend_is_the_weighted_sum_of_scaled_parts() -> None:
    sequences = sequences_of(random_histories(12, 8))
    points, weights = after(sequences, *range(12)), Weights(rules=0.2, popularity=0.5, own_items=1.0)
    rules = SequentialRules(sequences, events=10, across_sessions=True).scores(points)
    popularity, own = DecayedPopularity(sequences, DAY).scores(points), DecayedOwnItems(sequences, 3 * DAY).scores(points)
    expected = sum(
        weight * part / np.maximum(part.max(axis=1, keepdims=True), 1e-30)
        for weight, part in zip(weights, (rules, popularity, own), strict=True)
    )
    blend = Blend3(sequences, weights, popularity_half_life_seconds=DAY, own_half_life_seconds=3 * DAY)
    assert blend.scores(points) == pytest.approx(expected, rel=1e-5)


def news() -> Sequences:
    """Every day another item is all that people take, by the hour; the users have had others before."""
    histories, times = [], []
    for user in range(60):
        histories.append([[20 + user % 7], *([day] for day in range(8))])
        times += [0, *(DAY * day + 60 * user for day in range(1, 9))]
    return with_times(sequences_of(histories), times)


def shop() -> Sequences:
    """Everybody takes two items of their own again and again, the one since long ago, the other thrice of late."""
    histories = [[*([user, 60] if step % 4 else [user] for step in range(12))] for user in range(40)]
    return sequences_of(histories)


def settings_of(sequences: Sequences, cut: int, horizon: int, lag: int = 0) -> dict[str, str]:
    night = cut_at(sequences, cut, horizon, lag_seconds=lag)
    return {name: each.settings for name, each in tuned(night).items()}


def test_news_have_a_short_half_life_and_shops_none() -> None:
    assert settings_of(news(), 8 * DAY + 1_800, DAY)["decayed popularity"].endswith(("h", "min"))
    of_shop = settings_of(shop(), 9 * DAY, 2 * DAY)
    assert of_shop["decayed own items"] == "no decay"
    assert "own items 1 " in of_shop["blend3"]


def test_nothing_after_the_cut_is_looked_at() -> None:
    sequences = sequences_of(random_histories(80, 30))
    later = sequences.timestamps > 3 * DAY
    others = sequences.item_rows.copy()
    others[later] = np.random.default_rng(1).permutation(others[later])
    night = cut_at(sequences, 3 * DAY, DAY)
    found = tuned(night)
    for other in (replace(sequences, item_rows=others), night.training):
        same = tuned(replace(night, training=cut_at(other, 3 * DAY, DAY).training))
        for name, each in found.items():
            assert each.settings == same[name].settings
            assert np.array_equal(each.lists, same[name].lists)
    # An event before the cut has a part in them, so that the comparison can see a difference.
    others[~later] = np.random.default_rng(2).permutation(others[~later])
    changed = tuned(replace(night, training=cut_at(replace(sequences, item_rows=others), 3 * DAY, DAY).training))
    assert not np.array_equal(found["blend3"].lists, changed["blend3"].lists)


def test_with_nobody_to_choose_by_nothing_decays() -> None:
    found = settings_of(sequences_of([[[0]], [[1], [0]]]), -10, DAY)
    assert found["decayed popularity"] == found["decayed own items"] == "no decay"


def many_few_know() -> Sequences:
    """Many items that few know, so that a list is not the whole catalogue; each user's first that no other has."""
    random = np.random.default_rng(0)
    histories = [[(session + user % 9 + random.integers(0, 4, 3)).tolist() for session in range(6)] for user in range(60)]
    sequences = sequences_of(histories, num_items=100)
    sequences = replace(sequences, timestamps=sequences.timestamps + random.integers(0, DAY // 2, 60).repeat(18))
    items = sequences.item_rows * 5 + random.integers(0, 3, sequences.num_events)
    items[sequences.user_offsets[:-1]] = 100 + np.arange(60)
    return replace(sequences, item_rows=items.astype(np.int32), num_items=160)


@pytest.mark.parametrize(("lag", "share"), [(0, 1.0), (DAY // 3, 1.0), (0, 0.5)])
def test_settings_are_chosen_by_the_lists_that_they_give(lag: int, share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    sequences = many_few_know()
    weights_of_events = (np.random.default_rng(3).random(sequences.num_events) < share).astype(np.float32)
    night = cut_at(sequences, 5 * DAY, DAY, lag_seconds=lag, event_weights=weights_of_events)
    compared: list[list[float]] = []

    def first_of_the_best(earlier: NextPeriod, lists: Rows) -> int:
        compared.append([earlier.measure(of_setting)[HEADLINE] for of_setting in lists])
        return choose(earlier, lists)

    choose = tuning._best
    monkeypatch.setattr(tuning, "_best", first_of_the_best)
    found = tuned(night)
    earlier = cut_at(sequences, 4 * DAY, DAY, lag_seconds=lag, event_weights=weights_of_events)
    popularity, own, own_in_blend, neighbours, weights = (int(np.argmax(values)) for values in compared)
    half_life = tuning.HALF_LIVES[popularity]
    numbers = list(product(tuning.NEIGHBOURS, tuning.ALPHAS))
    number, alpha = numbers[neighbours]
    assert found["TIFU-kNN"].settings == f"{number} neighbours, alpha {alpha:g}"
    fits: dict[str, list[Fit]] = {
        "decayed popularity": [partial(DecayedPopularity, half_life_seconds=each) for each in tuning.HALF_LIVES],
        "decayed own items": [
            partial(DecayedOwnItems, half_life_seconds=each, popularity_half_life_seconds=half_life)
            for each in tuning.HALF_LIVES
        ],
        "TIFU-kNN": [partial(FrequencyNeighbours, neighbours=k, alpha=each) for k, each in numbers],
        "blend3": [
            partial(
                Blend3,
                weights=each,
                popularity_half_life_seconds=half_life,
                own_half_life_seconds=tuning.HALF_LIVES[own_in_blend],
            )
            for each in tuning.WEIGHTS
        ],
    }
    points, of_night = earlier.points(), night.points()
    chosen = (popularity, own, neighbours, weights)
    for (name, of_fits), values, best in zip(fits.items(), [*compared[:2], *compared[3:]], chosen, strict=True):
        lists = [lists_of(fit(earlier.training).scores, points, earlier.known) for fit in of_fits]
        assert values == pytest.approx([earlier.measure(each)[HEADLINE] for each in lists], abs=1e-3)
        expected = lists_of(of_fits[best](night.training).scores, of_night, night.known)
        assert np.mean(found[name].lists == expected) > 0.99  # sums in another order break a tie otherwise


def test_rules_and_neighbours_of_a_sample_leave_lists_for_all_and_the_same_each_time() -> None:
    night = cut_at(many_few_know(), 5 * DAY, DAY)
    few = Sample(users=20, events=200, neighbours=10)
    found, again, whole = tuned(night, sample=few), tuned(night, sample=few), tuned(night)
    for name, each in found.items():
        assert np.array_equal(each.lists, again[name].lists)
        assert (each.lists >= 0).all()
    assert not np.array_equal(found["TIFU-kNN"].lists, whole["TIFU-kNN"].lists)


def test_a_sample_keeps_whole_histories_within_both_bounds() -> None:
    sequences = sequences_of([*random_histories(40, 12), []], num_items=12)
    for events, users in ((60, None), (10_000, 7), (60, 3)):
        kept = sampled_users(sequences, np.random.default_rng(0), events, users).history_lengths
        assert 0 < kept.sum() <= events
        assert np.count_nonzero(kept) <= (users or 40)
        assert all(kept[kept > 0] == sequences.history_lengths[kept > 0])
    assert sampled_users(sequences, np.random.default_rng(0), 10_000, 40) is sequences
