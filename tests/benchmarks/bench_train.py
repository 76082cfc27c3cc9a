"""Training steps of aws-hrnn beside the same model in plain, eager PyTorch, and beside the machine's matrix products.

    python tests/benchmarks/bench_train.py --hidden-dimension 100 --negatives 2048 --windows 8 --rounds 7
    python tests/benchmarks/bench_train.py --trade

`--trade` prints what the size of a window costs in quality, on real data, and nothing else.

Without sizes: two of them. All run in turn in one process with one thread; figures are medians over rounds of events a CPU
second. The plain model (plain_training.py) takes its steps in two ways: one update a window, as ours does, and one update a
step of all lanes, as GRU4Rec and the HRNN authors do. The floor is what the model's matrix products alone would take:

    multiplications and additions an event = 30 H² + 38 H² / mean session length + 6 H (distinct negatives + 1)

at the speed that torch.mm has, in this run, at the shapes used, in single precision and in bfloat16.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from plain_training import plain_windows, speed
from stages import stage_milliseconds
from training_runs import OurTraining, made_up_sequences
from window_trade import window_trade

from hrnn.data.sequences import Sequences
from hrnn.layers.products import coarse_type
from hrnn.training.batching.lanes import LanePlan
from hrnn.training.negatives import NegativeSampler
from hrnn.training.settings import TrainingSettings


def products_speed(rows: int, width: int, negatives: int, kind: torch.dtype) -> float:
    """Multiplications and additions a CPU second of the largest products of a window, median of 9."""
    queries, vectors = torch.randn(rows, width).to(kind), torch.randn(negatives, width).to(kind)
    scores, entering = torch.randn(rows, negatives).to(kind), torch.randn(width, 3 * width).to(kind)
    shapes: list[Callable[[], torch.Tensor]] = [
        lambda: torch.mm(queries, vectors.t()),
        lambda: torch.mm(scores, vectors),
        lambda: torch.mm(queries.t(), scores),
        lambda: torch.mm(queries, entering),
    ]
    operations = 2 * rows * width * (3 * negatives + 3 * width)
    seconds = []
    for _ in range(10):
        begun = time.process_time()
        for shape in shapes:
            shape()
        seconds.append(time.process_time() - begun)
    return operations / statistics.median(seconds[1:])


def operations_an_event(sequences: Sequences, settings: TrainingSettings, width: int) -> tuple[float, int]:
    """By the module's formula; and the distinct negatives of a window."""
    sampler = NegativeSampler(sequences.item_counts(), alpha=settings.alpha, num_samples=settings.num_negatives, seed=0)
    distinct = int(np.median([len(sampler.draw(0, number).item_rows) for number in range(5)]))
    session_length = sequences.num_events / int(sequences.session_starts.sum())
    return 30 * width**2 + 38 * width**2 / session_length + 6 * width * (distinct + 1), distinct


def compare(settings: TrainingSettings, width: int, windows: int, rounds: int) -> None:
    """Print one size's tables."""
    sequences = made_up_sequences()
    ours = OurTraining(sequences, settings, width)
    by_window = plain_windows(sequences, settings, width, settings.num_steps)
    by_step = plain_windows(sequences, settings, width, 1)
    operations, distinct = operations_an_event(sequences, settings, width)
    coarse = coarse_type(torch.zeros(1))
    runs: dict[str, Callable[[], float]] = {
        "ours": lambda: ours.speed(windows + 1),
        "eager, one update a window": lambda: speed(by_window, max(1, windows // 3)),
        "eager, one update a step": lambda: speed(by_step, max(1, windows // 6)),
    }
    products = {f"products, {str(kind).removeprefix('torch.')}": kind for kind in dict.fromkeys((torch.float32, coarse))}
    found: dict[str, list[float]] = {name: [] for name in (*runs, *products)}
    rows = settings.num_lanes * settings.num_steps
    for number in range(rounds + 1):
        for name, run in runs.items():
            found[name].append(run())
        for name, kind in products.items():
            found[name].append(products_speed(rows, width, distinct, kind) / operations)
        if number == 0:  # a warm-up
            found = {name: [] for name in found}
    print(
        f"\nH = {width}, {settings.num_lanes} lanes, bptt {settings.num_steps}, {settings.num_negatives:,} negatives drawn "
        f"({distinct:,} distinct), {operations / 1e6:.2f} M operations an event\n"
    )
    print("| | events a CPU second | ours is times as fast | least and most of rounds |\n|---|---|---|---|")
    for name, speeds in found.items():
        ratios = [one / other for one, other in zip(found["ours"], speeds, strict=True)]
        spread = f"{min(ratios):.2f}-{max(ratios):.2f}"
        print(f"| {name} | {statistics.median(speeds):,.0f} | {statistics.median(ratios):.2f} | {spread} |")
    plan = LanePlan(sequences, np.arange(sequences.num_users), settings.num_lanes, settings.num_steps, seed=0, epoch=0)
    stages = stage_milliseconds(sequences, settings, width, plan, windows * rounds)
    print(f"\n| stage of a window of {rows:,} events | ms | share |\n|---|---|---|")
    for name, milliseconds in stages.items():
        print(f"| {name} | {milliseconds:.2f} | {100 * milliseconds / sum(stages.values()):.0f} % |")


def main() -> None:
    """Print Markdown tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hidden-dimension", type=int, help="with --negatives: this size alone")
    parser.add_argument("--negatives", type=int)
    parser.add_argument("--lanes", type=int, default=64)
    parser.add_argument("--bptt", type=int, default=32)
    parser.add_argument("--windows", type=int, default=8, help="a round")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--score-precision", choices=("bfloat16", "float32"), default="bfloat16")
    parser.add_argument("--trade", action="store_true", help="quality beside speed, by lanes and bptt")
    parser.add_argument(
        "--data", type=Path, help="--trade: folder of the unpacked data; default: a new one, removed in the end"
    )
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.trade:
        window_trade(options.data)
        return
    sizes = [(43, 1_024), (100, 2_048)]
    if options.hidden_dimension or options.negatives:
        sizes = [(options.hidden_dimension or 100, options.negatives or 2_048)]
    for width, negatives in sizes:
        settings = TrainingSettings(
            num_lanes=options.lanes,
            num_steps=options.bptt,
            num_negatives=negatives,
            epochs=1_000,
            score_precision=options.score_precision,
        )
        compare(settings, width, options.windows, options.rounds)


if __name__ == "__main__":
    main()
