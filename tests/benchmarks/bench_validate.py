"""`hrnn validate`, with and without its expectation suite, beside polars making the same checks.

    python tests/benchmarks/bench_validate.py --rows 2000000 10000000 --rounds 3

All read the same CSV files: Interactions in order of time, about 37 bytes a row, 0.05 % of the rows with a wrong cell, 0.1 %
there twice. They write accepted rows as zstd Parquet, rejected cells with file, line, column and value, and the same
statistics. Each run has a process of its own. Seconds are the work alone; what Python, polars and Spark take to start stands
beside them. Memory is the peak of the whole process tree, shared pages counted once (PSS). All must accept, reject and leave
out as many rows and find as many users, items, sessions and ties, or the benchmark fails.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
from contenders import Run, check_same, measure, median, paired, shown

NUM_ITEMS = 50_000
NUM_FILES = 6
BAD_SHARE = 0.0005  # of the rows
DUPLICATE_SHARE = 0.001
GAP_SECONDS = 1800
LONGEST_ID = 256  # characters
COLUMNS = ("USER_ID", "ITEM_ID", "EVENT_TYPE", "TIMESTAMP")
SCHEMA = {
    "type": "record",
    "name": "Interactions",
    "namespace": "com.amazonaws.personalize.schema",
    "fields": [{"name": name, "type": "long" if name == "TIMESTAMP" else "string"} for name in COLUMNS],
    "version": "1.0",
}
BAD_CELLS = (
    ("USER_ID", ""),
    ("USER_ID", "u" * (LONGEST_ID + 1)),
    ("ITEM_ID", ""),
    ("ITEM_ID", "i" * (LONGEST_ID + 1)),
    ("EVENT_TYPE", ""),
    ("TIMESTAMP", ""),
    ("TIMESTAMP", "yesterday"),
    ("TIMESTAMP", "1600000000.5"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[2_000_000, 10_000_000], help="rows of the made-up files")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each contender; the median is shown")
    parser.add_argument("--cores", type=int, default=2, help="cores each contender may use")
    parser.add_argument("--child", choices=sorted(CONTENDERS), help=argparse.SUPPRESS)
    parser.add_argument("--data", help=argparse.SUPPRESS)
    parser.add_argument("--output", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(CONTENDERS[options.child](Path(options.data), Path(options.output), options.cores)))
        return
    seconds: dict[int, dict[str, float]] = {}
    for rows in sorted(set(options.rows)):
        with tempfile.TemporaryDirectory(prefix="hrnn-bench-", dir=os.environ.get("HRNN_SCRATCH")) as scratch:
            make_files(Path(scratch) / "data", rows)
            seconds[rows] = compare(rows, Path(scratch), options)
    tell_growth(seconds)


def make_files(folder: Path, rows: int) -> None:
    """CSV files in order of time: rows / 10 users whose sessions overlap, items by Zipf's law, a few wrong and doubled rows."""
    random = np.random.default_rng(1)
    folder.mkdir(parents=True)
    num_sessions = int(rows / 6.6)
    session_user = (random.random(num_sessions) ** 2 * (rows // 10)).astype(np.int64)
    session_time = random.integers(1_600_000_000, 1_600_000_000 + 90 * 86_400, num_sessions)
    session = random.integers(0, num_sessions, rows - int(rows * DUPLICATE_SHARE))
    times = session_time[session] + random.exponential(300, len(session)).astype(np.int64)
    popularity = np.cumsum(1 / np.arange(1, NUM_ITEMS + 1))
    items = random.permutation(NUM_ITEMS)[np.searchsorted(popularity / popularity[-1], random.random(len(session)))]
    types = random.choice(3, len(session), p=[0.8, 0.15, 0.05])
    doubled = random.choice(len(session), rows - len(session), replace=False)
    order = np.concatenate([np.arange(len(session)), doubled])
    order = order[np.argsort(times[order], kind="stable")]
    users, items, types, times = session_user[session][order], items[order], types[order], times[order]
    user_ids = pa.array([f"user{number:07d}" for number in range(rows // 10)])
    item_ids = pa.array([f"item{number:05d}" for number in range(NUM_ITEMS)])
    event_types = pa.array(["view", "cart", "buy"])
    bad = random.choice(rows, int(rows * BAD_SHARE), replace=False)
    kinds = random.integers(0, len(BAD_CELLS), len(bad))
    for number, block in enumerate(np.array_split(np.arange(rows), NUM_FILES)):
        table = {
            "USER_ID": user_ids.take(pa.array(users[block])),
            "ITEM_ID": item_ids.take(pa.array(items[block])),
            "EVENT_TYPE": event_types.take(pa.array(types[block])),
            "TIMESTAMP": pa.array(times[block]).cast(pa.string()),
        }
        for kind, (name, cell) in enumerate(BAD_CELLS):
            mask = np.zeros(len(block), np.bool_)
            mask[bad[(kinds == kind) & (bad >= block[0]) & (bad <= block[-1])] - block[0]] = True
            table[name] = pa.compute.if_else(pa.array(mask), cell, table[name])
        options = pa.csv.WriteOptions(quoting_style="none", quoting_header="none")
        pa.csv.write_csv(pa.table(table), folder / f"events-{number}.csv", options)
    (folder.parent / "schema.json").write_text(json.dumps(SCHEMA))


def run_polars(data: Path, output: Path, cores: int) -> Run:
    """The same checks in polars: every cell read as text, cast, and judged; its streaming engine where it helps."""
    began = time.monotonic()
    import polars as pl

    started = time.monotonic()
    output.mkdir(parents=True)
    time_of = pl.col("TIMESTAMP").cast(pl.Int64, strict=False)
    checks = {name: pl.col(name).str.len_chars().is_between(1, LONGEST_ID) for name in ("USER_ID", "ITEM_ID")}
    checks |= {
        "EVENT_TYPE": pl.col("EVENT_TYPE").str.len_chars().is_between(1, 1000),
        "TIMESTAMP": time_of.is_between(0, 10**11),
    }
    files = [
        pl.scan_csv(path, infer_schema=False, row_index_name="line", row_index_offset=2).with_columns(file=pl.lit(number))
        for number, path in enumerate(sorted(data.glob("*.csv")))
    ]
    read = pl.concat(files).with_columns(**{f"{name} is right": check.fill_null(False) for name, check in checks.items()})
    read = read.with_columns(is_right=pl.all_horizontal(f"{name} is right" for name in checks)).collect(engine="streaming")
    wrong = read.filter(~pl.col("is_right"))
    cells = [
        wrong.filter(~pl.col(f"{name} is right")).select("file", "line", column=pl.lit(name), value=pl.col(name))
        for name in checks
    ]
    rejected = pl.concat(cells).sort("file", "line")
    place = (pl.col("file").cast(pl.Int64) * 2**40 + pl.col("line").cast(pl.Int64)).alias("INPUT_ORDER")
    typed = read.filter("is_right").select("USER_ID", "ITEM_ID", "EVENT_TYPE", time_of, place)
    accepted = typed.unique(subset=COLUMNS, keep="first", maintain_order=True)
    found = _polars_statistics(pl, accepted)
    accepted.write_parquet(output / "accepted.parquet", compression="zstd")
    rejected.write_parquet(output / "rejected.parquet", compression="zstd")
    rejected.write_csv(output / "rejected.csv")
    (output / "statistics.json").write_text(json.dumps(found))
    seconds = time.monotonic() - started
    counts = {"accepted": accepted.height, "rejected": wrong.height, "duplicates": typed.height - accepted.height}
    return _result(began, started, seconds, counts, found)


def _polars_statistics(pl: Any, accepted: Any) -> dict[str, Any]:
    """The figures of statistics.json, by polars."""
    per_user = accepted.group_by("USER_ID").agg(
        pl.len().alias("events"), (pl.col("TIMESTAMP") // 86_400).n_unique().alias("days")
    )
    per_item = accepted.group_by("ITEM_ID").agg(pl.len().alias("events"))
    days = accepted.group_by(pl.col("TIMESTAMP") // 86_400).len()
    kinds = accepted.group_by("EVENT_TYPE").len()
    ordered = accepted.sort("USER_ID", "TIMESTAMP", "INPUT_ORDER").lazy()
    new_user = (pl.col("USER_ID") != pl.col("USER_ID").shift(1)).fill_null(True)
    idle = pl.col("TIMESTAMP") - pl.col("TIMESTAMP").shift(1)
    tied = ~new_user & (idle == 0) & (pl.col("ITEM_ID") != pl.col("ITEM_ID").shift(1))
    events = ordered.select(
        "USER_ID",
        start=(new_user | (idle > GAP_SECONDS)).fill_null(True),
        tied=tied.fill_null(False),
        ascending=(tied & (pl.col("ITEM_ID") > pl.col("ITEM_ID").shift(1))).fill_null(False),
    ).collect(engine="streaming")
    sessions = events.select(pl.col("start").cum_sum().alias("session")).group_by("session").len()
    per_user_sessions = events.group_by("USER_ID").agg(pl.col("start").sum())
    rates = per_user.select((pl.col("events") / pl.col("days")).alias("rate"))
    return {
        "users": {
            "count": per_user.height,
            "events": _histogram(per_user, "events"),
            "sessions": _histogram(per_user_sessions, "start"),
        },
        "items": {"count": per_item.height, "events": _histogram(per_item, "events")},
        "sessions": {"count": sessions.height, "lengths": _histogram(sessions, "len")},
        "ties": {"pairs": int(events["tied"].sum()), "ascending": int(events["ascending"].sum())},
        "events_per_day": days.sort("TIMESTAMP").rows(),
        "event_types": kinds.sort("EVENT_TYPE").rows(),
        "busiest": rates["rate"].quantile(0.999),
        "missing": sum(accepted[name].null_count() for name in COLUMNS),
    }


def _histogram(frame: Any, column: str) -> list[tuple[int, int]]:
    rows: list[tuple[int, int]] = frame[column].value_counts().sort(column).rows()
    return rows


def run_hrnn(suite: bool, data: Path, output: Path, cores: int) -> Run:
    """`hrnn validate` in a Spark of its own, its first job: nothing is warm."""
    began = time.monotonic()
    from jobs.platform.spark.session import spark_session
    from jobs.platform.storage.folders import StepFolder
    from jobs.validate.job import validate
    from schemas.data_settings import ValidateSettings

    spark = spark_session(f"local[{cores}]")
    started = time.monotonic()
    schema = data.parent / "schema.json"
    settings = ValidateSettings(gap_seconds=GAP_SECONDS)
    told = validate(schema_uri=str(schema), data_uri=str(data), output_uri=str(output), settings=settings, suite=suite)
    seconds = time.monotonic() - started
    folder = StepFolder(str(output))
    manifest = folder.require("dataset")
    found = json.loads(folder.read(manifest.file(manifest.metadata["statistics"])))
    spark.stop()
    counts = {"accepted": told["rows_accepted"], "rejected": told["rows_rejected"], "duplicates": told["rows_duplicate"]}
    return _result(began, started, seconds, counts, found)


CONTENDERS = {"polars": run_polars, "hrnn": partial(run_hrnn, False), "hrnn + suite": partial(run_hrnn, True)}


def _result(began: float, started: float, seconds: float, counts: dict[str, int], told: dict[str, Any]) -> Run:
    found = {**counts, **{name: told[name]["count"] for name in ("users", "items", "sessions")}}
    found |= {f"tied {name}": told["ties"][name] for name in ("pairs", "ascending")}
    return {"start_seconds": started - began, "seconds": seconds, "found": found}


def compare(rows: int, scratch: Path, options: argparse.Namespace) -> dict[str, float]:
    """Run all in turn; print what they took; fail where they differ. Median seconds by contender."""
    runs: dict[str, list[Run]] = {name: [] for name in CONTENDERS}
    for number in range(options.rounds):
        for name in CONTENDERS:
            output = scratch / "out"
            runs[name].append(measure(__file__, name, scratch / "data", output, options.cores))
            shutil.rmtree(output)
            print(f"  {rows:,}, round {number + 1}, {name}: {json.dumps(shown(runs[name][-1]))}", file=sys.stderr, flush=True)
    found = check_same(run for name in runs for run in runs[name])
    size = sum(path.stat().st_size for path in (scratch / "data").iterdir())
    same = ", ".join(f"{count:,} {name}" for name, count in found.items())
    print(f"\n{rows:,} rows, {size / 2**20:,.0f} MiB; same results: {same}")
    print(f"{'median of ' + str(options.rounds):14} {'work s':>8} {'start s':>8} {'CPU s':>8} {'peak GiB':>9} {'rows/s':>10}")
    for name in CONTENDERS:
        seconds, start, cpu, peak = (median(runs[name], key) for key in ("seconds", "start_seconds", "cpu", "peak"))
        print(f"{name:14} {seconds:8.2f} {start:8.2f} {cpu:8.1f} {peak / 2**30:9.2f} {rows / seconds:10,.0f}")
    for name in ("hrnn", "hrnn + suite"):
        _tell_ratios(f"{name} / polars", paired(runs[name], runs["polars"]))
    _tell_ratios("suite's extra", [ratio - 1 for ratio in paired(runs["hrnn + suite"], runs["hrnn"])])
    return {name: median(runs[name], "seconds") for name in CONTENDERS}


def _tell_ratios(label: str, ratios: list[float]) -> None:
    print(
        f"{label:22} {statistics.median(ratios):6.2f}  (median of {', '.join(f'{ratio:.2f}' for ratio in ratios)})", flush=True
    )


def tell_growth(seconds: dict[int, dict[str, float]]) -> None:
    """How work grew from the smallest size to the largest; linear cost grows at most as the rows do."""
    smallest, largest = min(seconds), max(seconds)
    if smallest == largest:
        return
    grown = ", ".join(f"{name} {seconds[largest][name] / seconds[smallest][name]:.2f}" for name in CONTENDERS)
    print(f"\nrows grew {largest / smallest:.2f} times, work seconds: {grown}")


if __name__ == "__main__":
    main()
