"""HRNN as its authors published and ran it, step for step: the yardstick that our own HRNN is held against.

One event of every lane is a training step (bptt = 1): all states carried in are constants. Lanes hold users, in the
given order; a session of
n events makes n - 1 steps, and sessions of a single event are passed over. Negatives are the other lanes' targets.

    where a session starts:  u = dropout(GRU_user(input = last s, hidden = u)),   s = dropout(tanh(u · initial_weight +
    initial_bias))
    where a user starts:     u = 0,  s = 0
    s = dropout(GRU_session(input_table[item] + bias [+ u · user_to_session], s));   score = tanh(s · output + output_bias)

Layers are stacked: each reads the dropped state of the one below. The lowest user layer reads the top session layer's last
state, and the top user layer starts, and steers, the lowest session layer. Higher session layers go on over sessions and are
zero only where a user starts.

GRU as in Cho et al. 2014: n = tanh(a_n + (r ⊙ h)·U_n), h' = (1 - z) ⊙ h + z ⊙ n; blocks in the order n, r, z. Items are one-hot
inputs: a row of `input_table` [N, 3H]. It serves no recipe.

Source: Quadrana et al. 2017 and the authors' code. Its quirks are settings of `AuthorsSettings`; that events are
duplicated within a step, their
gradients are summed, where Theano keeps the accumulator of the last.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from hrnn.data.arrays import Flags, Rows
from hrnn.data.sequences import Sequences
from hrnn.layers.dropout import dropped
from hrnn.training.optimisers import Adagrad, coalesce


@dataclass(frozen=True, kw_only=True)
class AuthorsSettings:
    """The authors' hyperparameters; defaults are those of their small network on XING.

    Attributes:
        session_layers, user_layers: Hidden units of each layer, lowest first.
        num_lanes: B.
        variant: `init` or `all`.
        loss: `top1` with tanh scores, or `cross_entropy` with linear ones.
        learning_rate, momentum: Adagrad's.
        user_dropout, session_dropout, initial_dropout: Shares dropped; the dropped states are carried on.
        user_in_candidate: Whether HRNN-All adds the user to the candidate too, as the paper says; the authors' code
            adds it to the two gates only.
        drop_tail: Whether an epoch ends as soon as no user is left to load, as in the authors' code; False drains the lanes.
        seed: Of parameters and dropout.
    """

    session_layers: tuple[int, ...] = (100,)
    user_layers: tuple[int, ...] = (100,)
    num_lanes: int = 50
    variant: Literal["init", "all"] = "init"
    loss: Literal["top1", "cross_entropy"] = "top1"
    learning_rate: float = 0.1
    momentum: float = 0.0
    user_dropout: float = 0.0
    session_dropout: float = 0.1
    initial_dropout: float = 0.0
    user_in_candidate: bool = False
    drop_tail: bool = True
    seed: int = 0


@dataclass(frozen=True)
class Step:
    """One event of every living lane.

    Attributes:
        lanes: int64 [m], which lanes live.
        items, targets: int64 [m], item rows.
        session_starts, user_starts: bool [m]; a user start is a session start too.
    """

    lanes: Rows
    items: Rows
    targets: Rows
    session_starts: Flags
    user_starts: Flags


def steps(sequences: Sequences, user_rows: Rows, num_lanes: int, drop_tail: bool) -> Iterator[Step]:
    """The steps of one epoch."""
    waiting = iter([runs for user in user_rows if (runs := _sessions(sequences, int(user)))])
    lanes: list[list[tuple[int, int]]] = [runs for _, runs in zip(range(num_lanes), waiting, strict=False)]
    at = [runs[0][0] for runs in lanes]
    session_starts, user_starts = [True] * len(lanes), [True] * len(lanes)
    while living := [lane for lane, runs in enumerate(lanes) if runs]:
        positions = np.asarray([at[lane] for lane in living])
        yield Step(
            np.asarray(living),
            sequences.item_rows[positions].astype(np.int64),
            sequences.item_rows[positions + 1].astype(np.int64),
            np.asarray([session_starts[lane] for lane in living]),
            np.asarray([user_starts[lane] for lane in living]),
        )
        for lane in living:
            at[lane] += 1
            session_starts[lane] = user_starts[lane] = False
            if at[lane] + 1 < lanes[lane][0][1]:
                continue
            lanes[lane] = lanes[lane][1:]
            session_starts[lane] = True
            if not lanes[lane]:
                lanes[lane], user_starts[lane] = next(waiting, []), True
                if not lanes[lane] and drop_tail:
                    return
            if lanes[lane]:
                at[lane] = lanes[lane][0][0]


def _sessions(sequences: Sequences, user: int) -> list[tuple[int, int]]:
    """First position and end of each of a user's sessions of at least two events."""
    begin = int(sequences.user_offsets[user])
    end = begin + int(sequences.history_lengths[user])
    starts = [begin + int(step) for step in np.flatnonzero(sequences.session_starts[begin:end])]
    return [(first, last) for first, last in zip(starts, [*starts[1:], end], strict=True) if last - first >= 2]


class HGru4Rec:
    """Parameters, states of all lanes, and one training step.

    Args:
        num_items: N.
        settings: The authors' hyperparameters.

    Attributes:
        tables: `input` [N, 3H of the lowest session layer], `output` [N, H of the top one + 1], the last column a bias.
        dense: Of layer k of `session` and `user`: `session.k.bias` [3H], `.hidden` [H, 3H], `.input` [H below, 3H]; the lowest
            session layer has no `.input`, that is the table. `initial_weight`, `initial_bias`, `user_to_session`.
        session, user: States of the layers, each [lanes, H].
    """

    def __init__(self, num_items: int, settings: AuthorsSettings, dtype: torch.dtype = torch.float32) -> None:
        self.settings = settings
        generator = torch.Generator().manual_seed(settings.seed)

        def draw(rows: int, width: int, blocks: int) -> Tensor:
            bound = math.sqrt(6.0 / (rows + width))
            parts = [torch.rand(rows, width, generator=generator, dtype=dtype) * 2 * bound - bound for _ in range(blocks)]
            return torch.cat(parts, dim=1)

        session, user = settings.session_layers, settings.user_layers
        self.tables = {
            "input": draw(num_items, session[0], 3),
            "output": torch.cat([draw(num_items, session[-1], 1), torch.zeros(num_items, 1, dtype=dtype)], 1),
        }
        self.dense: dict[str, Tensor] = {}
        for level, widths, below in (("session", session, (0, *session)), ("user", user, (session[-1], *user))):
            for layer, width in enumerate(widths):
                if below[layer]:
                    self.dense[f"{level}.{layer}.input"] = draw(below[layer], width, 3)
                self.dense[f"{level}.{layer}.hidden"] = draw(width, width, 3)
                self.dense[f"{level}.{layer}.bias"] = torch.zeros(3 * width, dtype=dtype)
        self.dense["initial_weight"] = draw(user[-1], session[0], 1)
        self.dense["initial_bias"] = torch.zeros(session[0], dtype=dtype)
        if settings.variant == "all":
            self.dense["user_to_session"] = draw(user[-1], session[0], 3)
        both = self.tables | self.dense
        self._optimisers = {name: Adagrad(value, settings.learning_rate, settings.momentum) for name, value in both.items()}
        self.session = [torch.zeros(settings.num_lanes, width, dtype=dtype) for width in session]
        self.user = [torch.zeros(settings.num_lanes, width, dtype=dtype) for width in user]
        self._steps = 0

    def train_epoch(self, sequences: Sequences, user_rows: Rows) -> float:
        """Meet every step once; returns the mean loss of a step."""
        for state in (*self.session, *self.user):
            state.zero_()
        losses = [
            self.train_step(step) for step in steps(sequences, user_rows, self.settings.num_lanes, self.settings.drop_tail)
        ]
        return sum(losses) / max(1, len(losses))

    def train_step(self, step: Step) -> float:
        """Move all parameters by one step; returns its loss. A single living lane has no negative, and teaches nothing."""
        items, targets = torch.from_numpy(step.items), torch.from_numpy(step.targets)
        inputs = self.tables["input"][items].requires_grad_()
        outputs = self.tables["output"][targets].requires_grad_()
        dense = {name: value.detach().requires_grad_() for name, value in self.dense.items()}
        states, users = self._states(step, inputs, dense)
        lanes = torch.from_numpy(step.lanes)
        for kept, new in zip((*self.session, *self.user), (*states, *users), strict=True):
            kept[lanes] = new.detach()
        self._steps += 1
        if len(lanes) < 2:
            return 0.0
        loss = authors_loss(self.settings.loss, states[-1] @ outputs[:, :-1].t() + outputs[:, -1], self.settings.num_lanes)
        grads = torch.autograd.grad(loss, [inputs, outputs, *dense.values()], allow_unused=True)
        self._optimisers["input"].step_rows(*coalesce(items, grads[0]))
        self._optimisers["output"].step_rows(*coalesce(targets, grads[1]))
        for name, grad in zip(dense, grads[2:], strict=True):
            if grad is not None:
                self._optimisers[name].step(grad)
        return loss.item()

    def _states(self, step: Step, inputs: Tensor, dense: dict[str, Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Session and user states of the living lanes after their event, layer by layer."""
        settings, lanes = self.settings, torch.from_numpy(step.lanes)
        starts = torch.from_numpy(step.session_starts).unsqueeze(1)
        new = torch.from_numpy(step.user_starts).unsqueeze(1)
        before = [state[lanes] for state in self.session]
        users, entering = list[Tensor](), before[-1]
        for layer, kept in enumerate(self.user):
            moved = dense[f"user.{layer}.bias"] + entering @ dense[f"user.{layer}.input"]
            moved = self._dropped(cho_gru(moved, kept[lanes], dense[f"user.{layer}.hidden"]), settings.user_dropout, 1, layer)
            entering = torch.where(starts, moved, kept[lanes]).masked_fill(new, 0.0)
            users.append(entering)
        first = torch.tanh(users[-1] @ dense["initial_weight"] + dense["initial_bias"])
        before[0] = torch.where(starts, self._dropped(first, settings.initial_dropout, 2, 0), before[0])
        entering = inputs + dense["session.0.bias"]
        if settings.variant == "all":
            extra = users[-1] @ dense["user_to_session"]
            width = settings.session_layers[0]
            mask = torch.cat([extra.new_full((width,), float(settings.user_in_candidate)), extra.new_ones(2 * width)])
            entering = entering + extra * mask
        states = list[Tensor]()
        for layer, state in enumerate(before):
            if layer:
                entering = dense[f"session.{layer}.bias"] + states[-1] @ dense[f"session.{layer}.input"]
            state = cho_gru(entering, state.masked_fill(new, 0.0), dense[f"session.{layer}.hidden"])
            states.append(self._dropped(state, settings.session_dropout, 3, layer))
        return states, users

    def _dropped(self, states: Tensor, share: float, place: int, layer: int) -> Tensor:
        return dropped(states, share, (self.settings.seed, self._steps, place, layer))


def cho_gru(entering: Tensor, hidden: Tensor, weight: Tensor) -> Tensor:
    """h' of [m, H], from the input side [m, 3H] and weight [H, 3H], blocks in the order n, r, z."""
    of_candidate, of_reset, of_update = entering.chunk(3, dim=1)
    candidate_weight, reset_weight, update_weight = weight.chunk(3, dim=1)
    reset = torch.sigmoid(of_reset + hidden @ reset_weight)
    update = torch.sigmoid(of_update + hidden @ update_weight)
    candidate = torch.tanh(of_candidate + (reset * hidden) @ candidate_weight)
    return (1.0 - update) * hidden + update * candidate


def authors_loss(name: str, scores: Tensor, num_lanes: int) -> Tensor:
    """Mean loss of [m, m] linear scores whose diagonal is right; TOP1's own column is taken out with the nominal lane count."""
    right = torch.arange(len(scores))
    if name == "cross_entropy":
        return torch.nn.functional.cross_entropy(scores, right)
    scores = torch.tanh(scores)
    own = scores.diagonal()
    terms = torch.sigmoid(scores - own.unsqueeze(1)) + torch.sigmoid(scores * scores)
    return (terms.mean(1) - torch.sigmoid(own * own) / num_lanes).mean()
