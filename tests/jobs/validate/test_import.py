"""Imports without Spark, beside plain Python that counts one row after the other."""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys
from collections import Counter, defaultdict
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from plain_exchange import plain_exchange

import jobs.validate.outcome
from jobs.platform.storage import list_input
from jobs.platform.storage.folders import StepFolder
from jobs.validate import keys, reading
from jobs.validate.imports import Base
from jobs.validate.inputs import OPEN_BYTES, SPLIT_BYTES, InputFile, Split, open_inputs
from jobs.validate.keys import KeyCollector
from jobs.validate.outcome import Outcome, run_import
from jobs.validate.parts import send_part
from jobs.validate.plan import FILE_SHIFT, ImportPlan, OldPart, gather
from jobs.validate.report import build_report, put_rejected
from jobs.validate.splits import plan_splits, scan
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
    monkeypatch.setattr(jobs.validate.outcome, "exchange", plain_exchange)
    monkeypatch.setattr(ImportPlan, "num_receivers", 3)


def write_csv(folder: Path, schema: DatasetSchema, files: list[list[Row]]) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    for number, rows in enumerate(files):
        text = "".join(",".join(row) + "\n" for row in [tuple(schema.names), *rows])
        (folder / f"{number}.csv").write_text(text)
    return str(folder)


def do_import(
    uri: str, schema: DatasetSchema, output: Path, base: Base | None = None, part_bytes: int = 300, **settings: Any
) -> Outcome:
    base = base or Base()
    files = base.numbered(open_inputs(list_input(uri), uri, schema))
    splits = plan_splits(files, part_bytes // 2, lambda byte_ranges: [scan(byte_range) for byte_range in byte_ranges])
    plan = ImportPlan(
        schema=schema,
        output_uri=str(output),
        parts=(*base.parts, *gather(splits, part_bytes, len(base.parts))),
        references=(),
        file_names=(*(file["name"] for file in base.input_files), *(file.name for file in files)),
        gap_seconds=GAP,
        **settings,
    )
    assert len(plan.parts) > 1 + len(base.parts) or part_bytes > 300
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


def test_the_work_for_small_files_grows_with_their_number_and_their_rows_share_row_groups(tmp_path: Path) -> None:
    calls = {}
    for number in (20, 20, 160):  # the first also imports
        events = random_events(3, 4 * number)
        uri = write_csv(tmp_path / f"in-{number}", EVENTS, [events[start : start + 4] for start in range(0, len(events), 4)])
        files = open_inputs(list_input(uri), uri, EVENTS)
        splits = plan_splits(files, 1 << 20, lambda byte_ranges: pytest.fail("no need to scan"))
        plan = ImportPlan(
            schema=EVENTS,
            output_uri=str(tmp_path / f"out-{number}"),
            parts=tuple(gather(splits, 1 << 20)),
            references=(),
            file_names=tuple(file.name for file in files),
            gap_seconds=GAP,
        )
        counted: Counter[str] = Counter()
        sys.setprofile(lambda frame, event, argument, counted=counted: counted.update([event]))
        try:
            told = list(send_part(plan, 0))
        finally:
            sys.setprofile(None)
        assert told
        calls[number] = counted["call"] + counted["c_call"]
        data = max((tmp_path / f"out-{number}" / "data").iterdir())
        assert pq.read_metadata(data).num_row_groups == 1
    assert calls[160] < 8.5 * calls[20]


def test_many_small_files_are_work_for_several_tasks() -> None:
    file = InputFile(
        number=0, uri="u", name="n", size=100, version="v", gzipped=False, header=("A",), body_start=2, body_line=2
    )
    splits = [Split(file=file, start=2, end=100, first_line=2)] * 2000
    assert len(gather(splits, SPLIT_BYTES, 0, OPEN_BYTES)) == 16


def test_keys_beyond_a_limit_wait_on_the_disk_and_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MOST_LINES", 20)
    monkeypatch.setattr(ImportPlan, "num_receivers", 2)
    uri = write_csv(tmp_path / "in", EVENTS, [[]])
    events = random_events(3, 400)
    rows = [tuple(EVENTS.names), *events, *events[:30]]
    (tmp_path / "in" / "0.csv").write_bytes(gzip.compress("".join(",".join(row) + "\n" for row in rows).encode()))
    write_csv(tmp_path / "more", EVENTS, [random_events(4, 50)])
    (tmp_path / "more" / "0.csv").rename(tmp_path / "in" / "1.csv")
    without = do_import(uri, EVENTS, tmp_path / "without")
    held: list[int] = []
    real = KeyCollector.add

    def watched(keys: KeyCollector, table: Any) -> None:
        real(keys, table)
        held.append(keys.held_bytes)

    monkeypatch.setattr(KeyCollector, "add", watched)
    monkeypatch.setattr(keys, "MOST_HELD", 4_000)
    spilled = do_import(uri, EVENTS, tmp_path / "spilled")
    assert len(held) >= 20
    assert max(held) <= 4_000
    assert held.count(0) == 3
    assert (spilled.counts, spilled.statistics) == (without.counts, without.statistics)
    assert without.counts[0].rows_duplicate > 0
    assert rows_of(spilled, tmp_path / "spilled") == rows_of(without, tmp_path / "without")


def test_a_file_with_backslashes_as_characters_is_read_once_more_and_the_report_says_so(tmp_path: Path) -> None:
    rows = [f'i{n},"1"' for n in range(20)] + ['"Old, worn\\",2', '"say ""ok""",3', '"C:\\\\x",4', "i0,5"]
    write_csv(tmp_path / "in", ITEMS, [[("i9", "9")]])
    for name, text in (("1.csv", "\n".join(["ITEM_ID,PRICE", *rows, ""])), ("2.csv", 'ITEM_ID,PRICE\n"a\\"b",1\n')):
        (tmp_path / "in" / name).write_text(text)
    found = do_import(str(tmp_path / "in"), ITEMS, tmp_path / "out", part_bytes=2000)
    assert [(count.quoting, count.rows_accepted, count.rows_rejected, count.rows_duplicate) for count in found.counts] == [
        ("backslash", 0, 0, 1), ("doubled", 23, 0, 1), ("backslash", 1, 0, 0),
    ]  # fmt: skip
    ids = [row[0] for row in rows_of(found, tmp_path / "out")]
    assert ids[-4:] == ["C:\\\\x", "i0", 'a"b'] or ids[-5:] == ["Old, worn\\", 'say "ok"', "C:\\\\x", "i0", 'a"b']
    files = open_inputs(list_input(str(tmp_path / "in")), str(tmp_path / "in"), ITEMS)
    report = build_report(ITEMS, "in", files, found.counts, [], 0.01)
    assert ["RFC 4180" in " ".join(file["warnings"]) for file in report["files"]] == [False, True, False]


def test_texts_that_a_spreadsheet_takes_for_formulas_are_disarmed_in_csv_and_raw_in_parquet(tmp_path: Path) -> None:
    risky = ["=cmd|' /C calc'!A0", "+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1", "＋1", "－1", "＠1"]
    harmless = ["a=1", " =1", "'=1"]
    (tmp_path / "in" / "=2").mkdir(parents=True)
    text = io.StringIO(newline="")
    csv.writer(text).writerows([EVENTS.names, *(["u", "i", value, "", ""] for value in [*risky, *harmless])])
    (tmp_path / "in" / "=2" / "1.csv").write_text(text.getvalue(), newline="")
    write_csv(tmp_path / "in", EVENTS, [random_events(0, 30)])
    found = do_import(str(tmp_path / "in"), EVENTS, tmp_path / "out")
    folder = StepFolder(str(tmp_path / "out"))
    entry = put_rejected(folder, found.rejected, partial(folder.put_page, "rejected/rejected.csv"))
    told = list(csv.DictReader(io.StringIO(folder.read(entry).decode(), newline="")))
    assert [row["value"] for row in told] == [*(f"'{value}" for value in risky), *harmless]
    assert {row["file"] for row in told} == {"'=2/1.csv"}
    raw = [row for entry in found.rejected for row in pq.read_table(folder.fetch(entry, tmp_path)).to_pylist()]
    assert [row["value"] for row in raw] == risky + harmless
    assert {row["file"] for row in raw} == {"=2/1.csv"}


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


START, NOW = 1_700_006_400, 1_702_700_000  # a midnight; a month later
MONTH: list[Row] = [(f"u{n % 40}", f"i{n % 9}", str(START + n * 900), "", "") for n in range(2_688)]  # 28 days
ODD = {"4102444800": "after the time", str(START + 30 * 86_400): "more than a day after", "0": "a null", "1": "a null"}


def import_odd(tmp_path: Path, times: list[str], **settings: Any) -> Outcome:
    """A month's events in two files; the odd ones are the second file's lines 4, 5 and so on."""
    odd = [("u1", "i1", time, "", "") for time in times]
    files = [MONTH[:1_500], [*MONTH[1_500:1_502], *odd, *MONTH[1_502:]]]
    return do_import(write_csv(tmp_path / "in", EVENTS, files), EVENTS, tmp_path / "out", part_bytes=9_000, now=NOW, **settings)


def test_events_of_wrong_clocks_and_nulls_are_rejected_with_file_and_line(tmp_path: Path) -> None:
    outcome = import_odd(tmp_path, list(ODD))
    rejected = [row for entry in outcome.rejected for row in pq.read_table(tmp_path / "out" / entry.path).to_pylist()]
    assert [(row["file"], row["line"], row["column"], row["value"]) for row in rejected] == [
        ("1.csv", line, "TIMESTAMP", value) for line, value in enumerate(ODD, 4)
    ]
    assert all(wanted in row["reason"] for row, wanted in zip(rejected, ODD.values(), strict=True))
    assert [(count.rows_read, count.rows_accepted, count.rows_rejected) for count in outcome.counts] == [
        (1_500, 1_500, 0), (1_192, 1_188, 4),
    ]  # fmt: skip
    plain = do_import(write_csv(tmp_path / "plain", EVENTS, [MONTH]), EVENTS, tmp_path / "same", part_bytes=9_000, now=NOW)
    assert [row[:5] for row in rows_of(outcome, tmp_path / "out")] == [row[:5] for row in rows_of(plain, tmp_path / "same")]
    told, wanted = (found.statistics | {"wrong_times": None} for found in (outcome, plain))
    assert told == wanted
    reasons = [reason for answer in outcome.answers for reason in answer["reasons"]]
    assert [(reason["rows"], reason["examples"][0]) for reason in reasons] == [
        (1, {"file": "1.csv", "line": 4, "value": "4102444800"}),
        (1, {"file": "1.csv", "line": 5, "value": str(START + 30 * 86_400)}),
        (2, {"file": "1.csv", "line": 6, "value": "0"}),
    ]
    assert outcome.statistics["wrong_times"] == {"kept": False, "reasons": reasons}


def test_events_of_wrong_clocks_can_be_kept_and_are_told_all_the_same(tmp_path: Path) -> None:
    outcome = import_odd(tmp_path, list(ODD), rejects_wrong_times=False)
    assert outcome.rejected == []
    assert outcome.statistics["rows"] == len(MONTH) + 4
    assert [reason for answer in outcome.answers for reason in answer["reasons"]] == []
    assert outcome.statistics["wrong_times"]["kept"]
    assert [reason["rows"] for reason in outcome.statistics["wrong_times"]["reasons"]] == [1, 1, 2]


def test_two_days_ahead_are_enough_and_a_full_day_after_a_gap_is_not(tmp_path: Path) -> None:
    last = int(MONTH[-1][2])
    outcome = import_odd(tmp_path / "ahead", [str(last + 2 * 86_400)])
    assert [count.rows_rejected for count in outcome.counts] == [0, 1]
    reopened = [str(START + 30 * 86_400 + 1_800 * step) for step in range(48)]
    outcome = import_odd(tmp_path / "reopened", reopened)
    assert [count.rows_rejected for count in outcome.counts] == [0, 0]


def test_only_new_events_are_rejected_and_all_tell_where_the_data_end(tmp_path: Path) -> None:
    first = do_import(write_csv(tmp_path / "before", EVENTS, [MONTH]), EVENTS, tmp_path / "out", part_bytes=9_000, now=NOW)
    base = base_after(first, 1, tmp_path / "out")
    new: list[Row] = [("u9", "i1", str(START + 28 * 86_400 + 60 * step), "", "") for step in range(30)]
    odd: Row = ("u9", "i1", str(START + 31 * 86_400), "", "")
    outcome = do_import(write_csv(tmp_path / "new", EVENTS, [[odd, *new]]), EVENTS, tmp_path / "out", base, now=NOW)
    assert [(count.rows_accepted, count.rows_rejected) for count in outcome.counts] == [(30, 1)]
    assert outcome.statistics["rows"] == len(MONTH) + 30
    assert outcome.rows_replaced == 0


@pytest.mark.parametrize("schema", [EVENTS, ITEMS], ids=["events", "items"])
def test_an_incremental_import_is_the_full_import_of_both(tmp_path: Path, schema: DatasetSchema) -> None:
    if schema is EVENTS:
        events = random_events(5, 400)
        before, later = [events[:150], events[150:300]], [events[250:]]
    else:
        before, later = [[(f"i{n}", "1.5") for n in range(80)]], [[(f"i{n}", "2") for n in range(60, 120)]]
    first = do_import(write_csv(tmp_path / "before", schema, before), schema, tmp_path / "out")
    base = base_after(first, len(before), tmp_path / "out")
    second = do_import(write_csv(tmp_path / "later", schema, later), schema, tmp_path / "out", base)
    whole = do_import(write_csv(tmp_path / "both", schema, before + later), schema, tmp_path / "other")
    assert rows_of(second, tmp_path / "out") == rows_of(whole, tmp_path / "other")
    both = [json.dumps(outcome.statistics, sort_keys=True) for outcome in (second, whole)]
    assert both[0] == both[1]
    assert second.rows_replaced == (0 if schema is EVENTS else 20)
    assert second.counts[0].rows_duplicate == (50 if schema is EVENTS else 0)
    assert second.added is not None
    assert second.added["rows"] == second.counts[0].rows_accepted


def base_after(first: Outcome, num_files: int, folder: Path) -> Base:
    """What the next import adds to."""
    firsts = {number: pq.read_table(folder / entry.path)[INPUT_ORDER][0].as_py() for number, entry in first.data.items()}
    return Base(
        parts=tuple(
            OldPart(number=place, entry=first.data[number], first_order=firsts[number])
            for place, number in enumerate(sorted(first.data))
        ),
        input_files=tuple({"name": f"{number}.csv"} for number in range(num_files)),
    )


def test_a_row_that_is_lost_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = jobs.validate.parts.check_block

    def losing(*arguments: Any) -> Any:
        checked = real(*arguments)
        return replace(checked, accepted=checked.accepted.slice(1))

    monkeypatch.setattr(jobs.validate.parts, "check_block", losing)
    with pytest.raises(IntegrityError, match=r"0\.csv: 100 lines were read, but 89 of rows, 0 further ones within quotes"):
        do_import(write_csv(tmp_path / "in", EVENTS, [random_events(0, 100)]), EVENTS, tmp_path / "out")


def test_rows_with_nulls_and_blanks_for_ids_are_counted(tmp_path: Path) -> None:
    nulls = ["nan", "NaN", "None", "none", "null", "NULL", "\\N", "N/A", "undefined"]
    users = [*nulls, " u1", "u1 ", "\u00a0u2", "u 3", "nano", "nullo", "Nan2", *(f"u{n}" for n in range(20))]
    rows: list[Row] = [(user, "i1 " if user == "u7" else "i1", str(n), "", "") for n, user in enumerate(users)] * 3
    rows = [(*row[:2], str(n), *row[3:]) for n, row in enumerate(rows)]
    outcome = do_import(write_csv(tmp_path / "in", EVENTS, [rows]), EVENTS, tmp_path / "out")
    columns = outcome.statistics["columns"]
    assert columns["USER_ID"] == {"kind": "id", "missing": 0, "nulls": dict.fromkeys(sorted(nulls), 3), "spaced": 9}
    assert columns["ITEM_ID"] == {"kind": "id", "missing": 0, "spaced": 3}


ID = {"name": "ACTION_ID", "type": "string"}
ACTIONS = parse_schema_document(
    {"type": "record", "name": "Actions", "fields": [ID, {"name": "VALUE", "type": ["null", "long"]}]}
)
TAKEN = parse_schema_document(
    {
        "type": "record",
        "name": "Action_Interactions",
        "fields": [{"name": name, "type": "string"} for name in ("USER_ID", "ACTION_ID", "EVENT_TYPE")]
        + [{"name": "TIMESTAMP", "type": "long"}],
    }
)


def test_actions_and_what_users_did_with_them_are_stored(tmp_path: Path) -> None:
    actions: list[Row] = [(f"a{n % 30}", "" if n % 7 else str(n)) for n in range(60)]
    outcome = do_import(write_csv(tmp_path / "actions", ACTIONS, [actions, [("a3", "x")]]), ACTIONS, tmp_path / "of-actions")
    assert {row[:2] for row in rows_of(outcome, tmp_path / "of-actions")} == {
        (f"a{n % 30}", None if n % 7 else n) for n in range(30, 60)
    }
    assert [count.rows_rejected for count in outcome.counts] == [0, 1]
    events: list[Row] = [(f"u{n % 9}", f"a{n % 4}", "taken" if n % 3 else "viewed", str(1_000 + n)) for n in range(60)]
    outcome = do_import(write_csv(tmp_path / "taken", TAKEN, [[*events, *events[:5]]]), TAKEN, tmp_path / "of-events")
    assert [row[:4] for row in rows_of(outcome, tmp_path / "of-events")] == [(*row[:3], int(row[3])) for row in events]
    statistics = outcome.statistics
    assert (statistics["users"]["count"], statistics["items"]["count"], outcome.counts[0].rows_duplicate) == (9, 4, 5)
    assert statistics["columns"]["EVENT_TYPE"]["values"] == {"taken": 40, "viewed": 20}
