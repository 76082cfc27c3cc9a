"""Training as one writes it who has time: the yardstick of every step's proof, on a CPU and on a GPU."""

from __future__ import annotations

import torch
from torch import Tensor

from hrnn.data.arrays import Rows
from hrnn.data.sequences import Sequences
from hrnn.models.hrnn import Hrnn
from hrnn.training.batching.lanes import LanePlan
from hrnn.training.negatives import NegativeSampler
from hrnn.training.settings import TrainingSettings


def double(model: Hrnn) -> Hrnn:
    """The same parameters in double precision."""
    dropout = {"input_dropout": model.input_dropout, "state_dropout": model.state_dropout}
    return Hrnn(model.shape, model.item_table.double(), model.dense.double(), **dropout)


def of_tensors(model: Hrnn, item_table: Tensor, dense: Tensor) -> Hrnn:
    """The model with tensors that gradients flow through, in place of its parameters."""
    made = Hrnn(model.shape, model.item_table, model.dense)
    for name, values in (("item_table", item_table), ("dense", dense)):
        delattr(made, name)
        setattr(made, name, values)
    return made


def plain_training(model: Hrnn, sequences: Sequences, user_rows: Rows, settings: TrainingSettings) -> list[float]:
    """One lane, one event at a time; the item table is dense, every item is scored; returns the mean loss of each epoch."""
    width = model.shape.hidden_dimension
    sampler = NegativeSampler(
        sequences.item_counts(), alpha=settings.alpha, num_samples=settings.num_negatives, seed=settings.seed
    )
    accumulated = [torch.zeros_like(model.item_table), torch.zeros_like(model.dense)]
    losses = []
    for epoch in range(settings.epochs):
        plan = LanePlan(sequences, user_rows, settings.num_lanes, settings.num_steps, seed=settings.seed, epoch=epoch)
        sessions = [torch.zeros(width, dtype=torch.float64) for _ in range(settings.num_lanes)]
        users = [torch.zeros(width, dtype=torch.float64) for _ in range(settings.num_lanes)]
        total = 0.0
        for number in range(plan.num_windows):
            window, negatives = plan.window(number), sampler.draw(epoch, number)
            correction = torch.full((sequences.num_items,), -torch.inf, dtype=torch.float64)
            correction[negatives.item_rows] = torch.from_numpy(negatives.log_weight).double()
            table, dense = model.item_table.clone().requires_grad_(), model.dense.clone().requires_grad_()
            parameters = of_tensors(model, table, dense)
            loss = torch.zeros((), dtype=torch.float64)
            codes = model.context.codes(sequences, window.positions, window.user_starts)
            for lane in range(settings.num_lanes):
                session, user = sessions[lane].detach(), users[lane].detach()
                for step in range(settings.num_steps):
                    if window.alive[step, lane]:
                        new_session, new_user = bool(window.session_starts[step, lane]), bool(window.user_starts[step, lane])
                        item = int(window.items[step, lane])
                        code = None if codes is None else int(codes[step, lane])
                        cost, session, user = plain_event(
                            parameters, session, user, item, new_session, new_user, correction, code
                        )
                        loss = loss + cost
                sessions[lane], users[lane] = session, user
            grads = torch.autograd.grad(loss, [table, dense])
            rate = 1.0 - (epoch + number / plan.num_windows) / settings.epochs
            scale = 1.0 / (settings.num_lanes * settings.num_steps)
            for parameter, grad, seen, learning_rate in zip(
                (model.item_table, model.dense), grads, accumulated, (settings.item_rate, settings.dense_rate), strict=True
            ):
                seen += (grad * scale) ** 2
                parameter -= learning_rate * rate * grad * scale / torch.sqrt(seen + 1e-6)
            total += loss.item()
        losses.append(total / sequences.num_events)
    return losses


def plain_event(
    model: Hrnn,
    session: Tensor,
    user: Tensor,
    item: int,
    new_session: bool,
    new_user: bool,
    correction: Tensor,
    code: int | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """What one event costs, and the states after it."""
    input_weight, input_bias, weights = model.weights()
    width = model.shape.hidden_dimension
    if new_session:
        user = (
            torch.zeros_like(user)
            if new_user
            else gru(session @ weights.user_input + weights.user_bias, user, weights.user_hidden)
        )
        session = torch.tanh(user @ weights.initial_weight + weights.initial_bias)
    scores = model.item_table[:, :width] @ session + model.item_table[:, width]
    compared = scores + correction
    compared[item] = scores[item]
    cost = torch.logsumexp(compared, dim=0) - scores[item]
    entering = model.item_table[item, :width] @ input_weight + input_bias
    if weights.user_to_session is not None:
        entering = entering + user @ weights.user_to_session
    table = model.context_table()
    if table is not None and code is not None:
        entering = entering + table[code]
    return cost, gru(entering, session, weights.session_hidden), user


def gru(entering: Tensor, hidden: Tensor, weight: Tensor) -> Tensor:
    entering_gates, hidden_gates = entering.chunk(3), (hidden @ weight).chunk(3)
    reset = torch.sigmoid(entering_gates[0] + hidden_gates[0])
    update = torch.sigmoid(entering_gates[1] + hidden_gates[1])
    return (1 - update) * hidden + update * torch.tanh(entering_gates[2] + reset * hidden_gates[2])
