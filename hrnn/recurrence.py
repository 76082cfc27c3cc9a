"""The hierarchical recurrence over one window, with a hand-written backward pass.

Per lane there are a session state s and a user state u. Before event t:

    where a session starts:  u = GRU_user(input = last s, hidden = u), or 0 at a user's first event
                             s = tanh(u · initial_weight + initial_bias)
    p_t = s                                               the state that predicts event t
    s   = GRU_session(input = event t, hidden = p_t)      HRNN-All adds u · user_to_session to its input

GRU, for both:  r, z = sigmoid(a_r + h·U_r), sigmoid(a_z + h·U_z);  n = tanh(a_n + r ⊙ (h·U_n));  h' = h + z ⊙ (n - h)

The reset gate acts after the recurrent product, as in cuDNN: one product a step in place of two. Gradients flow
through the whole window,
session starts included, and stop at its edges. The user GRU is evaluated only in the lanes where a session starts.

A step is about ten small kernels; autograd would add as many nodes forward and twice as many backward. Here the
backward loop has three
kernels a step: everything that does not depend on the incoming gradient is computed for all steps at once beforehand.

Source: Quadrana et al. 2017, "Personalizing Session-based Recommendations with Hierarchical Recurrent Neural
Networks", eq. 3 to 7.
Deviations: the last event of a session is fed too; a user's first session starts at tanh(initial_bias), which is
learned, not at 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from hrnn.batching import Marks


class RecurrentWeights(NamedTuple):
    """Parameters of both GRUs, apart from the session GRU's input side. Gates stand in the order reset, update, candidate.

    Attributes:
        session_hidden: [H, 3H].
        user_input: [H, 3H], from the last session state.
        user_hidden: [H, 3H].
        user_bias: [3H].
        initial_weight: [H, H], user state to first session state.
        initial_bias: [H].
        user_to_session: [H, 3H] in HRNN-All, None in HRNN-Init.
    """

    session_hidden: Tensor
    user_input: Tensor
    user_hidden: Tensor
    user_bias: Tensor
    initial_weight: Tensor
    initial_bias: Tensor
    user_to_session: Tensor | None


@dataclass(frozen=True)
class Starts:
    """Where sessions start in a window, step after step.

    Attributes:
        counts: T numbers, how many sessions start at each step.
        lanes: int64 [starts].
        continues: [starts, 1], 1.0 where the user goes on, 0.0 at a user's first event.
    """

    counts: list[int]
    lanes: Tensor
    continues: Tensor

    @classmethod
    def of(cls, session_starts: Marks, user_starts: Marks, like: Tensor) -> Starts:
        """The starts of a window's marks [T, B], on the device and in the dtype of `like`."""
        steps, lanes = np.nonzero(session_starts)
        continues = torch.from_numpy(~user_starts[steps, lanes]).to(like.device, like.dtype).unsqueeze(1)
        return cls(session_starts.sum(1).tolist(), torch.from_numpy(lanes).to(like.device), continues)


def recur(
    inputs: Tensor, session: Tensor, user: Tensor, starts: Starts, weights: RecurrentWeights
) -> tuple[Tensor, Tensor, Tensor]:
    """Run one window.

    Args:
        inputs: [T, B, 3H], events' contribution to the session GRU's gates, bias included.
        session, user: [B, H], states carried in; no gradient flows to them.
        starts: Where sessions start.
        weights: Parameters.

    Returns:
        p [T, B, H], the states that predict each event, and the carried session and user states [B, H] (detached).
    """
    states, session, user = _Recurrence.apply(inputs, session, user, starts, *weights)  # type: ignore[no-untyped-call]
    return states, session, user


def begin_session(session: Tensor, user: Tensor, continues: Tensor, weights: RecurrentWeights) -> tuple[Tensor, Tensor]:
    """What a session start does, written plainly, for states outside of windows.

    Args:
        session: [B, H], after the last event.
        user: [B, H].
        continues: [B, 1], 0.0 for users without any event.
        weights: Parameters.

    Returns:
        The new user state and the state that predicts the session's first event, [B, H] each.
    """
    entering = session @ weights.user_input + weights.user_bias
    hidden = user @ weights.user_hidden
    (reset, update, candidate), (of_reset, of_update, of_candidate) = entering.chunk(3, dim=1), hidden.chunk(3, dim=1)
    gate = torch.sigmoid(update + of_update)
    proposed = torch.tanh(candidate + torch.sigmoid(reset + of_reset) * of_candidate)
    new_user = torch.lerp(user, proposed, gate) * continues
    return new_user, torch.tanh(new_user @ weights.initial_weight + weights.initial_bias)


class _Recurrence(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, session: Tensor, user: Tensor, starts: Starts, *flat: Tensor | None) -> Any:
        weights = RecurrentWeights(*flat)  # type: ignore[arg-type]
        steps, lanes, width = inputs.shape[0], inputs.shape[1], session.shape[1]
        states = inputs.new_empty(steps + 1, lanes, width)
        gates, products = torch.empty_like(inputs), torch.empty_like(inputs)
        states[0] = session
        entered_user, user = user, user.clone()
        extra = None if weights.user_to_session is None else user @ weights.user_to_session
        entering = inputs if extra is None else torch.empty_like(inputs)
        session_starts = _SessionStarts(starts, weights, inputs)
        # All views are made beforehand: a slice costs as much as the kernel that works on it.
        each_step = zip(
            inputs.unbind(), entering.unbind(), states.unbind(), states[1:].unbind(), products.unbind(),
            *(tensor[..., : 2 * width].unbind() for tensor in (entering, products, gates)),
            *(tensor[..., 2 * width :].unbind() for tensor in (entering, products, gates)),
            gates[..., :width].unbind(), gates[..., width : 2 * width].unbind(), strict=False,
        )  # fmt: skip
        for step, (x, a, state, after, h, a_rz, h_rz, rz, a_n, h_n, n, r, z) in enumerate(each_step):
            session_starts.enter(step, state, user, extra)
            if extra is not None:
                torch.add(x, extra, out=a)
            torch.mm(state, weights.session_hidden, out=h)
            torch.add(a_rz, h_rz, out=rz).sigmoid_()
            torch.addcmul(a_n, r, h_n, out=n).tanh_()
            torch.lerp(state, n, z, out=after)
        ctx.kept = states, gates, products, session_starts, entered_user
        ctx.weights = weights
        final = states[steps].clone()
        ctx.mark_non_differentiable(final, user)
        return states[:steps], final, user

    @staticmethod
    def backward(ctx: Any, grad_states: Tensor, _final: Tensor, _user: Tensor) -> Any:
        states, gates, products, session_starts, entered_user = ctx.kept
        weights: RecurrentWeights = ctx.weights
        steps, lanes, width = grad_states.shape
        before, blocks = states[:steps], (steps, lanes, 3, width)
        of_input = _gate_slopes(gates, before, products[..., 2 * width :]).view(blocks)
        of_hidden = of_input.clone()
        of_hidden[:, :, 2] *= gates[..., :width]
        stay = 1.0 - gates[..., width : 2 * width]
        grads = grad_states.new_zeros(steps + 1, lanes, width)  # of the states after each step; nothing flows in from later
        grad_products = torch.empty_like(of_hidden)
        grad_user = torch.zeros_like(grads[0])
        grad_extra = None if weights.user_to_session is None else torch.zeros_like(gates[0]).view(lanes, 3, width)
        back = weights.session_hidden.t().contiguous()
        session_starts.prepare_to_leave()
        each_step = zip(
            grads[1:].unbind(), grads[1:].unsqueeze(2).unbind(), grads.unbind(), grad_states.unbind(), stay.unbind(),
            of_hidden.unbind(), of_input.unbind(), grad_products.unbind(), grad_products.view(steps, lanes, -1).unbind(),
            strict=False,
        )  # fmt: skip
        for step, (grad, grad_blocks, earlier, told, kept, slopes, x_slopes, to_blocks, to_gates) in reversed(
            [*enumerate(each_step)]
        ):
            torch.mul(grad_blocks, slopes, out=to_blocks)
            torch.addcmul(told, grad, kept, out=earlier).addmm_(to_gates, back)
            if grad_extra is not None:
                grad_extra.addcmul_(grad_blocks, x_slopes)
            session_starts.leave(step, earlier, grad_user, grad_extra)
        grad_inputs = of_input.mul_(grads[1:].unsqueeze(2)).view(steps, lanes, 3 * width)
        grad_session_hidden = before.reshape(-1, width).t() @ grad_products.view(-1, 3 * width)
        return grad_inputs, None, None, None, grad_session_hidden, *session_starts.gradients(entered_user, grad_extra)


class _SessionStarts:
    """What happens where sessions start: the user GRU and the first session state, forward and backward."""

    def __init__(self, starts: Starts, weights: RecurrentWeights, like: Tensor) -> None:
        count, width = len(starts.lanes), weights.initial_bias.shape[0]
        self._starts, self._weights, self._width = starts, weights, width
        joined = like.new_zeros(2 * width, 4 * width)  # [last session state | user state] -> r, z, input's n, hidden's n
        joined[:width, : 3 * width] = weights.user_input
        joined[width:, : 2 * width] = weights.user_hidden[:, : 2 * width]
        joined[width:, 3 * width :] = weights.user_hidden[:, 2 * width :]
        self._joined, self._joined_back, self._initial_back = joined, joined.t(), weights.initial_weight.t()
        self._bias = torch.cat([weights.user_bias, like.new_zeros(width)])
        self._entering = like.new_empty(count, 2 * width)
        self._gates = like.new_empty(count, 4 * width)
        self._users = like.new_empty(count, width)
        self._firsts = like.new_empty(count, width)
        of_steps = zip(
            self._views(starts.lanes), self._views(starts.continues),
            self._views(self._entering), self._views(self._entering[:, :width]),
            self._views(self._entering[:, width:]), self._views(self._gates), self._views(self._gates[:, : 2 * width]),
            *(self._views(self._gates[:, block * width : (block + 1) * width]) for block in range(4)),
            self._views(self._users), self._views(self._firsts), strict=True,
        )  # fmt: skip
        self._of_steps = list(of_steps)

    def enter(self, step: int, state: Tensor, user: Tensor, extra: Tensor | None) -> None:
        """Replace `state`, `user` and `extra`, in place, in the lanes where a session starts."""
        if self._starts.counts[step] == 0:
            return
        at, continues, entering, last, known, gates, rz, r, z, n, h_n, users, firsts = self._of_steps[step]
        weights = self._weights
        torch.index_select(state, 0, at, out=last)
        torch.index_select(user, 0, at, out=known)
        torch.addmm(self._bias, entering, self._joined, out=gates)
        rz.sigmoid_()
        n.addcmul_(r, h_n).tanh_()
        torch.lerp(known, n, z, out=users).mul_(continues)
        torch.addmm(weights.initial_bias, users, weights.initial_weight, out=firsts).tanh_()
        user.index_copy_(0, at, users)
        state.index_copy_(0, at, firsts)
        if extra is not None and weights.user_to_session is not None:
            extra.index_copy_(0, at, users @ weights.user_to_session)

    def prepare_to_leave(self) -> None:
        """Compute everything of the backward pass that needs no gradient, for all starts at once."""
        width = self._width
        gates, hidden_candidate = self._gates[:, : 3 * width], self._gates[:, 3 * width :]
        slopes = _gate_slopes(gates, self._entering[:, width:], hidden_candidate)
        slopes = torch.cat([slopes, slopes[:, 2 * width :] * gates[:, :width]], dim=1).view(-1, 4, width)
        stay = 1.0 - gates[:, width : 2 * width]
        first_slopes = 1.0 - self._firsts * self._firsts
        self._grad_firsts = torch.empty_like(self._firsts)
        self._grad_gates = torch.empty_like(slopes)
        self._grad_extras = torch.empty_like(gates)
        self._grad_users = torch.empty_like(self._users)
        back_of_steps = zip(
            self._views(self._starts.lanes), self._views(self._starts.continues), self._views(slopes), self._views(stay),
            self._views(first_slopes), self._views(self._grad_firsts), self._views(self._grad_users),
            self._views(self._grad_users.unsqueeze(1)), self._views(self._grad_gates),
            self._views(self._grad_gates.view(-1, 4 * width)), self._views(self._grad_extras), strict=True,
        )  # fmt: skip
        self._back_of_steps = list(back_of_steps)

    def leave(self, step: int, grad_state: Tensor, grad_user: Tensor, grad_extra: Tensor | None) -> None:
        """Take gradients back across the starts of a step: `enter` in reverse, in place in the same lanes."""
        if self._starts.counts[step] == 0:
            return
        at, continues, slopes, stay, first_slopes, of_first, of_user, user_blocks, blocks, gates, extras = self._back_of_steps[
            step
        ]
        torch.mul(grad_state.index_select(0, at), first_slopes, out=of_first)
        torch.addmm(grad_user.index_select(0, at), of_first, self._initial_back, out=of_user)
        if grad_extra is not None and self._weights.user_to_session is not None:
            extras.copy_(grad_extra.index_select(0, at).flatten(1))
            of_user.addmm_(extras, self._weights.user_to_session.t())
            grad_extra.index_fill_(0, at, 0.0)
        of_user.mul_(continues)
        torch.mul(user_blocks, slopes, out=blocks)
        earlier = gates @ self._joined_back
        grad_state.index_copy_(0, at, earlier[:, : self._width])
        grad_user.index_copy_(0, at, torch.addcmul(earlier[:, self._width :], of_user, stay))

    def gradients(self, entered_user: Tensor, grad_extra: Tensor | None) -> tuple[Tensor | None, ...]:
        """Gradients of user_input, user_hidden, user_bias, initial_weight, initial_bias, user_to_session."""
        width = self._width
        grad_gates = self._grad_gates.view(-1, 4 * width)
        joined = self._entering.t() @ grad_gates
        user_hidden = torch.cat([joined[width:, : 2 * width], joined[width:, 3 * width :]], dim=1)
        user_to_session = None
        if grad_extra is not None:
            user_to_session = torch.addmm(entered_user.t() @ grad_extra.flatten(1), self._users.t(), self._grad_extras)
        return (
            joined[:width, : 3 * width],
            user_hidden,
            grad_gates[:, : 3 * width].sum(0),
            self._users.t() @ self._grad_firsts,
            self._grad_firsts.sum(0),
            user_to_session,
        )

    def _views(self, values: Tensor) -> tuple[Tensor, ...]:
        """Each step's rows."""
        return torch.split(values, self._starts.counts)


def _gate_slopes(gates: Tensor, state: Tensor, hidden_candidate: Tensor) -> Tensor:
    """d(new state)/d(input side of r, z, n), elementwise: [..., 3H] of gates [..., 3H] and the states before [..., H]."""
    reset, update, candidate = gates.chunk(3, dim=-1)
    of_candidate = update * (1.0 - candidate * candidate)
    of_update = (candidate - state) * update * (1.0 - update)
    of_reset = of_candidate * hidden_candidate * reset * (1.0 - reset)
    return torch.cat([of_reset, of_update, of_candidate], dim=-1)
