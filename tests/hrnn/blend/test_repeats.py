from __future__ import annotations

import math

import numpy as np
import pytest
from small_sequences import DAY, MINUTE, sequences_of

from hrnn.blend import repeats
from hrnn.blend.repeats import FEATURES, own_item_features, repeat_odds

# A user's first session is on day 0 at minutes 0, 1, 2, the second on day 1.
SEQUENCES = sequences_of([[[4, 2, 4], [2, 7]], [[5]], [[1, 1], [1]]], num_items=9)
NEVER_REPEATED = np.zeros(9, dtype=np.float32)


def features_of(user: int, item: int, as_of: int = 3 * DAY) -> dict[str, float]:
    own = own_item_features(SEQUENCES, np.asarray([user]), np.asarray([as_of]), NEVER_REPEATED)
    at = own.item_rows.tolist().index(item)
    return dict(zip(FEATURES, own.features[at].tolist(), strict=True))


def test_own_items_are_the_distinct_items_of_each_user() -> None:
    own = own_item_features(SEQUENCES, np.asarray([2, 0, 1]), np.full(3, 3 * DAY), NEVER_REPEATED)
    assert [own.item_rows[begin:end].tolist() for begin, end in zip(own.offsets, own.offsets[1:], strict=False)] == [
        [1],
        [2, 4, 7],
        [5],
    ]


def test_features_of_an_item_taken_twice() -> None:
    features = features_of(0, 4)
    assert features["own"] == 1
    assert features["log_count"] == pytest.approx(math.log(2))
    assert features["log_share"] == pytest.approx(math.log(2 / 5))
    assert features["log_age"] == pytest.approx(math.log1p(3 - 2 * MINUTE / DAY))
    assert features["log_events_since"] == pytest.approx(math.log1p(2))
    assert (features["last_session"], features["last_event"]) == (0, 0)
    assert features["user_repeats"] == pytest.approx(math.log(2.5 / 3.5))  # 2 of 5 events repeat
    assert features["log_own_items"] == pytest.approx(math.log(3))


def test_the_last_session_and_the_last_event_are_marked() -> None:
    assert (features_of(0, 2)["last_session"], features_of(0, 2)["last_event"]) == (1, 0)
    assert (features_of(0, 7)["last_session"], features_of(0, 7)["last_event"]) == (1, 1)
    assert (features_of(1, 5)["last_session"], features_of(1, 5)["last_event"]) == (1, 1)


def test_items_that_are_taken_again_have_higher_odds() -> None:
    odds = repeat_odds(sequences_of([[[0, 0, 0, 1]], [[0, 0, 1]], [[2]]], num_items=4))
    assert odds[0] > odds[3] > odds[1]
    assert np.isfinite(odds).all()


def test_what_followed_the_last_item_before_is_told() -> None:
    own = own_item_features(
        sequences_of([[[0, 1, 2, 4, 5], [3, 0, 1], [1, 0]]], num_items=6),
        np.asarray([0]),
        np.asarray([3 * DAY]),
        NEVER_REPEATED[:6],
    )
    features = {
        int(item): dict(zip(FEATURES, line.tolist(), strict=True))
        for item, line in zip(own.item_rows, own.features, strict=True)
    }
    follows = {1: 1 + 1, 2: 1 / 2, 4: 1 / 3}  # item 5 is too far, nothing crosses sessions
    for item in range(6):
        assert features[item]["follows"] == (item in follows)
        assert features[item]["log_follows"] == pytest.approx(math.log(follows.get(item, 1)))


def test_sessions_tell_how_regularly_an_item_is_taken() -> None:
    own = own_item_features(
        sequences_of([[[9]], [[0], [1, 1], [2], [1], [3], [3]]], num_items=10),
        np.asarray([1]),
        np.asarray([6 * DAY]),
        NEVER_REPEATED,
    )
    features = dict(zip(FEATURES, own.features[own.item_rows.tolist().index(1)].tolist(), strict=True))
    assert features["log_sessions_since"] == pytest.approx(math.log(1 + 2))
    assert features["log_first_age"] == pytest.approx(math.log(1 + 5))
    assert features["log_session_rate"] == pytest.approx(math.log(2 / 5))
    assert features["log_session_share"] == pytest.approx(math.log(2 / 6))
    assert features["one_session"] == 0
    assert features["log_age * log_sessions"] == pytest.approx(math.log(1 + 3) * math.log(2), rel=1e-4)


def test_hidden_events_make_no_own_items() -> None:
    cut = SEQUENCES.truncate(np.asarray([0]), np.asarray([2]))
    own = own_item_features(cut, np.asarray([0]), np.asarray([DAY]), NEVER_REPEATED)
    assert own.item_rows.tolist() == [2, 4]


def test_a_long_history_keeps_its_latest_own_items(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeats, "MOST_OWN_ITEMS", 2)
    own = own_item_features(SEQUENCES, np.asarray([0, 2]), np.full(2, DAY), NEVER_REPEATED)
    assert own.item_rows.tolist() == [2, 7, 1]
    assert own.offsets.tolist() == [0, 2, 3]


def test_users_without_events_have_no_own_items() -> None:
    empty = SEQUENCES.truncate(np.arange(3), np.zeros(3, dtype=np.int64))
    own = own_item_features(empty, np.arange(3), np.full(3, DAY), NEVER_REPEATED)
    assert own.offsets.tolist() == [0, 0, 0, 0]
    assert own.features.shape == (0, len(FEATURES))
