from __future__ import annotations

import numpy as np
import pytest
from small_sequences import random_histories, sequences_of

from hrnn.training.batching.lanes import LanePlan, assign_lanes

HISTORIES = random_histories(40, 30)
SEQUENCES = sequences_of(HISTORIES)
EVERYBODY = np.arange(len(HISTORIES))


@pytest.mark.parametrize(("num_lanes", "num_steps"), [(1, 1), (4, 3), (7, 32), (64, 5)])
def test_every_event_is_met_exactly_once_an_epoch(num_lanes: int, num_steps: int) -> None:
    plan = LanePlan(SEQUENCES, EVERYBODY, num_lanes, num_steps, seed=3, epoch=0)
    windows = [plan.window(number) for number in range(plan.num_windows)]
    met = np.concatenate([window.positions[window.alive] for window in windows])
    assert sorted(met) == list(range(SEQUENCES.num_events))
    assert sum(window.num_events for window in windows) == plan.num_events == SEQUENCES.num_events


def test_a_lane_holds_whole_users_in_time_order() -> None:
    plan = LanePlan(SEQUENCES, EVERYBODY, 4, 6, seed=3, epoch=0)
    windows = [plan.window(number) for number in range(plan.num_windows)]
    for lane in range(4):
        stream = np.concatenate([window.positions[:, lane][window.alive[:, lane]] for window in windows])
        begins = np.concatenate([window.user_starts[:, lane][window.alive[:, lane]] for window in windows])
        assert begins[0]
        for part in np.split(stream, np.flatnonzero(begins)[1:]):
            user = int(np.searchsorted(SEQUENCES.user_offsets, part[0], side="right")) - 1
            assert part.tolist() == list(range(SEQUENCES.user_offsets[user], SEQUENCES.user_offsets[user + 1]))


def test_marks_and_items_are_those_of_the_events() -> None:
    plan = LanePlan(SEQUENCES, EVERYBODY, 5, 4, seed=0, epoch=1)
    for window in (plan.window(number) for number in range(plan.num_windows)):
        at = window.alive
        assert (window.items[at] == SEQUENCES.item_rows[window.positions[at]]).all()
        assert (window.session_starts[at] == SEQUENCES.session_starts[window.positions[at]]).all()
        assert not (window.user_starts & ~window.session_starts).any()
        assert not window.session_starts[~at].any()


def test_ranks_share_out_whole_users_and_take_part_in_equally_many_windows() -> None:
    plans = [LanePlan(SEQUENCES, EVERYBODY, 9, 4, seed=1, epoch=2, rank=rank, world_size=3) for rank in range(3)]
    assert len({plan.num_windows for plan in plans}) == 1
    events = [{int(position) for number in range(plan.num_windows) for position in _alive(plan, number)} for plan in plans]
    assert sum(map(len, events)) == len(set().union(*events)) == SEQUENCES.num_events


def test_epochs_and_seeds_shuffle_users_and_the_same_ones_do_not() -> None:
    def first(seed: int, epoch: int) -> list[int]:
        rows: list[int] = LanePlan(SEQUENCES, EVERYBODY, 4, 8, seed=seed, epoch=epoch).window(0).items.tolist()
        return rows

    assert first(0, 0) == first(0, 0)
    assert first(0, 0) != first(0, 1)
    assert first(0, 0) != first(1, 0)


def test_truncated_histories_end_where_they_are_cut() -> None:
    cut = SEQUENCES.truncate(EVERYBODY, np.full(len(EVERYBODY), 2))
    plan = LanePlan(cut, EVERYBODY, 4, 8, seed=0, epoch=0)
    met = np.concatenate([_alive(plan, number) for number in range(plan.num_windows)])
    expected = [SEQUENCES.user_offsets[user] + step for user in EVERYBODY for step in range(cut.history_lengths[user])]
    assert sorted(met) == expected


def test_past_the_last_event_all_lanes_are_dead() -> None:
    plan = LanePlan(SEQUENCES, EVERYBODY, 4, 8, seed=0, epoch=0)
    assert plan.window(plan.num_windows).num_events == 0


def test_lanes_are_balanced_even_with_one_giant_history() -> None:
    lengths = np.concatenate([np.full(500, 10), [4_000], np.full(500, 10)]).astype(np.int64)
    lane = assign_lanes(lengths, 8)
    events = np.bincount(lane, weights=lengths, minlength=8)
    assert events.max() == 4_000  # the giant stands alone
    assert np.sort(events)[:-1].min() >= 10_000 / 7 - 20
    assert np.sort(events)[:-1].max() <= 10_000 / 7 + 20


def test_more_lanes_than_users_leave_lanes_empty() -> None:
    plan = LanePlan(sequences_of([[[0, 1, 2]]]), np.arange(1), 8, 2, seed=0, epoch=0)
    assert plan.num_windows == 2
    assert plan.num_events == 3


def _alive(plan: LanePlan, number: int) -> np.ndarray:
    window = plan.window(number)
    return window.positions[window.alive]
