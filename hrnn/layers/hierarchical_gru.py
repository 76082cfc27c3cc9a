"""Hierarchical GRU over one window, with a hand-written backward pass.

Per lane there are a session state s and a user state u. Before event t:

    where a session starts:  u = GRU_user(input = last s, hidden = u), or 0 at a user's first event
                             s = tanh(u · initial_weight + initial_bias)
    p_t = s                                               the state before event t, which predicts it
    s   = GRU_session(input = event t, hidden = p_t)      HRNN-All adds u · user_to_session to its input

GRU, for both:  r, z = sigmoid(a_r + h·U_r), sigmoid(a_z + h·U_z);  n = tanh(a_n + r ⊙ (h·U_n));  h' = h + z ⊙ (n - h)

The reset gate acts after the recurrent product, as in cuDNN: one product a step in place of two. Gradients flow through the
whole window, session starts included, and stop at its edges. The user GRU is evaluated only in the lanes where a known user
starts a session (hrnn/layers/session_starts.py).

A step is about ten small kernels; autograd would add as many nodes forward and twice as many backward. Here the backward loop
has three kernels a step: everything that does not depend on the incoming gradient is computed for all steps at once beforehand.

Source: Quadrana et al. 2017, "Personalizing Session-based Recommendations with Hierarchical Recurrent Neural
Networks", eq. 3 to 7.
Deviations: the last event of a session is fed too; a user's first session starts at tanh(initial_bias), which is
learned, not at 0.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hrnn.layers.products import weight_gradient
from hrnn.layers.session_starts import RecurrentWeights, SessionStarts, Starts, gate_slopes

__all__ = ["RecurrentWeights", "Starts", "begin_session", "recur"]


def recur(
    inputs: Tensor, session: Tensor, user: Tensor, starts: Starts, weights: RecurrentWeights
) -> tuple[Tensor, Tensor, Tensor]:
    """Hidden states over one window.

    Args:
        inputs: [T, B, 3H], input side of the session GRU's gates, bias included.
        session, user: [B, H], states before the window; no gradient flows to them.
        starts: Where sessions start.
        weights: Parameters.

    Returns:
        p [T, B, H], the states before each event, and the session and user states after the window [B, H] (detached).
    """
    states, session, user = _Recurrence.apply(inputs, session, user, starts, *weights)  # type: ignore[no-untyped-call]
    return states, session, user


def begin_session(session: Tensor, user: Tensor, continues: Tensor, weights: RecurrentWeights) -> tuple[Tensor, Tensor]:
    """User state and initial session state of a new session, for states outside of windows.

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
        states = inputs.new_empty(steps + 1, lanes, width)  # before each event, and after the last one
        gates, products = torch.empty_like(inputs), torch.empty_like(inputs)
        states[0] = session
        entered_user, user = user, user.clone()  # session starts change `user` in place
        extra = None if weights.user_to_session is None else user @ weights.user_to_session
        entering = inputs if extra is None else torch.empty_like(inputs)
        session_starts = SessionStarts(starts, weights, inputs)
        # All views are made beforehand, as in SessionStarts. Before a step's GRU, session starts replace states in their lanes.
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
        ctx.mark_non_differentiable(final, user)  # carried to the next window: gradients stop at its edge (truncated BPTT)
        return states[:steps], final, user

    @staticmethod
    def backward(ctx: Any, grad_states: Tensor, _final: Tensor, _user: Tensor) -> Any:
        states, gates, products, session_starts, entered_user = ctx.kept
        weights: RecurrentWeights = ctx.weights
        steps, lanes, width = grad_states.shape
        before, blocks = states[:steps], (steps, lanes, 3, width)
        grad_inputs = torch.empty_like(gates)  # holds their slopes until the gradients are known
        gate_slopes(gates, before, products[..., 2 * width :], out=grad_inputs)
        of_input = grad_inputs.view(blocks)
        of_hidden = of_input.clone()
        of_hidden[:, :, 2] *= gates[..., :width]  # the candidate's hidden side stands behind the reset gate
        stay = 1.0 - gates[..., width : 2 * width]
        grads = grad_states.new_zeros(steps + 1, lanes, width)  # of the states after each step; nothing flows in from later
        grad_products = torch.empty_like(of_hidden)
        grad_user = torch.zeros_like(grads[0])
        grad_extra = None if weights.user_to_session is None else torch.zeros_like(gates[0]).view(lanes, 3, width)
        back = weights.session_hidden.t().contiguous()
        session_starts.prepare_to_leave()
        # Backward through time: h' = h + z ⊙ (n - h), so a gradient goes straight back by 1 - z, and by the gates' slopes times
        # the recurrent weight.
        each_step = zip(
            grads[1:].unbind(), grads[1:].unsqueeze(2).unbind(), grads.unbind(), grad_states.unbind(), stay.unbind(),
            of_hidden.unbind(), of_input.unbind(), grad_products.unbind(), grad_products.view(steps, lanes, -1).unbind(),
            strict=False,
        )  # fmt: skip
        for step, (grad, grad_blocks, earlier, from_output, kept, slopes, x_slopes, to_blocks, to_gates) in reversed(
            [*enumerate(each_step)]
        ):
            torch.mul(grad_blocks, slopes, out=to_blocks)
            torch.addcmul(from_output, grad, kept, out=earlier).addmm_(to_gates, back)
            if grad_extra is not None:  # summed over the steps of a session, for which the user state is one
                grad_extra.addcmul_(grad_blocks, x_slopes)
            session_starts.leave(step, earlier, grad_user, grad_extra)
        of_input.mul_(grads[1:].unsqueeze(2))
        grad_session_hidden = weight_gradient(before.reshape(-1, width), grad_products.view(-1, 3 * width))
        return grad_inputs, None, None, None, grad_session_hidden, *session_starts.gradients(entered_user, grad_extra)
