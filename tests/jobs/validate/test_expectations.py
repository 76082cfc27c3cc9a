"""The suite of a schema, on measures of the files that were written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.platform.storage.folders import StepFolder
from jobs.validate.expectations import check_expectations, expectations
from jobs.validate.measures import measure_part, measure_parts
from jobs.validate.rows import typed_schema
from jobs.validate.suites import great_expectations, preload
from schemas.datasets import parse_schema_document
from schemas.errors import IntegrityError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from schemas.manifest import FileEntry

SCHEMA = parse_schema_document(
    {
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
)
GOOD: dict[str, list[Any]] = {
    "USER_ID": ["ü", "u-22", "u-22"],
    "ITEM_ID": ["i1", "i2", "i1"],
    "TIMESTAMP": [7, 5, 9],
    "EVENT_VALUE": [1.5, None, 2.0],
    "NOTE": [None, None, None],
    "INPUT_ORDER": [1, 2, 5],
}
RIGHT = {
    "rows": 3, "columns out of place": 0, "rows out of order": 0, "rows without a place": 0,
    "USER_ID of another type": 0, "missing USER_ID": 0, "shortest USER_ID": 1, "longest USER_ID": 4,
    "ITEM_ID of another type": 0, "missing ITEM_ID": 0, "shortest ITEM_ID": 2, "longest ITEM_ID": 2,
    "TIMESTAMP of another type": 0, "missing TIMESTAMP": 0, "earliest TIMESTAMP": 5, "latest TIMESTAMP": 9,
    "EVENT_VALUE of another type": 0, "missing EVENT_VALUE": 1, "EVENT_VALUE not finite": 0,
    "NOTE of another type": 0, "missing NOTE": 3, "shortest NOTE": None, "longest NOTE": None,
}  # fmt: skip


def put(folder: StepFolder, table: pa.Table, number: int = 0) -> FileEntry:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, row_group_size=2)
    return folder.put(folder.attempt_path(f"data/part-{number}.parquet"), sink.getvalue().to_pybytes(), table.num_rows)


def table(**changed: Any) -> pa.Table:
    fields = [pa.field(field.name, field.type) for field in typed_schema(SCHEMA)]  # nullable, so that nulls can be written
    return pa.table({**GOOD, **changed}, schema=pa.schema(fields))


def measured(folder: Path, written: pa.Table) -> dict[str, int | None]:
    step = StepFolder(str(folder))
    return measure_part(put(step, written), step.uri, SCHEMA)


def test_a_part_is_measured_over_all_its_row_groups(tmp_path: Path) -> None:
    assert measured(tmp_path, table()) == RIGHT


@pytest.mark.parametrize(
    ("changed", "differences"),
    [
        ({"USER_ID": ["", "u", "u" * 300]}, {"shortest USER_ID": 0, "longest USER_ID": 300}),
        ({"ITEM_ID": ["i1", None, None]}, {"missing ITEM_ID": 2}),
        ({"TIMESTAMP": [-1, 5, 10**12]}, {"earliest TIMESTAMP": -1, "latest TIMESTAMP": 10**12}),
        ({"EVENT_VALUE": [float("inf"), None, float("nan")]}, {"EVENT_VALUE not finite": 2}),
        ({"INPUT_ORDER": [2, 2, 1]}, {"rows out of order": 2}),
        ({"INPUT_ORDER": [3, None, 2]}, {"rows out of order": 1, "rows without a place": 1}),
    ],
)
def test_a_defect_shows_in_its_measure_only(tmp_path: Path, changed: dict[str, Any], differences: dict[str, int]) -> None:
    assert measured(tmp_path, table(**changed)) == {**RIGHT, **differences}


def test_a_string_that_no_row_has_does_not_count(tmp_path: Path) -> None:
    users = pa.DictionaryArray.from_arrays(pa.array([1, 2, 2], pa.int32()), ["", "ü", "u-22", "u" * 999])
    written = table().set_column(0, "USER_ID", users)
    assert measured(tmp_path, written) == RIGHT


def test_other_types_and_columns_are_counted_and_do_no_harm(tmp_path: Path) -> None:
    other = pa.table({"USER_ID": [1, 2], "TIMESTAMP": ["a", "b"], "EVENT_VALUE": [1.5, 2.5], "INPUT_ORDER": ["1", "2"]})
    found = measured(tmp_path, other)
    assert found["columns out of place"] == 5
    assert (found["missing ITEM_ID"], found["missing NOTE"], found["rows without a place"]) == (2, 2, 2)
    assert [found[f"{name} of another type"] for name in SCHEMA.names] == [1, 1, 1, 1, 1]


def test_a_part_whose_bytes_changed_is_refused(tmp_path: Path) -> None:
    step = StepFolder(str(tmp_path))
    part = put(step, table())
    (tmp_path / part.path).write_bytes(b"x" * part.size)
    with pytest.raises(IntegrityError, match="the bytes differ"):
        measure_part(part, step.uri, SCHEMA)


def test_every_expectation_is_on_a_measure() -> None:
    asked = [expectation.column for expectation in expectations(great_expectations().expectations, SCHEMA, 3)]
    assert set(asked) <= set(RIGHT)
    assert set(RIGHT) - set(asked) == {"missing EVENT_VALUE", "missing NOTE"}


def test_right_parts_pass_and_the_page_says_what_was_seen(spark: SparkSession, s3: str) -> None:
    step = StepFolder(f"{s3}/dataset")
    parts = [put(step, table(), 0), put(step, table(USER_ID=["u", "v", "w" * 256]), 1)]
    verdict = check_expectations(spark, measure_parts(spark, step, parts, SCHEMA), SCHEMA, 6)
    assert (verdict.num_checked, verdict.failed) == (19, ())  # NOTE has no values whose length could be asked for
    page = verdict.page.decode()
    assert "one row for each part file (2 in all)" in page
    assert "the longest value has at most 256 characters" in page


def test_wrong_parts_fail_in_words(spark: SparkSession) -> None:
    wrong = [RIGHT, {**RIGHT, "missing ITEM_ID": 2, "longest USER_ID": 300, "rows out of order": 1, "earliest TIMESTAMP": None}]
    verdict = check_expectations(spark, wrong, SCHEMA, 7)
    assert verdict.failed == (
        '(the whole dataset): there are 7 rows, as many as were accepted, but "rows" is 6',
        "(the whole dataset): no row has an INPUT_ORDER that is not above that of the row before it, "
        'but "rows out of order" is 1',
        'USER_ID: the longest value has at most 256 characters, but "longest USER_ID" is 300',
        'ITEM_ID: no value is missing, but "missing ITEM_ID" is 2',
    )
    assert verdict.page.decode().count('class="fas fa-times') == 5  # the status, and four rows


def test_the_package_is_imported_in_the_background() -> None:
    preload().join()
    assert great_expectations().__name__ == "great_expectations"
