"""`hrnn sessionize` beside polars doing the same work, in turn, each run in a process of its own.

    python tests/benchmarks/bench_sessionize.py --rows 10000000 --rounds 3

Both read the same typed Parquet and write: sequences in zstd Parquet sorted by user and time with session starts, a table of
users, and a catalogue with counts and distinct users. Seconds are the work alone; what Python, polars and Spark take to start
stands beside them. Memory is the peak of the whole process tree, shared pages counted once (PSS). Every pair of runs must find
the same sessions, users and catalogue, or the benchmark fails.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from contenders import check_same, measure, median, paired, shown

from jobs.platform.storage.folders import StepFolder

NUM_ITEMS = 50_000
NUM_PARTS = 8
GAP_SECONDS = 1800
SCHEMA = {
    "type": "record",
    "name": "Interactions",
    "namespace": "com.amazonaws.personalize.schema",
    "fields": [
        {"name": "USER_ID", "type": "string"},
        {"name": "ITEM_ID", "type": "string"},
        {"name": "EVENT_TYPE", "type": "string"},
        {"name": "TIMESTAMP", "type": "long"},
    ],
    "version": "1.0",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000, help="events of the synthetic data set")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each contender; the median is shown")
    parser.add_argument("--cores", type=int, default=2, help="cores each contender may use")
    parser.add_argument("--child", choices=sorted(CONTENDERS), help=argparse.SUPPRESS)
    parser.add_argument("--data", help=argparse.SUPPRESS)
    parser.add_argument("--output", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(CONTENDERS[options.child](Path(options.data), Path(options.output), options.cores)))
        return
    with tempfile.TemporaryDirectory(prefix="hrnn-bench-", dir=os.environ.get("HRNN_SCRATCH")) as scratch:
        for label, heavy in (("even", 0), ("one user with 1 M events", 1_000_000)):
            data = Path(scratch) / "data" / str(heavy)
            make_dataset(data, options.rows, min(heavy, options.rows // 2))
            compare(label, data, Path(scratch) / "out", options)


def make_dataset(folder: Path, rows: int, heavy_user_events: int) -> None:
    """Publish typed Interactions: rows / 10 users, sessions of about seven events, Zipf items, in random order of time.

    Random order is the hard case: every part holds events of nearly every user.
    """
    random = np.random.default_rng(1)
    num_users = rows // 10
    num_sessions = int(rows / 6.6)
    session_user = (random.random(num_sessions) ** 2 * num_users).astype(np.int64)
    session_time = random.integers(1_600_000_000, 1_600_000_000 + 90 * 86_400, num_sessions)
    session = random.integers(0, num_sessions, rows)
    users = session_user[session]
    users[random.permutation(rows)[:heavy_user_events]] = 0
    times = session_time[session] + random.exponential(300, rows).astype(np.int64)
    popularity = np.cumsum(1 / np.arange(1, NUM_ITEMS + 1))
    items = random.permutation(NUM_ITEMS)[np.searchsorted(popularity / popularity[-1], random.random(rows))]
    types = random.choice(3, rows, p=[0.8, 0.15, 0.05])
    user_ids = pa.array([f"user-{number:07d}" for number in range(num_users)])
    item_ids = pa.array([f"item-{number:05d}" for number in range(NUM_ITEMS)])
    event_types = pa.array(["view", "cart", "purchase"])
    step = StepFolder(str(folder))
    files = []
    for number, block in enumerate(np.array_split(np.arange(rows), NUM_PARTS)):
        columns = {
            "USER_ID": user_ids.take(pa.array(users[block])),
            "ITEM_ID": item_ids.take(pa.array(items[block])),
            "EVENT_TYPE": event_types.take(pa.array(types[block])),
            "TIMESTAMP": times[block],
            "INPUT_ORDER": block + 2,
        }
        sink = pa.BufferOutputStream()
        pq.write_table(pa.table(columns), sink, compression="zstd")
        files.append(step.put(step.attempt_path(f"data/part-{number:05d}.parquet"), sink.getvalue().to_pybytes(), len(block)))
    facts = {"dataset_type": "Interactions", "schema": SCHEMA}
    step.publish("dataset", "0" * 64, {}, [], files, {"rows_accepted": rows}, facts)


def run_polars(data: Path, output: Path, cores: int) -> dict[str, Any]:
    """The same work in polars: ids encoded once, its streaming engine throughout."""
    began = time.monotonic()
    import polars as pl

    started = time.monotonic()
    output.mkdir(parents=True)
    read = pl.scan_parquet(data / "data" / "part-*.parquet").collect()
    columns = [pl.len().alias("num_events"), pl.col("TIMESTAMP").min().alias("first"), pl.col("TIMESTAMP").max().alias("last")]
    statistics = read.lazy().group_by("ITEM_ID").agg(*columns).sort(["num_events", "ITEM_ID"], descending=[True, False])
    items = statistics.with_row_index("item_row").with_columns(pl.col("item_row").cast(pl.Int64)).collect(engine="streaming")
    ids = read.lazy().select(pl.col("USER_ID").unique()).with_row_index("user_row").collect(engine="streaming")
    new_user = pl.col("user_row") != pl.col("user_row").shift(1)
    idle = pl.col("TIMESTAMP") - pl.col("TIMESTAMP").shift(1)
    events = (
        read.lazy()
        .join(items.lazy().select("ITEM_ID", "item_row"), on="ITEM_ID")
        .join(ids.lazy().with_columns(pl.col("user_row").cast(pl.Int64)), on="USER_ID")
        .with_columns(event_type=pl.col("EVENT_TYPE").cast(pl.Categorical).to_physical().cast(pl.Int32))
        .select("user_row", "item_row", "TIMESTAMP", "event_type", "INPUT_ORDER")
        .sort(["user_row", "TIMESTAMP", "INPUT_ORDER"])
        .with_columns(session_start=(new_user | (idle > GAP_SECONDS)).fill_null(True))
        .drop("INPUT_ORDER")
        .collect(engine="streaming")
    )
    pairs = events.lazy().select("user_row", "item_row").unique().group_by("item_row").agg(pl.len().alias("num_users"))
    catalogue = items.join(pairs.collect(engine="streaming"), on="item_row", maintain_order="left")
    per_user = [pl.len().alias("num_events"), pl.col("session_start").sum().alias("num_sessions"), pl.col("TIMESTAMP").last()]
    users = events.group_by("user_row", maintain_order=True).agg(*per_user)
    users = users.with_columns(pl.col("user_row").cast(pl.UInt32)).join(ids, on="user_row", maintain_order="left")
    for name, frame in (("events", events), ("users", users), ("catalogue", catalogue)):
        frame.write_parquet(output / f"{name}.parquet", compression="zstd")
    seconds = time.monotonic() - started
    counts = {"events": events.height, "users": users.height, "sessions": int(events["session_start"].sum())}
    return _result(began, started, seconds, counts, catalogue.select("ITEM_ID", "num_events", "num_users").to_arrow())


def run_hrnn(data: Path, output: Path, cores: int) -> dict[str, Any]:
    """`hrnn sessionize` in a Spark of its own, its first job: nothing is warm."""
    began = time.monotonic()
    from jobs.platform.spark.session import spark_session
    from jobs.sessionize.job import sessionize
    from schemas.data_settings import SessionizeSettings

    spark = spark_session(f"local[{cores}]")
    started = time.monotonic()
    summary = sessionize(
        interactions_uri=str(data), output_uri=str(output), settings=SessionizeSettings(gap_seconds=GAP_SECONDS)
    )
    seconds = time.monotonic() - started
    folder = StepFolder(str(output))
    manifest = folder.require("sequences")
    catalogue = pq.read_table(folder.uri_of(manifest.metadata["catalogue"]), columns=["ITEM_ID", "num_events", "num_users"])
    spark.stop()
    return _result(began, started, seconds, {name: summary[name] for name in ("events", "users", "sessions")}, catalogue)


CONTENDERS = {"polars": run_polars, "hrnn": run_hrnn}


def _result(began: float, started: float, seconds: float, counts: dict[str, int], catalogue: pa.Table) -> dict[str, Any]:
    import hashlib

    lines = zip(*(column.to_pylist() for column in catalogue.columns), strict=True)
    digest = hashlib.sha256("\n".join(f"{item} {events} {users}" for item, events, users in lines).encode()).hexdigest()
    return {
        "start_seconds": started - began,
        "seconds": seconds,
        "found": {**counts, "items": len(catalogue), "catalogue": digest},
    }


def compare(label: str, data: Path, output: Path, options: argparse.Namespace) -> None:
    """Run both in turn; print what they took; fail where they differ."""
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in CONTENDERS}
    for number in range(options.rounds):
        for name in CONTENDERS:
            runs[name].append(measure(__file__, name, data, output / f"{data.name}-{name}-{number}", options.cores))
            print(f"  {label}, round {number + 1}, {name}: {json.dumps(shown(runs[name][-1]))}", file=sys.stderr, flush=True)
    found = check_same(run for name in runs for run in runs[name])
    print(f"\n{options.rows:,} events, {label}; {found['sessions']:,} sessions, {found['users']:,} users; same results")
    print(f"{'median of ' + str(options.rounds):14} {'work s':>8} {'start s':>8} {'CPU s':>8} {'peak GiB':>9}")
    for name in CONTENDERS:
        seconds, start, cpu, peak = (median(runs[name], key) for key in ("seconds", "start_seconds", "cpu", "peak"))
        print(f"{name:14} {seconds:8.2f} {start:8.2f} {cpu:8.1f} {peak / 2**30:9.2f}")
    ratios = paired(runs["hrnn"], runs["polars"])
    print(
        f"hrnn / polars  {statistics.median(ratios):8.2f}  (median of {', '.join(f'{ratio:.2f}' for ratio in ratios)})",
        flush=True,
    )


if __name__ == "__main__":
    main()
