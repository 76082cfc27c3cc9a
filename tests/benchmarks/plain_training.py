"""HRNN-Init as one writes it in eager PyTorch without this project: the yardstick of bench_train.py.

nn.Embedding with sparse gradients, two nn.GRUCell, the user cell evaluated for all lanes at every step and masked, autograd
throughout, torch.optim.Adagrad, the same shared negatives and the same dropout as ours.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from hrnn.data.sequences import Sequences
from hrnn.models.contract import Batch
from hrnn.training.batching.lanes import LanePlan
from hrnn.training.negatives import NegativeSampler
from hrnn.training.settings import TrainingSettings


class PlainHrnn(nn.Module):
    """Parameters and loss."""

    def __init__(self, num_items: int, width: int, dropout: float) -> None:
        super().__init__()
        self.vectors = nn.Embedding(num_items, width, sparse=True)
        self.bias = nn.Embedding(num_items, 1, sparse=True)
        self.session, self.user, self.initial = nn.GRUCell(width, width), nn.GRUCell(width, width), nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)
        nn.init.uniform_(self.vectors.weight, -0.01, 0.01)
        nn.init.zeros_(self.bias.weight)

    def forward(
        self, items: Tensor, session_starts: Tensor, user_starts: Tensor, state: Tensor, user: Tensor, negatives: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Loss of steps [T, B], and the states carried on."""
        loss = torch.zeros(())
        sampled, sampled_bias = self.vectors(negatives), self.bias(negatives).squeeze(1)
        for step in range(len(items)):
            moved = self.user(state, user)
            user = torch.where(session_starts[step], moved, user).masked_fill(user_starts[step], 0.0)
            state = torch.where(session_starts[step], torch.tanh(self.initial(user)), state)
            vectors, told = self.vectors(items[step]), self.dropout(state)
            right = (told * vectors).sum(1, keepdim=True) + self.bias(items[step])
            scores = torch.cat([right, torch.addmm(sampled_bias, told, sampled.t())], dim=1)
            loss = loss + nn.functional.cross_entropy(scores, torch.zeros(len(scores), dtype=torch.int64), reduction="sum")
            state = self.session(vectors, state)
        return loss / items.numel(), state.detach(), user.detach()


def plain_windows(sequences: Sequences, settings: TrainingSettings, width: int, steps_an_update: int) -> Iterator[int]:
    """Train; after each window, give its events.

    Args:
        sequences, settings, width: As for ours.
        steps_an_update: Steps between two updates, each with negatives of its own: all of a window's, or 1 as in GRU4Rec.
    """
    torch.manual_seed(0)
    model = PlainHrnn(sequences.num_items, width, settings.state_dropout)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        optimiser = torch.optim.Adagrad(model.parameters(), lr=0.1)
        sampler = NegativeSampler(
            sequences.item_counts(), alpha=settings.alpha, num_samples=settings.num_negatives, seed=settings.seed
        )
        plan = LanePlan(sequences, np.arange(sequences.num_users), settings.num_lanes, settings.num_steps, seed=0, epoch=0)
        state, user = torch.zeros(settings.num_lanes, width), torch.zeros(settings.num_lanes, width)
        for number in range(plan.num_windows):
            window = plan.window(number)
            for begin in range(0, settings.num_steps, steps_an_update):
                negatives = torch.from_numpy(sampler.draw(begin, number).item_rows)
                part = _part(window, slice(begin, begin + steps_an_update))
                loss, state, user = model(*part, state, user, negatives)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
            yield window.num_events


def _part(window: Batch, steps: slice) -> tuple[Tensor, Tensor, Tensor]:
    marks = [torch.from_numpy(marks[steps]).unsqueeze(2) for marks in (window.session_starts, window.user_starts)]
    return torch.from_numpy(window.items[steps]), marks[0], marks[1]


def speed(windows: Iterator[int], count: int) -> float:
    """Events a CPU second of the next `count` windows."""
    begun = time.process_time()
    events = sum(next(windows) for _ in range(count))
    return events / (time.process_time() - begun)
