"""What the stages of a training window take, each called by itself as the trainer calls it."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from hrnn.data.sequences import Sequences
from hrnn.layers.dropout import dropped
from hrnn.layers.hierarchical_gru import RecurrentWeights, Starts, recur
from hrnn.layers.products import affine, coarse_type
from hrnn.models.hrnn import Hrnn, HrnnShape
from hrnn.training.batching.lanes import LanePlan
from hrnn.training.losses import sampled_loss
from hrnn.training.negatives import NegativeSampler
from hrnn.training.optimisers import Adagrad
from hrnn.training.settings import TrainingSettings


class Stages:
    """CPU milliseconds by stage."""

    def __init__(self) -> None:
        self.taken: defaultdict[str, list[float]] = defaultdict(list)

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Count what happens inside."""
        begun = time.process_time()
        yield
        self.taken[name].append(1e3 * (time.process_time() - begun))


def stage_milliseconds(
    sequences: Sequences, settings: TrainingSettings, width: int, plan: LanePlan, windows: int
) -> dict[str, float]:
    """Median milliseconds of each stage."""
    counts = sequences.item_counts()
    model = Hrnn.initial(HrnnShape(num_items=sequences.num_items, hidden_dimension=width), counts, seed=0)
    sampler = NegativeSampler(counts, alpha=settings.alpha, num_samples=settings.num_negatives, seed=0)
    items, dense = Adagrad(model.item_table, 0.1), Adagrad(model.dense, 0.01)
    carry, stages = model.initial_carry(settings.num_lanes), Stages()
    score_type = coarse_type(model.item_table) if settings.score_precision == "bfloat16" else torch.float32
    for number in range(min(windows, plan.num_windows)):
        with stages.of("planning"):
            window = plan.window(number)
        with stages.of("negatives"):
            negatives = sampler.draw(0, number)
        with stages.of("distinct rows, gathering"):
            rows = np.unique(np.concatenate([window.items.reshape(-1), negatives.item_rows]))
            table = model.item_table.index_select(0, torch.from_numpy(rows))
            place, among = np.searchsorted(rows, window.items), np.searchsorted(rows, negatives.item_rows)
            embedded = table[torch.from_numpy(place.reshape(-1))]
            starts = Starts.of(window.session_starts, window.user_starts, table)
        entering, bias, flat = (
            [part.detach().requires_grad_() for part in model.weights()[:2]] + [model.weights()[2]]  # type: ignore[list-item]
        )
        weights = RecurrentWeights(*(weight if weight is None else weight.detach().requires_grad_() for weight in flat))
        vectors = embedded[:, :width].clone().requires_grad_()
        with stages.of("input product"):
            gates = affine(vectors, entering, bias).view(*window.items.shape, 3 * width)
        told = gates.detach().requires_grad_()
        with stages.of("recurrence, forward"):
            states, carry["session"], carry["user"] = recur(told, carry["session"], carry["user"], starts, weights)
        with stages.of("dropout"):
            queries = dropped(states.detach(), settings.state_dropout, (0, number, 0, 2)).view(-1, width)
        queries.requires_grad_()
        compared = table[torch.from_numpy(among)].requires_grad_()
        with stages.of("scores, loss and their gradients"):
            sampled_loss(
                settings.loss,
                queries,
                embedded.requires_grad_(),
                compared,
                torch.from_numpy(negatives.log_weight),
                torch.full((len(queries),), -1),
                score_type=score_type,
            ).backward()
        assert queries.grad is not None
        with stages.of("recurrence, backward"):
            states.backward(queries.grad.view_as(states))
        with stages.of("input product, backward"):
            gates.backward(told.grad)
        with stages.of("optimiser"):
            items.step_rows(torch.from_numpy(rows), torch.ones_like(table))
            dense.step(torch.ones_like(model.dense))
    return {name: statistics.median(taken) for name, taken in stages.taken.items()}
