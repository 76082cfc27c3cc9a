from __future__ import annotations

import math
from collections import defaultdict

import numpy as np
import pytest
from small_sequences import random_histories, sequences_of

from hrnn.blend import cooccurrence
from hrnn.blend.cooccurrence import DISTANCE, EVENTS, FEATURES, Cooccurrence
from hrnn.data.sequences import Sequences

HISTORIES = random_histories(60, 25)
SEQUENCES = sequences_of(HISTORIES, num_items=27)  # two items have no events


def counted_by_hand(histories: list[list[list[int]]]) -> dict[tuple[int, int], float]:
    """forward(a, b), pair by pair."""
    forward: dict[tuple[int, int], float] = defaultdict(float)
    for session in (session for history in histories for session in history):
        for place, first in enumerate(session):
            for distance, second in enumerate(session[place + 1 : place + 1 + DISTANCE], 1):
                forward[first, second] += 1 / distance
    return forward


def told(found: Cooccurrence, item: int) -> dict[int, tuple[float, float]]:
    mine = slice(found.offsets[item], found.offsets[item + 1])
    return {
        int(row): (float(forward), float(symmetric))
        for row, forward, symmetric in zip(found.item_rows[mine], found.forward[mine], found.symmetric[mine], strict=True)
    }


def expected(histories: list[list[list[int]]], num_items: int, most: int) -> list[dict[int, tuple[float, float]]]:
    forward = counted_by_hand(histories)
    rows = []
    for item in range(num_items):
        forth = {other: forward.get((item, other), 0.0) for other in range(num_items)}
        both = {other: forth[other] + forward.get((other, item), 0.0) for other in range(num_items)}
        some = sorted(
            (other for other in both if both[other] > 0), key=lambda other: (-round(forth[other] + both[other], 6), other)
        )
        shares = max(sum(forth.values()), 1e-9), max(sum(both.values()), 1e-9)
        rows.append({other: (forth[other] / shares[0], both[other] / shares[1]) for other in some[:most]})
    return rows


@pytest.mark.parametrize("most", [3, 100])
@pytest.mark.parametrize("at_once", [40, 1 << 20])
def test_cooccurring_items_are_what_a_count_of_all_pairs_says(monkeypatch: pytest.MonkeyPatch, most: int, at_once: int) -> None:
    monkeypatch.setattr(cooccurrence, "MOST_COOCCURRING", most)
    monkeypatch.setattr(cooccurrence, "_EVENTS_AT_ONCE", at_once)
    monkeypatch.setattr(cooccurrence, "_SPARE", 100)
    found = Cooccurrence.of(SEQUENCES)
    for item, row in enumerate(expected(HISTORIES, SEQUENCES.num_items, most)):
        assert told(found, item) == {other: pytest.approx(shares, rel=1e-6) for other, shares in row.items()}


def test_while_counting_weak_pairs_are_dropped_and_strong_ones_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cooccurrence, "MOST_COOCCURRING", 2)
    monkeypatch.setattr(cooccurrence, "_EVENTS_AT_ONCE", 8)
    monkeypatch.setattr(cooccurrence, "_SPARE", 2)
    strong = [[[0, 1], [0, 2], [0, 1]]] * 30
    weak = [[[0, item], [item, item + 1]] for item in range(3, 40)]
    mixed = [history for pair in zip(strong, weak[:30], strict=True) for history in pair]
    found = Cooccurrence.of(sequences_of(mixed))
    assert list(told(found, 0)) == [1, 2]


def test_hidden_events_are_not_counted() -> None:
    known = [history[:-1] for history in HISTORIES]
    kept = np.asarray([sum(map(len, history)) for history in known])
    found = Cooccurrence.of(SEQUENCES.truncate(np.arange(len(HISTORIES)), kept))
    for item, row in enumerate(expected(known, SEQUENCES.num_items, 100)):
        assert told(found, item) == {other: pytest.approx(shares, rel=1e-6) for other, shares in row.items()}


def test_of_very_many_events_some_users_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cooccurrence, "MOST_EVENTS", (SEQUENCES.num_events + 1) // 2)
    found, half = Cooccurrence.of(SEQUENCES), expected(HISTORIES[::2], SEQUENCES.num_items, 100)
    assert [list(told(found, item)) for item in range(27)] == [sorted(row) for row in half]


def features_of(found: Cooccurrence, sequences: Sequences, user: int) -> dict[int, dict[str, float]]:
    items = found.of_users(sequences, np.asarray([user]))
    return {
        int(row): dict(zip(FEATURES, line.tolist(), strict=True))
        for row, line in zip(items.item_rows, items.features, strict=True)
    }


def test_a_user_s_cooccurring_items_are_those_of_the_latest_events() -> None:
    found = Cooccurrence.of(SEQUENCES)
    user = int(np.argmax(SEQUENCES.history_lengths))
    latest = SEQUENCES.item_rows[SEQUENCES.user_offsets[user + 1] - EVENTS : SEQUENCES.user_offsets[user + 1]][::-1]
    forward: dict[int, float] = defaultdict(float)
    symmetric: dict[int, float] = defaultdict(float)
    for back, item in enumerate(latest.tolist(), 1):
        for other, shares in told(found, item).items():
            forward[other] += shares[0] / back
            symmetric[other] += shares[1] / back
    features = features_of(found, SEQUENCES, user)
    assert list(features) == sorted(symmetric)
    for item, values in features.items():
        assert values["symmetric"] == 1
        assert values["log_symmetric"] == pytest.approx(math.log(symmetric[item]), abs=1e-5)
        assert values["forward"] == (forward[item] > 0)
        assert values["log_forward"] == pytest.approx(math.log(forward[item]) if forward[item] > 0 else 0.0, abs=1e-5)


def test_a_user_s_features_do_not_depend_on_who_is_asked_beside() -> None:
    found = Cooccurrence.of(SEQUENCES)
    together = found.of_users(SEQUENCES, np.asarray([7, 3, 11]))
    alone = found.of_users(SEQUENCES, np.asarray([3]))
    mine = slice(together.offsets[1], together.offsets[2])
    assert np.array_equal(together.item_rows[mine], alone.item_rows)
    assert np.array_equal(together.features[mine], alone.features)


def test_without_events_nothing_cooccurs() -> None:
    nobody = SEQUENCES.truncate(np.arange(60), np.zeros(60, dtype=np.int64))
    assert len(Cooccurrence.of(nobody).item_rows) == 0
    items = Cooccurrence.of(SEQUENCES).of_users(nobody, np.arange(2))
    assert items.offsets.tolist() == [0, 0, 0]
    assert items.features.shape == (0, len(FEATURES))


def test_one_item_may_be_all_there_is() -> None:
    found = Cooccurrence.of(sequences_of([[[0, 0]]], num_items=1))
    assert told(found, 0) == {0: (1.0, 1.0)}
