"""Imports without Spark, beside plain Python that counts one row after the other."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from plain_exchange import plain_exchange

import jobs.validation.outcome
from jobs.storage import list_input
from jobs.validation.imports import Base
from jobs.validation.inputs import open_inputs
from jobs.validation.outcome import Outcome, run_import
from jobs.validation.plan import FILE_SHIFT, ImportPlan, OldPart, gather
from jobs.validation.splits import plan_splits, scan
from schemas.columns import INPUT_ORDER
from schemas.datasets import DatasetSchema, parse_schema_document
from schemas.errors import IntegrityError

GAP = 20
EVENTS = parse_schema_document(
    {
        "type": "record",
        "name": "Interactions",
        "fields": [
            {"name": "USER_ID", "type": "string"},
            {"name": "ITEM_ID", "type": "string"},
            {"name": "TIMESTAMP", "type": "long"},
            {"name": "EVENT_VALUE", "type": ["null", "float"]},
            {"name": "DEVICE", "type": ["null", "string"], "categorical": True},
        ],
    }
)
ITEMS = parse_schema_document(
    {
        "type": "record",
        "name": "Items",
        "fields": [{"name": "ITEM_ID", "type": "string"}, {"name": "PRICE", "type": ["null", "double"]}],
    }
)

Row = tuple[str, ...]


@pytest.fixture(autouse=True)
def without_spark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs.validation.outcome, "exchange", plain_exchange)
    monkeypatch.setattr(ImportPlan, "num_receivers", 3)


def write_csv(folder: Path, schema: DatasetSchema, files: list[list[Row]]) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    for number, rows in enumerate(files):
        text = "".join(",".join(row) + "\n" for row in [tuple(schema.names), *rows])
        (folder / f"{number}.csv").write_text(text)
    return str(folder)


def do_import(uri: str, schema: DatasetSchema, output: Path, base: Base | None = None) -> Outcome:
    base = base or Base()
    files = base.numbered(open_inputs(list_input(uri), uri, schema))
    splits = plan_splits(files, 150, lambda stretches: [scan(stretch) for stretch in stretches])
    plan = ImportPlan(
        schema=schema,
        output_uri=str(output),
        parts=(*base.parts, *gather(splits, 300, len(base.parts))),
        references=(),
        file_names=(*(file["name"] for file in base.input_files), *(file.name for file in files)),
        gap_seconds=GAP,
    )
    assert len(plan.parts) > 1 + len(base.parts)
    outcome = run_import(None, plan, files, {})  # type: ignore[arg-type]  # no Spark
    firsts = {number: part.first_order for number, part in enumerate(plan.parts)}
    for number, entry in outcome.data.items():
        orders = pq.read_table(output / entry.path)[INPUT_ORDER].to_numpy()
        assert (np.diff(orders) > 0).all()
        assert orders[0] >= firsts[number]
    return outcome


def rows_of(outcome: Outcome, output: Path) -> list[tuple[Any, ...]]:
    found = [pq.read_table(output / outcome.data[number].path).to_pylist() for number in sorted(outcome.data)]
    return [tuple(row.values()) for rows in found for row in rows]


def random_events(seed: int, count: int) -> list[Row]:
    random = np.random.default_rng(seed)
    users, items, times = (random.integers(0, top, count) for top in (15, 9, 200))
    values, devices = random.choice(["", "1.5", "2"], count), random.choice(["", "phone", "tv|web"], count)
    ids = [("0", "7", "12", "100", "x1", "x10", "x9", "ä", "z")[item] for item in items]
    return [(f"u{u}", i, str(t), v, d) for u, i, t, v, d in zip(users, ids, times, values, devices, strict=True)]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_figures_of_events_are_those_of_a_plain_count(tmp_path: Path, seed: int) -> None:
    events = random_events(seed, 500)
    events += [events[place] for place in np.random.default_rng(seed).integers(0, 500, 60)]
    files = [events[:200], events[200:210], events[210:]]
    outcome = do_import(write_csv(tmp_path / "in", EVENTS, files), EVENTS, tmp_path / "out")

    seen: dict[Row, tuple[int, int]] = {}
    duplicates: list[tuple[str, int, str, int]] = []
    for number, rows in enumerate(files):
        for line, row in enumerate(rows, 2):
            first = seen.setdefault(row, (number, line))
            if first != (number, line):
                duplicates.append((f"{number}.csv", line, f"{first[0]}.csv", first[1]))
    unique = [(*row, number << FILE_SHIFT | line) for row, (number, line) in seen.items()]
    assert [(row[0], row[1], str(row[2]), row[5]) for row in rows_of(outcome, tmp_path / "out")] == [
        (row[0], row[1], row[2], row[5]) for row in unique
    ]
    tables = [pq.read_table(tmp_path / "out" / entry.path).to_pylist() for entry in outcome.duplicates]
    told = [(row["file"], row["line"], row["kept_file"], row["kept_line"]) for table in tables for row in table]
    assert sorted(told) == sorted(duplicates)
    assert sum(count.rows_duplicate for count in outcome.counts) == len(duplicates)
    assert all(count.rows_read == count.rows_accepted + count.rows_duplicate for count in outcome.counts)

    statistics = outcome.statistics
    histories: dict[str, list[tuple[int, int, str]]] = defaultdict(list)
    for user, item, time, *_, order in unique:
        histories[user].append((int(time), int(order), item))
    sessions: list[int] = []
    per_user: Counter[int] = Counter()
    ties = Counter[str]()
    busiest = {}
    for user, history in histories.items():
        history.sort()
        before, own = -GAP - 1, 0
        for time, _, _ in history:
            if time - before > GAP:
                sessions.append(0)
                own += 1
            sessions[-1] += 1
            before = time
        per_user[own] += 1
        moments = Counter(time for time, _, _ in history)
        ties["events"] += sum(count for count in moments.values() if count > 1)
        for (t1, _, i1), (t2, _, i2) in pairwise(history):
            if t1 == t2 and i1 != i2:
                ties["pairs"] += 1
                ties["ascending"] += i2.encode() > i1.encode()
                ties["descending"] += i2.encode() < i1.encode()
                if i1.isdigit() and i2.isdigit():
                    ties["numeric_pairs"] += 1
                    ties["numeric_ascending"] += int(i2) > int(i1)
        busiest[user] = len(history) / len({time // 86_400 for time, _, _ in history})
    ties["in_sessions"] = sum(length for length in sessions if length > 1)
    assert statistics["rows"] == len(unique)
    assert statistics["rows_with_missing"] == sum("" in row for row in seen)
    assert statistics["users"] == {
        "count": len(histories),
        "with_two": sum(len(history) > 1 for history in histories.values()),
        "events": as_histogram(Counter(map(len, histories.values()))),
        "sessions": as_histogram(per_user),
    }
    assert statistics["sessions"] == {"gap_seconds": GAP, "count": len(sessions), "lengths": as_histogram(Counter(sessions))}
    assert statistics["ties"] == dict(ties)
    items = Counter(row[1] for row in unique)
    assert (statistics["items"]["count"], statistics["items"]["events"]) == (len(items), as_histogram(Counter(items.values())))
    assert len(statistics["items"]["sample"]) == len(items)
    assert statistics["columns"]["DEVICE"]["values"] == dict(
        sorted(
            Counter(part for row in seen for part in row[4].split("|") if part).items(), key=lambda entry: (-entry[1], entry[0])
        )
    )
    assert statistics["columns"]["EVENT_VALUE"]["missing"] == sum(not row[3] for row in seen)
    assert sum(count for _, _, count in statistics["columns"]["EVENT_VALUE"]["histogram"]) == sum(bool(row[3]) for row in seen)
    assert sum(statistics["events_per_day"].values()) == len(unique)
    assert statistics["bots"]["threshold"] >= max(busiest.values())


def as_histogram(counts: Counter[int]) -> dict[str, int]:
    return {str(number): counts[number] for number in sorted(counts)}


def test_of_descriptions_of_one_item_the_last_stays(tmp_path: Path) -> None:
    files = [[(f"i{n % 40}", str(n)) for n in range(100)], [("i3", ""), ("j", "1"), ("i3", "9")]]
    outcome = do_import(write_csv(tmp_path / "in", ITEMS, files), ITEMS, tmp_path / "out")
    latest = {item: price for rows in files for item, price in rows}
    assert {row[0]: row[1] for row in rows_of(outcome, tmp_path / "out")} == {
        item: float(price) for item, price in latest.items()
    }
    assert [count.rows_duplicate for count in outcome.counts] == [61, 1]
    assert outcome.statistics["rows"] == 41
    assert len(outcome.statistics["sample"]) == 41


@pytest.mark.parametrize("schema", [EVENTS, ITEMS], ids=["events", "items"])
def test_an_incremental_import_is_the_full_import_of_both(tmp_path: Path, schema: DatasetSchema) -> None:
    if schema is EVENTS:
        events = random_events(5, 400)
        before, later = [events[:150], events[150:300]], [events[250:]]
    else:
        before, later = [[(f"i{n}", "1.5") for n in range(80)]], [[(f"i{n}", "2") for n in range(60, 120)]]
    first = do_import(write_csv(tmp_path / "before", schema, before), schema, tmp_path / "out")
    base = Base(
        parts=tuple(
            OldPart(number=place, entry=first.data[number], first_order=first_order(first, number, tmp_path / "out"))
            for place, number in enumerate(sorted(first.data))
        ),
        input_files=tuple({"name": f"{number}.csv"} for number in range(len(before))),
    )
    second = do_import(write_csv(tmp_path / "later", schema, later), schema, tmp_path / "out", base)
    whole = do_import(write_csv(tmp_path / "both", schema, before + later), schema, tmp_path / "other")
    assert rows_of(second, tmp_path / "out") == rows_of(whole, tmp_path / "other")
    both = [json.dumps(outcome.statistics, sort_keys=True) for outcome in (second, whole)]
    assert both[0] == both[1]
    assert second.rows_replaced == (0 if schema is EVENTS else 20)
    assert second.counts[0].rows_duplicate == (50 if schema is EVENTS else 0)
    assert second.added is not None
    assert second.added["rows"] == second.counts[0].rows_accepted


def first_order(outcome: Outcome, number: int, folder: Path) -> int:
    order: int = pq.read_table(folder / outcome.data[number].path)[INPUT_ORDER][0].as_py()
    return order


def test_a_row_that_is_lost_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = jobs.validation.parts.check_block

    def losing(*arguments: Any) -> Any:
        checked = real(*arguments)
        object.__setattr__(checked, "rows_read", checked.rows_read + 1)
        return checked

    monkeypatch.setattr(jobs.validation.parts, "check_block", losing)
    with pytest.raises(IntegrityError, match=r"0\.csv: \d+ rows were read, \d+ accepted, 0 rejected, \d+ duplicates"):
        do_import(write_csv(tmp_path / "in", EVENTS, [random_events(0, 100)]), EVENTS, tmp_path / "out")
