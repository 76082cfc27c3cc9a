"""Every defect of a CSV file is found at its file, line and column, and nothing else is; the other rows arrive as they are."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from called_jobs import validate
from check_files import checked_blocks
from csv_defects import NOTHING, RIGHT, SCHEMAS, WRONG, Case, cases, joined, kind_of
from hypothesis import HealthCheck, Phase, given, settings

import jobs.validate.running
from jobs.platform.storage.folders import StepFolder
from jobs.validate import reading
from schemas.columns import INPUT_ORDER
from schemas.datasets import DatasetSchema, parse_schema_document

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

USERS = parse_schema_document(
    {"type": "record", "name": "Users", "fields": [{"name": "USER_ID", "type": "string"}, {"name": "AGE", "type": "int"}]}
)


def outcome(case: Case, folder: Path, patch: pytest.MonkeyPatch) -> tuple[list[Any], list[Any], dict[str, Counter[str]]]:
    """Accepted rows, rejected cells and the counts of every file, by the code that Spark's tasks run."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    case.write(folder)
    rows: list[Any] = []
    defects: list[Any] = []
    counts: dict[str, Counter[str]] = {file.name: Counter() for file in case.files}
    patch.setattr(reading, "PIECE_BYTES", case.piece_bytes)
    patch.setattr(reading, "EDGE_BYTES", case.piece_bytes)
    for file, checked in checked_blocks(str(folder), case.schema, case.split_bytes):
        table = checked.accepted.select([*case.schema.names, INPUT_ORDER])
        rows += zip(*(column.to_pylist() for column in table.columns), strict=True)
        defects += [tuple(row.values()) for row in checked.rejected.to_pylist()]
        counts[file.name] += Counter(
            read=checked.rows_read,
            accepted=checked.accepted.num_rows,
            rejected=checked.rows_rejected,
            blank=checked.blank_lines,
            within=checked.lines_within_rows,
        )
    return rows, defects, counts


@settings(max_examples=250, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(cases())
def test_exactly_the_defects_are_found_and_all_other_rows_arrive(tmp_path: Path, case: Case) -> None:
    with pytest.MonkeyPatch.context() as patch:
        rows, defects, counts = outcome(case, tmp_path / "in", patch)
    assert defects == case.defects
    assert rows == case.rows
    for file in case.files:
        found = counts[file.name]
        assert (found["read"], found["rejected"], found["blank"]) == (file.rows_read, file.rows_rejected, file.blank_lines)
        assert found["within"] == file.lines_within_rows
        assert found["read"] == found["accepted"] + found["rejected"]


def test_the_tables_of_the_generator_know_every_kind_of_field() -> None:
    kinds = {kind_of(entry) for schema in SCHEMAS for entry in schema.fields}
    assert kinds == set(RIGHT) == set(WRONG) >= set(NOTHING)


def found(folder: Path, text: bytes) -> tuple[list[Any], list[Any]]:
    """First column and line of the accepted rows; line and value of the rejected ones."""
    (folder / "users.csv").write_bytes(text)
    rows: list[Any] = []
    wrong: list[Any] = []
    for _, checked in checked_blocks(str(folder / "users.csv"), USERS, 10):
        rows += [tuple(row.values())[::2] for row in checked.accepted.to_pylist()]
        wrong += [(row["line"], row["value"]) for row in checked.rejected.to_pylist()]
    return rows, wrong


def test_a_backslash_before_a_closing_quote_hides_no_row_beside_a_row_with_too_few_fields(tmp_path: Path) -> None:
    text = b'USER_ID,AGE\n"a\\\\",1\nb\n"c\\"\n",2\n"d\\\\"\n"e",3\n'
    rows, wrong = found(tmp_path, text)
    assert rows == [("a\\", 2), ('c"\n', 4), ("e", 7)]
    assert wrong == [(3, "b"), (6, '"d\\\\"')]


def test_a_byte_order_mark_within_a_file_belongs_to_its_value_wherever_the_file_is_cut(tmp_path: Path) -> None:
    rows, wrong = found(tmp_path, "\ufeffUSER_ID,AGE\n\ufeffa,1\n\ufeffb,2\n".encode() + b'\xef\xbb\xbf"c,d",3\n' * 2)
    assert rows == [("\ufeffa", 2), ("\ufeffb", 3)]
    assert wrong == [(4, '\ufeff"c,d",3'), (5, '\ufeff"c,d",3')]


def many_files(schema: DatasetSchema) -> Case:
    """A few hundred files, always the same."""
    found: list[Case] = []

    @settings(
        max_examples=150, derandomize=True, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
    )
    @given(cases())
    def collect(case: Case) -> None:
        if case.schema == schema:
            found.append(case)

    collect()
    return joined(found)


@pytest.mark.slow
@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: schema.dataset_type)
def test_the_job_finds_the_same_in_hundreds_of_files_at_once(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, schema: DatasetSchema
) -> None:
    monkeypatch.setattr(jobs.validate.running, "SPLIT_BYTES", 20_000)
    monkeypatch.setattr(jobs.validate.running, "OPEN_BYTES", 4_000)  # a task reads up to five small files
    case = many_files(schema)
    case.write(tmp_path / "in")
    (tmp_path / "schema.json").write_text(json.dumps(schema.document))
    summary = validate(
        schema_uri=str(tmp_path / "schema.json"),
        data_uri=str(tmp_path / "in"),
        output_uri=str(tmp_path / "out"),
        max_rejected_fraction=1.0,
        future="keep",
        long_categories="reject",
    )
    folder = StepFolder(str(tmp_path / "out"))
    manifest = folder.require("dataset")
    tables = {
        place: [pq.read_table(folder.fetch(entry, tmp_path)) for entry in manifest.files_below(place) if entry.path[-1] == "t"]
        for place in ("data", "rejected")
    }
    defects = [tuple(row.values()) for row in pa.concat_tables(tables["rejected"]).to_pylist()]
    rows = [tuple(row.values()) for row in pa.concat_tables(tables["data"]).to_pylist()]
    assert defects == case.defects
    assert rows == without_duplicates(case)
    assert summary["rows_read"] == sum(file.rows_read for file in case.files) > 300
    assert summary["rows_rejected"] == sum(file.rows_rejected for file in case.files) > 100
    assert summary["rows_duplicate"] == len(case.rows) - len(rows)


def without_duplicates(case: Case) -> list[tuple[Any, ...]]:
    """Of equal events the first one stays, of descriptions of one item the last one."""
    if case.schema.dataset_type == "Items":
        key = case.schema.names.index("ITEM_ID")
        last = {row[key]: row for row in case.rows}
        return [row for row in case.rows if last[row[key]] is row]
    first: dict[Any, Any] = {}
    for row in case.rows:
        first.setdefault(row[:-1], row)
    return list(first.values())
