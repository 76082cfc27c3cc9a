"""The schema's promises as a Great Expectations suite, checked on measures of the files that were written.

Over the rows themselves the suite would cost more than the import. So a task measures each part file as it lies, and the suite
runs on a Spark DataFrame of these measures, one row a part: it knows nothing of what the parser counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.platform.process.scratch import scratch_folder
from jobs.platform.storage.folders import StepFolder
from jobs.platform.stored_types import STORED
from jobs.validate.fields import LATEST_SECONDS, is_real, is_time, longest_string
from jobs.validate.measures import Measures
from jobs.validate.page import SECTION, offline_page
from jobs.validate.strings import LONGEST_TEXT
from jobs.validate.suites import great_expectations, run_suite
from schemas import columns
from schemas.datasets import DatasetSchema, SchemaField
from schemas.manifest import FileEntry

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_ALL = {
    "columns out of place": "no column is out of place: those of the schema, in its order, then INPUT_ORDER",
    "rows out of order": "no row has an INPUT_ORDER that is not above that of the row before it",
    "rows without a place": "no row lacks an INPUT_ORDER",
}
_WHOLE = "(the whole dataset)"
_NOTE = (
    "This was checked on the part files of the dataset, read back as they were written. Great Expectations saw one row for "
    "each part file ({parts:,} in all), with its measures as columns, and compared their sum, minimum or maximum. "
    "Times are in seconds since 1970, in UTC."
)


@dataclass(frozen=True)
class Verdict:
    """The result of the suite.

    Attributes:
        num_checked: Expectations that were checked.
        failed: Those that do not hold, in words, with what was measured.
        page: Its Data Docs: one HTML page that needs no network.
    """

    num_checked: int
    failed: tuple[str, ...]
    page: bytes


def accepted_rows(spark: SparkSession, folder: StepFolder, parts: Sequence[FileEntry], schema: DatasetSchema) -> DataFrame:
    """The accepted rows as a Spark frame."""
    if folder.uri.startswith("/"):
        paths = ["file://" + re.sub(r"([\\{}\[\]*?,])", r"\\\1", folder.uri_of(part.path)) for part in parts]
        return spark.read.parquet(*paths)
    fields = [(field.name, STORED[field.type].spark) for field in schema.fields] + [(columns.INPUT_ORDER, "bigint")]
    declared = ", ".join(f"`{name}` {kind}" for name, kind in fields)
    return spark.range(0, len(parts), 1, len(parts)).mapInArrow(partial(_read_parts, folder.uri, list(parts)), declared)


def check_expectations(
    spark: SparkSession, measures: Sequence[Measures], schema: DatasetSchema, num_rows: int, own_page: str | None = None
) -> Verdict:
    """Check the suite of a schema.

    Args:
        spark: The session.
        measures: Of every part of the dataset, as `measure_parts` takes them; at least one.
        schema: What the rows must be.
        num_rows: How many they must be.
        own_page: File name of the Data Docs of the user's own expectations, where there are any; it lies beside this page.
    """
    fields = pa.schema([(name, pa.int64()) for name in measures[0]])
    frame = spark.createDataFrame(pa.Table.from_pylist(list(measures), fields)).coalesce(1)
    without_values = {name for name in measures[0] if all(part[name] is None for part in measures)}
    suite = [
        expectation
        for expectation in expectations(great_expectations().expectations, schema, num_rows)
        if expectation.column not in without_values  # where a value must be, "missing" tells it
    ]
    result = run_suite(frame, f"{schema.dataset_type}: what was written", suite, "BASIC")
    failed = tuple(_sentence(outcome) for outcome in result.results if not outcome.success)
    link = ("The expectations of your own", own_page) if own_page else None
    return Verdict(len(result.results), failed, offline_page(result, _NOTE.format(parts=len(measures)), link))


def expectations(kinds: Any, schema: DatasetSchema, num_rows: int) -> Iterator[Any]:
    """The suite of a schema, on the measures of its parts.

    Args:
        kinds: Great Expectations' module of expectations.
        schema: What the rows must be.
        num_rows: How many they must be.
    """
    rows = f"there are {num_rows:,} rows, as many as were accepted"
    yield kinds.ExpectColumnSumToBeBetween(
        column="rows", min_value=num_rows, max_value=num_rows, description=rows, meta={SECTION: _WHOLE}
    )
    for name, promise in _ALL.items():
        yield _none(kinds, name, promise)
    for field in schema.fields:
        yield from _of_field(kinds, field)


def _of_field(kinds: Any, field: SchemaField) -> Iterator[Any]:
    name = field.name
    yield _none(kinds, f"{name} of another type", f"no part stores it as anything but {STORED[field.type].words}", name)
    if not field.nullable:
        yield _none(kinds, f"missing {name}", "no value is missing", name)
    if field.kind == "text":
        longest = longest_string(field) or LONGEST_TEXT
        yield _least(kinds, f"shortest {name}", 1, "the shortest value has at least 1 character", name)
        yield _most(kinds, f"longest {name}", longest, f"the longest value has at most {longest:,} characters", name)
    elif is_time(field):
        yield _least(kinds, f"earliest {name}", 0, "the earliest moment is not before 1970", name)
        yield _most(kinds, f"latest {name}", LATEST_SECONDS, "the latest moment is in seconds, not in milliseconds", name)
    elif is_real(field):
        yield _none(kinds, f"{name} not finite", "no number is infinite or NaN", name)


def _none(kinds: Any, measure: str, promise: str, field: str = _WHOLE) -> Any:
    """Nothing of what is counted is there."""
    return kinds.ExpectColumnSumToBeBetween(
        column=measure, min_value=0, max_value=0, description=promise, meta={SECTION: field}
    )


def _least(kinds: Any, measure: str, value: int, promise: str, field: str) -> Any:
    return kinds.ExpectColumnMinToBeBetween(column=measure, min_value=value, description=promise, meta={SECTION: field})


def _most(kinds: Any, measure: str, value: int, promise: str, field: str) -> Any:
    return kinds.ExpectColumnMaxToBeBetween(column=measure, max_value=value, description=promise, meta={SECTION: field})


def _sentence(outcome: Any) -> str:
    """`USER_ID: no value is missing, but "missing USER_ID" is 3`."""
    config = outcome.expectation_config
    observed = (outcome.result or {}).get("observed_value")
    measured = "cannot be measured" if observed is None else f"is {observed:,.0f}"
    return f'{config.meta[SECTION]}: {config.description}, but "{config.kwargs["column"]}" {measured}'


def _read_parts(folder_uri: str, parts: list[FileEntry], batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    folder = StepFolder(folder_uri)
    for number in (number for batch in batches for number in batch.column(0).to_pylist()):
        with scratch_folder("expectations") as scratch, pq.ParquetFile(folder.fetch(parts[number], Path(scratch))) as file:
            yield from file.iter_batches()
