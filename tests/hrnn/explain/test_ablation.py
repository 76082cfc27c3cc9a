from __future__ import annotations

import numpy as np
from small_sequences import sequences_of

from hrnn.data.sequences import Sequences
from hrnn.explain.ablation import LATEST_EVENTS, Ablations, ablations

SEQUENCES = sequences_of([[[0]], [[1, 2, 1], [3], [2, 4]]])


def versions(found: Ablations) -> list[list[list[int]]]:
    """Every version as sessions of items."""
    sequences, histories = found.sequences, []
    for begin, end in zip(sequences.user_offsets[:-1], sequences.user_offsets[1:], strict=True):
        sessions: list[list[int]] = []
        for item, start in zip(sequences.item_rows[begin:end], sequences.session_starts[begin:end], strict=True):
            sessions += [[]] if start else []
            sessions[-1].append(int(item))
        histories.append(sessions)
    return histories


def test_all_events_of_an_item_go_together() -> None:
    assert versions(ablations(SEQUENCES, np.asarray([1]))) == [
        [[1, 2, 1], [3], [2, 4]],
        [[1, 2, 1], [3], [2]],  # without 4, the latest item
        [[1, 1], [3], [4]],  # without 2; the session goes on without the event that began it
        [[1, 2, 1], [2, 4]],
        [[2], [3], [2, 4]],
    ]


def test_a_user_of_one_event_is_left_with_none() -> None:
    found = ablations(SEQUENCES, np.asarray([0]))
    assert versions(found) == [[[0]], []]


def test_versions_tell_what_was_taken_away_and_whose_they_are() -> None:
    found = ablations(SEQUENCES, np.asarray([1, 0]))
    assert found.owners.tolist() == [0, 0, 0, 0, 0, 1, 1]
    assert found.removed.tolist() == [-1, 4, 2, 3, 1, -1, 0]
    assert (found.of(0), found.of(1)) == (slice(0, 5), slice(5, 7))


def test_only_the_latest_events_are_looked_at() -> None:
    long = sequences_of([[list(range(80))]])
    found = ablations(long, np.asarray([0]))
    assert found.removed[1:].tolist() == list(range(79, 79 - LATEST_EVENTS, -1))
    assert found.sequences.history_lengths.tolist() == [80, *[79] * LATEST_EVENTS]


def test_of_a_long_history_the_newest_events_may_be_all_that_counts() -> None:
    long = sequences_of([[[7] * 1000, [1, 2], [2, 3]]])
    found = ablations(long, np.asarray([0]), newest=3)
    assert versions(found) == [[[2], [2, 3]], [[2], [2]], [[3]]]
    assert found.sequences.num_events == 6


def test_hidden_events_stay_hidden() -> None:
    known: Sequences = SEQUENCES.truncate(np.asarray([1]), np.asarray([3]))
    assert versions(ablations(known, np.asarray([1]))) == [[[1, 2, 1]], [[2]], [[1, 1]]]


def test_a_wanted_item_is_taken_away_however_old() -> None:
    long = sequences_of([[[1, 2], [1, *range(3, 80)]]])
    assert ablations(long, np.asarray([0]), also=[np.asarray([2, 1, 90])]).removed[-2:].tolist() == [1, 2]


def test_only_so_many_items_are_taken_away() -> None:
    assert ablations(SEQUENCES, np.asarray([1]), most_items=2).removed.tolist() == [-1, 4, 2]


def test_nobody_has_no_histories() -> None:
    assert ablations(SEQUENCES, np.empty(0, dtype=np.int64)).sequences.num_users == 0
