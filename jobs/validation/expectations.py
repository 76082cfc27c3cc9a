"""The schema's promises as a Great Expectations suite, checked on the rows that were written."""

from __future__ import annotations

import logging
import os
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from jobs.storage.folders import StepFolder, scratch_folder
from jobs.validation.cells import LATEST_SECONDS, is_time, longest_string
from jobs.validation.page import offline_page
from schemas import columns
from schemas.dataset_rules import FieldType
from schemas.datasets import DatasetSchema
from schemas.manifest import FileEntry

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

_SPARK_TYPES: dict[FieldType, tuple[str, str]] = {
    "string": ("string", "StringType"),
    "int": ("int", "IntegerType"),
    "long": ("bigint", "LongType"),
    "float": ("float", "FloatType"),
    "double": ("double", "DoubleType"),
    "boolean": ("boolean", "BooleanType"),
}


@dataclass(frozen=True)
class Verdict:
    """What the suite says.

    Attributes:
        num_checked: Expectations that were checked.
        failed: Names of those that do not hold, with their column.
        page: Its Data Docs: one HTML page that needs no network.
    """

    num_checked: int
    failed: tuple[str, ...]
    page: bytes


def accepted_rows(spark: SparkSession, folder: StepFolder, parts: Sequence[FileEntry], schema: DatasetSchema) -> DataFrame:
    """The rows that were written, as Spark reads them."""
    if folder.uri.startswith("/"):
        paths = ["file://" + re.sub(r"([\\{}\[\]*?,])", r"\\\1", folder.uri_of(part.path)) for part in parts]
        return spark.read.parquet(*paths)
    fields = [(field.name, _SPARK_TYPES[field.type][0]) for field in schema.fields] + [(columns.INPUT_ORDER, "bigint")]
    declared = ", ".join(f"`{name}` {kind}" for name, kind in fields)
    return spark.range(0, len(parts), 1, len(parts)).mapInArrow(partial(_read_parts, folder.uri, list(parts)), declared)


def check_expectations(frame: DataFrame, schema: DatasetSchema, num_rows: int) -> Verdict:
    """Check the suite of a schema.

    Args:
        frame: The accepted rows.
        schema: What they must be.
        num_rows: How many they must be.
    """
    os.environ["GX_ANALYTICS_ENABLED"] = "false"  # before the import, which reads it once and takes seconds
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations of its own and of what it imports
        import great_expectations as gx

        logging.getLogger("great_expectations.data_context.types.base").setLevel(logging.WARNING)  # the import sets it to INFO
        result = _run_suite(gx, frame, schema, num_rows)
        page = offline_page(result, frame.columns, num_rows)
    failed = tuple(_name(outcome.expectation_config) for outcome in result.results if not outcome.success)
    return Verdict(len(result.results), failed, page)


def _run_suite(gx: Any, frame: DataFrame, schema: DatasetSchema, num_rows: int) -> Any:
    """The suite's result, from a context that lives in memory only."""
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False, metric_calculations=False)
    rows = context.data_sources.add_spark("accepted", persist=False).add_dataframe_asset(schema.dataset_type)
    suite = context.suites.add(gx.ExpectationSuite(schema.dataset_type))
    for expectation in expectations(gx.expectations, schema, num_rows):
        suite.add_expectation(expectation)
    definition = gx.ValidationDefinition(
        name=schema.dataset_type, data=rows.add_batch_definition_whole_dataframe("all rows"), suite=suite
    )
    # BOOLEAN_ONLY: every other format scans the rows again for each column's values.
    return context.validation_definitions.add(definition).run(
        batch_parameters={"dataframe": frame}, result_format="BOOLEAN_ONLY"
    )


def expectations(kinds: Any, schema: DatasetSchema, num_rows: int) -> Iterator[Any]:
    """The suite of a schema.

    Args:
        kinds: Great Expectations' module of expectations.
        schema: What the rows must be.
        num_rows: How many they must be.
    """
    yield kinds.ExpectTableColumnsToMatchOrderedList(column_list=[*schema.names, columns.INPUT_ORDER])
    yield kinds.ExpectTableRowCountToEqual(value=num_rows)
    for field in schema.fields:
        yield kinds.ExpectColumnValuesToBeOfType(column=field.name, type_=_SPARK_TYPES[field.type][1])
        if not field.nullable:
            yield kinds.ExpectColumnValuesToNotBeNull(column=field.name)
        if is_time(field):
            yield kinds.ExpectColumnValuesToBeBetween(column=field.name, min_value=0, max_value=LATEST_SECONDS)
        if (longest := longest_string(field)) is not None:
            yield kinds.ExpectColumnValueLengthsToBeBetween(column=field.name, min_value=1, max_value=longest)
    yield kinds.ExpectColumnValuesToNotBeNull(column=columns.INPUT_ORDER)


def _name(config: Any) -> str:
    column = config.kwargs.get("column")
    return f"{config.type} of {column}" if column else str(config.type)


def _read_parts(folder_uri: str, parts: list[FileEntry], batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    folder = StepFolder(folder_uri)
    for number in (number for batch in batches for number in batch.column(0).to_pylist()):
        with scratch_folder("expectations") as scratch, pq.ParquetFile(folder.fetch(parts[number], Path(scratch))) as file:
            yield from file.iter_batches()
