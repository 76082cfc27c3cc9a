from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from called_jobs import validate
from plain_csv import read_records
from typed_datasets import publish_interactions, publish_items

import jobs.export.job
from jobs.export.job import export
from jobs.export.rows import csv_blocks
from jobs.platform.storage import store_for
from jobs.platform.storage.folders import StepFolder
from schemas.datasets import parse_schema_document
from schemas.errors import ConfigError, StorageError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

MORE = {
    "NOTE": ["null", "string"],
    "KIND": {"type": ["null", "string"], "categorical": True},
    "SHARE": ["null", "float"],
    "PRICE": ["null", "double"],
    "COUNT": ["null", "int"],
    "BOUGHT": ["null", "boolean"],
}
ODD = [
    ("u1", "i1", 10, "a, b", "drama|horror", 0.1, 0.1, 7, True),
    ("u1", "i1", 10, 'say "yes"', "drama", 1e-7, 1e-300, -2147483648, False),
    ("u1", 'i"1', 11, "back\\slash", None, 3.4028235e38, 1.7976931348623157e308, None, None),
    ("u\\1", "i,1", 12, "two\nlines", "é", -0.0, 1e22, 0, True),
    ("u1", "ü", 13, "carriage\rreturn\r\nand both", None, None, None, None, None),
    (" u1", "i1 ", 0, '\\"', "a b", 16777217.0, 0.30000000000000004, 2147483647, None),
    ("-", "'", 99_999_999_999, '"', ",", 5e-324, 5e-324, 1, False),
    ("u1", "i2", 14, "\\", None, 123456.789, 123456.789, 1, False),
    ("#u1", "i3", 15, 'trailing quote"', None, 1.0, 1.0, 1, False),
]


def rows_of(uri: str) -> list[dict[str, Any]]:
    """The typed rows of a dataset in their order."""
    folder = StepFolder(uri)
    files = folder.require("dataset").files_below("data")
    tables = [pq.read_table(folder.uri_of(file.path)).drop_columns(["INPUT_ORDER"]) for file in files]
    return pa.concat_tables(tables).to_pylist()


def exported(found: dict[str, Any]) -> list[bytes]:
    """The bytes of the CSV files."""
    return [store_for(file.uri).read(file.uri) for file in store_for(found["data"]).list(found["data"])]


def again(found: dict[str, Any], source: str, uri: str, tmp_path: Path) -> dict[str, Any]:
    """Import what was exported."""
    schema = tmp_path / "schema.json"
    schema.write_text(json.dumps(StepFolder(source).require("dataset").metadata["schema"]))
    as_they_are = {"max_rejected_fraction": 0, "future": "keep", "suite": False}
    return validate(schema_uri=str(schema), data_uri=found["data"], output_uri=uri, **as_they_are)  # type: ignore[arg-type]


@pytest.mark.usefixtures("spark")
def test_importing_an_export_gives_the_same_typed_rows(tmp_path: Path) -> None:
    source = publish_interactions(str(tmp_path / "typed"), ODD, MORE, parts=3)
    found = export(dataset_uri=source, output_uri=str(tmp_path / "export"))
    assert (found["rows"], found["files"], found["skipped"]) == (len(ODD), 3, False)
    summary = again(found, source, str(tmp_path / "again"), tmp_path)
    assert (summary["rows_rejected"], summary["rows_duplicate"]) == (0, 0)
    # As texts, since 0.0 == -0.0.
    assert list(map(repr, rows_of(str(tmp_path / "again")))) == list(map(repr, rows_of(source)))


def _one_row_group(path: Path) -> Path:
    """The file as a writer leaves it that knows no bound."""
    pq.write_table(pq.read_table(path), path)
    return path


def test_a_user_with_very_many_events_is_written_in_blocks_as_all_are(tmp_path: Path) -> None:
    source = StepFolder(publish_interactions(str(tmp_path), [("u1", "i1", time) for time in range(250_000)]))
    dataset = source.require("dataset")
    (part,) = dataset.files_below("data")
    blocks = list(csv_blocks(_one_row_group(source.fetch(part, tmp_path)), parse_schema_document(dataset.metadata["schema"])))
    assert max(block.count(b"\n") for block in blocks) <= 100_000
    assert sum(block.count(b"\n") for block in blocks) == 250_000
    assert blocks[-1].splitlines()[-1] == b"u1,i1,249999"


def test_a_plain_reader_finds_header_and_cells(tmp_path: Path) -> None:
    found = export(dataset_uri=publish_interactions(str(tmp_path / "typed"), ODD, MORE), output_uri=str(tmp_path / "export"))
    records = read_records(exported(found)[0])
    assert not any(record.is_faulty for record in records)
    assert records[0].fields == [b"USER_ID", b"ITEM_ID", b"TIMESTAMP", *(name.encode() for name in MORE)]
    assert records[1].fields == [b"u1", b"i1", b"10", b"a, b", b"drama|horror", b"0.1", b"0.1", b"7", b"true"]
    assert [record.fields[3].decode() for record in records[1:]] == [row[3] for row in ODD]
    assert records[5].fields[4:] == [b"", b"", b"", b"", b""]


def test_texts_are_quoted_only_where_they_must_be_and_as_personalize_has_it(tmp_path: Path) -> None:
    found = export(dataset_uri=publish_interactions(str(tmp_path / "typed"), ODD[:3], MORE), output_uri=str(tmp_path / "e"))
    lines = exported(found)[0].decode().splitlines()
    assert lines[1] == 'u1,i1,10,"a, b",drama|horror,0.1,0.1,7,true'
    assert lines[2].startswith('u1,i1,10,"say \\"yes\\"",drama,')
    assert lines[3].startswith('u1,"i\\"1",11,"back\\\\slash",,')


def test_the_same_dataset_gives_the_same_bytes_and_a_rerun_does_nothing(tmp_path: Path, spark: SparkSession) -> None:
    source = publish_interactions(str(tmp_path / "typed"), ODD, MORE, parts=2)
    first = export(dataset_uri=source, output_uri=str(tmp_path / "a"))
    assert export(dataset_uri=source, output_uri=str(tmp_path / "a"))["skipped"] is True
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobs.export.job, "_HERE_BYTES", 0)  # on Spark's workers
        second = export(dataset_uri=source, output_uri=str(tmp_path / "b"))
    assert exported(first) == exported(second)
    files = [StepFolder(made["output"]).require("export").files for made in (first, second)]
    assert [file.sha256 for file in files[0]] == [file.sha256 for file in files[1]]
    assert not {file.path for file in files[0]} & {file.path for file in files[1]}  # no other run takes them for its leftovers


def test_a_new_dataset_takes_the_place_of_the_old_one_and_leftovers_go(tmp_path: Path) -> None:
    source, output = str(tmp_path / "typed"), str(tmp_path / "export")
    publish_interactions(source, ODD, MORE, parts=3)
    export(dataset_uri=source, output_uri=output)
    (tmp_path / "export" / "data" / "part-00009-0123456789ab.csv").write_text("of a killed run")
    publish_interactions(source, ODD[:1], MORE)
    found = export(dataset_uri=source, output_uri=output)
    assert (found["rows"], len(exported(found))) == (1, 1)


def test_nothing_was_put_one_by_one_so_that_export_has_a_header_alone(tmp_path: Path) -> None:
    source = publish_items(str(tmp_path / "items"), [("i1", "x")], {"GENRE": {"type": "string", "categorical": True}})
    put = export(dataset_uri=source, output_uri=str(tmp_path / "put"), ingestion_mode="put")
    assert (put["rows"], exported(put)) == (0, [b"ITEM_ID,GENRE\n"])
    assert "No data were put event by event" in put["note"]
    both = export(dataset_uri=source, output_uri=str(tmp_path / "all"), ingestion_mode="ALL")
    assert (exported(both), both["note"]) == ([b"ITEM_ID,GENRE\ni1,x\n"], None)


@pytest.mark.usefixtures("spark")
def test_of_several_descriptions_the_newest_and_of_equal_events_one_is_exported(tmp_path: Path) -> None:
    source = publish_items(str(tmp_path / "like"), [("i1", "x")], {"GENRE": {"type": "string", "categorical": True}})
    for number, text in enumerate(("ITEM_ID,GENRE\ni1,old\ni2,x\n", "ITEM_ID,GENRE\ni1,new\n")):
        data = tmp_path / f"raw-{number}.csv"
        data.write_text(text)
        schema = tmp_path / "items.json"
        schema.write_text(json.dumps(StepFolder(source).require("dataset").metadata["schema"]))
        mode = ("FULL", "INCREMENTAL")[number]
        validate(schema_uri=str(schema), data_uri=str(data), output_uri=str(tmp_path / "items"), import_mode=mode, suite=False)
    found = export(dataset_uri=str(tmp_path / "items"), output_uri=str(tmp_path / "export"))
    assert b"".join(exported(found)).replace(b"ITEM_ID,GENRE\n", b"") == b"i2,x\ni1,new\n"


def test_s3(s3: str) -> None:
    source = publish_interactions(f"{s3}/typed", ODD, MORE, parts=2)
    found = export(dataset_uri=source, output_uri=f"{s3}/export")
    assert sum(len(read_records(text)) - 1 for text in exported(found)) == len(ODD)


def test_wrong_arguments_are_told(tmp_path: Path) -> None:
    source = publish_interactions(str(tmp_path / "typed"), ODD, MORE)
    with pytest.raises(ConfigError, match="BULK, PUT, ALL"):
        export(dataset_uri=source, output_uri=str(tmp_path / "e"), ingestion_mode="SOME")
    with pytest.raises(ConfigError, match="lie within each other"):
        export(dataset_uri=source, output_uri=f"{source}/export")
    with pytest.raises(StorageError, match=r"no manifest\.json"):
        export(dataset_uri=str(tmp_path / "none"), output_uri=str(tmp_path / "e"))


def test_the_command_prints_one_line_of_json(tmp_path: Path) -> None:
    source = publish_interactions(str(tmp_path / "typed"), ODD, MORE)
    command = [sys.executable, "-m", "jobs.export", "--dataset", source, "--output", str(tmp_path / "export")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["rows"] == len(ODD)
