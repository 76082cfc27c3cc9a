"""Training steps of aws-hrnn beside the same model as a plain, eager PyTorch loop, in turn, in one process.

    python tests/benchmarks/bench_train.py --hidden-dimension 43 --windows 40 --rounds 5

The plain loop is what one writes without this project: nn.Embedding with sparse gradients, two nn.GRUCell, the user
cell evaluated for all
lanes at every step and masked, autograd throughout, torch.optim.Adagrad, the same shared negatives. Data are made up: 20,000
users of about 10 events in sessions of about 3, 30,000 items of Zipf popularity. Figures are events per second of wall
and of CPU time; rounds alternate, so that noise of the machine falls on both, and the median round counts.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from hrnn.batching import LanePlan
from hrnn.models.hrnn import Hrnn, HrnnShape
from hrnn.negatives import NegativeSampler
from hrnn.sequences import Sequences
from hrnn.training import Stopped, Trainer
from hrnn.training_settings import TrainingSettings

NUM_USERS, NUM_ITEMS = 20_000, 30_000


def made_up_sequences(seed: int = 0) -> Sequences:
    """Users with geometric numbers of events, sessions likewise, items by Zipf's law."""
    random = np.random.default_rng(seed)
    lengths = random.geometric(0.1, NUM_USERS) + 1
    offsets = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths)])
    events = int(offsets[-1])
    share = 1.0 / np.arange(10, NUM_ITEMS + 10)
    starts = random.random(events) < 0.35
    starts[offsets[:-1]] = True
    items = random.choice(NUM_ITEMS, events, p=share / share.sum()).astype(np.int32)
    return Sequences(offsets, items, np.arange(events), starts, np.zeros(events, dtype=np.int32), NUM_ITEMS)


class PlainHrnn(nn.Module):
    """HRNN-Init in eager PyTorch."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.vectors = nn.Embedding(NUM_ITEMS, width, sparse=True)
        self.bias = nn.Embedding(NUM_ITEMS, 1, sparse=True)
        self.session, self.user, self.initial = nn.GRUCell(width, width), nn.GRUCell(width, width), nn.Linear(width, width)
        nn.init.uniform_(self.vectors.weight, -0.01, 0.01)
        nn.init.zeros_(self.bias.weight)

    def forward(
        self, items: Tensor, session_starts: Tensor, user_starts: Tensor, state: Tensor, user: Tensor, negatives: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Loss of a window [T, B], and the states carried on."""
        loss = torch.zeros(())
        sampled, sampled_bias = self.vectors(negatives), self.bias(negatives).squeeze(1)
        for step in range(len(items)):
            moved = self.user(state, user)
            user = torch.where(session_starts[step], moved, user).masked_fill(user_starts[step], 0.0)
            state = torch.where(session_starts[step], torch.tanh(self.initial(user)), state)
            vectors = self.vectors(items[step])
            right = (state * vectors).sum(1, keepdim=True) + self.bias(items[step])
            scores = torch.cat([right, state @ sampled.t() + sampled_bias], dim=1)
            loss = loss + nn.functional.cross_entropy(scores, torch.zeros(len(scores), dtype=torch.int64), reduction="sum")
            state = self.session(vectors, state)
        return loss / items.numel(), state.detach(), user.detach()


def plain_run(sequences: Sequences, settings: TrainingSettings, width: int, windows: int) -> Callable[[], int]:
    """A function that trains the plain model for some windows and returns the events it met."""
    torch.manual_seed(0)
    model = PlainHrnn(width)
    optimiser = torch.optim.Adagrad(model.parameters(), lr=0.1)
    sampler = NegativeSampler(
        sequences.item_counts(), alpha=settings.alpha, num_samples=settings.num_negatives, seed=settings.seed
    )
    plan = LanePlan(sequences, np.arange(NUM_USERS), settings.num_lanes, settings.num_steps, seed=0, epoch=0)

    def run() -> int:
        events = 0
        state, user = torch.zeros(settings.num_lanes, width), torch.zeros(settings.num_lanes, width)
        for number in range(windows):
            window, negatives = plan.window(number), torch.from_numpy(sampler.draw(0, number).item_rows)
            marks = [torch.from_numpy(marks).unsqueeze(2) for marks in (window.session_starts, window.user_starts)]
            loss, state, user = model(torch.from_numpy(window.items), *marks, state, user, negatives)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            events += window.num_events
        return events

    return run


def our_run(sequences: Sequences, settings: TrainingSettings, width: int, windows: int) -> Callable[[], int]:
    """A function that trains ours for as many windows, and returns the events it met."""
    counts = sequences.item_counts()

    def run() -> int:
        model = Hrnn.initial(HrnnShape(num_items=NUM_ITEMS, hidden_dimension=width), counts, seed=0)
        asked = iter(range(windows + 1))
        events: list[int] = []
        trainer = Trainer(
            model,
            sequences,
            np.arange(NUM_USERS),
            settings,
            progress=lambda done, _: events.append(done),
            should_stop=lambda: next(asked) == windows - 1,
        )
        with contextlib.suppress(Stopped):
            trainer.run()
        return sum(events)

    return run


def main() -> None:
    """Print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hidden-dimension", type=int, default=43)
    parser.add_argument("--windows", type=int, default=40, help="of 64 lanes and 32 steps, a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    sequences, settings = made_up_sequences(), TrainingSettings(num_lanes=64, num_steps=32)
    runs = {
        make.__name__: make(sequences, settings, options.hidden_dimension, options.windows) for make in (our_run, plain_run)
    }
    speeds: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for _ in range(options.rounds):
        for name, run in runs.items():
            wall, cpu = time.perf_counter(), time.process_time()
            events = run()
            speeds[name].append((events / (time.perf_counter() - wall), events / (time.process_time() - cpu)))
    medians = {
        name: {kind: round(statistics.median(round_[at] for round_ in rounds)) for at, kind in enumerate(("wall", "cpu"))}
        for name, rounds in speeds.items()
    }
    print(
        json.dumps(
            {"events_per_second": medians, "times_as_fast": round(medians["our_run"]["cpu"] / medians["plain_run"]["cpu"], 2)}
        )
    )


if __name__ == "__main__":
    main()
