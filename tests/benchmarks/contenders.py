"""What benchmarks share: contenders that run in turn, each run in a process of its own that is watched from outside."""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

Run = dict[str, Any]


def measure(script: str, name: str, data: Path, output: Path, cores: int) -> Run:
    """One run in a fresh process: what it reports, CPU seconds and peak bytes of its process tree.

    Args:
        script: Path of the benchmark; run with `--child NAME --data --output --cores` it prints its report as JSON.
        name: The contender.
        data: What it reads.
        output: Folder that it makes.
        cores: That it may use.
    """
    command = [sys.executable, script, "--child", name, "--data", str(data), "--output", str(output), "--cores", str(cores)]
    environment = {**os.environ, "POLARS_MAX_THREADS": str(cores)}
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process,
        watched(process.pid) as usage,
    ):
        assert process.stdout is not None
        answer = process.stdout.read()
    if process.returncode:
        sys.exit(f"{name} failed with status {process.returncode}")
    return {**json.loads(answer.splitlines()[-1]), **usage}


def check_same(runs: Iterable[Run]) -> Any:
    """What all runs found; ends the benchmark where they differ."""
    found = [run["found"] for run in runs]
    if any(each != found[0] for each in found):
        sys.exit(f"the contenders differ: {json.dumps(found, indent=1)}")
    return found[0]


def median(runs: Sequence[Run], key: str) -> float:
    """The median of one figure."""
    return float(statistics.median(run[key] for run in runs))


def paired(ours: Sequence[Run], theirs: Sequence[Run]) -> list[float]:
    """Ratios of seconds, round by round: neighbours in time share the machine's other load."""
    return [one["seconds"] / other["seconds"] for one, other in zip(ours, theirs, strict=True)]


def shown(run: Run) -> Run:
    """A run's figures, rounded."""
    return {key: round(value, 2) for key, value in run.items() if key != "found"}


@contextlib.contextmanager
def watched(root: int) -> Iterator[dict[str, float]]:
    """Peak PSS in bytes and CPU seconds of a process and all below it, looked at five times a second."""
    usage: dict[str, float] = {"peak": 0, "cpu": 0}
    ticks: dict[int, int] = {}
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.2):
            total = 0
            for process in _tree(root):
                with contextlib.suppress(OSError, ValueError, IndexError):
                    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
                    ticks[process] = int(fields[11]) + int(fields[12])
                    rollup = Path(f"/proc/{process}/smaps_rollup").read_text()
                    total += next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")) << 10
            usage["peak"] = max(usage["peak"], total)

    thread = threading.Thread(target=watch)
    thread.start()
    yield usage
    done.set()
    thread.join()
    usage["cpu"] = sum(ticks.values()) / os.sysconf("SC_CLK_TCK")


def _tree(root: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    found = [root]
    for process in found:
        found += children.get(process, [])
    return found
