from __future__ import annotations

import math
from itertools import pairwise
from typing import Literal

import numpy as np
import pytest
import torch
from small_sequences import random_histories, sequences_of
from torch import Tensor

from hrnn.models.hgru4rec import AuthorsSettings, HGru4Rec, authors_loss, steps

HISTORIES = random_histories(14, 20, seed=4)
SEQUENCES = sequences_of(HISTORIES)
USERS = np.arange(len(HISTORIES))
PAIRS = sorted(pair for history in HISTORIES for session in history for pair in pairwise(session))


def test_drained_lanes_meet_every_pair_of_neighbours_once() -> None:
    met = [pair for step in steps(SEQUENCES, USERS, 4, drop_tail=False) for pair in zip(step.items, step.targets, strict=True)]
    assert sorted(met) == PAIRS


def test_the_authors_epoch_ends_when_no_user_is_left_to_load() -> None:
    met = [pair for step in steps(SEQUENCES, USERS, 4, drop_tail=True) for pair in zip(step.items, step.targets, strict=True)]
    assert 0 < len(met) < len(PAIRS)


def test_lanes_hold_users_in_order_and_mark_starts_for_one_step() -> None:
    sequences = sequences_of([[[0, 1, 2], [3], [4, 5]], [[6, 7]], [[8, 9]]])
    seen = [
        (step.lanes.tolist(), step.items.tolist(), step.session_starts.tolist(), step.user_starts.tolist())
        for step in steps(sequences, np.arange(3), 2, drop_tail=False)
    ]
    assert seen == [
        ([0, 1], [0, 6], [True, True], [True, True]),
        ([0, 1], [1, 8], [False, True], [False, True]),
        ([0], [4], [True], [False]),
    ]


def test_top1_on_three_lanes_is_its_closed_form() -> None:
    scores = torch.tensor([[0.3, -0.2, 0.9], [0.1, 1.4, -0.5], [0.0, 0.7, -0.6]], dtype=torch.float64)
    squashed = scores.tanh().tolist()

    def sigmoid(value: float) -> float:
        return 1 / (1 + math.exp(-value))

    expected = 0.0
    for row, values in enumerate(squashed):
        own = values[row]
        expected += sum(sigmoid(value - own) + sigmoid(value * value) for value in values) / 3 - sigmoid(own * own) / 5
    assert float(authors_loss("top1", scores, 5)) == pytest.approx(expected / 3)


@pytest.mark.parametrize("variant", ["init", "all"])
@pytest.mark.parametrize("user_in_candidate", [False, True])
@pytest.mark.parametrize("loss", ["top1", "cross_entropy"])
def test_training_in_lanes_equals_a_plain_loop(
    variant: Literal["init", "all"], user_in_candidate: bool, loss: Literal["top1", "cross_entropy"]
) -> None:
    settings = AuthorsSettings(
        hidden_dimension=5, num_lanes=4, variant=variant, loss=loss, momentum=0.0, session_dropout=0.0,
        user_in_candidate=user_in_candidate, drop_tail=False,
    )  # fmt: skip
    ours = HGru4Rec(SEQUENCES.num_items, settings, torch.float64)
    plain = {name: value.clone() for name, value in (ours.tables | ours.dense).items()}
    ours.train_epoch(SEQUENCES, USERS)
    plain_epoch(plain, settings)
    for name, value in (ours.tables | ours.dense).items():
        torch.testing.assert_close(value, plain[name], atol=1e-5, rtol=0)


def plain_epoch(parameters: dict[str, Tensor], settings: AuthorsSettings) -> None:
    """One lane at a time, whole tables, states by user: the formulas of the paper, written as they stand."""
    width = settings.hidden_dimension
    accumulated = {name: torch.zeros_like(value) for name, value in parameters.items()}
    zero = torch.zeros(width, dtype=torch.float64)
    sessions, users = [zero] * settings.num_lanes, [zero] * settings.num_lanes
    for step in steps(SEQUENCES, USERS, settings.num_lanes, drop_tail=False):
        learnt = {name: value.clone().requires_grad_() for name, value in parameters.items()}
        states = []
        for place, lane in enumerate(step.lanes):
            session, user = sessions[lane].detach(), users[lane].detach()
            if step.user_starts[place]:
                session, user = zero, zero
            elif step.session_starts[place]:
                user = gru(session @ learnt["user_input"] + learnt["user_bias"], user, learnt["user_hidden"])
                session = torch.tanh(user @ learnt["initial_weight"] + learnt["initial_bias"])
            entering = learnt["input"][step.items[place]] + learnt["session_bias"]
            if settings.variant == "all":
                candidate, gates = (user @ learnt["user_to_session"]).split([width, 2 * width])
                entering = entering + torch.cat([candidate if settings.user_in_candidate else candidate * 0, gates])
            sessions[lane], users[lane] = gru(entering, session, learnt["session_hidden"]), user
            states.append(sessions[lane])
        if len(states) < 2:
            continue
        outputs = learnt["output"][step.targets]
        scores = torch.stack([torch.stack([state @ output[:-1] + output[-1] for output in outputs]) for state in states])
        loss = authors_loss(settings.loss, scores, settings.num_lanes)
        grads = torch.autograd.grad(loss, list(learnt.values()), allow_unused=True)
        for name, grad in zip(learnt, grads, strict=True):
            if grad is not None:
                accumulated[name] += grad**2
                parameters[name] -= settings.learning_rate * grad / torch.sqrt(accumulated[name] + 1e-6)


def gru(entering: Tensor, hidden: Tensor, weight: Tensor) -> Tensor:
    width = len(hidden)
    reset = torch.sigmoid(entering[width : 2 * width] + hidden @ weight[:, width : 2 * width])
    update = torch.sigmoid(entering[2 * width :] + hidden @ weight[:, 2 * width :])
    candidate = torch.tanh(entering[:width] + (reset * hidden) @ weight[:, :width])
    return (1 - update) * hidden + update * candidate


def test_dropout_is_carried_and_repeatable() -> None:
    settings = AuthorsSettings(hidden_dimension=5, num_lanes=4, user_dropout=0.2, session_dropout=0.3, initial_dropout=0.2)
    one, other = HGru4Rec(SEQUENCES.num_items, settings), HGru4Rec(SEQUENCES.num_items, settings)
    assert one.train_epoch(SEQUENCES, USERS) == other.train_epoch(SEQUENCES, USERS)
    assert torch.equal(one.tables["output"], other.tables["output"])
    assert (one.session == 0).any()


def test_the_authors_model_learns() -> None:
    model = HGru4Rec(
        SEQUENCES.num_items, AuthorsSettings(hidden_dimension=16, num_lanes=4, session_dropout=0.0, drop_tail=False)
    )
    losses = [model.train_epoch(SEQUENCES, USERS) for _ in range(10)]
    assert losses[-1] < losses[0]
