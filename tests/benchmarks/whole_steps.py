"""`hrnn recommend` from lines to lines: how fast, in how much memory, and how much of its workers' time is scoring."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from contenders import _tree

from hrnn.data.hashing import hash64
from hrnn.data.sparse_scores import SparseScores
from hrnn.inference.topk import Scorer
from jobs.platform.storage.folders import StepFolder
from jobs.solutions.tensors import write_tensors
from schemas import columns

NUM_ITEMS, NUM_USERS, WIDTH, OWN, NUM_SHARDS, HASH_SEED = 26_000, 100_000, 100, 20, 8, 5


def whole_steps(numbers_of_lines: Sequence[int]) -> None:
    """Print a table of steps with so many lines; the users of each are drawn from 100,000."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        alone = _publish(folder / "solution")
        print(
            f"\n`hrnn recommend`, N = {NUM_ITEMS:,}, H = {WIDTH}, {NUM_USERS:,} users; "
            f"scoring alone: {alone:,.0f} users a CPU second\n"
        )
        print(
            "| lines | seconds, Spark's start included | lines a second | CPU seconds of Python workers | of these, scoring "
            "| peak GiB: all | JVM | Python workers |\n|---|---|---|---|---|---|---|---|"
        )
        for lines in numbers_of_lines:
            asked = np.random.default_rng(lines).integers(0, NUM_USERS, lines)
            given = folder / f"users-{lines}.json"
            given.write_text("".join(f'{{"userId": "user {user}"}}\n' for user in asked))
            command = [str(Path(sys.executable).with_name("hrnn")), "recommend", "--solution", str(folder / "solution")]
            command += ["--input", str(given), "--output", str(folder / f"out-{lines}")]
            begun = time.monotonic()
            with (
                subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process,
                _usage(process.pid) as usage,
            ):
                assert process.stdout is not None
                answer = process.stdout.read()
            seconds = time.monotonic() - begun
            if process.returncode:
                sys.exit(f"recommend failed with status {process.returncode}")
            assert json.loads(answer.splitlines()[-1])["lines"] == lines
            peaks = " | ".join(f"{usage[name] / 2**30:.2f}" for name in ("all", "java", "worker"))
            scoring = lines / alone / usage["worker seconds"]
            print(
                f"| {lines:,} | {seconds:.1f} | {lines / seconds:,.0f} | {usage['worker seconds']:.0f} "
                f"| {100 * scoring:.0f} % | {peaks} |"
            )


def _publish(path: Path) -> float:
    """A solution version of made-up numbers; returns how many users a CPU second are scored where nothing else is done."""
    random = np.random.default_rng(0)
    vectors = torch.from_numpy(random.normal(0.1, 0.3, (NUM_ITEMS, WIDTH)).astype(np.float32))
    bias = torch.from_numpy(-np.log(np.arange(1, NUM_ITEMS + 1)).astype(np.float32))
    ids = pa.array([f"user {number}" for number in range(NUM_USERS)])
    shards = (hash64(ids, HASH_SEED) % np.uint64(NUM_SHARDS)).astype(np.int64)
    queries = random.normal(0, 2 / 3, (NUM_USERS, WIDTH)).astype(np.float32)
    own_rows = (random.integers(0, NUM_ITEMS, (NUM_USERS, 1)) + 7 * np.arange(OWN)) % NUM_ITEMS
    own_scores = random.normal(3, 1, (NUM_USERS, OWN)).astype(np.float32)
    folder, local = StepFolder(str(path)), path.parent / "file"
    model = write_tensors(folder, path.parent, {"scoring.item_vectors": vectors, "scoring.item_bias": bias})
    items = {
        columns.ITEM_ID: [f"item-{row}" for row in range(NUM_ITEMS)],
        columns.ITEM_ROW: np.arange(NUM_ITEMS),
        columns.NUM_EVENTS: np.arange(NUM_ITEMS, 0, -1),
    }
    pq.write_table(pa.table(items), local)
    catalogue = folder.put_file(local, folder.attempt_path("catalogue.parquet"))
    states = []
    for shard in range(NUM_SHARDS):
        rows = np.flatnonzero(shards == shard)
        table = {
            columns.USER_ID: ids.take(pa.array(rows)),
            columns.USER_ROW: rows,
            columns.QUERY: pa.FixedSizeListArray.from_arrays(pa.array(queries[rows].reshape(-1)), WIDTH),
            columns.SPARSE_ITEM_ROWS: _lists(own_rows[rows]),
            columns.SPARSE_SCORES: _lists(own_scores[rows]),
        }
        pq.write_table(pa.table(table), local)
        states.append(folder.put_file(local, folder.attempt_path(f"states/part-{shard:05d}.parquet"), rows=len(rows)))
    facts = {
        "recipe": "aws-hrnn",
        "dimension": WIDTH,
        "shards": [{"states": entry.path} for entry in states],
        "model": {purpose: entry.path for purpose, entry in model.items()},
        "catalogue": catalogue.path,
        "hash_seed": HASH_SEED,
        "scores": True,
    }
    folder.publish("solution_version", "0" * 64, {}, [], [*model.values(), catalogue, *states], metadata=facts)
    scorer, few = Scorer(vectors, bias), 4096
    own = SparseScores(np.arange(few + 1) * OWN, own_rows[:few].reshape(-1), own_scores[:few].reshape(-1))
    scorer.top(torch.from_numpy(queries[:256]), own.part(0, 256), 25)
    begun = time.process_time()
    scorer.top(torch.from_numpy(queries[:few]), own, 25)
    return few / (time.process_time() - begun)


def _lists(values: np.ndarray) -> pa.Array:
    offsets = np.arange(len(values) + 1, dtype=np.int32) * values.shape[1]
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values.reshape(-1)))


@contextlib.contextmanager
def _usage(root: int) -> Iterator[dict[str, float]]:
    """Peak PSS in bytes of a process tree, of its JVM and of Spark's Python workers; CPU seconds of the workers."""
    usage: dict[str, float] = {"all": 0, "java": 0, "worker": 0, "worker seconds": 0}
    ticks: dict[int, int] = {}
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.2):
            now = dict.fromkeys(("all", "java", "worker"), 0)
            for process in _tree(root):
                with contextlib.suppress(OSError, ValueError, IndexError, StopIteration):
                    entry = Path(f"/proc/{process}")
                    command = entry.joinpath("cmdline").read_bytes()
                    rollup = entry.joinpath("smaps_rollup").read_text()
                    pss = next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")) << 10
                    now["all"] += pss
                    now["java"] += pss * (b"java\0" in command)
                    if b"spark.daemon" in command:
                        now["worker"] += pss
                        fields = entry.joinpath("stat").read_text().rsplit(")", 1)[1].split()
                        ticks[process] = int(fields[11]) + int(fields[12])
            for name, pss in now.items():
                usage[name] = max(usage[name], pss)

    thread = threading.Thread(target=watch)
    thread.start()
    yield usage
    done.set()
    thread.join()
    usage["worker seconds"] = max(1e-9, sum(ticks.values()) / os.sysconf("SC_CLK_TCK"))
