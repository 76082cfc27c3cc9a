from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from hrnn.layers.hierarchical_gru import RecurrentWeights, Starts, begin_session, recur

STEPS, LANES, WIDTH = 7, 4, 3


def weights_of(variant: str, seed: int = 0) -> RecurrentWeights:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64, requires_grad=True)

    square, gates = (WIDTH, WIDTH), (WIDTH, 3 * WIDTH)
    extra = draw(*gates) if variant == "all" else None
    return RecurrentWeights(draw(*gates), draw(*gates), draw(*gates), draw(3 * WIDTH), draw(*square), draw(WIDTH), extra)


def marks(seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    session = random.random((STEPS, LANES)) < 0.4
    return session, session & (random.random((STEPS, LANES)) < 0.4)


def gru(entering: Tensor, hidden: Tensor, weight: Tensor) -> Tensor:
    product = hidden @ weight
    reset = torch.sigmoid(entering[:WIDTH] + product[:WIDTH])
    update = torch.sigmoid(entering[WIDTH : 2 * WIDTH] + product[WIDTH : 2 * WIDTH])
    candidate = torch.tanh(entering[2 * WIDTH :] + reset * product[2 * WIDTH :])
    return (1 - update) * hidden + update * candidate


def plain_loop(
    inputs: Tensor,
    session: Tensor,
    user: Tensor,
    session_starts: np.ndarray,
    user_starts: np.ndarray,
    weights: RecurrentWeights,
) -> tuple[Tensor, Tensor, Tensor]:
    """One lane and one step at a time, as the module's text says it."""
    sessions, users = list(session.unbind()), list(user.unbind())
    before = []
    for step in range(len(inputs)):
        for lane in range(inputs.shape[1]):
            if session_starts[step, lane]:
                entering = sessions[lane] @ weights.user_input + weights.user_bias
                users[lane] = gru(entering, users[lane], weights.user_hidden)
                if user_starts[step, lane]:
                    users[lane] = torch.zeros_like(users[lane])
                sessions[lane] = torch.tanh(users[lane] @ weights.initial_weight + weights.initial_bias)
            before.append(sessions[lane])
            entering = inputs[step, lane]
            if weights.user_to_session is not None:
                entering = entering + users[lane] @ weights.user_to_session
            sessions[lane] = gru(entering, sessions[lane], weights.session_hidden)
    return torch.stack(before).view(len(inputs), -1, WIDTH), torch.stack(sessions), torch.stack(users)


def some_inputs(seed: int = 1, steps: int = STEPS) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(steps, LANES, 3 * WIDTH, generator=generator, dtype=torch.float64, requires_grad=True)
    session = torch.randn(LANES, WIDTH, generator=generator, dtype=torch.float64)
    return inputs, session, torch.randn(LANES, WIDTH, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("variant", ["init", "all"])
@pytest.mark.parametrize("seed", range(3))
def test_a_window_equals_the_plain_loop_in_values_and_gradients(variant: str, seed: int) -> None:
    weights, (session_starts, user_starts) = weights_of(variant, seed), marks(seed)
    inputs, session, user = some_inputs(seed)
    ours = recur(inputs, session, user, Starts.of(session_starts, user_starts, inputs), weights)
    theirs = plain_loop(inputs, session, user, session_starts, user_starts, weights)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, atol=1e-12, rtol=0)
    learnt = [inputs, *(weight for weight in weights if weight is not None)]
    back = torch.randn(ours[0].shape, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    mine = torch.autograd.grad(ours[0], learnt, back)
    plain = torch.autograd.grad(theirs[0], learnt, back, allow_unused=True)
    for one, other in zip(mine, plain, strict=True):
        torch.testing.assert_close(one, torch.zeros_like(one) if other is None else other, atol=1e-10, rtol=0)


@pytest.mark.parametrize("variant", ["init", "all"])
def test_gradients_agree_with_finite_differences(variant: str) -> None:
    weights, (session_starts, user_starts) = weights_of(variant), marks(5)
    inputs, session, user = some_inputs()
    starts = Starts.of(session_starts, user_starts, inputs)
    present = [weight for weight in weights if weight is not None]
    assert torch.autograd.gradcheck(lambda x, *flat: recur(x, session, user, starts, of(flat))[0], (inputs, *present))


def of(flat: tuple[Tensor, ...]) -> RecurrentWeights:
    return RecurrentWeights(*flat, *([None] * (7 - len(flat))))


@pytest.mark.parametrize("variant", ["init", "all"])
def test_two_windows_in_a_row_give_the_states_of_one_long_window(variant: str) -> None:
    weights, (session_starts, user_starts) = weights_of(variant), marks(2)
    inputs, session, user = some_inputs()
    whole = recur(inputs, session, user, Starts.of(session_starts, user_starts, inputs), weights)
    cut, parts = 3, []
    for part in (slice(0, cut), slice(cut, STEPS)):
        starts = Starts.of(session_starts[part], user_starts[part], inputs)
        states, session, user = recur(inputs[part], session, user, starts, weights)
        parts.append(states)
    torch.testing.assert_close(torch.cat(parts), whole[0])
    torch.testing.assert_close(session, whole[1])
    torch.testing.assert_close(user, whole[2])


def test_only_the_lane_whose_session_starts_is_reset() -> None:
    weights = weights_of("init")
    inputs, session, user = some_inputs()
    never = np.zeros((STEPS, LANES), dtype=np.bool_)
    once = never.copy()
    once[3, 2] = True
    without = recur(inputs, session, user, Starts.of(never, never, inputs), weights)
    with_start = recur(inputs, session, user, Starts.of(once, never, inputs), weights)
    differs = (without[0] != with_start[0]).any(dim=2)
    assert differs.tolist() == [[lane == 2 and step >= 3 for lane in range(LANES)] for step in range(STEPS)]
    assert (without[2] != with_start[2]).any(dim=1).tolist() == [False, False, True, False]


def test_a_new_user_starts_from_nothing_the_lane_held_before() -> None:
    weights = weights_of("all")
    inputs, session, user = some_inputs()
    starts = np.zeros((STEPS, LANES), dtype=np.bool_)
    starts[2] = True
    one = recur(inputs, session, user, Starts.of(starts, starts, inputs), weights)
    other = recur(inputs, session + 1, user - 1, Starts.of(starts, starts, inputs), weights)
    assert not torch.equal(one[0][:2], other[0][:2])
    assert torch.equal(one[0][2:], other[0][2:])
    torch.testing.assert_close(one[0][2], torch.tanh(weights.initial_bias).expand(LANES, WIDTH))


def test_no_gradient_flows_to_the_states_carried_in() -> None:
    weights = weights_of("init")
    inputs, session, user = some_inputs()
    session.requires_grad_()
    user.requires_grad_()
    states, *_ = recur(inputs, session, user, Starts.of(*marks(0), inputs), weights)
    torch.autograd.backward(states.sum())
    assert session.grad is None
    assert user.grad is None


def test_a_session_begun_outside_a_window_is_the_same() -> None:
    weights = weights_of("init")
    inputs, session, user = some_inputs()
    starts = np.zeros((STEPS, LANES), dtype=np.bool_)
    starts[0] = True
    fresh = np.zeros_like(starts)
    fresh[0, 1] = True
    states, *_ = recur(inputs, session, user, Starts.of(starts, fresh, inputs), weights)
    continues = torch.tensor([[1.0], [0.0], [1.0], [1.0]], dtype=torch.float64)
    torch.testing.assert_close(begin_session(session, user, continues, weights)[1], states[0])
