"""How training costs grow: 100 M made-up events of 1 M items, mapped from disk, beside small sets; and N, H, lanes, ranks.

    python tests/benchmarks/bench_scale.py --events 100000000 --seconds 300 --plot docs/growth.svg

The large set is made in chunks under the temporary folder (2 GB, removed in the end). Large and small sets are trained in
turn in one process with one thread; figures are medians over rounds of events a CPU second. Memory is the process's own
(RssAnon): pages of mapped files belong to the system's cache.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from growth_plot import write_growth
from training_runs import SESSION_SHARE, OurTraining, made_up_sequences

from hrnn.data.ragged import offsets_of
from hrnn.data.sequences import Sequences
from hrnn.training.distributed import Ranks
from hrnn.training.settings import TrainingSettings

PLOT = Path(__file__).parents[2] / "docs" / "growth.svg"
CHUNK = 4_000_000
WINDOWS = 20  # a round
SIZES = {
    "items": [10_000, 30_000, 100_000, 300_000, 1_000_000],
    "hidden units": [43, 64, 100, 200],
    "lanes": [16, 64, 256, 1_024],
}


def make_mapped(folder: Path, events: int, num_items: int, seed: int = 0) -> Sequences:
    """Write histories as `Sequences.save` would, a chunk of events in memory at a time, and map them."""
    random = np.random.default_rng(seed)
    lengths = random.geometric(0.1, events // 11 + 1) + 1
    offsets = offsets_of(lengths)
    total = int(offsets[-1])
    folder.mkdir(parents=True, exist_ok=True)
    kinds = {"item_rows": np.int32, "timestamps": np.int64, "session_starts": np.bool_, "event_types": np.int32}
    arrays = {
        name: np.lib.format.open_memmap(folder / f"{name}.npy", mode="w+", dtype=kind, shape=(total,))
        for name, kind in kinds.items()
    }
    cumulative = np.cumsum(1.0 / np.arange(10, num_items + 10))
    for begin in range(0, total, CHUNK):
        part = slice(begin, min(begin + CHUNK, total))
        count = part.stop - begin
        arrays["item_rows"][part] = np.searchsorted(cumulative, random.random(count) * cumulative[-1])
        arrays["timestamps"][part] = np.arange(begin, part.stop)
        arrays["session_starts"][part] = random.random(count) < SESSION_SHARE
    arrays["session_starts"][offsets[:-1]] = True
    for array in arrays.values():
        array.flush()
    np.save(folder / "user_offsets.npy", offsets)
    (folder / "sequences.json").write_text(json.dumps({"num_items": num_items}))
    return Sequences.load(folder)


def own_megabytes() -> float:
    """The process's anonymous memory."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


def large_beside_small(folder: Path, events: int, seconds: float, width: int, settings: TrainingSettings) -> None:
    """Print how fast each set is trained on, and how memory grew."""
    begun = time.monotonic()
    large = make_mapped(folder, events, 1_000_000)
    print(f"\n{large.num_events:,} events of {large.num_users:,} users made in {time.monotonic() - begun:.0f} s\n", flush=True)
    sets = {
        f"{large.num_events / 1e6:.0f} M events, 1 M items, mapped": large,
        "2 M events, 1 M items": made_up_sequences(182_000, 1_000_000),
        "2 M events, 30,000 items": made_up_sequences(182_000, 30_000),
    }
    trainings = {name: OurTraining(sequences, settings, width) for name, sequences in sets.items()}
    for training in trainings.values():
        training.speed(WINDOWS)
    # To go on with the large set means to plan its epoch anew, which no training does between two windows.
    windows = {name: 20 * WINDOWS if name.endswith("mapped") else 5 * WINDOWS for name in sets}
    found: dict[str, list[float]] = {name: [] for name in sets}
    memory, begun = [own_megabytes()], time.monotonic()
    while time.monotonic() - begun < seconds:
        for name, training in trainings.items():
            found[name].append(training.speed(windows[name]))
        memory.append(own_megabytes())
    base = statistics.median(found["2 M events, 30,000 items"])
    print("| | windows | events a CPU second | of the smallest |\n|---|---|---|---|")
    for name, speeds in found.items():
        middle = statistics.median(speeds)
        print(f"| {name} | {len(speeds) * windows[name]:,} | {middle:,.0f} | {middle / base:.2f} |")
    print(f"\nOwn memory: {memory[0]:,.0f} MB at the start, {max(memory):,.0f} MB at most, {memory[-1]:,.0f} MB in the end.")


def growth(rounds: int, width: int, settings: TrainingSettings) -> dict[str, dict[int, float]]:
    """Print a table for each of N, H and lanes, the sizes of one in turn; returns what grows -> size -> events a CPU second."""
    told: dict[str, dict[int, float]] = {}
    for what, sizes in SIZES.items():
        trainings = {}
        for size in sizes:
            sequences = made_up_sequences(100_000, size if what == "items" else 30_000)
            changed = TrainingSettings(**{**vars(settings), "num_lanes": size if what == "lanes" else settings.num_lanes})
            trainings[size] = OurTraining(sequences, changed, size if what == "hidden units" else width)
        found: dict[int, list[float]] = {size: [] for size in sizes}
        for _ in range(rounds):
            for size, training in trainings.items():
                windows = max(2, WINDOWS * 64 // size) if what == "lanes" else WINDOWS // 2
                found[size].append(training.speed(min(windows, WINDOWS) + 1))
        print(f"\n| {what} | events a CPU second | microseconds an event |\n|---|---|---|", flush=True)
        told[what] = {size: statistics.median(speeds) for size, speeds in found.items()}
        for size, middle in told[what].items():
            print(f"| {size:,} | {middle:,.0f} | {1e6 / middle:.1f} |")
    return told


def ranks_growth(options: list[str]) -> dict[int, float]:
    """Print, and return, events of all ranks for each CPU second of one, with one rank and with two over gloo."""
    print("\n| ranks | events of all, a CPU second of one |\n|---|---|", flush=True)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    told = {}
    for ranks in (1, 2):
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
        row = subprocess.run(
            [*command, __file__, "--as-rank", *options], check=True, env=environment, stdout=subprocess.PIPE, text=True
        ).stdout.strip()
        print(row, flush=True)
        told[ranks] = float(row.split("|")[2].replace(",", ""))
    return told


def as_rank(rounds: int, width: int, settings: TrainingSettings) -> None:
    """Train as one rank; rank 0 prints its row."""
    ranks = Ranks.join()
    training = OurTraining(made_up_sequences(100_000), settings, width, ranks)
    middle = statistics.median([training.speed(WINDOWS) for _ in range(rounds)])
    if ranks.rank == 0:
        print(f"| {ranks.world_size} | {middle:,.0f} |", flush=True)
    del training
    ranks.leave()


def main() -> None:
    """Print Markdown tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=100_000_000)
    parser.add_argument("--seconds", type=float, default=300.0, help="of training on large and small sets in turn")
    parser.add_argument("--rounds", type=int, default=5, help="of each size of the growth tables; 0: without them")
    parser.add_argument("--hidden-dimension", type=int, default=100)
    parser.add_argument("--negatives", type=int, default=2_048)
    parser.add_argument("--plot", type=Path, default=PLOT, help="where the SVG of the growth tables goes")
    parser.add_argument("--temp", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--as-rank", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    settings = TrainingSettings(num_negatives=options.negatives, epochs=1_000)
    if options.as_rank:
        as_rank(options.rounds, options.hidden_dimension, settings)
        return
    need, free = options.events * 17 + 2**30, shutil.disk_usage(options.temp).free
    if free < need:
        sys.exit(
            f"{options.temp} has {free / 2**30:.1f} GiB free of {need / 2**30:.1f} GiB needed; name another folder with --temp"
        )
    if options.rounds:
        found = growth(options.rounds, options.hidden_dimension, settings)
        found["ranks"] = ranks_growth(
            [f"--rounds={options.rounds}", f"--hidden-dimension={options.hidden_dimension}", f"--negatives={options.negatives}"]
        )
        write_growth(options.plot, found)
    with tempfile.TemporaryDirectory(dir=options.temp, prefix="bench_scale_") as folder:
        large_beside_small(Path(folder), options.events, options.seconds, options.hidden_dimension, settings)


if __name__ == "__main__":
    main()
