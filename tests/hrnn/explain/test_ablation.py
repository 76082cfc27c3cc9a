from __future__ import annotations

import numpy as np
from small_sequences import sequences_of

from hrnn.data.sequences import Sequences
from hrnn.explain.ablation import MOST_GROUPING_EVENTS, Ablations, By, ablations

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


def of_second_user(by: By) -> list[list[list[int]]]:
    return versions(ablations(SEQUENCES, np.asarray([1]), by))


def test_all_events_of_an_item_go_together() -> None:
    assert of_second_user("item") == [
        [[1, 2, 1], [3], [2, 4]],
        [[1, 2, 1], [3], [2]],  # without 4, the latest item
        [[1, 1], [3], [4]],  # without 2; the session goes on without the event that began it
        [[1, 2, 1], [2, 4]],
        [[2], [3], [2, 4]],
    ]


def test_all_events_of_a_session_go_together() -> None:
    assert of_second_user("session") == [[[1, 2, 1], [3], [2, 4]], [[1, 2, 1], [3]], [[1, 2, 1], [2, 4]], [[3], [2, 4]]]


def test_events_can_go_alone() -> None:
    assert of_second_user("event")[1:3] == [[[1, 2, 1], [3], [2]], [[1, 2, 1], [3], [4]]]
    assert len(of_second_user("event")) == 7


def test_a_user_of_one_event_is_left_with_none() -> None:
    found = ablations(SEQUENCES, np.asarray([0]), "item")
    assert versions(found) == [[[0]], []]


def test_groups_tell_what_was_taken_away() -> None:
    found = ablations(SEQUENCES, np.asarray([1, 0]), "item")
    assert found.owners.tolist() == [0, 0, 0, 0, 0, 1, 1]
    assert [(group.item_row, group.num_events) for group in found.groups[0]] == [(4, 1), (2, 2), (3, 1), (1, 2)]
    assert found.groups[0][1].last_time == SEQUENCES.timestamps[-2]


def test_only_the_latest_events_are_looked_at() -> None:
    long = sequences_of([[list(range(80))]])
    found = ablations(long, np.asarray([0]), "item")
    assert [group.item_row for group in found.groups[0]] == list(range(79, 79 - MOST_GROUPING_EVENTS, -1))
    assert found.sequences.history_lengths.tolist() == [80, *[79] * MOST_GROUPING_EVENTS]


def test_of_a_long_history_the_newest_events_may_be_all_that_counts() -> None:
    long = sequences_of([[[7] * 1000, [1, 2], [2, 3]]])
    found = ablations(long, np.asarray([0]), "item", newest=3)
    assert versions(found) == [[[2], [2, 3]], [[2], [2]], [[3]]]
    assert found.sequences.num_events == 6


def test_hidden_events_stay_hidden() -> None:
    known: Sequences = SEQUENCES.truncate(np.asarray([1]), np.asarray([3]))
    assert versions(ablations(known, np.asarray([1]), "item")) == [[[1, 2, 1]], [[2]], [[1, 1]]]


def test_the_latest_event_of_a_wanted_item_makes_a_group_however_old() -> None:
    long = sequences_of([[[1, 2], [1, *range(3, 80)]]])
    assert [group.item_row for group in ablations(long, np.asarray([0]), "item", [np.asarray([2, 1, 90])]).groups[0]][-2:] == [
        1,
        2,
    ]
    by_session = ablations(long, np.asarray([0]), "session", [np.asarray([2])])
    assert [(group.item_row, group.num_events) for group in by_session.groups[0]] == [(79, 78), (2, 2)]
