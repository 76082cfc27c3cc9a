"""What a machine with GPUs must show, in under eight minutes: proofs, whole trainings, speeds; the report is one JSON file.

    python tests/gpu/check.py --report gpu-report.json
    python tests/gpu/check.py --device cpu --short          # tries the check itself where there is no GPU

It needs PyTorch, NumPy, PyArrow, pydantic, safetensors, typer and pytest, and neither network nor Java: sequences are made
here, and what else is missing is never used (tests/gpu/absent). Exit status 1 where a proof or a training failed; speeds are
told beside their goals and decide nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

HERE, ROOT = Path(__file__).parent, Path(__file__).parents[2]
PATH = [str(path) for path in (ROOT, ROOT / "tests" / "support", ROOT / "tests" / "benchmarks", HERE / "absent")]
GOALS = {64: 1_000_000, 4_096: 10_000_000}  # events a second, by lanes
NOISE = 0.3  # of the events of a whole training


def environment(device: str) -> dict[str, str]:
    """The variables of every process of the check."""
    hidden = {"CUDA_VISIBLE_DEVICES": ""} if device == "cpu" else {}
    return os.environ | {"PYTHONPATH": os.pathsep.join(PATH), "HRNN_GPU_CHECK_DEVICE": device} | hidden


def proofs(device: str) -> dict[str, Any]:
    """The tests of this folder, without the plugins and settings of the others."""
    options = ["-q", "-c", os.devnull, "--rootdir", str(ROOT), "--confcutdir", str(HERE), "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *options, "-o", "markers=gpu: on a GPU", str(HERE)]
    begun = time.monotonic()
    done = subprocess.run(command, env=environment(device), capture_output=True, text=True, check=False, cwd=ROOT)
    last = done.stdout.strip().splitlines()[-1:]
    told = {"passed": done.returncode == 0, "summary": last, "seconds": round(time.monotonic() - begun, 1)}
    return told if told["passed"] else told | {"output": (done.stdout + done.stderr)[-8_000:]}


def noisy_circle(num_users: int) -> Any:
    """Sequences in which an item follows another, most of the time."""
    import numpy as np
    from small_sequences import circular_histories, sequences_of

    circle = sequences_of(circular_histories(num_users, 200))
    random = np.random.default_rng(0)
    noisy = random.random(len(circle.item_rows)) < NOISE
    return replace(circle, item_rows=np.where(noisy, random.permutation(circle.item_rows), circle.item_rows))


def whole_training(sequences: str, folder: Path, device: str, ranks: int) -> dict[str, Any]:
    """`hrnn train` with its defaults, torchrun and all."""
    output, begun = str(folder / f"ranks-{ranks}"), time.monotonic()
    options = ["--sequences", sequences, "--output", output, "--nproc-per-node", str(ranks)]
    command = [sys.executable, "-m", "jobs.train", *options]
    done = subprocess.run(command, env=environment(device), capture_output=True, text=True, check=False, cwd=folder)
    told: dict[str, Any] = {"ranks": ranks, "seconds": round(time.monotonic() - begun, 1)}
    if done.returncode != 0:
        return told | {"passed": False, "output": (done.stdout + done.stderr)[-8_000:]}
    summary = json.loads(done.stdout.strip().splitlines()[-1])
    where = next((line for line in done.stderr.splitlines() if "events an epoch" in line), "")
    right = f"{ranks} ranks on {device}" in where
    return told | {"passed": summary["published"] and right, "where": where, "metrics": summary["metrics"]}


def training_speed(device: str, lanes: int, windows: int, num_users: int) -> dict[str, Any]:
    """Events a second of the default model's windows, by the clock on the wall."""
    import numpy as np
    import torch
    from training_runs import made_up_sequences

    from hrnn.models.contract import DataSpec
    from hrnn.models.hrnn import Hrnn
    from hrnn.training.distributed import Ranks
    from hrnn.training.parts import TrainingPart
    from hrnn.training.settings import TrainingSettings
    from hrnn.training.trainer import Stopped, Trainer

    settings = TrainingSettings(num_lanes=lanes, epochs=1_000)
    sequences, stamps = made_up_sequences(num_users), [(0, time.perf_counter())]
    trainer = Trainer(
        Hrnn.build({"hidden_dimension": 43}, settings, DataSpec.of(sequences, sequences)),
        [TrainingPart(sequences, np.arange(sequences.num_users))],
        settings,
        ranks=Ranks(0, 1, torch.device(device, 0)),
        progress=lambda events, _: stamps.append((events, time.perf_counter())),
        should_stop=lambda: len(stamps) > windows + 5,
    )
    with suppress(Stopped):
        trainer.run()
    speeds = [events / (now - before) for (_, before), (events, now) in pairwise(stamps[4:])]
    middle = statistics.median(speeds)
    return {"lanes": lanes, "events_per_second": round(middle), "goal": GOALS[lanes], "reached": middle >= GOALS[lanes]}


def scoring_speed(device: str, num_items: int) -> dict[str, Any]:
    """Lists of 25 a second: ours, which is the CPU's work, and the plain way on the CPU and on the device."""
    import torch
    from bench_recommend import NUM_RESULTS, Case

    torch.set_num_threads(1)
    case = Case(num_items, 1024)
    place = torch.device(device, 0)
    queries, vectors = case.queries.to(place), case.vectors.to(place)

    def on_device() -> None:
        for part in queries.split(256):
            torch.softmax(part @ vectors.T, 1).topk(NUM_RESULTS)[1].cpu()

    ways = {"ours, one core": case.top, "plain, one core": lambda: case.plain(shares=True), f"plain, {device}": on_device}
    return {"items": num_items} | {name: round(1024 / _seconds(way)) for name, way in ways.items()}


def _seconds(way: Callable[[], object]) -> float:
    taken = []
    for _ in range(4):
        begun = time.perf_counter()
        way()
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken[1:])  # the first is a warm-up


def main() -> int:
    """Check, write the report, say what it says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--report", type=Path, default=Path("gpu-report.json"))
    parser.add_argument("--short", action="store_true", help="little data: speeds mean nothing")
    options = parser.parse_args()
    sys.path[:0] = PATH[:-1]
    sys.path.append(PATH[-1])
    import sitecustomize  # noqa: F401
    import torch
    from small_sequences import publish_sequences

    device, begun = options.device, time.monotonic()
    if device == "cuda" and not torch.cuda.is_available():
        print("gpu-check: torch.cuda.is_available() is False; --device cpu tries the check itself", file=sys.stderr)
        return 1
    found = torch.cuda.device_count() if device == "cuda" else 0
    names = [torch.cuda.get_device_name(number) for number in range(found)]
    report: dict[str, Any] = {"devices": names or [platform.machine()], "torch": torch.__version__, "proofs": proofs(device)}
    with tempfile.TemporaryDirectory(prefix="hrnn-gpu-check-") as scratch:
        folder = Path(scratch)
        sequences = publish_sequences(noisy_circle(300 if options.short else 5_000), str(folder / "sequences"), folder)
        ranks = [1, 2] if found >= 2 or (device == "cpu" and not options.short) else [1]
        report["trainings"] = [whole_training(sequences, folder, device, number) for number in ranks]
    if device == "cpu":
        torch.set_num_threads(1)
    users = (2_000, 20_000) if options.short else (20_000, 400_000)
    windows = 1 if options.short else 50
    report["bench_train"] = [training_speed(device, *of) for of in zip(GOALS, (windows, windows), users, strict=True)]
    report["bench_recommend"] = [scoring_speed(device, items) for items in ([3_000] if options.short else [50_000, 500_000])]
    report["seconds"] = round(time.monotonic() - begun, 1)
    options.report.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report, indent=1))
    return 0 if report["proofs"]["passed"] and all(each["passed"] for each in report["trainings"]) else 1


if __name__ == "__main__":
    sys.exit(main())
