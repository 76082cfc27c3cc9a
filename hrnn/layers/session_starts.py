"""Session starts of the hierarchical GRU, computed only in the lanes where one is: forward and hand-written backward.

See hrnn/layers/hierarchical_gru.py for the formulas.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from hrnn.data.arrays import Flags
from hrnn.layers.products import weight_gradient


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
    """Session starts of a window, step by step; within a step, known users come before new ones.

    Attributes:
        counts: T numbers of session starts, one a step.
        known_counts: T numbers of those that are not their user's first.
        lanes: int64 [starts].
        known_lanes: int64, those of known users.
    """

    counts: list[int]
    known_counts: list[int]
    lanes: Tensor
    known_lanes: Tensor

    @classmethod
    def of(cls, session_starts: Flags, user_starts: Flags, like: Tensor) -> Starts:
        """Session starts from a window's flags [T, B], on the device of `like`."""
        steps, lanes = np.nonzero(session_starts)
        new = user_starts[steps, lanes]
        # Step by step, known users first: their rows are then the head of each step's, a view and no gather.
        ordered, known = torch.from_numpy(lanes[np.lexsort((new, steps))]), torch.from_numpy(lanes[~new])
        known_counts = (session_starts & ~user_starts).sum(1).tolist()
        return cls(session_starts.sum(1).tolist(), known_counts, ordered.to(like.device), known.to(like.device))


class SessionStarts:
    """User GRU and initial session state: `enter` is its forward pass; backward are `prepare_to_leave`, `leave`, `gradients`.

    A new user's user state is 0: only those of known users pass through the user GRU.
    """

    def __init__(self, starts: Starts, weights: RecurrentWeights, like: Tensor) -> None:
        known, width = len(starts.known_lanes), weights.initial_bias.shape[0]
        self._starts, self._weights, self._width = starts, weights, width
        # One product for both sides of the gates: [last session state | user state] -> r, z, input's n, hidden's n. These two
        # stay apart, with zeros in their other halves, since the reset gate multiplies the hidden side alone.
        joined = like.new_zeros(2 * width, 4 * width)
        joined[:width, : 3 * width] = weights.user_input
        joined[width:, : 2 * width] = weights.user_hidden[:, : 2 * width]
        joined[width:, 3 * width :] = weights.user_hidden[:, 2 * width :]
        self._joined, self._joined_back, self._initial_back = joined, joined.t(), weights.initial_weight.t()
        self._bias = torch.cat([weights.user_bias, like.new_zeros(width)])
        self._entering, self._gates = like.new_empty(known, 2 * width), like.new_empty(known, 4 * width)
        self._users = like.new_zeros(len(starts.lanes), width)  # new users' rows stay 0
        self._firsts = torch.empty_like(self._users)
        # All views are made beforehand: a slice costs as much as the kernel that works on it.
        self._all = list(zip(*map(self._views, (starts.lanes, self._users, self._firsts)), strict=True))
        blocks = [self._gates[:, block * width : (block + 1) * width] for block in range(4)]
        sides = self._entering[:, :width], self._entering[:, width:]
        of_known = starts.known_lanes, self._entering, *sides, self._gates, self._gates[:, : 2 * width], *blocks
        self._known = list(zip(*map(self._known_views, of_known), self._heads(self._users), strict=True))

    def enter(self, step: int, state: Tensor, user: Tensor, extra: Tensor | None) -> None:
        """Replace `state`, `user` and `extra`, in place, in the lanes where a session starts."""
        if self._starts.counts[step] == 0:
            return
        at, users, firsts = self._all[step]
        weights = self._weights
        if self._starts.known_counts[step]:
            known_at, entering, last, known, gates, rz, r, z, n, h_n, moved = self._known[step]
            torch.index_select(state, 0, known_at, out=last)
            torch.index_select(user, 0, known_at, out=known)
            torch.addmm(self._bias, entering, self._joined, out=gates)
            rz.sigmoid_()
            n.addcmul_(r, h_n).tanh_()
            torch.lerp(known, n, z, out=moved)
        torch.addmm(weights.initial_bias, users, weights.initial_weight, out=firsts).tanh_()
        user.index_copy_(0, at, users)
        state.index_copy_(0, at, firsts)
        if extra is not None and weights.user_to_session is not None:
            extra.index_copy_(0, at, users @ weights.user_to_session)

    def prepare_to_leave(self) -> None:
        """Compute all of the backward pass that needs no incoming gradient, for all starts at once."""
        width, gates = self._width, self._gates
        slopes = torch.empty_like(gates)
        gate_slopes(gates[:, : 3 * width], self._entering[:, width:], gates[:, 3 * width :], out=slopes[:, : 3 * width])
        torch.mul(slopes[:, 2 * width : 3 * width], gates[:, :width], out=slopes[:, 3 * width :])
        stay = 1.0 - gates[:, width : 2 * width]
        first_slopes = 1.0 - self._firsts * self._firsts
        self._grad_firsts, self._grad_gates = torch.empty_like(first_slopes), torch.empty_like(slopes)
        self._grad_extras = gates.new_empty(len(first_slopes), 0 if self._weights.user_to_session is None else 3 * width)
        grad_users = torch.empty_like(first_slopes)
        earlier = gates.new_zeros(len(first_slopes), 2 * width)  # of the states before; nothing goes back through a new user
        of_all = first_slopes, self._grad_firsts, grad_users, self._grad_extras, earlier[:, :width], earlier[:, width:]
        self._back_all = list(zip(*map(self._views, (self._starts.lanes, *of_all)), strict=True))
        of_known = slopes.view(-1, 4, width), stay, self._grad_gates.view(-1, 4, width), self._grad_gates
        heads = map(self._heads, (grad_users, grad_users.unsqueeze(1), earlier, earlier[:, width:]))
        self._back_known = list(zip(*map(self._known_views, of_known), *heads, strict=True))

    def leave(self, step: int, grad_state: Tensor, grad_user: Tensor, grad_extra: Tensor | None) -> None:
        """Backpropagate across the starts of a step: the reverse of `enter`, in place in the same lanes."""
        if self._starts.counts[step] == 0:
            return
        at, first_slopes, of_first, of_user, extras, earlier_state, earlier_user = self._back_all[step]
        torch.mul(grad_state.index_select(0, at), first_slopes, out=of_first)
        torch.addmm(grad_user.index_select(0, at), of_first, self._initial_back, out=of_user)
        if grad_extra is not None and self._weights.user_to_session is not None:
            extras.copy_(grad_extra.index_select(0, at).flatten(1))
            of_user.addmm_(extras, self._weights.user_to_session.t())
            grad_extra.index_fill_(0, at, 0.0)  # earlier steps belong to the user state before
        if self._starts.known_counts[step]:
            slopes, stay, blocks, gates, of_known, known_blocks, earlier, earlier_known = self._back_known[step]
            torch.mul(known_blocks, slopes, out=blocks)
            torch.mm(gates, self._joined_back, out=earlier)
            earlier_known.addcmul_(of_known, stay)
        # Copied, not added: the states that the start replaced had no other way to what comes after.
        grad_state.index_copy_(0, at, earlier_state)
        grad_user.index_copy_(0, at, earlier_user)

    def gradients(self, entered_user: Tensor, grad_extra: Tensor | None) -> tuple[Tensor | None, ...]:
        """Gradients of user_input, user_hidden, user_bias, initial_weight, initial_bias, user_to_session."""
        width = self._width
        joined = weight_gradient(self._entering, self._grad_gates)
        user_hidden = torch.cat([joined[width:, : 2 * width], joined[width:, 3 * width :]], dim=1)
        user_to_session = None
        if grad_extra is not None:
            user_to_session = torch.addmm(entered_user.t() @ grad_extra.flatten(1), self._users.t(), self._grad_extras)
        return (
            joined[:width, : 3 * width],
            user_hidden,
            self._grad_gates[:, : 3 * width].sum(0),
            weight_gradient(self._users, self._grad_firsts),
            self._grad_firsts.sum(0),
            user_to_session,
        )

    def _views(self, values: Tensor) -> tuple[Tensor, ...]:
        """Rows of all starts, as a view a step."""
        return torch.split(values, self._starts.counts)

    def _known_views(self, values: Tensor) -> tuple[Tensor, ...]:
        """Rows of known users, as a view a step."""
        return torch.split(values, self._starts.known_counts)

    def _heads(self, values: Tensor) -> list[Tensor]:
        """Rows of all starts, as a view a step of those of known users."""
        return [part[:count] for part, count in zip(self._views(values), self._starts.known_counts, strict=True)]


def gate_slopes(gates: Tensor, state: Tensor, hidden_candidate: Tensor, *, out: Tensor) -> None:
    """d(new state)/d(input side of r, z, n), elementwise: [..., 3H] of gates [..., 3H] and the states before [..., H]."""
    (reset, update, candidate), (of_reset, of_update, of_candidate) = gates.chunk(3, dim=-1), out.chunk(3, dim=-1)
    # In place, in this order: n's z (1 - n²);  z's (n - h) z (1 - z);  r's, from n's: z (1 - n²) (h · U_n) r (1 - r).
    torch.mul(candidate, candidate, out=of_candidate)
    torch.addcmul(update, update, of_candidate, value=-1.0, out=of_candidate)
    torch.sub(candidate, state, out=of_update).mul_(update)
    of_update.addcmul_(of_update, update, value=-1.0)
    torch.mul(of_candidate, hidden_candidate, out=of_reset).mul_(reset)
    of_reset.addcmul_(of_reset, reset, value=-1.0)
