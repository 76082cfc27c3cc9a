from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from small_sequences import random_histories, sequences_of

from hrnn.inference import replay as module
from hrnn.inference.replay import replay
from hrnn.layers.hierarchical_gru import Starts
from hrnn.models.hrnn import Hrnn, HrnnShape, Variant

HISTORIES = random_histories(15, 20)
SEQUENCES = sequences_of(HISTORIES)


def model_of(variant: Variant = "init") -> Hrnn:
    shape = HrnnShape(num_items=SEQUENCES.num_items, hidden_dimension=5, variant=variant)
    return Hrnn.initial(shape, SEQUENCES.item_counts(), seed=3)


@pytest.mark.parametrize("variant", ["init", "all"])
def test_replaying_many_users_at_once_equals_one_event_after_the_other(variant: Variant) -> None:
    model = model_of(variant)
    replayed = replay(model, SEQUENCES, np.arange(15))
    for user, history in enumerate(HISTORIES):
        session, known = torch.zeros(1, 5), torch.zeros(1, 5)
        for number, items in enumerate([*history, [0]]):
            for step, item in enumerate(items):
                first, new = np.asarray([[step == 0]]), np.asarray([[step == 0 and number == 0]])
                starts = Starts.of(first, new, session)
                before, session_after, user_after = model.states(model.item_table[None, None, item, :5], session, known, starts)
                if number == len(history):  # the next session's first event
                    torch.testing.assert_close(replayed.next_session[user], before[0, 0])
                    torch.testing.assert_close(replayed.same_session[user], session[0])
                session, known = session_after, user_after


def test_the_order_of_users_does_not_matter_and_long_histories_span_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = replay(model_of(), SEQUENCES, np.arange(15))
    monkeypatch.setattr(module, "_LANES", 4)
    monkeypatch.setattr(module, "_STEPS", 3)
    order = np.random.default_rng(0).permutation(15)
    shuffled = replay(model_of(), SEQUENCES, order)
    torch.testing.assert_close(shuffled.same_session, whole.same_session[order])
    torch.testing.assert_close(shuffled.next_session, whole.next_session[order])


@pytest.mark.parametrize(("longest", "newest"), [(5, [[4, 5], [6, 7, 8]]), (4, [[5], [6, 7, 8]])])
def test_of_a_long_history_the_newest_events_are_run_and_no_more(
    longest: int, newest: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, others = model_of(), HISTORIES[:3]
    wanted = replay(model, sequences_of([newest, *others], num_items=SEQUENCES.num_items), np.arange(4))
    steps: list[int] = []
    real = Hrnn.states

    def watched(*arguments: Any) -> Any:
        steps.append(len(arguments[1]))
        return real(*arguments)

    monkeypatch.setattr(Hrnn, "states", watched)
    monkeypatch.setattr(module, "_STEPS", 3)
    monkeypatch.setattr(module, "LONGEST", longest)
    long = [[1, 2, 3] * 1000, [4, 5], [6, 7, 8]]
    found = replay(model, sequences_of([long, *others], num_items=SEQUENCES.num_items), np.arange(4))
    torch.testing.assert_close(found.same_session[0], wanted.same_session[0])
    torch.testing.assert_close(found.next_session[0], wanted.next_session[0])
    assert sum(steps) <= longest + 3


def test_hidden_events_are_not_replayed() -> None:
    users, keep = np.arange(15), np.minimum(SEQUENCES.history_lengths, 2)
    short = sequences_of([[history[0][:2]] if len(history[0]) > 1 else [[history[0][0]], *[s[:1] for s in history[1:2]]]
                          for history in HISTORIES], num_items=SEQUENCES.num_items)  # fmt: skip
    cut = replay(model_of(), SEQUENCES.truncate(users, keep), users)
    torch.testing.assert_close(cut.same_session, replay(model_of(), short, users).same_session)


def test_a_user_without_events_is_as_at_the_start() -> None:
    model = model_of()
    nobody = SEQUENCES.truncate(np.asarray([4]), np.asarray([0]))
    replayed = replay(model, nobody, np.asarray([3, 4]))
    torch.testing.assert_close(replayed.same_session[1], torch.tanh(model.weights()[2].initial_bias))
    torch.testing.assert_close(replayed.next_session[1], replayed.same_session[1])
    assert not torch.equal(replayed.same_session[0], replayed.same_session[1])
