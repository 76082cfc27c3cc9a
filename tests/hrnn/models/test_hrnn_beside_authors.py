from __future__ import annotations

import math
from itertools import pairwise
from typing import Literal

import numpy as np
import pytest
import torch
from hgru4rec import AuthorsSettings, HGru4Rec, authors_loss, steps
from small_sequences import random_histories, sequences_of
from torch import Tensor

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
@pytest.mark.parametrize(("session_layers", "user_layers"), [((5,), (5,)), ((5, 4), (3,)), ((4,), (5, 3)), ((6, 5, 3), (4, 2))])
def test_training_in_lanes_equals_a_plain_loop(
    variant: Literal["init", "all"],
    user_in_candidate: bool,
    loss: Literal["top1", "cross_entropy"],
    session_layers: tuple[int, ...],
    user_layers: tuple[int, ...],
) -> None:
    settings = AuthorsSettings(
        session_layers=session_layers, user_layers=user_layers, num_lanes=4, variant=variant, loss=loss, momentum=0.0,
        session_dropout=0.0, user_in_candidate=user_in_candidate, drop_tail=False,
    )  # fmt: skip
    ours = HGru4Rec(SEQUENCES.num_items, settings, torch.float64)
    plain = {name: value.clone() for name, value in (ours.tables | ours.dense).items()}
    ours.train_epoch(SEQUENCES, USERS)
    plain_epoch(plain, settings)
    for name, value in (ours.tables | ours.dense).items():
        torch.testing.assert_close(value, plain[name], atol=1e-5, rtol=0)


def plain_epoch(parameters: dict[str, Tensor], settings: AuthorsSettings) -> None:
    """One lane at a time, whole tables, states by user: the formulas of the paper, written as they stand."""
    accumulated = {name: torch.zeros_like(value) for name, value in parameters.items()}
    no_session, no_user = (
        [torch.zeros(width, dtype=torch.float64) for width in widths]
        for widths in (settings.session_layers, settings.user_layers)
    )
    sessions, users = [no_session] * settings.num_lanes, [no_user] * settings.num_lanes
    for step in steps(SEQUENCES, USERS, settings.num_lanes, drop_tail=False):
        learnt = {name: value.clone().requires_grad_() for name, value in parameters.items()}
        states = []
        for place, lane in enumerate(step.lanes):
            session, user = [layer.detach() for layer in sessions[lane]], [layer.detach() for layer in users[lane]]
            if step.user_starts[place]:
                session, user = list(no_session), list(no_user)
            elif step.session_starts[place]:
                entering = session[-1]
                for layer in range(len(user)):
                    user[layer] = entering = layer_of(learnt, f"user.{layer}", entering, user[layer])
                session[0] = torch.tanh(user[-1] @ learnt["initial_weight"] + learnt["initial_bias"])
            entering = learnt["input"][step.items[place]] + learnt["session.0.bias"]
            if settings.variant == "all":
                width = settings.session_layers[0]
                candidate, gates = (user[-1] @ learnt["user_to_session"]).split([width, 2 * width])
                entering = entering + torch.cat([candidate if settings.user_in_candidate else candidate * 0, gates])
            session[0] = gru(entering, session[0], learnt["session.0.hidden"])
            for layer in range(1, len(session)):
                session[layer] = layer_of(learnt, f"session.{layer}", session[layer - 1], session[layer])
            sessions[lane], users[lane] = session, user
            states.append(session[-1])
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


def layer_of(learnt: dict[str, Tensor], name: str, below: Tensor, hidden: Tensor) -> Tensor:
    return gru(below @ learnt[f"{name}.input"] + learnt[f"{name}.bias"], hidden, learnt[f"{name}.hidden"])


def gru(entering: Tensor, hidden: Tensor, weight: Tensor) -> Tensor:
    width = len(hidden)
    reset = torch.sigmoid(entering[width : 2 * width] + hidden @ weight[:, width : 2 * width])
    update = torch.sigmoid(entering[2 * width :] + hidden @ weight[:, 2 * width :])
    candidate = torch.tanh(entering[:width] + (reset * hidden) @ weight[:, :width])
    return (1 - update) * hidden + update * candidate


def test_dropout_is_carried_and_repeatable() -> None:
    settings = AuthorsSettings(
        session_layers=(6, 5), user_layers=(5, 4), num_lanes=4, user_dropout=0.2, session_dropout=0.3, initial_dropout=0.2
    )
    one, other = HGru4Rec(SEQUENCES.num_items, settings), HGru4Rec(SEQUENCES.num_items, settings)
    assert one.train_epoch(SEQUENCES, USERS) == other.train_epoch(SEQUENCES, USERS)
    assert torch.equal(one.tables["output"], other.tables["output"])
    assert all((layer == 0).any() for layer in (*one.session, *one.user))


@pytest.mark.parametrize(("session_layers", "user_layers"), [((16,), (16,)), ((16, 12), (10, 8))])
def test_the_authors_model_learns(session_layers: tuple[int, ...], user_layers: tuple[int, ...]) -> None:
    settings = AuthorsSettings(
        session_layers=session_layers, user_layers=user_layers, num_lanes=4, session_dropout=0.0, drop_tail=False
    )
    model = HGru4Rec(SEQUENCES.num_items, settings)
    losses = [model.train_epoch(SEQUENCES, USERS) for _ in range(10)]
    assert losses[-1] < losses[0]
