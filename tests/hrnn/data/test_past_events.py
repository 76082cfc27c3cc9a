from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest

from hrnn.data import past_events as module
from hrnn.data.past_events import past_events
from hrnn.data.sequences import Sequences

Event = tuple[int, int]  # type, item


def sequences_of(histories: Sequence[Sequence[Event]], num_items: int) -> Sequences:
    events = [event for history in histories for event in history]
    return Sequences(
        user_offsets=np.cumsum([0, *map(len, histories)]).astype(np.int64),
        item_rows=np.array([item for _, item in events], np.int32),
        timestamps=np.arange(len(events), dtype=np.int64),
        session_starts=np.zeros(len(events), np.bool_),
        event_types=np.array([kind for kind, _ in events], np.int32),
        num_items=num_items,
    )


def plain(history: Sequence[Event], most_rank: int) -> set[tuple[int, int, int]]:
    """(type, item, rank) by one walk from the newest event to the oldest."""
    seen: dict[int, int] = {}
    found: dict[Event, int] = {}
    for kind, item in reversed(history):
        rank = seen.get(kind, 0)
        seen[kind] = rank + 1
        if rank < most_rank:
            found.setdefault((kind, item), rank)
    return {(kind, item, rank) for (kind, item), rank in found.items()}


def found_of(sequences: Sequences, user_rows: Sequence[int]) -> list[set[tuple[int, int, int]]]:
    past = past_events(sequences, np.array(user_rows, np.int64))
    triples = list(zip(past.event_types.tolist(), past.item_rows.tolist(), past.ranks.tolist(), strict=True))
    ends = past.offsets.tolist()
    assert ends[0] == 0
    assert ends[-1] == len(triples)
    lists = [triples[begin:end] for begin, end in pairwise(ends)]
    assert all(len(set(triples)) == len(triples) for triples in lists)
    return [set(triples) for triples in lists]


def test_the_newest_event_of_each_type_and_item_counts() -> None:
    bought, seen = 0, 1
    history = [(bought, 5), (seen, 5), (seen, 6), (bought, 5), (seen, 5)]
    assert found_of(sequences_of([history], 7), [0]) == [{(bought, 5, 0), (seen, 5, 0), (seen, 6, 1)}]


@pytest.mark.parametrize("num_types", [0, 1, 3])
def test_many_users_get_what_a_plain_walk_gives(num_types: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_RANK", 12)
    random = np.random.default_rng(num_types)
    lengths = random.integers(0, 60, 80)
    histories = [
        list(zip(random.integers(-1, num_types, count).tolist(), random.integers(0, 15, count).tolist(), strict=True))
        for count in lengths
    ]
    rows = random.permutation(80)[:50].tolist()
    assert found_of(sequences_of(histories, 15), rows) == [plain(histories[row], 12) for row in rows]


def test_truncated_histories_end_earlier() -> None:
    sequences = sequences_of([[(0, 1), (0, 2), (0, 3)]], 4).truncate(np.array([0]), np.array([2]))
    assert found_of(sequences, [0]) == [{(0, 2, 0), (0, 1, 1)}]


def test_nobody_and_users_without_events_have_no_past() -> None:
    sequences = sequences_of([[], [(0, 1)]], 2)
    assert found_of(sequences, []) == []
    assert found_of(sequences, [0, 0]) == [set(), set()]
