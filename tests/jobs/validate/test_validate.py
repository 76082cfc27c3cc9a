"""`hrnn validate` as a whole, on Spark."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from called_jobs import validate

import jobs.validate.job
import jobs.validate.running
from jobs.platform.storage import list_input, store_for
from jobs.platform.storage.folders import StepFolder
from schemas.datasets import parse_schema_document
from schemas.errors import ConfigError, DataError, SchemaError, StorageError
from schemas.quotas import PUBLISHED

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SCHEMA = {
    "type": "record",
    "name": "Interactions",
    "fields": [
        {"name": "USER_ID", "type": "string"},
        {"name": "ITEM_ID", "type": "string"},
        {"name": "TIMESTAMP", "type": "long"},
        {"name": "EVENT_VALUE", "type": ["null", "float"]},
        {"name": "NOTE", "type": ["null", "string"]},
    ],
    "version": "1.0",
}
HEADER = "USER_ID,ITEM_ID,TIMESTAMP,EVENT_VALUE,NOTE\n"
RIGHT = 'u1,i1,10,1.5,"a, ""b"""\nu1,i2,11,,\nu2,i1,12,2,"two\nlines"\nu3,i9,13,,x\n'
OTHERS = re.sub(r"(?m)^u", "w", RIGHT)
WRONG = "u4,i1,1700000000000,,\n,i1,14,,\nu5,i1\n"


def write(folder: Path, files: dict[str, str | bytes], schema: dict[str, Any] | str = SCHEMA) -> dict[str, Any]:
    """Put a schema and data files down; the arguments of `validate` for them."""
    (folder / "in").mkdir(parents=True, exist_ok=True)
    (folder / "schema.json").write_text(schema if isinstance(schema, str) else json.dumps(schema))
    for name, data in files.items():
        (folder / "in" / name).write_bytes(data.encode() if isinstance(data, str) else data)
    return {
        "schema_uri": str(folder / "schema.json"),
        "data_uri": str(folder / "in"),
        "output_uri": str(folder / "out"),
        "max_rejected_fraction": 0.5,
    }


def rows(folder: StepFolder, scratch: Path) -> list[tuple[Any, ...]]:
    """The published rows in their order, every file checked."""
    manifest = folder.require("dataset")
    tables = [pq.read_table(folder.fetch(entry, scratch)) for entry in manifest.files_below("data")]
    return [tuple(row.values()) for row in pa.concat_tables(tables).to_pylist()]


DATA: dict[str, str | bytes] = {"1.csv": HEADER + RIGHT}
WANTED = [
    ("u1", "i1", 10, 1.5, 'a, "b"', 2),
    ("u1", "i2", 11, None, None, 3),
    ("u2", "i1", 12, 2.0, "two\nlines", 4),
    ("u3", "i9", 13, None, "x", 6),
]


def test_an_import_leaves_rows_rejects_report_and_data_docs(spark: SparkSession, tmp_path: Path) -> None:
    arguments = write(tmp_path, {"1.csv": HEADER + RIGHT + WRONG})
    summary = validate(**arguments)
    folder = StepFolder(arguments["output_uri"])
    manifest = folder.require("dataset")
    assert rows(folder, tmp_path) == WANTED
    assert manifest.counts == {
        "rows_read": 7, "rows_accepted": 4, "rows_rejected": 3, "rows_duplicate": 0, "rows_replaced": 0, "rows": 4,
    }  # fmt: skip
    assert manifest.metadata["dataset_type"] == "Interactions"
    assert parse_schema_document(manifest.metadata["schema"]).names == [
        "USER_ID",
        "ITEM_ID",
        "TIMESTAMP",
        "EVENT_VALUE",
        "NOTE",
    ]
    assert manifest.metadata["input_files"] == [
        {"uri": str(tmp_path / "in" / "1.csv"), "name": "1.csv", "size": len((HEADER + RIGHT + WRONG).encode()), "rows_read": 7}
    ]
    on_disk = {str(path.relative_to(folder.uri)) for path in Path(folder.uri).rglob("*") if path.is_file()}
    assert on_disk == {path for entry in manifest.files for path in entry.places} | {"manifest.json", ".hrnn.lock"}
    shown = {entry.shown for entry in manifest.files if entry.shown}
    assert shown == {"report.html", "report.json", "rejected/rejected.csv", "data_docs/index.html"}
    assert all(re.search(r"-[0-9a-f]{12}\.\w+$", entry.path) for entry in manifest.files), "who loses writes over nothing"

    rejected = list(csv.DictReader(io.StringIO(folder.read(manifest.file("rejected/rejected.csv")).decode())))
    assert [(row["file"], int(row["line"]), row["column"], row["value"]) for row in rejected] == [
        ("1.csv", 7, "TIMESTAMP", "1700000000000"),
        ("1.csv", 8, "USER_ID", ""),
        ("1.csv", 9, "", "u5,i1"),
    ]
    [part] = [entry for entry in manifest.files_below("rejected") if entry.path.endswith(".parquet")]
    assert pq.read_table(folder.fetch(part, tmp_path)).num_rows == 3

    report = json.loads(folder.read(manifest.file("report.json")))
    assert (report["rows_read"], report["rows_accepted"], report["rows_rejected"], report["accepted"]) == (7, 4, 3, True)
    assert {(reason["column"], reason["rows"], reason["examples"][0]["line"]) for reason in report["reasons"]} == {
        ("TIMESTAMP", 1, 7), ("USER_ID", 1, 8), ("", 1, 9),
    }  # fmt: skip
    assert report["expectations"]["checked"] > 10
    assert report["expectations"]["failed"] == []

    page = folder.read(manifest.file("data_docs/index.html")).decode()
    assert "Data Docs" in page
    assert not re.search(r"https?:|src=|href=", page)

    assert summary | {"seconds": 0} == {
        "job": "validate", "output": folder.uri, "skipped": False, "seconds": 0, "dataset_type": "Interactions",
        "rows_read": 7, "rows_accepted": 4, "rows_rejected": 3, "rows_duplicate": 0, "rows_replaced": 0, "rows": 4,
        "verdict": "fail", "report": f"{folder.uri}/report.html",
    }  # fmt: skip


def test_the_same_import_again_does_nothing_and_a_changed_one_replaces_it(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = write(tmp_path, {"1.csv": HEADER + RIGHT})
    first = validate(**arguments)
    with monkeypatch.context() as patch:
        patch.setattr(jobs.validate.job, "spark_session", lambda master: pytest.fail("Spark is not needed"))
        again = validate(**arguments)
    assert again["skipped"]
    assert again | {"skipped": False, "seconds": 0} == first | {"seconds": 0}
    write(tmp_path, {"2.csv": HEADER + "u7,i7,70,,\n"})
    assert not validate(**arguments)["skipped"]
    folder = StepFolder(arguments["output_uri"])
    assert rows(folder, tmp_path) == [*WANTED, ("u7", "i7", 70, None, None, (1 << 40) + 2)]
    assert len(list(Path(folder.uri, "data").iterdir())) == 1


def test_splits_and_parts_change_nothing_but_the_files(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs.validate.running, "SPLIT_BYTES", 20)
    arguments = write(tmp_path, {"1.csv": HEADER + RIGHT + WRONG, "2.csv.gz": gzip.compress((HEADER + OTHERS).encode())})
    validate(**arguments)
    folder = StepFolder(arguments["output_uri"])
    assert rows(folder, tmp_path) == WANTED + [(f"w{row[0][1]}", *row[1:-1], row[-1] + (1 << 40)) for row in WANTED]
    assert len(folder.require("dataset").files_below("data")) > 3
    report = json.loads(folder.read(folder.require("dataset").file("report.json")))
    assert [(file["file"], file["rows_read"], file["rows_rejected"]) for file in report["files"]] == [
        ("1.csv", 7, 3),
        ("2.csv.gz", 4, 0),
    ]
    assert sorted(reason["examples"][0]["line"] for reason in report["reasons"]) == [7, 8, 9]


def test_s3_in_and_out_gives_what_local_files_give(
    spark: SparkSession, s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs.validate.running, "SPLIT_BYTES", 64)
    arguments = write(tmp_path, {"1.csv": HEADER + RIGHT + WRONG})
    store = store_for(s3)
    store.upload(tmp_path / "schema.json", f"{s3}/schema.json")
    store.upload(tmp_path / "in" / "1.csv", f"{s3}/raw/1.csv")
    remote = {"schema_uri": f"{s3}/schema.json", "data_uri": f"{s3}/raw/", "output_uri": f"{s3}/out/"}
    summary = validate(**{**arguments, **remote})
    assert summary["rows_accepted"] == 4
    assert summary["output"] == f"{s3}/out"
    assert rows(StepFolder(f"{s3}/out"), tmp_path) == WANTED
    validate(**arguments)
    here, there = StepFolder(arguments["output_uri"]), StepFolder(f"{s3}/out")
    shown = [folder.read(folder.require("dataset").file("rejected/rejected.csv")) for folder in (here, there)]
    assert shown[0] == shown[1]
    assert validate(**{**arguments, **remote})["skipped"]


def test_too_many_rejected_rows_fail_after_the_report_is_written(spark: SparkSession, tmp_path: Path) -> None:
    arguments = write(tmp_path, {"1.csv": HEADER + RIGHT + WRONG}) | {"max_rejected_fraction": 0.1}
    with pytest.raises(DataError) as raised:
        validate(**arguments)
    message = str(raised.value)
    assert message.startswith(f"{tmp_path}/in: 3 of 7 rows were rejected: ")
    assert "USER_ID: empty, but the schema does not allow null (1 rows, as in 1.csv line 8: '')" in message
    assert f"Allowed: a fraction of 0.1, and at least one right row. See {tmp_path}/out/failed/report.html;" in message
    names = [file.uri.removeprefix(f"{tmp_path}/out/") for file in list_input(f"{tmp_path}/out")]
    assert sorted(re.sub("-[0-9a-f]{12}", "", name) for name in names) == [
        "failed/data_docs/index.html", "failed/rejected/rejected.csv", "failed/report.html", "failed/report.json",
        "failed/statistics.json", "rejected/part-00000.parquet",
    ]  # fmt: skip
    assert json.loads((tmp_path / "out" / "failed" / "report.json").read_text())["accepted"] is False
    with pytest.raises(StorageError, match="no finished step"):
        StepFolder(arguments["output_uri"]).require("dataset")


def test_a_failed_import_leaves_the_published_one_whole(spark: SparkSession, tmp_path: Path) -> None:
    arguments = write(tmp_path, {"1.csv": HEADER + RIGHT})
    validate(**arguments)
    write(tmp_path, {"2.csv": HEADER + "u\n" * 10})
    with pytest.raises(DataError, match=r"10 of 14 rows were rejected.*See .*/out/failed/report.html"):
        validate(**arguments)
    folder = StepFolder(arguments["output_uri"])
    assert rows(folder, tmp_path) == WANTED
    assert json.loads(folder.read(folder.require("dataset").file("report.json")))["rows_read"] == 4
    assert json.loads((tmp_path / "out" / "failed" / "report.json").read_text())["rows_read"] == 14
    write(tmp_path, {"2.csv": HEADER + "u8,i,1,,\n"})
    validate(**arguments)
    assert not list((tmp_path / "out" / "failed").rglob("*.*"))


def test_an_expectation_that_fails_is_named_and_nothing_is_published(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = jobs.validate.running.measure_parts

    def damaged(*arguments: Any) -> Any:
        return [{**measures, "missing ITEM_ID": 1} for measures in real(*arguments)]

    monkeypatch.setattr(jobs.validate.running, "measure_parts", damaged)
    arguments = write(tmp_path, {"1.csv": HEADER + RIGHT})
    with pytest.raises(DataError, match=r"break an expectation: .*missing ITEM_ID") as raised:
        validate(**arguments)
    assert f"See {tmp_path}/out/failed/data_docs/index.html." in str(raised.value)
    assert (tmp_path / "out" / "failed" / "data_docs" / "index.html").is_file()
    assert not (tmp_path / "out" / "manifest.json").exists()
    assert not list((tmp_path / "out" / "data").iterdir())


def test_odd_names_and_files_without_rows_are_no_trouble(spark: SparkSession, tmp_path: Path) -> None:
    folder = tmp_path / "a {b} [c], d* ü"
    header = "NOTE,EXTRA,TIMESTAMP,EVENT_VALUE,ITEM_ID,USER_ID"
    arguments = write(folder, {"0.csv": "", "1 %20.csv": f"{header}\n,e,5,,i,u\n", "2.csv": HEADER, "3.csv": HEADER + "\n\n"})
    assert validate(**arguments)["rows_accepted"] == 1
    report = json.loads((folder / "out" / "report.json").read_text())
    assert [file["warnings"] for file in report["files"]] == [
        ["The file is empty."],
        ["Columns that the schema does not name are ignored: EXTRA."],
        ["The file holds a header but no rows."],
        ["The file holds a header but no rows."],
    ]
    assert rows(StepFolder(arguments["output_uri"]), tmp_path) == [("u", "i", 5, None, None, (1 << 40) + 2)]


def test_what_a_worker_finds_is_one_message_here_too(spark: SparkSession, tmp_path: Path) -> None:
    arguments = write(tmp_path, {"1.csv": HEADER + RIGHT + "x" * (17 << 20)})
    with pytest.raises(DataError) as raised:
        validate(**arguments)
    assert str(raised.value) == (f"{tmp_path}/in/1.csv: a line is longer than 16 MiB. Give CSV text with one row a line.")


@pytest.mark.parametrize(
    ("files", "schema", "changed", "error", "message"),
    [
        ({}, SCHEMA, {}, StorageError, "no file is there"),
        ({"1.csv": ""}, SCHEMA, {}, DataError, "every file is empty. Give CSV with a header and rows."),
        ({"1.csv": HEADER, "2.csv": ""}, SCHEMA, {}, DataError, "there is a header but no rows"),
        ({"1.csv": "USER_ID,NOTE\nu,x\n"}, SCHEMA, {}, DataError, "following columns:[ITEM_ID, TIMESTAMP, EVENT_VALUE]."),
        (DATA, "{", {}, SchemaError, "schema.json: the schema is not JSON"),
        (DATA, "\xff\xfe", {}, SchemaError, "the schema is not JSON"),
        (DATA, SCHEMA, {"schema_uri": "/nowhere/schema.json"}, StorageError, "/nowhere/schema.json: there is no such file"),
        (DATA, SCHEMA, {"schema_uri": "{folder}/in"}, StorageError, "this is a folder, not a file"),
        (DATA, SCHEMA, {"data_uri": "{folder}/missing.csv"}, StorageError, "missing.csv: no file is there"),
        (DATA, SCHEMA, {"data_uri": "ftp://host/1.csv"}, StorageError, "this kind of place is not known"),
        (DATA, SCHEMA, {"output_uri": "{folder}/in/out"}, ConfigError, "data and output lie within each other"),
        (DATA, SCHEMA, {"output_uri": "{folder}"}, ConfigError, "data and output lie within each other"),
        (DATA, SCHEMA, {"future": "maybe"}, ConfigError, "future: this is not known (got 'maybe'). Allowed: reject, keep"),
        (DATA, SCHEMA, {"long_categories": "cut"}, ConfigError, "long_categories: this is not known (got 'cut')"),
        (
            DATA,
            SCHEMA,
            {"max_rejected_fraction": 1.5},
            ConfigError,
            "max_rejected_fraction: must be between 0 and 1 (got 1.5)",
        ),
    ],
)
def test_a_users_mistake_is_one_message_before_spark_starts(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    files: dict[str, str | bytes],
    schema: dict[str, Any] | str,
    changed: dict[str, Any],
    error: type[Exception],
    message: str,
) -> None:
    monkeypatch.setattr(jobs.validate.job, "spark_session", lambda master: pytest.fail("Spark is not needed"))
    arguments = write(tmp_path, files, schema) | {
        key: value.format(folder=tmp_path) if isinstance(value, str) else value for key, value in changed.items()
    }
    with pytest.raises(error) as raised:
        validate(**arguments)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "out").exists()


def test_an_output_where_a_link_of_the_data_leads_is_refused_too(tmp_path: Path) -> None:
    arguments = write(tmp_path, DATA)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "in/link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="data and output lie within each other"):
        validate(**arguments | {"output_uri": str(tmp_path / "elsewhere/out")})


def test_rows_that_are_there_twice_are_left_out_and_recorded(spark: SparkSession, tmp_path: Path) -> None:
    arguments = write(tmp_path, {"1.csv": HEADER + RIGHT, "2.csv": HEADER + "u9,i9,9,,\n" + RIGHT + WRONG})
    summary = validate(**arguments)
    folder = StepFolder(arguments["output_uri"])
    manifest = folder.require("dataset")
    assert rows(folder, tmp_path) == [*WANTED, ("u9", "i9", 9, None, None, (1 << 40) + 2)]
    counts = ("rows_read", "rows_accepted", "rows_rejected", "rows_duplicate")
    assert [summary[name] for name in counts] == [12, 5, 3, 4]
    report = json.loads(folder.read(manifest.file("report.json")))
    assert [[file[name] for name in counts] for file in report["files"]] == [[4, 4, 0, 0], [8, 1, 3, 4]]
    [entry] = manifest.files_below("duplicates")
    told = [tuple(row.values()) for row in pq.read_table(folder.fetch(entry, tmp_path)).select(range(4)).to_pylist()]
    assert told == [("2.csv", line + 1, "1.csv", line) for line in (2, 3, 4, 6)]
    on_disk = {str(path.relative_to(folder.uri)) for path in Path(folder.uri).rglob("*") if path.is_file()}
    assert on_disk == {path for entry in manifest.files for path in entry.places} | {"manifest.json", ".hrnn.lock"}


def test_incremental_imports_add_to_a_full_one(spark: SparkSession, tmp_path: Path) -> None:
    arguments = write(tmp_path, {"1.csv": HEADER + RIGHT})
    with pytest.raises(DataError, match=r"the first import of a dataset must be FULL .*--import-mode FULL"):
        validate(**arguments, import_mode="INCREMENTAL")
    validate(**arguments)
    folder = StepFolder(arguments["output_uri"])
    first = folder.require("dataset")
    later = write(tmp_path / "later", {"1.csv": HEADER + "u9,i9,9,,\n" + RIGHT}) | {"output_uri": arguments["output_uri"]}
    summary = validate(**later, import_mode="incremental")
    assert (summary["rows_accepted"], summary["rows_duplicate"], summary["rows"]) == (1, 4, 5)
    assert rows(folder, tmp_path) == [*WANTED, ("u9", "i9", 9, None, None, (1 << 40) + 2)]
    second = folder.require("dataset")
    assert first.files_below("data")[0] in second.files
    assert [(made["mode"], made["rows_accepted"]) for made in second.metadata["imports"]] == [("FULL", 4), ("INCREMENTAL", 1)]
    assert [file["name"] for file in second.metadata["input_files"]] == ["1.csv", "1.csv"]
    assert validate(**later, import_mode="INCREMENTAL")["skipped"]
    write(tmp_path / "later", {"1.csv": HEADER + "u\n" * 9})
    with pytest.raises(DataError, match="9 of 9 rows were rejected"):
        validate(**later, import_mode="INCREMENTAL")
    assert len(rows(folder, tmp_path)) == 5
    other = json.loads(json.dumps(SCHEMA))
    other["fields"].pop()
    write(tmp_path / "later", {"1.csv": HEADER + RIGHT}, other)
    with pytest.raises(SchemaError, match=r"the dataset there has other fields .*--import-mode FULL"):
        validate(**later, import_mode="INCREMENTAL")
    validate(**arguments)
    assert rows(folder, tmp_path) == WANTED


def test_items_are_replaced_by_incremental_imports(spark: SparkSession, tmp_path: Path) -> None:
    schema = {
        "type": "record",
        "name": "Items",
        "fields": [{"name": "ITEM_ID", "type": "string"}, {"name": "PRICE", "type": "float"}],
    }
    arguments = write(tmp_path, {"1.csv": "ITEM_ID,PRICE\na,1\nb,2\na,3\n"}, schema)
    assert validate(**arguments)["rows_duplicate"] == 1
    folder = StepFolder(arguments["output_uri"])
    assert [row[:2] for row in rows(folder, tmp_path)] == [("b", 2.0), ("a", 3.0)]
    later = write(tmp_path / "later", {"1.csv": "PRICE,ITEM_ID\n5,b\n6,c\n"}, schema) | {"output_uri": arguments["output_uri"]}
    summary = validate(**later, import_mode="INCREMENTAL")
    assert (summary["rows_accepted"], summary["rows_replaced"], summary["rows"]) == (2, 1, 3)
    assert [row[:2] for row in rows(folder, tmp_path)] == [("a", 3.0), ("b", 5.0), ("c", 6.0)]


def test_events_of_unknown_items_and_users_are_told(spark: SparkSession, tmp_path: Path) -> None:
    items = {"type": "record", "name": "Items", "fields": [{"name": "ITEM_ID", "type": "string"}, {"name": "A", "type": "int"}]}
    users = {"type": "record", "name": "Users", "fields": [{"name": "USER_ID", "type": "string"}, {"name": "A", "type": "int"}]}
    described = write(tmp_path / "items", {"1.csv": "ITEM_ID,A\ni1,1\ni7,1\ni9,1\n"}, items)
    validate(**described)
    people = write(tmp_path / "users", {"1.csv": "USER_ID,A\nu1,1\nu5,1\nu6,1\nu2,1\n"}, users)
    validate(**people)
    arguments = write(tmp_path, {"1.csv": HEADER + RIGHT})
    folder = StepFolder(arguments["output_uri"])
    validate(**arguments, items_uri=described["output_uri"], users_uri=people["output_uri"])
    manifest = folder.require("dataset")
    statistics = json.loads(folder.read(manifest.file(manifest.metadata["statistics"])))
    assert statistics["references"] == {
        "items": {
            "uri": described["output_uri"], "count": 3, "without_interactions": 1, "orphans": 1, "orphan_events": 1,
            "examples": ["i2"],
        },
        "users": {
            "uri": people["output_uri"], "count": 4, "without_interactions": 2, "orphans": 1, "orphan_events": 1,
            "examples": ["u3"],
        },
    }  # fmt: skip
    with pytest.raises(DataError, match=r"the folder holds another dataset \(got 'Users'\). Allowed: Items"):
        validate(**arguments, items_uri=people["output_uri"])
    with pytest.raises(ConfigError, match=r"^users: Items are not compared with users"):
        validate(**described, users_uri=people["output_uri"])


def test_what_personalize_would_refuse_fails_a_strict_import_only(spark: SparkSession, tmp_path: Path) -> None:
    arguments = write(tmp_path, {"1.csv": HEADER + RIGHT})
    assert validate(**arguments)["verdict"] == "fail"
    with pytest.raises(DataError, match=r"Personalize would refuse this: .*1,000.*or leave --strict out"):
        validate(**arguments, strict=True)
    quotas = PUBLISHED.with_changes(["interactions=1", "rows_per_import=1", "users_with_two_events=1"])
    assert validate(**arguments, strict=True, quotas=quotas)["verdict"] != "fail"


def test_the_last_import_is_what_drift_is_measured_against(spark: SparkSession, tmp_path: Path) -> None:
    day = 86_400
    events = [(f"u{n % 50}", f"i{n % 20}", n * day // 100) for n in range(3000)]
    arguments = write(tmp_path, {"1.csv": HEADER + "".join(f"{u},{i},{t},,\n" for u, i, t in events)})
    validate(**arguments)
    names = {insight["name"] for insight in json.loads((tmp_path / "out" / "report.json").read_text())["insights"]}
    later = [(u, f"new{i}", t) for u, i, t in events[:1500]] + events[1500:]
    write(tmp_path, {"1.csv": HEADER + "".join(f"{u},{i},{t},,\n" for u, i, t in later)})
    validate(**arguments)
    insights = json.loads((tmp_path / "out" / "report.json").read_text())["insights"]
    drift = [insight for insight in insights if insight["name"] not in names]
    assert drift
    assert any("50" in insight["value"] for insight in drift), drift


def test_an_import_that_was_killed_while_it_told_people_does_not_block_the_next(spark: SparkSession, tmp_path: Path) -> None:
    arguments = write(tmp_path, {"1.csv": HEADER + RIGHT})
    validate(**arguments)
    (tmp_path / "out" / "report.json").write_text("of a run that went no further")
    (tmp_path / "out" / "data" / "part-00000-0123456789ab.parquet").write_bytes(b"so far")
    write(tmp_path, {"2.csv": HEADER + "u7,i7,70,,\n"})
    assert validate(**arguments)["rows"] == 5
    folder = StepFolder(arguments["output_uri"])
    manifest = folder.require("dataset")
    on_disk = {str(path.relative_to(folder.uri)) for path in Path(folder.uri).rglob("*") if path.is_file()}
    assert on_disk == {path for entry in manifest.files for path in entry.places} | {"manifest.json", ".hrnn.lock"}
    assert all(folder.read(entry) for entry in manifest.files if entry.size)


def test_one_event_of_a_wrong_clock_is_rejected_and_told_or_kept(spark: SparkSession, tmp_path: Path) -> None:
    month = "".join(f"u{n % 40},i{n % 9},{1_700_006_400 + n * 900},,view\n" for n in range(2_688))
    odd = "u1,i1,4102444800,,view\n"
    arguments = write(tmp_path, {"1.csv": HEADER + month + odd}) | {"suite": False, "max_rejected_fraction": 0.01}
    summary = validate(**arguments)
    assert (summary["rows"], summary["rows_rejected"]) == (2_688, 1)
    folder = StepFolder(arguments["output_uri"])
    manifest = folder.require("dataset")
    [row] = csv.DictReader(io.StringIO(folder.read(manifest.file("rejected/rejected.csv")).decode()))
    assert (row["file"], row["line"], row["column"], row["value"]) == ("1.csv", "2690", "TIMESTAMP", "4102444800")
    assert row["reason"].startswith("after the time of the import, ")
    report = json.loads(folder.read(manifest.file("report.json")))
    assert report["statistics"]["last_timestamp"] == 1_700_006_400 + 2_687 * 900
    [told] = [insight for insight in report["insights"] if insight["name"] == "wrong_times"]
    assert told["title"].endswith("was left out; the first is 4102444800 in 1.csv line 2690.")
    kept = validate(**arguments, future="keep")
    assert (kept["skipped"], kept["rows"], kept["rows_rejected"]) == (False, 2_689, 0)
    write(tmp_path, {"2.csv": HEADER + odd * 2 + "".join(odd.replace("i1", f"i{n}") for n in range(40))})
    with pytest.raises(
        DataError, match=r"TIMESTAMP: after the time of the import, .* a wrong clock, see --future \(40 rows, as in 1.csv line"
    ):
        validate(**arguments)


def test_a_category_above_1000_characters_fails_the_import_or_its_row(spark: SparkSession, tmp_path: Path) -> None:
    schema = json.loads(json.dumps(SCHEMA))
    schema["fields"].append({"name": "GENRES", "type": ["null", "string"], "categorical": True})
    header, row = HEADER[:-1] + ",GENRES\n", "u1,i1,{},,,{}\n"
    right = "".join(row.format(n, "drama") for n in range(10, 600)) + row.format(600, "y" * 1000)
    files: dict[str, str | bytes] = {"1.csv": header + right, "2.csv": header + row.format(5, "x" * 1001)}
    arguments = write(tmp_path, files, schema) | {"suite": False, "max_rejected_fraction": 0.01}
    with pytest.raises(DataError) as raised:
        validate(**arguments)
    place = f"{tmp_path / 'in'}: 2.csv line 2, column GENRES: "
    assert str(raised.value).startswith(
        f"{place}longer than 1000 characters: Personalize fails the whole import on it (got 'xxx"
    )
    assert "--long-categories reject" in str(raised.value)
    assert json.loads((tmp_path / "out" / "failed" / "report.json").read_text())["problem"] == str(raised.value)
    summary = validate(**arguments, long_categories="reject")
    assert (summary["rows"], summary["rows_rejected"]) == (591, 1)
